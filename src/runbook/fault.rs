//! Faults of a runbook: where, what, and what to do next. Rendering with the source line and a caret.

use std::fmt::Write;

use super::sources::Sources;

/// A place in the runbook, counted from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Place {
    /// Which of the runbook's files: 0 is the runbook itself, the others are `Sources`' parts in their order.
    pub file: u16,
    pub line: u32,
    pub col: u32,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub place: Place,
    pub severity: Severity,
    pub message: String,
    pub hint: Option<String>,
}

impl Fault {
    /// An error at `place`.
    pub fn new(place: Place, message: impl Into<String>) -> Self {
        Self {
            place,
            severity: Severity::Error,
            message: message.into(),
            hint: None,
        }
    }

    /// With what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Whether any of them is an error.
pub fn any_error(faults: &[Fault]) -> bool {
    faults.iter().any(|fault| fault.severity == Severity::Error)
}

/// All faults for people: `file:line:col: error: …`, the line, a caret, the hint. `main` is the runbook's name; the
/// files that it includes are named as it names them.
pub fn render(faults: &[Fault], main: &str, sources: &Sources<'_>) -> String {
    let texts: Vec<_> = sources.files().map(String::from_utf8_lossy).collect();
    let lines: Vec<Vec<&str>> = texts.iter().map(|text| text.lines().collect()).collect();
    let mut out = String::new();
    for fault in faults {
        let word = match fault.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let Place { file, line, col } = fault.place;
        let lines = lines.get(usize::from(file));
        let file = sources.name(file).unwrap_or(main);
        let _infallible = writeln!(out, "{file}:{line}:{col}: {word}: {}", fault.message);
        let index = usize::try_from(line).unwrap_or(0).saturating_sub(1);
        if let Some(source) = lines.and_then(|lines| lines.get(index)) {
            let start = usize::try_from(col).unwrap_or(1).saturating_sub(1);
            // A long line is shown around its fault.
            let from = start.saturating_sub(60);
            let shown: String = source.chars().skip(from).take(120).map(plain).collect();
            let _infallible = writeln!(out, "{line:>5} | {shown}");
            let _infallible = writeln!(out, "      | {}^", " ".repeat(start - from));
        }
        if let Some(hint) = &fault.hint {
            let _infallible = writeln!(out, "      = {hint}");
        }
    }
    out
}

fn plain(ch: char) -> char {
    if ch == '\t' || crate::runbook::text::unseen(ch) {
        ' '
    } else {
        ch
    }
}

/// "did you mean …?" among `known`, when one is near.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(word, name), name))
        .filter(|(distance, name)| *distance <= 1 + name.chars().count() / 3)
        .min()
        .map(|(_, name)| format!("did you mean {name}?"))
}
