//! What a freeze and a thaw take, on every engine; and what a server's settings say of a change that was meant. Must not
//! know any engine.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::provider::action::{ActionError, ActionErrorKind, Cx};

/// How long nothing may be committed for the proof.
pub const IDLE: Duration = Duration::from_secs(5);

/// What a freeze takes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct With {
    #[serde(default)]
    sessions: Option<String>,
    #[serde(default)]
    pub proof: bool,
    #[serde(default)]
    pub hard: Option<bool>,
    /// Users whose sessions stay.
    #[serde(default)]
    pub except: Vec<String>,
}

impl With {
    /// Whether open sessions are ended.
    pub fn kills(&self) -> bool {
        self.sessions.as_deref() == Some("kill")
    }
}

/// What a thaw takes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct To<S> {
    pub to: Prior<S>,
}

/// What a freeze found and what it set: enough to go back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prior<S> {
    pub engine: String,
    /// Which server or database it was.
    pub place: String,
    pub before: S,
    pub set: S,
}

/// A state of settings, each by its name.
pub trait Settings: PartialEq {
    /// Names and values, for comparing and for people.
    fn each(&self) -> Vec<(&'static str, String)>;
}

/// How settings stand to a change.
#[derive(Debug, PartialEq, Eq)]
pub enum Stand {
    /// As meant; also where that is as before.
    There,
    Before,
    /// Some as before, some as meant.
    Partly(String),
    /// Neither: somebody else's.
    Foreign(String),
}

/// How `now` stands on the way from one state to another.
pub fn stand<S: Settings>(now: &S, from: &S, to: &S) -> Stand {
    let (from_each, to_each) = (from.each(), to.each());
    for (name, value) in now.each() {
        let known = |each: &[(&str, String)]| each.contains(&(name, value.clone()));
        if !known(&from_each) && !known(&to_each) {
            return Stand::Foreign(format!("{name} is {value}, neither as before nor as this step sets it"));
        }
    }
    if now == to {
        Stand::There
    } else if now == from {
        Stand::Before
    } else {
        Stand::Partly(words(now))
    }
}

/// Settings for people.
pub fn words<S: Settings>(settings: &S) -> String {
    let each: Vec<String> = settings
        .each()
        .iter()
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    each.join(", ")
}

/// What the approval bound of a freeze.
pub fn bound<S: for<'a> Deserialize<'a>>(cx: &Cx) -> Option<Prior<S>> {
    serde_json::from_value(cx.identity.get("prior_state")?.clone()).ok()
}

/// What a freeze gives as `prior_state`.
pub fn told<S: Serialize>(prior: &Prior<S>) -> Value {
    serde_json::to_value(prior).unwrap_or_default()
}

/// A refusal before anything was sent.
pub fn foreign(words: &str) -> ActionError {
    permanent(format!("{words}; nothing was sent, look who changed it"))
}

/// A refusal.
pub fn permanent(words: impl Into<String>) -> ActionError {
    ActionError::new(ActionErrorKind::Permanent, words)
}

/// Nobody knows, and a person has to look.
pub fn in_doubt(words: impl Into<String>) -> ActionError {
    ActionError::new(ActionErrorKind::InDoubt, words)
}
