//! Unwinding: which undos, in which order, under which gate, and how it ends. Pure part of `decide`.

use std::collections::BTreeSet;

use super::command::Binding;
use super::decide::{Ask, Batch, Rejected, intent, request};
use super::event::{CloseState, Event, PersonDecision, Role, Subject};
use super::facts::{RequestId, StepId, Undo};
use super::state::{Phase, RunState, Stage, UnwindStage};

/// Bytes of step names that a record takes.
const NAMED: usize = 32 * 1024;

/// What an unwinding to `to` would undo, in order: reverse of the actual start, only what happened or may have.
pub fn plannable(state: &RunState, to: Option<&StepId>) -> Result<Vec<StepId>, Rejected> {
    let stands = match to {
        None => 0,
        Some(id) => {
            let step = state
                .step(id)
                .ok_or_else(|| Rejected::new(format!("this plan has no step {id}")))?;
            match (step.stage, step.settled) {
                (Stage::Done, Some(settled)) => settled,
                (_, _) => {
                    return Err(Rejected::new(format!(
                        "step {id} is not done; it cannot be what stands"
                    )));
                }
            }
        }
    };
    if let Some((step, _, effect)) = state.open_effects().next() {
        return Err(Rejected::new(if effect.needs_person() {
            format!("step {step} is in doubt; decide about it before anything is unwound")
        } else {
            format!(
                "step {step} is running; hold the run and wait for its outcome, or cancel it, before anything is unwound"
            )
        }));
    }
    let mut found = Vec::new();
    for (facts, step) in state.each() {
        let Some(started) = step.started.filter(|started| *started > stands) else {
            continue;
        };
        if !step.stands() {
            continue;
        }
        match facts.undo {
            Undo::Action => found.push((started, facts.id.clone())),
            Undo::Irreversible => {
                return Err(Rejected::new(format!(
                    "step {} cannot be undone; unwind to a step after it, or go forward",
                    facts.id
                )));
            }
            Undo::Nothing | Undo::Kept | Undo::AtClose => {}
        }
    }
    found.sort_by_key(|(started, _)| std::cmp::Reverse(*started));
    Ok(found.into_iter().map(|(_, id)| id).collect())
}

/// Whether an unwinding to `to` takes back something past the point of no return.
fn crosses_no_return(state: &RunState, steps: &[StepId]) -> bool {
    state
        .facts
        .steps
        .iter()
        .any(|facts| facts.writes_on_target && steps.contains(&facts.id))
}

pub(super) fn plan(batch: &mut Batch, to: Option<&StepId>, person: &str) -> Result<(), Rejected> {
    if batch.state.phase == Phase::Unwinding {
        return Err(Rejected::new("the run is being unwound already"));
    }
    if let Phase::Closing(_) = batch.state.phase {
        return Err(Rejected::new(
            "the commit was approved; its closing effects are under way",
        ));
    }
    let steps = plannable(&batch.state, to)?;
    for request in batch.state.pending_approvals() {
        batch.push(Event::GateVoided {
            request,
            reason: "the run is being unwound".to_owned(),
        })?;
    }
    planned(batch, to, steps, person)
}

fn planned(batch: &mut Batch, to: Option<&StepId>, steps: Vec<StepId>, person: &str) -> Result<(), Rejected> {
    let past_no_return = crosses_no_return(&batch.state, &steps);
    let bytes: usize = steps.iter().map(|step| step.0.len() + 3).sum();
    let derived = bytes > NAMED;
    batch.push(Event::UnwindPlanned {
        to: to.cloned(),
        steps: if derived { Vec::new() } else { steps },
        past_no_return,
        person: person.to_owned(),
        derived,
    })
}

pub(super) fn prepared(
    batch: &mut Batch,
    lost: Option<u64>,
    action_digest: &str,
    evidence: Option<&str>,
    fault: Option<&str>,
) -> Result<(), Rejected> {
    let preparing = batch
        .state
        .unwind
        .as_ref()
        .is_some_and(|unwind| unwind.stage == UnwindStage::Preparing);
    if !preparing {
        return Err(Rejected::new("no unwinding is being prepared"));
    }
    batch.push(Event::UnwindPrepared {
        lost,
        fault: fault.map(str::to_owned),
    })?;
    let binding = Binding {
        action_digest: action_digest.to_owned(),
        evidence_digest: evidence.unwrap_or_default().to_owned(),
        identity: serde_json::Value::Null,
    };
    request(batch, Ask::of(Subject::Unwind), None, &binding)
}

/// The unwinding was not approved: the run is held where it is, or stays half unwound and says so.
pub(super) fn dropped(batch: &mut Batch, reason: &str) -> Result<(), Rejected> {
    let begun = batch.state.is_half_unwound();
    // Half unwound there is no forward: the rest is planned and asked anew once released.
    if !begun {
        batch.push(Event::UnwindDropped {
            reason: reason.to_owned(),
        })?;
    }
    if batch.state.hold.is_some() {
        return Ok(());
    }
    let words = format!("the unwinding was not approved: {reason}");
    batch.hold(&words, "gate")
}

pub(super) fn advance(batch: &mut Batch) -> Result<(), Rejected> {
    let Some(unwind) = batch.state.unwind.clone() else {
        return Ok(());
    };
    match unwind.stage {
        UnwindStage::Preparing | UnwindStage::AtGate(_) => Ok(()),
        UnwindStage::Replan if batch.state.hold.is_some() || busy(&batch.state) => Ok(()),
        UnwindStage::Replan => planned(batch, unwind.to.as_ref(), unwind.steps, &unwind.person),
        UnwindStage::Running(_) if batch.state.hold.is_some() || !batch.state.stuck.is_empty() => Ok(()),
        UnwindStage::Running(request) => running(batch, &unwind.steps, unwind.to.is_none(), request),
    }
}

fn busy(state: &RunState) -> bool {
    !state.stuck.is_empty() || state.open_effects().next().is_some()
}

/// Starts the undos whose turn it is: the first of the list, and beside it those that declare that they may run in
/// parallel and that nothing still standing needs.
fn running(batch: &mut Batch, left: &[StepId], whole: bool, request: RequestId) -> Result<(), Rejected> {
    if batch.state.open_effects().any(|(_, role, _)| role != Role::Undo) || batch.state.in_doubt() {
        return Ok(());
    }
    if !left.is_empty() {
        for step in may_start(&batch.state, left) {
            intent(batch, &step, Role::Undo, request)?;
        }
        return Ok(());
    }
    if busy(&batch.state) {
        return Ok(());
    }
    if !whole {
        batch.push(Event::UnwindFinished { complete: false })?;
        return batch.hold("unwound; release to go forward again", "unwinding");
    }
    if let Some(step) = batch.state.closing_left().into_iter().next() {
        return intent(batch, &step, Role::Close, request);
    }
    batch.push(Event::UnwindFinished { complete: true })?;
    let state = if batch.state.facts.dry_run {
        CloseState::DryRun
    } else {
        CloseState::RolledBack
    };
    batch.close(state, 4, "everything that was done is undone".to_owned())
}

/// Which undos of `left` may begin now.
fn may_start(state: &RunState, left: &[StepId]) -> Vec<StepId> {
    let mut found = Vec::new();
    // Everything that an undo before this one needs: it stands until that one is undone.
    let mut needed: BTreeSet<StepId> = BTreeSet::new();
    for (at, id) in left.iter().enumerate() {
        let parallel = state.facts.step(id).is_some_and(|facts| facts.parallel_undo);
        if at > 0 && !parallel {
            break;
        }
        let begun = state.step(id).is_some_and(|step| step.undo.is_open());
        if !begun && !needed.contains(id) {
            found.push(id.clone());
        }
        if !parallel {
            break;
        }
        state.facts.ancestors(id, &mut needed);
    }
    found
}

/// The gate under which undos and closing effects run now.
fn covering(state: &RunState) -> Option<RequestId> {
    match (state.phase, &state.unwind) {
        (Phase::Closing(request), _) => Some(request),
        (Phase::Unwinding, Some(unwind)) => match unwind.stage {
            UnwindStage::Running(request) => Some(request),
            UnwindStage::Replan | UnwindStage::Preparing | UnwindStage::AtGate(_) => None,
        },
        (Phase::New | Phase::Running | Phase::CommitGate(_) | Phase::Closed { .. } | Phase::Unwinding, _) => None,
    }
}

pub(super) fn retry(batch: &mut Batch, step: &StepId, role: Role) -> Result<(), Rejected> {
    let request = covering(&batch.state).ok_or_else(|| Rejected::new("no approval covers this undo any more"))?;
    intent(batch, step, role, request)
}

pub(super) fn by_hand(batch: &mut Batch, step: &StepId, person: &str, reason: &str) -> Result<(), Rejected> {
    let found = batch.state.stuck.iter().find(|(stuck, _)| stuck == step).cloned();
    let Some((_, role)) = found else {
        let words = batch.state.stuck.first().map_or_else(
            || format!("nothing about step {step} waits for your hands"),
            |(stuck, _)| format!("{stuck} is what failed, not {step}"),
        );
        return Err(Rejected::new(words));
    };
    if reason.trim().is_empty() {
        return Err(Rejected::new(
            "say what you did by hand, and how you know that it worked",
        ));
    }
    let attempt = batch.state.step(step).map_or(0, |step| step.attempt);
    batch.push(Event::EffectDecided {
        step: step.clone(),
        attempt,
        role,
        decision: PersonDecision::ByHand,
        person: person.to_owned(),
        reason: reason.to_owned(),
    })
}
