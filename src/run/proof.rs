//! The proof of a preflight: asked for before the first change of a run, kept fresh while a gate is open, dead with the
//! process and with the plan that it was made for. Pure part of `decide` and `apply`. Must not know what is looked at.

use super::decide::{Batch, Rejected};
use super::event::Event;
use super::facts::{StepEffect, StepFacts, StepId};
use super::state::{Phase, RunState, Stage};

/// Who holds a run whose preflight found something red.
pub const PREFLIGHT: &str = "preflight";

/// What is known of the peers before the first change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Preflight {
    /// How often it was looked, whatever became of it.
    pub looks: u32,
    /// The look that is under way.
    pub under_way: Option<Look>,
    /// What the last one found.
    pub proof: Option<Proof>,
}

/// A look that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    pub number: u32,
    /// Milliseconds since the epoch.
    pub begun_ms: i64,
}

/// What a look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// When its look was begun: nothing that it says is younger.
    pub begun_ms: i64,
    pub counts: Counts,
    /// What is red, then what is amber.
    pub words: Vec<String>,
}

/// Findings by verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub red: u32,
    pub amber: u32,
    pub green: u32,
}

impl Preflight {
    /// Forgets what was found and what is under way; a look that answers later is not heard.
    pub(super) fn forget(&mut self) {
        self.under_way = None;
        self.proof = None;
    }

    /// Whether a look is under way, or has found something.
    pub(super) const fn is_known(&self) -> bool {
        self.under_way.is_some() || self.proof.is_some()
    }

    /// After a release: what was red is looked at again.
    pub(super) fn released(&mut self) {
        if self.proof.as_ref().is_some_and(|proof| proof.counts.red > 0) {
            self.proof = None;
        }
    }
}

impl RunState {
    /// Whether the run still needs a proof before it changes anything: one is declared, and nothing that a step changed
    /// stands or may stand.
    pub fn needs_proof(&self) -> bool {
        self.facts.preflight_ms.is_some()
            && !self
                .each()
                .any(|(facts, step)| facts.effect == StepEffect::Mutate && step.stands())
    }

    /// Why `step` may not begin a change at `now_ms`, as far as the preflight goes.
    pub(super) fn unproven(&self, step: &StepFacts, now_ms: i64) -> Option<String> {
        let valid = self.facts.preflight_ms.filter(|_| step.effect == StepEffect::Mutate)?;
        if !self.needs_proof() {
            return None;
        }
        match &self.preflight.proof {
            None => Some("no preflight has proven that the night can begin".to_owned()),
            Some(proof) if proof.counts.red > 0 => Some(format!("the preflight found {} red", proof.counts.red)),
            Some(proof) if !lasts(proof, valid, now_ms) => Some(format!(
                "the preflight is older than the {} s for which it is valid",
                valid / 1_000
            )),
            Some(_) => None,
        }
    }
}

/// Whether a proof is not older than `valid` milliseconds. One from the future is of another clock.
fn lasts(proof: &Proof, valid: u64, now_ms: i64) -> bool {
    let age = now_ms.saturating_sub(proof.begun_ms);
    u64::try_from(age).is_ok_and(|age| age < valid)
}

/// Looks, or looks again, where a change waits for it: one that may begin and is `withheld`, or one at its gate whose
/// proof has lived through half of its time.
pub(super) fn look(batch: &mut Batch, withheld: bool) -> Result<(), Rejected> {
    let state = &batch.state;
    let Some(valid) = state.facts.preflight_ms.filter(|_| state.preflight.under_way.is_none()) else {
        return Ok(());
    };
    let fading = || {
        let proof = state.preflight.proof.as_ref();
        let young = proof.is_some_and(|proof| lasts(proof, valid / 2, batch.now_ms));
        !young && state.needs_proof() && at_a_gate(state)
    };
    if !withheld && !fading() {
        return Ok(());
    }
    let number = state.preflight.looks + 1;
    let begun_ms = batch.now_ms;
    batch.push(Event::PreflightBegun { number, begun_ms })
}

/// Whether a change is on its way through its checks and its gate.
fn at_a_gate(state: &RunState) -> bool {
    state.each().any(|(facts, step)| {
        facts.effect == StepEffect::Mutate
            && matches!(step.stage, Stage::Checking | Stage::AtGate(_) | Stage::Approved(_))
    })
}

/// A look ended. What is red holds the run before its first change.
pub(super) fn looked(batch: &mut Batch, number: u32, counts: Counts, words: &[String]) -> Result<(), Rejected> {
    let under_way = batch.state.preflight.under_way.filter(|look| look.number == number);
    let Some(look) = under_way else {
        return Err(Rejected::new(format!("preflight {number} is not under way any more")));
    };
    batch.push(Event::PreflightEnded {
        number,
        begun_ms: look.begun_ms,
        red: counts.red,
        amber: counts.amber,
        green: counts.green,
        words: words.to_vec(),
    })?;
    let matters = batch.state.phase == Phase::Running && batch.state.hold.is_none() && batch.state.needs_proof();
    if counts.red == 0 || !matters {
        return Ok(());
    }
    let first = words.first().map_or("see its findings", String::as_str);
    let reason = format!(
        "{} red: {first}; mend it and release to look again, or amend the runbook without preflight",
        counts.red
    );
    batch.hold(&reason, PREFLIGHT)
}

/// The steps that a look is waited for, for those who show it.
pub fn waiting_for_proof(state: &RunState, now_ms: i64) -> impl Iterator<Item = &StepId> {
    let ready = state.ready().filter_map(|index| state.facts.steps.get(index));
    ready
        .filter(move |facts| state.unproven(facts, now_ms).is_some())
        .map(|facts| &facts.id)
}
