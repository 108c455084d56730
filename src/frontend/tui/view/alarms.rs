//! What must be seen in every view: a line under the header, marks in the tree, sentences in the step pane. Words carry
//! it; colour only helps.

use ratatui::text::Line;

use crate::frontend::tui::model::Model;
use crate::projection::alarms::{Alarm, Kind, alarms, skipped_needs};
use crate::projection::escape::{clip, visible};
use crate::projection::words::label;
use crate::run::event::Subject;
use crate::run::facts::StepId;

use super::text::hanging;

/// The line under the header; none while there is nothing to say.
pub fn line(model: &Model, columns: usize) -> Option<Line<'static>> {
    let found = alarms(model.state());
    let mut parts: Vec<String> = Vec::new();
    let kinds = [
        Kind::WindowOver,
        Kind::GlassBroken,
        Kind::Unsigned,
        Kind::Overdue,
        Kind::Skipped,
    ];
    for kind in kinds {
        let mut names: Vec<String> = Vec::new();
        let ours: Vec<&Alarm> = found.iter().filter(|alarm| alarm.kind == kind).collect();
        for name in ours.iter().filter_map(|alarm| short(model, alarm)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        match (ours.is_empty(), names.is_empty()) {
            (true, _) => {}
            (false, true) => parts.push(kind.word().to_owned()),
            (false, false) => parts.push(format!("{} {}", kind.word(), names.join(", "))),
        }
    }
    if parts.is_empty() {
        return None;
    }
    let text = visible(&format!("! {}", parts.join(" │ ")));
    Some(Line::styled(clip(&text, columns), model.theme.bad()))
}

/// The number of the step, or what else it is about.
fn short(model: &Model, alarm: &Alarm) -> Option<String> {
    let request = alarm.request.and_then(|id| model.state().requests.get(&id));
    let subject = request.map(|request| request.subject);
    match (&alarm.step, subject) {
        (Some(step), _) => Some(number(model, step)),
        (None, Some(Subject::Unwind)) => Some("roll back".to_owned()),
        (None, Some(Subject::Commit)) => Some("commit".to_owned()),
        (None, Some(Subject::Window)) => Some("window".to_owned()),
        (None, Some(Subject::Amend)) => Some("amend".to_owned()),
        (None, Some(Subject::Step | Subject::Skip) | None) => None,
    }
}

/// A step's number in the runbook.
pub fn number(model: &Model, step: &StepId) -> String {
    let index = model.state().facts.index(step);
    index.map_or_else(|| step.0.clone(), |index| (index + 1).to_string())
}

/// From here on a row has room for every mark in full.
const ROOMY: usize = 60;

/// Marks for the step's row, what its stage does not say: all of them, or in a narrow row the heaviest.
pub fn marks(alarms: &[Alarm], step: &StepId, columns: usize) -> String {
    let ours = alarms.iter().filter(|alarm| alarm.step.as_ref() == Some(step));
    let mut kinds: Vec<Kind> = ours
        .map(|alarm| alarm.kind)
        .filter(|kind| *kind != Kind::Skipped)
        .collect();
    kinds.dedup();
    if columns >= ROOMY {
        return kinds.iter().map(|kind| format!("!{} ", kind.word())).collect();
    }
    let more = if kinds.len() > 1 { "+" } else { "" };
    let first = kinds.first().and_then(|kind| kind.word().split(' ').next());
    first.map_or_else(String::new, |word| format!("!{word}{more} "))
}

/// Everything about the step, for its pane.
pub fn sentences(model: &Model, step: &StepId, columns: usize) -> Vec<Line<'static>> {
    let bad = model.theme.bad();
    let mut lines = Vec::new();
    let found = alarms(model.state());
    for alarm in found.iter().filter(|alarm| alarm.step.as_ref() == Some(step)) {
        lines.extend(hanging("! ", &alarm.text, columns, bad));
    }
    for (need, reason) in skipped_needs(model.state(), step) {
        let text = format!("It needs {}, which was SKIPPED: {reason}", label(&model.plan, &need));
        lines.extend(hanging("! ", &text, columns, bad));
    }
    lines
}
