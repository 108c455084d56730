//! The signals that ask the program to end. Listened for before a run's first record, whoever sits in front of it: from
//! then on none of them ends the process by itself, and none is lost.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGHUP, SIGTERM and SIGINT.
pub struct HangUps {
    hup: Signal,
    term: Signal,
    int: Signal,
}

impl HangUps {
    /// Listens from now on.
    ///
    /// # Errors
    /// The system does not let the program listen.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            hup: signal(SignalKind::hangup())?,
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
        })
    }

    /// The next one, in words.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.hup.recv() => "the terminal was closed",
            _ = self.term.recv() => "the system asked the program to end",
            _ = self.int.recv() => "the program was interrupted",
        }
    }
}
