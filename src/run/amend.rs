//! Another plan in the middle of a run: what it may change, and what becomes of the state when it is taken. Pure part of
//! `decide` and `apply`. Must not know how plans are read or compared: a [`Draft`] says which steps differ.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::apply::{Illegal, unstarted_wait};
use super::command::Binding;
use super::decide::{Ask, Batch, Rejected, request};
use super::event::{Event, Subject};
use super::facts::{Facts, RequestId, StepId, Who};
use super::state::{EffectState, Phase, RunState, Stage, StepState};
use super::strict::is_as_strict;

/// A plan that a run may be amended with.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// The digest of the plan's file: its name in commands and records.
    pub plan: String,
    pub facts: Arc<Facts>,
    /// Steps of both plans that say anything else than before.
    pub changed: BTreeSet<StepId>,
    /// Those of them that differ in nothing but their after-checks and words.
    pub only_checks: BTreeSet<StepId>,
    /// What its record names besides: digests and files.
    pub data: Map<String, Value>,
}

/// The plans that this process has read, by the digest of their files. What a record names is found here; it is no part
/// of what is true of a run.
#[derive(Debug, Clone, Default)]
pub struct Drafts(BTreeMap<String, Arc<Draft>>);

impl PartialEq for Drafts {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl RunState {
    /// Makes a plan known, so that it can be asked for and a record can name it.
    pub fn learn(&mut self, draft: Arc<Draft>) {
        self.drafts.0.insert(draft.plan.clone(), draft);
    }
}

/// Asks for an amendment under its own gate.
pub(super) fn ask(
    batch: &mut Batch,
    plan: &str,
    person: &str,
    reason: &str,
    binding: &Binding,
) -> Result<(), Rejected> {
    let draft = known(&batch.state, plan)?;
    fits(&batch.state, &draft)?;
    if reason.trim().is_empty() {
        return Err(Rejected::new("an amendment needs its reason"));
    }
    if person != batch.state.operator {
        return Err(Rejected::new(format!(
            "only the operator ({}) asks for an amendment",
            batch.state.operator
        )));
    }
    let before = batch
        .state
        .open_requests()
        .find(|request| request.subject == Subject::Amend);
    if let Some(before) = before.map(|request| request.id) {
        batch.push(Event::GateVoided {
            request: before,
            reason: "another amendment is asked for".to_owned(),
        })?;
    }
    let ask = Ask {
        reason: Some(reason.to_owned()),
        plan: Some(plan.to_owned()),
        ..Ask::of(Subject::Amend)
    };
    request(batch, ask, None, binding)
}

/// The amendment was approved: every other approval dies, and the plan is another one.
pub(super) fn granted(batch: &mut Batch, id: RequestId, plan: &str) -> Result<(), Rejected> {
    let draft = known(&batch.state, plan)?;
    fits(&batch.state, &draft)?;
    for request in batch.state.pending_approvals() {
        if request != id {
            let reason = "the plan was amended; approvals of the old one die with it".to_owned();
            batch.push(Event::GateVoided { request, reason })?;
        }
    }
    batch.push(Event::RunAmended {
        request: id,
        plan_file_digest: plan.to_owned(),
        data: draft.data.clone(),
    })
}

fn known(state: &RunState, plan: &str) -> Result<Arc<Draft>, Rejected> {
    let draft = state.drafts.0.get(plan).cloned();
    draft.ok_or_else(|| Rejected::new("the changed plan was not read; load the runbook again"))
}

/// Whether the run can be amended with `draft` as it stands.
fn fits(state: &RunState, draft: &Draft) -> Result<(), Rejected> {
    now(state)?;
    people(&state.facts, &draft.facts)?;
    for (what, old, new) in [
        ("unwinding", &state.facts.unwind, &draft.facts.unwind),
        ("point of no return's", &state.facts.no_return, &draft.facts.no_return),
        ("commit", &state.facts.commit, &draft.facts.commit),
        ("window's", &state.facts.extend, &draft.facts.extend),
        ("amendment's", &state.facts.amend, &draft.facts.amend),
    ] {
        if !is_as_strict(new, old) {
            return Err(Rejected::new(format!(
                "an amendment must not weaken a gate, and it weakens the {what} gate; ask for at least as much as before"
            )));
        }
    }
    for (facts, step) in state.each() {
        let id = &facts.id;
        let new = draft.facts.step(id);
        if begun(step) {
            let checks = step.stage == Stage::Failed && step.act == EffectState::Done && draft.only_checks.contains(id);
            if new.is_none() || draft.changed.contains(id) && !checks {
                return Err(Rejected::new(format!(
                    "step {id} has begun and cannot be changed any more; leave it in the runbook as it was"
                )));
            }
            continue;
        }
        let Some(new) = new else {
            match &facts.gate.who {
                Who::Open { .. } | Who::Operator => continue,
                Who::Quorum(_) | Who::Poll { .. } => {
                    return Err(Rejected::new(format!(
                        "step {id} asks others than the operator, and cannot be taken out; skip it under its own gate"
                    )));
                }
            }
        };
        if !is_as_strict(&new.gate, &facts.gate) {
            return Err(Rejected::new(format!(
                "an amendment must not weaken a gate, and it weakens that of step {id}; ask for at least as much as before"
            )));
        }
    }
    Ok(())
}

/// Whether anything can be amended now: the run is held, goes forward, and nothing is under way.
fn now(state: &RunState) -> Result<(), Rejected> {
    if state.facts.dry_run {
        return Err(Rejected::new("a dry run is not amended; begin another one"));
    }
    if state.phase != Phase::Running || state.is_half_unwound() {
        return Err(Rejected::new(
            "a run is amended while it goes forward; it is being rolled back or committed",
        ));
    }
    if state.hold.is_none() {
        return Err(Rejected::new("a run is amended while it is held; hold it first"));
    }
    if let Some((step, _, _)) = state.open_effects().next() {
        return Err(Rejected::new(format!(
            "the effect of step {step} is under way; wait for its outcome before you amend the plan"
        )));
    }
    let verified = state.each().find(|(_, step)| step.stage == Stage::Verifying);
    verified.map_or(Ok(()), |(facts, _)| {
        Err(Rejected::new(format!(
            "step {} is being verified; wait for what the checks say",
            facts.id
        )))
    })
}

fn people(old: &Facts, new: &Facts) -> Result<(), Rejected> {
    let same = old.people == new.people
        && old.personas == new.personas
        && old.window == new.window
        && old.dry_run == new.dry_run;
    if same {
        Ok(())
    } else {
        Err(Rejected::new(
            "an amendment must not change the people or the window; those are the environment's",
        ))
    }
}

/// Whether anything of the step happened, may have happened, or was decided.
fn begun(step: &StepState) -> bool {
    let untouched = step.undo == EffectState::None && step.close == EffectState::None && !step.stands();
    match step.stage {
        Stage::Waiting | Stage::Checking | Stage::AtGate(_) | Stage::Approved(_) | Stage::Failed => !untouched,
        Stage::Running
        | Stage::InDoubt
        | Stage::Verifying
        | Stage::Done
        | Stage::Skipped
        | Stage::RollingBack
        | Stage::RolledBack
        | Stage::RollbackFailed
        | Stage::Kept => true,
    }
}

/// Takes the plan: what was known of each step stays with it, new ones wait, and what had not begun is looked at anew. So
/// is a step that failed, left nothing, and is another one now: it may need what it did not need before.
pub(super) fn amended(state: &mut RunState, plan: &str) -> Result<(), Illegal> {
    let draft = state.drafts.0.get(plan).cloned().ok_or_else(|| Illegal {
        what: "an amendment whose plan is not here".to_owned(),
    })?;
    unstarted_wait(state);
    let fresh = Arc::new(StepState::default());
    let steps = draft.facts.steps.iter().map(|facts| {
        let index = state.facts.index(&facts.id);
        let known = index.and_then(|index| state.steps.get(index)).unwrap_or(&fresh);
        let anew = known.stage == Stage::Failed && !begun(known) && draft.changed.contains(&facts.id);
        if anew {
            Arc::new(StepState {
                attempt: known.attempt,
                ..StepState::default()
            })
        } else {
            known.clone()
        }
    });
    state.steps = steps.collect();
    let kept = |step: &StepId| {
        let deadline = |facts: &Facts| facts.step(step).and_then(|facts| facts.deadline_ms);
        draft.facts.step(step).is_some() && deadline(&state.facts) == deadline(&draft.facts)
    };
    state.overdue.retain(kept);
    state.facts = draft.facts.clone();
    state.amended += 1;
    Ok(())
}
