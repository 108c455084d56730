//! Takes registered secrets out of everything before it is written or shown, in every form they are likely to appear
//! in, and makes control and bidirectional characters visible. Must run before the journal, the evidence, the log.

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};

/// Secrets shorter than this are not masked: they would mask everything.
pub const SHORTEST: usize = 8;

/// A redactor of the run's secrets.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Form and name, longest form first.
    forms: Vec<(String, String)>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor").field("forms", &self.forms.len()).finish()
    }
}

impl Redactor {
    /// A redactor of `(name, value)`.
    pub fn new<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut forms = Vec::new();
        for (name, value) in secrets {
            for form in forms_of(value) {
                forms.push((form, name.to_owned()));
            }
        }
        forms.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        Self { forms }
    }

    /// `text` without secrets and without characters that a terminal obeys.
    pub fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (form, name) in &self.forms {
            if text.contains(form.as_str()) {
                text = text.replace(form.as_str(), &format!("[secret {name}]"));
            }
        }
        visible(&text)
    }

    /// The name of a secret that `bytes` hold in any form.
    pub fn contains_secret(&self, bytes: &[u8]) -> Option<&str> {
        let text = String::from_utf8_lossy(bytes);
        self.forms
            .iter()
            .find(|(form, _)| text.contains(form.as_str()))
            .map(|(_, name)| name.as_str())
    }
}

/// The forms of a secret that are searched for.
fn forms_of(value: &str) -> Vec<String> {
    let mut forms = Vec::new();
    let mut parts = vec![value];
    parts.extend(value.lines().map(str::trim));
    for part in parts {
        if part.len() < SHORTEST {
            continue;
        }
        forms.push(part.to_owned());
        for shift in 0..3usize {
            // Three alignments; the letters at both ends depend on the neighbours and are left out.
            let mut bytes = vec![0u8; shift];
            bytes.extend_from_slice(part.as_bytes());
            for encoded in [BASE64_NOPAD.encode(&bytes), BASE64URL_NOPAD.encode(&bytes)] {
                let from = (shift * 8).div_ceil(6);
                let to = bytes.len() * 8 / 6;
                if let Some(core) = encoded.get(from..to) {
                    forms.push(core.to_owned());
                }
            }
        }
        forms.push(HEXLOWER.encode(part.as_bytes()));
        forms.push(HEXUPPER.encode(part.as_bytes()));
        forms.push(form_urlencoded::byte_serialize(part.as_bytes()).collect());
        forms.push(
            form_urlencoded::byte_serialize(part.as_bytes())
                .collect::<String>()
                .replace('+', "%20"),
        );
        let json = serde_json::Value::String(part.to_owned()).to_string();
        if let Some(inner) = json.get(1..json.len().saturating_sub(1)) {
            forms.push(inner.to_owned());
        }
    }
    forms.retain(|form| form.len() >= SHORTEST);
    forms
}

/// Control and bidirectional characters as visible escapes; line feeds and tabs stay.
pub fn visible(text: &str) -> String {
    if !text.chars().any(obeyed) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for ch in text.chars() {
        if obeyed(ch) {
            out.extend(ch.escape_unicode());
        } else {
            out.push(ch);
        }
    }
    out
}

/// Characters that change a terminal or the reading order instead of being seen.
pub const fn obeyed(ch: char) -> bool {
    match ch {
        '\n' | '\t' => false,
        '\u{00}'..='\u{1f}' | '\u{7f}'..='\u{9f}' => true,
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{61c}' => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_found() {
        let secret = "hunter2-correct horse";
        let redactor = Redactor::new([("db", secret)]);
        let encoded = data_encoding::BASE64.encode(format!("xy{secret}z").as_bytes());
        for text in [
            format!("password is {secret}!"),
            encoded,
            HEXLOWER.encode(secret.as_bytes()),
            "hunter2-correct%20horse".to_owned(),
            "hunter2-correct+horse".to_owned(),
        ] {
            assert!(redactor.redact(&text).contains("[secret db]"), "{text}");
            assert_eq!(redactor.contains_secret(text.as_bytes()), Some("db"));
        }
        assert_eq!(redactor.redact("nothing here"), "nothing here");
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        assert_eq!(
            visible("a\u{1b}]52;c;x\u{7}b\r\u{202e}"),
            "a\\u{1b}]52;c;x\\u{7}b\\u{d}\\u{202e}"
        );
    }

    #[test]
    fn a_short_secret_does_not_mask_everything() {
        assert_eq!(Redactor::new([("pin", "1234")]).redact("row 1234"), "row 1234");
    }
}
