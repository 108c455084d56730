//! What a person may do now: the choices of every modal with their consequences, and which keys work. Pure questions
//! about the model; the state machine has the last word.

use crate::frontend::voters::{Voter, candidates};
use crate::projection::words::label;
use crate::run::event::Role;
use crate::run::facts::{RequestId, StepId};
use crate::run::state::{EffectState, Phase, RequestStatus, Stage};
use crate::run::unwind::plannable;

use super::model::{Modal, Model, Purpose};
use super::msg::Act;

/// One choice of a modal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub label: String,
    /// What follows from it, a thought a line.
    pub consequence: Vec<String>,
    /// None: it cannot be chosen, and the consequence says why.
    pub chosen: Option<Chosen>,
}

/// What a choice does once confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chosen {
    Retry(StepId),
    Ask(Purpose),
    OpenRollback,
    Unwind(Option<StepId>),
    Leave,
}

/// Who may vote on a request.
pub fn voters(model: &Model, request: RequestId) -> Vec<Voter> {
    model
        .state()
        .requests
        .get(&request)
        .map(|request| candidates(model.state(), request))
        .unwrap_or_default()
}

/// The choices of a modal; none for modals that offer none.
pub fn choices(model: &Model, modal: &Modal) -> Vec<Choice> {
    match modal {
        Modal::Failure { step, .. } => match model.state().stuck.iter().find(|(stuck, _)| stuck == step) {
            Some((_, role)) => stuck_choices(step, *role),
            None => failure_choices(model, step),
        },
        Modal::Doubt { step, .. } => doubt_choices(step),
        Modal::Rollback { .. } => rollback_choices(model),
        Modal::Leave { .. } => leave_choices(model),
        Modal::Gate { .. }
        | Modal::Reject { .. }
        | Modal::Reason { .. }
        | Modal::Help { .. }
        | Modal::Summary { .. } => Vec::new(),
    }
}

fn choice(label: &str, consequence: &[&str], chosen: Chosen) -> Choice {
    Choice {
        label: label.to_owned(),
        consequence: consequence.iter().map(|&line| line.to_owned()).collect(),
        chosen: Some(chosen),
    }
}

fn failure_choices(model: &Model, step: &StepId) -> Vec<Choice> {
    let verified_only = model
        .state()
        .step(step)
        .is_some_and(|state| state.act == EffectState::Done);
    let retry = if verified_only {
        choice(
            "verify again",
            &[
                "Its effect happened; only the checks after it are run again.",
                "Nothing is executed.",
            ],
            Chosen::Retry(step.clone()),
        )
    } else {
        choice(
            "retry",
            &[
                "A new attempt: its checks run again and its gate is asked again.",
                "Nothing is executed before that.",
            ],
            Chosen::Retry(step.clone()),
        )
    };
    vec![
        retry,
        choice(
            "hold",
            &["Nothing new starts until somebody releases the run. Asks for a reason."],
            Chosen::Ask(Purpose::Hold),
        ),
        choice(
            "roll back…",
            &[
                "Choose how far, then see the order and what cannot be undone.",
                "Its own gate asks before anything is undone.",
            ],
            Chosen::OpenRollback,
        ),
        stop_choice(),
    ]
}

fn stuck_choices(step: &StepId, role: Role) -> Vec<Choice> {
    let what = match role {
        Role::Do => "the effect",
        Role::Undo => "the rollback",
        Role::Close => "the closing effect",
    };
    vec![
        choice(
            "retry",
            &[&format!(
                "Sends {what} of this step again, under the approval that covers it."
            )],
            Chosen::Retry(step.clone()),
        ),
        choice(
            "done by hand",
            &[
                "You did it yourself and know that it worked. Asks what you did.",
                "The record names you and your words; nothing is sent.",
            ],
            Chosen::Ask(Purpose::ByHand(step.clone())),
        ),
        stop_choice(),
    ]
}

fn stop_choice() -> Choice {
    choice(
        "stop the run",
        &[
            "The run ends where it is and cannot be resumed. What stands, stands.",
            "Asks for a reason.",
        ],
        Chosen::Ask(Purpose::Stop),
    )
}

fn doubt_choices(step: &StepId) -> Vec<Choice> {
    let ask = |done| {
        Chosen::Ask(Purpose::Decide {
            step: step.clone(),
            done,
        })
    };
    vec![
        choice(
            "it was done",
            &["The run takes the effect as happened and verifies it. Asks what you looked at."],
            ask(true),
        ),
        choice(
            "it was not started",
            &["The run takes it as never sent: checks and gate are asked again. Asks what you looked at."],
            ask(false),
        ),
    ]
}

fn rollback_choices(model: &Model) -> Vec<Choice> {
    let state = model.state();
    let done = state
        .facts
        .steps
        .iter()
        .zip(&state.steps)
        .filter(|(_, step)| step.stage == Stage::Done && step.started.is_some())
        .map(|(facts, _)| Some(facts.id.clone()));
    let mut scopes: Vec<Option<StepId>> = done.collect();
    scopes.reverse();
    scopes.insert(0, None);
    scopes
        .into_iter()
        .map(|to| {
            let label = to.as_ref().map_or_else(
                || "the whole run".to_owned(),
                |to| format!("back to {} (it stands)", label(&model.plan, to)),
            );
            match plannable(state, to.as_ref()) {
                Ok(steps) => Choice {
                    label,
                    consequence: order(model, &steps),
                    chosen: Some(Chosen::Unwind(to)),
                },
                Err(refused) => Choice {
                    label,
                    consequence: vec![format!("not possible: {refused}")],
                    chosen: None,
                },
            }
        })
        .collect()
}

fn order(model: &Model, steps: &[StepId]) -> Vec<String> {
    if steps.is_empty() {
        return vec!["There is nothing to undo.".to_owned()];
    }
    let mut lines = vec!["Would undo, in this order:".to_owned()];
    for (index, id) in steps.iter().enumerate() {
        let how = model
            .plan
            .steps
            .iter()
            .find(|step| step.id == id.0)
            .map(|step| crate::projection::words::rollback(step).join("; "))
            .unwrap_or_default();
        lines.push(format!("{:>3}. {}: {how}", index + 1, label(&model.plan, id)));
    }
    lines
}

fn leave_choices(model: &Model) -> Vec<Choice> {
    let running = crate::frontend::ending::unanswered(model.state());
    let mut held = vec!["The program ends, the record stays; go on with resume.".to_owned()];
    if let Some((step, _)) = running {
        held.push(format!(
            "{} was sent and is not answered: it is waited for, up to 30 s.",
            label(&model.plan, &step)
        ));
    }
    if !model.session.next.resume.is_empty() {
        held.push(model.session.next.resume.clone());
    }
    vec![
        Choice {
            label: "hold and exit".to_owned(),
            consequence: held,
            chosen: Some(Chosen::Leave),
        },
        stop_choice(),
    ]
}

/// Whether an act makes sense now, outside modals.
pub fn available(model: &Model, act: Act) -> bool {
    let state = model.state();
    let live = !state.is_closed() && model.halted.is_none() && state.phase != Phase::New;
    match act {
        Act::Gate | Act::Reject => live && state.hold.is_none() && model.open_request().is_some(),
        Act::Decide => live && (model.doubtful_step().is_some() || model.failed_step().is_some()),
        Act::Hold => live && state.hold.is_none(),
        Act::Release => live && state.hold.is_some(),
        Act::Rollback => live && matches!(state.phase, Phase::Running | Phase::CommitGate(_)),
        Act::Note => model.halted.is_none() && state.phase != Phase::New,
        Act::Summary => true,
        Act::Up
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
        | Act::Cancel => true,
        Act::Follow => !model.follow,
    }
}

/// Whether a request can still be voted on.
pub fn is_open(model: &Model, request: RequestId) -> bool {
    model
        .state()
        .requests
        .get(&request)
        .is_some_and(|request| request.status == RequestStatus::Open)
}
