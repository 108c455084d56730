//! What earlier runs of the same runbook took, step by step: machine time and waiting for people apart, and the undos.
//! Owns which runs and which attempts count; must not guess where nothing was measured.
//!
//! Times are kept nominal: a lab that ran twenty times faster took twenty times as long. Waiting for people is kept as
//! it was, whatever the speed: nobody decides faster in a lab that runs faster.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use crate::run::Event;
use crate::run::event::{Fidelity, OutcomeResult, Role};
use crate::run::facts::{RequestId, StepId};
use crate::runbook::plan::{EnvironmentKind, Plan, PlannedStep, Rollback};

use super::timeline::{AttemptEnd, Timeline};

/// The comment that votes of `--approve-all` carry into the journal.
pub const UNLOOKED: &str = "approved without a look, by --approve-all";

/// Fewer samples than these are no distribution.
pub const ENOUGH: usize = 3;

/// What a step took once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    pub machine: TimeDelta,
    /// None where nobody looked: a script approved.
    pub human: Option<TimeDelta>,
}

/// What earlier runs took.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History {
    /// How many runs were taken in.
    pub runs: usize,
    steps: BTreeMap<(StepId, String), Vec<Sample>>,
    ways_back: BTreeMap<(Role, StepId, String), Vec<TimeDelta>>,
}

/// Why an earlier run says nothing about this one.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum Unfit {
    #[error("it is a run of another runbook")]
    OtherRunbook,
    #[error("it never began")]
    NotBegun,
    #[error("it was a dry run: nothing took its time")]
    DryRun,
    #[error("it ran in the lab at speed {0}; only other lab runs learn from it")]
    SpedUp(f64),
    #[error("it did not run in the lab, whose peers are not the real ones")]
    OutsideLab,
    #[error("its record does not say how fast its lab ran")]
    NoSpeed,
}

impl History {
    /// Takes an earlier run in. `plan` is the plan that is forecast, `earlier` the plan of the run.
    ///
    /// # Errors
    /// The run says nothing about this one; nothing was taken.
    pub fn take<'a>(
        &mut self,
        plan: &Plan,
        earlier: &Plan,
        events: impl IntoIterator<Item = (DateTime<Utc>, &'a Event)>,
    ) -> Result<(), Unfit> {
        if plan.name != earlier.name {
            return Err(Unfit::OtherRunbook);
        }
        let mut events = events.into_iter().peekable();
        let Some((_, Event::Genesis { data, .. })) = events.peek() else {
            return Err(Unfit::NotBegun);
        };
        let speed = admitted_speed(plan.environment.kind, data)?;
        let mut reading = Reading {
            earlier,
            speed,
            timeline: Timeline::new(earlier),
            spoiled: BTreeSet::new(),
            asked: BTreeMap::new(),
            unlooked: BTreeSet::new(),
        };
        for (at, event) in events {
            reading.timeline.fold(at, event);
            reading.spoil(at, event);
            self.learn(&reading, at, event);
        }
        self.runs += 1;
        Ok(())
    }

    /// The samples of a step: of the same id and the same action.
    pub fn of(&self, step: &PlannedStep) -> &[Sample] {
        let key = (StepId(step.id.clone()), step.action.uses.clone());
        self.steps.get(&key).map(Vec::as_slice).unwrap_or_default()
    }

    /// What the step's undo or closing effect took, by the same action.
    pub fn of_way_back(&self, step: &PlannedStep, role: Role) -> &[TimeDelta] {
        way_back_action(step)
            .and_then(|uses| {
                let key = (role, StepId(step.id.clone()), uses.to_owned());
                self.ways_back.get(&key)
            })
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    fn learn(&mut self, reading: &Reading<'_>, at: DateTime<Utc>, event: &Event) {
        if let Event::StepDone { step, .. } = event
            && !reading.spoiled.contains(&(Role::Do, step.clone()))
            && let Some(attempt) = reading.timeline.of(step).and_then(|times| times.last())
            && let Some(planned) = reading.planned(step)
        {
            let sample = Sample {
                machine: scaled(attempt.machine(at), reading.speed),
                human: (!reading.unlooked.contains(step)).then(|| attempt.human(at)),
            };
            let key = (step.clone(), planned.action.uses.clone());
            self.steps.entry(key).or_default().push(sample);
        }
        if let Event::EffectOutcome {
            step,
            role: role @ (Role::Undo | Role::Close),
            result: OutcomeResult::Done,
            ..
        } = event
            && !reading.spoiled.contains(&(*role, step.clone()))
            && let Some((from, Some(to))) = reading.way_back(step, *role)
            && let Some(uses) = reading.planned(step).and_then(way_back_action)
        {
            let took = scaled((to - from).max(TimeDelta::zero()), reading.speed);
            let key = (*role, step.clone(), uses.to_owned());
            self.ways_back.entry(key).or_default().push(took);
        }
    }
}

/// How much faster than nominal the run went, if it may teach this plan.
fn admitted_speed(kind: EnvironmentKind, data: &Map<String, Value>) -> Result<f64, Unfit> {
    if data.get("mode").and_then(Value::as_str) == Some("dry_run") {
        return Err(Unfit::DryRun);
    }
    let speed = match data.get("lab") {
        None | Some(Value::Null) => None,
        Some(lab) => {
            let speed = lab.get("speed").and_then(Value::as_f64);
            let sane = speed.filter(|speed| speed.is_finite() && *speed > 0.0);
            Some(sane.ok_or(Unfit::NoSpeed)?)
        }
    };
    match (kind, speed) {
        (EnvironmentKind::Lab, Some(speed)) => Ok(speed),
        (EnvironmentKind::Lab, None) => Err(Unfit::OutsideLab),
        (EnvironmentKind::Rehearsal | EnvironmentKind::Production, None) => Ok(1.0),
        (EnvironmentKind::Rehearsal | EnvironmentKind::Production, Some(speed)) => {
            if (speed - 1.0).abs() < f64::EPSILON {
                Ok(1.0)
            } else {
                Err(Unfit::SpedUp(speed))
            }
        }
    }
}

/// The action that takes a step back or puts it right at the close.
fn way_back_action(step: &PlannedStep) -> Option<&str> {
    match &step.rollback {
        Rollback::Action { action, .. } | Rollback::Abandon { action, .. } | Rollback::AtClose { action } => {
            Some(&action.uses)
        }
        Rollback::Nothing | Rollback::NotNeeded { .. } | Rollback::Irreversible { .. } => None,
    }
}

/// A run as it is read, and what of it is no sample.
struct Reading<'a> {
    earlier: &'a Plan,
    speed: f64,
    timeline: Timeline,
    /// Effects whose time is not that of an undisturbed success.
    spoiled: BTreeSet<(Role, StepId)>,
    /// The step of each request.
    asked: BTreeMap<RequestId, StepId>,
    /// Steps whose gate was passed by a script: its pace is no person's.
    unlooked: BTreeSet<StepId>,
}

impl Reading<'_> {
    fn planned(&self, step: &StepId) -> Option<&PlannedStep> {
        self.earlier.steps.iter().find(|planned| planned.id == step.0)
    }

    fn way_back(&self, step: &StepId, role: Role) -> Option<(DateTime<Utc>, Option<DateTime<Utc>>)> {
        let times = self.timeline.of(step)?;
        match role {
            Role::Do => None,
            Role::Undo => times.undo,
            Role::Close => times.close,
        }
    }

    fn spoil(&mut self, at: DateTime<Utc>, event: &Event) {
        if let Event::GateRequested {
            request,
            step: Some(step),
            ..
        } = event
        {
            self.asked.insert(*request, step.clone());
            self.unlooked.remove(step);
        }
        if let Event::GateVote { request, comment, .. } = event
            && comment == UNLOOKED
            && let Some(step) = self.asked.get(request)
        {
            self.unlooked.insert(step.clone());
        }
        if let Event::StepChecking { step, .. } = event {
            self.spoiled.remove(&(Role::Do, step.clone()));
        }
        if let Event::EffectIntent {
            step,
            role: role @ (Role::Undo | Role::Close),
            ..
        } = event
            && self.way_back(step, *role) == Some((at, None))
        {
            self.spoiled.remove(&(*role, step.clone()));
        }
        if let Event::StepFailed { step, .. } = event {
            self.spoiled.insert((Role::Do, step.clone()));
        }
        if let Event::EffectDecided { step, role, .. } = event {
            self.spoiled.insert((*role, step.clone()));
        }
        if let Event::EffectOutcome {
            step,
            role,
            result,
            observed,
            fidelity,
            ..
        } = event
            && (*result != OutcomeResult::Done || *observed || *fidelity != Fidelity::Executed)
        {
            self.spoiled.insert((*role, step.clone()));
        }
        if let Event::Resumed { .. } = event {
            // While no process was there nothing worked, but the clock ran.
            self.spoil_open(|_, _| true);
        }
        if let Event::RunHeld { .. } = event {
            // What was not begun waits for the release; what was sent goes on.
            self.spoil_open(|role, begun| role == Role::Do && !begun);
        }
    }

    /// Spoils what is open and `hit`: asked with the role, and whether the effect was begun.
    fn spoil_open(&mut self, hit: impl Fn(Role, bool) -> bool) {
        for times in &self.timeline.steps {
            let attempt = times.last().filter(|attempt| attempt.end == AttemptEnd::Open);
            let open = [
                (Role::Do, attempt.map(|attempt| attempt.effect.is_some())),
                (Role::Undo, matches!(times.undo, Some((_, None))).then_some(true)),
                (Role::Close, matches!(times.close, Some((_, None))).then_some(true)),
            ];
            for (role, begun) in open {
                if begun.is_some_and(|begun| hit(role, begun)) {
                    self.spoiled.insert((role, times.step.clone()));
                }
            }
        }
    }
}

/// The nearest-rank percentile of sorted values: the smallest one that `percent` of them do not exceed.
pub fn nearest_rank(sorted: &[TimeDelta], percent: usize) -> Option<TimeDelta> {
    let rank = (sorted.len() * percent.min(100)).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// A time `factor` times as long; what cannot be said stays as it is.
pub fn scaled(time: TimeDelta, factor: f64) -> TimeDelta {
    let Ok(plain) = time.to_std() else { return time };
    std::time::Duration::try_from_secs_f64(plain.as_secs_f64() * factor)
        .ok()
        .and_then(|scaled| TimeDelta::from_std(scaled).ok())
        .unwrap_or(time)
}
