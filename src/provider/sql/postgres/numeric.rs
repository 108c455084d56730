//! PostgreSQL's `numeric` in its binary form (src/backend/utils/adt/numeric.c, `numeric_send`), exactly; and its `uuid`.
//! Pure.

use tokio_postgres::types::{FromSql, Type};

/// A number as the server has it, with every digit of its scale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numeric(pub String);

/// Writes a number with every digit of its scale.
pub fn write(raw: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    let word = |index: usize| -> Option<u16> {
        let pair = raw.get(2 * index..2 * index + 2)?;
        Some(u16::from_be_bytes(pair.try_into().ok()?))
    };
    let (Some(count), Some(weight), Some(sign), Some(scale)) = (word(0), word(1), word(2), word(3)) else {
        return Err("a numeric is shorter than its head");
    };
    if raw.len() != 8 + 2 * usize::from(count) {
        return Err("a numeric has other digits than it says");
    }
    match sign {
        0x0000 => {}
        0x4000 => out.push(b'-'),
        0xC000 | 0xD000 | 0xF000 => {
            let word: &[u8] = match sign {
                0xC000 => b"NaN",
                0xD000 => b"Infinity",
                _ => b"-Infinity",
            };
            out.extend_from_slice(word);
            return Ok(());
        }
        _ => return Err("a numeric has an unknown sign"),
    }
    let weight = i32::from(weight.cast_signed());
    let group = |at: i32| -> [u8; 4] {
        let index = usize::try_from(weight - at)
            .ok()
            .filter(|index| *index < usize::from(count));
        let group = index.and_then(|index| word(4 + index)).unwrap_or(0);
        [1_000, 100, 10, 1].map(|unit| b'0' + u8::try_from(group / unit % 10).unwrap_or(0))
    };
    let start = out.len();
    for at in (0..=weight.max(0)).rev() {
        for digit in group(at) {
            // Zeros in front are none of its digits.
            if digit != b'0' || out.len() > start {
                out.push(digit);
            }
        }
    }
    if out.len() == start {
        out.push(b'0');
    }
    let mut left = usize::from(scale);
    if left > 0 {
        out.push(b'.');
    }
    let mut at = -1;
    while left > 0 {
        let digits = group(at);
        out.extend(digits.iter().take(left));
        left = left.saturating_sub(4);
        at -= 1;
    }
    Ok(())
}

impl<'a> FromSql<'a> for Numeric {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        let mut text = Vec::new();
        write(raw, &mut text)?;
        Ok(Self(String::from_utf8(text)?))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::NUMERIC
    }
}

/// A UUID, lower-case, in 36 characters (RFC 9562, section 4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uuid(pub String);

impl<'a> FromSql<'a> for Uuid {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        if raw.len() != 16 {
            return Err("a uuid has sixteen bytes".into());
        }
        let hex = data_encoding::HEXLOWER.encode(raw);
        let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default().to_owned();
        Ok(Self(
            [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-"),
        ))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::UUID
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn read(words: &[u16]) -> Numeric {
        let raw: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        Numeric::from_sql(&Type::NUMERIC, &raw).unwrap()
    }

    #[test]
    fn every_digit_is_kept() {
        for (words, text) in [
            (&[0, 0, 0, 0][..], "0"),
            (&[0, 0, 0, 2], "0.00"),
            (&[1, 0, 0, 0, 7], "7"),
            (&[2, 1, 0, 0, 1, 2], "10002"),
            (&[2, 0, 0x4000, 2, 12, 3400], "-12.34"),
            // 0.00001234: the first group is two places below the point.
            (&[1, 0xFFFE, 0, 8, 1234], "0.00001234"),
            (&[1, 2, 0, 0, 1], "100000000"),
            (&[0, 0, 0xC000, 0], "NaN"),
        ] {
            assert_eq!(read(words).0, text);
        }
    }

    #[test]
    fn what_is_no_numeric_is_refused() {
        for raw in [&[][..], &[0, 1], &[0, 2, 0, 0, 0, 0, 0, 0, 0, 1]] {
            assert!(Numeric::from_sql(&Type::NUMERIC, raw).is_err());
        }
    }
}
