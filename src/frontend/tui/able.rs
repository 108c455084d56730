//! Which keys work now, and why the others do not. Pure questions about the model, asked so that the footer and the
//! status line tell the truth; the state machine has the last word.

use crate::frontend::poll::next_unanswered;
use crate::projection::alarms::owed;
use crate::projection::words::label;
use crate::run::RunState;
use crate::run::event::Subject;
use crate::run::facts::{AtEnd, RequestId, StepFacts, StepId};
use crate::run::gate::GLASS;
use crate::run::poll::is_poll;
use crate::run::state::{Phase, Request, RequestStatus, Stage};

use super::model::{Modal, Model};
use super::msg::Act;

/// Whether an act makes sense now.
pub fn available(model: &Model, act: Act) -> bool {
    why_not(model, act).is_none()
}

/// Why an act makes no sense now; none: it does.
pub fn why_not(model: &Model, act: Act) -> Option<String> {
    match act {
        Act::Gate | Act::Reject => dead(model).or_else(|| match model.open_request() {
            None => Some("no gate is open now".to_owned()),
            Some(request) => answerable(model.state(), request).err(),
        }),
        Act::Decide => dead(model).or_else(|| {
            let nothing = model.asking_step().is_none();
            nothing.then(|| "nothing failed and nothing is in doubt".to_owned())
        }),
        Act::Hold => dead(model).or_else(|| {
            let held = model.state().hold.is_some();
            held.then(|| "the run is held already".to_owned())
        }),
        Act::Release => dead(model).or_else(|| release(model.state())),
        Act::Rollback => dead(model).or_else(|| rollback(model.state())),
        Act::Skip => dead(model).or_else(|| skippable(model).err()),
        Act::End => dead(model).or_else(|| endable(model).err()),
        Act::Seat => dead(model),
        Act::Extend => dead(model).or_else(|| extend(model.state())),
        Act::Amend => dead(model).or_else(|| amend(model)),
        Act::Countersign => halted(model).or_else(|| {
            let nothing = owed(model.state()).is_empty();
            nothing.then(|| "nothing waits for a second signature".to_owned())
        }),
        Act::Note => halted(model).or_else(|| new(model)),
        Act::NoGo | Act::Abstain => gate_shown(model, pollable),
        Act::Heard => gate_shown(model, attestable),
        Act::BreakGlass => gate_shown(model, breakable),
        Act::Other => others(model).is_empty().then(|| "nothing else asks now".to_owned()),
        Act::Follow => model.follow.then(|| "the selection follows the run already".to_owned()),
        Act::Summary
        | Act::Up
        | Act::Down
        | Act::PageUp
        | Act::PageDown
        | Act::Top
        | Act::Bottom
        | Act::NextPane
        | Act::PreviousPane
        | Act::Inspect
        | Act::Fold
        | Act::Leave
        | Act::Help
        | Act::Confirm
        | Act::Submit
        | Act::Erase
        | Act::EraseAll
        | Act::Cancel => None,
    }
}

fn halted(model: &Model) -> Option<String> {
    let halted = model.halted.is_some();
    halted.then(|| "the journal cannot be written: nothing is taken any more; q leaves".to_owned())
}

fn new(model: &Model) -> Option<String> {
    (model.state().phase == Phase::New).then(|| "the run has not begun".to_owned())
}

/// Nothing can be done to a run that is over, not begun, or cannot be recorded.
fn dead(model: &Model) -> Option<String> {
    let over = model.state().is_closed();
    halted(model)
        .or_else(|| over.then(|| "the run is over; only notes and second signatures are taken".to_owned()))
        .or_else(|| new(model))
}

/// Whether a request can be answered now, as far as the rest of the run goes.
///
/// # Errors
/// Why it cannot.
pub fn answerable(state: &RunState, request: &Request) -> Result<(), String> {
    if request.status != RequestStatus::Open {
        return Err(format!("request {} is not open any more", request.id));
    }
    let apart = matches!(request.subject, Subject::Skip | Subject::Window | Subject::Amend);
    if state.hold.is_some() && !apart {
        return Err("the run is held; r releases it, then the gate is asked again".to_owned());
    }
    let forward = |own: &StepId| state.facts.step(own).is_some_and(|facts| facts.fall_forward);
    match (request.subject, &request.step) {
        (Subject::Step, Some(own)) if !forward(own) => match state.blocked_by() {
            Some(blocked) if blocked != own => Err(format!(
                "step {blocked} asks how it goes on: d decides, before anything new is approved"
            )),
            Some(_) | None => Ok(()),
        },
        (Subject::Step | Subject::Skip | Subject::Unwind | Subject::Commit | Subject::Window | Subject::Amend, _) => {
            Ok(())
        }
    }
}

fn release(state: &RunState) -> Option<String> {
    if state.hold.is_none() {
        return Some("the run is not held".to_owned());
    }
    let kept = state.facts.window.map(|window| window.at_end) == Some(AtEnd::Hold);
    (kept && state.window_over && state.phase == Phase::Running)
        .then(|| "the window has closed: w extends it, u rolls back".to_owned())
}

fn rollback(state: &RunState) -> Option<String> {
    match state.phase {
        Phase::Running | Phase::CommitGate(_) => None,
        Phase::Unwinding => Some("the run is being rolled back already".to_owned()),
        Phase::Closing(_) => Some("the commit was approved; its closing effects are under way".to_owned()),
        Phase::New | Phase::Closed { .. } => Some("no rollback can be begun now".to_owned()),
    }
}

fn extend(state: &RunState) -> Option<String> {
    if state.window_closes_ms.is_none() {
        return Some("this environment has no window; there is nothing to extend".to_owned());
    }
    let asked = state.open_requests().any(|request| request.subject == Subject::Window);
    asked.then(|| "a longer window is asked for already: a looks at its gate".to_owned())
}

fn amend(model: &Model) -> Option<String> {
    let state = model.state();
    if state.facts.dry_run {
        return Some("a dry run is not amended; begin another one".to_owned());
    }
    if state.phase != Phase::Running {
        return Some("a runbook is amended while the run goes forward".to_owned());
    }
    let held = state.hold.is_some();
    (!held).then(|| "a runbook is amended while the run is held: h holds it".to_owned())
}

/// The step that `s` would skip.
///
/// # Errors
/// Why there is none.
pub fn skippable(model: &Model) -> Result<StepId, String> {
    let step = model
        .selected_step()
        .ok_or_else(|| "select the step to skip first".to_owned())?;
    skips(model, step).map(|()| step.clone())
}

/// Whether somebody may ask to go on without this step.
///
/// # Errors
/// Why not.
pub fn skips(model: &Model, step: &StepId) -> Result<(), String> {
    let state = model.state();
    let name = label(&model.plan, step);
    if state.phase != Phase::Running {
        return Err("the run does not go forward now; nothing is skipped".to_owned());
    }
    if state.skip_asked(step) {
        return Err(format!("to skip {name} is asked already: a looks at its gate"));
    }
    if state.facts.step(step).is_some_and(|facts| facts.fall_forward) {
        return Err(format!("{name} is not on the way; there is nothing to skip"));
    }
    let Some(current) = state.step(step) else {
        return Err(format!("this plan has no step {step}"));
    };
    match current.stage {
        Stage::Waiting | Stage::Checking | Stage::AtGate(_) | Stage::Approved(_) | Stage::Failed => Ok(()),
        Stage::Running => Err(format!("{name} is running: c asks it to end, or wait for its outcome")),
        Stage::Verifying => Err(format!("{name} is being verified; wait for what the checks say")),
        Stage::InDoubt => Err(format!("{name} is in doubt: d decides about it first")),
        Stage::Done | Stage::Skipped | Stage::RollingBack | Stage::RolledBack | Stage::RollbackFailed | Stage::Kept => {
            Err(format!("{name} is over; there is nothing to skip"))
        }
    }
}

/// The step whose effect `c` would ask to end: the selected one, else the only one that runs.
///
/// # Errors
/// Why there is none.
pub fn endable(model: &Model) -> Result<StepId, String> {
    let running = model.running();
    let selected = model.selected_step();
    if let Some(step) = running.iter().find(|step| Some(*step) == selected) {
        return Ok(step.clone());
    }
    match running.as_slice() {
        [] => Err("no effect is running that could be asked to end".to_owned()),
        [only] => Ok(only.clone()),
        [_, ..] => Err("several effects run: select the one to end".to_owned()),
    }
}

/// Asks `question` about the gate in front.
fn gate_shown(model: &Model, question: fn(&Model, RequestId) -> Result<(), String>) -> Option<String> {
    match &model.modal {
        Some(Modal::Gate { request, .. }) => question(model, *request).err(),
        Some(_) | None => Some("no gate is in front".to_owned()),
    }
}

/// Whether a request is a poll that can be answered now.
fn pollable(model: &Model, id: RequestId) -> Result<(), String> {
    let request = asked(model, id)?;
    if !is_poll(&request.gate) {
        return Err("this gate is no poll; it is approved or rejected".to_owned());
    }
    answerable(model.state(), request)
}

/// Whether the operator may write down the voice of somebody who votes on a request.
///
/// # Errors
/// Why not.
pub fn attestable(model: &Model, id: RequestId) -> Result<(), String> {
    let request = asked(model, id)?;
    if is_no_return(model.state(), request) {
        return Err(
            "a point of no return takes no vote that was only heard; the person votes at a keyboard".to_owned(),
        );
    }
    if request.subject == Subject::Amend {
        return Err("an amendment takes no vote that was only heard; the person votes at a keyboard".to_owned());
    }
    let voters = super::offers::voters(model, id);
    let others = voters.iter().any(|voter| voter.person != model.state().operator);
    if others {
        Ok(())
    } else {
        Err("only the voice of somebody else than the operator can be written down".to_owned())
    }
}

/// Whether somebody may break the glass of a request.
///
/// # Errors
/// Why nobody may.
pub fn breakable(model: &Model, id: RequestId) -> Result<(), String> {
    let request = asked(model, id)?;
    if is_no_return(model.state(), request) {
        return Err("the glass cannot be broken at a point of no return; its quorum has to be found".to_owned());
    }
    if request.subject == Subject::Amend {
        return Err("the glass cannot be broken for an amendment".to_owned());
    }
    if glass_breakers(model).is_empty() && !model.state().facts.personas {
        return Err(format!("nobody of this environment has the role {GLASS}"));
    }
    answerable(model.state(), request)
}

fn asked(model: &Model, id: RequestId) -> Result<&Request, String> {
    let request = model.state().requests.get(&id).map(AsRef::as_ref);
    request.ok_or_else(|| format!("there is no request {id}"))
}

/// Who has the role that breaks the glass.
pub fn glass_breakers(model: &Model) -> Vec<String> {
    let people = model.state().facts.people.iter();
    people
        .filter(|(_, facts)| facts.roles.iter().any(|role| role == GLASS))
        .map(|(person, _)| person.clone())
        .collect()
}

/// Whether a request lets something happen that cannot be taken back.
fn is_no_return(state: &RunState, request: &Request) -> bool {
    let step = request.step.as_ref().and_then(|id| state.facts.step(id));
    match request.subject {
        Subject::Step | Subject::Skip => step.is_some_and(StepFacts::is_no_return),
        Subject::Unwind => state.unwind.as_ref().is_some_and(|unwind| unwind.past_no_return),
        Subject::Commit | Subject::Window | Subject::Amend => false,
    }
}

/// What else asks the same as the window in front, in the order in which Tab goes round.
pub fn others(model: &Model) -> Vec<Modal> {
    match &model.modal {
        Some(Modal::Gate { request, .. }) => {
            let open = model.state().open_requests();
            let ids = open
                .filter(|other| answerable(model.state(), other).is_ok())
                .map(|other| other.id);
            let next = after(ids.collect(), request).into_iter();
            next.map(|id| Modal::gate(id, first_voter(model, id))).collect()
        }
        Some(Modal::Failure { step, .. } | Modal::Doubt { step, .. }) => {
            let mut asking = model.doubtful();
            asking.extend(model.failed());
            after(asking, step)
                .into_iter()
                .map(|step| Modal::decision(model, step))
                .collect()
        }
        Some(
            Modal::Reject { .. }
            | Modal::Rollback { .. }
            | Modal::Leave { .. }
            | Modal::End { .. }
            | Modal::Seat { .. }
            | Modal::Reason { .. }
            | Modal::Help { .. }
            | Modal::Summary { .. },
        )
        | None => Vec::new(),
    }
}

/// Whom a gate's window offers first: of a poll somebody whose role has not answered.
pub fn first_voter(model: &Model, id: RequestId) -> usize {
    let request = model.state().requests.get(&id);
    request
        .filter(|request| is_poll(&request.gate))
        .map_or(0, |request| next_unanswered(model.state(), request))
}

/// The list turned so that it begins after `current`, without it.
fn after<T: PartialEq>(mut list: Vec<T>, current: &T) -> Vec<T> {
    if let Some(at) = list.iter().position(|item| item == current) {
        list.rotate_left(at);
        list.remove(0);
    }
    list
}

/// Whether a request can still be voted on.
pub fn is_open(model: &Model, request: RequestId) -> bool {
    let request = model.state().requests.get(&request);
    request.is_some_and(|request| request.status == RequestStatus::Open)
}
