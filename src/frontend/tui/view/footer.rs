//! The bottom lines: what was said last, and the keys that work now.

use ratatui::text::{Line, Span};

use crate::frontend::tui::keymap;
use crate::frontend::tui::model::{Loudness, Model};
use crate::projection::escape::{clip, visible, width};

/// The footer's lines: one of status, one or two of keys.
pub fn lines(model: &Model, columns: usize) -> Vec<Line<'static>> {
    let status = match &model.status {
        None => Line::default(),
        Some((text, Loudness::Plain)) => Line::styled(clip(&visible(text), columns), model.theme.plain()),
        Some((text, Loudness::Bad)) => Line::styled(clip(&visible(&format!("! {text}")), columns), model.theme.bad()),
    };
    let mut lines = vec![status];
    lines.extend(keys(model, columns));
    lines
}

/// The keys of the context in front, wrapped.
pub fn keys(model: &Model, columns: usize) -> Vec<Line<'static>> {
    let mut lines: Vec<Line<'static>> = Vec::new();
    let mut spans: Vec<Span<'static>> = Vec::new();
    let mut used = 0;
    for (key, word) in keymap::footer(model) {
        let takes = width(&key) + width(word) + 3;
        if used + takes > columns && !spans.is_empty() {
            lines.push(Line::from(std::mem::take(&mut spans)));
            used = 0;
        }
        spans.push(Span::styled(key, model.theme.strong()));
        spans.push(Span::styled(format!(" {word}  "), model.theme.plain()));
        used += takes;
    }
    lines.push(Line::from(spans));
    lines
}
