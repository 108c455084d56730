//! The larger transitions of the fold: requests, effects, resumption, the ends of an unwinding. Part of `apply`.

use std::sync::Arc;

use super::apply::{Illegal, effect_mut, request_mut, step_mut, unstarted_wait};
use super::event::{Event, OutcomeResult, Role, Subject};
use super::facts::{OnExpiry, RequestId, StepEffect, StepId, Undo};
use super::gate::gate_of;
use super::state::{EffectState, Phase, Request, RequestStatus, RunState, Stage, StepState, UnwindStage};

pub(super) fn resumed(state: &mut RunState) {
    unstarted_wait(state);
    state.stuck.clear();
    // Another process may have other credentials, and stand elsewhere.
    state.preflight.forget();
    for step in &mut state.steps {
        let step = Arc::make_mut(step);
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

pub(super) fn requested(state: &mut RunState, event: &Event) -> Result<(), Illegal> {
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
        reason,
        closes_ms,
        plan,
        escalated,
        ..
    } = event
    else {
        return Ok(());
    };
    let mut gate = gate_of(state, *subject, step.as_ref());
    if *escalated && let OnExpiry::Escalate(who) = std::mem::take(&mut gate.on_expiry) {
        gate.who = who;
    }
    match (subject, step) {
        (Subject::Step, Some(id)) => step_mut(state, id)?.stage = Stage::AtGate(*request),
        (Subject::Skip, Some(id)) => {
            // What its checks still say is too late.
            let step = step_mut(state, id)?;
            if step.stage == Stage::Checking {
                step.stage = Stage::Waiting;
            }
        }
        (Subject::Step | Subject::Skip, None) => {
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
        (Subject::Window | Subject::Amend, _) => {}
    }
    let made = Request {
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
        reason: reason.clone(),
        closes_ms: *closes_ms,
        plan: plan.clone(),
        escalated: *escalated,
        broken: None,
        countersigned: Vec::new(),
    };
    state.requests.insert(made);
    Ok(())
}

pub(super) fn granted(state: &mut RunState, id: RequestId) -> Result<(), Illegal> {
    let request = request_mut(state, id)?;
    request.status = RequestStatus::Granted;
    match (request.subject, request.step.clone()) {
        (Subject::Step, Some(step)) => step_mut(state, &step)?.stage = Stage::Approved(id),
        (Subject::Unwind, _) => {
            if let Some(unwind) = &mut state.unwind {
                unwind.stage = UnwindStage::Running(id);
            }
        }
        (Subject::Commit, _) => state.phase = Phase::Closing(id),
        // What they allow follows in the same batch, as an event of its own.
        (Subject::Skip | Subject::Window | Subject::Amend, _) => request.status = RequestStatus::Consumed,
        (Subject::Step, None) => {}
    }
    Ok(())
}

pub(super) fn ended(state: &mut RunState, id: RequestId, status: RequestStatus) -> Result<(), Illegal> {
    let request = request_mut(state, id)?;
    request.status = status;
    match (request.subject, request.step.clone()) {
        (Subject::Step, Some(step)) => {
            let step = step_mut(state, &step)?;
            if matches!(step.stage, Stage::AtGate(current) | Stage::Approved(current) if current == id) {
                step.stage = Stage::Waiting;
            }
        }
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
        (Subject::Step, None) | (Subject::Skip | Subject::Window | Subject::Amend, _) => {}
    }
    Ok(())
}

pub(super) fn intent(
    state: &mut RunState,
    id: &StepId,
    role: Role,
    request: RequestId,
    mutates: bool,
) -> Result<(), Illegal> {
    state.ticks += 1;
    state.stuck.retain(|stuck| *stuck != (id.clone(), role));
    let number = state.ticks;
    let step = step_mut(state, id)?;
    *effect_mut(step, role) = EffectState::InFlight {
        request,
        mutates,
        acked: None,
    };
    match role {
        Role::Do => {
            step.started = Some(number);
            step.settled = None;
            step.stage = Stage::Running;
            request_mut(state, request)?.status = RequestStatus::Consumed;
        }
        Role::Undo => {
            step.ways_back += 1;
            if !matches!(step.stage, Stage::RollbackFailed | Stage::RollingBack | Stage::InDoubt) {
                step.before_undo = step.stage;
            }
            step.stage = Stage::RollingBack;
        }
        Role::Close => step.ways_back += 1,
    }
    Ok(())
}

pub(super) fn outcome(
    state: &mut RunState,
    id: &StepId,
    role: Role,
    result: OutcomeResult,
    detail: &str,
    observed: bool,
) -> Result<(), Illegal> {
    state.ticks += 1;
    let tick = state.ticks;
    let state_phase = state.phase;
    let unwinding = state.unwind.as_ref().map(|unwind| unwind.stage);
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
    if role == Role::Do {
        step.settled = Some(tick);
    }
    // After a resume no approval covers a way back any more: it is planned and asked anew, and nobody is stuck with it.
    let covered = match (state_phase, unwinding) {
        (Phase::Closing(_), _) => true,
        (Phase::Unwinding, Some(stage)) => matches!(stage, UnwindStage::Running(_)),
        (Phase::New | Phase::Running | Phase::Unwinding | Phase::CommitGate(_) | Phase::Closed { .. }, _) => false,
    };
    let happened = role == Role::Do && matches!(step.act, EffectState::Done | EffectState::MaybeHappened);
    step.reason = match result {
        OutcomeResult::Done => None,
        OutcomeResult::Failed | OutcomeResult::NotSent | OutcomeResult::InDoubt => Some(detail.to_owned()),
    };
    match (role, result) {
        (Role::Do | Role::Undo, OutcomeResult::InDoubt) => step.stage = Stage::InDoubt,
        (Role::Do, OutcomeResult::NotSent) => step.stage = Stage::Waiting,
        // The step's own events say the same; where a torn batch has lost them, this stands.
        (Role::Do, OutcomeResult::Done) => step.stage = Stage::Verifying,
        (Role::Do, OutcomeResult::Failed) => step.stage = Stage::Failed,
        (Role::Close, OutcomeResult::InDoubt) => {}
        (Role::Undo, OutcomeResult::Done) => {
            step.stage = Stage::RolledBack;
            unstick(state, id, role);
            if let Some(unwind) = &mut state.unwind {
                unwind.steps.retain(|left| left != id);
                unwind.undone.push(id.clone());
            }
        }
        (Role::Undo, OutcomeResult::NotSent) if !covered => step.stage = step.before_undo,
        (Role::Undo, OutcomeResult::Failed | OutcomeResult::NotSent) => {
            step.stage = Stage::RollbackFailed;
            if covered {
                state.stuck.push((id.clone(), role));
            }
        }
        (Role::Close, OutcomeResult::Done) => unstick(state, id, role),
        (Role::Close, OutcomeResult::Failed | OutcomeResult::NotSent) => {
            if covered {
                state.stuck.push((id.clone(), role));
            }
        }
    }
    if happened && state.facts.step(id).is_some_and(|facts| facts.writes_on_target) {
        state.target_written = true;
    }
    Ok(())
}

fn unstick(state: &mut RunState, id: &StepId, role: Role) {
    state.stuck.retain(|(stuck, its)| stuck != id || *its != role);
}

/// After a whole unwinding: what stays on purpose says so.
pub(super) fn kept(state: &mut RunState) {
    let facts = state.facts.clone();
    for (facts, step) in facts.steps.iter().zip(&mut state.steps) {
        if facts.undo == Undo::Kept && step.stage == Stage::Done && step.stands() {
            Arc::make_mut(step).stage = Stage::Kept;
        }
    }
}

/// After a partial unwinding: what came after the step that stands begins anew. A closing effect keeps its debt.
pub(super) fn forward_again(state: &mut RunState) {
    let Some(unwind) = state.unwind.take() else { return };
    state.phase = Phase::Running;
    // It was looked before something was changed and taken back.
    state.preflight.forget();
    let stands = unwind
        .to
        .as_ref()
        .and_then(|to| state.step(to))
        .and_then(|step| step.settled)
        .unwrap_or(0);
    let facts = state.facts.clone();
    for (facts, step) in facts.steps.iter().zip(&mut state.steps) {
        let owes = facts.undo == Undo::AtClose && step.close != EffectState::Done;
        let debt = owes && facts.effect == StepEffect::Mutate && step.stands();
        // A step that was skipped without ever being begun counts from when it was skipped.
        let since = step.started.or(step.skip.as_ref().and(step.settled));
        let after = since.is_none_or(|since| since > stands);
        if after && !debt {
            *step = Arc::new(StepState {
                attempt: step.attempt,
                ..StepState::default()
            });
        }
    }
}
