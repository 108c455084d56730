//! Everything that front ends and reports fold over a run's events, in one place. Must not hold the state: that is
//! `run::apply`'s.

use chrono::{DateTime, Utc};

use crate::run::Event;
use crate::runbook::plan::Plan;

use super::downtime::Downtime;
use super::tally::Tally;
use super::timeline::Timeline;

/// A run as it is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Story {
    pub timeline: Timeline,
    pub downtime: Downtime,
    pub tally: Tally,
}

impl Story {
    /// A story that has not begun.
    pub fn new(plan: &Plan) -> Self {
        Self {
            timeline: Timeline::new(plan),
            downtime: Downtime::new(plan),
            tally: Tally::default(),
        }
    }

    /// Takes one event in.
    pub fn fold(&mut self, at: DateTime<Utc>, event: &Event) {
        self.timeline.fold(at, event);
        self.downtime.fold(at, event);
        self.tally.fold(at, event);
    }
}
