//! What a command prints: shown line by line, kept up to a limit, counted and digested whole. Must not know where it
//! comes from.

use serde_json::{Map, json};
use sha2::{Digest, Sha256};

use super::action::{Progress, Reporter};

/// The most of a stream that is kept; the rest is counted and digested.
const KEPT: usize = 1024 * 1024;
/// The most of a stream that becomes a result.
const RESULT: usize = 8 * 1024;
/// The longest line that is shown as one.
const LINE: usize = 4096;

/// A stream as far as it is kept.
#[derive(Default)]
pub struct Captured {
    bytes: Vec<u8>,
    total: u64,
    digest: Sha256,
    line: Vec<u8>,
}

impl Captured {
    /// Takes what came, and shows the lines that it ends.
    pub fn take(&mut self, chunk: &[u8], reporter: &dyn Reporter) {
        self.total += u64::try_from(chunk.len()).unwrap_or(0);
        self.digest.update(chunk);
        let room = KEPT.saturating_sub(self.bytes.len()).min(chunk.len());
        self.bytes.extend_from_slice(chunk.get(..room).unwrap_or_default());
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

    fn evidence(self, name: &str) -> (String, Vec<u8>) {
        let mut bytes = self.bytes;
        if u64::try_from(bytes.len()).is_ok_and(|kept| kept < self.total) {
            let digest = data_encoding::HEXLOWER.encode(&self.digest.finalize());
            bytes.extend_from_slice(format!("\n[cut: {} bytes in all, SHA-256 {digest}]\n", self.total).as_bytes());
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

    /// The last line of what it complained about.
    pub fn last_words(&self) -> String {
        self.stderr.text().lines().last().unwrap_or_default().to_owned()
    }
}
