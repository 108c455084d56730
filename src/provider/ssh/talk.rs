//! A conversation with a program on the other host: it is sent over standard input to `/bin/sh`, says words of its own
//! among the command's output, and waits for a word. Blocks, but never longer than it is told; must not judge what it
//! hears.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ssh2::{Channel, Session};
use tokio_util::sync::CancellationToken;

use super::session::Opened;

/// How long the connection is waited for at a time.
const GLANCE: Duration = Duration::from_millis(100);
/// After how long without a sign of life, which is asked for every 15 s, a connection counts as cut.
const LIFELESS: Duration = Duration::from_secs(60);
const BUFFER: usize = 32 * 1024;

/// What is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard<'a> {
    /// The program's own words.
    Said(&'a str),
    Out(&'a [u8]),
    Err(&'a [u8]),
}

/// Whether to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    On,
    Enough,
}

/// Why listening ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The listener had enough.
    Enough,
    /// The other side said all that it had to say.
    Silence,
    /// The time was over, or nobody wants to know any more.
    Time,
}

/// A conversation.
pub struct Talk {
    channel: Channel,
    session: Session,
    stream: TcpStream,
    words: Words,
}

impl Talk {
    /// Sends a program, whose own words have this nonce. Whatever it does, it does only after this.
    pub fn begin(opened: Opened, program: &str, nonce: &str) -> Result<Self, String> {
        let Opened { session, stream, .. } = opened;
        let told = |error: ssh2::Error| error.message().to_owned();
        let mut channel = session.channel_session().map_err(told)?;
        channel.exec("/bin/sh").map_err(told)?;
        channel
            .write_all(program.as_bytes())
            .map_err(|error| error.to_string())?;
        session.set_blocking(false);
        Ok(Self {
            channel,
            session,
            stream,
            words: Words::new(nonce),
        })
    }

    /// Says a word to the program.
    pub fn say(&mut self, word: &str) -> Result<(), String> {
        self.session.set_blocking(true);
        let said = self.channel.write_all(format!("{word}\n").as_bytes());
        self.session.set_blocking(false);
        said.map_err(|error| error.to_string())
    }

    /// Listens until the listener has enough, silence, `limit` or `stop`; an error is a cut connection.
    pub fn listen(
        &mut self,
        limit: Option<Duration>,
        stop: &CancellationToken,
        each: &mut dyn FnMut(Heard<'_>) -> Flow,
    ) -> Result<Ended, String> {
        // What came together with words that were enough.
        if self.words.hear(&[], each) == Flow::Enough {
            return Ok(Ended::Enough);
        }
        let begun = Instant::now();
        let mut alive = Instant::now();
        let mut buffer = vec![0; BUFFER];
        loop {
            if stop.is_cancelled() || limit.is_some_and(|limit| begun.elapsed() >= limit) {
                return Ok(Ended::Time);
            }
            let out = read(&mut self.channel, &mut buffer)?;
            let bytes = buffer.get(..out).unwrap_or_default();
            if out > 0 && self.words.hear(bytes, each) == Flow::Enough {
                return Ok(Ended::Enough);
            }
            let err = read(&mut self.channel.stderr(), &mut buffer)?;
            let bytes = buffer.get(..err).unwrap_or_default();
            if err > 0 && each(Heard::Err(bytes)) == Flow::Enough {
                return Ok(Ended::Enough);
            }
            if out + err > 0 {
                alive = Instant::now();
                continue;
            }
            if self.channel.eof() {
                self.words.end(each);
                return Ok(Ended::Silence);
            }
            // What is not sent now is sent the next time.
            let _next = self.session.keepalive_send();
            if self.is_readable()? {
                alive = Instant::now();
            } else if alive.elapsed() > LIFELESS {
                return Err(format!("no sign of life for {} s", LIFELESS.as_secs()));
            }
        }
    }

    fn is_readable(&self) -> Result<bool, String> {
        let mut waiting = [PollFd::new(&self.stream, PollFlags::IN)];
        let glance = Timespec::try_from(GLANCE).map_err(|error| error.to_string())?;
        match poll(&mut waiting, Some(&glance)) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        // The other side learns at once that nobody listens, and nothing waits for its goodbye.
        let _closed = self.stream.shutdown(Shutdown::Both);
    }
}

fn read(stream: &mut impl Read, buffer: &mut [u8]) -> Result<usize, String> {
    match stream.read(buffer) {
        Ok(read) => Ok(read),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(0),
        Err(error) => Err(error.to_string()),
    }
}

/// Tells the program's own words from the command's output.
struct Words {
    /// What begins words of its own: a record separator, which output seldom has, and the nonce. They end with a line
    /// feed.
    mark: Vec<u8>,
    held: Vec<u8>,
}

impl Words {
    fn new(nonce: &str) -> Self {
        Self {
            mark: format!("\x1epointsman {nonce} ").into_bytes(),
            held: Vec::new(),
        }
    }

    /// Takes what came, and holds back what may be the beginning of words of its own.
    fn hear(&mut self, bytes: &[u8], each: &mut dyn FnMut(Heard<'_>) -> Flow) -> Flow {
        self.held.extend_from_slice(bytes);
        loop {
            let found = self
                .held
                .windows(self.mark.len())
                .position(|window| window == self.mark);
            let (output, said) = match found {
                Some(at) => {
                    let words = at + self.mark.len();
                    let end = self.held.iter().skip(words).position(|byte| *byte == b'\n');
                    (at, end.map(|end| (words, words + end)))
                }
                None => (self.held.len() - self.beginning(), None),
            };
            let mut flow = Flow::On;
            if output > 0 {
                flow = each(Heard::Out(self.held.get(..output).unwrap_or_default()));
            }
            let Some((from, to)) = said else {
                self.held.drain(..output);
                return flow;
            };
            let line = String::from_utf8_lossy(self.held.get(from..to).unwrap_or_default()).into_owned();
            self.held.drain(..=to);
            if flow == Flow::Enough || each(Heard::Said(&line)) == Flow::Enough {
                return Flow::Enough;
            }
        }
    }

    /// How much of the end may be the beginning of a mark.
    fn beginning(&self) -> usize {
        let most = self.held.len().min(self.mark.len().saturating_sub(1));
        (1..=most)
            .rev()
            .find(|length| {
                let tail = self.held.get(self.held.len() - length..);
                tail == self.mark.get(..*length)
            })
            .unwrap_or(0)
    }

    /// What was held back is output after all.
    fn end(&mut self, each: &mut dyn FnMut(Heard<'_>) -> Flow) {
        if !self.held.is_empty() {
            each(Heard::Out(&self.held));
            self.held.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is heard of a stream that comes in pieces: the output, and the lines with how much output came before each.
    fn heard(pieces: &[&[u8]]) -> (Vec<u8>, Vec<(usize, String)>) {
        let mut words = Words::new("n1");
        let (mut output, mut lines) = (Vec::new(), Vec::new());
        let mut each = |heard: Heard<'_>| {
            match heard {
                Heard::Out(bytes) | Heard::Err(bytes) => output.extend_from_slice(bytes),
                Heard::Said(line) => lines.push((output.len(), line.to_owned())),
            }
            Flow::On
        };
        for piece in pieces {
            words.hear(piece, &mut each);
        }
        words.end(&mut each);
        (output, lines)
    }

    proptest! {
        #[test]
        fn lines_are_found_wherever_the_pieces_end(
            before in "[\x1e\npoints]{0,40}", after in "[\x1e\n a-z]{0,40}", cuts in prop::collection::vec(0usize..140, 0..12),
        ) {
            let stream = format!("{before}\x1epointsman n1 ready 5\n{after}\x1epointsman n1 ended 0\n");
            let bytes = stream.as_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| *cut.min(&bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let (output, lines) = heard(&pieces);
            prop_assert_eq!(output, format!("{before}{after}").into_bytes());
            let whole = before.len() + after.len();
            prop_assert_eq!(lines, vec![(before.len(), "ready 5".to_owned()), (whole, "ended 0".to_owned())]);
        }
    }

    #[test]
    fn a_line_is_not_held_back() {
        let mut words = Words::new("n1");
        let mut output = Vec::new();
        words.hear(b"begun\n", &mut |heard| {
            if let Heard::Out(bytes) = heard {
                output.extend_from_slice(bytes);
            }
            Flow::On
        });
        assert_eq!(output, b"begun\n");
    }

    #[test]
    fn who_does_not_know_the_nonce_says_nothing() {
        let (output, lines) = heard(&[b"\x1epointsman n2 ended 0\n", b"\x1epointsman n1"]);
        assert!(lines.is_empty(), "{lines:?}");
        assert_eq!(output, b"\x1epointsman n2 ended 0\n\x1epointsman n1");
    }
}
