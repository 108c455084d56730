//! What is next by itself: steps whose turn it is, requests that nobody answered, the way back that a failure asks for,
//! the commit and its closing effects. Pure part of `decide`.

use super::attempt::fail;
use super::command::Binding;
use super::decide::{Ask, Batch, Rejected, facts, intent, request};
use super::event::{CloseState, Event, Role, Subject};
use super::facts::{OnExpiry, RequestId, StepId};
use super::state::{Phase, Request, RunState, Stage};
use super::{poll, proof, seat, unwind};

/// Whatever is next by itself: one thing a call, nothing when people or executors are due.
pub(super) fn advance(batch: &mut Batch) -> Result<(), Rejected> {
    seat::passes(batch)?;
    if let Some(request) = overdue(&batch.state, batch.now_ms) {
        return expired(batch, request);
    }
    match batch.state.phase {
        Phase::New | Phase::Closed { .. } | Phase::CommitGate(_) => Ok(()),
        Phase::Unwinding => unwind::advance(batch),
        Phase::Closing(request) => closing(batch, request),
        Phase::Running => forward(batch),
    }
}

fn overdue(state: &RunState, now_ms: i64) -> Option<RequestId> {
    state
        .open_requests()
        .find(|request| request.expires_ms.is_some_and(|expires| now_ms >= expires))
        .map(|r| r.id)
}

pub(super) fn expired(batch: &mut Batch, id: RequestId) -> Result<(), Rejected> {
    let Some(request) = batch.state.requests.get(&id).cloned() else {
        return Ok(());
    };
    batch.push(Event::GateExpired { request: id })?;
    if let OnExpiry::Escalate(_) = request.gate.on_expiry {
        return escalated(batch, &request);
    }
    match (request.subject, &request.step, request.attempt) {
        (Subject::Step, Some(step), Some(attempt)) if request.gate.on_expiry == OnExpiry::Reject => fail(
            batch,
            step,
            attempt,
            "nobody answered the gate in time, which counts as a rejection",
        ),
        (Subject::Step | Subject::Commit, _, _) if batch.state.hold.is_some() => Ok(()),
        (Subject::Step | Subject::Commit, _, _) => {
            let reason = format!("nobody answered request {id} in time; release to ask again");
            batch.hold(&reason, "timer")
        }
        (Subject::Unwind, _, _) => unwind::dropped(batch, "nobody answered the unwinding's gate in time"),
        // Nothing changes: what was asked for did not come to be.
        (Subject::Skip | Subject::Window | Subject::Amend, _, _) => Ok(()),
    }
}

/// The same is asked of others, once, about the same evidence.
fn escalated(batch: &mut Batch, old: &Request) -> Result<(), Rejected> {
    let binding = Binding {
        action_digest: old.action_digest.clone(),
        evidence_digest: old.evidence_digest.clone(),
        identity: old.identity.clone(),
    };
    let ask = Ask {
        subject: old.subject,
        reason: old.reason.clone(),
        closes_ms: old.closes_ms,
        plan: old.plan.clone(),
        escalated: true,
    };
    let step = old.step.clone().zip(old.attempt);
    request(batch, ask, step.as_ref().map(|(id, attempt)| (id, *attempt)), &binding)
}

/// Begins every step whose turn it is. A hold, a step that asks how it goes on, or an unwinding that a failure asked
/// for come first.
fn forward(batch: &mut Batch) -> Result<(), Rejected> {
    if batch.state.hold.is_some() {
        return Ok(());
    }
    if batch.state.blocked_by().is_some() {
        return match poll::stops(&batch.state) {
            Some(reason) => batch.close(CloseState::Stopped, 3, reason),
            None => back_by_itself(batch),
        };
    }
    let ready: Vec<(StepId, u32)> = batch
        .state
        .ready()
        .filter_map(|index| {
            let facts = batch.state.facts.steps.get(index)?;
            let step = batch.state.steps.get(index)?;
            Some((facts.id.clone(), step.attempt + 1))
        })
        .collect();
    let mut withheld = false;
    for (step, attempt) in ready {
        if batch
            .state
            .unproven(facts(&batch.state, &step)?, batch.now_ms)
            .is_some()
        {
            withheld = true;
        } else {
            batch.push(Event::StepChecking { step, attempt })?;
        }
    }
    proof::look(batch, withheld)?;
    let quiet = batch.state.all_done() && batch.state.open_effects().next().is_none();
    if quiet {
        // The approval of a commit covers what is put back under it.
        let closing = batch.state.closing_left();
        let binding = Binding {
            action_digest: String::new(),
            evidence_digest: String::new(),
            identity: serde_json::json!({ "closing": closing }),
        };
        return request(batch, Ask::of(Subject::Commit), None, &binding);
    }
    Ok(())
}

/// A step that failed may ask for the rollback by itself, once, when nothing runs any more; its gate stays.
fn back_by_itself(batch: &mut Batch) -> Result<(), Rejected> {
    let asks = batch
        .state
        .each()
        .any(|(facts, step)| facts.rollback_on_failure && step.stage == Stage::Failed && !step.asked_back);
    if asks && unwind::plannable(&batch.state, None).is_ok() {
        return unwind::plan(batch, None, "runbook");
    }
    Ok(())
}

/// The closing effects of a commit, one after another, then the end.
fn closing(batch: &mut Batch, request: RequestId) -> Result<(), Rejected> {
    let busy = batch.state.hold.is_some() || !batch.state.stuck.is_empty();
    if busy || batch.state.open_effects().next().is_some() {
        return Ok(());
    }
    match batch.state.closing_left().into_iter().next() {
        Some(step) => intent(batch, &step, Role::Close, request),
        None => {
            let (state, reason) = if batch.state.facts.dry_run {
                (CloseState::DryRun, "every step was gone through; nothing was changed")
            } else {
                let skipped = batch.state.steps.iter().any(|step| step.stage == Stage::Skipped);
                let words = if skipped {
                    "every step is done or was skipped, and the commit was approved"
                } else {
                    "every step is done and the commit was approved"
                };
                (CloseState::Committed, words)
            };
            batch.close(state, 0, reason.to_owned())
        }
    }
}
