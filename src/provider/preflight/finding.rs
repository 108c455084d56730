//! What a look found. Owns the words' shape, not the judgement.

use serde::Serialize;

use crate::provider::action::ActionError;

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As the night needs it.
    Green,
    /// Worth a look; nothing that stops the night.
    Amber,
    /// The night would stop at it.
    Red,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The connection, the database, the task, the record.
    pub about: String,
    /// What was asked of it.
    pub probe: String,
    pub verdict: Verdict,
    /// What was seen.
    pub seen: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Finding {
    /// As the night needs it.
    pub fn green(about: &str, probe: &str, seen: impl Into<String>) -> Self {
        Self {
            about: about.to_owned(),
            probe: probe.to_owned(),
            verdict: Verdict::Green,
            seen: seen.into(),
            advice: None,
        }
    }

    /// Worth a look.
    pub fn amber(about: &str, probe: &str, seen: impl Into<String>, advice: &str) -> Self {
        Self {
            verdict: Verdict::Amber,
            advice: Some(advice.to_owned()),
            ..Self::green(about, probe, seen)
        }
    }

    /// The night would stop at it.
    pub fn red(about: &str, probe: &str, seen: impl Into<String>, advice: &str) -> Self {
        Self {
            verdict: Verdict::Red,
            advice: Some(advice.to_owned()),
            ..Self::green(about, probe, seen)
        }
    }

    /// What could not be asked; the message says what to do.
    pub fn failed(about: &str, probe: &str, error: &ActionError) -> Self {
        Self {
            verdict: Verdict::Red,
            ..Self::green(about, probe, error.message.clone())
        }
    }
}
