//! JSON as a text that does not depend on who wrote it: keys sorted, no blanks, every number with all of its digits. Pure.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::decimal;

/// How deep a document may be nested.
const DEPTH: usize = 128;

/// Writes the document that `text` is; false where it is none, or too deep: nothing is promised of `out` then.
pub fn write(text: &[u8], out: &mut Vec<u8>) -> bool {
    serde_json::from_slice::<&RawValue>(text).is_ok_and(|raw| value(raw.get(), out, DEPTH))
}

fn value(text: &str, out: &mut Vec<u8>, depth: usize) -> bool {
    let text = text.trim();
    let Some(deeper) = depth.checked_sub(1) else {
        return false;
    };
    match text.as_bytes().first() {
        Some(b'{') => {
            // A key that comes twice means its last value, as engines that parse what they store have it.
            let Ok(members) = serde_json::from_str::<BTreeMap<String, &RawValue>>(text) else {
                return false;
            };
            out.push(b'{');
            for (index, (key, member)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                string(key, out);
                out.push(b':');
                if !value(member.get(), out, deeper) {
                    return false;
                }
            }
            out.push(b'}');
        }
        Some(b'[') => {
            let Ok(members) = serde_json::from_str::<Vec<&RawValue>>(text) else {
                return false;
            };
            out.push(b'[');
            for (index, member) in members.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                if !value(member.get(), out, deeper) {
                    return false;
                }
            }
            out.push(b']');
        }
        Some(b'"') => match serde_json::from_str::<String>(text) {
            Ok(text) => string(&text, out),
            Err(_) => return false,
        },
        Some(b'-' | b'0'..=b'9') => {
            if !decimal::write(text.as_bytes(), None, out) {
                out.extend_from_slice(text.as_bytes());
            }
        }
        Some(_) | None => out.extend_from_slice(text.as_bytes()),
    }
    true
}

fn string(text: &str, out: &mut Vec<u8>) {
    // A text can always be written.
    out.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Option<String> {
        let mut out = Vec::new();
        write(text.as_bytes(), &mut out).then(|| String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn one_document_is_one_text() {
        let one = written(r#" { "b" : [1.0, 2e2, -0], "a": "\u00e9\n" } "#);
        assert_eq!(one.as_deref(), Some("{\"a\":\"é\\n\",\"b\":[1,200,0]}"));
        assert_eq!(one, written(r#"{"a":"é\n","b":[1,200,0]}"#));
        assert_ne!(written("12345678901234567890.1"), written("12345678901234567890.2"));
        assert_ne!(written("null"), written("\"null\""));
        assert_eq!(written("{"), None);
        assert_eq!(written(&"[".repeat(4_000)), None);
    }
}
