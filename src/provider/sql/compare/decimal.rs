//! Decimal numbers as text: the same number is the same text, whoever wrote it. Pure.

/// Writes the number that `text` says with `scale` digits after the point; more where it has more that are not zero. With
/// no scale, with as many as it needs. False where it is no number: nothing is written then.
pub fn write(text: &[u8], scale: Option<u32>, out: &mut Vec<u8>) -> bool {
    let (negative, rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let (mantissa, exponent) = match rest.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => match rest.get(at + 1..).and_then(integer) {
            Some(exponent) if exponent.abs() <= 400 => (rest.get(..at).unwrap_or_default(), exponent),
            Some(_) | None => return false,
        },
        None => (rest, 0),
    };
    let point = mantissa.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = match point {
        Some(at) => (
            mantissa.get(..at).unwrap_or_default(),
            mantissa.get(at + 1..).unwrap_or_default(),
        ),
        None => (mantissa, &[][..]),
    };
    if whole.is_empty() && fraction.is_empty() || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return false;
    }
    if exponent == 0 {
        put(negative, whole, fraction, scale, out);
    } else {
        let digits = [whole, fraction].concat();
        let place = i64::try_from(whole.len()).unwrap_or(0) + exponent;
        let length = i64::try_from(digits.len()).unwrap_or(0);
        let zeros = |count: i64| vec![b'0'; usize::try_from(count.max(0)).unwrap_or(0)];
        let digits = [zeros(-place), digits, zeros(place - length)].concat();
        let (whole, fraction) = digits.split_at(usize::try_from(place.max(0)).unwrap_or(0).min(digits.len()));
        put(negative, whole, fraction, scale, out);
    }
    true
}

/// Whether `write` would write the number with so many digits after the point as it is.
pub fn is_written(text: &[u8], scale: u32) -> bool {
    let negative = matches!(text, [b'-', ..]);
    let number = if negative {
        text.get(1..).unwrap_or_default()
    } else {
        text
    };
    let scale = usize::try_from(scale).unwrap_or(usize::MAX);
    let whole = match scale {
        0 => number,
        scale => {
            let Some(at) = number.len().checked_sub(scale).and_then(|at| at.checked_sub(1)) else {
                return false;
            };
            let (whole, fraction) = number.split_at(at);
            match fraction {
                [b'.', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => whole,
                _ => return false,
            }
        }
    };
    // Nothing is nothing, whatever its sign.
    let leads = match whole {
        b"0" => !negative,
        [b'1'..=b'9', ..] => true,
        _ => false,
    };
    leads && whole.iter().all(u8::is_ascii_digit)
}

fn integer(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn put(negative: bool, whole: &[u8], fraction: &[u8], scale: Option<u32>, out: &mut Vec<u8>) {
    let zero = |digits: &[u8]| digits.iter().all(|byte| *byte == b'0');
    let least = scale.map_or(0, |scale| usize::try_from(scale).unwrap_or(0));
    let needed = fraction.iter().rposition(|byte| *byte != b'0').map_or(0, |at| at + 1);
    let shown = fraction.get(..needed).unwrap_or_default();
    if negative && !(zero(whole) && shown.is_empty()) {
        out.push(b'-');
    }
    let leading = whole.iter().position(|byte| *byte != b'0').unwrap_or(whole.len());
    match whole.get(leading..) {
        Some([]) | None => out.push(b'0'),
        Some(digits) => out.extend_from_slice(digits),
    }
    if needed.max(least) > 0 {
        out.push(b'.');
        out.extend_from_slice(shown);
        out.resize(out.len() + least.saturating_sub(needed), b'0');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(text: &str, scale: Option<u32>) -> Option<String> {
        let mut out = Vec::new();
        write(text.as_bytes(), scale, &mut out).then(|| String::from_utf8_lossy(&out).into_owned())
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_would_be_written(text in "[-+]?[01]{0,3}[.]?[0-2]{0,3}e?", scale in 0..4_u32) {
            let as_it_is = written(&text, Some(scale)).as_deref() == Some(&text);
            prop_assert!(!is_written(text.as_bytes(), scale) || as_it_is, "{text} {scale}");
        }
    }

    #[test]
    fn most_numbers_are_seen_to_be_written() {
        for (text, scale) in [("0", 0), ("-7", 0), ("0.50", 2), ("12.34", 2), ("-10.340", 3)] {
            assert!(is_written(text.as_bytes(), scale), "{text}");
        }
    }

    #[test]
    fn one_number_is_one_text() {
        for (text, scale, expected) in [
            ("0", Some(2), "0.00"),
            ("-0.00", Some(2), "0.00"),
            ("-0", None, "0"),
            ("+007.50", Some(2), "7.50"),
            (".5", Some(1), "0.5"),
            ("-.5", None, "-0.5"),
            ("12.", None, "12"),
            ("12.340", Some(2), "12.34"),
            ("12.341", Some(2), "12.341"),
            ("1e3", Some(1), "1000.0"),
            ("1.5e-3", None, "0.0015"),
            ("-2.50E+1", None, "-25"),
            (
                "99999999999999999999999999999.999",
                Some(3),
                "99999999999999999999999999999.999",
            ),
        ] {
            assert_eq!(written(text, scale).as_deref(), Some(expected), "{text}");
        }
        for text in ["", "-", ".", "1.2.3", "NaN", "1e", "1e999", "0x1", "١"] {
            assert_eq!(written(text, None), None, "{text}");
        }
    }
}
