//! The downtime clock, by the journal's own marks. Must not guess from titles or durations.
//!
//! Downtime begins with the first intent of a step marked `downtime: begins` and ends when the step marked
//! `downtime: ends` is done, or when the step that began it has been undone: then the old side serves again. Undoing
//! the step that ended it lets the clock run on.

use chrono::{DateTime, TimeDelta, Utc};

use crate::run::Event;
use crate::run::event::{OutcomeResult, PersonDecision, Role};
use crate::run::facts::StepId;
use crate::runbook::plan::{DowntimeMark, Plan};

/// The downtime of a run, perhaps in several pieces.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Downtime {
    begins: Vec<StepId>,
    ends: Vec<StepId>,
    /// How much faster than nominal the run's world went, where the record says so: the lab.
    pub speed: Option<f64>,
    /// Closed pieces, and the open one at the end.
    pub pieces: Vec<Piece>,
}

/// One piece of downtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub from: DateTime<Utc>,
    pub to: Option<DateTime<Utc>>,
    /// It ended because what began it was undone.
    pub by_way_back: bool,
}

impl Downtime {
    /// The clock of a plan's marks.
    pub fn new(plan: &Plan) -> Self {
        let marked = |mark: DowntimeMark| {
            plan.steps
                .iter()
                .filter(|step| step.downtime == Some(mark))
                .map(|step| StepId(step.id.clone()))
                .collect()
        };
        Self {
            begins: marked(DowntimeMark::Begins),
            ends: marked(DowntimeMark::Ends),
            speed: None,
            pieces: Vec::new(),
        }
    }

    /// Whether the plan declares downtime at all.
    pub fn is_declared(&self) -> bool {
        !self.begins.is_empty()
    }

    /// Whether the clock runs.
    pub fn is_running(&self) -> bool {
        self.pieces.last().is_some_and(|piece| piece.to.is_none())
    }

    /// All pieces together, the open one up to `now`; none before it began.
    pub fn so_far(&self, now: DateTime<Utc>) -> Option<TimeDelta> {
        if self.pieces.is_empty() {
            return None;
        }
        Some(
            self.pieces
                .iter()
                .map(|piece| (piece.to.unwrap_or(now) - piece.from).max(TimeDelta::zero()))
                .fold(TimeDelta::zero(), |sum, piece| sum + piece),
        )
    }

    /// Takes one event in.
    pub fn fold(&mut self, at: DateTime<Utc>, event: &Event) {
        if let Event::Genesis { data, .. } = event {
            let speed = data.get("lab").and_then(|lab| lab.get("speed"));
            self.speed = speed.and_then(serde_json::Value::as_f64).filter(|speed| *speed > 1.0);
        }
        if let Event::EffectIntent { step, role, .. } = event {
            let runs_on = *role == Role::Undo && self.ends.contains(step) && !self.pieces.is_empty();
            if runs_on || (*role == Role::Do && self.begins.contains(step)) {
                self.begin(at);
            }
        }
        if let Event::StepDone { step, .. } = event
            && self.ends.contains(step)
        {
            self.end(at, false);
        }
        if let Event::EffectOutcome {
            step,
            role: Role::Undo,
            result: OutcomeResult::Done,
            ..
        }
        | Event::EffectDecided {
            step,
            role: Role::Undo,
            decision: PersonDecision::Done | PersonDecision::ByHand,
            ..
        } = event
            && self.begins.contains(step)
        {
            self.end(at, true);
        }
    }

    fn begin(&mut self, at: DateTime<Utc>) {
        if !self.is_running() {
            self.pieces.push(Piece {
                from: at,
                to: None,
                by_way_back: false,
            });
        }
    }

    fn end(&mut self, at: DateTime<Utc>, by_way_back: bool) {
        if let Some(open) = self.pieces.last_mut().filter(|piece| piece.to.is_none()) {
            open.to = Some(at);
            open.by_way_back = by_way_back;
        }
    }
}
