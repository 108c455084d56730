//! How the values of a pair of columns are written so that equal values are equal bytes, whichever engine has them; and
//! what such a writing cannot tell apart. Pure.

use super::decimal;
use super::json;
use super::kind::{Column, Kind, Trait};

/// A way to write a value. What an engine gives is brought to it by `write`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A whole number; yes and no are 1 and 0.
    Whole,
    /// A decimal number with so many digits after the point.
    Fixed(u32),
    /// A decimal number with the digits that it needs.
    Loose,
    /// The bits of a floating point number; -0 is 0, every NaN is one.
    Float {
        single: bool,
    },
    /// A text as it is.
    Text,
    /// A text without the spaces at its end.
    Trimmed,
    /// Bytes in lower-case hexadecimal.
    Hex,
    Date,
    /// A time of day, or a span, with so many digits of a second.
    Time(u32),
    /// Date and time with so many digits of a second.
    DateTime(u32),
    /// A UUID in 36 characters (RFC 9562, section 4), lower-case.
    Uuid,
    /// A JSON document, whoever wrote it.
    Json,
}

impl Form {
    /// Whether its texts can hold any character, so that their length is written in front.
    pub const fn is_free(self) -> bool {
        matches!(self, Self::Text | Self::Trimmed | Self::Json)
    }

    /// Writes a value that an engine gave as `text`. What it cannot read it writes as it is, and says false.
    pub fn write(self, text: &[u8], out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let read = match self {
            Self::Whole => whole(text, out),
            Self::Fixed(scale) => {
                let as_it_is = decimal::is_written(text, scale);
                if as_it_is {
                    out.extend_from_slice(text);
                }
                as_it_is || boolean(text, out) || decimal::write(text, Some(scale), out)
            }
            Self::Loose => boolean(text, out) || decimal::write(text, None, out),
            Self::Float { single } => float(text, single, out),
            Self::Text => {
                out.extend_from_slice(text);
                true
            }
            Self::Trimmed => {
                let end = text.iter().rposition(|byte| *byte != b' ').map_or(0, |at| at + 1);
                out.extend_from_slice(text.get(..end).unwrap_or_default());
                true
            }
            Self::Hex => {
                let hex = text.strip_prefix(b"\\x").unwrap_or(text);
                out.extend(hex.iter().map(u8::to_ascii_lowercase));
                true
            }
            Self::Date => date(text, out),
            Self::Time(fraction) => time(text, fraction, out),
            Self::DateTime(fraction) => date_time(text, fraction, out),
            Self::Uuid => uuid(text, out),
            Self::Json => json::write(text, out),
        };
        if !read {
            out.truncate(start);
            out.extend_from_slice(text);
        }
        read
    }
}

fn boolean(text: &[u8], out: &mut Vec<u8>) -> bool {
    match text {
        b"t" | b"true" => out.push(b'1'),
        b"f" | b"false" => out.push(b'0'),
        _ => return false,
    }
    true
}

fn whole(text: &[u8], out: &mut Vec<u8>) -> bool {
    // Most come as they are to be written.
    if let [b'1'..=b'9', rest @ ..] | [b'-', b'1'..=b'9', rest @ ..] = text
        && rest.iter().all(u8::is_ascii_digit)
    {
        out.extend_from_slice(text);
        return true;
    }
    boolean(text, out) || decimal::write(text, Some(0), out)
}

fn float(text: &[u8], single: bool, out: &mut Vec<u8>) -> bool {
    let Ok(text) = std::str::from_utf8(text) else {
        return false;
    };
    let bits = if single {
        text.parse::<f32>().map(|value| {
            let value = if value.is_nan() { f32::NAN } else { value + 0.0 };
            format!("{:08x}", value.to_bits())
        })
    } else {
        text.parse::<f64>().map(|value| {
            let value = if value.is_nan() { f64::NAN } else { value + 0.0 };
            format!("{:016x}", value.to_bits())
        })
    };
    let Ok(bits) = bits else { return false };
    out.extend_from_slice(bits.as_bytes());
    true
}

/// Digits of a second, as many as `least`; more where there are more that are not zero. What follows them is given back.
fn fraction<'a>(text: &'a [u8], least: u32, out: &mut Vec<u8>) -> &'a [u8] {
    let (digits, rest) = match text {
        [b'.' | b',', rest @ ..] => {
            let end = rest
                .iter()
                .position(|byte| !byte.is_ascii_digit())
                .unwrap_or(rest.len());
            rest.split_at(end)
        }
        rest => (&[][..], rest),
    };
    let least = usize::try_from(least).unwrap_or(0);
    let needed = digits.iter().rposition(|byte| *byte != b'0').map_or(0, |at| at + 1);
    if needed.max(least) > 0 {
        out.push(b'.');
        out.extend_from_slice(digits.get(..needed).unwrap_or_default());
        out.resize(out.len() + least.saturating_sub(needed), b'0');
    }
    rest
}

/// Whether a byte is what a shape has there: a digit for `9`, else itself.
const fn like(byte: u8, shape: u8) -> bool {
    match shape {
        b'9' => byte.is_ascii_digit(),
        other => byte == other,
    }
}

fn shaped(text: &[u8], shape: &[u8]) -> bool {
    text.len() == shape.len() && text.iter().zip(shape).all(|(byte, shape)| like(*byte, *shape))
}

fn date(text: &[u8], out: &mut Vec<u8>) -> bool {
    let (day, rest) = text.split_at(text.len().min(10));
    // Some engines keep a day with a time that is midnight.
    let midnight = match rest {
        [] => true,
        [b' ' | b'T', time @ ..] => time.iter().all(|byte| matches!(byte, b'0' | b':' | b'.' | b'Z')),
        _ => false,
    };
    if !shaped(day, b"9999-99-99") || !midnight {
        return false;
    }
    out.extend_from_slice(day);
    true
}

fn time(text: &[u8], digits: u32, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    // A span may have more hours than a day has.
    let hours = text.iter().position(|byte| *byte == b':').unwrap_or(0);
    let (whole, clock) = text.split_at(hours);
    let (clock, rest) = clock.split_at(clock.len().min(6));
    if whole.is_empty() || !whole.iter().all(u8::is_ascii_digit) || !shaped(clock, b":99:99") {
        return false;
    }
    let leading = whole.iter().take_while(|byte| **byte == b'0').count();
    let whole = whole
        .get(leading.min(whole.len().saturating_sub(2))..)
        .unwrap_or_default();
    if negative {
        out.push(b'-');
    }
    if whole.len() < 2 {
        out.push(b'0');
    }
    out.extend_from_slice(whole);
    out.extend_from_slice(clock);
    let read = fraction(rest, digits, out).is_empty();
    // Nothing is nothing, whatever its sign.
    let nothing = |written: &[u8]| !written.iter().any(|byte| matches!(byte, b'1'..=b'9'));
    if negative && out.get(start..).is_some_and(nothing) {
        out.remove(start);
    }
    read
}

fn date_time(text: &[u8], digits: u32, out: &mut Vec<u8>) -> bool {
    // Most come as they are to be written.
    if let Some((moment, rest)) = text.split_first_chunk::<19>()
        && moment
            .iter()
            .zip(b"9999-99-99 99:99:99")
            .fold(true, |same, (byte, shape)| same & like(*byte, *shape))
        && match rest {
            [] => digits == 0,
            [b'.', rest @ ..] => {
                digits > 0 && u32::try_from(rest.len()) == Ok(digits) && rest.iter().all(u8::is_ascii_digit)
            }
            _ => false,
        }
    {
        out.extend_from_slice(text);
        return true;
    }
    let (day, rest) = text.split_at(text.len().min(10));
    if !shaped(day, b"9999-99-99") {
        return false;
    }
    out.extend_from_slice(day);
    out.push(b' ');
    let (clock, rest) = match rest {
        [] => (&b"00:00:00"[..], rest),
        [b' ' | b'T', rest @ ..] => rest.split_at(rest.len().min(8)),
        _ => return false,
    };
    let (clock, rest) = if shaped(clock, b"99:99:99") {
        (clock, rest)
    } else {
        return false;
    };
    out.extend_from_slice(clock);
    matches!(fraction(rest, digits, out), b"" | b"Z" | b"+00" | b"+00:00")
}

fn uuid(text: &[u8], out: &mut Vec<u8>) -> bool {
    // A text may be filled with spaces.
    let end = text.iter().rposition(|byte| *byte != b' ').map_or(0, |at| at + 1);
    let text = text.get(..end).unwrap_or_default();
    let hex = |byte: &&u8| !matches!(byte, b'-' | b'{' | b'}');
    if text.iter().filter(hex).count() != 32 || !text.iter().filter(hex).all(u8::is_ascii_hexdigit) {
        return false;
    }
    for (index, byte) in text.iter().filter(hex).enumerate() {
        if matches!(index, 8 | 12 | 16 | 20) {
            out.push(b'-');
        }
        out.push(byte.to_ascii_lowercase());
    }
    true
}

/// What a pair of columns is written as, on either side, and what has to be said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pairing {
    pub source: Form,
    pub target: Form,
    pub notes: Vec<String>,
}

/// How two columns are compared; a reason where they cannot be.
pub fn pair(source: &Column, target: &Column) -> Result<Pairing, String> {
    let name = &source.name;
    let both = |form: Form| (form, form);
    let mut notes = Vec::new();
    let text = |column: &Column| match column.kind {
        Kind::Text { fixed: true } => Form::Trimmed,
        _ => Form::Text,
    };
    let exact = |kind: &Kind| match kind {
        Kind::Boolean | Kind::Integer => Some(0),
        Kind::Decimal { scale } => *scale,
        _ => None,
    };
    let (left, right) = match (&source.kind, &target.kind) {
        (Kind::Boolean | Kind::Integer, Kind::Boolean | Kind::Integer) => both(Form::Whole),
        (
            one @ (Kind::Boolean | Kind::Integer | Kind::Decimal { .. }),
            other @ (Kind::Boolean | Kind::Integer | Kind::Decimal { .. }),
        ) => {
            if let (Some(had), Some(has)) = (exact(one), exact(other))
                && has < had
            {
                notes.push(format!(
                    "{name}: {} keeps {has} of {had} digits after the point; values that had more are shown as changed",
                    target.declared
                ));
            }
            both(match (exact(one), exact(other)) {
                (Some(one), Some(other)) => Form::Fixed(one.max(other)),
                _ => Form::Loose,
            })
        }
        (Kind::Float { single: one }, Kind::Float { single: other }) => {
            let single = *one || *other;
            if one != other {
                notes.push(format!(
                    "{name}: compared in single precision, which is all that one side has"
                ));
            }
            notes.push(format!(
                "{name}: floating point, compared bit by bit; -0 and 0 are one value"
            ));
            both(Form::Float { single })
        }
        (Kind::Float { single }, Kind::Decimal { .. } | Kind::Integer)
        | (Kind::Decimal { .. } | Kind::Integer, Kind::Float { single }) => {
            let digits = if *single { 24 } else { 53 };
            notes.push(format!(
                "{name}: {} against {}: compared as floating point of {digits} bits; decimals that differ by less are one value",
                source.declared, target.declared
            ));
            both(Form::Float { single: *single })
        }
        (Kind::Text { fixed: one }, Kind::Text { fixed: other }) => {
            if *one || *other {
                notes.push(format!(
                    "{name}: spaces at the end are no part of a fixed-length text, and are cut on {}",
                    match (one, other) {
                        (true, true) => "both sides",
                        (true, false) => "the source",
                        _ => "the target",
                    }
                ));
            }
            (text(source), text(target))
        }
        (Kind::Binary, Kind::Binary) => both(Form::Hex),
        (Kind::Date, Kind::Date) => both(Form::Date),
        (Kind::Time { fraction: one }, Kind::Time { fraction: other }) => {
            fraction_note(source, target, *one, *other, &mut notes);
            both(Form::Time(*one.max(other)))
        }
        (
            Kind::DateTime { fraction: one, zoned },
            Kind::DateTime {
                fraction: other,
                zoned: there,
            },
        ) => {
            fraction_note(source, target, *one, *other, &mut notes);
            if zoned != there {
                notes.push(format!(
                    "{name}: {} against {}: the one without a zone is read as UTC",
                    source.declared, target.declared
                ));
            }
            both(Form::DateTime(*one.max(other)))
        }
        (Kind::Date, Kind::DateTime { fraction, .. }) | (Kind::DateTime { fraction, .. }, Kind::Date) => {
            notes.push(format!("{name}: a day without a time is read as its midnight"));
            both(Form::DateTime(*fraction))
        }
        (Kind::Uuid, Kind::Uuid) => both(Form::Uuid),
        (Kind::Uuid, Kind::Text { .. }) | (Kind::Text { .. }, Kind::Uuid) => {
            notes.push(format!(
                "{name}: {} against {}: compared as UUIDs, whatever their case, with or without dashes, braces and spaces at \
                 the end; a text that is none differs",
                source.declared, target.declared
            ));
            both(Form::Uuid)
        }
        (Kind::Uuid, Kind::Binary) if target.trait_ == Trait::Sixteen => sixteen(name, &mut notes),
        (Kind::Binary, Kind::Uuid) if source.trait_ == Trait::Sixteen => sixteen(name, &mut notes),
        (Kind::Json, Kind::Json | Kind::Text { .. }) | (Kind::Text { .. }, Kind::Json) => {
            notes.push(format!(
                "{name}: JSON, compared by what it says: order of keys, blanks and the spelling of numbers do not count"
            ));
            both(Form::Json)
        }
        (Kind::Other, _) | (_, Kind::Other) => {
            notes.push(format!(
                "{name}: {} against {}: compared by the text that each engine gives",
                source.declared, target.declared
            ));
            both(Form::Text)
        }
        (
            Kind::Boolean
            | Kind::Integer
            | Kind::Decimal { .. }
            | Kind::Float { .. }
            | Kind::Text { .. }
            | Kind::Binary
            | Kind::Date
            | Kind::Time { .. }
            | Kind::DateTime { .. }
            | Kind::Uuid
            | Kind::Json,
            _,
        ) => {
            return Err(format!(
                "{name}: {} on the source and {} on the target hold different things",
                source.declared, target.declared
            ));
        }
    };
    Ok(Pairing {
        source: left,
        target: right,
        notes,
    })
}

fn sixteen(name: &str, notes: &mut Vec<String>) -> (Form, Form) {
    notes.push(format!(
        "{name}: sixteen bytes are read as a UUID in network order (RFC 9562)"
    ));
    (Form::Uuid, Form::Uuid)
}

fn fraction_note(source: &Column, target: &Column, one: u32, other: u32, notes: &mut Vec<String>) {
    if other < one {
        notes.push(format!(
            "{}: {} keeps {other} of {one} digits of a second; values that had more are shown as changed",
            source.name, target.declared
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_moment_is_written_the_same_by_the_short_way_and_the_long_one(
            text in "202[0-9]-1[0-9]-[01][0-9][ T][0-2][0-9]:59:0[0-9]([.,][0-2]{0,7})?[+ ]?",
            digits in 0..8_u32,
        ) {
            // A zone at its end is read by the long way alone.
            let write = |text: &str| {
                let mut out = Vec::new();
                Form::DateTime(digits).write(text.as_bytes(), &mut out).then_some(out)
            };
            let long = write(&format!("{text}Z"));
            prop_assert_eq!(write(&text), long, "{}", text);
        }
    }
}
