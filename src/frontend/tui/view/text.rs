//! Lines out of words: wrapped, indented, made safe. Must not know the model.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::projection::escape::{visible, width, wrap};

/// `text` under a first-line prefix, wrapped to `columns`; following lines are indented as far.
pub fn hanging(prefix: &str, text: &str, columns: usize, style: Style) -> Vec<Line<'static>> {
    let indent = width(prefix);
    let mut lines = Vec::new();
    for part in text.split('\n') {
        for piece in wrap(&visible(part), columns.saturating_sub(indent).max(8)) {
            let lead = if lines.is_empty() {
                prefix.to_owned()
            } else {
                " ".repeat(indent)
            };
            lines.push(Line::from(vec![Span::styled(lead, style), Span::styled(piece, style)]));
        }
    }
    lines
}

/// A named value: the name strong and as wide as the others.
pub fn named(name: &str, value: &str, columns: usize, strong: Style, style: Style) -> Vec<Line<'static>> {
    let lead = format!("{name:<10} ");
    let mut lines = Vec::new();
    for piece in wrap(&visible(value), columns.saturating_sub(11).max(8)) {
        let head = if lines.is_empty() { lead.clone() } else { " ".repeat(11) };
        lines.push(Line::from(vec![Span::styled(head, strong), Span::styled(piece, style)]));
    }
    lines
}

/// A bar of `columns` columns for a share between 0 and 1.
pub fn bar(share: f64, columns: usize) -> String {
    let columns = u32::try_from(columns).unwrap_or(0);
    let full = (share.clamp(0.0, 1.0) * f64::from(columns)).floor();
    (0..columns)
        .map(|cell| if f64::from(cell) < full { '▓' } else { '░' })
        .collect()
}

/// Left and right texts on one line of `columns` columns; the left one gives way.
pub fn both_ends(left: &str, right: &str, columns: usize) -> String {
    let right_width = width(right);
    let left = crate::projection::escape::fit(left, columns.saturating_sub(right_width + 1));
    format!("{left} {right}")
}
