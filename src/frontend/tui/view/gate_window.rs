//! The gate: the exact commands and the evidence, then who votes, then the phrase or the confirming key.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::frontend::poll::is_free;
use crate::frontend::tui::able::answerable;
use crate::frontend::tui::model::Model;
use crate::frontend::tui::offers::voters;
use crate::projection::escape::{clip_start, visible};
use crate::projection::proof::at_gate;
use crate::projection::words::{about, clock, environment, label, rollback, settled};
use crate::run::event::Subject;
use crate::run::facts::RequestId;
use crate::run::poll::is_poll;
use crate::run::state::{Request, StepState};
use crate::runbook::plan::{EnvironmentKind, Rollback};

use super::text::{hanging, named};
use super::window::{Window, columns, draw as draw_window};
use super::{alarms, evidence};

/// What was chosen and typed so far.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub voter: usize,
    pub phrase: &'a str,
    /// The voter was only heard.
    pub heard: bool,
}

/// Draws the gate of a request.
pub fn draw(model: &Model, frame: &mut Frame<'_>, body: Rect, id: RequestId, scroll: usize, asked: Asked<'_>) {
    let Some(request) = model.state().requests.get(&id) else {
        return;
    };
    let columns = columns(body);
    let act = if is_poll(&request.gate) { "Poll:" } else { "Approve?" };
    let title = format!("{act} {} (request {id})", subject(model, request));
    let style = if model.plan.environment.kind == EnvironmentKind::Production {
        model.theme.bad()
    } else {
        model.theme.warn()
    };
    let window = Window {
        title: &visible(&title),
        style,
        text: text(model, request, columns),
        scroll,
        fixed: asks(model, request, asked, columns),
    };
    draw_window(model, frame, body, window);
}

/// What a request is about, in words.
pub fn subject(model: &Model, request: &Request) -> String {
    about(&model.plan, request.subject, request.step.as_ref())
}

fn text(model: &Model, request: &Request, columns: usize) -> Vec<Line<'static>> {
    let theme = model.theme;
    let kind = environment(model.plan.environment.kind);
    let dry = if model.session.dry_run { "DRY RUN, " } else { "" };
    let place = format!("{dry}{kind}, environment {}", model.plan.environment.name);
    let poll = is_poll(&request.gate);
    let mut lines = Vec::new();
    if poll {
        lines.extend(question(model, request, columns));
        lines.extend(evidence::votes(model, request, columns));
    }
    lines.extend(named("Where", &place, columns, theme.strong(), theme.strong()));
    if request.escalated {
        let text = "those who were asked first did not answer in time";
        lines.extend(named("ESCALATED", text, columns, theme.strong(), theme.bad()));
    }
    if let Some(step) = &request.step {
        lines.extend(alarms::sentences(model, step, columns));
    }
    match request.subject {
        Subject::Step => lines.extend(of_step(model, request, columns)),
        Subject::Unwind => lines.extend(of_unwinding(model, request, columns)),
        Subject::Commit => lines.extend(of_commit(model, columns)),
        Subject::Skip => lines.extend(of_skip(model, request, columns)),
        Subject::Window => lines.extend(of_window(model, request, columns)),
        Subject::Amend => lines.extend(of_amendment(model, request, columns)),
    }
    if !poll {
        lines.extend(evidence::votes(model, request, columns));
    }
    lines
}

/// What a poll asks; under it the answers, before everything else.
fn question(model: &Model, request: &Request, columns: usize) -> Vec<Line<'static>> {
    let theme = model.theme;
    let step = request.step.as_ref();
    let planned = step.and_then(|id| model.plan.steps.iter().find(|step| step.id == id.0));
    let asked = planned.and_then(|planned| planned.action.with.get("question"));
    let asked = asked.and_then(serde_json::Value::as_str).unwrap_or_default();
    let text = match request.subject {
        Subject::Skip => format!("go on WITHOUT this poll? It asks: {asked}"),
        Subject::Step | Subject::Unwind | Subject::Commit | Subject::Window | Subject::Amend => asked.to_owned(),
    };
    named("Question", &text, columns, theme.strong(), theme.strong())
}

fn of_step(model: &Model, request: &Request, columns: usize) -> Vec<Line<'static>> {
    let theme = model.theme;
    let planned = request
        .step
        .as_ref()
        .and_then(|id| model.plan.steps.iter().find(|step| step.id == id.0));
    let mut lines = Vec::new();
    if planned.is_some_and(|planned| planned.writes_on_target) {
        let words = "THE POINT OF NO RETURN: it opens the target for writes; from here an undo may lose rows";
        lines.extend(hanging("", words, columns, theme.bad()));
    }
    let proven = request
        .step
        .as_ref()
        .map(|step| at_gate(model.state(), step, model.now));
    for (index, line) in proven.iter().flatten().enumerate() {
        let name = if index == 0 { "Preflight" } else { "" };
        lines.extend(named(name, line, columns, theme.strong(), theme.plain()));
    }
    lines.push(Line::styled("What it does, exactly", theme.strong()));
    lines.extend(briefed(model, request, columns));
    if let Some(planned) = planned {
        let beyond = matches!(planned.rollback, Rollback::Irreversible { .. });
        let style = if beyond { theme.bad() } else { theme.plain() };
        if let Some(divergence) = &planned.divergence {
            let text = format!(
                "an undo would lose the rows of, on {}: {}",
                divergence.on, divergence.sql
            );
            lines.extend(named("Loses", &text, columns, theme.strong(), theme.plain()));
        }
        for line in rollback(planned) {
            lines.extend(named("Rollback", &line, columns, theme.strong(), style));
        }
    }
    lines
}

/// What it means to go on without a step.
fn of_skip(model: &Model, request: &Request, columns: usize) -> Vec<Line<'static>> {
    let theme = model.theme;
    let mut lines = Vec::new();
    let reason = request.reason.as_deref().unwrap_or_default();
    lines.extend(named("Because", reason, columns, theme.strong(), theme.plain()));
    let Some(step) = &request.step else { return lines };
    let stands = model.state().step(step).is_some_and(StepState::stands);
    let what = if stands {
        "its effect happened, or may have: it STANDS, and a rollback undoes it"
    } else {
        "nothing of it is executed"
    };
    lines.extend(named("Then", what, columns, theme.strong(), theme.warn()));
    let needing = model
        .state()
        .facts
        .steps
        .iter()
        .filter(|facts| facts.needs.contains(step));
    let names: Vec<String> = needing.map(|facts| label(&model.plan, &facts.id)).collect();
    let text = if names.is_empty() {
        "no step".to_owned()
    } else {
        format!(
            "{}; begun all the same, with their own checks and gates",
            names.join(", ")
        )
    };
    lines.extend(named("Needed by", &text, columns, theme.strong(), theme.plain()));
    lines
}

fn of_window(model: &Model, request: &Request, columns: usize) -> Vec<Line<'static>> {
    let theme = model.theme;
    let at = |ms: Option<i64>| {
        ms.and_then(chrono::DateTime::from_timestamp_millis).map_or_else(
            || "unknown".to_owned(),
            |at| {
                at.with_timezone(&model.session.zone)
                    .format("%Y-%m-%d %H:%M %Z")
                    .to_string()
            },
        )
    };
    let text = format!(
        "from {} to {}",
        at(model.state().window_closes_ms),
        at(request.closes_ms)
    );
    let mut lines = named("The window", &text, columns, theme.strong(), theme.warn());
    let reason = request.reason.as_deref().unwrap_or_default();
    lines.extend(named("Because", reason, columns, theme.strong(), theme.plain()));
    lines
}

/// What another plan changes; everything of it.
fn of_amendment(model: &Model, request: &Request, columns: usize) -> Vec<Line<'static>> {
    let theme = model.theme;
    let reason = request.reason.as_deref().unwrap_or_default();
    let mut lines = named("Because", reason, columns, theme.strong(), theme.plain());
    let text = "every approval that is open or was not used dies; what has begun stays as it is";
    lines.extend(named("Then", text, columns, theme.strong(), theme.warn()));
    let Some(briefing) = model
        .briefings
        .get(&None)
        .filter(|briefing| !briefing.changes.is_empty())
    else {
        let text = "what it changes was not heard by this screen; ask for it again with A";
        lines.extend(hanging("  ! ", text, columns, theme.bad()));
        return lines;
    };
    lines.push(Line::styled("What it changes", theme.strong()));
    for change in &briefing.changes {
        let style = match change.chars().next() {
            Some('-') => theme.bad(),
            Some('+') => theme.good(),
            Some('~') => theme.warn(),
            Some(_) | None => theme.plain(),
        };
        let indented = change.trim_start();
        let head = if indented.len() == change.len() { "  " } else { "      " };
        lines.extend(hanging(head, indented, columns, style));
    }
    lines
}

/// The evidence; a gate whose evidence was not heard says so.
fn briefed(model: &Model, request: &Request, columns: usize) -> Vec<Line<'static>> {
    let found = model
        .briefings
        .get(&request.step)
        .filter(|briefing| request.attempt.is_none_or(|attempt| attempt == briefing.attempt));
    found.map_or_else(
        || {
            let text = "the evidence of this gate was not heard by this screen; hold and release to read it again";
            hanging("  ! ", text, columns, model.theme.bad())
        },
        |briefing| evidence::briefing(model, briefing, columns),
    )
}

fn of_unwinding(model: &Model, request: &Request, columns: usize) -> Vec<Line<'static>> {
    let theme = model.theme;
    let mut lines = Vec::new();
    let Some(unwind) = &model.state().unwind else {
        return lines;
    };
    let scope = unwind.to.as_ref().map_or_else(
        || "the whole run".to_owned(),
        |to| format!("back to {} (it stands)", label(&model.plan, to)),
    );
    lines.extend(named("Scope", &scope, columns, theme.strong(), theme.plain()));
    if unwind.past_no_return {
        let text = "PAST THE POINT OF NO RETURN: the target has taken writes";
        lines.extend(named("Beyond", text, columns, theme.strong(), theme.bad()));
        let ago = chrono::TimeDelta::milliseconds(model.now.timestamp_millis() - request.requested_ms);
        let text = format!(
            "{} ago; the target goes on taking writes, so it is more by now",
            clock(ago)
        );
        lines.extend(named("Counted", &text, columns, theme.strong(), theme.plain()));
    }
    lines.extend(
        model
            .briefings
            .get(&None)
            .map_or_else(Vec::new, |briefing| evidence::briefing(model, briefing, columns)),
    );
    if unwind.steps.is_empty() {
        lines.extend(hanging("  ", "nothing to undo", columns, theme.plain()));
    }
    for fault in unwind.fault.iter().filter(|_| !model.briefings.contains_key(&None)) {
        lines.extend(hanging("not known  ", fault, columns, theme.bad()));
    }
    lines.extend(stays(model, columns));
    lines
}

/// What no unwinding takes back.
fn stays(model: &Model, columns: usize) -> Vec<Line<'static>> {
    let theme = model.theme;
    let mut lines = Vec::new();
    for (planned, step) in model.plan.steps.iter().zip(&model.state().steps) {
        if let (Rollback::NotNeeded { reason }, true) = (&planned.rollback, step.stands()) {
            let text = format!("{}: {reason}", planned.title);
            lines.extend(named("Stays", &text, columns, theme.strong(), theme.plain()));
        }
    }
    lines
}

fn of_commit(model: &Model, columns: usize) -> Vec<Line<'static>> {
    let theme = model.theme;
    let text = format!(
        "every step is {}; after this the run is over and its rollback is no longer offered",
        settled(model.state())
    );
    let mut lines = named("Commit", &text, columns, theme.strong(), theme.plain());
    let closing = model.state().closing_left();
    if closing.is_empty() {
        lines.extend(named(
            "Closing",
            "nothing is left to be put back",
            columns,
            theme.strong(),
            theme.plain(),
        ));
    }
    for step in closing {
        let text = format!("puts back {}", label(&model.plan, &step));
        lines.extend(named("Closing", &text, columns, theme.strong(), theme.plain()));
    }
    lines
}

fn asks(model: &Model, request: &Request, asked: Asked<'_>, columns: usize) -> Vec<Line<'static>> {
    let theme = model.theme;
    let phrase = asked.phrase;
    let mut lines = voter_lines(model, request.id, asked.voter, columns);
    if asked.heard {
        let text = format!("{} (Ctrl-t takes it back)", heard_words(model));
        lines.extend(hanging("", &text, columns, theme.bad()));
    }
    if let Err(reason) = answerable(model.state(), request) {
        lines.extend(hanging("! ", &reason, columns, theme.bad()));
    }
    match &request.gate.phrase {
        None if is_poll(&request.gate) => {
            let text = "y go, x no-go (asks why), b abstains, Esc goes back";
            lines.extend(hanging("", text, columns, theme.strong()));
        }
        None => lines.push(Line::styled("y approves, Esc goes back", theme.strong())),
        Some(wanted) => {
            let text = format!("to approve, type exactly: {wanted}");
            lines.extend(hanging("", &text, columns, theme.plain()));
            lines.push(Line::styled(
                format!(
                    "> {}",
                    clip_start(&visible(&format!("{phrase}▏")), columns.saturating_sub(2))
                ),
                theme.strong(),
            ));
            lines.push(Line::styled("then Enter approves, Esc goes back", theme.strong()));
        }
    }
    lines
}

/// That a voter is only heard.
pub fn heard_words(model: &Model) -> String {
    format!(
        "! HEARD on the bridge, written down by {}: the voter signs within 24 hours",
        model.state().operator
    )
}

/// Who votes, chosen by the arrow keys.
pub fn voter_lines(model: &Model, request: RequestId, voter: usize, columns: usize) -> Vec<Line<'static>> {
    let theme = model.theme;
    let list = voters(model, request);
    let Some(chosen) = list.get(voter) else {
        return vec![Line::styled("nobody is left who may vote here", theme.bad())];
    };
    let part = if chosen.persona { " (lab persona)" } else { "" };
    let which = if list.len() > 1 {
        format!("  ↑↓ {} of {}", voter + 1, list.len())
    } else {
        String::new()
    };
    let asked = model.state().requests.get(&request);
    let Some(poll) = asked.filter(|request| is_poll(&request.gate)) else {
        let text = format!("votes as {} in the role {}{part}{which}", chosen.person, chosen.role);
        return hanging("", &text, columns, theme.strong());
    };
    let text = format!("answers for {}: {}{part}{which}", chosen.role, chosen.person);
    let mut lines = hanging("", &text, columns, theme.strong());
    if !is_free(model.state(), poll, chosen) {
        let text = format!("! {} answers for another role already", chosen.person);
        lines.extend(hanging("", &text, columns, theme.bad()));
    }
    lines
}
