//! One spelling for what means the same: names without or with their final dot and in any case, addresses of IPv6 in any
//! of their forms, TXT in any quoting. What Route 53 lists and what a server answers are compared in it. Pure; must not
//! judge.
//!
//! Record data is read by hickory's own parsers, save TXT: Route 53 writes bytes in its escapes in octal, master files in
//! decimal (RFC 1035, section 5.1).

use std::str::FromStr;

use hickory_proto::rr::{Name, RData, RecordType};

/// The longest string in a TXT record, in bytes (RFC 1035, section 3.3).
pub const LONGEST_STRING: usize = 255;

/// A value as Route 53 takes it, in the one spelling; what cannot be read stays as it is.
pub fn canonical(kind: &str, value: &str) -> String {
    let value = value.trim();
    if kind == "TXT" {
        return strings(value).map_or_else(|| value.to_owned(), |strings| quoted(&strings));
    }
    let data = RecordType::from_str(kind).map(|kind| RData::try_from_str(kind, value));
    match data {
        Ok(Ok(data)) => of(&data),
        Ok(Err(_)) | Err(_) => value.to_owned(),
    }
}

/// What a server answered, in the same spelling.
pub fn of(data: &RData) -> String {
    match data {
        RData::CNAME(name) => host(name),
        RData::NS(name) => host(name),
        RData::PTR(name) => host(name),
        RData::MX(mx) => format!("{} {}", mx.preference, host(&mx.exchange)),
        RData::SRV(srv) => format!("{} {} {} {}", srv.priority, srv.weight, srv.port, host(&srv.target)),
        RData::TXT(txt) => quoted(&txt.txt_data),
        other => other.to_string(),
    }
}

fn host(name: &Name) -> String {
    let mut text = name.to_lowercase().to_ascii();
    if !text.ends_with('.') {
        text.push('.');
    }
    text
}

/// The strings of a TXT value: quoted, with `\"`, `\\` and bytes as three octal digits. Nothing where it is none.
pub fn strings(value: &str) -> Option<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    let mut rest = value.trim_start();
    while !rest.is_empty() {
        let (string, after) = string(rest.strip_prefix('"')?)?;
        found.push(string);
        rest = after.trim_start();
    }
    (!found.is_empty()).then_some(found)
}

/// A string up to its closing quote, and what comes after that.
fn string(text: &str) -> Option<(Vec<u8>, &str)> {
    let mut bytes = Vec::new();
    let mut rest = text;
    loop {
        let next = rest.chars().next()?;
        rest = rest.get(next.len_utf8()..)?;
        match next {
            '"' => return Some((bytes, rest)),
            '\\' => {
                let octal = rest.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
                if let Some(byte) = octal {
                    bytes.push(byte);
                    rest = rest.get(3..)?;
                } else {
                    let escaped = rest.chars().next()?;
                    rest = rest.get(escaped.len_utf8()..)?;
                    bytes.extend(escaped.to_string().as_bytes());
                }
            }
            other => bytes.extend(other.to_string().as_bytes()),
        }
    }
}

fn quoted(strings: &[impl AsRef<[u8]>]) -> String {
    let each: Vec<String> = strings
        .iter()
        .map(|string| {
            let inside: String = string
                .as_ref()
                .iter()
                .map(|&byte| match byte {
                    b'"' | b'\\' => format!("\\{}", char::from(byte)),
                    b' '..=b'~' => char::from(byte).to_string(),
                    byte => format!("\\{byte:03o}"),
                })
                .collect();
            format!("\"{inside}\"")
        })
        .collect();
    each.join(" ")
}

/// A record's name in the one spelling: lower-case, with its final dot, `*` for what Route 53 lists as `\052`.
pub fn name(name: &str) -> String {
    let name = name.to_lowercase().replace("\\052", "*");
    if name.ends_with('.') { name } else { format!("{name}.") }
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, TXT};

    use super::*;

    #[test]
    fn what_means_the_same_is_spelled_the_same() {
        let cases: [(&str, &[&str], &str); 6] = [
            (
                "CNAME",
                &["New.Example.com", "new.example.COM.", " new.example.com. "],
                "new.example.com.",
            ),
            (
                "MX",
                &["10 Mail.example.com", "10  mail.example.com."],
                "10 mail.example.com.",
            ),
            (
                "AAAA",
                &["2001:DB8:0:0:0:0:0:1", "2001:db8::0001", "2001:db8::1"],
                "2001:db8::1",
            ),
            ("SRV", &["1 10 5269 XMPP.example.com"], "1 10 5269 xmpp.example.com."),
            (
                "TXT",
                &["\"a\" \"b\"", "\"a\"   \"b\"", "\"\\141\" \"b\""],
                "\"a\" \"b\"",
            ),
            ("A", &["192.0.2.1"], "192.0.2.1"),
        ];
        for (kind, spellings, one) in cases {
            for spelling in spellings {
                assert_eq!(canonical(kind, spelling), one, "{kind} {spelling}");
            }
        }
        // Text has a case, strings have borders.
        assert_ne!(canonical("TXT", "\"A\""), canonical("TXT", "\"a\""));
        assert_ne!(canonical("TXT", "\"a\" \"b\""), canonical("TXT", "\"ab\""));
        // What cannot be read is itself.
        assert_eq!(canonical("TXT", "no quotes"), "no quotes");
        assert_eq!(canonical("A", "nowhere"), "nowhere");
    }

    #[test]
    fn an_answer_is_spelled_as_route_53_would() -> Result<(), Box<dyn std::error::Error>> {
        let cases = [
            (RData::A(A::new(192, 0, 2, 1)), "A", "192.0.2.1"),
            (RData::AAAA(AAAA("2001:db8::1".parse()?)), "AAAA", "2001:0db8::0001"),
            (
                RData::CNAME(CNAME(Name::from_str("NEW.example.com.")?)),
                "CNAME",
                "new.example.com",
            ),
            (
                RData::MX(MX::new(10, Name::from_str("mail.example.com.")?)),
                "MX",
                "10 MAIL.example.com",
            ),
            (
                RData::TXT(TXT::from_bytes(vec![b"say \"a\\b\"", b"ex\xe4mple\t", b""])),
                "TXT",
                "\"say \\\"a\\\\b\\\"\" \"ex\\344mple\\011\" \"\"",
            ),
        ];
        for (data, kind, listed) in cases {
            assert_eq!(of(&data), canonical(kind, listed), "{kind} {listed}");
        }
        Ok(())
    }

    #[test]
    fn texts_that_are_no_strings_are_none() {
        for bad in ["", "abc", "\"open", "\"a\" b", "\"end\\"] {
            assert_eq!(strings(bad), None, "{bad}");
        }
        assert_eq!(strings("\"\""), Some(vec![Vec::new()]));
        // Not octal: an escaped character, then text.
        assert_eq!(strings("\"\\989\""), Some(vec![b"989".to_vec()]));
    }

    #[test]
    fn names_are_known_in_every_spelling() {
        assert_eq!(name("ERP.example.com"), "erp.example.com.");
        assert_eq!(name("\\052.example.com."), name("*.example.com"));
    }
}
