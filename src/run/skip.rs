//! Going on without a step, beginning one that is offered only beyond the point of no return, asking a running effect
//! to end. Pure part of `decide`.

use super::command::Binding;
use super::decide::{Ask, Batch, Rejected, facts, request};
use super::event::{Event, Subject};
use super::facts::{RequestId, StepId};
use super::state::{Phase, RunState, Stage};

fn forward_only(batch: &Batch) -> Result<(), Rejected> {
    if batch.state.phase == Phase::Running {
        Ok(())
    } else {
        Err(Rejected::new("the run does not go forward now"))
    }
}

/// Asks for the approval to go on without a step.
pub(super) fn ask(batch: &mut Batch, step: &StepId, person: &str, reason: &str) -> Result<(), Rejected> {
    forward_only(batch)?;
    if reason.trim().is_empty() {
        return Err(Rejected::new("going on without a step needs its reason"));
    }
    let own = facts(&batch.state, step)?.clone();
    let current = batch.state.step(step).cloned().unwrap_or_default();
    if batch.state.skip_asked(step) {
        return Err(Rejected::new(format!("to skip step {step} is asked already")));
    }
    if own.fall_forward && current.stage == Stage::Waiting {
        return Err(Rejected::new(format!(
            "step {step} is not on the way; there is nothing to skip"
        )));
    }
    match current.stage {
        Stage::Waiting | Stage::Checking | Stage::AtGate(_) | Stage::Approved(_) | Stage::Failed => {}
        Stage::Running => {
            return Err(Rejected::new(format!(
                "step {step} is running; cancel it or wait for its outcome"
            )));
        }
        Stage::Verifying => {
            return Err(Rejected::new(format!(
                "step {step} is being verified; wait for what the checks say"
            )));
        }
        Stage::InDoubt => {
            return Err(Rejected::new(format!("step {step} is in doubt; decide about it first")));
        }
        Stage::Done | Stage::Skipped | Stage::RollingBack | Stage::RolledBack | Stage::RollbackFailed | Stage::Kept => {
            return Err(Rejected::new(format!("step {step} is over; there is nothing to skip")));
        }
    }
    if let Stage::AtGate(open) | Stage::Approved(open) = current.stage {
        batch.push(Event::GateVoided {
            request: open,
            reason: format!("{person} asks to skip the step"),
        })?;
    }
    let binding = Binding {
        action_digest: String::new(),
        evidence_digest: String::new(),
        identity: serde_json::json!({ "skip": step, "reason": reason, "asked_by": person }),
    };
    let ask = Ask {
        reason: Some(reason.to_owned()),
        ..Ask::of(Subject::Skip)
    };
    request(batch, ask, Some((step, current.attempt)), &binding)
}

/// The approval to go on without it is there.
pub(super) fn granted(batch: &mut Batch, step: &StepId, id: RequestId, reason: &str) -> Result<(), Rejected> {
    let attempt = batch.state.step(step).map_or(0, |step| step.attempt);
    batch.push(Event::StepSkipped {
        step: step.clone(),
        attempt,
        request: id,
        reason: reason.to_owned(),
    })
}

/// Begins a step that is not on the way; its own checks and gate follow.
pub(super) fn fall_forward(batch: &mut Batch, step: &StepId) -> Result<(), Rejected> {
    let commit = match batch.state.phase {
        Phase::CommitGate(request) => Some(request),
        Phase::New | Phase::Running | Phase::Unwinding | Phase::Closing(_) | Phase::Closed { .. } => None,
    };
    if commit.is_none() {
        forward_only(batch)?;
    }
    may_fall_forward(&batch.state, step)?;
    if let Some(request) = commit {
        batch.push(Event::GateVoided {
            request,
            reason: format!("step {step} is begun before the commit"),
        })?;
    }
    let attempt = batch.state.step(step).map_or(0, |step| step.attempt) + 1;
    batch.push(Event::StepChecking {
        step: step.clone(),
        attempt,
    })
}

fn may_fall_forward(state: &RunState, step: &StepId) -> Result<(), Rejected> {
    let own = facts(state, step)?;
    if !own.fall_forward {
        return Err(Rejected::new(format!(
            "step {step} is on the way; it begins by itself when its turn comes"
        )));
    }
    if !state.past_no_return() {
        return Err(Rejected::new(format!(
            "step {step} is offered only beyond the point of no return; before it, roll back"
        )));
    }
    if state.hold.is_some() {
        return Err(Rejected::new("the run is held; release it first"));
    }
    if !state.needs_are_met(own) {
        return Err(Rejected::new(format!("step {step} needs steps that are not done")));
    }
    if state.step(step).is_none_or(|step| step.stage != Stage::Waiting) {
        return Err(Rejected::new(format!("step {step} was begun already")));
    }
    Ok(())
}

/// Asks a running effect to end. What became of it is told by its outcome, never by this.
pub(super) fn cancel(batch: &mut Batch, step: &StepId, person: &str) -> Result<(), Rejected> {
    facts(&batch.state, step)?;
    let found = batch
        .state
        .open_effects()
        .find(|(id, _, effect)| *id == step && !effect.needs_person())
        .map(|(_, role, _)| role);
    let Some(role) = found else {
        return Err(Rejected::new(format!(
            "nothing of step {step} is running that could be ended"
        )));
    };
    let attempt = batch.state.step(step).map_or(0, |step| step.attempt);
    batch.push(Event::EffectCancel {
        step: step.clone(),
        attempt,
        role,
        person: person.to_owned(),
    })
}
