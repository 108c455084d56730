//! A forecast: when the steps that are left end, along the critical path; downtime, deadlines and the window against
//! that; and until when there is a way back ([`super::way_back`]). Owns the typed answer; [`super::forecaster`] makes it.
//! Must not decide anything.

use chrono::{DateTime, TimeDelta, Utc};

use crate::run::facts::StepId;
use crate::runbook::plan::Plan;

use super::estimate::{Estimate, Quantiles};
use super::way_back::WayBack;

/// A forecast.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    /// When it was made; before a run: when it is taken to start.
    pub now: DateTime<Utc>,
    pub heading: Heading,
    /// In the plan's order.
    pub steps: Vec<StepOutlook>,
    pub p50: Path,
    pub p90: Path,
    /// Steps that are left and of which nothing is known.
    pub silent: usize,
    pub window: Option<WindowOutlook>,
    pub downtime: Option<DowntimeOutlook>,
    pub deadlines: Vec<DeadlineOutlook>,
    pub way_back: WayBack,
}

/// Where the run goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heading {
    Forward,
    /// It is being unwound: only the way back is forecast.
    Back,
    Over,
}

/// One step's outlook.
#[derive(Debug, Clone, PartialEq)]
pub struct StepOutlook {
    pub step: StepId,
    pub estimate: Estimate,
    pub course: Course,
    /// When it ends; of a step that is done: when it ended.
    pub p50: DateTime<Utc>,
    pub p90: DateTime<Utc>,
    /// Whether it is on the p90 path.
    pub critical: bool,
}

/// Where a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    Done,
    /// Begun; `over` by how much it exceeds its p90.
    Running {
        over: Option<TimeDelta>,
    },
    Waiting,
}

/// The steps that decide when everything is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    pub finish: DateTime<Utc>,
    /// What is left along the path.
    pub machine: TimeDelta,
    pub human: TimeDelta,
    pub steps: Vec<StepId>,
}

/// The window against the forecast; margins are negative where it is missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowOutlook {
    pub opens: DateTime<Utc>,
    pub closes: DateTime<Utc>,
    pub p50: TimeDelta,
    pub p90: TimeDelta,
}

/// The downtime that the run will come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DowntimeOutlook {
    pub so_far: TimeDelta,
    pub total: Quantiles,
    /// Something in it is not known.
    pub at_least: bool,
    /// None also where the run goes faster than the night would: then it proves nothing about the budget.
    pub budget: Option<TimeDelta>,
}

/// A deadline against the forecast; slack is negative where it is missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadlineOutlook {
    pub step: StepId,
    pub at: DateTime<Utc>,
    pub p50: TimeDelta,
    pub p90: TimeDelta,
    pub at_least: bool,
    pub done: bool,
}

/// Whether a plan declares anything that a night's end or its way back is measured against.
pub const fn is_timed(plan: &Plan) -> bool {
    plan.environment.window.is_some() || plan.environment.log_retention.is_some()
}

impl Forecast {
    /// Whether something that is left is not known: every end is "at least" then.
    pub const fn at_least(&self) -> bool {
        self.silent > 0
    }

    /// Whether anything is known of what is left.
    pub fn is_known(&self) -> bool {
        let left = self.steps.iter().filter(|step| step.course != Course::Done);
        self.silent == 0 || left.count() > self.silent
    }

    /// Whether p90 keeps the window, the budget and every deadline; none: nothing is known.
    pub fn makes_it(&self) -> Option<bool> {
        let zero = TimeDelta::zero();
        let window = self.window.is_none_or(|window| window.p90 >= zero);
        let downtime = self.downtime.is_none_or(|downtime| downtime.makes_it());
        let deadlines = self.deadlines.iter().all(|deadline| deadline.p90 >= zero);
        self.is_known().then_some(window && downtime && deadlines)
    }
}

impl DowntimeOutlook {
    /// Whether p90 keeps the budget, as far as there is one.
    pub fn makes_it(&self) -> bool {
        self.budget.is_none_or(|budget| self.total.p90 <= budget)
    }
}

impl Forecast {
    /// The forecast of a run that is over is its end, whatever was not done.
    pub(super) fn close(&mut self, ended: DateTime<Utc>) {
        for path in [&mut self.p50, &mut self.p90] {
            *path = Path {
                finish: ended,
                machine: TimeDelta::zero(),
                human: TimeDelta::zero(),
                steps: Vec::new(),
            };
        }
        self.silent = 0;
        if let Some(window) = &mut self.window {
            window.p50 = window.closes - ended;
            window.p90 = window.p50;
        }
        if let Some(downtime) = &mut self.downtime {
            downtime.total = Quantiles::both(downtime.so_far);
            downtime.at_least = false;
        }
        self.deadlines.retain(|deadline| deadline.done);
        for step in &mut self.steps {
            step.critical = false;
        }
    }
}
