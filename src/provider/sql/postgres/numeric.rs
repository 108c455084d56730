//! PostgreSQL's `numeric` in its binary form (src/backend/utils/adt/numeric.c, `numeric_send`), exactly; and its `uuid`.
//! Pure.

use tokio_postgres::types::{FromSql, Type};

/// A number as the server has it, with every digit of its scale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numeric(pub String);

impl<'a> FromSql<'a> for Numeric {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        let words: Vec<u16> = raw
            .chunks_exact(2)
            .filter_map(|pair| Some(u16::from_be_bytes(pair.try_into().ok()?)))
            .collect();
        let [count, weight, sign, scale, digits @ ..] = words.as_slice() else {
            return Err("a numeric is shorter than its head".into());
        };
        if digits.len() != usize::from(*count) {
            return Err("a numeric has other digits than it says".into());
        }
        let sign = match sign {
            0x0000 => "",
            0x4000 => "-",
            0xC000 => return Ok(Self("NaN".to_owned())),
            0xD000 => return Ok(Self("Infinity".to_owned())),
            0xF000 => return Ok(Self("-Infinity".to_owned())),
            _ => return Err("a numeric has an unknown sign".into()),
        };
        let weight = i32::from(weight.cast_signed());
        let group = |at: i32| -> u16 {
            let index = usize::try_from(weight - at).ok();
            index.and_then(|index| digits.get(index)).copied().unwrap_or(0)
        };
        let mut text = String::new();
        for at in (0..=weight.max(0)).rev() {
            text.push_str(&format!("{:04}", group(at)));
        }
        let whole = text.trim_start_matches('0');
        let mut text = format!("{sign}{}", if whole.is_empty() { "0" } else { whole });
        let scale = usize::from(*scale);
        if scale > 0 {
            let mut fraction = String::new();
            let mut at = -1;
            while fraction.len() < scale {
                fraction.push_str(&format!("{:04}", group(at)));
                at -= 1;
            }
            fraction.truncate(scale);
            text = format!("{text}.{fraction}");
        }
        Ok(Self(text))
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
