//! What goes wrong before or around a run, with the exit code that it means and what to do next.

use std::fmt::Display;

/// The documented exit codes of everything but `verify`.
pub mod exit {
    /// Failed.
    pub const FAILED: u8 = 1;
    /// Usage or bad input; nothing was executed.
    pub const INPUT: u8 = 2;
    /// Stopped by a person; the state is recorded.
    pub const STOPPED: u8 = 3;
    /// The journal could not be written.
    pub const JOURNAL: u8 = 7;
}

/// A fault to be told, and the exit code that goes with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Trouble {
    pub exit: u8,
    pub message: String,
    pub hint: Option<String>,
}

impl Trouble {
    /// Bad input: nothing was executed.
    pub fn input(message: impl Into<String>) -> Self {
        Self {
            exit: exit::INPUT,
            message: message.into(),
            hint: None,
        }
    }

    /// It failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self {
            exit: exit::FAILED,
            message: message.into(),
            hint: None,
        }
    }

    /// The journal could not be written: nothing more is executed.
    pub fn journal(error: impl Display) -> Self {
        Self {
            exit: exit::JOURNAL,
            message: format!("the journal cannot be written: {error}"),
            hint: Some("nothing is executed without its record; free the disk, then resume".to_owned()),
        }
    }

    /// With what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
