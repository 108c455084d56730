//! Turns a command into the events that follow from it, or refuses it with a reason for a person. Pure: `now` is
//! passed in; the events are one durable batch.

use serde_json::Map;

use super::apply::fold;
use super::attempt::{checked, decided, finished, rechecked, retry, verified};
use super::command::{Binding, Command};
use super::event::{CloseState, Event, Fidelity, OutcomeResult, Role, Subject};
use super::facts::{AtEnd, OnExpiry, RequestId, StepEffect, StepFacts, StepId, Who};
use super::forward::advance;
use super::gate::{Cast, broken, countersigned, gate_of, live_red, minimum, quorums, revoke, roles, vote};
use super::poll::is_poll;
use super::state::{EffectState, Phase, RequestStatus, RunState, StepState, UnwindStage};
use super::{amend, proof, seat, skip, unwind};

/// A command that does not fit the state; nothing happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Rejected {
    pub reason: String,
}

impl Rejected {
    /// A refusal that says `reason`.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

/// The events of one command, with the state after them.
pub(super) struct Batch {
    pub state: RunState,
    pub events: Vec<Event>,
    pub now_ms: i64,
}

impl Batch {
    pub fn push(&mut self, event: Event) -> Result<(), Rejected> {
        fold(&mut self.state, &event).map_err(|illegal| Rejected::new(illegal.to_string()))?;
        self.events.push(event);
        Ok(())
    }

    /// The end: what is still asked is void.
    pub fn close(&mut self, state: CloseState, exit: u8, reason: String) -> Result<(), Rejected> {
        let pending: Vec<RequestId> = self.state.open_requests().map(|request| request.id).collect();
        for request in pending {
            self.push(Event::GateVoided {
                request,
                reason: "the run is over".to_owned(),
            })?;
        }
        self.push(Event::RunClosed { state, exit, reason })
    }

    pub fn hold(&mut self, reason: &str, person: &str) -> Result<(), Rejected> {
        self.push(Event::RunHeld {
            reason: reason.to_owned(),
            person: person.to_owned(),
            owner: None,
            until_ms: None,
        })
    }
}

/// What follows from `command` at `now_ms` (milliseconds since the epoch).
pub fn decide(state: &RunState, command: &Command, now_ms: i64) -> Result<Vec<Event>, Rejected> {
    let mut batch = Batch {
        state: state.clone(),
        events: Vec::new(),
        now_ms,
    };
    match (&state.phase, command) {
        (Phase::New, Command::Open { data, operator }) => {
            batch.push(Event::Genesis {
                operator: operator.clone(),
                data: data.clone(),
            })?;
        }
        (Phase::New, _) => return Err(Rejected::new("the run has not begun")),
        (_, Command::Open { .. }) => return Err(Rejected::new("the run has begun already")),
        (_, Command::Note { person, blob }) => {
            batch.push(Event::Note {
                person: person.clone(),
                blob: blob.clone(),
            })?;
        }
        (_, Command::Countersign { request, person, role }) => countersigned(&mut batch, *request, person, role)?,
        (Phase::Closed { .. }, Command::Advance) => {}
        (Phase::Closed { .. }, _) => return Err(Rejected::new("the run is over; only notes can be added")),
        (Phase::Running | Phase::Unwinding | Phase::CommitGate(_) | Phase::Closing(_), _) => {
            live(&mut batch, command)?;
        }
    }
    Ok(batch.events)
}

fn live(batch: &mut Batch, command: &Command) -> Result<(), Rejected> {
    match command {
        Command::Open { .. } | Command::Note { .. } | Command::Countersign { .. } => Ok(()),
        Command::Resume {
            operator,
            host,
            pid,
            hold,
        } => {
            resume(batch, operator, host, *pid)?;
            match hold {
                Some(reason) if batch.state.hold.is_none() => batch.hold(reason, operator),
                Some(_) | None => Ok(()),
            }
        }
        Command::Advance => advance(batch),
        Command::Checked {
            step,
            attempt,
            results,
            binding,
        } => checked(batch, step, *attempt, results, binding.as_ref()),
        Command::Vote {
            request,
            person,
            role,
            decision,
            phrase,
            comment,
            attested_by,
        } => {
            let cast = Cast {
                person,
                role,
                decision: *decision,
                phrase: phrase.as_deref(),
                attested_by: attested_by.as_deref(),
            };
            vote(batch, *request, cast, comment)
        }
        Command::BreakGlass {
            request,
            person,
            role,
            reason,
        } => broken(batch, *request, person, role, reason),
        Command::LiveRed { request, detail } => live_red(batch, *request, detail),
        Command::Revoke { request, person } => revoke(batch, *request, person),
        Command::Rechecked { request, action_digest } => {
            // The window may have closed since anybody looked.
            seat::passes(batch)?;
            rechecked(batch, *request, action_digest)
        }
        Command::ClockWentBack => clock_went_back(batch),
        Command::Preflighted { number, counts, words } => proof::looked(batch, *number, *counts, words),
        Command::Acked {
            role,
            step,
            attempt,
            provider_id,
        } => {
            in_flight(&batch.state, step, *attempt, *role)?;
            batch.push(Event::EffectAck {
                step: step.clone(),
                attempt: *attempt,
                role: *role,
                provider_id: provider_id.clone(),
            })
        }
        Command::Kept {
            role,
            step,
            attempt,
            kept,
        } => {
            in_flight(&batch.state, step, *attempt, *role)?;
            batch.push(Event::EffectKept {
                step: step.clone(),
                attempt: *attempt,
                role: *role,
                kept: kept.clone(),
            })
        }
        Command::Finished {
            role,
            step,
            attempt,
            outcome,
        } => finished(batch, *role, step, *attempt, outcome),
        Command::Verified {
            step,
            attempt,
            results,
            outputs,
            fault,
        } => verified(batch, step, *attempt, results, outputs, fault.as_deref()),
        Command::Retry { step } => retry(batch, step),
        Command::Skip { step, person, reason } => skip::ask(batch, step, person, reason),
        Command::FallForward { step, .. } => skip::fall_forward(batch, step),
        Command::Cancel { step, person } => skip::cancel(batch, step, person),
        Command::ExtendWindow {
            closes_ms,
            person,
            reason,
        } => seat::extend(batch, *closes_ms, person, reason),
        Command::Amend {
            plan,
            person,
            reason,
            binding,
        } => amend::ask(batch, plan, person, reason, binding),
        Command::OfferSeat { person, to } => seat::offer(batch, person, to),
        Command::TakeSeat { person } => seat::take(batch, person),
        Command::Decide {
            step,
            done,
            person,
            reason,
        } => decided(batch, step, *done, person, reason),
        Command::DoneByHand { step, person, reason } => unwind::by_hand(batch, step, person, reason),
        Command::Hold {
            reason,
            person,
            owner,
            until_ms,
        } => {
            if batch.state.hold.is_some() {
                return Err(Rejected::new("the run is held already"));
            }
            batch.push(Event::RunHeld {
                reason: reason.clone(),
                person: person.clone(),
                owner: owner.clone(),
                until_ms: *until_ms,
            })
        }
        Command::Release { person } => release(batch, person),
        Command::Rollback { to, person } => unwind::plan(batch, to.as_ref(), person),
        Command::UnwindPrepared {
            lost,
            action_digest,
            evidence,
            fault,
        } => unwind::prepared(batch, *lost, action_digest, evidence.as_deref(), fault.as_deref()),
        Command::Stop { reason, person } => stop(batch, reason, person),
        Command::Interrupt { reason } => batch.push(Event::Interrupted { reason: reason.clone() }),
    }
}

fn resume(batch: &mut Batch, operator: &str, host: &str, pid: u32) -> Result<(), Rejected> {
    let pending = batch.state.pending_approvals();
    let reads: Vec<(StepId, u32)> = batch
        .state
        .each()
        .filter(|(_, step)| matches!(step.act, EffectState::InFlight { mutates: false, .. }))
        .map(|(facts, step)| (facts.id.clone(), step.attempt))
        .collect();
    batch.push(Event::Resumed {
        operator: operator.to_owned(),
        host: host.to_owned(),
        pid,
    })?;
    for request in pending {
        let reason = "the process ended; approvals die with it".to_owned();
        batch.push(Event::GateVoided { request, reason })?;
    }
    for (step, attempt) in reads {
        batch.push(Event::EffectOutcome {
            step,
            attempt,
            role: Role::Do,
            result: OutcomeResult::NotSent,
            error_kind: None,
            detail: "the process ended while it read; it is read again".to_owned(),
            outputs: Map::new(),
            observed: true,
            fidelity: Fidelity::Executed,
        })?;
    }
    Ok(())
}

/// What is asked for, besides what it binds.
pub(super) struct Ask {
    pub subject: Subject,
    pub reason: Option<String>,
    pub closes_ms: Option<i64>,
    pub plan: Option<String>,
    pub escalated: bool,
}

impl Ask {
    pub const fn of(subject: Subject) -> Self {
        Self {
            subject,
            reason: None,
            closes_ms: None,
            plan: None,
            escalated: false,
        }
    }
}

/// Asks a gate; an open one grants itself with its reason.
pub(super) fn request(
    batch: &mut Batch,
    ask: Ask,
    step: Option<(&StepId, u32)>,
    binding: &Binding,
) -> Result<(), Rejected> {
    let mut gate = gate_of(&batch.state, ask.subject, step.map(|(id, _)| id));
    if ask.escalated
        && let OnExpiry::Escalate(who) = &gate.on_expiry
    {
        gate.who = who.clone();
    }
    let id = batch.state.next_request();
    let lifetime = gate.expires_ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
    let auto_reason = match &gate.who {
        Who::Open { reason } => Some(reason.clone()),
        Who::Operator | Who::Quorum(_) | Who::Poll { .. } => None,
    };
    let open = auto_reason.is_some();
    batch.push(Event::GateRequested {
        step: step.map(|(id, _)| id.clone()),
        attempt: step.map(|(_, attempt)| attempt),
        request: id,
        subject: ask.subject,
        action_digest: binding.action_digest.clone(),
        evidence_digest: binding.evidence_digest.clone(),
        identity: binding.identity.clone(),
        requested_ms: batch.now_ms,
        expires_ms: lifetime.map(|ms| batch.now_ms.saturating_add(ms)),
        min: minimum(&gate),
        roles: roles(&gate),
        phrase: gate.phrase.clone(),
        auto_reason,
        reason: ask.reason,
        closes_ms: ask.closes_ms,
        plan: ask.plan,
        quorums: quorums(&gate),
        escalated: ask.escalated,
        poll: is_poll(&gate),
    })?;
    if open {
        batch.push(Event::GateGranted { request: id })?;
    }
    Ok(())
}

/// A clock that was set back would lengthen every approval: all of them are asked anew.
fn clock_went_back(batch: &mut Batch) -> Result<(), Rejected> {
    for request in batch.state.pending_approvals() {
        let reason = "the clock went backwards".to_owned();
        batch.push(Event::GateVoided { request, reason })?;
    }
    if batch.state.preflight.is_known() {
        let reason = "the clock went backwards".to_owned();
        batch.push(Event::PreflightVoided { reason })?;
    }
    Ok(())
}

/// The record that lets an effect happen.
pub(super) fn intent(batch: &mut Batch, step: &StepId, role: Role, request: RequestId) -> Result<(), Rejected> {
    let facts = facts(&batch.state, step)?;
    let mutates = role != Role::Do || facts.effect == StepEffect::Mutate;
    let attempt = batch.state.step(step).map_or(0, |step| step.attempt);
    let action_digest = batch
        .state
        .requests
        .get(&request)
        .map(|r| r.action_digest.clone())
        .unwrap_or_default();
    batch.push(Event::EffectIntent {
        step: step.clone(),
        attempt,
        role,
        request,
        action_digest,
        mutates,
    })
}

fn release(batch: &mut Batch, person: &str) -> Result<(), Rejected> {
    if batch.state.hold.is_none() {
        return Err(Rejected::new("the run is not held"));
    }
    let at_end = batch.state.facts.window.map(|window| window.at_end);
    if batch.state.window_over && at_end == Some(AtEnd::Hold) && batch.state.phase != Phase::Unwinding {
        return Err(Rejected::new(
            "the window has closed; extend it under its gate, or roll back",
        ));
    }
    batch.push(Event::RunReleased {
        person: person.to_owned(),
    })?;
    let stale: Vec<RequestId> = batch
        .state
        .requests
        .values()
        .filter(|request| matches!(request.subject, Subject::Step | Subject::Amend))
        .filter(|request| matches!(request.status, RequestStatus::Open | RequestStatus::Granted))
        .map(|request| request.id)
        .collect();
    for request in stale {
        let reason = "the run was held meanwhile; checks are read again".to_owned();
        batch.push(Event::GateVoided { request, reason })?;
    }
    Ok(())
}

fn stop(batch: &mut Batch, reason: &str, person: &str) -> Result<(), Rejected> {
    let executing = batch.state.open_effects().any(|(_, _, effect)| !effect.needs_person());
    if executing {
        return Err(Rejected::new(
            "an effect is running; wait for its outcome before you stop the run",
        ));
    }
    let approved = batch
        .state
        .unwind
        .as_ref()
        .is_some_and(|unwind| matches!(unwind.stage, UnwindStage::Running(_)));
    let half_way = approved || batch.state.is_half_unwound();
    let (state, exit) = if half_way {
        (CloseState::Failed, 5)
    } else if batch.state.in_doubt() {
        (CloseState::Stopped, 6)
    } else {
        (CloseState::Stopped, 3)
    };
    batch.close(state, exit, format!("stopped by {person}: {reason}"))
}

pub(super) fn facts<'a>(state: &'a RunState, id: &StepId) -> Result<&'a StepFacts, Rejected> {
    state
        .facts
        .step(id)
        .ok_or_else(|| Rejected::new(format!("this plan has no step {id}")))
}

pub(super) fn current<'a>(state: &'a RunState, id: &StepId, attempt: u32) -> Result<&'a StepState, Rejected> {
    let step = state
        .step(id)
        .ok_or_else(|| Rejected::new(format!("this plan has no step {id}")))?;
    if step.attempt != attempt {
        return Err(Rejected::new(format!(
            "step {id} is at attempt {}, not {attempt}",
            step.attempt
        )));
    }
    Ok(step)
}

pub(super) fn in_flight<'a>(
    state: &'a RunState,
    id: &StepId,
    attempt: u32,
    role: Role,
) -> Result<&'a EffectState, Rejected> {
    let step = current(state, id, attempt)?;
    let effect = match role {
        Role::Do => &step.act,
        Role::Undo => &step.undo,
        Role::Close => &step.close,
    };
    if effect.is_open() {
        Ok(effect)
    } else {
        Err(Rejected::new(format!("step {id} has no effect under way")))
    }
}
