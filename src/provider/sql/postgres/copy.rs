//! PostgreSQL's binary COPY (documentation, "COPY", "Binary Format") as rows of text: it costs the server a fifth of what
//! hashing the same rows would. Values are written as the server's own text output has them, but that a time always has six
//! digits of a second. Pure.

use tokio_postgres::types::Type;

use crate::provider::sql::session::Cells;

use super::numeric;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Days from 0000-03-01 to 2000-01-01, and what an era of 400 years has of them.
const EPOCH: i64 = 730_425;
const ERA: i64 = 146_097;
const DAY_US: i64 = 86_400_000_000;

/// Whether values of a type can be read here.
pub fn reads(kind: &Type) -> bool {
    [
        Type::BOOL,
        Type::INT2,
        Type::INT4,
        Type::INT8,
        Type::FLOAT4,
        Type::FLOAT8,
        Type::NUMERIC,
        Type::TEXT,
        Type::VARCHAR,
        Type::BPCHAR,
        Type::NAME,
        Type::BYTEA,
        Type::DATE,
        Type::TIME,
        Type::TIMESTAMP,
        Type::TIMESTAMPTZ,
        Type::UUID,
        Type::JSON,
        Type::JSONB,
    ]
    .contains(kind)
}

/// Takes rows out of the stream's pieces.
#[derive(Debug)]
pub struct Decoder {
    types: Vec<Type>,
    /// What of a row came with an earlier piece.
    rest: Vec<u8>,
    begun: bool,
    ended: bool,
}

/// The stream is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server's binary COPY is not what its documentation says")]
pub struct Malformed;

impl Decoder {
    /// For rows of these types.
    pub const fn new(types: Vec<Type>) -> Self {
        Self {
            types,
            rest: Vec::new(),
            begun: false,
            ended: false,
        }
    }

    /// Whether the stream has come to its end.
    pub const fn is_ended(&self) -> bool {
        self.ended
    }

    /// The rows of a piece.
    pub fn take<E: From<Malformed>>(
        &mut self,
        piece: &[u8],
        cells: &mut Cells,
        mut row: impl FnMut(&Cells) -> Result<(), E>,
    ) -> Result<(), E> {
        let joined;
        let mut bytes = if self.rest.is_empty() {
            piece
        } else {
            self.rest.extend_from_slice(piece);
            joined = std::mem::take(&mut self.rest);
            joined.as_slice()
        };
        if !self.begun {
            let Some(after) = head(bytes)? else {
                self.rest = bytes.to_vec();
                return Ok(());
            };
            self.begun = true;
            bytes = after;
        }
        while !bytes.is_empty() && !self.ended {
            cells.clear();
            match self.tuple(bytes, cells)? {
                Some((after, last)) => {
                    self.ended = last;
                    bytes = after;
                    if !last {
                        row(cells)?;
                    }
                }
                None => {
                    self.rest = bytes.to_vec();
                    break;
                }
            }
        }
        Ok(())
    }

    /// A row; nothing where it has not come whole.
    fn tuple<'a>(&self, bytes: &'a [u8], cells: &mut Cells) -> Result<Option<(&'a [u8], bool)>, Malformed> {
        let Some((count, mut rest)) = bytes.split_first_chunk::<2>() else {
            return Ok(None);
        };
        let count = i16::from_be_bytes(*count);
        if count == -1 {
            return Ok(Some((rest, true)));
        }
        if usize::try_from(count).ok() != Some(self.types.len()) {
            return Err(Malformed);
        }
        for kind in &self.types {
            let Some((length, after)) = rest.split_first_chunk::<4>() else {
                return Ok(None);
            };
            let length = i32::from_be_bytes(*length);
            if length == -1 {
                cells.null();
                rest = after;
                continue;
            }
            let length = usize::try_from(length).map_err(|_negative| Malformed)?;
            let Some((value, after)) = after.split_at_checked(length) else {
                return Ok(None);
            };
            let mut done = Ok(());
            cells.with(|out| done = write(kind, value, out));
            done?;
            rest = after;
        }
        Ok(Some((rest, false)))
    }
}

fn head(bytes: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    let fixed = SIGNATURE.len() + 8;
    let Some(lengths) = bytes.get(SIGNATURE.len() + 4..fixed) else {
        return Ok(None);
    };
    if !bytes.starts_with(SIGNATURE) {
        return Err(Malformed);
    }
    let extension: [u8; 4] = lengths.try_into().map_err(|_short| Malformed)?;
    let extension = usize::try_from(u32::from_be_bytes(extension)).map_err(|_long| Malformed)?;
    Ok(bytes.get(fixed + extension..))
}

fn array<const N: usize>(value: &[u8]) -> Result<[u8; N], Malformed> {
    value.try_into().map_err(|_other| Malformed)
}

fn write(kind: &Type, value: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let number = |number: i64, out: &mut Vec<u8>| out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    match *kind {
        Type::INT8 => number(i64::from_be_bytes(array(value)?), out),
        Type::INT4 => number(i32::from_be_bytes(array(value)?).into(), out),
        Type::INT2 => number(i16::from_be_bytes(array(value)?).into(), out),
        Type::BOOL => out.push(if value == [0] { b'f' } else { b't' }),
        Type::NUMERIC => numeric::write(value, out).map_err(|_bad| Malformed)?,
        Type::TIMESTAMP | Type::TIMESTAMPTZ => timestamp(i64::from_be_bytes(array(value)?), out),
        Type::DATE => day(i32::from_be_bytes(array(value)?), out),
        Type::TIME => clock(i64::from_be_bytes(array(value)?), out),
        Type::FLOAT8 => out.extend_from_slice(f64::from_be_bytes(array(value)?).to_string().as_bytes()),
        Type::FLOAT4 => out.extend_from_slice(f32::from_be_bytes(array(value)?).to_string().as_bytes()),
        Type::BYTEA => hex(value, out),
        Type::UUID => {
            let bytes: [u8; 16] = array(value)?;
            for (from, to) in [(0, 4), (4, 6), (6, 8), (8, 10), (10, 16)] {
                if from > 0 {
                    out.push(b'-');
                }
                hex(bytes.get(from..to).unwrap_or_default(), out);
            }
        }
        // The first byte is the format's version.
        Type::JSONB => out.extend_from_slice(value.get(1..).ok_or(Malformed)?),
        _ => out.extend_from_slice(value),
    }
    Ok(())
}

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        for half in [byte >> 4, byte & 15] {
            out.push(DIGITS.get(usize::from(half)).copied().unwrap_or(b'?'));
        }
    }
}

/// A number with at least so many digits.
fn padded(number: i64, digits: usize, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(number);
    out.resize(out.len() + digits.saturating_sub(text.len()), b'0');
    out.extend_from_slice(text.as_bytes());
}

/// A day of the Gregorian calendar; whether it is before the first year.
fn date(days: i64, out: &mut Vec<u8>) -> bool {
    // Years begin in March, so that the day that some of them lack is the last.
    let shifted = days + EPOCH;
    let era = shifted.div_euclid(ERA);
    let in_era = shifted.rem_euclid(ERA);
    let year_of_era = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / (ERA - 1)) / 365;
    let in_year = in_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let part = (5 * in_year + 2) / 153;
    let month = if part < 10 { part + 3 } else { part - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    padded(if year < 1 { 1 - year } else { year }, 4, out);
    out.push(b'-');
    padded(month, 2, out);
    out.push(b'-');
    padded(in_year - (153 * part + 2) / 5 + 1, 2, out);
    year < 1
}

fn clock(us: i64, out: &mut Vec<u8>) {
    let seconds = us / 1_000_000;
    padded(seconds / 3_600, 2, out);
    out.push(b':');
    padded(seconds / 60 % 60, 2, out);
    out.push(b':');
    padded(seconds % 60, 2, out);
    out.push(b'.');
    padded(us % 1_000_000, 6, out);
}

fn timestamp(us: i64, out: &mut Vec<u8>) {
    match us {
        i64::MAX => out.extend_from_slice(b"infinity"),
        i64::MIN => out.extend_from_slice(b"-infinity"),
        us => {
            let before = date(us.div_euclid(DAY_US), out);
            out.push(b' ');
            clock(us.rem_euclid(DAY_US), out);
            if before {
                while out.last() == Some(&b'0') {
                    out.pop();
                }
                if out.last() == Some(&b'.') {
                    out.pop();
                }
                out.extend_from_slice(b" BC");
            }
        }
    }
}

fn day(days: i32, out: &mut Vec<u8>) {
    match days {
        i32::MAX => out.extend_from_slice(b"infinity"),
        i32::MIN => out.extend_from_slice(b"-infinity"),
        days => {
            if date(days.into(), out) {
                out.extend_from_slice(b" BC");
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn text(kind: Type, value: &[u8]) -> String {
        let mut out = Vec::new();
        write(&kind, value, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (days, expected) in [
            (0, "2000-01-01"),
            (59, "2000-02-29"),
            (60, "2000-03-01"),
            (366, "2001-01-01"),
            (-1, "1999-12-31"),
            (36_584, "2100-03-01"),
            (-730_119, "0001-01-01"),
            (-730_120, "0001-12-31 BC"),
            (2_921_939, "9999-12-31"),
            (i32::MAX, "infinity"),
        ] {
            assert_eq!(text(Type::DATE, &days.to_be_bytes()), expected);
        }
        // Against a calendar that somebody else wrote.
        let first = chrono::NaiveDate::from_ymd_opt(2000, 1, 1).unwrap();
        for days in (-730_119..2_921_939).step_by(97) {
            let expected = first + chrono::Duration::days(days.into());
            assert_eq!(text(Type::DATE, &i32::to_be_bytes(days)), expected.to_string());
        }
    }

    #[test]
    fn times_have_all_their_digits() {
        for (us, expected) in [
            (0_i64, "2000-01-01 00:00:00.000000"),
            (-1, "1999-12-31 23:59:59.999999"),
            (1_500_000, "2000-01-01 00:00:01.500000"),
            (i64::MIN, "-infinity"),
        ] {
            assert_eq!(text(Type::TIMESTAMP, &us.to_be_bytes()), expected);
        }
        assert_eq!(text(Type::TIME, &DAY_US.to_be_bytes()), "24:00:00.000000");
    }

    #[test]
    fn rows_may_come_in_any_pieces() {
        let mut stream = [SIGNATURE, &[0; 8]].concat();
        for number in [7_i64, -8] {
            stream.extend([0, 2, 0, 0, 0, 8]);
            stream.extend(number.to_be_bytes());
            stream.extend([255, 255, 255, 255]);
        }
        stream.extend([255, 255]);
        for size in 1..stream.len() {
            let mut decoder = Decoder::new(vec![Type::INT8, Type::TEXT]);
            let mut seen = Vec::new();
            for piece in stream.chunks(size) {
                let done: Result<(), Malformed> = decoder.take(piece, &mut Cells::default(), |cells| {
                    seen.push((cells.text(0), cells.get(1).is_none()));
                    Ok(())
                });
                done.unwrap();
            }
            assert!(decoder.is_ended());
            assert_eq!(seen, [(Some("7".to_owned()), true), (Some("-8".to_owned()), true)]);
        }
    }
}
