//! Small grammars of scalars: ids, durations, times of day, characters that must not appear. Pure.

use serde_json::Value;

use super::plan::Span;

/// Whether a character is not seen as itself: controls, bidirectional and zero-width characters.
pub const fn unseen(ch: char) -> bool {
    match ch {
        '\n' | '\t' => false,
        '\u{00}'..='\u{1f}' | '\u{7f}'..='\u{9f}' => true,
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{61c}' => true,
        _ => false,
    }
}

/// `[a-z][a-z0-9_]*`
pub fn is_step_id(text: &str) -> bool {
    text.starts_with(|ch: char| ch.is_ascii_lowercase())
        && text
            .chars()
            .all(|ch| ch.is_ascii_lowercase() || ch.is_ascii_digit() || ch == '_')
}

/// `[a-z0-9-]+`
pub fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|ch| ch.is_ascii_lowercase() || ch.is_ascii_digit() || ch == '-')
}

/// A SQL identifier, also qualified by one schema.
pub fn is_identifier(text: &str) -> bool {
    let part = |part: &str| {
        part.starts_with(|ch: char| ch.is_ascii_alphabetic() || ch == '_')
            && part.chars().all(|ch| ch.is_ascii_alphanumeric() || ch == '_')
            && part.len() <= 128
    };
    let mut parts = text.split('.');
    parts.clone().count() <= 2 && parts.all(part)
}

/// Statuses of HTTP as ranges, both ends included: `200`, `"2xx"`, `[200, 204, "3xx"]`.
pub fn statuses(value: &Value) -> Option<Vec<(u16, u16)>> {
    let one = |value: &Value| match value {
        Value::Number(number) => number.as_u64().and_then(|number| u16::try_from(number).ok()),
        Value::String(text) => text.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let class = |value: &Value| {
        let digit: u16 = value.as_str()?.strip_suffix("xx")?.parse().ok()?;
        (1..=5).contains(&digit).then_some((digit * 100, digit * 100 + 99))
    };
    let range = |value: &Value| {
        let exact = one(value).filter(|status| (100..=599).contains(status));
        exact.map(|status| (status, status)).or_else(|| class(value))
    };
    match value.as_array() {
        Some(items) if items.is_empty() => None,
        Some(items) => items.iter().map(range).collect(),
        None => range(value).map(|range| vec![range]),
    }
}

/// `500ms`, `90s`, `12m`, `2h`, `14d`.
pub fn duration(text: &str) -> Option<Span> {
    let digits = text.find(|ch: char| !ch.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number
        .checked_mul(factor)
        .filter(|ms| *ms <= 10 * 366 * 86_400_000)
        .map(Span)
}

/// A duration as a runbook would write it.
pub fn duration_text(span: Span) -> String {
    for (factor, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")] {
        if span.0 >= factor && span.0.is_multiple_of(factor) {
            return format!("{}{unit}", span.0 / factor);
        }
    }
    format!("{}ms", span.0)
}

/// `HH:MM`.
pub fn is_time_of_day(text: &str) -> bool {
    chrono::NaiveTime::parse_from_str(text, "%H:%M").is_ok() && text.len() == 5
}

/// A key that names a secret.
pub fn names_a_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "api_key",
        "apikey",
        "private_key",
        "access_key",
        "credential",
    ]
    .iter()
    .any(|word| key.contains(word))
}

/// A literal that looks like a secret whatever its key.
pub fn looks_secret(text: &str) -> bool {
    let token = |prefix: &str, min: usize| {
        text.find(prefix).is_some_and(|at| {
            text.get(at + prefix.len()..).is_some_and(|rest| {
                rest.chars()
                    .take_while(|ch| ch.is_ascii_alphanumeric() || *ch == '_')
                    .count()
                    >= min
            })
        })
    };
    text.contains("-----BEGIN") && text.contains("PRIVATE KEY")
        || token("AKIA", 16)
        || token("ASIA", 16)
        || token("ghp_", 30)
        || token("github_pat_", 30)
        || token("xoxb-", 10)
}
