//! Colours and marks. The terminal's own sixteen colours, never as the only bearer of a meaning; without colour the
//! same words stay, carried by bold and reverse video.

use ratatui::style::{Color, Modifier, Style};

use crate::runbook::plan::EnvironmentKind;

/// The styles of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    /// False under `NO_COLOR`.
    pub color: bool,
}

impl Theme {
    fn colored(self, style: Style, color: Color) -> Style {
        if self.color { style.fg(color) } else { style }
    }

    /// The bar that names the environment.
    pub fn environment(self, kind: EnvironmentKind, dry_run: bool) -> Style {
        let style = Style::new().add_modifier(Modifier::BOLD);
        if !self.color {
            return style.add_modifier(Modifier::REVERSED);
        }
        match (dry_run, kind) {
            (true, _) => style.fg(Color::Black).bg(Color::Magenta),
            (false, EnvironmentKind::Lab) => style.fg(Color::Black).bg(Color::Cyan),
            (false, EnvironmentKind::Rehearsal) => style.fg(Color::Black).bg(Color::Yellow),
            (false, EnvironmentKind::Production) => style.fg(Color::White).bg(Color::Red),
        }
    }

    /// Text as it is.
    pub const fn plain(self) -> Style {
        Style::new()
    }

    /// Headings and keys.
    pub const fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What matters less.
    pub const fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// What went well.
    pub fn good(self) -> Style {
        self.colored(Style::new(), Color::Green)
    }

    /// What asks for attention.
    pub fn warn(self) -> Style {
        self.colored(Style::new().add_modifier(Modifier::BOLD), Color::Yellow)
    }

    /// What went wrong.
    pub fn bad(self) -> Style {
        self.colored(Style::new().add_modifier(Modifier::BOLD), Color::Red)
    }

    /// What is under way.
    pub fn busy(self) -> Style {
        self.colored(Style::new(), Color::Blue)
    }

    /// The row that keys act on.
    pub const fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// The frame of a pane.
    pub const fn frame(self, focused: bool) -> Style {
        if focused {
            Style::new().add_modifier(Modifier::BOLD)
        } else {
            Style::new().add_modifier(Modifier::DIM)
        }
    }
}
