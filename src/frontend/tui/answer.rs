//! Acts inside modals, and what their confirmation sends. Part of `update`.

use crate::run::Command;
use crate::run::event::Decision;
use crate::run::facts::RequestId;

use super::model::{Input, Modal, Model, Purpose};
use super::msg::{Act, Action};
use super::offers::{Chosen, choices, voters};
use super::update::begin_leaving;

/// Opens the gate that waits.
pub(super) fn open_gate(model: &mut Model) {
    if let Some(request) = model.open_request().map(|request| request.id) {
        model.modal = Some(Modal::Gate {
            request,
            voter: 0,
            scroll: 0,
            phrase: Input::default(),
        });
    }
}

/// Opens the rejection of the gate that waits.
pub(super) fn open_reject(model: &mut Model) {
    if let Some(request) = model.open_request().map(|request| request.id) {
        model.modal = Some(Modal::Reject {
            request,
            voter: 0,
            comment: Input::default(),
        });
    }
}

/// Opens what asks for a decision: a doubt before a failure.
pub(super) fn open_decision(model: &mut Model) {
    model.modal = if let Some(step) = model.doubtful_step() {
        Some(Modal::Doubt { step, at: 0 })
    } else {
        model.failed_step().map(|step| Modal::Failure { step, at: 0 })
    };
}

/// Asks for words.
pub(super) fn ask(model: &mut Model, purpose: Purpose) {
    model.modal = Some(Modal::Reason {
        purpose,
        input: Input::default(),
    });
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
        | Act::Summary
        | Act::Leave
        | Act::Help => {}
    }
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
        Modal::Failure { .. } | Modal::Doubt { .. } | Modal::Rollback { .. } | Modal::Leave { .. } => {
            choices(model, &modal).len()
        }
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
            request, voter, phrase, ..
        } => approve(model, *request, *voter, &phrase.text, act),
        Modal::Reject {
            request,
            voter,
            comment,
        } => {
            if comment.text.trim().is_empty() {
                model.complain("say why you reject it");
                return Vec::new();
            }
            vote(model, *request, *voter, Decision::Reject, None, comment.text.trim())
        }
        Modal::Failure { at, .. } | Modal::Doubt { at, .. } | Modal::Rollback { at } | Modal::Leave { at } => {
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
        Modal::Reason { purpose, input } => reason(model, purpose.clone(), input.text.trim()),
        Modal::Help { .. } | Modal::Summary { .. } => Vec::new(),
    }
}

fn approve(model: &mut Model, id: RequestId, voter: usize, typed: &str, act: Act) -> Vec<Action> {
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
    vote(model, id, voter, Decision::Approve, phrase, "")
}

fn vote(
    model: &mut Model,
    request: RequestId,
    voter: usize,
    decision: Decision,
    phrase: Option<String>,
    comment: &str,
) -> Vec<Action> {
    let Some(voter) = voters(model, request).into_iter().nth(voter) else {
        model.complain("nobody is left who may vote on this gate");
        return Vec::new();
    };
    model.modal = None;
    model.say(format!("the vote of {} as {} was sent", voter.person, voter.role));
    vec![Action::Tell(Command::Vote {
        request,
        person: voter.person,
        role: voter.role,
        decision,
        phrase,
        comment: comment.to_owned(),
        attested_by: None,
    })]
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
        Chosen::Leave => {
            let reason = format!("{} left the cockpit", model.session.operator);
            begin_leaving(model, reason);
            Vec::new()
        }
    }
}

fn reason(model: &mut Model, purpose: Purpose, text: &str) -> Vec<Action> {
    if text.is_empty() {
        model.complain("it needs words: the record keeps them");
        return Vec::new();
    }
    model.modal = None;
    let person = model.state().operator.clone();
    let reason = text.to_owned();
    let command = match purpose {
        Purpose::Note => return vec![Action::Note(reason)],
        Purpose::Hold => Command::Hold {
            reason,
            person,
            owner: None,
            until_ms: None,
        },
        Purpose::Stop => Command::Stop { reason, person },
        Purpose::ByHand(step) => Command::DoneByHand { step, person, reason },
        Purpose::Decide { step, done } => Command::Decide {
            step,
            done,
            person,
            reason,
        },
    };
    vec![Action::Tell(command)]
}
