//! Until when there is a way back: what unwinding from here takes, and the latest instant at which it may be asked for.
//!
//! Latest safe rollback = min(window end, business opening, log retention) − unwinding − reverse drain − validation.
//! The unwinding is the sum of the undos of what stands, one after another, at p90 or by a declared guess; undos that may
//! run side by side only make it shorter. Waiting for the approval of the unwinding is not counted. Must not judge
//! whether to go back.

use chrono::{DateTime, TimeDelta, Utc};

use crate::run::RunState;
use crate::run::event::Role;
use crate::run::facts::{StepId, Undo};
use crate::run::state::{EffectState, Phase};
use crate::runbook::plan::{Plan, Rollback};

use super::estimate::{UndoBasis, delta, undo};
use super::forecast::Forecast;
use super::forecaster::{Forecaster, later};
use super::samples::scaled;
use super::story::Story;

/// The action that starts a replication: from here the source's log is needed.
const REPLICATES: &str = "dms.start";

/// The way back from one point.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WayBack {
    /// What would be undone, in order; closing effects come last.
    pub undos: Vec<UndoOutlook>,
    /// The sum of the undos; where one is unknown, at least.
    pub unwinding: TimeDelta,
    /// What doing abandoned steps again would cost. It is no part of the way back.
    pub redo: TimeDelta,
    pub reverse_drain: Option<TimeDelta>,
    pub validation: Option<TimeDelta>,
    pub safe: Safe,
    /// Rows that arrived on the target would be lost.
    pub loses_rows: bool,
}

/// One undo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoOutlook {
    pub step: StepId,
    pub role: Role,
    pub takes: TimeDelta,
    pub basis: UndoBasis,
}

/// Until when a rollback may be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Safe {
    /// There is nothing to take back, or the run is over.
    #[default]
    NothingStands,
    /// This stands and cannot be undone.
    Never(StepId),
    /// Neither a window nor a log's retention says until when.
    NoLimit,
    Until {
        at: DateTime<Utc>,
        limit: Limit,
    },
}

/// What sets the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    WindowEnd,
    BusinessOpening,
    LogRetention,
}

/// How near the latest safe rollback is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nearness {
    Far,
    Within15,
    Within5,
    Passed,
}

impl Nearness {
    /// With this much time left.
    pub fn of(left: TimeDelta) -> Self {
        if left <= TimeDelta::zero() {
            Self::Passed
        } else if left <= TimeDelta::minutes(5) {
            Self::Within5
        } else if left <= TimeDelta::minutes(15) {
            Self::Within15
        } else {
            Self::Far
        }
    }
}

impl WayBack {
    /// The latest safe instant, where there is one.
    pub const fn latest(&self) -> Option<DateTime<Utc>> {
        match &self.safe {
            Safe::Until { at, .. } => Some(*at),
            Safe::NothingStands | Safe::Never(_) | Safe::NoLimit => None,
        }
    }

    /// How near it is.
    pub fn nearness(&self, now: DateTime<Utc>) -> Nearness {
        self.latest().map_or(Nearness::Far, |at| Nearness::of(at - now))
    }

    /// When it comes nearer next, so that somebody can be woken then.
    pub fn next_warning(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let latest = self.latest()?;
        [15, 5, 0]
            .into_iter()
            .filter_map(|minutes| latest.checked_sub_signed(TimeDelta::minutes(minutes)))
            .find(|at| *at > now)
    }

    /// Whether an undo is of unknown length: the latest safe instant is no later than said.
    pub fn at_least(&self) -> bool {
        self.undos.iter().any(|undo| undo.basis == UndoBasis::Unknown)
    }

    /// Whether an undo's length is only a guess.
    pub fn is_guess(&self) -> bool {
        self.undos.iter().any(|undo| undo.basis.is_guess())
    }
}

/// The way back after one step of a run that has not begun.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub step: StepId,
    pub way_back: WayBack,
    /// Between the step's p90 end and the latest safe instant; negative: there is no safe way back from there.
    pub margin: Option<TimeDelta>,
}

/// What stands at a point.
#[derive(Default)]
struct Standing {
    /// Indexes with how long their undo has been running, in the order of the unwinding.
    undos: Vec<(usize, TimeDelta)>,
    never: Option<usize>,
    replicates_since: Option<DateTime<Utc>>,
    /// The end of the window, where it was extended.
    window_closes: Option<DateTime<Utc>>,
    loses_rows: bool,
}

impl Forecaster<'_> {
    pub(super) fn way_back_of_nothing(&self) -> WayBack {
        self.reckoned(&Standing::default())
    }

    /// The way back from where a run stands.
    pub fn way_back(&self, state: &RunState, story: &Story, now: DateTime<Utc>) -> WayBack {
        if let Phase::Closed { .. } = state.phase {
            return WayBack::default();
        }
        if state.facts.dry_run {
            return self.way_back_of_nothing();
        }
        let elapsed = |index: usize, role: Role| {
            let times = story.timeline.steps.get(index);
            let since = times.and_then(|times| match role {
                Role::Do => None,
                Role::Undo => times.undo,
                Role::Close => times.close,
            });
            match since {
                Some((from, None)) => (now - from).max(TimeDelta::zero()),
                Some((_, Some(_))) | None => TimeDelta::zero(),
            }
        };
        let standing = || {
            let steps = state.facts.steps.iter().zip(&state.steps).enumerate();
            steps.filter(|(_, (_, step))| step.stands())
        };
        let mut undos: Vec<(u64, usize)> = standing()
            .filter(|(_, (facts, _))| facts.undo == Undo::Action)
            .map(|(index, (_, step))| (step.started.unwrap_or_default(), index))
            .collect();
        undos.sort_by_key(|(started, _)| std::cmp::Reverse(*started));
        let undos = undos.into_iter().map(|(_, index)| (index, elapsed(index, Role::Undo)));
        let closes = standing()
            .filter(|(_, (facts, step))| facts.undo == Undo::AtClose && step.close != EffectState::Done)
            .map(|(index, _)| (index, elapsed(index, Role::Close)));
        self.reckoned(&Standing {
            undos: undos.chain(closes).collect(),
            never: standing()
                .find(|(_, (facts, _))| facts.undo == Undo::Irreversible)
                .map(|(index, _)| index),
            replicates_since: self.replicates_since(story),
            window_closes: story.timeline.window_closes,
            loses_rows: state.target_written,
        })
    }

    /// The first intent of a step that starts a replication.
    fn replicates_since(&self, story: &Story) -> Option<DateTime<Utc>> {
        let steps = self.plan.steps.iter().zip(&story.timeline.steps);
        steps
            .filter(|(step, _)| step.action.uses == REPLICATES)
            .flat_map(|(_, times)| &times.attempts)
            .filter_map(|attempt| attempt.effect)
            .min()
    }

    /// The way back after each step, if the run goes as its forecast (made before it begins) says at p90.
    pub fn points(&self, forecast: &Forecast) -> Vec<Point> {
        let started = |index: usize| {
            let outlook = forecast.steps.get(index);
            outlook.map(|step| step.p90 - step.estimate.machine.p90 - step.estimate.human.p90)
        };
        // What begins later is undone first; at the same instant the runbook's order counts.
        let mut order: Vec<usize> = (0..self.plan.steps.len()).collect();
        order.sort_by_key(|&index| (forecast.steps.get(index).map(|step| step.p90), index));
        let intent = self
            .plan
            .steps
            .iter()
            .zip(&forecast.steps)
            .filter(|(step, _)| step.action.uses == REPLICATES)
            .map(|(_, outlook)| later(outlook.p90, Some(-outlook.estimate.machine.p90)))
            .min();
        let mut points = Vec::with_capacity(order.len());
        for (place, &index) in order.iter().enumerate() {
            let Some(outlook) = forecast.steps.get(index) else {
                continue;
            };
            let before = order.get(..=place).unwrap_or_default();
            let rollback = |index: usize| self.plan.steps.get(index).map(|step| &step.rollback);
            let mut undos: Vec<usize> = before
                .iter()
                .copied()
                .filter(|&index| {
                    matches!(
                        rollback(index),
                        Some(Rollback::Action { .. } | Rollback::Abandon { .. })
                    )
                })
                .collect();
            undos.sort_by_key(|&index| std::cmp::Reverse((started(index), index)));
            let at_close = |index: &usize| matches!(rollback(*index), Some(Rollback::AtClose { .. }));
            let mut closes: Vec<usize> = before.iter().copied().filter(at_close).collect();
            closes.sort_unstable();
            let irreversible = |index: &usize| matches!(rollback(*index), Some(Rollback::Irreversible { .. }));
            let way_back = self.reckoned(&Standing {
                undos: undos
                    .into_iter()
                    .chain(closes)
                    .map(|index| (index, TimeDelta::zero()))
                    .collect(),
                never: before.iter().copied().find(irreversible),
                replicates_since: intent.filter(|at| *at <= outlook.p90),
                window_closes: None,
                loses_rows: before
                    .iter()
                    .any(|&index| self.plan.steps.get(index).is_some_and(|step| step.writes_on_target)),
            });
            points.push(Point {
                step: outlook.step.clone(),
                margin: way_back.latest().map(|at| at - outlook.p90),
                way_back,
            });
        }
        points
    }

    fn reckoned(&self, standing: &Standing) -> WayBack {
        let environment = &self.plan.environment;
        let here = |span: Option<_>| span.map(|span| scaled(delta(span), self.speed.recip()));
        let mut undos = Vec::new();
        let mut redo = TimeDelta::zero();
        for &(index, elapsed) in &standing.undos {
            let Some(step) = self.plan.steps.get(index) else {
                continue;
            };
            if let Rollback::Abandon { redo: again, .. } = &step.rollback {
                redo += scaled(delta(*again), self.speed.recip());
            }
            if let Some((role, takes, basis)) = undo(step, self.history, self.speed) {
                undos.push(UndoOutlook {
                    step: StepId(step.id.clone()),
                    role,
                    takes: (takes - elapsed).max(TimeDelta::zero()),
                    basis,
                });
            }
        }
        let unwinding = undos.iter().fold(TimeDelta::zero(), |sum, undo| sum + undo.takes);
        let (reverse_drain, validation) = (here(environment.reverse_drain), here(environment.validation));
        let needed = unwinding + reverse_drain.unwrap_or_default() + validation.unwrap_or_default();
        let never = standing.never.and_then(|index| self.plan.steps.get(index));
        let safe = if let Some(step) = never {
            Safe::Never(StepId(step.id.clone()))
        } else if undos.is_empty() {
            Safe::NothingStands
        } else {
            limits(self.plan, standing, self.speed)
                .and_then(|(at, limit)| {
                    let at = at.checked_sub_signed(needed)?;
                    Some(Safe::Until { at, limit })
                })
                .unwrap_or(Safe::NoLimit)
        };
        WayBack {
            undos,
            unwinding,
            redo,
            reverse_drain,
            validation,
            safe,
            loses_rows: standing.loses_rows,
        }
    }
}

/// The earliest of what ends the time for a way back.
fn limits(plan: &Plan, standing: &Standing, speed: f64) -> Option<(DateTime<Utc>, Limit)> {
    let environment = &plan.environment;
    let window = environment.window.as_ref();
    let closes = window.map(|window| (standing.window_closes.unwrap_or(window.closes), Limit::WindowEnd));
    let business = window
        .and_then(|window| window.business_opens)
        .map(|at| (at, Limit::BusinessOpening));
    let retention = environment
        .log_retention
        .zip(standing.replicates_since)
        .and_then(|(span, since)| {
            let at = since.checked_add_signed(scaled(delta(span), speed.recip()))?;
            Some((at, Limit::LogRetention))
        });
    [closes, business, retention].into_iter().flatten().min()
}
