//! Takes in what the engine says. Part of `update`; changes only the model.

use crate::engine::handle::{Feed, Past, Update};
use crate::frontend::ending::{PATIENCE, unanswered};
use crate::projection::escape::visible;
use crate::projection::words::{describe, label, step_in};
use crate::provider::action::Progress;
use crate::run::{Command, Event};

use super::able::{answerable, is_open, skips};
use super::model::{LineKind, Loudness, Modal, Model, OutputLine, Purpose, Row};
use super::msg::Action;

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
                    times: 1,
                });
            }
            Progress::Share { .. } | Progress::State(_) | Progress::Board { .. } => {
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
pub(super) fn history(model: &mut Model, past: Past) {
    if model.plan != past.plan {
        // Another plan has other rows.
        model.plan = past.plan.clone();
        model.folded.clear();
        // What was shown was the old plan's.
        model.briefings.clear();
        model.followed = None;
        model.selected = if past.plan.steps.is_empty() {
            Row::Phase(0)
        } else {
            Row::Step(0)
        };
    }
    for update in model.follower.catch_up(past) {
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
        times: 1,
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
        Event::DeadlinePassed { step, .. } | Event::StepSkipped { step, .. } => {
            let text = format!("{}: {text}", label(&model.plan, step));
            model.complain(text);
        }
        Event::EffectCancel { step, .. } => {
            let text = format!(
                "{}: {text}; its outcome tells what became of it",
                label(&model.plan, step)
            );
            model.say(text);
        }
        Event::HandoverOffered { to, .. } => model.say(format!("the seat is offered to {to}: o takes it")),
        Event::RunAmended { .. } => model.complain(text.clone()),
        Event::RunHeld { .. }
        | Event::GateVoided { .. }
        | Event::GateExpired { .. }
        | Event::GateCountersigned { .. }
        | Event::WindowExtended { .. } => model.say(text.clone()),
        Event::Genesis { operator, .. }
        | Event::Resumed { operator, .. }
        | Event::HandoverTaken { to: operator, .. } => {
            model.session.operator.clone_from(operator);
            if let Event::HandoverTaken { .. } = update.event {
                model.say(text.clone());
            }
        }
        Event::PreflightEnded { red, .. } if *red > 0 => model.complain(text.clone()),
        Event::PreflightEnded { .. } => model.say(text.clone()),
        Event::RunClosed { .. } => model.status = None,
        // What went wrong elsewhere stays in sight.
        Event::GateRequested { .. } => {
            if let Some((_, Loudness::Plain)) = model.status {
                model.status = None;
            }
        }
        Event::PreflightBegun { .. }
        | Event::PreflightVoided { .. }
        | Event::StepChecking { .. }
        | Event::CheckResult { .. }
        | Event::GateVote { .. }
        | Event::GateGranted { .. }
        | Event::EffectIntent { .. }
        | Event::EffectAck { .. }
        | Event::EffectKept { .. }
        | Event::StepVerifying { .. }
        | Event::StepDone { .. }
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
        times: 1,
    });
}

/// After every message: what follows from the state for the screen, and whether a wish to leave can be granted.
pub(super) fn settle(model: &mut Model) -> Vec<Action> {
    // Only a record changes what there is to follow; output may come in floods.
    if model.follow && model.followed != Some(model.follower.last) {
        model.followed = Some(model.follower.last);
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

/// The row that the selection follows: first what asks a person (a doubt, a failure, a gate), then what runs, then what
/// is at work, then what is next. Among equals the selection stays where it is, so that branches side by side do not
/// make it jump.
fn current(model: &Model) -> Option<usize> {
    let state = model.state();
    let index = |step: &crate::run::facts::StepId| state.facts.index(step);
    let rows = |steps: Vec<crate::run::facts::StepId>| steps.iter().filter_map(index).collect::<Vec<usize>>();
    let gates = state
        .open_requests()
        .filter(|request| answerable(state, request).is_ok())
        .filter_map(|request| request.step.as_ref().and_then(index));
    let open = state.open_effects().filter_map(|(step, _, _)| index(step));
    let ranks = [
        rows(model.doubtful()),
        rows(model.failed()),
        gates.collect(),
        open.collect(),
        state.active().into_iter().collect(),
        state.next_step().into_iter().collect(),
    ];
    let best = ranks.into_iter().find(|rank| !rank.is_empty())?;
    let selected = best.iter().find(|index| model.selected == Row::Step(**index));
    selected.or(best.first()).copied()
}

/// A modal about something that is over must not take another key.
fn drop_stale(model: &mut Model) {
    let over = match &model.modal {
        Some(Modal::Gate { request, .. } | Modal::Reject { request, .. }) => {
            (!is_open(model, *request)).then_some("the gate that was shown is closed; nothing was sent")
        }
        Some(Modal::Doubt { step, .. }) => (!model.doubtful().contains(step)).then_some("it is not in doubt any more"),
        Some(Modal::Failure { step, .. }) => (!model.failed().contains(step)).then_some("it has gone on meanwhile"),
        Some(Modal::End { step, .. }) => (!model.running().contains(step)).then_some("it has ended meanwhile"),
        Some(Modal::Rollback { .. } | Modal::Leave { .. } | Modal::Seat { .. }) => {
            model.state().is_closed().then_some("the run is over; q leaves")
        }
        Some(Modal::Reason { purpose, .. }) => outlived(model, purpose),
        Some(Modal::Help { .. } | Modal::Summary { .. }) | None => None,
    };
    if let Some(text) = over {
        model.modal = None;
        if model.status.is_none() {
            model.say(text);
        }
    }
}

/// Why what is being typed has no use any more. Notes and second signatures are taken after the end, too.
fn outlived(model: &Model, purpose: &Purpose) -> Option<&'static str> {
    let over = model.state().is_closed().then_some("the run is over; q leaves");
    match purpose {
        Purpose::Note | Purpose::Countersign(_) => None,
        Purpose::Skip(step) => over.or_else(|| {
            skips(model, step)
                .is_err()
                .then_some("it has gone on meanwhile; nothing was skipped")
        }),
        Purpose::BreakGlass(request) => over
            .or_else(|| (!is_open(model, *request)).then_some("the gate that was shown is closed; nothing was sent")),
        Purpose::TakeSeat => over.or_else(|| {
            let gone = model.state().seat_offered.is_none();
            gone.then_some("the seat is not offered any more")
        }),
        Purpose::Hold
        | Purpose::Stop
        | Purpose::ByHand(_)
        | Purpose::Decide { .. }
        | Purpose::Extend
        | Purpose::Amend
        | Purpose::OfferSeat => over,
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
