//! Another plan in the middle of a run: what it may change, and what becomes of the state when it is taken. Pure part of
//! `decide` and `apply`. Must not know how plans are read or compared: a [`Draft`] says which steps differ.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::apply::{Illegal, unstarted_wait};
use super::command::Binding;
use super::decide::{Ask, Batch, Rejected, request};
use super::event::{Event, Subject};
use super::facts::{Facts, RequestId, StepFacts, StepId, Undo, Who};
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
    /// Whether an amendment by this plan is asked for.
    pub fn is_asked_for(&self, plan: &str) -> bool {
        self.open_requests()
            .any(|request| request.plan.as_deref() == Some(plan))
    }

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
            let checks = step.stage == Stage::Failed
                && step.act == EffectState::Done
                && draft.only_checks.contains(id)
                // To go on without what they say is asked of those who approved the step: that is a skip.
                && is_operators(facts);
            if new.is_none() || draft.changed.contains(id) && !checks {
                return Err(Rejected::new(format!(
                    "step {id} has begun and cannot be changed any more; leave it in the runbook as it was"
                )));
            }
            continue;
        }
        // What is offered only beyond the point of no return is off the way as well.
        let on_the_way = new.filter(|new| facts.fall_forward || !new.fall_forward);
        if on_the_way.is_none() && !is_operators(facts) {
            return Err(Rejected::new(format!(
                "step {id} asks others than the operator, and cannot be taken out; skip it under its own gate"
            )));
        }
        let Some(new) = new else { continue };
        unweakened(facts, new)?;
        order(&state.facts, &draft.facts, id)?;
        if !is_as_strict(&new.gate, &facts.gate) {
            return Err(Rejected::new(format!(
                "an amendment must not weaken a gate, and it weakens that of step {id}; ask for at least as much as before"
            )));
        }
    }
    Ok(())
}

/// Whether nobody but the operator, or nobody at all, is asked for a step.
const fn is_operators(facts: &StepFacts) -> bool {
    match &facts.gate.who {
        Who::Open { .. } | Who::Operator => true,
        Who::Quorum(_) | Who::Poll { .. } => false,
    }
}

/// What makes a gate besides those whom it asks: that there is no way back from it, that its checks go on.
fn unweakened(old: &StepFacts, new: &StepFacts) -> Result<(), Rejected> {
    let id = &old.id;
    let no_return = old.writes_on_target && !new.writes_on_target
        || old.undo == Undo::Irreversible && new.undo != Undo::Irreversible;
    if no_return {
        return Err(Rejected::new(format!(
            "step {id} is a point of no return and must stay one; skip it, or stop the run and begin another"
        )));
    }
    if old.live && !new.live {
        return Err(Rejected::new(format!(
            "the gate of step {id} has live checks, and must keep some"
        )));
    }
    Ok(())
}

/// What others than the operator have to approve first is still approved first.
fn order(old: &Facts, new: &Facts, id: &StepId) -> Result<(), Rejected> {
    let (mut before, mut after) = (BTreeSet::new(), BTreeSet::new());
    old.ancestors(id, &mut before);
    new.ancestors(id, &mut after);
    let moved = before
        .iter()
        .filter(|other| old.step(other).is_some_and(|facts| !is_operators(facts)))
        .find(|other| !after.contains(*other));
    moved.map_or(Ok(()), |other| {
        Err(Rejected::new(format!(
            "step {id} must not come before {other}, which asks others than the operator"
        )))
    })
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
    let steps = draft.facts.steps.iter().map(|facts| {
        let index = state.facts.index(&facts.id);
        let Some(known) = index.and_then(|index| state.steps.get(index)) else {
            // Every try has a name of its own, also of a step that was taken out and comes back.
            return Arc::new(StepState {
                attempt: state.retired.get(&facts.id).copied().unwrap_or(0),
                ..StepState::default()
            });
        };
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
    let steps = steps.collect();
    let gone = state.facts.steps.iter().zip(&state.steps);
    let gone = gone.filter(|(facts, step)| draft.facts.step(&facts.id).is_none() && step.attempt > 0);
    let gone: Vec<_> = gone.map(|(facts, step)| (facts.id.clone(), step.attempt)).collect();
    state.retired.extend(gone);
    state.steps = steps;
    let kept = |step: &StepId| {
        let deadline = |facts: &Facts| facts.step(step).and_then(|facts| facts.deadline_ms);
        draft.facts.step(step).is_some() && deadline(&state.facts) == deadline(&draft.facts)
    };
    state.overdue.retain(kept);
    state.facts = draft.facts.clone();
    // It was looked for the old plan.
    state.preflight.forget();
    state.amended += 1;
    Ok(())
}
