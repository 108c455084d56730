//! What a command prints: shown line by line, kept up to a limit, counted and digested whole. Must not know where it
//! comes from.

use std::collections::VecDeque;

use serde_json::{Map, json};
use sha2::{Digest, Sha256};

use super::action::{Progress, Reporter};

/// The most of a stream that is kept; the rest is counted and digested.
const KEPT: usize = 1024 * 1024;
/// The most of a stream that becomes a result.
const RESULT: usize = 8 * 1024;
/// How much of the end is kept beside that, for its last words.
const TAIL: usize = 4 * 1024;
/// The longest line that is shown as one.
const LINE: usize = 4096;

/// A stream as far as it is kept.
#[derive(Default)]
pub struct Captured {
    bytes: Vec<u8>,
    total: u64,
    digest: Sha256,
    line: Vec<u8>,
    tail: VecDeque<u8>,
    short: bool,
}

impl Captured {
    /// Takes what came, and shows the lines that it ends.
    pub fn take(&mut self, chunk: &[u8], reporter: &dyn Reporter) {
        self.total += u64::try_from(chunk.len()).unwrap_or(0);
        self.digest.update(chunk);
        let room = KEPT.saturating_sub(self.bytes.len()).min(chunk.len());
        self.bytes.extend_from_slice(chunk.get(..room).unwrap_or_default());
        let last = chunk.get(chunk.len().saturating_sub(TAIL)..).unwrap_or_default();
        self.tail.extend(last);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL));
        for byte in chunk {
            if *byte == b'\n' || self.line.len() >= LINE {
                self.show(reporter);
            }
            if *byte != b'\n' {
                self.line.push(*byte);
            }
        }
    }

    /// Shows a last line that nothing ended.
    pub fn end(&mut self, reporter: &dyn Reporter) {
        if !self.line.is_empty() {
            self.show(reporter);
        }
    }

    fn show(&mut self, reporter: &dyn Reporter) {
        reporter.progress(Progress::Line(String::from_utf8_lossy(&self.line).into_owned()));
        self.line.clear();
    }

    fn text(&self) -> String {
        let end = self.bytes.len().min(RESULT);
        String::from_utf8_lossy(self.bytes.get(..end).unwrap_or_default()).into_owned()
    }

    /// The last line that is not blank.
    fn last_words(&self) -> String {
        let (front, back) = self.tail.as_slices();
        let tail = [front, back].concat();
        let text = String::from_utf8_lossy(&tail);
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        last.unwrap_or_default().to_owned()
    }

    fn evidence(self, name: &str) -> (String, Vec<u8>) {
        let mut bytes = self.bytes;
        if u64::try_from(bytes.len()).is_ok_and(|kept| kept < self.total) {
            let digest = data_encoding::HEXLOWER.encode(&self.digest.finalize());
            bytes.extend_from_slice(format!("\n[cut: {} bytes in all, SHA-256 {digest}]\n", self.total).as_bytes());
        }
        if self.short {
            bytes.extend_from_slice(b"\n[short: not all was heard]\n");
        }
        (name.to_owned(), bytes)
    }
}

/// Both streams of a command.
#[derive(Default)]
pub struct Output {
    pub stdout: Captured,
    pub stderr: Captured,
}

impl Output {
    /// The result of a command that ended with this code.
    pub fn result(&self, code: Option<i32>) -> Map<String, serde_json::Value> {
        let mut result = Map::new();
        result.insert("code".to_owned(), json!(code));
        result.insert("stdout".to_owned(), json!(self.stdout.text()));
        result.insert("stderr".to_owned(), json!(self.stderr.text()));
        result
    }

    /// Shows last lines that nothing ended.
    pub fn end(&mut self, reporter: &dyn Reporter) {
        self.stdout.end(reporter);
        self.stderr.end(reporter);
    }

    /// The streams as blobs.
    pub fn evidence(self) -> Vec<(String, Vec<u8>)> {
        vec![self.stdout.evidence("stdout"), self.stderr.evidence("stderr")]
    }

    /// Marks what was heard as not all that was said.
    pub fn cut_short(&mut self) {
        self.stdout.short = true;
        self.stderr.short = true;
    }

    /// Whether not all that was said was heard.
    pub fn is_short(&self) -> bool {
        self.stdout.short || self.stderr.short
    }

    /// The last line of what it complained about.
    pub fn last_words(&self) -> String {
        self.stderr.last_words()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::action::ActionError;

    struct Nobody;

    #[async_trait::async_trait]
    impl Reporter for Nobody {
        async fn ack(&self, _provider_id: &str) -> Result<(), ActionError> {
            Ok(())
        }

        fn progress(&self, _progress: Progress) {}
    }

    fn complaint(chunks: &[&[u8]]) -> Output {
        let mut output = Output::default();
        for chunk in chunks {
            output.stderr.take(chunk, &Nobody);
        }
        output
    }

    #[test]
    fn the_last_words_are_the_last_however_much_was_said_before() {
        let much = "warning: slow\n".repeat(100_000);
        let output = complaint(&[much.as_bytes(), b"no space left", b" on device\n\n  \n"]);
        assert_eq!(output.last_words(), "no space left on device");
        assert_eq!(complaint(&[b"\n \n"]).last_words(), "");
        let long = complaint(&[b"first\n", &[b'x'; 3 * TAIL]]);
        assert_eq!(long.last_words(), "x".repeat(TAIL));
    }

    #[test]
    fn what_was_not_heard_whole_is_marked() {
        let mut output = complaint(&[b"half a w"]);
        assert!(!output.is_short());
        output.cut_short();
        assert!(output.is_short());
        let evidence = output.evidence();
        assert_eq!(evidence[1].1, b"half a w\n[short: not all was heard]\n");
    }
}
