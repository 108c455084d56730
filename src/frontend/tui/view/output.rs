//! The output pane: what is under way with its share, and every line that came, records and output alike.

use ratatui::text::Line;

use crate::frontend::tui::model::{LineKind, Model, OutputLine};
use crate::projection::escape::{clip, visible, wrap};
use crate::provider::action::Progress;

use super::text::bar;

/// The pane's titles.
pub fn title(model: &Model) -> (String, String) {
    let right = if model.output_scroll == 0 {
        "following".to_owned()
    } else {
        format!("{} lines below", model.output_scroll)
    };
    ("Output".to_owned(), right)
}

/// The lines that fit, the newest at the bottom, shares of running steps above.
pub fn lines(model: &Model, columns: usize, rows: usize) -> Vec<Line<'static>> {
    let mut shares = shares(model, columns);
    shares.truncate(rows.saturating_sub(1));
    let room = rows.saturating_sub(shares.len());
    let mut shown: Vec<Line<'static>> = Vec::new();
    for line in model.output.iter().rev().skip(model.output_scroll) {
        let mut pieces = line_of(model, line, columns);
        pieces.reverse();
        shown.extend(pieces);
        if shown.len() >= room {
            break;
        }
    }
    shown.truncate(room);
    shown.reverse();
    shares.extend(shown);
    shares
}

/// The most rows that the parts of a step take.
const PARTS: usize = 8;

fn shares(model: &Model, columns: usize) -> Vec<Line<'static>> {
    let line = |text: String| Line::styled(clip(&visible(&text), columns), model.theme.busy());
    let mut lines = Vec::new();
    for (step, progress) in &model.progress {
        let share = |done: f64, text: &str| {
            let percent = (done.clamp(0.0, 1.0) * 100.0).floor();
            format!("{step} {} {percent:>3.0} % {text}", bar(done, 12))
        };
        match progress {
            Progress::Share { done, text } => lines.push(line(share(*done, text))),
            Progress::State(text) | Progress::Line(text) => lines.push(line(format!("{step} ▶ {text}"))),
            Progress::Board { done, text, rows } => {
                lines.push(line(share(*done, text)));
                lines.extend(rows.iter().take(PARTS).map(|row| line(format!("  {row}"))));
                if let Some(more) = rows.len().checked_sub(PARTS).filter(|more| *more > 0) {
                    lines.push(line(format!("  and {more} more")));
                }
            }
        }
    }
    lines
}

fn line_of(model: &Model, line: &OutputLine, columns: usize) -> Vec<Line<'static>> {
    let time = line.at.with_timezone(&model.session.zone).format("%H:%M:%S");
    let step = line.step.as_ref().map_or_else(String::new, |step| format!("{step} "));
    let (mark, style) = match line.kind {
        LineKind::Event => ("●", model.theme.plain()),
        LineKind::Output => ("│", model.theme.faint()),
        LineKind::Note => ("✎", model.theme.strong()),
        LineKind::Notice => ("·", model.theme.plain()),
    };
    let times = match line.times {
        0 | 1 => String::new(),
        some => format!(" (×{some})"),
    };
    wrap(&format!("{time} {mark} {step}{}{times}", line.text), columns)
        .into_iter()
        .enumerate()
        .map(|(index, piece)| {
            let indent = if index == 0 { "" } else { "  " };
            Line::styled(clip(&format!("{indent}{piece}"), columns), style)
        })
        .collect()
}
