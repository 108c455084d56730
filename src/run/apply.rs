//! Folds one event into the state: one total match, no wildcard. The only code that changes a [`RunState`].

use super::event::{Decision, Event, OutcomeResult, PersonDecision, Role, Subject};
use super::facts::{RequestId, StepEffect, StepId, Undo};
use super::gate::gate_of;
use super::state::{
    EffectState, Hold, Phase, Request, RequestStatus, RunState, Stage, StepState, Unwind, UnwindStage, Vote,
};

/// An event that cannot follow the state: the journal does not belong to this plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the journal tells of {what}, which this plan does not have; is it the journal of another plan?")]
pub struct Illegal {
    pub what: String,
}

/// The state after `event`.
pub fn apply(mut state: RunState, event: &Event) -> Result<RunState, Illegal> {
    fold(&mut state, event)?;
    Ok(state)
}

fn fold(state: &mut RunState, event: &Event) -> Result<(), Illegal> {
    match event {
        Event::Genesis { operator, .. } => {
            state.phase = Phase::Running;
            seat(state, operator);
        }
        Event::Resumed { operator, .. } => resumed(state, operator),
        Event::StepChecking { step, attempt } => {
            let old = step_mut(state, step)?;
            let residue = old.stands();
            *old = StepState {
                stage: Stage::Checking,
                attempt: *attempt,
                residue,
                started: if residue { old.started } else { None },
                ..StepState::default()
            };
        }
        Event::CheckResult { step, result, .. } => step_mut(state, step)?.checks.push(result.clone()),
        Event::GateRequested { .. } => requested(state, event)?,
        Event::GateVote {
            request,
            decision,
            person,
            role,
            comment,
            ..
        } => {
            request_mut(state, *request)?.votes.push(Vote {
                person: person.clone(),
                role: role.clone(),
                decision: *decision,
                comment: comment.clone(),
            });
            if *decision == Decision::Reject {
                ended(state, *request, RequestStatus::Rejected)?;
            }
        }
        Event::GateGranted { request } => granted(state, *request)?,
        Event::GateVoided { request, .. } => ended(state, *request, RequestStatus::Voided)?,
        Event::GateExpired { request } => ended(state, *request, RequestStatus::Expired)?,
        Event::EffectIntent {
            step,
            role,
            request,
            mutates,
            ..
        } => intent(state, step, *role, *request, *mutates)?,
        Event::EffectAck {
            step,
            role,
            provider_id,
            ..
        } => {
            if let EffectState::InFlight { acked, .. } = effect_mut(step_mut(state, step)?, *role) {
                *acked = Some(provider_id.clone());
            }
        }
        Event::EffectOutcome {
            step,
            role,
            result,
            detail,
            outputs,
            observed,
            fidelity,
            ..
        } => {
            if *role == Role::Do && *result == OutcomeResult::Done {
                let step = step_mut(state, step)?;
                step.result = outputs.clone();
                step.fidelity = *fidelity;
            }
            outcome(state, step, *role, *result, detail, *observed)?;
            if let (Role::Undo, Some(unwind)) = (role, &mut state.unwind)
                && let Some(lost) = outputs.get("lost").and_then(serde_json::Value::as_u64)
            {
                unwind.lost_at_last = Some(lost);
            }
        }
        Event::EffectDecided {
            step,
            role,
            decision,
            reason,
            ..
        } => {
            let result = match decision {
                PersonDecision::Done | PersonDecision::ByHand => OutcomeResult::Done,
                PersonDecision::NotStarted => OutcomeResult::NotSent,
            };
            outcome(state, step, *role, result, reason, true)?;
        }
        Event::StepVerifying { step, .. } => step_mut(state, step)?.stage = Stage::Verifying,
        Event::StepDone { step, outputs, .. } => {
            let step = step_mut(state, step)?;
            step.stage = Stage::Done;
            step.reason = None;
            step.outputs = outputs.clone();
        }
        Event::StepFailed { step, reason, .. } => {
            let step = step_mut(state, step)?;
            step.stage = Stage::Failed;
            step.reason = Some(reason.clone());
        }
        Event::UnwindPlanned {
            to,
            steps,
            past_no_return,
            person,
        } => {
            unstarted_wait(state);
            state.hold = None;
            state.stuck = None;
            state.phase = Phase::Unwinding;
            state.unwind = Some(Unwind {
                to: to.clone(),
                steps: steps.clone(),
                undone: state.unwind.take().map(|old| old.undone).unwrap_or_default(),
                stage: UnwindStage::Preparing,
                past_no_return: *past_no_return,
                lost: None,
                lost_at_last: None,
                fault: None,
                person: person.clone(),
            });
        }
        Event::UnwindPrepared { lost, fault } => {
            if let Some(unwind) = &mut state.unwind {
                unwind.lost = *lost;
                unwind.fault = fault.clone();
            }
        }
        Event::UnwindDropped { .. } => {
            state.unwind = None;
            state.phase = Phase::Running;
        }
        Event::UnwindFinished { complete } => {
            if !complete {
                forward_again(state);
            }
        }
        Event::RunHeld { reason, person } => {
            state.hold = Some(Hold {
                reason: reason.clone(),
                person: person.clone(),
            });
        }
        Event::RunReleased { .. } => state.hold = None,
        Event::RunClosed {
            state: closed, exit, ..
        } => {
            state.phase = Phase::Closed {
                state: *closed,
                exit: *exit,
            }
        }
        Event::Note { .. } | Event::Interrupted { .. } => {}
    }
    Ok(())
}

fn seat(state: &mut RunState, operator: &str) {
    state.operator = operator.to_owned();
    state.operators.insert(operator.to_owned());
}

/// Steps before their intent go back: their approvals and looks are void.
fn unstarted_wait(state: &mut RunState) {
    for step in &mut state.steps {
        match step.stage {
            Stage::Checking | Stage::AtGate(_) | Stage::Approved(_) => step.stage = Stage::Waiting,
            Stage::Waiting
            | Stage::Running
            | Stage::InDoubt
            | Stage::Verifying
            | Stage::Done
            | Stage::Failed
            | Stage::RollingBack
            | Stage::RolledBack
            | Stage::RollbackFailed => {}
        }
    }
}

fn resumed(state: &mut RunState, operator: &str) {
    seat(state, operator);
    unstarted_wait(state);
    state.stuck = None;
    for step in &mut state.steps {
        for role in [Role::Do, Role::Undo, Role::Close] {
            let effect = effect_mut(step, role);
            match effect {
                EffectState::InFlight {
                    request,
                    mutates: true,
                    acked,
                }
                | EffectState::InDoubt { request, acked, .. } => {
                    *effect = EffectState::Orphaned {
                        request: *request,
                        acked: acked.clone(),
                    };
                }
                EffectState::InFlight { mutates: false, .. }
                | EffectState::None
                | EffectState::Orphaned { .. }
                | EffectState::Done
                | EffectState::Failed
                | EffectState::MaybeHappened
                | EffectState::NotSent => {}
            }
        }
    }
    if let Some(unwind) = &mut state.unwind {
        unwind.stage = UnwindStage::Replan;
    }
    match state.phase {
        Phase::CommitGate(_) | Phase::Closing(_) => state.phase = Phase::Running,
        Phase::New | Phase::Running | Phase::Unwinding | Phase::Closed { .. } => {}
    }
}

fn requested(state: &mut RunState, event: &Event) -> Result<(), Illegal> {
    let Event::GateRequested {
        step,
        attempt,
        request,
        subject,
        action_digest,
        evidence_digest,
        identity,
        requested_ms,
        expires_ms,
        ..
    } = event
    else {
        return Ok(());
    };
    let gate = gate_of(state, *subject, step.as_ref());
    match (subject, step) {
        (Subject::Step, Some(id)) => step_mut(state, id)?.stage = Stage::AtGate(*request),
        (Subject::Step, None) => {
            return Err(Illegal {
                what: "a step's gate without a step".to_owned(),
            });
        }
        (Subject::Unwind, _) => {
            if let Some(unwind) = &mut state.unwind {
                unwind.stage = UnwindStage::AtGate(*request);
            }
        }
        (Subject::Commit, _) => state.phase = Phase::CommitGate(*request),
    }
    state.requests.insert(
        *request,
        Request {
            id: *request,
            subject: *subject,
            step: step.clone(),
            attempt: *attempt,
            gate,
            action_digest: action_digest.clone(),
            evidence_digest: evidence_digest.clone(),
            identity: identity.clone(),
            requested_ms: *requested_ms,
            expires_ms: *expires_ms,
            votes: Vec::new(),
            status: RequestStatus::Open,
        },
    );
    Ok(())
}

fn granted(state: &mut RunState, id: RequestId) -> Result<(), Illegal> {
    let request = request_mut(state, id)?;
    request.status = RequestStatus::Granted;
    match (request.subject, request.step.clone()) {
        (Subject::Step, Some(step)) => step_mut(state, &step)?.stage = Stage::Approved(id),
        (Subject::Step, None) => {}
        (Subject::Unwind, _) => {
            if let Some(unwind) = &mut state.unwind {
                unwind.stage = UnwindStage::Running(id);
            }
        }
        (Subject::Commit, _) => state.phase = Phase::Closing(id),
    }
    Ok(())
}

fn ended(state: &mut RunState, id: RequestId, status: RequestStatus) -> Result<(), Illegal> {
    let request = request_mut(state, id)?;
    request.status = status;
    match (request.subject, request.step.clone()) {
        (Subject::Step, Some(step)) => {
            let step = step_mut(state, &step)?;
            if matches!(step.stage, Stage::AtGate(current) | Stage::Approved(current) if current == id) {
                step.stage = Stage::Waiting;
            }
        }
        (Subject::Step, None) => {}
        (Subject::Unwind, _) => {
            if let Some(unwind) = &mut state.unwind
                && unwind.stage == UnwindStage::AtGate(id)
            {
                unwind.stage = UnwindStage::Replan;
            }
        }
        (Subject::Commit, _) => {
            if state.phase == Phase::CommitGate(id) {
                state.phase = Phase::Running;
            }
        }
    }
    Ok(())
}

fn intent(state: &mut RunState, id: &StepId, role: Role, request: RequestId, mutates: bool) -> Result<(), Illegal> {
    state.intents += 1;
    state.stuck = None;
    let number = state.intents;
    let step = step_mut(state, id)?;
    *effect_mut(step, role) = EffectState::InFlight {
        request,
        mutates,
        acked: None,
    };
    match role {
        Role::Do => {
            step.started = Some(number);
            step.stage = Stage::Running;
            request_mut(state, request)?.status = RequestStatus::Consumed;
        }
        Role::Undo => step.stage = Stage::RollingBack,
        Role::Close => {}
    }
    Ok(())
}

fn outcome(
    state: &mut RunState,
    id: &StepId,
    role: Role,
    result: OutcomeResult,
    detail: &str,
    observed: bool,
) -> Result<(), Illegal> {
    let step = step_mut(state, id)?;
    let before = effect_mut(step, role).clone();
    let (request, acked) = match before {
        EffectState::InFlight { request, acked, .. }
        | EffectState::Orphaned { request, acked }
        | EffectState::InDoubt { request, acked, .. } => (request, acked),
        // Only an undo or closing effect that failed can be settled later, by a person's hands.
        EffectState::Failed | EffectState::MaybeHappened | EffectState::NotSent => (RequestId(0), None),
        EffectState::None | EffectState::Done => {
            return Err(Illegal {
                what: format!("an outcome of step {id} without its intent"),
            });
        }
    };
    *effect_mut(step, role) = match result {
        OutcomeResult::Done => EffectState::Done,
        OutcomeResult::Failed if acked.is_some() => EffectState::MaybeHappened,
        OutcomeResult::Failed => EffectState::Failed,
        OutcomeResult::NotSent => EffectState::NotSent,
        OutcomeResult::InDoubt => EffectState::InDoubt {
            request,
            acked,
            asked: observed,
        },
    };
    let happened = role == Role::Do && matches!(step.act, EffectState::Done | EffectState::MaybeHappened);
    step.reason = match result {
        OutcomeResult::Done => None,
        OutcomeResult::Failed | OutcomeResult::NotSent | OutcomeResult::InDoubt => Some(detail.to_owned()),
    };
    match (role, result) {
        (Role::Do | Role::Undo, OutcomeResult::InDoubt) => step.stage = Stage::InDoubt,
        (Role::Do, OutcomeResult::NotSent) => step.stage = Stage::Waiting,
        // What follows is told by the step's own events.
        (Role::Do, OutcomeResult::Done | OutcomeResult::Failed) => {}
        (Role::Undo, OutcomeResult::Done) => {
            step.stage = Stage::RolledBack;
            if state.stuck.as_ref().is_some_and(|(stuck, _)| stuck == id) {
                state.stuck = None;
            }
            if let Some(unwind) = &mut state.unwind {
                unwind.steps.retain(|left| left != id);
                unwind.undone.push(id.clone());
            }
        }
        (Role::Undo, OutcomeResult::Failed | OutcomeResult::NotSent) => {
            step.stage = Stage::RollbackFailed;
            state.stuck = Some((id.clone(), role));
        }
        (Role::Close, OutcomeResult::Done) => {
            if state.stuck.as_ref().is_some_and(|(stuck, _)| stuck == id) {
                state.stuck = None;
            }
        }
        (Role::Close, OutcomeResult::Failed | OutcomeResult::NotSent) => state.stuck = Some((id.clone(), role)),
        (Role::Close, OutcomeResult::InDoubt) => {}
    }
    let opens = state.facts.index(id).and_then(|index| state.facts.steps.get(index));
    if happened && opens.is_some_and(|facts| facts.writes_on_target) {
        state.target_written = true;
    }
    Ok(())
}

/// After a partial unwinding: what came after the step that stands begins anew. A closing effect keeps its debt.
fn forward_again(state: &mut RunState) {
    let Some(unwind) = state.unwind.take() else { return };
    state.phase = Phase::Running;
    let stands = unwind
        .to
        .as_ref()
        .and_then(|to| state.step(to))
        .and_then(|step| step.started)
        .unwrap_or(0);
    let facts = state.facts.clone();
    for (facts, step) in facts.steps.iter().zip(&mut state.steps) {
        let debt = facts.undo == Undo::AtClose && facts.effect == StepEffect::Mutate && step.stands();
        let after = step.started.is_none_or(|started| started > stands);
        if after && !debt {
            *step = StepState {
                attempt: step.attempt,
                ..StepState::default()
            };
        }
    }
}

fn effect_mut(step: &mut StepState, role: Role) -> &mut EffectState {
    match role {
        Role::Do => &mut step.act,
        Role::Undo => &mut step.undo,
        Role::Close => &mut step.close,
    }
}

fn step_mut<'a>(state: &'a mut RunState, id: &StepId) -> Result<&'a mut StepState, Illegal> {
    state
        .facts
        .index(id)
        .and_then(|index| state.steps.get_mut(index))
        .ok_or_else(|| Illegal {
            what: format!("a step {id}"),
        })
}

fn request_mut(state: &mut RunState, id: RequestId) -> Result<&mut Request, Illegal> {
    state.requests.get_mut(&id).ok_or_else(|| Illegal {
        what: format!("a request {id}"),
    })
}
