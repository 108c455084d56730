//! Rows of a query, whichever engine gave them.

use serde_json::{Map, Number, Value, json};

/// Rows that are kept of a result; all are counted.
pub const KEPT: usize = 1_000;

/// Rows of a query.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    pub columns: Vec<String>,
    pub kept: Vec<Vec<Value>>,
    pub count: u64,
}

impl Rows {
    /// The object that predicates and outputs see.
    pub fn result(&self) -> Map<String, Value> {
        let mut result = Map::new();
        let first = self.kept.first();
        let single = first
            .filter(|row| row.len() == 1 && self.count == 1)
            .and_then(|row| row.first());
        let named = first.map(|row| {
            Value::Object(
                self.columns
                    .iter()
                    .cloned()
                    .zip(row.iter().cloned())
                    .collect::<Map<_, _>>(),
            )
        });
        result.insert("rows".to_owned(), json!(self.count));
        result.insert("columns".to_owned(), json!(self.columns));
        result.insert("first".to_owned(), named.unwrap_or(Value::Null));
        result.insert("value".to_owned(), single.cloned().unwrap_or(Value::Null));
        result
    }
}

/// A number as a server writes it, with every digit: a JSON number where that says the same, else a text.
pub fn exact(text: String) -> Value {
    let whole = text.parse::<i64>().ok().map(Number::from);
    let number = whole.or_else(|| {
        let float: f64 = text.parse().ok()?;
        let number = Number::from_f64(float)?;
        // Seventeen digits tell doubles apart; fifteen survive both ways.
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        (digits <= 15).then_some(number)
    });
    number.map_or(Value::String(text), Value::Number)
}

/// A float: a JSON number, or a text where JSON has none.
pub fn float(value: f64) -> Value {
    Number::from_f64(value).map_or_else(|| Value::String(value.to_string()), Value::Number)
}

/// Bytes, as lower-case hex.
pub fn hex(bytes: &[u8]) -> Value {
    Value::String(data_encoding::HEXLOWER.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_a_number_only_where_it_says_the_same() {
        assert_eq!(exact("12".to_owned()), json!(12));
        assert_eq!(exact("0.1".to_owned()), json!(0.1));
        let long = "12345678901234567890.1".to_owned();
        assert_eq!(exact(long.clone()), Value::String(long));
        assert_eq!(exact("NaN".to_owned()), json!("NaN"));
        assert_eq!(float(f64::INFINITY), json!("inf"));
    }
}
