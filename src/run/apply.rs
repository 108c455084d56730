//! Folds one event into the state: one total match, no wildcard. With `transition`, the only code that changes a
//! [`RunState`].

use super::amend::amended;
use super::event::{Decision, Event, OutcomeResult, PersonDecision, Role};
use super::facts::{RequestId, StepId};
use super::proof::{Counts, Look, Proof};
use super::state::{
    Broken, EffectState, Hold, Phase, Request, RequestStatus, RunState, Skip, Stage, StepState, Unwind, UnwindStage,
    Vote, WINDOW,
};
use super::transition::{ended, forward_again, granted, intent, kept, outcome, requested, resumed};
use super::unwind::plannable;

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

/// Folds in place. After a refusal the state is of no use any more.
pub fn fold(state: &mut RunState, event: &Event) -> Result<(), Illegal> {
    match event {
        Event::Genesis { operator, .. } => {
            state.phase = Phase::Running;
            seat(state, operator);
        }
        Event::Resumed { operator, .. } => {
            seat(state, operator);
            resumed(state);
        }
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
            attested_by,
            ..
        } => {
            request_mut(state, *request)?.votes.push(Vote {
                person: person.clone(),
                role: role.clone(),
                decision: *decision,
                comment: comment.clone(),
                attested_by: attested_by.clone(),
            });
            if *decision == Decision::Reject {
                ended(state, *request, RequestStatus::Rejected)?;
            }
        }
        Event::GateBroken {
            request,
            person,
            reason,
            ..
        } => {
            request_mut(state, *request)?.broken = Some(Broken {
                person: person.clone(),
                reason: reason.clone(),
            });
        }
        Event::GateCountersigned { request, person, .. } => {
            request_mut(state, *request)?.countersigned.push(person.clone());
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
        } => match effect_mut(step_mut(state, step)?, *role) {
            EffectState::InFlight { acked, .. }
            | EffectState::Orphaned { acked, .. }
            | EffectState::InDoubt { acked, .. } => *acked = Some(provider_id.clone()),
            EffectState::None
            | EffectState::Done
            | EffectState::Failed
            | EffectState::MaybeHappened
            | EffectState::NotSent => {}
        },
        // What was kept is the action's own matter: nothing of a run's state hangs on it.
        Event::EffectKept { step, .. } => {
            step_mut(state, step)?;
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
                // Several steps may open the target: what each undo loses adds up.
                unwind.lost_at_last = Some(unwind.lost_at_last.unwrap_or(0).saturating_add(lost));
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
        Event::StepSkipped {
            step, request, reason, ..
        } => {
            state.ticks += 1;
            let tick = state.ticks;
            let step = step_mut(state, step)?;
            step.stage = Stage::Skipped;
            step.settled = Some(tick);
            step.skip = Some(Skip {
                reason: reason.clone(),
                request: *request,
            });
        }
        Event::UnwindPlanned {
            to,
            steps,
            past_no_return,
            person,
            derived,
        } => {
            let steps = match (&state.unwind, derived) {
                (_, false) => steps.clone(),
                (Some(unwind), true) => unwind.steps.clone(),
                (None, true) => plannable(state, to.as_ref()).map_err(|rejected| Illegal {
                    what: format!("an unwinding that cannot be: {rejected}"),
                })?,
            };
            unwinding(state, to.as_ref(), &steps, *past_no_return, person);
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
        Event::UnwindFinished { complete: true } => kept(state),
        Event::UnwindFinished { complete: false } => forward_again(state),
        Event::RunHeld {
            reason,
            person,
            owner,
            until_ms,
        } => {
            state.window_asked |= person == WINDOW;
            state.hold = Some(Hold {
                reason: reason.clone(),
                person: person.clone(),
                owner: owner.clone(),
                until_ms: *until_ms,
            });
        }
        Event::RunReleased { .. } => {
            state.hold = None;
            state.preflight.released();
        }
        Event::PreflightVoided { .. } => state.preflight.forget(),
        Event::PreflightBegun { number, begun_ms } => {
            state.preflight.looks = *number;
            state.preflight.under_way = Some(Look {
                number: *number,
                begun_ms: *begun_ms,
            });
        }
        Event::PreflightEnded {
            begun_ms,
            red,
            amber,
            green,
            words,
            ..
        } => {
            state.preflight.under_way = None;
            state.preflight.proof = Some(Proof {
                begun_ms: *begun_ms,
                counts: Counts {
                    red: *red,
                    amber: *amber,
                    green: *green,
                },
                words: words.clone(),
            });
        }
        Event::RunClosed {
            state: closed, exit, ..
        } => {
            state.phase = Phase::Closed {
                state: *closed,
                exit: *exit,
            }
        }
        Event::DeadlinePassed { step, .. } => {
            state.overdue.insert(step.clone());
        }
        Event::WindowClosed { .. } => state.window_over = true,
        Event::WindowExtended { closes_ms, .. } => {
            state.window_closes_ms = Some(*closes_ms);
            state.window_over = false;
            state.window_asked = false;
        }
        Event::RunAmended { plan_file_digest, .. } => amended(state, plan_file_digest)?,
        Event::HandoverOffered { to, .. } => state.seat_offered = (*to != state.operator).then(|| to.clone()),
        Event::HandoverTaken { to, .. } => seat(state, to),
        Event::EffectCancel { .. } | Event::Note { .. } | Event::Interrupted { .. } => {}
    }
    Ok(())
}

fn seat(state: &mut RunState, operator: &str) {
    state.operator = operator.to_owned();
    state.operators.insert(operator.to_owned());
    state.seat_offered = None;
}

fn unwinding(state: &mut RunState, to: Option<&StepId>, steps: &[StepId], past_no_return: bool, person: &str) {
    unstarted_wait(state);
    for step in &mut state.steps {
        if step.stage == Stage::Failed && !step.asked_back {
            std::sync::Arc::make_mut(step).asked_back = true;
        }
    }
    state.hold = None;
    state.stuck.clear();
    state.phase = Phase::Unwinding;
    let (undone, lost_at_last) = state
        .unwind
        .take()
        .map(|old| (old.undone, old.lost_at_last))
        .unwrap_or_default();
    state.unwind = Some(Unwind {
        to: to.cloned(),
        steps: steps.to_vec(),
        undone,
        stage: UnwindStage::Preparing,
        past_no_return,
        lost: None,
        lost_at_last,
        fault: None,
        person: person.to_owned(),
    });
}

/// Steps before their intent go back: their approvals and looks are void.
pub(super) fn unstarted_wait(state: &mut RunState) {
    for step in &mut state.steps {
        match step.stage {
            Stage::Checking | Stage::AtGate(_) | Stage::Approved(_) => {
                std::sync::Arc::make_mut(step).stage = Stage::Waiting;
            }
            Stage::Waiting
            | Stage::Running
            | Stage::InDoubt
            | Stage::Verifying
            | Stage::Done
            | Stage::Failed
            | Stage::Skipped
            | Stage::RollingBack
            | Stage::RolledBack
            | Stage::RollbackFailed
            | Stage::Kept => {}
        }
    }
}

pub(super) fn effect_mut(step: &mut StepState, role: Role) -> &mut EffectState {
    match role {
        Role::Do => &mut step.act,
        Role::Undo => &mut step.undo,
        Role::Close => &mut step.close,
    }
}

pub(super) fn step_mut<'a>(state: &'a mut RunState, id: &StepId) -> Result<&'a mut StepState, Illegal> {
    state
        .facts
        .index(id)
        .and_then(|index| state.steps.get_mut(index))
        .map(std::sync::Arc::make_mut)
        .ok_or_else(|| Illegal {
            what: format!("a step {id}"),
        })
}

pub(super) fn request_mut(state: &mut RunState, id: RequestId) -> Result<&mut Request, Illegal> {
    state.requests.get_mut(&id).ok_or_else(|| Illegal {
        what: format!("a request {id}"),
    })
}
