//! The step pane: what it will do, what was checked, who approved, how it is taken back, what came of it.

use ratatui::text::Line;

use crate::frontend::tui::model::Model;
use crate::projection::escape::{clip, visible};
use crate::projection::words::{clock, gates, rollback, span, standing};
use crate::provider::action::Progress;
use crate::run::facts::StepId;
use crate::run::state::{Request, Stage, StepState};
use crate::runbook::plan::{DowntimeMark, PlannedAction, PlannedStep, Rollback};

use super::text::{hanging, named};
use super::{alarms, evidence};

/// So many parts of what is under way are shown.
const SHOWN: usize = 8;

/// The pane's titles.
pub fn title(model: &Model) -> (String, String) {
    let Some((index, planned)) = model.shown_step() else {
        return ("Step".to_owned(), String::new());
    };
    let word = model
        .state()
        .steps
        .get(index)
        .map_or("", |step| standing(model.state(), step).1);
    let title = crate::projection::escape::visible(&planned.title);
    (format!("{} {title}", index + 1), word.to_owned())
}

/// Everything about the shown step.
pub fn lines(model: &Model, columns: usize) -> Vec<Line<'static>> {
    let Some((index, planned)) = model.shown_step() else {
        return vec![Line::from("The runbook has no steps.")];
    };
    let Some(state) = model.state().steps.get(index) else {
        return Vec::new();
    };
    let theme = model.theme;
    let id = StepId(planned.id.clone());
    let mut lines = Vec::new();
    if let Some(reason) = &state.reason {
        let (head, style) = match state.stage {
            Stage::InDoubt => ("? IN DOUBT ", theme.bad()),
            Stage::Failed | Stage::RollbackFailed => ("✘ FAILED   ", theme.bad()),
            Stage::Waiting
            | Stage::Checking
            | Stage::AtGate(_)
            | Stage::Approved(_)
            | Stage::Running
            | Stage::Verifying
            | Stage::Done
            | Stage::Skipped
            | Stage::RollingBack
            | Stage::RolledBack
            | Stage::Kept => ("last       ", theme.warn()),
        };
        lines.extend(hanging(head, reason, columns, style));
        lines.push(Line::default());
    }
    let loud = alarms::sentences(model, &id, columns);
    if !loud.is_empty() {
        lines.extend(loud);
        lines.push(Line::default());
    }
    lines.extend(live_parts(model, &id, columns));
    lines.extend(will_do(model, planned, state, columns));
    lines.extend(checks(model, planned, state, columns));
    lines.extend(approvals(model, planned, &id, columns));
    for text in rollback(planned) {
        let beyond = matches!(planned.rollback, Rollback::Irreversible { .. });
        let style = if beyond { theme.bad() } else { theme.plain() };
        lines.extend(named("Rollback", &text, columns, theme.strong(), style));
    }
    lines.extend(marks(model, planned, &id, columns));
    for (name, value) in &state.outputs {
        let text = format!("{name} = {}", evidence::flat(value));
        lines.extend(named("Output", &text, columns, theme.strong(), theme.plain()));
    }
    if let Some(notes) = &planned.notes {
        lines.push(Line::styled("Notes", theme.strong()));
        lines.extend(hanging("  ", notes.trim_end(), columns, theme.plain()));
    }
    lines
}

/// The parts of what is under way, as they stand now; what asks for people comes first.
fn live_parts(model: &Model, id: &StepId, columns: usize) -> Vec<Line<'static>> {
    let Some(Progress::Board { text, rows, .. }) = model.progress.get(id) else {
        return Vec::new();
    };
    let theme = model.theme;
    let mut lines = hanging("Now        ", text, columns, theme.busy());
    for row in rows.iter().take(SHOWN) {
        lines.push(Line::styled(
            clip(&visible(&format!("  {row}")), columns),
            theme.plain(),
        ));
    }
    if rows.len() > SHOWN {
        let more = format!("  and {} more", rows.len() - SHOWN);
        lines.push(Line::styled(more, theme.faint()));
    }
    lines.push(Line::default());
    lines
}

fn will_do(model: &Model, planned: &PlannedStep, state: &StepState, columns: usize) -> Vec<Line<'static>> {
    let theme = model.theme;
    let key = Some(StepId(planned.id.clone()));
    let briefed = model
        .briefings
        .get(&key)
        .filter(|briefing| briefing.attempt == state.attempt);
    if let Some(briefing) = briefed {
        let mut lines = vec![Line::styled("What it does, exactly", theme.strong())];
        for action in &briefing.actions {
            lines.extend(evidence::commands(model, action, columns));
        }
        for fault in &briefing.faults {
            lines.extend(hanging("  not known: ", fault, columns, theme.bad()));
        }
        return lines;
    }
    let mut lines = vec![Line::styled(
        "What it will do (from the plan; read again before its gate)",
        theme.strong(),
    )];
    lines.extend(hanging("  ", &action_words(&planned.action), columns, theme.plain()));
    if let Some(fields) = planned.action.with.as_object() {
        for (name, value) in fields {
            let text = format!("{name}: {}", evidence::flat(value));
            lines.extend(hanging("    ", &text, columns, theme.plain()));
        }
    }
    lines
}

fn action_words(action: &PlannedAction) -> String {
    if action.on.is_empty() {
        action.uses.clone()
    } else {
        format!("{} on {}", action.uses, action.on.join(", "))
    }
}

/// Verdicts so far, and the checks that have not run.
fn checks(model: &Model, planned: &PlannedStep, state: &StepState, columns: usize) -> Vec<Line<'static>> {
    let theme = model.theme;
    if planned.before.is_empty() && planned.after.is_empty() && state.checks.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![Line::styled("Checks", theme.strong())];
    for check in &state.checks {
        lines.extend(evidence::one_check(model, check, columns));
    }
    for (when, list) in [("before", &planned.before), ("after", &planned.after)] {
        for (index, check) in list.iter().enumerate() {
            let seen = state
                .checks
                .iter()
                .any(|result| result.when == when && usize::try_from(result.index) == Ok(index));
            if !seen {
                let text = format!("{when} {}", action_words(check));
                lines.extend(hanging("  ○ ", &text, columns, theme.faint()));
            }
        }
    }
    lines
}

/// The gate in words, and the votes of its latest request.
fn approvals(model: &Model, planned: &PlannedStep, id: &StepId, columns: usize) -> Vec<Line<'static>> {
    let theme = model.theme;
    let asked = gates(&model.plan, planned);
    let mut lines = named("Gate", &asked, columns, theme.strong(), theme.plain());
    let latest: Option<&Request> = model
        .state()
        .requests
        .values()
        .map(AsRef::as_ref)
        .rev()
        .find(|request| request.step.as_ref() == Some(id));
    if let Some(request) = latest {
        lines.extend(evidence::votes(model, request, columns));
    }
    lines
}

fn marks(model: &Model, planned: &PlannedStep, id: &StepId, columns: usize) -> Vec<Line<'static>> {
    let theme = model.theme;
    let mut times = Vec::new();
    if let Some(expect) = planned.expect {
        times.push(format!("planned {}", span(expect.0)));
    }
    if let Some(attempt) = model.follower.story.timeline.of(id).and_then(|times| times.last()) {
        times.push(format!(
            "attempt {}: machine {}, waiting for people {}",
            attempt.number,
            clock(attempt.machine(model.now)),
            clock(attempt.human(model.now))
        ));
    }
    if let Some(timeout) = planned.timeout {
        times.push(format!("timeout {}", span(timeout.0)));
    }
    if let Some(deadline) = &planned.deadline {
        times.push(format!("deadline {deadline}"));
    }
    let mut lines = Vec::new();
    if !times.is_empty() {
        lines.extend(named(
            "Times",
            &times.join(", "),
            columns,
            theme.strong(),
            theme.plain(),
        ));
    }
    match planned.downtime {
        Some(DowntimeMark::Begins) => {
            lines.extend(named("Downtime", "begins here", columns, theme.strong(), theme.warn()));
        }
        Some(DowntimeMark::Ends) => {
            lines.extend(named(
                "Downtime",
                "ends when it is done",
                columns,
                theme.strong(),
                theme.plain(),
            ));
        }
        None => {}
    }
    if planned.writes_on_target {
        let text = "opens the target for writes: from here an undo may lose rows";
        lines.extend(named("No return", text, columns, theme.strong(), theme.bad()));
    }
    if let Some(owner) = &planned.owner {
        lines.extend(named("Owner", owner, columns, theme.strong(), theme.plain()));
    }
    lines
}
