//! SQL in a runbook: one text, or one for each engine; values are bound, and only names that are known before the run become a
//! part of it. Must not know what a statement does.

use serde_json::Value;

use super::action::SQL;
use super::builder::Builder;
use super::expression::{Part, names, parts};
use super::fault::Place;
use super::node::{Node, NodeValue};
use super::text::is_identifier;

impl Builder<'_> {
    /// SQL text, alone or one per engine; values go into `params`, never into the text.
    pub(super) fn sql(&mut self, node: &Node, engine: Option<&str>) -> Value {
        if let NodeValue::Map(entries) = &node.value {
            for (key, value) in entries {
                if !SQL.contains(&key.text.as_str()) {
                    self.fault(
                        key.at,
                        format!("\"{}\" is no engine", key.text),
                        "known: sqlite, mysql, postgres, sqlserver",
                    );
                }
                self.sql_text(value, engine);
            }
            let chosen = engine.and_then(|engine| node.get(engine));
            if let (None, Some(engine)) = (chosen, engine) {
                self.fault(
                    node.at,
                    format!("there is no SQL for {engine}"),
                    "add a text for this engine",
                );
            }
            return chosen.map_or(Value::Null, |node| self.sql_text(node, engine));
        }
        self.sql_text(node, engine)
    }

    fn sql_text(&mut self, node: &Node, engine: Option<&str>) -> Value {
        let Some(text) = node.word("sql", &mut self.faults) else {
            return Value::Null;
        };
        let found = match parts(text) {
            Ok(found) => found,
            Err(error) => {
                self.fault(node.at, error.to_string(), "close the expression");
                return Value::Null;
            }
        };
        let mut out = String::new();
        for part in found {
            match part {
                Part::Literal(literal) => out.push_str(&literal.replace("${", "$${")),
                Part::Expression(expression) => out.push_str(&self.identifier(expression, engine, node.at)),
            }
        }
        Value::String(out)
    }

    fn identifier(&mut self, expression: &str, engine: Option<&str>, at: Place) -> String {
        let Some((inner, "ident")) = expression
            .rsplit_once('|')
            .map(|(inner, filter)| (inner, filter.trim()))
        else {
            let sign = placeholder(engine);
            let hint =
                format!("bind the value: write {sign} in the SQL and the value under params; names take \"| ident\"");
            self.fault(at, "an expression inside SQL text", &hint);
            return String::new();
        };
        let imported = names(inner).is_ok_and(|used| used.iter().any(|name| name.starts_with("imports.")));
        if imported {
            let sign = placeholder(engine);
            let hint = format!(
                "name it in vars; what an earlier run brought is bound: write {sign} and the value under params"
            );
            self.fault(at, "an identifier from an import", &hint);
            return String::new();
        }
        let value = match super::expression::evaluate(inner.trim(), &self.scope) {
            Ok(Value::String(name)) if is_identifier(&name) => name,
            Ok(other) => {
                self.fault(
                    at,
                    format!("{other} is no SQL identifier"),
                    "letters, digits and underscores only",
                );
                return String::new();
            }
            Err(error) => {
                self.fault(
                    at,
                    error.to_string(),
                    "only values known before the run can be identifiers",
                );
                return String::new();
            }
        };
        let (open, close) = match engine {
            Some("mysql") => ('`', '`'),
            Some("sqlserver") => ('[', ']'),
            Some(_) | None => ('"', '"'),
        };
        value
            .split('.')
            .map(|part| format!("{open}{part}{close}"))
            .collect::<Vec<_>>()
            .join(".")
    }
}

/// How an engine's SQL writes its first parameter.
fn placeholder(engine: Option<&str>) -> &'static str {
    match engine {
        Some("postgres") => "$1",
        Some("sqlserver") => "@P1",
        Some(_) | None => "?",
    }
}
