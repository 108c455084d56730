//! A row's text and its hash: expression version 1. Fields are joined by commas so that no two rows render alike: NULL is
//! `N`; a text is its length in bytes, a colon and its bytes; everything else has neither commas nor colons in the wrong
//! place, being a number, a date, hexadecimal. Pure.

use sha2::{Digest, Sha256};

use super::form::Form;
use crate::provider::sql::session::Cells;

/// The version of what is hashed. Checksums of different versions are not compared.
pub const EXPRESSION: u32 = 1;

/// Writes rows and hashes them.
#[derive(Debug, Clone)]
pub struct Composer {
    forms: Vec<Form>,
    row: Vec<u8>,
    field: Vec<u8>,
}

impl Composer {
    /// For rows whose cells have these forms.
    pub fn new(forms: Vec<Form>) -> Self {
        Self {
            forms,
            row: Vec::new(),
            field: Vec::new(),
        }
    }

    /// The text of a row.
    pub fn text(&mut self, cells: &Cells) -> &[u8] {
        self.row.clear();
        for (index, form) in self.forms.iter().enumerate() {
            if index > 0 {
                self.row.push(b',');
            }
            field(*form, cells.get(index), &mut self.field, &mut self.row);
        }
        &self.row
    }

    /// The hash of a row.
    pub fn hash(&mut self, cells: &Cells) -> u64 {
        hash(self.text(cells))
    }

    /// The text of some of a row's fields.
    pub fn part(&mut self, cells: &Cells, fields: &[usize]) -> &[u8] {
        self.row.clear();
        for (position, index) in fields.iter().enumerate() {
            if position > 0 {
                self.row.push(b',');
            }
            if let Some(form) = self.forms.get(*index) {
                field(*form, cells.get(*index), &mut self.field, &mut self.row);
            }
        }
        &self.row
    }

    /// One value as it is compared; nothing where it is NULL.
    pub fn value(&mut self, cells: &Cells, index: usize) -> Option<String> {
        let form = self.forms.get(index)?;
        let text = cells.get(index)?;
        self.field.clear();
        form.write(text, &mut self.field);
        Some(String::from_utf8_lossy(&self.field).into_owned())
    }
}

fn field(form: Form, text: Option<&[u8]>, scratch: &mut Vec<u8>, row: &mut Vec<u8>) {
    match text {
        None => row.push(b'N'),
        Some(text) if form.is_free() => {
            let text = if form == Form::Text {
                text
            } else {
                scratch.clear();
                form.write(text, scratch);
                scratch
            };
            row.extend_from_slice(itoa::Buffer::new().format(text.len()).as_bytes());
            row.push(b':');
            row.extend_from_slice(text);
        }
        Some(text) => {
            let start = row.len();
            if !form.write(text, row) && !is_plain(text) {
                row.truncate(start);
                row.push(b'?');
                row.extend_from_slice(itoa::Buffer::new().format(text.len()).as_bytes());
                row.push(b':');
                row.extend_from_slice(text);
            }
        }
    }
}

/// Whether a text that could not be read, such as `infinity`, can stand in a row without being taken for something else.
fn is_plain(text: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'.' | b':' | b'+' | b'-');
    text != b"N" && !text.is_empty() && text.iter().all(plain)
}

/// The first 64 bits of the SHA-256 of a text.
pub fn hash(text: &[u8]) -> u64 {
    let digest = Sha256::digest(text);
    digest.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// How many rows, and the sum of their hashes modulo 2⁶⁴.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    pub rows: u64,
    pub hash: u64,
}

impl Sum {
    /// A row more.
    pub fn add(&mut self, hash: u64) {
        self.rows += 1;
        self.hash = self.hash.wrapping_add(hash);
    }

    /// Both together.
    pub fn join(&mut self, other: Self) {
        self.rows += other.rows;
        self.hash = self.hash.wrapping_add(other.hash);
    }
}

/// Where the text of a field ends that `text` begins with.
fn end(text: &[u8], form: Form) -> usize {
    let plain = || text.iter().position(|byte| *byte == b',').unwrap_or(text.len());
    let end = match text {
        [b'N'] | [b'N', b',', ..] => 1,
        [b'?', body @ ..] => measured(body).map_or_else(plain, |(_, end)| end + 1),
        text if form.is_free() => measured(text).map_or_else(plain, |(_, end)| end),
        _ => plain(),
    };
    end.min(text.len())
}

/// The texts of a row's fields, as they stand in it.
pub fn parts<'a>(text: &'a [u8], forms: &[Form]) -> Vec<&'a [u8]> {
    let mut rest = text;
    let mut parts = Vec::with_capacity(forms.len());
    for (index, form) in forms.iter().enumerate() {
        if index > 0 {
            rest = rest.strip_prefix(b",").unwrap_or(rest);
        }
        let (part, after) = rest.split_at(end(rest, *form));
        parts.push(part);
        rest = after;
    }
    parts
}

/// The values that a row's text, or a key's, was written of; nothing where one is NULL.
pub fn split(text: &[u8], forms: &[Form]) -> Vec<Option<String>> {
    let value = |part: &[u8], form: &Form| {
        let bare = part.strip_prefix(b"?");
        let value = match (bare, part) {
            (_, b"N") => return None,
            (Some(body), _) => measured(body).and_then(|(from, to)| body.get(from..to)),
            (None, part) if form.is_free() => measured(part).and_then(|(from, to)| part.get(from..to)),
            (None, part) => Some(part),
        };
        Some(String::from_utf8_lossy(value.unwrap_or(part)).into_owned())
    };
    parts(text, forms)
        .into_iter()
        .zip(forms)
        .map(|(part, form)| value(part, form))
        .collect()
}

/// Where a text with its length in front begins and ends.
fn measured(text: &[u8]) -> Option<(usize, usize)> {
    let colon = text.iter().position(|byte| *byte == b':')?;
    let length: usize = std::str::from_utf8(text.get(..colon)?).ok()?.parse().ok()?;
    Some((colon + 1, colon + 1 + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(forms: &[Form], values: &[Option<&str>]) -> String {
        let mut cells = Cells::default();
        for value in values {
            cells.push_or_null(value.map(str::as_bytes));
        }
        String::from_utf8_lossy(Composer::new(forms.to_vec()).text(&cells)).into_owned()
    }

    #[test]
    fn no_two_rows_render_alike() {
        let texts = [Form::Text, Form::Text];
        let seen = [
            row(&texts, &[Some("a"), Some("b")]),
            row(&texts, &[Some("a,1:b"), Some("")]),
            row(&texts, &[Some("a"), None]),
            row(&texts, &[Some("a"), Some("N")]),
            row(&texts, &[Some("a"), Some("")]),
            row(&texts, &[None, Some("a")]),
            row(&texts, &[Some(""), Some("a")]),
            row(&texts, &[Some("a "), Some("b")]),
        ];
        for (index, one) in seen.iter().enumerate() {
            assert!(seen.iter().skip(index + 1).all(|other| one != other), "{one}");
        }
    }

    #[test]
    fn a_row_is_taken_apart_as_it_was_put_together() {
        let forms = [Form::Loose, Form::Text, Form::Date, Form::Text, Form::DateTime(0)];
        let values = [Some("NaN"), Some("a,N,1:b"), None, Some(""), Some("odd, very")];
        let text = row(&forms, &values);
        let back = split(text.as_bytes(), &forms);
        assert_eq!(back, values.map(|value| value.map(str::to_owned)), "{text}");
        assert_eq!(parts(text.as_bytes(), &forms).join(&b','), text.as_bytes());
    }

    #[test]
    fn a_row_is_what_the_engines_are_told_to_write() {
        let forms = [
            Form::Whole,
            Form::Text,
            Form::Fixed(2),
            Form::DateTime(6),
            Form::Trimmed,
            Form::Hex,
            Form::Uuid,
        ];
        let values = [
            Some("7"),
            Some("Grüße "),
            Some("-0.5"),
            Some("2026-01-02 03:04:05.5"),
            Some("ab  "),
            Some("\\x00FF"),
            Some("00112233-4455-6677-8899-AABBCCDDEEFF"),
        ];
        assert_eq!(
            row(&forms, &values),
            "7,8:Grüße ,-0.50,2026-01-02 03:04:05.500000,2:ab,00ff,00112233-4455-6677-8899-aabbccddeeff"
        );
        // `printf 'abc' | sha256sum`.
        assert_eq!(hash(b"abc"), 0xba78_16bf_8f01_cfea);
    }
}
