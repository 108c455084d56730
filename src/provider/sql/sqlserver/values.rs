//! Values of SQL Server as JSON and as text, and JSON as bound values. Pure.

use chrono::{Days, NaiveDate};
use serde_json::{Value, json};
use tiberius::numeric::Numeric;
use tiberius::time::{Date, DateTime2, Time};
use tiberius::{ColumnData, ColumnType, ToSql};

use crate::provider::sql::rows::{exact, float, hex};

/// Money beyond this arrives without all of its four places: the driver has it as a double.
const MONEY: f64 = 900_000_000_000.0;

/// A scalar as it is bound.
#[derive(Debug)]
pub struct Bound<'a>(pub &'a Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> ColumnData<'_> {
        match self.0 {
            Value::Null => ColumnData::String(None),
            Value::Bool(flag) => ColumnData::Bit(Some(*flag)),
            Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(whole), _) => ColumnData::I64(Some(whole)),
                (None, Some(whole)) => ColumnData::Numeric(Some(Numeric::new_with_scale(i128::from(whole), 0))),
                (None, None) => ColumnData::F64(number.as_f64()),
            },
            Value::String(text) => ColumnData::String(Some(text.as_str().into())),
            Value::Array(_) | Value::Object(_) => ColumnData::String(Some(self.0.to_string().into())),
        }
    }
}

/// A bound value's type as the driver declares it.
pub fn declared(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "bit",
        Value::Number(number) if number.is_i64() => "bigint",
        Value::Number(number) if number.is_u64() => "numeric(20,0)",
        Value::Number(_) => "float(53)",
        Value::String(text) if text.len() > 4_000 => "nvarchar(max)",
        Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_) => "nvarchar(4000)",
    }
}

/// A cell as JSON. What JSON has no number for is a text.
pub fn json(kind: ColumnType, data: &ColumnData<'_>) -> Result<Value, String> {
    Ok(match data {
        ColumnData::U8(value) => json!(value),
        ColumnData::I16(value) => json!(value),
        ColumnData::I32(value) => json!(value),
        ColumnData::I64(value) => json!(value),
        ColumnData::Bit(value) => json!(value),
        ColumnData::F64(Some(value)) if is_money(kind) => exact(money(*value)?),
        ColumnData::F32(value) => value.map_or(Value::Null, |value| float(f64::from(value))),
        ColumnData::F64(value) => value.map_or(Value::Null, float),
        ColumnData::Numeric(value) => value.map_or(Value::Null, |value| exact(decimal(value))),
        ColumnData::Binary(value) => value.as_ref().map_or(Value::Null, |value| hex(value)),
        ColumnData::String(_)
        | ColumnData::Guid(_)
        | ColumnData::Xml(_)
        | ColumnData::DateTime(_)
        | ColumnData::SmallDateTime(_)
        | ColumnData::Time(_)
        | ColumnData::Date(_)
        | ColumnData::DateTime2(_)
        | ColumnData::DateTimeOffset(_) => text(kind, data)?.map_or(Value::Null, Value::String),
    })
}

/// A cell as text; times have six digits of fraction, and the seventh where there is one.
pub fn text(kind: ColumnType, data: &ColumnData<'_>) -> Result<Option<String>, String> {
    Ok(match data {
        ColumnData::U8(value) => value.map(|value| value.to_string()),
        ColumnData::I16(value) => value.map(|value| value.to_string()),
        ColumnData::I32(value) => value.map(|value| value.to_string()),
        ColumnData::I64(value) => value.map(|value| value.to_string()),
        ColumnData::Bit(value) => value.map(|value| u8::from(value).to_string()),
        ColumnData::F32(value) => value.map(|value| value.to_string()),
        ColumnData::F64(Some(value)) if is_money(kind) => Some(money(*value)?),
        ColumnData::F64(value) => value.map(|value| value.to_string()),
        ColumnData::Numeric(value) => value.map(decimal),
        ColumnData::Binary(value) => value.as_ref().map(|value| data_encoding::HEXLOWER.encode(value)),
        ColumnData::String(value) => value.as_ref().map(ToString::to_string),
        ColumnData::Guid(value) => value.map(|value| value.to_string()),
        ColumnData::Xml(value) => value.as_ref().map(|value| value.to_string()),
        // Ticks of a three-hundredth second, shown to the millisecond as the server does.
        ColumnData::DateTime(value) => value
            .map(|value| {
                let millis = (u64::from(value.seconds_fragments()) * 10 + 1) / 3;
                Ok::<_, String>(format!(
                    "{} {}",
                    day_of(1900, i64::from(value.days()))?,
                    clock(millis * 10_000)
                ))
            })
            .transpose()?,
        ColumnData::SmallDateTime(value) => value
            .map(|value| {
                let minutes = u64::from(value.seconds_fragments());
                Ok::<_, String>(format!(
                    "{} {}",
                    day_of(1900, i64::from(value.days()))?,
                    clock(minutes * 600_000_000)
                ))
            })
            .transpose()?,
        ColumnData::Time(value) => value.map(|value| clock(ticks(value))),
        ColumnData::Date(value) => value.map(day).transpose()?,
        ColumnData::DateTime2(value) => value.map(moment).transpose()?,
        // It is sent in UTC; where its clock hung is not told.
        ColumnData::DateTimeOffset(value) => value
            .map(|value| Ok::<_, String>(format!("{}Z", moment(value.datetime2())?)))
            .transpose()?,
    })
}

const fn is_money(kind: ColumnType) -> bool {
    matches!(kind, ColumnType::Money | ColumnType::Money4)
}

fn money(value: f64) -> Result<String, String> {
    if value.abs() < MONEY {
        Ok(format!("{value:.4}"))
    } else {
        Err("is money beyond 900,000,000,000, which arrives rounded; cast it to decimal(19,4)".to_owned())
    }
}

fn decimal(value: Numeric) -> String {
    let scale = usize::from(value.scale());
    let digits = format!("{:0>width$}", value.value().unsigned_abs(), width = scale + 1);
    let sign = if value.value() < 0 { "-" } else { "" };
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let point = if scale > 0 { "." } else { "" };
    format!("{sign}{whole}{point}{fraction}")
}

/// A day, counted from the first of a year.
fn day_of(year: i32, days: i64) -> Result<String, String> {
    let first = NaiveDate::from_ymd_opt(year, 1, 1);
    let count = Days::new(days.unsigned_abs());
    let day = first.and_then(|first| {
        if days < 0 {
            first.checked_sub_days(count)
        } else {
            first.checked_add_days(count)
        }
    });
    day.map(|day| day.to_string()).ok_or_else(|| "is no day".to_owned())
}

fn day(value: Date) -> Result<String, String> {
    day_of(1, i64::from(value.days()))
}

fn moment(value: DateTime2) -> Result<String, String> {
    Ok(format!("{} {}", day(value.date())?, clock(ticks(value.time()))))
}

/// Units of 100 ns since midnight.
fn ticks(value: Time) -> u64 {
    value.increments() * 10_u64.pow(u32::from(7_u8.saturating_sub(value.scale())))
}

fn clock(ticks: u64) -> String {
    let (seconds, rest) = (ticks / 10_000_000, ticks % 10_000_000);
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let seventh = if rest % 10 == 0 {
        String::new()
    } else {
        (rest % 10).to_string()
    };
    format!("{hours:02}:{minutes:02}:{seconds:02}.{:06}{seventh}", rest / 10)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use tiberius::time::{DateTime, DateTimeOffset, SmallDateTime};

    #[test]
    fn values_are_exact() {
        let of = |data| json(ColumnType::Null, &data).unwrap();
        let numeric = |value, scale| ColumnData::Numeric(Some(Numeric::new_with_scale(value, scale)));
        let time = |increments, scale| Time::new(increments, scale);
        // 2026-02-03 is day 739649 after 0001-01-01, and day 46054 after 1900-01-01.
        let moment = |scale, increments| DateTime2::new(Date::new(739_649), time(increments, scale));
        for (data, wanted) in [
            (ColumnData::I64(Some(i64::MAX)), json!(i64::MAX)),
            (ColumnData::Bit(Some(true)), json!(true)),
            (ColumnData::I32(None), Value::Null),
            (numeric(1_050, 2), json!(10.5)),
            (numeric(-5, 3), json!(-0.005)),
            (
                numeric(12_345_678_901_234_567_890_123, 4),
                json!("1234567890123456789.0123"),
            ),
            (ColumnData::Binary(Some(vec![0, 255].into())), json!("00ff")),
            (ColumnData::Time(Some(time(1_234_567, 7))), json!("00:00:00.1234567")),
            (ColumnData::Time(Some(time(36_610, 1))), json!("01:01:01.000000")),
            (ColumnData::Date(Some(Date::new(739_649))), json!("2026-02-03")),
            (
                ColumnData::DateTime2(Some(moment(3, 1_789))),
                json!("2026-02-03 00:00:01.789000"),
            ),
            (
                ColumnData::DateTimeOffset(Some(DateTimeOffset::new(moment(0, 60), -180))),
                json!("2026-02-03 00:01:00.000000Z"),
            ),
            (
                ColumnData::DateTime(Some(DateTime::new(46_054, 1))),
                json!("2026-02-03 00:00:00.003000"),
            ),
            (
                ColumnData::DateTime(Some(DateTime::new(-1, 302))),
                json!("1899-12-31 00:00:01.007000"),
            ),
            (
                ColumnData::SmallDateTime(Some(SmallDateTime::new(46_054, 61))),
                json!("2026-02-03 01:01:00.000000"),
            ),
        ] {
            assert_eq!(of(data), wanted);
        }
        assert_eq!(
            json(ColumnType::Money, &ColumnData::F64(Some(0.1))).unwrap(),
            json!(0.1)
        );
        assert_eq!(
            text(ColumnType::Money, &ColumnData::F64(Some(-2.5))).unwrap().unwrap(),
            "-2.5000"
        );
        assert!(json(ColumnType::Money, &ColumnData::F64(Some(922_337_203_685_477.0))).is_err());
    }

    #[test]
    fn what_is_bound_is_declared_as_it_is_sent() {
        let sent = |value: &Value| format!("{:?}", Bound(value).to_sql());
        for (value, data, kind) in [
            (json!(1), "I64", "bigint"),
            (json!(u64::MAX), "Numeric", "numeric(20,0)"),
            (json!(0.5), "F64", "float(53)"),
            (json!("a"), "String", "nvarchar(4000)"),
            (json!(true), "Bit", "bit"),
            (Value::Null, "String(None)", "nvarchar(4000)"),
        ] {
            assert!(sent(&value).starts_with(data), "{}", sent(&value));
            assert_eq!(declared(&value), kind);
        }
    }
}
