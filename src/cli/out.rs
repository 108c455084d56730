//! Standard output and standard error. A reader that has gone away ends the printing, never the program's work.

use std::io::{self, IsTerminal, Write};

use super::args::ColorChoice;
use super::trouble::Trouble;

/// Where and how verbs print.
#[derive(Debug, Clone, Copy)]
pub struct Out {
    color: ColorChoice,
}

impl Out {
    /// Output in colour as chosen; `auto` asks the terminal and `NO_COLOR` (no-color.org).
    pub const fn new(color: ColorChoice) -> Self {
        Self { color }
    }

    /// Whether a stream gets colour.
    pub fn is_colored(self, stream: &impl IsTerminal) -> bool {
        match self.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                !refused && stream.is_terminal()
            }
        }
    }

    /// Prints a text on standard output.
    pub fn text(self, text: &str) {
        // A reader that closed the pipe has read enough.
        let _gone = write_all(&mut io::stdout().lock(), text);
    }

    /// Replaces the line that says how far it is, on a terminal's standard error.
    pub fn progress(self, line: &str) {
        // A line that wraps cannot be replaced.
        let columns = rustix::termios::tcgetwinsize(io::stderr()).map_or(80, |size| usize::from(size.ws_col));
        let shown: String = line.chars().take(columns.max(20) - 1).collect();
        let _gone = write_all(&mut io::stderr().lock(), &format!("\r\u{1b}[K{shown}"));
    }

    /// Says on standard error how far it is, where nothing can be replaced: a pipe, a file.
    pub fn still(self, line: &str) {
        let _gone = write_all(&mut io::stderr().lock(), &format!("{line}\n"));
    }

    /// Prints a line on standard output.
    pub fn line(self, line: &str) {
        self.text(&format!("{line}\n"));
    }

    /// Prints faults that are rendered already on standard error.
    pub fn faults(self, text: &str) {
        let shown = if self.is_colored(&io::stderr()) {
            text.replace(": error: ", ": \u{1b}[1;31merror\u{1b}[0m: ")
                .replace(": warning: ", ": \u{1b}[1;33mwarning\u{1b}[0m: ")
        } else {
            text.to_owned()
        };
        let _gone = write_all(&mut io::stderr().lock(), &shown);
    }

    /// Prints what went wrong and what to do next on standard error.
    pub fn trouble(self, trouble: &Trouble) {
        let word = if self.is_colored(&io::stderr()) {
            "\u{1b}[1;31merror\u{1b}[0m"
        } else {
            "error"
        };
        let mut text = format!("{word}: {}\n", trouble.message);
        if let Some(hint) = &trouble.hint {
            text.push_str(&format!("  = {hint}\n"));
        }
        let _gone = write_all(&mut io::stderr().lock(), &text);
    }
}

fn write_all(to: &mut impl Write, text: &str) -> io::Result<()> {
    to.write_all(text.as_bytes())?;
    to.flush()
}
