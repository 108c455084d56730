//! Predicates over results (`expect:`): a text, or a text with the outputs of other steps that it uses.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::runbook::expression;

use super::action::{ActionError, ActionErrorKind};

/// A predicate over an action's result.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Expectation {
    Text(String),
    Bound {
        predicate: String,
        #[serde(default)]
        steps: Map<String, Value>,
        #[serde(default)]
        vars: Value,
        /// Loops' variables and imports.
        #[serde(default)]
        known: Box<Map<String, Value>>,
    },
}

impl Expectation {
    /// Its text.
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Bound { predicate: text, .. } => text,
        }
    }

    /// Whether it holds; the fields of the result are names.
    pub fn holds(&self, result: &Map<String, Value>) -> Result<bool, ActionError> {
        let mut scope = result.clone();
        if let Self::Bound { steps, vars, known, .. } = self {
            scope.extend(known.iter().map(|(name, value)| (name.clone(), value.clone())));
            scope.insert("steps".to_owned(), Value::Object(steps.clone()));
            scope.insert("vars".to_owned(), vars.clone());
        }
        scope.insert("result".to_owned(), Value::Object(result.clone()));
        expression::predicate(self.text(), &Value::Object(scope))
            .map_err(|error| ActionError::new(ActionErrorKind::Permanent, error.to_string()))
    }
}
