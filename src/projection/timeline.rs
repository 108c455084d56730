//! When each step was tried, how long it took, and how much of that people waited for people. Owns attempts and their
//! times; must not know the clock: open ends are measured against a `now` that is passed in.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};

use crate::run::Event;
use crate::run::event::{Decision, OutcomeResult, PersonDecision, Role};
use crate::run::facts::{RequestId, StepId};
use crate::runbook::plan::Plan;

/// Times of every step, in the plan's order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Timeline {
    pub steps: Vec<StepTimes>,
    /// Where each step stands among them.
    places: HashMap<StepId, usize>,
    pub began: Option<DateTime<Utc>>,
    pub ended: Option<DateTime<Utc>>,
    /// The end of the window, once it was extended.
    pub window_closes: Option<DateTime<Utc>>,
    /// Since when the run has been held.
    pub held_since: Option<DateTime<Utc>>,
    last: Option<DateTime<Utc>>,
    asked: BTreeMap<RequestId, (Option<usize>, DateTime<Utc>)>,
    /// Waiting for people at the gates of an unwinding or the commit.
    other_waiting: TimeDelta,
}

/// Times of one step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepTimes {
    pub step: StepId,
    pub attempts: Vec<Attempt>,
    pub undo: Option<(DateTime<Utc>, Option<DateTime<Utc>>)>,
    pub close: Option<(DateTime<Utc>, Option<DateTime<Utc>>)>,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    pub number: u32,
    pub began: DateTime<Utc>,
    /// The intent of its effect.
    pub effect: Option<DateTime<Utc>>,
    pub ended: Option<DateTime<Utc>>,
    pub end: AttemptEnd,
    /// Closed spells of waiting at its gates.
    pub waited: TimeDelta,
    /// Since when its gate has been open.
    pub waiting_since: Option<DateTime<Utc>>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptEnd {
    Open,
    Done,
    Failed,
    /// Its approval became void before anything was begun, or nothing was sent.
    Void,
}

impl Attempt {
    /// How long people were waited for.
    pub fn human(&self, now: DateTime<Utc>) -> TimeDelta {
        let open = self.waiting_since.map_or(TimeDelta::zero(), |since| now - since);
        self.waited + open.max(TimeDelta::zero())
    }

    /// How long the machine worked: everything but waiting for people.
    pub fn machine(&self, now: DateTime<Utc>) -> TimeDelta {
        (self.ended.unwrap_or(now) - self.began - self.human(now)).max(TimeDelta::zero())
    }
}

impl StepTimes {
    /// The last attempt.
    pub fn last(&self) -> Option<&Attempt> {
        self.attempts.last()
    }
}

impl Timeline {
    /// An empty timeline of a plan.
    pub fn new(plan: &Plan) -> Self {
        let steps: Vec<StepTimes> = plan
            .steps
            .iter()
            .map(|step| StepTimes {
                step: StepId(step.id.clone()),
                attempts: Vec::new(),
                undo: None,
                close: None,
            })
            .collect();
        let places = steps.iter().enumerate();
        Self {
            places: places.map(|(index, times)| (times.step.clone(), index)).collect(),
            steps,
            ..Self::default()
        }
    }

    /// The times of one step.
    pub fn of(&self, step: &StepId) -> Option<&StepTimes> {
        self.index(step).and_then(|index| self.steps.get(index))
    }

    /// How long people were waited for in the whole run.
    pub fn human(&self, now: DateTime<Utc>) -> TimeDelta {
        let open = self
            .asked
            .values()
            .filter(|(step, _)| step.is_none())
            .map(|(_, since)| (now - *since).max(TimeDelta::zero()));
        self.attempts()
            .map(|attempt| attempt.human(now))
            .chain(open)
            .fold(self.other_waiting, |sum, part| sum + part)
    }

    /// How long the machine worked on steps in the whole run.
    pub fn machine(&self, now: DateTime<Utc>) -> TimeDelta {
        self.attempts()
            .fold(TimeDelta::zero(), |sum, attempt| sum + attempt.machine(now))
    }

    fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        self.steps.iter().flat_map(|step| &step.attempts)
    }

    /// Takes one event in.
    pub fn fold(&mut self, at: DateTime<Utc>, event: &Event) {
        match event {
            Event::Genesis { .. } => self.began = Some(at),
            Event::Resumed { .. } => self.resumed(),
            Event::StepChecking { step, attempt } => self.checking(step, *attempt, at),
            Event::GateRequested { step, request, .. } => {
                let index = step.as_ref().and_then(|step| self.index(step));
                self.asked.insert(*request, (index, at));
                if let Some(attempt) = index.and_then(|index| self.attempt(index)) {
                    attempt.waiting_since = Some(at);
                }
            }
            Event::GateGranted { request } => self.answered(*request, at, false),
            Event::GateVoided { request, .. } | Event::GateExpired { request } => self.answered(*request, at, true),
            Event::EffectIntent { step, role, .. } => {
                if let Some(index) = self.index(step) {
                    match role {
                        Role::Do => {
                            if let Some(attempt) = self.attempt(index) {
                                attempt.effect = Some(at);
                            }
                        }
                        Role::Undo => self.way_back(index, Role::Undo, at, false),
                        Role::Close => self.way_back(index, Role::Close, at, false),
                    }
                }
            }
            Event::EffectOutcome { step, role, result, .. } => match (role, result) {
                (Role::Do, OutcomeResult::NotSent) => self.end(step, at, AttemptEnd::Void),
                (Role::Do, OutcomeResult::Done | OutcomeResult::Failed | OutcomeResult::InDoubt) => {}
                (Role::Undo | Role::Close, OutcomeResult::Done) => self.back(step, *role, at),
                (Role::Undo | Role::Close, OutcomeResult::Failed | OutcomeResult::InDoubt | OutcomeResult::NotSent) => {
                }
            },
            Event::EffectDecided {
                step, role, decision, ..
            } => match decision {
                PersonDecision::Done | PersonDecision::ByHand => self.back(step, *role, at),
                PersonDecision::NotStarted if *role == Role::Do => self.end(step, at, AttemptEnd::Void),
                PersonDecision::NotStarted => {}
            },
            Event::StepVerifying { step, .. } => {
                // A failed verification is taken up again: the attempt goes on.
                if let Some(attempt) = self.index(step).and_then(|index| self.attempt(index)) {
                    attempt.ended = None;
                    attempt.end = AttemptEnd::Open;
                }
            }
            Event::StepDone { step, .. } => self.end(step, at, AttemptEnd::Done),
            Event::StepFailed { step, .. } => self.end(step, at, AttemptEnd::Failed),
            Event::UnwindPlanned { .. } | Event::RunAmended { .. } => self.void_unbegun(at),
            Event::GateVote { request, decision, .. } => {
                if *decision == Decision::Reject {
                    self.answered(*request, at, false);
                }
            }
            Event::RunHeld { .. } => self.held_since = Some(at),
            Event::RunReleased { .. } => self.held_since = None,
            Event::RunClosed { .. } => self.ended = Some(at),
            Event::WindowExtended { closes_ms, .. } => {
                self.window_closes = DateTime::from_timestamp_millis(*closes_ms);
            }
            Event::StepSkipped { step, .. } => self.end(step, at, AttemptEnd::Void),
            Event::CheckResult { .. }
            | Event::GateBroken { .. }
            | Event::GateCountersigned { .. }
            | Event::EffectCancel { .. }
            | Event::DeadlinePassed { .. }
            | Event::WindowClosed { .. }
            | Event::PreflightBegun { .. }
            | Event::PreflightEnded { .. }
            | Event::PreflightVoided { .. }
            | Event::HandoverOffered { .. }
            | Event::HandoverTaken { .. }
            | Event::EffectAck { .. }
            | Event::EffectKept { .. }
            | Event::UnwindPrepared { .. }
            | Event::UnwindDropped { .. }
            | Event::UnwindFinished { .. }
            | Event::Note { .. }
            | Event::Interrupted { .. } => {}
        }
        self.last = Some(at);
    }

    fn index(&self, step: &StepId) -> Option<usize> {
        self.places.get(step).copied()
    }

    fn attempt(&mut self, index: usize) -> Option<&mut Attempt> {
        self.steps.get_mut(index)?.attempts.last_mut()
    }

    fn checking(&mut self, step: &StepId, number: u32, at: DateTime<Utc>) {
        if let Some(times) = self.index(step).and_then(|index| self.steps.get_mut(index)) {
            times.undo = None;
            if let Some(before) = times.attempts.last_mut().filter(|attempt| attempt.ended.is_none()) {
                before.ended = Some(at);
                before.end = AttemptEnd::Void;
            }
            times.attempts.push(Attempt {
                number,
                began: at,
                effect: None,
                ended: None,
                end: AttemptEnd::Open,
                waited: TimeDelta::zero(),
                waiting_since: None,
            });
        }
    }

    /// Nobody waited for an answer while no process was there to take it.
    fn resumed(&mut self) {
        if let Some(last) = self.last {
            let open: Vec<RequestId> = self.asked.keys().copied().collect();
            for request in open {
                self.answered(request, last, true);
            }
            self.void_unbegun(last);
        }
    }

    fn void_unbegun(&mut self, at: DateTime<Utc>) {
        for attempt in self.steps.iter_mut().filter_map(|step| step.attempts.last_mut()) {
            if attempt.end == AttemptEnd::Open && attempt.effect.is_none() {
                attempt.ended = Some(at);
                attempt.end = AttemptEnd::Void;
            }
        }
    }

    fn answered(&mut self, request: RequestId, at: DateTime<Utc>, void: bool) {
        let Some((index, since)) = self.asked.remove(&request) else {
            return;
        };
        let waited = (at - since).max(TimeDelta::zero());
        let Some(attempt) = index.and_then(|index| self.attempt(index)) else {
            self.other_waiting += waited;
            return;
        };
        attempt.waited += waited;
        attempt.waiting_since = None;
        if void {
            attempt.ended = Some(at);
            attempt.end = AttemptEnd::Void;
        }
    }

    fn end(&mut self, step: &StepId, at: DateTime<Utc>, end: AttemptEnd) {
        if let Some(attempt) = self.index(step).and_then(|index| self.attempt(index)) {
            attempt.ended = Some(at);
            attempt.end = end;
        }
    }

    fn back(&mut self, step: &StepId, role: Role, at: DateTime<Utc>) {
        if let Some(index) = self.index(step) {
            self.way_back(index, role, at, true);
        }
    }

    fn way_back(&mut self, index: usize, role: Role, at: DateTime<Utc>, ended: bool) {
        let Some(times) = self.steps.get_mut(index) else {
            return;
        };
        let slot = match role {
            Role::Do => return,
            Role::Undo => &mut times.undo,
            Role::Close => &mut times.close,
        };
        *slot = match slot {
            Some((from, _)) if ended => Some((*from, Some(at))),
            Some((from, None)) => Some((*from, None)),
            Some((_, Some(_))) | None => Some((at, ended.then_some(at))),
        };
    }
}
