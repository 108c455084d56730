//! What an event asks of the world. Pure: names the work; the engine performs it once the event is durable.

use super::event::{Decision, Event, OutcomeResult, Role, Subject};
use super::facts::{RequestId, StepId};
use super::state::{EffectState, RunState, Stage};

/// Work for the executor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Run the before-checks and the action's own look; answer with `Checked`.
    Check { step: StepId, attempt: u32 },
    /// Read the bound identity again; answer with `Rechecked`.
    Recheck {
        step: StepId,
        attempt: u32,
        request: RequestId,
    },
    /// Do it; answer with `Acked` and `Finished`.
    Execute {
        step: StepId,
        attempt: u32,
        role: Role,
        request: RequestId,
    },
    /// Only read what became of it, follow it while it runs; answer with `Finished`.
    Observe {
        step: StepId,
        attempt: u32,
        role: Role,
        request: RequestId,
    },
    /// Run the after-checks and take the outputs; answer with `Verified`.
    Verify { step: StepId, attempt: u32 },
    /// Look at every connection and what the steps need of it; answer with `Preflighted`.
    Preflight { number: u32 },
    /// Gather what the unwinding gate shows; answer with `UnwindPrepared`.
    PrepareUnwind,
    /// Read the live checks again and again while the request is asked or granted; answer with `LiveRed`.
    Watch {
        step: StepId,
        attempt: u32,
        request: RequestId,
    },
    /// The request is over: its live checks do not matter any more.
    Unwatch { request: RequestId },
    /// Ask what is under way to end; its own answer tells what became of it.
    Cancel { step: StepId, role: Role },
}

/// What `event` asks for; `state` is the state after it.
pub fn effects(state: &RunState, event: &Event) -> Vec<Effect> {
    match event {
        Event::StepChecking { step, attempt } => vec![Effect::Check {
            step: step.clone(),
            attempt: *attempt,
        }],
        Event::GateGranted { request } => granted(state, *request),
        Event::EffectIntent {
            step,
            attempt,
            role,
            request,
            ..
        } => {
            let mut work = match role {
                Role::Do => unwatch(state, *request),
                Role::Undo | Role::Close => Vec::new(),
            };
            work.push(Effect::Execute {
                step: step.clone(),
                attempt: *attempt,
                role: *role,
                request: *request,
            });
            work
        }
        Event::GateRequested {
            step: Some(step),
            attempt: Some(attempt),
            request,
            subject: Subject::Step,
            ..
        } if state.facts.step(step).is_some_and(|facts| facts.live) => vec![Effect::Watch {
            step: step.clone(),
            attempt: *attempt,
            request: *request,
        }],
        Event::GateVoided { request, .. } | Event::GateExpired { request } => unwatch(state, *request),
        Event::GateVote {
            request,
            decision: Decision::Reject,
            ..
        } => unwatch(state, *request),
        Event::EffectCancel { step, role, .. } => vec![Effect::Cancel {
            step: step.clone(),
            role: *role,
        }],
        Event::EffectOutcome {
            step,
            attempt,
            role,
            result: OutcomeResult::InDoubt,
            observed: false,
            ..
        } => observe(state, step, *attempt, *role),
        Event::StepVerifying { step, attempt } => vec![Effect::Verify {
            step: step.clone(),
            attempt: *attempt,
        }],
        Event::UnwindPlanned { .. } => vec![Effect::PrepareUnwind],
        Event::PreflightBegun { number, .. } => vec![Effect::Preflight { number: *number }],
        Event::Resumed { .. } => resumed(state),
        Event::EffectOutcome { .. }
        | Event::Genesis { .. }
        | Event::CheckResult { .. }
        | Event::GateRequested { .. }
        | Event::GateVote { .. }
        | Event::GateBroken { .. }
        | Event::GateCountersigned { .. }
        | Event::EffectAck { .. }
        | Event::EffectKept { .. }
        | Event::EffectDecided { .. }
        | Event::StepDone { .. }
        | Event::StepFailed { .. }
        | Event::StepSkipped { .. }
        | Event::DeadlinePassed { .. }
        | Event::WindowClosed { .. }
        | Event::WindowExtended { .. }
        | Event::RunAmended { .. }
        | Event::PreflightEnded { .. }
        | Event::PreflightVoided { .. }
        | Event::HandoverOffered { .. }
        | Event::HandoverTaken { .. }
        | Event::UnwindPrepared { .. }
        | Event::UnwindDropped { .. }
        | Event::UnwindFinished { .. }
        | Event::RunHeld { .. }
        | Event::RunReleased { .. }
        | Event::RunClosed { .. }
        | Event::Note { .. }
        | Event::Interrupted { .. } => Vec::new(),
    }
}

fn granted(state: &RunState, id: RequestId) -> Vec<Effect> {
    let Some(request) = state.requests.get(&id) else {
        return Vec::new();
    };
    match (request.subject, &request.step, request.attempt) {
        (Subject::Step, Some(step), Some(attempt)) if state.hold.is_none() => {
            vec![Effect::Recheck {
                step: step.clone(),
                attempt,
                request: id,
            }]
        }
        (
            Subject::Step | Subject::Skip | Subject::Unwind | Subject::Commit | Subject::Window | Subject::Amend,
            _,
            _,
        ) => Vec::new(),
    }
}

fn unwatch(state: &RunState, id: RequestId) -> Vec<Effect> {
    let step = state.requests.get(&id).and_then(|request| request.step.as_ref());
    let live = step
        .and_then(|step| state.facts.step(step))
        .is_some_and(|facts| facts.live);
    if live {
        vec![Effect::Unwatch { request: id }]
    } else {
        Vec::new()
    }
}

fn observe(state: &RunState, step: &StepId, attempt: u32, role: Role) -> Vec<Effect> {
    state
        .open_effects()
        .filter(|(id, open, _)| *id == step && *open == role)
        .filter_map(|(_, _, effect)| request_of(effect))
        .map(|request| Effect::Observe {
            step: step.clone(),
            attempt,
            role,
            request,
        })
        .collect()
}

/// A new process looks at what the old one left open, and verifies again what it was verifying.
fn resumed(state: &RunState) -> Vec<Effect> {
    let mut work = Vec::new();
    for (step, role, effect) in state.open_effects() {
        // A read that was cut off has nothing to find out: `decide` closes it.
        if let EffectState::InFlight { .. } = effect {
            continue;
        }
        if let (Some(request), Some(current)) = (request_of(effect), state.step(step)) {
            work.push(Effect::Observe {
                step: step.clone(),
                attempt: current.attempt,
                role,
                request,
            });
        }
    }
    for (facts, step) in state.each() {
        if step.stage == Stage::Verifying {
            work.push(Effect::Verify {
                step: facts.id.clone(),
                attempt: step.attempt,
            });
        }
    }
    work
}

const fn request_of(effect: &EffectState) -> Option<RequestId> {
    match effect {
        EffectState::InFlight { request, .. }
        | EffectState::Orphaned { request, .. }
        | EffectState::InDoubt { request, .. } => Some(*request),
        EffectState::None
        | EffectState::Done
        | EffectState::Failed
        | EffectState::MaybeHappened
        | EffectState::NotSent => None,
    }
}
