//! A window over the panes: scrolled text above, what stays in sight below, the keys that work in its frame.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Clear, Paragraph};

use crate::frontend::tui::model::Model;
use crate::projection::escape::clip;

use super::screen::window_of;

/// The widest window.
const WIDEST: u16 = 110;

/// What a window shows.
pub struct Window<'a> {
    pub title: &'a str,
    pub style: Style,
    /// Scrolled.
    pub text: Vec<Line<'static>>,
    pub scroll: usize,
    /// Always in sight.
    pub fixed: Vec<Line<'static>>,
}

/// Columns for text inside a window over `body`.
pub fn columns(body: Rect) -> usize {
    usize::from(outer_width(body).saturating_sub(4))
}

fn outer_width(body: Rect) -> u16 {
    body.width.saturating_sub(4).min(WIDEST)
}

/// Draws a window in the middle of `body`.
pub fn draw(model: &Model, frame: &mut Frame<'_>, body: Rect, window: Window<'_>) {
    let width = outer_width(body);
    let fixed = u16::try_from(window.fixed.len()).unwrap_or(u16::MAX);
    let wanted = u16::try_from(window.text.len())
        .unwrap_or(u16::MAX)
        .saturating_add(fixed)
        .saturating_add(3);
    let height = wanted.min(body.height);
    let area = Rect {
        x: body.x + (body.width - width) / 2,
        y: body.y + (body.height - height) / 2,
        width,
        height,
    };
    let title = clip(window.title, usize::from(width.saturating_sub(4)));
    let block = Block::new()
        .borders(Borders::ALL)
        .border_style(window.style)
        .title(Line::from(format!(" {title} ")).style(window.style));
    let inner = block.inner(area);
    let inner = Rect {
        x: inner.x + 1,
        width: inner.width.saturating_sub(2),
        ..inner
    };
    let [upper, rule, lower] = Layout::vertical([
        Constraint::Min(0),
        Constraint::Length(1),
        Constraint::Length(fixed.min(inner.height.saturating_sub(1))),
    ])
    .areas(inner);
    let shown = window_of(window.text, window.scroll, usize::from(upper.height));
    frame.render_widget(Clear, area);
    frame.render_widget(block, area);
    frame.render_widget(Paragraph::new(shown), upper);
    if fixed > 0 {
        let line = "─".repeat(usize::from(rule.width));
        frame.render_widget(Paragraph::new(Line::styled(line, model.theme.faint())), rule);
    }
    frame.render_widget(Paragraph::new(window.fixed), lower);
}
