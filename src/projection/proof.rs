//! The preflight in words. Must not decide anything; every word comes from the record.

use chrono::{DateTime, TimeDelta, Utc};

use crate::run::facts::{StepEffect, StepId};
use crate::run::proof::{Counts, waiting_for_proof};
use crate::run::state::RunState;

use super::words::{clock, span};

/// `0 red, 2 amber, 14 green`.
pub fn counts(counts: Counts) -> String {
    format!("{} red, {} amber, {} green", counts.red, counts.amber, counts.green)
}

/// What a look found, in one line.
pub fn found(number: u32, [red, amber, green]: [u32; 3], words: &[String]) -> String {
    let words: String = words.iter().map(|words| format!("; {words}")).collect();
    format!("preflight {number}: {}{words}", counts(Counts { red, amber, green }))
}

/// What the gate of `step` says of the preflight that its effect waits for; none where it waits for none.
pub fn at_gate(state: &RunState, step: &StepId, now: DateTime<Utc>) -> Vec<String> {
    let changes = state
        .facts
        .step(step)
        .is_some_and(|facts| facts.effect == StepEffect::Mutate);
    let Some(valid) = state.facts.preflight_ms.filter(|_| changes && state.needs_proof()) else {
        return Vec::new();
    };
    let Some(proof) = &state.preflight.proof else {
        return vec!["none yet; an approval is void without one".to_owned()];
    };
    let age = now - DateTime::from_timestamp_millis(proof.begun_ms).unwrap_or(now);
    let mut lines = vec![format!(
        "{}; {} old, valid for {}",
        counts(proof.counts),
        clock(age.max(TimeDelta::zero())),
        span(valid)
    )];
    lines.extend(proof.words.iter().cloned());
    lines
}

/// The first step that waits for a look which is under way.
pub fn waiting(state: &RunState, now: DateTime<Utc>) -> Option<&StepId> {
    state.preflight.under_way?;
    waiting_for_proof(state, now.timestamp_millis()).next()
}
