//! What each purpose asks, one question at a time, which answers it takes, and the command that comes of them. Must not
//! send anything.

use chrono::{DateTime, Utc};

use crate::projection::alarms::{Owed, owed};
use crate::projection::words::{about, label};
use crate::run::Command;
use crate::run::facts::RequestId;
use crate::run::gate::{BROKEN_REASON, GLASS};

use super::able::glass_breakers;
use super::model::{Model, Purpose};
use super::moment::{moment, said};
use super::msg::Action;
use super::offers::skipping;

/// The head of a window that asks: its title, what follows from the answers, and whether it is loud.
pub fn head(model: &Model, purpose: &Purpose) -> (String, Vec<String>, bool) {
    let one = |words: &str| vec![words.to_owned()];
    match purpose {
        Purpose::Hold => (
            "Hold the run".to_owned(),
            one(
                "Nothing new starts until somebody releases it. Running effects finish. On release checks and gates are asked again.",
            ),
            false,
        ),
        Purpose::Stop => (
            "Stop the run".to_owned(),
            one("It ends where it is and cannot be resumed. What stands, stands; nothing is undone."),
            false,
        ),
        Purpose::Note => (
            "Note".to_owned(),
            one("It goes into the journal under your name."),
            false,
        ),
        Purpose::ByHand(step) => (
            format!("Done by hand: {}", label(&model.plan, step)),
            one("Nothing is sent; the record names you and says what you did."),
            false,
        ),
        Purpose::Decide { step, done: true } => (
            format!("It was done: {}", label(&model.plan, step)),
            one("The run takes the effect as happened and verifies it."),
            false,
        ),
        Purpose::Decide { step, done: false } => (
            format!("It was not started: {}", label(&model.plan, step)),
            one("The run takes it as never sent; checks and gate are asked again."),
            false,
        ),
        Purpose::Skip(step) => (
            format!("Skip {}", label(&model.plan, step)),
            skipping(model, step),
            false,
        ),
        Purpose::Extend => (
            "Extend the window".to_owned(),
            vec![format!(
                "It closes at {}. A longer window has its own gate; until that is approved nothing changes.",
                window_end(model).map_or_else(|| "an unknown time".to_owned(), |at| shown(model, at))
            )],
            false,
        ),
        Purpose::Amend => (
            "Amend the runbook".to_owned(),
            one(
                "The changed file is read, and what it changes is shown at a gate of its own; until that is approved nothing changes. It cannot change what has begun, people, the environment, connections, or weaken a gate.",
            ),
            false,
        ),
        Purpose::OfferSeat => (
            "Hand over the operator's seat".to_owned(),
            one("It changes hands once they take it, at this keyboard: o, then their own id."),
            false,
        ),
        Purpose::TakeSeat => (
            format!("Take the operator's seat from {}", model.state().operator),
            vec![format!(
                "It was offered to {}, who operates from then on and counts as an operator in every gate.",
                model.state().seat_offered.as_deref().unwrap_or("nobody")
            )],
            false,
        ),
        Purpose::BreakGlass(request) => (
            format!("BREAK THE GLASS: {} (request {request})", subject(model, *request)),
            vec![
                "This ONE gate is passed WITHOUT the persons whom it asks.".to_owned(),
                "It is red in every view and report, and somebody else signs within 24 hours (C).".to_owned(),
            ],
            true,
        ),
        Purpose::Countersign(request) => (
            format!("Countersign: {} (request {request})", subject(model, *request)),
            owing(model, *request).iter().map(owes).collect(),
            false,
        ),
    }
}

/// The questions of a purpose, in their order.
pub fn questions(model: &Model, purpose: &Purpose) -> Vec<String> {
    let operator = &model.state().operator;
    let zone = model.session.zone;
    match purpose {
        Purpose::Hold => vec![
            "reason:".to_owned(),
            format!("who sees to it that it ends (empty: the operator, {operator}):"),
            format!("until HH:MM, {} (empty: open-ended):", zone_name(model)),
        ],
        Purpose::Stop => vec!["reason:".to_owned()],
        Purpose::Note => vec!["note:".to_owned()],
        Purpose::ByHand(_) => vec!["what you did, and how you know that it worked:".to_owned()],
        Purpose::Decide { .. } => vec!["what you looked at:".to_owned()],
        Purpose::Skip(_) => vec!["reason:".to_owned()],
        Purpose::Extend => vec![
            format!("to HH:MM, {} (or {}):", zone_name(model), {
                let after = window_end(model).unwrap_or(model.now).max(model.now);
                format!("{} HH:MM", after.with_timezone(&zone).format("%Y-%m-%d"))
            }),
            "reason:".to_owned(),
        ],
        Purpose::Amend => vec![
            match &model.session.runbook {
                Some(path) => format!("the changed runbook (empty: {path}):"),
                None => "the changed runbook:".to_owned(),
            },
            "why:".to_owned(),
        ],
        Purpose::OfferSeat => vec![
            format!("to whom ({}):", people(model, operator)),
            format!("you, {operator}, confirm by typing your own id:"),
        ],
        Purpose::TakeSeat => vec!["who takes it confirms by typing their own id:".to_owned()],
        Purpose::BreakGlass(_) => vec![
            format!("why, in {BROKEN_REASON} characters or more:"),
            format!("who breaks it confirms by typing their own id ({}):", breakers(model)),
        ],
        Purpose::Countersign(_) => vec!["who signs types their own id:".to_owned()],
    }
}

/// Takes one answer, in the form in which it is kept.
///
/// # Errors
/// Why it is no answer.
pub fn take(model: &Model, purpose: &Purpose, index: usize, text: &str) -> Result<String, String> {
    let state = model.state();
    let text = text.trim();
    let taken = text.to_owned();
    match (purpose, index) {
        (Purpose::Hold, 1) => Ok(taken),
        (Purpose::Hold, 2) if text.is_empty() => Ok(taken),
        (Purpose::Hold, 2) => match moment(text, model.session.zone, model.now) {
            Some(at) if at > model.now => Ok(said(at, model.session.zone)),
            Some(_) => Err("that is over already; write a time to come, or nothing".to_owned()),
            None => Err("write HH:MM, like 23:30, or nothing".to_owned()),
        },
        (Purpose::Extend, 0) => {
            let after = window_end(model).unwrap_or(model.now).max(model.now);
            match moment(text, model.session.zone, after) {
                Some(at) if at > after => Ok(said(at, model.session.zone)),
                Some(_) => Err("a longer window closes later than the present one and later than now".to_owned()),
                None => Err("write HH:MM, like 03:00".to_owned()),
            }
        }
        (Purpose::Amend, 0) if text.is_empty() => {
            let known = model.session.runbook.clone();
            known.ok_or_else(|| "write the path of the changed runbook".to_owned())
        }
        (Purpose::OfferSeat, 0) if text == state.operator => Err(format!("{text} has the seat already")),
        (Purpose::OfferSeat, 0) if text.is_empty() => Err("say to whom".to_owned()),
        (Purpose::OfferSeat, 0) if state.facts.personas || state.facts.people.contains_key(text) => Ok(taken),
        (Purpose::OfferSeat, 0) => Err(format!("{text} is not among the people of this environment")),
        (Purpose::OfferSeat, _) if text == state.operator => Ok(taken),
        (Purpose::OfferSeat, _) => Err(format!(
            "{} offers the seat, by typing {0}; nothing was offered",
            state.operator
        )),
        (Purpose::TakeSeat, _) if state.seat_offered.as_deref() == Some(text) => Ok(taken),
        (Purpose::TakeSeat, _) => Err("the seat was not offered to them; nothing changed".to_owned()),
        (Purpose::BreakGlass(_), 0) if text.chars().count() < BROKEN_REASON => Err(format!(
            "{} of {BROKEN_REASON} characters: the record has to say why",
            text.chars().count()
        )),
        (Purpose::BreakGlass(_), 0) => Ok(taken),
        (Purpose::BreakGlass(_), _) if text.is_empty() => Err("type your own id; nothing was approved".to_owned()),
        (Purpose::BreakGlass(_), _) if state.facts.personas || glass_breakers(model).iter().any(|id| id == text) => {
            Ok(taken)
        }
        (Purpose::BreakGlass(_), _) => Err(format!("{text} does not have the role {GLASS}; nothing was approved")),
        (Purpose::Countersign(request), _) => {
            let may = !text.is_empty() && owing(model, *request).iter().any(|owed| owed.may_be_given_by(text));
            if may {
                Ok(taken)
            } else {
                Err("this waits for the signature of somebody else; nothing was signed".to_owned())
            }
        }
        (
            Purpose::Hold
            | Purpose::Stop
            | Purpose::Note
            | Purpose::ByHand(_)
            | Purpose::Decide { .. }
            | Purpose::Skip(_)
            | Purpose::Extend
            | Purpose::Amend,
            _,
        ) => {
            if text.is_empty() {
                Err("it needs words: the record keeps them".to_owned())
            } else {
                Ok(taken)
            }
        }
    }
}

/// What comes of all the answers.
pub fn command(model: &Model, purpose: &Purpose, answers: &[String]) -> Action {
    let state = model.state();
    let person = state.operator.clone();
    let answer = |index: usize| answers.get(index).cloned().unwrap_or_default();
    let at = |index: usize, after| moment(&answer(index), model.session.zone, after).map(|at| at.timestamp_millis());
    let reason = answer(0);
    Action::Tell(match purpose {
        Purpose::Note => return Action::Note(reason),
        Purpose::Hold => Command::Hold {
            reason,
            person,
            owner: Some(answer(1)).filter(|owner| !owner.is_empty()),
            until_ms: at(2, model.now),
        },
        Purpose::Stop => Command::Stop { reason, person },
        Purpose::ByHand(step) => Command::DoneByHand {
            step: step.clone(),
            person,
            reason,
        },
        Purpose::Decide { step, done } => Command::Decide {
            step: step.clone(),
            done: *done,
            person,
            reason,
        },
        Purpose::Skip(step) => Command::Skip {
            step: step.clone(),
            person,
            reason,
        },
        Purpose::Extend => Command::ExtendWindow {
            closes_ms: at(0, model.now).unwrap_or_default(),
            person,
            reason: answer(1),
        },
        Purpose::Amend => {
            return Action::Amend {
                path: reason,
                reason: answer(1),
            };
        }
        Purpose::OfferSeat => Command::OfferSeat { person, to: answer(0) },
        Purpose::TakeSeat => Command::TakeSeat { person: answer(0) },
        Purpose::BreakGlass(request) => Command::BreakGlass {
            request: *request,
            person: answer(1),
            role: GLASS.to_owned(),
            reason,
        },
        Purpose::Countersign(request) => Command::Countersign {
            request: *request,
            role: signs_as(model, *request, &reason),
            person: reason,
        },
    })
}

/// The role in which somebody signs: that of the vote that was heard, else one that the gate asks for, else any.
fn signs_as(model: &Model, request: RequestId, person: &str) -> String {
    let owed = owing(model, request);
    let heard = owed.iter().find(|owed| owed.may_be_given_by(person));
    if let Some((_, role)) = heard.and_then(|owed| owed.by.clone()) {
        return role;
    }
    let state = model.state();
    let own = state
        .facts
        .people
        .get(person)
        .map(|facts| facts.roles.clone())
        .unwrap_or_default();
    let asked = state
        .requests
        .get(&request)
        .map(|request| crate::run::gate::roles(&request.gate));
    let fitting = own
        .iter()
        .find(|role| asked.as_ref().is_some_and(|asked| asked.contains(role)));
    fitting.or(own.first()).cloned().unwrap_or_else(|| GLASS.to_owned())
}

/// What is still owed under a request.
fn owing(model: &Model, id: RequestId) -> Vec<Owed> {
    let mut owed = owed(model.state());
    owed.retain(|owed| owed.request == id);
    owed
}

fn owes(owed: &Owed) -> String {
    match (&owed.by, &owed.not) {
        (Some((person, role)), _) => format!("{person} was heard as {role} and signs for that vote."),
        (None, Some(breaker)) => format!("{breaker} broke the glass; somebody else signs for it."),
        (None, None) => "Somebody signs for it.".to_owned(),
    }
}

fn subject(model: &Model, id: RequestId) -> String {
    let request = model.state().requests.get(&id);
    request.map_or_else(String::new, |request| {
        about(&model.plan, request.subject, request.step.as_ref())
    })
}

fn window_end(model: &Model) -> Option<DateTime<Utc>> {
    model.state().window_closes_ms.and_then(DateTime::from_timestamp_millis)
}

fn shown(model: &Model, at: DateTime<Utc>) -> String {
    format!("{} {}", said(at, model.session.zone), zone_name(model))
}

/// The zone as the header's clock names it.
fn zone_name(model: &Model) -> String {
    model.now.with_timezone(&model.session.zone).format("%Z").to_string()
}

/// Who is known, without the operator.
fn people(model: &Model, operator: &str) -> String {
    let people = model.state().facts.people.keys().filter(|person| *person != operator);
    let mut names: Vec<&str> = people.map(String::as_str).collect();
    if model.state().facts.personas {
        names.push("in the lab anybody");
    }
    names.join(", ")
}

fn breakers(model: &Model) -> String {
    let mut names = glass_breakers(model);
    if model.state().facts.personas {
        names.push("in the lab anybody".to_owned());
    }
    names.join(", ")
}
