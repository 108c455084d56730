//! Acts inside modals, and what their confirmation sends. Part of `update`.

use crate::frontend::poll::next_unanswered_but;
use crate::projection::alarms::owed;
use crate::projection::words::{about, decided};
use crate::run::Command;
use crate::run::event::Decision;
use crate::run::facts::RequestId;
use crate::run::poll::is_poll;

use super::able::{attestable, first_voter, others, why_not};
use super::model::{Input, Modal, Model, Purpose};
use super::msg::{Act, Action};
use super::offers::{Chosen, choices, voters};
use super::questions::{command, questions, take};
use super::update::begin_leaving;

/// Opens the gate that waits.
pub(super) fn open_gate(model: &mut Model) {
    let request = model.open_request().map(|request| request.id);
    model.modal = request.map(|id| Modal::gate(id, first_voter(model, id)));
}

/// Opens the rejection of the gate that waits.
pub(super) fn open_reject(model: &mut Model) {
    if let Some(request) = model.open_request().map(|request| request.id) {
        model.modal = Some(Modal::Reject {
            request,
            voter: first_voter(model, request),
            comment: Input::default(),
            heard: false,
        });
    }
}

/// Opens what asks for a decision.
pub(super) fn open_decision(model: &mut Model) {
    model.modal = model.asking_step().map(|step| Modal::decision(model, step));
}

/// Opens what concerns the seat: a choice where it is offered already.
pub(super) fn open_seat(model: &mut Model) {
    model.modal = Some(if model.state().seat_offered.is_some() {
        Modal::Seat { at: 0 }
    } else {
        Modal::ask(Purpose::OfferSeat)
    });
}

/// Opens the second signature that is owed: the selected step's, else the first.
pub(super) fn open_countersign(model: &mut Model) {
    let state = model.state();
    let owed: Vec<RequestId> = owed(state).into_iter().map(|owed| owed.request).collect();
    let selected = model.selected_step();
    let of_selected = owed.iter().find(|id| {
        let step = state.requests.get(id).and_then(|request| request.step.as_ref());
        selected.is_some() && step == selected
    });
    let request = of_selected.or(owed.first()).copied();
    model.modal = request.map(|request| Modal::ask(Purpose::Countersign(request)));
}

/// Asks for words.
pub(super) fn ask(model: &mut Model, purpose: Purpose) {
    model.modal = Some(Modal::ask(purpose));
}

/// Takes typed text into the field in front, if there is one. Line feeds become spaces: nothing typed or pasted can
/// confirm anything.
pub(super) fn typed(model: &mut Model, text: &str) {
    if let Some(field) = field(model) {
        let shown = text.chars().map(|char| if char.is_whitespace() { ' ' } else { char });
        field.text.extend(shown.filter(|char| !char.is_control()));
    }
}

const fn field(model: &mut Model) -> Option<&mut Input> {
    match &mut model.modal {
        Some(Modal::Gate { phrase, .. }) => Some(phrase),
        Some(Modal::Reject { comment, .. }) => Some(comment),
        Some(Modal::Reason { input, .. }) => Some(input),
        Some(
            Modal::Failure { .. }
            | Modal::Doubt { .. }
            | Modal::Rollback { .. }
            | Modal::Leave { .. }
            | Modal::End { .. }
            | Modal::Seat { .. }
            | Modal::Help { .. }
            | Modal::Summary { .. },
        )
        | None => None,
    }
}

/// Takes an act while a modal is open.
pub(super) fn act(model: &mut Model, act: Act) -> Vec<Action> {
    match act {
        Act::Cancel => {
            model.modal = match model.modal.take() {
                Some(Modal::Help { back, .. }) => back.map(|modal| *modal),
                Some(_) | None => None,
            };
        }
        Act::Up => shift(model, Way::Up, 1),
        Act::Down => shift(model, Way::Down, 1),
        Act::PageUp => page(model, Way::Up, 10),
        Act::PageDown => page(model, Way::Down, 10),
        Act::Top => page(model, Way::Up, usize::MAX),
        Act::Bottom => page(model, Way::Down, 1000),
        Act::Erase => {
            if let Some(field) = field(model) {
                field.text.pop();
            }
        }
        Act::EraseAll => {
            if let Some(field) = field(model) {
                field.text.clear();
            }
        }
        Act::Confirm | Act::Submit => return confirm(model, act),
        Act::NoGo | Act::Abstain => match why_not(model, act) {
            Some(reason) => model.complain(reason),
            None => return of_poll(model, act),
        },
        Act::Heard | Act::BreakGlass | Act::Other => match why_not(model, act) {
            Some(reason) => model.complain(reason),
            None => of_gate(model, act),
        },
        Act::NextPane
        | Act::PreviousPane
        | Act::Inspect
        | Act::Fold
        | Act::Follow
        | Act::Gate
        | Act::Reject
        | Act::Decide
        | Act::Hold
        | Act::Release
        | Act::Note
        | Act::Rollback
        | Act::Skip
        | Act::End
        | Act::Seat
        | Act::Extend
        | Act::Amend
        | Act::Countersign
        | Act::Summary
        | Act::Leave
        | Act::Help => {}
    }
    Vec::new()
}

/// What a gate's window knows besides voting, and the way to the next window of its kind.
fn of_gate(model: &mut Model, act: Act) {
    if act == Act::Other {
        if let Some(next) = others(model).into_iter().next() {
            model.modal = Some(next);
        }
        return;
    }
    let Some(Modal::Gate { request, heard, .. }) = &mut model.modal else {
        return;
    };
    let request = *request;
    if act == Act::BreakGlass {
        model.modal = Some(Modal::ask(Purpose::BreakGlass(request)));
    } else {
        *heard = !*heard;
    }
}

/// What a poll's window knows besides go: no-go, whose reason is typed, and abstaining.
fn of_poll(model: &mut Model, act: Act) -> Vec<Action> {
    let Some(Modal::Gate {
        request, voter, heard, ..
    }) = model.modal
    else {
        return Vec::new();
    };
    if act == Act::Abstain {
        let cast = Cast {
            decision: Decision::Abstain,
            phrase: None,
            comment: "",
            heard,
        };
        return vote(model, request, voter, cast);
    }
    model.modal = Some(Modal::Reject {
        request,
        voter,
        comment: Input::default(),
        heard,
    });
    Vec::new()
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Up,
    Down,
}

fn moved(at: usize, way: Way, by: usize, count: usize) -> usize {
    match way {
        Way::Up => at.saturating_sub(by),
        Way::Down => at.saturating_add(by).min(count.saturating_sub(1)),
    }
}

/// Arrow keys: the choice, the voter, or the text.
fn shift(model: &mut Model, way: Way, by: usize) {
    let Some(mut modal) = model.modal.take() else { return };
    let count = match &modal {
        Modal::Gate { request, .. } | Modal::Reject { request, .. } => voters(model, *request).len(),
        Modal::Failure { .. }
        | Modal::Doubt { .. }
        | Modal::Rollback { .. }
        | Modal::Leave { .. }
        | Modal::End { .. }
        | Modal::Seat { .. } => choices(model, &modal).len(),
        Modal::Reason { .. } => 0,
        Modal::Help { .. } | Modal::Summary { .. } => 1000,
    };
    match &mut modal {
        Modal::Gate { voter: at, .. }
        | Modal::Reject { voter: at, .. }
        | Modal::Failure { at, .. }
        | Modal::Doubt { at, .. }
        | Modal::Rollback { at }
        | Modal::Leave { at }
        | Modal::End { at, .. }
        | Modal::Seat { at }
        | Modal::Help { scroll: at, .. }
        | Modal::Summary { scroll: at } => *at = moved(*at, way, by, count),
        Modal::Reason { .. } => {}
    }
    model.modal = Some(modal);
}

/// Page keys: the text of a gate; elsewhere like many arrow keys.
fn page(model: &mut Model, way: Way, by: usize) {
    if let Some(Modal::Gate { scroll, .. }) = &mut model.modal {
        *scroll = moved(*scroll, way, by, 1000);
    } else {
        shift(model, way, by);
    }
}

fn confirm(model: &mut Model, act: Act) -> Vec<Action> {
    let Some(modal) = model.modal.clone() else {
        return Vec::new();
    };
    match &modal {
        Modal::Gate {
            request,
            voter,
            phrase,
            heard,
            ..
        } => approve(model, *request, *voter, &phrase.text, *heard, act),
        Modal::Reject {
            request,
            voter,
            comment,
            heard,
        } => {
            if comment.text.trim().is_empty() {
                let poll = model
                    .state()
                    .requests
                    .get(request)
                    .is_some_and(|asked| is_poll(&asked.gate));
                model.complain(if poll {
                    "say why it is no-go"
                } else {
                    "say why you reject it"
                });
                return Vec::new();
            }
            let cast = Cast {
                decision: Decision::Reject,
                phrase: None,
                comment: comment.text.trim(),
                heard: *heard,
            };
            vote(model, *request, *voter, cast)
        }
        Modal::Failure { at, .. }
        | Modal::Doubt { at, .. }
        | Modal::Rollback { at }
        | Modal::Leave { at }
        | Modal::End { at, .. }
        | Modal::Seat { at } => {
            let chosen = choices(model, &modal)
                .into_iter()
                .nth(*at)
                .and_then(|choice| choice.chosen);
            match chosen {
                Some(chosen) => choose(model, chosen),
                None => {
                    model.complain("that cannot be chosen now");
                    Vec::new()
                }
            }
        }
        Modal::Reason {
            purpose,
            answers,
            input,
        } => answered(model, purpose, answers, &input.text),
        Modal::Help { .. } | Modal::Summary { .. } => Vec::new(),
    }
}

fn approve(model: &mut Model, id: RequestId, voter: usize, typed: &str, heard: bool, act: Act) -> Vec<Action> {
    let Some(request) = model.state().requests.get(&id) else {
        return Vec::new();
    };
    let phrase = request.gate.phrase.clone();
    match (&phrase, act) {
        (Some(phrase), Act::Submit) if phrase == typed => {}
        (Some(_), Act::Submit) => {
            model.complain("the typed text is not the phrase; nothing was approved");
            return Vec::new();
        }
        (None, Act::Confirm) => {}
        (Some(_) | None, _) => return Vec::new(),
    }
    let cast = Cast {
        decision: Decision::Approve,
        phrase,
        comment: "",
        heard,
    };
    vote(model, id, voter, cast)
}

/// A vote, but for who casts it.
struct Cast<'a> {
    decision: Decision,
    phrase: Option<String>,
    comment: &'a str,
    heard: bool,
}

fn vote(model: &mut Model, request: RequestId, voter: usize, cast: Cast<'_>) -> Vec<Action> {
    let Some(voter) = voters(model, request).into_iter().nth(voter) else {
        model.complain("nobody is left who may vote on this gate");
        return Vec::new();
    };
    let operator = model.state().operator.clone();
    if cast.heard
        && let Err(reason) = attestable(model, request)
    {
        model.complain(reason);
        return Vec::new();
    }
    if cast.heard && voter.person == operator {
        model.complain("the operator is no voice on the bridge: choose who was heard, or Ctrl-t");
        return Vec::new();
    }
    model.modal = None;
    let poll = model
        .state()
        .requests
        .get(&request)
        .filter(|asked| is_poll(&asked.gate));
    if let Some(asked) = poll {
        let what = decided(cast.decision, true);
        let said = format!("sent: {} {what} for {}", voter.person, voter.role);
        // The other roles answer in the same window; it closes with the poll.
        if cast.decision != Decision::Reject {
            let next = next_unanswered_but(model.state(), asked, &voter.role);
            model.modal = Some(Modal::gate(request, next));
        }
        model.say(said);
    } else {
        let said = format!("the vote of {} as {} was sent", voter.person, voter.role);
        model.say(match next_gate(model, request) {
            Some(next) => format!("{said}; a looks at the next gate: {next}"),
            None => said,
        });
    }
    vec![Action::Tell(Command::Vote {
        request,
        person: voter.person,
        role: voter.role,
        decision: cast.decision,
        phrase: cast.phrase,
        comment: cast.comment.to_owned(),
        attested_by: cast.heard.then_some(operator),
    })]
}

/// What another open gate is about.
fn next_gate(model: &Model, voted: RequestId) -> Option<String> {
    let mut open = model.state().open_requests();
    let next = open.find(|request| request.id != voted)?;
    Some(about(&model.plan, next.subject, next.step.as_ref()))
}

fn choose(model: &mut Model, chosen: Chosen) -> Vec<Action> {
    model.modal = None;
    model.status = None;
    match chosen {
        Chosen::Retry(step) => vec![Action::Tell(Command::Retry { step })],
        Chosen::Ask(purpose) => {
            ask(model, purpose);
            Vec::new()
        }
        Chosen::OpenRollback => {
            model.modal = Some(Modal::Rollback { at: 0 });
            Vec::new()
        }
        Chosen::Unwind(to) => {
            let person = model.state().operator.clone();
            vec![Action::Tell(Command::Rollback { to, person })]
        }
        Chosen::Forward(step) => {
            let person = model.state().operator.clone();
            vec![Action::Tell(Command::FallForward { step, person })]
        }
        Chosen::End(step) => {
            let person = model.state().operator.clone();
            vec![Action::Tell(Command::Cancel { step, person })]
        }
        Chosen::Leave => {
            let reason = format!("{} left the cockpit", model.session.operator);
            begin_leaving(model, reason);
            Vec::new()
        }
    }
}

/// Takes the answer to the question in front: the next question, or what comes of all of them.
fn answered(model: &mut Model, purpose: &Purpose, answers: &[String], typed: &str) -> Vec<Action> {
    let taken = match take(model, purpose, answers.len(), typed) {
        Ok(taken) => taken,
        Err(reason) => {
            model.complain(reason);
            return Vec::new();
        }
    };
    model.status = None;
    let mut answers = answers.to_vec();
    answers.push(taken);
    if answers.len() < questions(model, purpose).len() {
        model.modal = Some(Modal::Reason {
            purpose: purpose.clone(),
            answers,
            input: Input::default(),
        });
        return Vec::new();
    }
    model.modal = None;
    vec![command(model, purpose, &answers)]
}
