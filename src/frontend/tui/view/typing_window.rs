//! Windows with a field: rejecting, and every reason that the record keeps.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::frontend::tui::model::{Model, Purpose};
use crate::projection::escape::{visible, wrap};
use crate::projection::words::label;
use crate::run::facts::RequestId;

use super::gate_window::{subject, voter_lines};
use super::text::hanging;
use super::window::{Window, columns, draw};

/// Rejecting the gate that waits.
pub fn reject(model: &Model, frame: &mut Frame<'_>, body: Rect, id: RequestId, voter: usize, comment: &str) {
    let columns = columns(body);
    let about = model
        .state()
        .requests
        .get(&id)
        .map(|request| subject(model, request))
        .unwrap_or_default();
    let mut text = voter_lines(model, id, voter, columns);
    let words = "One rejection ends the request; the step counts as failed and the operator decides how it goes on.";
    text.extend(hanging("", words, columns, model.theme.plain()));
    let window = Window {
        title: &visible(&format!("Reject {about} (request {id})")),
        style: model.theme.bad(),
        text,
        scroll: 0,
        fixed: field(model, "why:", comment, columns),
    };
    draw(model, frame, body, window);
}

/// Asking for words.
pub fn reason(model: &Model, frame: &mut Frame<'_>, body: Rect, purpose: &Purpose, typed: &str) {
    let columns = columns(body);
    let (title, words, ask) = match purpose {
        Purpose::Hold => (
            "Hold the run".to_owned(),
            "Nothing new starts until somebody releases it. Running effects finish. On release checks and gates are asked again.",
            "reason:",
        ),
        Purpose::Stop => (
            "Stop the run".to_owned(),
            "It ends where it is and cannot be resumed. What stands, stands; nothing is undone.",
            "reason:",
        ),
        Purpose::Note => ("Note".to_owned(), "It goes into the journal under your name.", "note:"),
        Purpose::ByHand(step) => (
            format!("Done by hand: {}", label(&model.plan, step)),
            "Nothing is sent; the record names you and says what you did.",
            "what you did, and how you know that it worked:",
        ),
        Purpose::Decide { step, done: true } => (
            format!("It was done: {}", label(&model.plan, step)),
            "The run takes the effect as happened and verifies it.",
            "what you looked at:",
        ),
        Purpose::Decide { step, done: false } => (
            format!("It was not started: {}", label(&model.plan, step)),
            "The run takes it as never sent; checks and gate are asked again.",
            "what you looked at:",
        ),
    };
    let window = Window {
        title: &visible(&title),
        style: model.theme.warn(),
        text: hanging("", words, columns, model.theme.plain()),
        scroll: 0,
        fixed: field(model, ask, typed, columns),
    };
    draw(model, frame, body, window);
}

fn field(model: &Model, ask: &str, typed: &str, columns: usize) -> Vec<Line<'static>> {
    let mut lines = vec![Line::styled(ask.to_owned(), model.theme.plain())];
    for piece in wrap(&visible(&format!("> {typed}▏")), columns) {
        lines.push(Line::styled(piece, model.theme.strong()));
    }
    lines.push(Line::styled("Enter submits, Esc goes back", model.theme.strong()));
    lines
}
