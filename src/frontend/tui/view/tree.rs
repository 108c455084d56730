//! The runbook tree: phases and steps with their state in a sign and a word.

use ratatui::text::Line;

use crate::frontend::tui::model::{Model, Row};
use crate::projection::alarms::{Alarm, alarms};
use crate::projection::escape::{fit, visible};
use crate::projection::words::{clock, standing};
use crate::run::facts::StepId;
use crate::run::state::Stage;
use crate::runbook::plan::Rollback;

use super::alarms::marks;
use super::text::both_ends;

/// The pane's titles.
pub fn title(model: &Model) -> (String, String) {
    let follow = if model.follow { "following" } else { "" };
    ("Runbook".to_owned(), follow.to_owned())
}

/// The rows that fit, around the selected one.
pub fn lines(model: &Model, columns: usize, rows: usize) -> Vec<Line<'static>> {
    let all = model.rows();
    let at = all.iter().position(|row| *row == model.selected).unwrap_or(0);
    // Found once for all rows: a run may have many.
    let loud = alarms(model.state());
    let first = at.saturating_sub(rows / 2).min(all.len().saturating_sub(rows));
    all.into_iter()
        .skip(first)
        .take(rows)
        .map(|row| {
            let line = match row {
                Row::Phase(index) => phase(model, &loud, index, columns),
                Row::Step(index) => step(model, &loud, index, columns),
            };
            if row == model.selected {
                line.patch_style(model.theme.selected())
            } else {
                line
            }
        })
        .collect()
}

fn phase(model: &Model, loud: &[Alarm], index: usize, columns: usize) -> Line<'static> {
    let Some(phase) = model.plan.phases.get(index) else {
        return Line::default();
    };
    let stages = model.plan.steps.iter().zip(&model.state().steps);
    let ours: Vec<Stage> = stages
        .filter(|(planned, _)| planned.phase == phase.id)
        .map(|(_, step)| step.stage)
        .collect();
    let done = ours.iter().filter(|stage| **stage == Stage::Done).count();
    let skipped = match ours.iter().filter(|stage| **stage == Stage::Skipped).count() {
        0 => String::new(),
        skipped => format!("{skipped} SKIPPED, "),
    };
    let folded = model.folded.contains(&index);
    let sign = if folded { "▸" } else { "▾" };
    // What a folded phase hides is not overlooked.
    let hidden = loud.iter().filter(|alarm| {
        let step = alarm.step.as_ref();
        step.is_some_and(|step| phase.steps.contains(&step.0))
    });
    let hidden = if folded && hidden.count() > 0 { "! " } else { "" };
    let text = both_ends(
        &format!("{sign} {}", visible(&phase.title)),
        &format!("{hidden}{skipped}{done}/{}", ours.len()),
        columns,
    );
    let style = if hidden.is_empty() {
        model.theme.strong()
    } else {
        model.theme.bad()
    };
    Line::styled(text, style)
}

fn step(model: &Model, loud: &[Alarm], index: usize, columns: usize) -> Line<'static> {
    let (Some(planned), Some(state)) = (model.plan.steps.get(index), model.state().steps.get(index)) else {
        return Line::default();
    };
    let (sign, word) = standing(model.state(), state);
    let irreversible = matches!(planned.rollback, Rollback::Irreversible { .. });
    let waiting_word = if irreversible { "no return" } else { "" };
    let word = if state.stage == Stage::Waiting {
        waiting_word
    } else {
        word
    };
    let sign = if irreversible && state.stage == Stage::Waiting {
        "◆"
    } else {
        sign
    };
    let id = StepId(planned.id.clone());
    let took = took(model, &id).unwrap_or_default();
    let marks = marks(loud, &id, columns);
    let asked = if model.state().skip_asked(&id) {
        "skip asked "
    } else {
        ""
    };
    let right = format!("{marks}{asked}{word} {}", fit(&took, 7));
    let left = format!("  {sign} {:>2} {}", index + 1, visible(&planned.title));
    let theme = model.theme;
    let own = match state.stage {
        Stage::Waiting => theme.plain(),
        Stage::Checking | Stage::Approved(_) | Stage::Running | Stage::Verifying => theme.busy(),
        Stage::AtGate(_) | Stage::RollingBack | Stage::RolledBack => theme.warn(),
        Stage::InDoubt | Stage::Failed | Stage::RollbackFailed | Stage::Skipped => theme.bad(),
        Stage::Done | Stage::Kept => theme.good(),
    };
    let style = if marks.is_empty() { own } else { theme.bad() };
    Line::styled(both_ends(&left, &right, columns), style)
}

/// Machine time of the last attempt.
fn took(model: &Model, id: &StepId) -> Option<String> {
    let times = model.follower.story.timeline.of(id)?;
    if let Some((from, to)) = times.undo {
        return Some(clock(to.unwrap_or(model.now) - from));
    }
    times.last().map(|attempt| clock(attempt.machine(model.now)))
}
