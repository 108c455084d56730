//! Rows of a query, whichever engine gave them.

use serde_json::{Map, Value, json};

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
