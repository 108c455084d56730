//! Windows with a field: rejecting, and every reason that the record keeps.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::frontend::tui::model::{Model, Purpose};
use crate::frontend::tui::questions::{head, questions};
use crate::projection::escape::{visible, wrap};
use crate::run::event::Subject;
use crate::run::facts::{RequestId, Who};
use crate::run::poll::is_poll;

use super::gate_window::{heard_words, subject, voter_lines};
use super::text::hanging;
use super::window::{Window, columns, draw};

/// Rejecting the gate that waits, or a no-go to a poll: what was typed, and whether the voter was only heard.
pub fn reject(
    model: &Model,
    frame: &mut Frame<'_>,
    body: Rect,
    id: RequestId,
    voter: usize,
    (comment, heard): (&str, bool),
) {
    let columns = columns(body);
    let request = model.state().requests.get(&id);
    let about = request.map(|request| subject(model, request)).unwrap_or_default();
    let poll = request.is_some_and(|request| is_poll(&request.gate));
    let stops = request.is_some_and(|request| matches!(request.gate.who, Who::Poll { stops: true, .. }));
    let (act, one) = if poll {
        ("No-go:", "One no-go ends the poll")
    } else {
        ("Reject", "One rejection ends the request")
    };
    let mut text = voter_lines(model, id, voter, columns);
    if heard {
        text.extend(hanging("", &heard_words(model), columns, model.theme.bad()));
    }
    let words = match request.map(|request| request.subject) {
        Some(Subject::Skip) => "the step is not skipped and stays as it was.",
        Some(Subject::Amend) => "the runbook stays as it was.",
        Some(Subject::Window) => "the window stays as it was.",
        Some(Subject::Unwind) => "the run is held where it is.",
        Some(Subject::Commit) => "the run is held, and can still be rolled back.",
        Some(Subject::Step) if stops => "the run ends, or the operator decides where something stands.",
        Some(Subject::Step) | None => "the step counts as failed and the operator decides how it goes on.",
    };
    text.extend(hanging("", &format!("{one}; {words}"), columns, model.theme.plain()));
    let window = Window {
        title: &visible(&format!("{act} {about} (request {id})")),
        style: model.theme.bad(),
        text,
        scroll: 0,
        fixed: field(model, "why:", comment, columns),
    };
    draw(model, frame, body, window);
}

/// Asking for words: the question in front, the answers so far above it.
pub fn reason(model: &Model, frame: &mut Frame<'_>, body: Rect, purpose: &Purpose, answers: &[String], typed: &str) {
    let columns = columns(body);
    let (title, words, loud) = head(model, purpose);
    let style = if loud { model.theme.bad() } else { model.theme.warn() };
    let plain = if loud { model.theme.bad() } else { model.theme.plain() };
    let mut text = Vec::new();
    for line in &words {
        text.extend(hanging("", line, columns, plain));
    }
    let asked = questions(model, purpose);
    for (question, answer) in asked.iter().zip(answers) {
        let answer = if answer.is_empty() { "-" } else { answer };
        text.extend(hanging(
            "",
            &format!("{question} {answer}"),
            columns,
            model.theme.strong(),
        ));
    }
    let ask = asked.get(answers.len()).map_or("", String::as_str);
    let count = if asked.len() > 1 {
        format!("{}/{} ", answers.len() + 1, asked.len())
    } else {
        String::new()
    };
    let window = Window {
        title: &visible(&title),
        style,
        text,
        scroll: 0,
        fixed: field(model, &format!("{count}{ask}"), typed, columns),
    };
    draw(model, frame, body, window);
}

fn field(model: &Model, ask: &str, typed: &str, columns: usize) -> Vec<Line<'static>> {
    let mut lines = hanging("", ask, columns, model.theme.plain());
    for piece in wrap(&visible(&format!("> {typed}▏")), columns) {
        lines.push(Line::styled(piece, model.theme.strong()));
    }
    lines.push(Line::styled("Enter submits, Esc goes back", model.theme.strong()));
    lines
}
