//! Windows that offer choices: a failure, a doubt, a rollback's scope, leaving. Every choice shows its consequence.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::frontend::tui::model::{Modal, Model};
use crate::frontend::tui::offers::{Choice, choices};
use crate::projection::escape::{clip, fit, visible};
use crate::projection::words::label;
use crate::run::facts::StepId;
use crate::run::state::EffectState;

use super::text::hanging;
use super::window::{Window, columns, draw as draw_window};

/// Choices in sight at once.
const SHOWN: usize = 7;

/// Draws a modal of choices.
pub fn draw(model: &Model, frame: &mut Frame<'_>, body: Rect, modal: &Modal, at: usize) {
    let columns = columns(body);
    let list = choices(model, modal);
    let (title, mut text) = told(model, modal, columns);
    let before = text.len();
    text.extend(offered(model, &list, at, columns));
    let mut fixed = Vec::new();
    if let Some(choice) = list.get(at) {
        let style = if choice.chosen.is_some() {
            model.theme.plain()
        } else {
            model.theme.bad()
        };
        for line in &choice.consequence {
            fixed.extend(hanging("", line, columns, style));
        }
        let room = usize::from(body.height).saturating_sub(text.len() + 4).max(3);
        if fixed.len() > room {
            let more = fixed.len() - room + 1;
            fixed.truncate(room.saturating_sub(1));
            fixed.push(Line::from(format!("… {more} more lines")));
        }
    }
    fixed.push(Line::styled(
        "↑↓ chooses, y confirms, Esc goes back",
        model.theme.strong(),
    ));
    // The chosen line stays in sight however long the reason above it is.
    let rows = usize::from(body.height).saturating_sub(fixed.len() + 3);
    let chosen = before + 1 + at - first(at, list.len());
    let window = Window {
        title: &visible(&title),
        style: model.theme.warn(),
        scroll: if text.len() > rows {
            // The last row names what lies below, where there are several.
            (chosen + 1 + usize::from(rows > 1)).saturating_sub(rows.max(1))
        } else {
            0
        },
        text,
        fixed,
    };
    draw_window(model, frame, body, window);
}

/// What is known before the choices.
fn told(model: &Model, modal: &Modal, columns: usize) -> (String, Vec<Line<'static>>) {
    let theme = model.theme;
    match modal {
        Modal::Failure { step, .. } => (
            if model.state().stuck.iter().any(|(stuck, _)| stuck == step) {
                format!("Could not be put back: {}", label(&model.plan, step))
            } else {
                format!("Failed: {}", label(&model.plan, step))
            },
            reason(model, step, columns),
        ),
        Modal::Doubt { step, .. } => {
            let mut lines = reason(model, step, columns);
            lines.extend(hanging("", &known(model, step), columns, theme.plain()));
            lines.extend(hanging(
                "",
                "Look at the real thing before you decide; nothing is sent again by itself.",
                columns,
                theme.strong(),
            ));
            (format!("In doubt: {}", label(&model.plan, step)), lines)
        }
        Modal::Rollback { .. } => ("Roll back: how far?".to_owned(), Vec::new()),
        Modal::Leave { .. } => ("Leave".to_owned(), Vec::new()),
        Modal::End { step, .. } => (
            format!("Ask to end: {}", label(&model.plan, step)),
            hanging("", &sent(model, step), columns, theme.plain()),
        ),
        Modal::Seat { .. } => (
            "The operator's seat".to_owned(),
            hanging(
                "",
                &format!("{} operates this run.", model.state().operator),
                columns,
                theme.plain(),
            ),
        ),
        Modal::Gate { .. }
        | Modal::Reject { .. }
        | Modal::Reason { .. }
        | Modal::Help { .. }
        | Modal::Summary { .. } => (String::new(), Vec::new()),
    }
}

fn reason(model: &Model, step: &StepId, columns: usize) -> Vec<Line<'static>> {
    let why = model.state().step(step).and_then(|step| step.reason.clone());
    let text = why.unwrap_or_else(|| "no reason was recorded".to_owned());
    hanging("", &text, columns, model.theme.bad())
}

/// How far an effect that runs has got, as the record knows.
fn sent(model: &Model, step: &StepId) -> String {
    let mut open = model.state().open_effects().filter(|(id, _, _)| *id == step);
    let accepted = open.find_map(|(_, _, effect)| match effect {
        EffectState::InFlight { acked, .. } => acked.clone(),
        EffectState::Orphaned { .. }
        | EffectState::InDoubt { .. }
        | EffectState::None
        | EffectState::Done
        | EffectState::Failed
        | EffectState::MaybeHappened
        | EffectState::NotSent => None,
    });
    accepted.map_or_else(
        || "It is under way; no peer has said yet that it accepted it.".to_owned(),
        |id| format!("It is under way; the peer has accepted it as {id}."),
    )
}

/// What the record knows of an effect in doubt.
fn known(model: &Model, step: &StepId) -> String {
    let effect = model
        .state()
        .open_effects()
        .find(|(id, _, effect)| *id == step && effect.needs_person())
        .map(|(_, _, effect)| effect.clone());
    match effect {
        Some(EffectState::InDoubt {
            acked: Some(provider_id),
            ..
        }) => format!("The peer had accepted it as {provider_id}; looking again could not tell what became of it."),
        Some(
            EffectState::InDoubt { acked: None, .. }
            | EffectState::None
            | EffectState::InFlight { .. }
            | EffectState::Orphaned { .. }
            | EffectState::Done
            | EffectState::Failed
            | EffectState::MaybeHappened
            | EffectState::NotSent,
        )
        | None => "It was sent and never accepted; looking again could not tell what became of it.".to_owned(),
    }
}

/// The first choice in sight.
fn first(at: usize, count: usize) -> usize {
    at.saturating_sub(SHOWN / 2).min(count.saturating_sub(SHOWN))
}

fn offered(model: &Model, list: &[Choice], at: usize, columns: usize) -> Vec<Line<'static>> {
    let first = first(at, list.len());
    let mut lines = vec![Line::default()];
    for (index, choice) in list.iter().enumerate().skip(first).take(SHOWN) {
        let sign = if index == at { "▸" } else { " " };
        let not = if choice.chosen.is_some() { "" } else { " (not possible)" };
        let text = format!("{sign} {}{not}", visible(&choice.label));
        let line = if index == at {
            Line::styled(fit(&text, columns), model.theme.selected())
        } else {
            Line::styled(clip(&text, columns), model.theme.plain())
        };
        lines.push(line);
    }
    if list.len() > SHOWN {
        lines.push(Line::from(format!("  {} of {}", at + 1, list.len())));
    }
    lines
}
