//! The choices of every modal with their consequences. Pure questions about the model; the state machine has the last
//! word.

use crate::frontend::voters::{Voter, candidates};
use crate::projection::words::label;
use crate::run::event::Role;
use crate::run::facts::{RequestId, StepId};
use crate::run::state::{EffectState, Stage};
use crate::run::unwind::plannable;

use super::able::skips;
use super::model::{Modal, Model, Purpose};

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
    /// Begins a step that is offered only beyond the point of no return.
    Forward(StepId),
    /// Asks what runs to end.
    End(StepId),
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
            Some((_, role)) => stuck_choices(model, step, *role),
            None => failure_choices(model, step),
        },
        Modal::Doubt { step, .. } => doubt_choices(step),
        Modal::Rollback { .. } => rollback_choices(model),
        Modal::Leave { .. } => leave_choices(model),
        Modal::End { step, .. } => end_choices(step),
        Modal::Seat { .. } => seat_choices(model),
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

/// The same choice, barred where there is a reason against it.
fn unless(reason: Option<String>, offered: Choice) -> Choice {
    match reason {
        None => offered,
        Some(reason) => Choice {
            consequence: vec![format!("not possible: {reason}")],
            chosen: None,
            ..offered
        },
    }
}

fn held(model: &Model) -> Option<String> {
    let held = model.state().hold.is_some();
    held.then(|| "the run is held; r releases it first".to_owned())
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
    let mut skip = choice("skip…", &[], Chosen::Ask(Purpose::Skip(step.clone())));
    skip.consequence = skipping(model, step);
    let mut choices = vec![unless(held(model), retry), unless(skips(model, step).err(), skip)];
    choices.extend(forward_choices(model));
    choices.extend([
        unless(
            model
                .state()
                .hold
                .is_some()
                .then(|| "the run is held already".to_owned()),
            choice(
                "hold…",
                &["Nothing new starts until somebody releases the run. Asks for a reason."],
                Chosen::Ask(Purpose::Hold),
            ),
        ),
        choice(
            "roll back…",
            &[
                "Choose how far, then see the order and what cannot be undone.",
                "Its own gate asks before anything is undone.",
            ],
            Chosen::OpenRollback,
        ),
        stop_choice(model),
    ]);
    choices
}

/// What it means to go on without a step, a thought a line.
pub fn skipping(model: &Model, step: &StepId) -> Vec<String> {
    let state = model.state();
    let stands = state.step(step).is_some_and(crate::run::state::StepState::stands);
    let mut lines = vec![if stands {
        "Its effect happened, or may have: it STANDS, and a rollback undoes it.".to_owned()
    } else {
        "Nothing of it is executed.".to_owned()
    }];
    let needing = state.facts.steps.iter().filter(|facts| facts.needs.contains(step));
    let names: Vec<String> = needing.map(|facts| label(&model.plan, &facts.id)).collect();
    lines.push(if names.is_empty() {
        "No step needs it.".to_owned()
    } else {
        format!(
            "Needed by {}: begun all the same, with their own checks and gates.",
            names.join(", ")
        )
    });
    lines.push("Asks for a reason; then those who would approve the step approve the skip.".to_owned());
    lines
}

/// The ways on that are open only beyond the point of no return.
fn forward_choices(model: &Model) -> Vec<Choice> {
    let state = model.state();
    if !state.past_no_return() {
        return Vec::new();
    }
    let ready = state
        .each()
        .filter(|(facts, step)| facts.fall_forward && step.stage == Stage::Waiting && state.needs_are_met(facts));
    ready
        .map(|(facts, _)| {
            let planned = model.plan.steps.iter().find(|planned| planned.id == facts.id.0);
            let title = planned.map_or(facts.id.0.as_str(), |planned| planned.title.as_str());
            let offered = choice(
                &format!("go forward: {title}"),
                &["Beyond the point of no return this is a way on. Begins its checks; its own gate asks before anything is executed."],
                Chosen::Forward(facts.id.clone()),
            );
            unless(held(model), offered)
        })
        .collect()
}

fn end_choices(step: &StepId) -> Vec<Choice> {
    vec![choice(
        "ask it to end",
        &[
            "The record says that you asked. The action is told to end and has a moment to do so.",
            "It does NOT promise that it ends, nor that nothing happened: what a peer has accepted goes on there.",
            "Its outcome tells the truth: done, failed, or IN DOUBT until somebody looks.",
            "It undoes nothing and begins nothing.",
        ],
        Chosen::End(step.clone()),
    )]
}

fn seat_choices(model: &Model) -> Vec<Choice> {
    let offered = model.state().seat_offered.clone();
    let take = offered.map(|to| {
        choice(
            &format!("{to} takes the seat…"),
            &[
                &format!("From then on {to} operates the run. {to} confirms by typing their own id."),
                "Votes of theirs on gates that exclude the operator become void.",
            ],
            Chosen::Ask(Purpose::TakeSeat),
        )
    });
    let offer = choice(
        "offer the seat…",
        &["Asks to whom. It changes hands only once they take it; until then you operate."],
        Chosen::Ask(Purpose::OfferSeat),
    );
    take.into_iter().chain([offer]).collect()
}

fn stuck_choices(model: &Model, step: &StepId, role: Role) -> Vec<Choice> {
    let what = match role {
        Role::Do => "the effect",
        Role::Undo => "the rollback",
        Role::Close => "the closing effect",
    };
    vec![
        unless(
            held(model),
            choice(
                "retry",
                &[&format!(
                    "Sends {what} of this step again, under the approval that covers it."
                )],
                Chosen::Retry(step.clone()),
            ),
        ),
        choice(
            "done by hand",
            &[
                "You did it yourself and know that it worked. Asks what you did.",
                "The record names you and your words; nothing is sent.",
            ],
            Chosen::Ask(Purpose::ByHand(step.clone())),
        ),
        stop_choice(model),
    ]
}

fn stop_choice(model: &Model) -> Choice {
    let mut open = model.state().open_effects();
    let runs = open.find(|(_, _, effect)| !effect.needs_person());
    let reason = runs.map(|(step, _, _)| {
        format!(
            "{} is running; wait for its outcome, or ask it to end",
            label(&model.plan, step)
        )
    });
    let offered = choice(
        "stop the run",
        &[
            "The run ends where it is and cannot be resumed. What stands, stands.",
            "Asks for a reason.",
        ],
        Chosen::Ask(Purpose::Stop),
    );
    unless(reason, offered)
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
    let back = scopes.into_iter().map(|to| {
        let label = to.as_ref().map_or_else(
            || "the whole run".to_owned(),
            |to| format!("back to {} (it stands)", label(&model.plan, to)),
        );
        match plannable(state, to.as_ref()) {
            Ok(steps) => Choice {
                label,
                consequence: order(model, &steps, to.is_none()),
                chosen: Some(Chosen::Unwind(to)),
            },
            Err(refused) => Choice {
                label,
                consequence: vec![format!("not possible: {refused}")],
                chosen: None,
            },
        }
    });
    back.chain(forward_choices(model)).collect()
}

fn order(model: &Model, steps: &[StepId], whole: bool) -> Vec<String> {
    // What is put back at the close is put back when the whole run is undone, last of all.
    let closing = if whole {
        model.state().closing_left()
    } else {
        Vec::new()
    };
    if steps.is_empty() && closing.is_empty() {
        return vec!["There is nothing to undo.".to_owned()];
    }
    let mut lines = vec!["Would undo, in this order:".to_owned()];
    for (index, id) in steps.iter().chain(&closing).enumerate() {
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
        stop_choice(model),
    ]
}
