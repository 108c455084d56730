//! Values of MySQL and MariaDB as JSON, and JSON as bound values. Pure.

use mysql_async::Column;
use mysql_async::Value as Bound;
use mysql_async::consts::ColumnType;
use serde_json::{Value, json};

use crate::provider::action::{ActionError, ActionErrorKind};
use crate::provider::sql::rows::{exact, float, hex};

/// The collation of bytes that are no text.
const BINARY: u16 = 63;

/// A scalar as it is bound. What JSON holds as a float is sent as one.
pub fn bound(value: &Value) -> Bound {
    match value {
        Value::Null => Bound::NULL,
        Value::Bool(flag) => Bound::Int(i64::from(*flag)),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => Bound::Int(whole),
            (None, Some(whole)) => Bound::UInt(whole),
            (None, None) => Bound::Double(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Bound::Bytes(text.clone().into_bytes()),
        Value::Array(_) | Value::Object(_) => Bound::Bytes(value.to_string().into_bytes()),
    }
}

/// A cell. What JSON has no number for is a text; times have six digits of fraction, as on every engine.
pub fn cell(column: &Column, value: Bound) -> Result<Value, ActionError> {
    use ColumnType::{
        MYSQL_TYPE_BIT, MYSQL_TYPE_DATE, MYSQL_TYPE_DECIMAL, MYSQL_TYPE_JSON, MYSQL_TYPE_NEWDATE,
        MYSQL_TYPE_NEWDECIMAL, MYSQL_TYPE_TIMESTAMP, MYSQL_TYPE_TIMESTAMP2,
    };
    let kind = column.column_type();
    Ok(match value {
        Bound::NULL => Value::Null,
        Bound::Int(whole) => json!(whole),
        Bound::UInt(whole) => json!(whole),
        Bound::Float(value) => float(f64::from(value)),
        Bound::Double(value) => float(value),
        Bound::Date(year, month, day, hour, minute, second, micros) => {
            let date = format!("{year:04}-{month:02}-{day:02}");
            Value::String(match kind {
                MYSQL_TYPE_DATE | MYSQL_TYPE_NEWDATE => date,
                // The session's zone is UTC.
                MYSQL_TYPE_TIMESTAMP | MYSQL_TYPE_TIMESTAMP2 => {
                    format!("{date} {hour:02}:{minute:02}:{second:02}.{micros:06}Z")
                }
                _ => format!("{date} {hour:02}:{minute:02}:{second:02}.{micros:06}"),
            })
        }
        Bound::Time(negative, days, hours, minutes, seconds, micros) => {
            let sign = if negative { "-" } else { "" };
            let hours = days * 24 + u32::from(hours);
            Value::String(format!("{sign}{hours:02}:{minutes:02}:{seconds:02}.{micros:06}"))
        }
        Bound::Bytes(bytes) => match kind {
            MYSQL_TYPE_BIT => bits(&bytes),
            MYSQL_TYPE_DECIMAL | MYSQL_TYPE_NEWDECIMAL => exact(text(column, bytes)?),
            MYSQL_TYPE_JSON => serde_json::from_slice(&bytes).map_err(|error| {
                let words = format!("column {} is no JSON: {error}; cast it to char", column.name_str());
                ActionError::new(ActionErrorKind::Permanent, words)
            })?,
            _ if column.character_set() == BINARY => hex(&bytes),
            _ => Value::String(text(column, bytes)?),
        },
    })
}

/// A bit field as the number that it is.
fn bits(bytes: &[u8]) -> Value {
    json!(
        bytes
            .iter()
            .fold(0_u64, |number, byte| (number << 8) | u64::from(*byte))
    )
}

fn text(column: &Column, bytes: Vec<u8>) -> Result<String, ActionError> {
    String::from_utf8(bytes).map_err(|_error| {
        let words = format!(
            "column {} has bytes that are no UTF-8; select hex() of it",
            column.name_str()
        );
        ActionError::new(ActionErrorKind::Permanent, words)
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn values_that_no_server_here_gives() {
        let of = |kind, value| cell(&Column::new(kind), value).unwrap();
        // MariaDB's JSON is a text; MySQL's has a type of its own.
        assert_eq!(
            of(ColumnType::MYSQL_TYPE_JSON, Bound::Bytes(br#"{"a":[1]}"#.to_vec())),
            json!({"a": [1]})
        );
        assert_eq!(of(ColumnType::MYSQL_TYPE_FLOAT, Bound::Float(f32::NAN)), json!("NaN"));
        assert!(cell(&Column::new(ColumnType::MYSQL_TYPE_JSON), Bound::Bytes(b"{".to_vec())).is_err());
    }

    #[test]
    fn numbers_keep_their_kind() {
        assert_eq!(bound(&json!(18_446_744_073_709_551_615_u64)), Bound::UInt(u64::MAX));
        assert_eq!(bound(&json!(-1)), Bound::Int(-1));
        assert_eq!(bound(&json!(0.5)), Bound::Double(0.5));
    }
}
