//! One attempt of a step: its checks, the last look before the effect, its outcome, its verification, and what a
//! person decides when it failed or is in doubt. Pure part of `decide`.

use serde_json::{Map, Value};

use super::command::{Binding, Outcome};
use super::decide::{Ask, Batch, Rejected, current, facts, in_flight, intent, request};
use super::event::{CheckResult, Event, OutcomeResult, PersonDecision, Role, Subject};
use super::facts::{RequestId, StepId, Who};
use super::forward::expired;
use super::state::{EffectState, Phase, Request, RequestStatus, RunState, Stage};
use super::unwind;

fn record(batch: &mut Batch, step: &StepId, attempt: u32, results: &[CheckResult]) -> Result<(), Rejected> {
    for result in results {
        batch.push(Event::CheckResult {
            step: step.clone(),
            attempt,
            result: result.clone(),
        })?;
    }
    Ok(())
}

pub(super) fn checked(
    batch: &mut Batch,
    step: &StepId,
    attempt: u32,
    results: &[CheckResult],
    binding: Option<&Binding>,
) -> Result<(), Rejected> {
    let current = current(&batch.state, step, attempt)?;
    if current.stage != Stage::Checking {
        return Err(Rejected::new(format!("step {step} is not being checked any more")));
    }
    record(batch, step, attempt, results)?;
    let failed = results.iter().find(|result| !result.ok);
    match (failed, binding) {
        (None, Some(binding)) => request(batch, Ask::of(Subject::Step), Some((step, attempt)), binding),
        (Some(result), _) => {
            let reason = format!("check {} ({}): {}", result.index + 1, result.uses, result.detail);
            fail(batch, step, attempt, &reason)
        }
        (None, None) => fail(batch, step, attempt, "the action could not be looked at"),
    }
}

pub(super) fn rechecked(batch: &mut Batch, id: RequestId, digest: &Result<String, String>) -> Result<(), Rejected> {
    let request = batch
        .state
        .requests
        .get(&id)
        .ok_or_else(|| Rejected::new(format!("there is no request {id}")))?;
    if request.status != RequestStatus::Granted {
        return Err(Rejected::new(format!("request {id} is not approved any more")));
    }
    let Some(step) = request.step.clone() else {
        return Err(Rejected::new(format!("request {id} belongs to no step")));
    };
    let backwards = batch.now_ms < request.requested_ms;
    let late = request.expires_ms.is_some_and(|expires| batch.now_ms >= expires);
    let reason = match digest {
        Err(fault) => Some(format!("what it binds could not be read again: {fault}")),
        Ok(digest) if *digest != request.action_digest => {
            Some("what it binds has changed since it was asked".to_owned())
        }
        Ok(_) if backwards => Some("the clock went backwards".to_owned()),
        Ok(_) if batch.state.hold.is_some() => Some("the run was held".to_owned()),
        Ok(_) if batch.state.phase != Phase::Running => Some("the run does not go forward any more".to_owned()),
        Ok(_) => match batch.state.blocked_by() {
            Some(blocked) if !facts(&batch.state, &step)?.fall_forward => {
                Some(format!("step {blocked} asks how it goes on"))
            }
            Some(_) | None => batch.state.unproven(facts(&batch.state, &step)?, batch.now_ms),
        },
    };
    if late {
        return expired(batch, id);
    }
    match reason {
        Some(reason) if keeps_failing(&batch.state, id, &step) => {
            let attempt = batch.state.step(&step).map_or(0, |step| step.attempt);
            let words = format!("{reason}, {TURNS} times in a row, and nobody is asked at its gate");
            batch.push(Event::GateVoided { request: id, reason })?;
            fail(batch, &step, attempt, &words)
        }
        Some(reason) => batch.push(Event::GateVoided { request: id, reason }),
        None => intent(batch, &step, Role::Do, id),
    }
}

/// How often an automatic gate is asked in a row before a person is.
const TURNS: usize = 5;

/// Whether a gate that asks nobody was void again and again: a person has to look.
fn keeps_failing(state: &RunState, id: RequestId, step: &StepId) -> bool {
    let automatic = |request: &&Request| matches!(request.gate.who, Who::Open { .. });
    let ours = state
        .requests
        .values()
        .rev()
        .map(AsRef::as_ref)
        .filter(|request| request.step.as_ref() == Some(step) && request.subject == Subject::Step);
    let void = ours
        .take(TURNS)
        .filter(automatic)
        .filter(|request| request.id == id || request.status == RequestStatus::Voided);
    void.count() == TURNS
}

pub(super) fn finished(
    batch: &mut Batch,
    role: Role,
    step: &StepId,
    attempt: u32,
    outcome: &Outcome,
) -> Result<(), Rejected> {
    let effect = in_flight(&batch.state, step, attempt, role)?;
    if matches!(effect, EffectState::InDoubt { .. } | EffectState::Orphaned { .. }) && !outcome.observed {
        return Err(Rejected::new(format!(
            "step {step}: a late answer; what was observed counts"
        )));
    }
    batch.push(Event::EffectOutcome {
        step: step.clone(),
        attempt,
        role,
        result: outcome.result,
        error_kind: outcome.error_kind.clone(),
        detail: outcome.detail.clone(),
        outputs: outcome.outputs.clone(),
        observed: outcome.observed,
        fidelity: outcome.fidelity,
    })?;
    match (role, outcome.result) {
        (Role::Do, OutcomeResult::Done) if !facts(&batch.state, step)?.verifies => batch.push(Event::StepDone {
            step: step.clone(),
            attempt,
            outputs: Map::new(),
        }),
        (Role::Do, OutcomeResult::Done) => batch.push(Event::StepVerifying {
            step: step.clone(),
            attempt,
        }),
        (Role::Do, OutcomeResult::Failed) => fail(batch, step, attempt, &outcome.detail),
        (Role::Do, OutcomeResult::InDoubt | OutcomeResult::NotSent) | (Role::Undo | Role::Close, _) => Ok(()),
    }
}

pub(super) fn verified(
    batch: &mut Batch,
    step: &StepId,
    attempt: u32,
    results: &[CheckResult],
    outputs: &Map<String, Value>,
    fault: Option<&str>,
) -> Result<(), Rejected> {
    let current = current(&batch.state, step, attempt)?;
    if current.stage != Stage::Verifying {
        return Err(Rejected::new(format!("step {step} is not being verified any more")));
    }
    record(batch, step, attempt, results)?;
    let failed = results
        .iter()
        .find(|result| !result.ok)
        .map(|result| format!("after-check {} ({}): {}", result.index + 1, result.uses, result.detail));
    match failed.or_else(|| fault.map(str::to_owned)) {
        Some(reason) => fail(batch, step, attempt, &reason),
        None => batch.push(Event::StepDone {
            step: step.clone(),
            attempt,
            outputs: outputs.clone(),
        }),
    }
}

/// A failed step. Nothing new begins anywhere until somebody says how it goes on; what runs goes on.
pub(super) fn fail(batch: &mut Batch, step: &StepId, attempt: u32, reason: &str) -> Result<(), Rejected> {
    batch.push(Event::StepFailed {
        step: step.clone(),
        attempt,
        reason: reason.to_owned(),
    })
}

pub(super) fn retry(batch: &mut Batch, step: &StepId) -> Result<(), Rejected> {
    if batch.state.hold.is_some() {
        return Err(Rejected::new("the run is held; release it first"));
    }
    if let Some((_, role)) = batch.state.stuck.iter().find(|(stuck, _)| stuck == step).cloned() {
        return unwind::retry(batch, step, role);
    }
    if let Some((stuck, _)) = batch.state.stuck.first() {
        return Err(Rejected::new(format!("{stuck} is what failed; retry that")));
    }
    if batch.state.phase != Phase::Running {
        return Err(Rejected::new("the run does not go forward now; nothing is retried"));
    }
    let current = batch
        .state
        .step(step)
        .cloned()
        .ok_or_else(|| Rejected::new(format!("this plan has no step {step}")))?;
    let asked: Vec<RequestId> = batch
        .state
        .open_requests()
        .filter(|request| request.subject == Subject::Skip && request.step.as_ref() == Some(step))
        .map(|request| request.id)
        .collect();
    if current.stage == Stage::Failed {
        for request in asked {
            let reason = "the step is tried again".to_owned();
            batch.push(Event::GateVoided { request, reason })?;
        }
    }
    match (current.stage, &current.act) {
        (Stage::Failed, EffectState::Done) => {
            let attempt = current.attempt;
            batch.push(Event::StepVerifying {
                step: step.clone(),
                attempt,
            })
        }
        (Stage::Failed, _) => {
            let attempt = current.attempt + 1;
            batch.push(Event::StepChecking {
                step: step.clone(),
                attempt,
            })
        }
        (
            Stage::Waiting
            | Stage::Checking
            | Stage::AtGate(_)
            | Stage::Approved(_)
            | Stage::Running
            | Stage::InDoubt
            | Stage::Verifying
            | Stage::Done
            | Stage::Skipped
            | Stage::RollingBack
            | Stage::RolledBack
            | Stage::RollbackFailed
            | Stage::Kept,
            _,
        ) => Err(Rejected::new(format!(
            "step {step} has not failed; there is nothing to retry"
        ))),
    }
}

pub(super) fn decided(
    batch: &mut Batch,
    step: &StepId,
    done: bool,
    person: &str,
    reason: &str,
) -> Result<(), Rejected> {
    let found = batch
        .state
        .open_effects()
        .find(|(id, _, effect)| *id == step && effect.needs_person())
        .map(|(_, role, _)| role);
    let Some(role) = found else {
        return Err(Rejected::new(format!("nothing about step {step} is in doubt")));
    };
    if reason.trim().is_empty() {
        return Err(Rejected::new(
            "a decision about an effect in doubt needs its reason: what did you look at?",
        ));
    }
    let attempt = batch.state.step(step).map_or(0, |step| step.attempt);
    let decision = if done {
        PersonDecision::Done
    } else {
        PersonDecision::NotStarted
    };
    batch.push(Event::EffectDecided {
        step: step.clone(),
        attempt,
        role,
        decision,
        person: person.to_owned(),
        reason: reason.to_owned(),
    })?;
    match (role, done) {
        (Role::Do, true) => batch.push(Event::StepVerifying {
            step: step.clone(),
            attempt,
        }),
        (Role::Do, false) | (Role::Undo | Role::Close, _) => Ok(()),
    }
}
