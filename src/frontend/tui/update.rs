//! The one function that changes the model: a message in, actions out. Must not perform any I/O.

use crate::engine::handle::Refused;
use crate::frontend::ending::{exit_of_leaving, unanswered};
use crate::run::Command;

use super::able::{endable, skippable, why_not};
use super::model::{Leaving, LineKind, Loudness, Modal, Model, OutputLine, Pane, Purpose, Row};
use super::msg::{Act, Action, Msg};
use super::{answer, hear};

/// Takes a message in and says what to send.
pub fn update(model: &mut Model, msg: Msg) -> Vec<Action> {
    let mut actions = match msg {
        Msg::Act(act) => self::act(model, act),
        Msg::Type(char) => {
            answer::typed(model, &char.to_string());
            Vec::new()
        }
        Msg::Unbound(pressed) => {
            // What went wrong stays in sight.
            if !matches!(model.status, Some((_, Loudness::Bad))) {
                model.say(format!("{pressed} does nothing here; ? shows every key"));
            }
            Vec::new()
        }
        Msg::Paste(text) => {
            answer::typed(model, &text);
            Vec::new()
        }
        Msg::Feed(feed) => hear::feed(model, feed),
        Msg::History(past) => {
            hear::history(model, *past);
            Vec::new()
        }
        Msg::Told { command, result } => told(model, &command, result),
        Msg::Amended(result) => {
            amended(model, result);
            Vec::new()
        }
        Msg::Noted { text, result } => {
            match result {
                Ok(()) => noted(model, text),
                Err(refused) => model.complain(format!("the note was not recorded: {refused}")),
            }
            Vec::new()
        }
        Msg::Tick(now) => {
            model.now = now;
            Vec::new()
        }
        Msg::Resized(columns, rows) => {
            model.size = (columns, rows);
            Vec::new()
        }
        Msg::HangUp(reason) => {
            begin_leaving(model, reason);
            Vec::new()
        }
    };
    actions.extend(hear::settle(model));
    actions
}

/// From now on the cockpit wants to end.
pub(super) fn begin_leaving(model: &mut Model, reason: String) {
    model.modal = None;
    if model.leaving.is_none() {
        model.say("leaving: what was sent is waited for, up to 30 s");
        model.leaving = Some(Leaving {
            since: model.now,
            reason,
            unanswered: unanswered(model.state()),
            told: false,
        });
    }
}

fn told(model: &mut Model, command: &Command, result: Result<(), Refused>) -> Vec<Action> {
    let leaving = matches!(command, Command::Interrupt { .. });
    match result {
        Ok(()) => {}
        Err(Refused::Rejected(reason)) if !leaving => model.complain(format!("refused: {reason}")),
        Err(Refused::Rejected(_)) => {}
        Err(Refused::Journal(reason)) => {
            model.complain(format!(
                "the journal cannot be written: {reason}; nothing more is executed"
            ));
            model.halted = Some(reason);
        }
        Err(Refused::Gone) => model.complain("the run has ended; q leaves"),
    }
    match (leaving, &model.leaving) {
        (true, Some(wish)) => vec![quit(model, wish.reason.clone())],
        (true | false, _) => Vec::new(),
    }
}

fn quit(model: &Model, reason: String) -> Action {
    let exit = if model.halted.is_some() {
        7
    } else {
        exit_of_leaving(model.state())
    };
    Action::Quit { exit, reason }
}

fn amended(model: &mut Model, result: Result<(), Vec<String>>) {
    let Err(lines) = result else {
        model.say("the amendment is asked for: a looks at what it changes");
        return;
    };
    let (at, last) = (model.now, lines.last().cloned().unwrap_or_default());
    for text in &lines {
        model.push_line(OutputLine {
            at,
            step: None,
            text: crate::projection::escape::visible(text),
            kind: LineKind::Notice,
            times: 1,
        });
    }
    let more = if lines.len() > 1 {
        " (all of it in the output)"
    } else {
        ""
    };
    model.complain(format!("nothing was amended: {last}{more}"));
}

fn noted(model: &mut Model, text: String) {
    let at = model.now;
    let text = crate::projection::escape::visible(&text);
    model.push_line(OutputLine {
        at,
        step: None,
        text: format!("note by {}: {text}", model.session.operator),
        kind: LineKind::Note,
        times: 1,
    });
    model.say("the note is in the journal");
}

fn act(model: &mut Model, act: Act) -> Vec<Action> {
    if act == Act::Help {
        if !matches!(model.modal, Some(Modal::Help { .. })) {
            let back = model.modal.take().map(Box::new);
            model.modal = Some(Modal::Help { scroll: 0, back });
        }
        return Vec::new();
    }
    if act == Act::Leave {
        return leave(model);
    }
    if model.modal.is_some() {
        return answer::act(model, act);
    }
    if let Some((_, Loudness::Plain)) = model.status {
        model.status = None;
    }
    if let Some(reason) = why_not(model, act) {
        model.say(reason);
        return Vec::new();
    }
    match act {
        Act::Up => navigate(model, Step::Back(1)),
        Act::Down => navigate(model, Step::On(1)),
        Act::PageUp => navigate(model, Step::Back(10)),
        Act::PageDown => navigate(model, Step::On(10)),
        Act::Top => navigate(model, Step::First),
        Act::Bottom => navigate(model, Step::Last),
        Act::NextPane => model.pane = next(model.pane),
        Act::PreviousPane => model.pane = next(next(model.pane)),
        Act::Inspect => inspect(model),
        Act::Fold => fold(model),
        Act::Follow => {
            model.follow = true;
            model.followed = None;
        }
        Act::Gate => answer::open_gate(model),
        Act::Reject => answer::open_reject(model),
        Act::Decide => answer::open_decision(model),
        Act::Hold => answer::ask(model, Purpose::Hold),
        Act::Note => answer::ask(model, Purpose::Note),
        Act::Release => {
            let person = model.state().operator.clone();
            return vec![Action::Tell(Command::Release { person })];
        }
        Act::Rollback => model.modal = Some(Modal::Rollback { at: 0 }),
        Act::Skip => model.modal = skippable(model).ok().map(|step| Modal::ask(Purpose::Skip(step))),
        Act::End => model.modal = endable(model).ok().map(|step| Modal::End { step, at: 0 }),
        Act::Seat => answer::open_seat(model),
        Act::Extend => answer::ask(model, Purpose::Extend),
        Act::Amend => answer::ask(model, Purpose::Amend),
        Act::Countersign => answer::open_countersign(model),
        Act::Summary => model.modal = Some(Modal::Summary { scroll: 0 }),
        Act::Leave
        | Act::Help
        | Act::Confirm
        | Act::Submit
        | Act::Erase
        | Act::EraseAll
        | Act::Cancel
        | Act::Other
        | Act::NoGo
        | Act::Abstain
        | Act::Heard
        | Act::BreakGlass => {}
    }
    Vec::new()
}

fn leave(model: &mut Model) -> Vec<Action> {
    if model.halted.is_some() {
        return vec![quit(model, "the journal could not be written".to_owned())];
    }
    if model.state().is_closed() {
        return vec![quit(model, "the run is over".to_owned())];
    }
    model.modal = Some(Modal::Leave { at: 0 });
    Vec::new()
}

const fn next(pane: Pane) -> Pane {
    match pane {
        Pane::Tree => Pane::Step,
        Pane::Step => Pane::Output,
        Pane::Output => Pane::Tree,
    }
}

/// A way to move.
#[derive(Debug, Clone, Copy)]
enum Step {
    Back(usize),
    On(usize),
    First,
    Last,
}

impl Step {
    fn from(self, at: usize, last: usize) -> usize {
        match self {
            Self::Back(by) => at.saturating_sub(by),
            Self::On(by) => at.saturating_add(by).min(last),
            Self::First => 0,
            Self::Last => last,
        }
    }
}

fn navigate(model: &mut Model, step: Step) {
    match model.pane {
        Pane::Tree => {
            let rows = model.rows();
            let at = rows.iter().position(|row| *row == model.selected).unwrap_or(0);
            let to = step.from(at, rows.len().saturating_sub(1));
            if let Some(row) = rows.get(to) {
                model.selected = *row;
                model.follow = false;
                model.step_scroll = 0;
            }
        }
        // The view clips what lies beyond the end.
        Pane::Step => model.step_scroll = step.from(model.step_scroll, 1000),
        Pane::Output => {
            let last = model.output.len().saturating_sub(1);
            let from_top = last.saturating_sub(model.output_scroll);
            model.output_scroll = last - step.from(from_top, last);
        }
    }
}

fn inspect(model: &mut Model) {
    match (model.pane, model.selected) {
        (Pane::Tree, Row::Phase(_)) => fold(model),
        (Pane::Tree, Row::Step(_)) => model.pane = Pane::Step,
        (Pane::Step, _) => model.pane = Pane::Output,
        (Pane::Output, _) => model.output_scroll = 0,
    }
}

fn fold(model: &mut Model) {
    let phase = match model.selected {
        Row::Phase(phase) => Some(phase),
        Row::Step(index) => model
            .plan
            .steps
            .get(index)
            .and_then(|step| model.plan.phases.iter().position(|phase| phase.id == step.phase)),
    };
    if let Some(phase) = phase {
        if !model.folded.remove(&phase) {
            model.folded.insert(phase);
        }
        model.selected = Row::Phase(phase);
        model.follow = false;
    }
}
