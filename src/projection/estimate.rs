//! How long a step or its undo is likely to take here: from earlier runs where there are enough of them, else from what
//! the runbook says, else not known. Owns which of the three it was, so that nobody takes a guess for a measurement.

use chrono::TimeDelta;

use crate::run::event::Role;
use crate::runbook::catalogue::Effect;
use crate::runbook::plan::{PlannedStep, Rollback, Span};

use super::samples::{ENOUGH, History, nearest_rank, scaled};

/// The middle and the cautious value of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantiles {
    pub p50: TimeDelta,
    pub p90: TimeDelta,
}

impl Quantiles {
    /// Nothing at all.
    pub const ZERO: Self = Self::both(TimeDelta::zero());

    /// One value for both.
    pub const fn both(value: TimeDelta) -> Self {
        Self { p50: value, p90: value }
    }

    /// Nearest rank over values in any order; none of none.
    pub fn of(mut values: Vec<TimeDelta>) -> Option<Self> {
        values.sort();
        Some(Self {
            p50: nearest_rank(&values, 50)?,
            p90: nearest_rank(&values, 90)?,
        })
    }

    /// Both values divided by the speed of a lab.
    fn at_speed(self, speed: f64) -> Self {
        Self {
            p50: scaled(self.p50, speed.recip()),
            p90: scaled(self.p90, speed.recip()),
        }
    }
}

/// Where an estimate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// From this many earlier successes.
    Earlier(usize),
    /// The runbook's `expect`: only so many earlier successes are known.
    Planned(usize),
    /// Neither is there enough known, nor does the runbook say anything.
    Unknown(usize),
}

/// A step's estimate, in the time of this run (a lab's speed is taken in).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    pub machine: Quantiles,
    /// Waiting for people; zero where nothing was measured: `expect` says nothing about it, except of human steps.
    pub human: Quantiles,
    pub basis: Basis,
}

impl Estimate {
    /// The estimate of a step in a run at `speed`.
    pub fn of(step: &PlannedStep, history: &History, speed: f64) -> Self {
        let samples = history.of(step);
        let count = samples.len();
        let machine = Quantiles::of(samples.iter().map(|sample| sample.machine).collect());
        let people: Vec<TimeDelta> = samples.iter().filter_map(|sample| sample.human).collect();
        let people = Some(people).filter(|people| people.len() >= ENOUGH);
        if let (true, Some(machine)) = (count >= ENOUGH, machine) {
            // What scripts approved says nothing about people.
            let planned = match (step.action.effect, step.expect) {
                (Effect::Human, Some(expect)) => Quantiles::both(delta(expect)),
                (Effect::Human | Effect::Read | Effect::Mutate, _) => Quantiles::ZERO,
            };
            return Self {
                machine: machine.at_speed(speed),
                human: people.and_then(Quantiles::of).unwrap_or(planned),
                basis: Basis::Earlier(count),
            };
        }
        let Some(expect) = step.expect.map(delta) else {
            return Self {
                machine: Quantiles::ZERO,
                human: Quantiles::ZERO,
                basis: Basis::Unknown(count),
            };
        };
        let (machine, human) = match step.action.effect {
            // The answer of a person is all that a human step does.
            Effect::Human => (Quantiles::ZERO, Quantiles::both(expect)),
            Effect::Read | Effect::Mutate => (Quantiles::both(expect).at_speed(speed), Quantiles::ZERO),
        };
        Self {
            machine,
            human,
            basis: Basis::Planned(count),
        }
    }

    /// Whether anything is known.
    pub const fn is_known(&self) -> bool {
        match self.basis {
            Basis::Earlier(_) | Basis::Planned(_) => true,
            Basis::Unknown(_) => false,
        }
    }
}

/// Where the estimate of an undo comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UndoBasis {
    /// The p90 of this many earlier undos.
    Earlier(usize),
    /// A guess: the undo's own timeout.
    Timeout,
    /// A guess: what the step itself is expected to take.
    Expect,
    /// A guess: the timeout of the step.
    StepTimeout,
    /// Nothing is known; it counts as nothing.
    Unknown,
}

impl UndoBasis {
    /// Whether it is neither measured nor wholly unknown.
    pub const fn is_guess(self) -> bool {
        match self {
            Self::Timeout | Self::Expect | Self::StepTimeout => true,
            Self::Earlier(_) | Self::Unknown => false,
        }
    }
}

/// How long an undo (or a closing effect) takes at p90, in the time of this run; none where there is no such effect.
pub fn undo(step: &PlannedStep, history: &History, speed: f64) -> Option<(Role, TimeDelta, UndoBasis)> {
    let (role, own) = match &step.rollback {
        Rollback::Action { action, .. } | Rollback::Abandon { action, .. } => (Role::Undo, action.timeout),
        // Its timeout is that of the step, made for the way forward: a guess of last resort.
        Rollback::AtClose { .. } => (Role::Close, None),
        Rollback::Nothing | Rollback::NotNeeded { .. } | Rollback::Irreversible { .. } => return None,
    };
    let samples = history.of_way_back(step, role);
    let nominal = Quantiles::of(samples.to_vec()).filter(|_| samples.len() >= ENOUGH);
    let guess = |span: Option<Span>, basis| span.map(|span| (delta(span), basis));
    let (takes, basis) = nominal
        .map(|nominal| (nominal.p90, UndoBasis::Earlier(samples.len())))
        .or_else(|| guess(own, UndoBasis::Timeout))
        .or_else(|| guess(step.expect, UndoBasis::Expect))
        .or_else(|| guess(step.timeout, UndoBasis::StepTimeout))
        .unwrap_or((TimeDelta::zero(), UndoBasis::Unknown));
    Some((role, scaled(takes, speed.recip()), basis))
}

/// A planned duration. Ten years are the format's limit, so that sums never overflow.
pub fn delta(span: Span) -> TimeDelta {
    const MOST: u64 = 10 * 366 * 86_400_000;
    TimeDelta::milliseconds(i64::try_from(span.0.min(MOST)).unwrap_or_default())
}
