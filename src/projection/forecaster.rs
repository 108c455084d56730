//! Makes forecasts: places what is left of every step along the graph, and measures the night against that. Must not
//! decide anything.
//!
//! p50 and p90 are sums along the path of each step's own p50 and p90. That every step of a path takes its p90 in the
//! same night is less likely than one in ten, so the sum errs on the side of caution; it needs no assumption about how
//! the steps' times hang together, and two people with the same journals get the same number. Where nothing is known of
//! a step it counts as nothing, and everything that it is part of says "at least". The commit's gate and the closing
//! effects come on top: the forecast ends with the last step.

use chrono::{DateTime, TimeDelta, Utc};

use crate::run::RunState;
use crate::run::facts::StepId;
use crate::run::state::{Phase, Stage};
use crate::runbook::plan::{DowntimeMark, Plan};

use super::estimate::{Basis, Estimate, Quantiles, delta};
use super::forecast::{Course, DeadlineOutlook, DowntimeOutlook, Forecast, Heading, Path, StepOutlook, WindowOutlook};
use super::samples::History;
use super::schedule::{Graph, Rest, Slot, critical};
use super::story::Story;
use super::timeline::AttemptEnd;
use super::way_back::WayBack;

/// What forecasts of one run are made from.
#[derive(Debug, Clone, Copy)]
pub struct Forecaster<'a> {
    pub plan: &'a Plan,
    pub history: &'a History,
    /// How much faster than nominal the run goes; 1 outside the lab.
    pub speed: f64,
}

/// How far a step is, before anything is estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Done(DateTime<Utc>),
    Begun {
        machine: TimeDelta,
        human: TimeDelta,
        past_gate: bool,
    },
    Waiting,
}

/// What is left of every step at both quantiles.
struct Left {
    standing: Vec<Standing>,
    estimates: Vec<Estimate>,
    graph: Graph,
    p50: Vec<Option<Slot>>,
    p90: Vec<Option<Slot>>,
}

impl Forecaster<'_> {
    /// The forecast of a run that starts at `start`.
    pub fn before(&self, start: DateTime<Utc>) -> Forecast {
        let left = self.left(vec![Standing::Waiting; self.plan.steps.len()]);
        let mut forecast = self.forward(&left, &Story::new(self.plan), start);
        forecast.way_back = self.way_back_of_nothing();
        forecast
    }

    /// The forecast of a run as it stands at `now`.
    pub fn during(&self, state: &RunState, story: &Story, now: DateTime<Utc>) -> Forecast {
        let standing = state
            .each()
            .zip(&story.timeline.steps)
            .map(|((facts, step), times)| {
                let last = times.last();
                match step.stage {
                    // Nobody has to go there.
                    Stage::Waiting if facts.fall_forward => Standing::Done(now),
                    Stage::Done | Stage::Skipped | Stage::Kept => {
                        Standing::Done(last.and_then(|attempt| attempt.ended).unwrap_or(now))
                    }
                    Stage::Checking
                    | Stage::AtGate(_)
                    | Stage::Approved(_)
                    | Stage::Running
                    | Stage::InDoubt
                    | Stage::Verifying => {
                        last.filter(|attempt| attempt.end == AttemptEnd::Open)
                            .map_or(Standing::Waiting, |attempt| Standing::Begun {
                                machine: attempt.machine(now),
                                human: attempt.human(now),
                                past_gate: attempt.effect.is_some(),
                            })
                    }
                    // A new attempt begins from nothing.
                    Stage::Waiting | Stage::Failed | Stage::RollingBack | Stage::RolledBack | Stage::RollbackFailed => {
                        Standing::Waiting
                    }
                }
            })
            .collect();
        let left = self.left(standing);
        let mut forecast = self.forward(&left, story, now);
        forecast.heading = match state.phase {
            Phase::New | Phase::Running | Phase::CommitGate(_) | Phase::Closing(_) => Heading::Forward,
            Phase::Unwinding => Heading::Back,
            Phase::Closed { .. } => Heading::Over,
        };
        if let (Heading::Over, Some(ended)) = (forecast.heading, story.timeline.ended) {
            forecast.close(ended);
        }
        forecast.way_back = self.way_back(state, story, now);
        forecast
    }

    fn left(&self, standing: Vec<Standing>) -> Left {
        let estimates: Vec<Estimate> = self
            .plan
            .steps
            .iter()
            .map(|step| Estimate::of(step, self.history, self.speed))
            .collect();
        let graph = Graph::new(self.plan);
        let slots = |pick: fn(&Quantiles) -> TimeDelta| {
            let rests: Vec<Option<Rest>> = standing
                .iter()
                .zip(&estimates)
                .map(|(standing, estimate)| rest(standing, pick(&estimate.machine), pick(&estimate.human)))
                .collect();
            graph.schedule(&rests)
        };
        let (p50, p90) = (slots(|both| both.p50), slots(|both| both.p90));
        Left {
            standing,
            estimates,
            graph,
            p50,
            p90,
        }
    }

    fn forward(&self, left: &Left, story: &Story, now: DateTime<Utc>) -> Forecast {
        let (p50, p90) = (self.path(&left.p50, now), self.path(&left.p90, now));
        let on_path = critical(&left.p90);
        let mut steps: Vec<StepOutlook> = (0..self.plan.steps.len())
            .filter_map(|index| self.step(left, index, now))
            .collect();
        for index in on_path {
            if let Some(step) = steps.get_mut(index) {
                step.critical = true;
            }
        }
        let window = self.plan.environment.window.as_ref().map(|window| {
            let closes = story.timeline.window_closes.unwrap_or(window.closes);
            WindowOutlook {
                opens: window.opens,
                closes,
                p50: closes - p50.finish,
                p90: closes - p90.finish,
            }
        });
        Forecast {
            now,
            heading: Heading::Forward,
            silent: (0..steps.len()).filter(|&index| left.is_silent(index)).count(),
            deadlines: self.deadlines(left, &steps),
            downtime: self.downtime(left, story, now),
            steps,
            p50,
            p90,
            window,
            way_back: WayBack::default(),
        }
    }

    fn step(&self, left: &Left, index: usize, now: DateTime<Utc>) -> Option<StepOutlook> {
        let standing = *left.standing.get(index)?;
        let estimate = *left.estimates.get(index)?;
        let end = |slots: &[Option<Slot>]| match (standing, slots.get(index).copied().flatten()) {
            (Standing::Done(at), _) => at,
            (Standing::Begun { .. } | Standing::Waiting, slot) => later(now, slot.map(|slot| slot.finish())),
        };
        Some(StepOutlook {
            step: StepId(self.plan.steps.get(index)?.id.clone()),
            course: match standing {
                Standing::Done(_) => Course::Done,
                Standing::Begun {
                    machine,
                    human,
                    past_gate,
                } => Course::Running {
                    over: over(&estimate, machine, human, past_gate),
                },
                Standing::Waiting => Course::Waiting,
            },
            estimate,
            p50: end(&left.p50),
            p90: end(&left.p90),
            critical: false,
        })
    }

    fn path(&self, slots: &[Option<Slot>], now: DateTime<Utc>) -> Path {
        let steps = critical(slots);
        let on_path = || steps.iter().filter_map(|&index| slots.get(index).copied().flatten());
        let sum = |part: fn(&Rest) -> TimeDelta| on_path().fold(TimeDelta::zero(), |sum, slot| sum + part(&slot.rest));
        Path {
            finish: later(now, on_path().next_back().map(|slot| slot.finish())),
            machine: sum(|rest| rest.machine),
            human: sum(|rest| rest.human),
            steps: steps
                .iter()
                .filter_map(|&index| self.plan.steps.get(index))
                .map(|step| StepId(step.id.clone()))
                .collect(),
        }
    }

    fn downtime(&self, left: &Left, story: &Story, now: DateTime<Utc>) -> Option<DowntimeOutlook> {
        let marked = |mark| self.plan.steps.iter().position(|step| step.downtime == Some(mark));
        let (begins, ends) = (marked(DowntimeMark::Begins)?, marked(DowntimeMark::Ends)?);
        let so_far = story.downtime.so_far(now).unwrap_or_default();
        let is_running = story.downtime.is_running();
        let more = |slots: &[Option<Slot>]| {
            let slot = |index: usize| slots.get(index).copied().flatten();
            // The clock starts with the intent: after the gate of the step that begins it.
            let from = match slot(begins) {
                Some(slot) if !is_running => slot.start + slot.rest.human,
                Some(_) | None => TimeDelta::zero(),
            };
            slot(ends).map_or_else(TimeDelta::zero, |slot| (slot.finish() - from).max(TimeDelta::zero()))
        };
        let p50 = so_far + more(&left.p50);
        let inside = {
            let (to, from) = (left.graph.up_to(ends), left.graph.up_to(begins));
            let is_inside = |index: usize| to.get(index) == Some(&true) && from.get(index) == Some(&false);
            (0..self.plan.steps.len())
                .filter(|&index| is_inside(index) || index == begins)
                .any(|index| left.is_silent(index))
        };
        let speed_of_the_night = (self.speed - 1.0).abs() < f64::EPSILON;
        Some(DowntimeOutlook {
            so_far,
            total: Quantiles {
                p50,
                // A later start of the p90 path must not make its downtime look shorter.
                p90: (so_far + more(&left.p90)).max(p50),
            },
            at_least: inside,
            budget: self
                .plan
                .environment
                .downtime_budget
                .filter(|_| speed_of_the_night)
                .map(delta),
        })
    }

    fn deadlines(&self, left: &Left, steps: &[StepOutlook]) -> Vec<DeadlineOutlook> {
        let with_deadline = self.plan.steps.iter().zip(steps).enumerate();
        with_deadline
            .filter_map(|(index, (step, outlook))| {
                let at = self.plan.deadline(step)?;
                let before = left.graph.up_to(index);
                Some(DeadlineOutlook {
                    step: outlook.step.clone(),
                    at,
                    p50: at - outlook.p50,
                    p90: at - outlook.p90,
                    at_least: (0..before.len()).any(|index| before.get(index) == Some(&true) && left.is_silent(index)),
                    done: outlook.course == Course::Done,
                })
            })
            .collect()
    }
}

impl Left {
    /// Whether a step is left of which nothing is known.
    fn is_silent(&self, index: usize) -> bool {
        let done = matches!(self.standing.get(index), Some(Standing::Done(_)) | None);
        !done && self.estimates.get(index).is_some_and(|estimate| !estimate.is_known())
    }
}

/// What is left of a step whose estimate is this; none once it is done.
fn rest(standing: &Standing, machine: TimeDelta, human: TimeDelta) -> Option<Rest> {
    let zero = TimeDelta::zero();
    match standing {
        Standing::Done(_) => None,
        Standing::Waiting => Some(Rest { machine, human }),
        Standing::Begun {
            machine: worked,
            human: waited,
            past_gate,
        } => Some(Rest {
            machine: (machine - *worked).max(zero),
            human: if *past_gate { zero } else { (human - *waited).max(zero) },
        }),
    }
}

/// By how much a begun step exceeds its p90: the machine, or the people whom it still waits for.
fn over(estimate: &Estimate, worked: TimeDelta, waited: TimeDelta, past_gate: bool) -> Option<TimeDelta> {
    if !estimate.is_known() {
        return None;
    }
    let by = worked - estimate.machine.p90;
    // `expect` of a step that is not human says nothing about waiting.
    let measured = matches!(estimate.basis, Basis::Earlier(_)) || estimate.human != Quantiles::ZERO;
    let human_by = waited - estimate.human.p90;
    if by > TimeDelta::zero() && estimate.machine != Quantiles::ZERO {
        Some(by)
    } else if !past_gate && measured && human_by > TimeDelta::zero() {
        Some(human_by)
    } else {
        None
    }
}

pub(super) fn later(now: DateTime<Utc>, by: Option<TimeDelta>) -> DateTime<Utc> {
    by.map_or(Some(now), |by| now.checked_add_signed(by))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}
