//! The walk over a runbook's tree for one environment: what it knows, the faults it found, and how values are resolved.
//! The files beside it add one subject each.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::catalogue::Catalogue;
use super::expression::{ExpressionError, Part, evaluate, interpolate, names, parts};
use super::fault::{Fault, Place, Severity};
use super::node::{Node, NodeValue};
use super::plan::{Connection, EnvironmentKind, Span};
use super::text::{duration, looks_secret, names_a_secret};

/// A reference to another step's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    pub from: String,
    pub step: String,
    pub output: String,
    pub at: Place,
    /// A step's rollback may use its own outputs.
    pub own_allowed: bool,
}

/// The walk.
pub(super) struct Builder<'a> {
    pub catalogue: &'a Catalogue,
    pub now: DateTime<Utc>,
    pub faults: Vec<Fault>,
    pub not_available: Vec<String>,
    pub kind: EnvironmentKind,
    /// `vars` and `env`, for expressions.
    pub scope: Value,
    pub connections: BTreeMap<String, Connection>,
    /// Connections as the runbook declares them, where the lab replaces them.
    pub declared: BTreeMap<String, Connection>,
    pub secrets: BTreeSet<String>,
    pub people: BTreeSet<String>,
    /// Ids of people that were named without being defined: personas in the lab.
    pub personas: BTreeSet<String>,
    pub references: Vec<Reference>,
    /// Steps with a deadline, and where it stands.
    pub deadlines: Vec<(String, Place)>,
    /// The step that is being read.
    pub step: String,
    pub own_outputs: bool,
}

impl<'a> Builder<'a> {
    pub fn new(catalogue: &'a Catalogue, now: DateTime<Utc>) -> Self {
        Self {
            catalogue,
            now,
            faults: Vec::new(),
            not_available: Vec::new(),
            kind: EnvironmentKind::Lab,
            scope: json!({}),
            connections: BTreeMap::new(),
            declared: BTreeMap::new(),
            secrets: BTreeSet::new(),
            people: BTreeSet::new(),
            personas: BTreeSet::new(),
            references: Vec::new(),
            deadlines: Vec::new(),
            step: String::new(),
            own_outputs: false,
        }
    }

    pub fn fault(&mut self, at: Place, message: impl Into<String>, hint: &str) {
        self.faults.push(Fault::new(at, message).hint(hint));
    }

    pub fn warn(&mut self, at: Place, message: impl Into<String>, hint: &str) {
        let mut fault = Fault::new(at, message).hint(hint);
        fault.severity = Severity::Warning;
        self.faults.push(fault);
    }

    /// Something that a later version executes: valid here, refused by `run`.
    pub fn later(&mut self, what: impl Into<String>) {
        let what = what.into();
        if !self.not_available.contains(&what) {
            self.not_available.push(what);
        }
    }

    pub fn duration(&mut self, node: &Node, what: &str) -> Option<Span> {
        let text = match &node.value {
            NodeValue::Text { text, .. } => text.clone(),
            NodeValue::Int(number) => number.to_string(),
            NodeValue::Null | NodeValue::Bool(_) | NodeValue::Float(_) | NodeValue::List(_) | NodeValue::Map(_) => {
                node.kind().to_owned()
            }
        };
        let span = duration(&text);
        if span.is_none() {
            self.fault(
                node.at,
                format!("{what} is {text}, not a duration"),
                "write 90s, 12m, 2h or 14d",
            );
        }
        span
    }

    /// An instant with its offset.
    pub fn instant(&mut self, node: &Node, what: &str) -> Option<DateTime<Utc>> {
        let text = node.word(what, &mut self.faults)?;
        match DateTime::parse_from_rfc3339(text) {
            Ok(instant) => Some(instant.with_timezone(&Utc)),
            Err(_bad) => {
                let hint = "write RFC 3339 with an offset: 2026-12-05T22:00:00-03:00";
                self.fault(node.at, format!("{what} is \"{text}\", not an instant"), hint);
                None
            }
        }
    }

    /// A value with everything known now resolved; expressions over steps' outputs stay.
    pub fn value(&mut self, node: &Node, key: &str) -> Value {
        match &node.value {
            NodeValue::Text { text, .. } => {
                self.literal_secret(node.at, key, text);
                self.text(text, node.at)
            }
            NodeValue::List(items) => Value::Array(items.iter().map(|item| self.value(item, key)).collect()),
            NodeValue::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, node)| (key.text.clone(), self.value(node, &key.text)))
                    .collect::<Map<_, _>>(),
            ),
            NodeValue::Null | NodeValue::Bool(_) | NodeValue::Int(_) | NodeValue::Float(_) => node.json(),
        }
    }

    /// A literal that is or looks like a secret has no place in a runbook.
    pub fn literal_secret(&mut self, at: Place, key: &str, text: &str) {
        let named = names_a_secret(key) && !text.is_empty() && !text.contains("${");
        if named || looks_secret(text) {
            let hint = "declare it under secrets (env, file, command) and write \"${ secret.NAME }\"";
            self.fault(at, format!("a literal secret stands in {key}"), hint);
        }
    }

    /// Resolves a text.
    pub fn text(&mut self, text: &str, at: Place) -> Value {
        match self.try_text(text, at) {
            Ok(value) => value,
            Err(error) => {
                self.fault(
                    at,
                    error.to_string(),
                    "expressions know vars.NAME and steps.ID.outputs.NAME",
                );
                Value::Null
            }
        }
    }

    fn try_text(&mut self, text: &str, at: Place) -> Result<Value, ExpressionError> {
        let found = parts(text)?;
        if !found.iter().any(|part| matches!(part, Part::Expression(_))) {
            return interpolate(text, &json!({}));
        }
        let mut deferred = false;
        for part in &found {
            if let Part::Expression(expression) = part {
                deferred |= self.is_deferred(expression, at)?;
            }
        }
        if !deferred {
            return interpolate(text, &self.scope);
        }
        let mut out = String::new();
        for part in &found {
            match part {
                Part::Literal(literal) => out.push_str(&literal.replace("${", "$${")),
                Part::Expression(expression) if self.is_deferred(expression, at)? => {
                    out.push_str(&format!("${{ {expression} }}"));
                }
                Part::Expression(expression) => match evaluate(expression, &self.scope)? {
                    Value::String(text) => out.push_str(&text.replace("${", "$${")),
                    other => out.push_str(&other.to_string()),
                },
            }
        }
        Ok(Value::String(out))
    }

    /// Whether an expression needs outputs of steps; remembers which.
    pub fn is_deferred(&mut self, expression: &str, at: Place) -> Result<bool, ExpressionError> {
        let used = names(expression)?;
        let of_steps = used.iter().filter(|name| name.starts_with("steps.")).count();
        if let Some(secret) = used.iter().find(|name| name.starts_with("secret")) {
            return Err(ExpressionError(format!(
                "{secret} may only be used in the settings of a connection"
            )));
        }
        if of_steps > 0 && of_steps < used.len() {
            return Err(ExpressionError(format!(
                "`{expression}` mixes outputs of steps with values known before the run; use two expressions"
            )));
        }
        for name in used.iter().filter(|name| name.starts_with("steps.")) {
            self.refer(name, at)?;
        }
        Ok(of_steps > 0)
    }

    /// Remembers a reference `steps.ID.outputs.NAME`.
    pub fn refer(&mut self, name: &str, at: Place) -> Result<(), ExpressionError> {
        let mut path = name.split('.');
        match (path.next(), path.next(), path.next(), path.next()) {
            (Some("steps"), Some(step), Some("outputs"), Some(output)) => {
                let reference = Reference {
                    from: self.step.clone(),
                    step: step.to_owned(),
                    output: output.to_owned(),
                    at,
                    own_allowed: self.own_outputs,
                };
                if !self.references.contains(&reference) {
                    self.references.push(reference);
                }
                Ok(())
            }
            _ => Err(ExpressionError(format!(
                "{name} is no output; write steps.ID.outputs.NAME"
            ))),
        }
    }
}
