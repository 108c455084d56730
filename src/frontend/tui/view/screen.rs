//! The whole screen: where the panes lie at which size, and what lies over them.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Paragraph};

use crate::frontend::tui::model::{Modal, Model, Pane};

use super::{decide_window, footer, gate_window, header, output, reading_window, step, tree, typing_window};

/// The smallest screen that says something useful.
const SMALLEST: (u16, u16) = (60, 16);
/// From here on panes lie side by side.
const WIDE: u16 = 100;

/// Draws the cockpit.
pub fn view(model: &Model, frame: &mut Frame<'_>) {
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        let text = format!("terminal too small (need {}×{})", SMALLEST.0, SMALLEST.1);
        frame.render_widget(Paragraph::new(text), area);
        return;
    }
    let columns = usize::from(area.width);
    let header = header::lines(model, columns);
    let footer = footer::lines(model, columns);
    let [top, body, bottom] = Layout::vertical([
        Constraint::Length(height(&header)),
        Constraint::Min(1),
        Constraint::Length(height(&footer)),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(header), top);
    frame.render_widget(Paragraph::new(footer), bottom);
    if area.width >= WIDE {
        beside(model, frame, body);
    } else {
        stacked(model, frame, body);
    }
    over(model, frame, body);
}

fn height(lines: &[Line<'_>]) -> u16 {
    u16::try_from(lines.len()).unwrap_or(1)
}

fn beside(model: &Model, frame: &mut Frame<'_>, body: Rect) {
    let [left, right] = Layout::horizontal([Constraint::Percentage(38), Constraint::Fill(1)]).areas(body);
    let [upper, lower] = Layout::vertical([Constraint::Percentage(62), Constraint::Fill(1)]).areas(right);
    pane(model, frame, left, Pane::Tree);
    pane(model, frame, upper, Pane::Step);
    pane(model, frame, lower, Pane::Output);
}

/// One pane at a time, its neighbours named above it.
fn stacked(model: &Model, frame: &mut Frame<'_>, body: Rect) {
    let [tabs, rest] = Layout::vertical([Constraint::Length(1), Constraint::Min(1)]).areas(body);
    let names = [(Pane::Tree, "Runbook"), (Pane::Step, "Step"), (Pane::Output, "Output")];
    let mut spans = Vec::new();
    for (pane, name) in names {
        let (text, style) = if pane == model.pane {
            (format!(" [{name}] "), model.theme.selected())
        } else {
            (format!("  {name}  "), model.theme.faint())
        };
        spans.push(ratatui::text::Span::styled(text, style));
    }
    spans.push(ratatui::text::Span::styled("  Tab changes", model.theme.faint()));
    frame.render_widget(Paragraph::new(Line::from(spans)), tabs);
    pane(model, frame, rest, model.pane);
}

fn pane(model: &Model, frame: &mut Frame<'_>, area: Rect, pane: Pane) {
    let focused = model.pane == pane && model.modal.is_none();
    let mark = if focused { "▪ " } else { "" };
    let (title, right) = match pane {
        Pane::Tree => tree::title(model),
        Pane::Step => step::title(model),
        Pane::Output => output::title(model),
    };
    let room = usize::from(area.width.saturating_sub(6)).saturating_sub(crate::projection::escape::width(&right));
    let title = crate::projection::escape::clip(&title, room);
    let block = Block::new()
        .borders(Borders::ALL)
        .border_style(model.theme.frame(focused))
        .title(Line::from(format!(" {mark}{title} ")).style(model.theme.strong()))
        .title_top(Line::from(format!(" {right} ")).right_aligned());
    let inner = block.inner(area);
    let (columns, rows) = (usize::from(inner.width), usize::from(inner.height));
    let lines = match pane {
        Pane::Tree => tree::lines(model, columns, rows),
        Pane::Step => window_of(step::lines(model, columns), model.step_scroll, rows),
        Pane::Output => output::lines(model, columns, rows),
    };
    frame.render_widget(block, area);
    frame.render_widget(Paragraph::new(lines), inner);
}

/// The part of `lines` that a scroll shows; what lies below is named in the last row.
pub(super) fn window_of(mut lines: Vec<Line<'static>>, scroll: usize, rows: usize) -> Vec<Line<'static>> {
    let most = lines.len().saturating_sub(rows);
    let scroll = scroll.min(most);
    let below = lines.len().saturating_sub(scroll + rows);
    lines.drain(..scroll);
    lines.truncate(rows);
    if below > 0 && rows > 1 {
        lines.pop();
        lines.push(Line::from(format!("… {} more lines below", below + 1)));
    }
    lines
}

fn over(model: &Model, frame: &mut Frame<'_>, body: Rect) {
    match &model.modal {
        None => {}
        Some(Modal::Gate {
            request,
            voter,
            scroll,
            phrase,
            heard,
        }) => {
            let asked = gate_window::Asked {
                voter: *voter,
                phrase: &phrase.text,
                heard: *heard,
            };
            gate_window::draw(model, frame, body, *request, *scroll, asked);
        }
        Some(Modal::Reject {
            request,
            voter,
            comment,
            heard,
        }) => typing_window::reject(model, frame, body, *request, *voter, (&comment.text, *heard)),
        Some(Modal::Reason {
            purpose,
            answers,
            input,
        }) => typing_window::reason(model, frame, body, purpose, answers, &input.text),
        Some(
            modal @ (Modal::Failure { at, .. }
            | Modal::Doubt { at, .. }
            | Modal::Rollback { at }
            | Modal::Leave { at }
            | Modal::End { at, .. }
            | Modal::Seat { at }),
        ) => decide_window::draw(model, frame, body, modal, *at),
        Some(Modal::Help { scroll, .. }) => reading_window::help(model, frame, body, *scroll),
        Some(Modal::Summary { scroll }) => reading_window::summary(model, frame, body, *scroll),
    }
}
