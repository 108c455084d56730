//! Windows to read: the help, made from the keymap, and the summary.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::frontend::tui::keymap::{self, Context};
use crate::frontend::tui::model::Model;
use crate::projection::escape::fit;
use crate::projection::summary::Summary;

use super::text::hanging;
use super::window::{Window, columns, draw};

/// The help overlay.
pub fn help(model: &Model, frame: &mut Frame<'_>, body: Rect, scroll: usize) {
    let columns = columns(body);
    let sections = [
        (Context::Main, "Panes"),
        (Context::Gate, "A gate without a phrase"),
        (Context::Phrase, "A gate with a phrase"),
        (Context::Poll, "A poll"),
        (Context::Typing, "A field"),
        (Context::Choosing, "Choices"),
        (Context::Reading, "Help and summary"),
    ];
    let mut text = Vec::new();
    for (context, title) in sections {
        text.push(Line::styled(title, model.theme.strong()));
        for (keys, words) in keymap::help(context) {
            let mut lines = hanging(&" ".repeat(14), words, columns, model.theme.plain());
            if let Some(first) = lines.first_mut() {
                let rest: Vec<Span<'static>> = first.spans.drain(1..).collect();
                *first = Line::from(Span::styled(fit(&format!("  {keys}"), 14), model.theme.strong()));
                first.spans.extend(rest);
            }
            text.extend(lines);
        }
        text.push(Line::default());
    }
    let fixed = vec![Line::styled("↑↓ PgUp PgDn scroll, Esc goes back", model.theme.strong())];
    let window = Window {
        title: "Help",
        style: model.theme.strong(),
        text,
        scroll,
        fixed,
    };
    draw(model, frame, body, window);
}

/// The summary; of a run that is over, the last window.
pub fn summary(model: &Model, frame: &mut Frame<'_>, body: Rect, scroll: usize) {
    let columns = columns(body);
    let summary = Summary::new(
        &model.plan,
        model.state(),
        &model.follower.story,
        &model.session.run_id,
        &model.session.next,
        model.now,
    );
    let mut text = Vec::new();
    for line in &summary.lines {
        let indent: String = line.chars().take_while(|char| *char == ' ').collect();
        text.extend(hanging(&indent, line.trim_start(), columns, model.theme.plain()));
    }
    let way_out = if model.state().is_closed() {
        "↑↓ PgUp PgDn scroll, q leaves, Esc goes back to the panes"
    } else {
        "↑↓ PgUp PgDn scroll, Esc goes back"
    };
    let window = Window {
        title: &summary.headline,
        style: model.theme.strong(),
        text,
        scroll,
        fixed: vec![Line::styled(way_out, model.theme.strong())],
    };
    draw(model, frame, body, window);
}
