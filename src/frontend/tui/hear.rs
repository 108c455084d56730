//! Takes in what the engine says. Part of `update`; changes only the model.

use crate::engine::handle::{Feed, Update};
use crate::frontend::ending::{PATIENCE, unanswered};
use crate::projection::escape::visible;
use crate::projection::words::{describe, label, step_in};
use crate::provider::action::Progress;
use crate::run::{Command, Event, RunState};

use super::model::{LineKind, Modal, Model, OutputLine, Purpose, Row};
use super::msg::Action;
use super::offers::is_open;

/// Takes one entry of the feed.
pub(super) fn feed(model: &mut Model, feed: Feed) -> Vec<Action> {
    match feed {
        Feed::Event(update) => match model.follower.take(&update) {
            Ok(true) => told(model, &update),
            Ok(false) => {}
            Err(_gap) => return vec![Action::CatchUp],
        },
        Feed::Briefing(briefing) => {
            model.briefings.insert(briefing.step.clone(), briefing);
        }
        Feed::Progress { step, progress } => match progress {
            Progress::Line(line) => {
                let at = model.now;
                model.push_line(OutputLine {
                    at,
                    step: Some(step),
                    text: visible(&line),
                    kind: LineKind::Output,
                });
            }
            Progress::Share { .. } | Progress::State(_) => {
                model.progress.insert(step, progress);
            }
        },
        Feed::Notice(text) => notice(model, &text),
        Feed::Halted(reason) => {
            model.complain(format!(
                "the journal cannot be written: {reason}; nothing more is executed"
            ));
            model.halted = Some(reason);
            model.modal = None;
        }
    }
    Vec::new()
}

/// Takes the whole history.
pub(super) fn history(model: &mut Model, state: RunState, updates: &[std::sync::Arc<Update>]) {
    for update in model.follower.catch_up(state, updates) {
        told(model, &update);
    }
}

fn notice(model: &mut Model, text: &str) {
    let at = model.now;
    let text = visible(text);
    model.push_line(OutputLine {
        at,
        step: None,
        text: text.clone(),
        kind: LineKind::Notice,
    });
    model.say(text);
}

fn told(model: &mut Model, update: &Update) {
    let step = step_in(model.state(), &update.event).cloned();
    let text = visible(&describe(&update.event));
    match &update.event {
        Event::EffectOutcome { step, .. } | Event::EffectDecided { step, .. } => {
            model.progress.remove(step);
        }
        Event::StepFailed { .. } => model.complain("a step failed: d decides how it goes on"),
        Event::GateBroken { .. } | Event::WindowClosed { .. } => model.complain(text.clone()),
        Event::DeadlinePassed { step, .. } => {
            let text = format!("{}: {text}", label(&model.plan, step));
            model.complain(text);
        }
        Event::RunHeld { .. }
        | Event::GateVoided { .. }
        | Event::GateExpired { .. }
        | Event::HandoverOffered { .. }
        | Event::HandoverTaken { .. }
        | Event::WindowExtended { .. } => model.say(text.clone()),
        Event::GateRequested { .. } | Event::RunClosed { .. } => model.status = None,
        Event::Genesis { .. }
        | Event::Resumed { .. }
        | Event::StepChecking { .. }
        | Event::CheckResult { .. }
        | Event::GateVote { .. }
        | Event::GateGranted { .. }
        | Event::EffectIntent { .. }
        | Event::EffectAck { .. }
        | Event::StepVerifying { .. }
        | Event::StepDone { .. }
        | Event::StepSkipped { .. }
        | Event::EffectCancel { .. }
        | Event::GateCountersigned { .. }
        | Event::UnwindPlanned { .. }
        | Event::UnwindPrepared { .. }
        | Event::UnwindDropped { .. }
        | Event::UnwindFinished { .. }
        | Event::RunReleased { .. }
        | Event::Note { .. }
        | Event::Interrupted { .. } => {}
    }
    model.push_line(OutputLine {
        at: update.at,
        step,
        text,
        kind: LineKind::Event,
    });
}

/// After every message: what follows from the state for the screen, and whether a wish to leave can be granted.
pub(super) fn settle(model: &mut Model) -> Vec<Action> {
    if model.follow {
        let current = current(model);
        if let Some(index) = current.filter(|index| model.selected != Row::Step(*index)) {
            model.selected = Row::Step(index);
            model.step_scroll = 0;
        }
    }
    drop_stale(model);
    if model.state().is_closed() && model.modal.is_none() && !model.summed_up {
        model.summed_up = true;
        model.modal = Some(Modal::Summary { scroll: 0 });
    }
    leave(model)
}

fn current(model: &Model) -> Option<usize> {
    let state = model.state();
    if let Some((step, _, _)) = state.open_effects().next() {
        return state.facts.index(step);
    }
    state.active().or_else(|| state.next_step())
}

/// A modal about something that is over must not take another key.
fn drop_stale(model: &mut Model) {
    let over = match &model.modal {
        Some(Modal::Gate { request, .. } | Modal::Reject { request, .. }) => {
            (!is_open(model, *request)).then_some("the gate that was shown is closed; nothing was sent")
        }
        Some(Modal::Doubt { step, .. }) => {
            (model.doubtful_step().as_ref() != Some(step)).then_some("it is not in doubt any more")
        }
        Some(Modal::Failure { step, .. }) => {
            (model.failed_step().as_ref() != Some(step)).then_some("it has gone on meanwhile")
        }
        // Words that are being typed into a note are kept: a note is taken after the end, too.
        Some(Modal::Rollback { .. } | Modal::Leave { .. }) => {
            model.state().is_closed().then_some("the run is over; q leaves")
        }
        Some(Modal::Reason { purpose, .. }) => {
            let note = *purpose == Purpose::Note;
            (!note && model.state().is_closed()).then_some("the run is over; q leaves")
        }
        Some(Modal::Help { .. } | Modal::Summary { .. }) | None => None,
    };
    if let Some(text) = over {
        model.modal = None;
        if model.status.is_none() {
            model.say(text);
        }
    }
}

fn leave(model: &mut Model) -> Vec<Action> {
    let unanswered = unanswered(model.state());
    let now = model.now;
    let closed = model.state().is_closed();
    let Some(leaving) = &mut model.leaving else {
        return Vec::new();
    };
    let patience = chrono::TimeDelta::from_std(PATIENCE).unwrap_or_default();
    let waits = unanswered.is_some() && unanswered == leaving.unanswered;
    if leaving.told || (waits && !closed && now - leaving.since < patience) {
        return Vec::new();
    }
    leaving.told = true;
    let reason = leaving.reason.clone();
    if closed {
        let exit = crate::frontend::ending::exit_of_leaving(model.state());
        return vec![Action::Quit { exit, reason }];
    }
    vec![Action::Tell(Command::Interrupt { reason })]
}
