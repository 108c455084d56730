//! What a report is made from.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::run::{Event, RunState};
use crate::runbook::plan::Plan;

/// A run as it was read.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    pub run: &'a str,
    pub plan: &'a Plan,
    pub entries: &'a [Entry],
    /// The fold of the entries.
    pub state: &'a RunState,
    /// What `verify --require chain` concluded, in lines.
    pub verdict: &'a [String],
    /// The zone that times are shown in, beside UTC.
    pub zone: Tz,
    pub now: DateTime<Utc>,
}

/// One event of the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub seq: u64,
    pub at: DateTime<Utc>,
    pub actor: String,
    /// How and where the actor acted.
    pub via: String,
    pub event: Event,
    pub evidence: Vec<Evidence>,
}

/// A piece of evidence that a record names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    pub digest: String,
    pub shown: Shown,
}

/// What there is to show of a piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    Text(String),
    Erased,
    Missing,
    Altered,
}
