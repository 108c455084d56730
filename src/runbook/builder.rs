//! The walk over a runbook's tree for one environment: what it knows, the faults it found, and how values are resolved.
//! The files beside it add one subject each.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::catalogue::Catalogue;
use super::expand::{Group, Origin};
use super::expression::{ExpressionError, Part, evaluate, interpolate, names, parts, rename_steps};
use super::fault::{Fault, Place, Severity};
use super::node::{Node, NodeValue};
use super::plan::{Connection, EnvironmentKind, Person, Span};
use super::text::{duration, looks_secret, names_a_secret};

/// A reference to another step's output.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reference {
    pub from: String,
    pub step: String,
    /// The step as the runbook names it: one copy of a repeated step may be meant.
    pub name: String,
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
    /// What is known of those people.
    pub roster: BTreeMap<String, Person>,
    /// The runbook's author, where it names one.
    pub author: Option<String>,
    /// Ids of people that were named without being defined: personas in the lab.
    pub personas: BTreeSet<String>,
    pub references: BTreeSet<Reference>,
    /// The copies of repeated steps, by the id that the runbook gives them.
    pub groups: BTreeMap<String, Group>,
    /// Earlier runs that are imported, with the outputs that are declared.
    pub imports: BTreeMap<String, BTreeSet<String>>,
    /// Steps with a deadline, and where it stands.
    pub deadlines: Vec<(String, Place)>,
    /// The step that is being read.
    pub step: String,
    /// Where that step comes from.
    pub origin: Origin,
    pub own_outputs: bool,
    /// The lab replaces what is being read: it is checked, and not executed.
    pub replaced: bool,
}

/// A text with what is known before the run put in.
enum Resolved {
    Known(Value),
    /// It still has expressions; whether any of them is over outputs of steps.
    Deferred {
        text: String,
        steps: bool,
    },
}

/// What an expression waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// Nothing: it is known before the run.
    Nothing,
    /// Outputs of steps.
    Steps,
    /// Outputs of an earlier run, while none is named.
    Imports,
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
            roster: BTreeMap::new(),
            author: None,
            personas: BTreeSet::new(),
            references: BTreeSet::new(),
            groups: BTreeMap::new(),
            imports: BTreeMap::new(),
            deadlines: Vec::new(),
            step: String::new(),
            origin: Origin::default(),
            own_outputs: false,
            replaced: false,
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

    /// Resolves a text of an action. What remains is resolved again at execution: a `${` that was one already, or came
    /// out of a value, is kept literal.
    pub fn text(&mut self, text: &str, at: Place) -> Value {
        match self.resolved(text, at) {
            Some(Resolved::Known(value)) => literal(value),
            Some(Resolved::Deferred { text, .. }) => Value::String(text),
            None => Value::Null,
        }
    }

    /// Resolves a value that has to be known before the run; null where it is not, which is told.
    pub fn value_known_now(&mut self, node: &Node, what: &str) -> Value {
        match &node.value {
            NodeValue::Text { text, .. } => match self.resolved_now(text, node.at) {
                Some(Resolved::Known(value)) => value,
                Some(Resolved::Deferred { text, steps: false }) => Value::String(text),
                Some(Resolved::Deferred { steps: true, .. }) => {
                    let hint = "outputs of steps can be used in with: and in checks";
                    self.fault(node.at, format!("{what} must be known before the run"), hint);
                    Value::Null
                }
                None => Value::Null,
            },
            NodeValue::List(items) => Value::Array(items.iter().map(|item| self.value_known_now(item, what)).collect()),
            NodeValue::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, node)| (key.text.clone(), self.value_known_now(node, what)))
                    .collect::<Map<_, _>>(),
            ),
            NodeValue::Null | NodeValue::Bool(_) | NodeValue::Int(_) | NodeValue::Float(_) => node.json(),
        }
    }

    /// A text that people read (a title, a note, a phrase), with what is known before the run put in.
    pub fn words_known_now(&mut self, node: &Node, what: &str) -> Option<String> {
        node.word(what, &mut self.faults)?;
        match self.value_known_now(node, what) {
            Value::String(text) => Some(text),
            Value::Null => None,
            other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => Some(other.to_string()),
        }
    }

    /// Like `resolved`, where outputs of steps are no use: whether those exist is no question then.
    fn resolved_now(&mut self, text: &str, at: Place) -> Option<Resolved> {
        let references = std::mem::take(&mut self.references);
        let resolved = self.resolved(text, at);
        self.references = references;
        resolved
    }

    fn resolved(&mut self, text: &str, at: Place) -> Option<Resolved> {
        match self.try_text(text, at) {
            Ok(resolved) => Some(resolved),
            Err(error) => {
                self.fault(
                    at,
                    error.to_string(),
                    "expressions know vars.NAME and steps.ID.outputs.NAME; write $${ for a literal ${",
                );
                None
            }
        }
    }

    fn try_text(&mut self, text: &str, at: Place) -> Result<Resolved, ExpressionError> {
        let mut waits = Vec::new();
        let found = parts(text)?;
        for part in &found {
            if let Part::Expression(expression) = part {
                waits.push(self.waits(expression, at)?);
            }
        }
        if waits.iter().all(|waits| *waits == Waits::Nothing) {
            return interpolate(text, &self.scope).map(Resolved::Known);
        }
        let mut out = String::new();
        let mut each = waits.iter();
        for part in &found {
            match part {
                Part::Literal(literal) => out.push_str(&literal.replace("${", "$${")),
                Part::Expression(expression) => match each.next() {
                    Some(Waits::Steps | Waits::Imports) => {
                        out.push_str(&format!("${{ {} }}", self.with_copies(expression)));
                    }
                    Some(Waits::Nothing) | None => match evaluate(expression, &self.scope)? {
                        Value::String(text) => out.push_str(&text.replace("${", "$${")),
                        other => out.push_str(&other.to_string()),
                    },
                },
            }
        }
        Ok(Resolved::Deferred {
            text: out,
            steps: waits.contains(&Waits::Steps),
        })
    }

    /// An expression with the steps named that are meant here.
    fn with_copies(&self, expression: &str) -> String {
        rename_steps(expression, |name| self.source_of(name).ok())
    }

    /// What an expression waits for; remembers the outputs of steps that it uses.
    pub fn waits(&mut self, expression: &str, at: Place) -> Result<Waits, ExpressionError> {
        let used = names(expression)?;
        let of_steps = used.iter().filter(|name| name.starts_with("steps.")).count();
        if let Some(secret) = used
            .iter()
            .find(|name| *name == "secret" || name.starts_with("secret."))
        {
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
        if of_steps > 0 {
            return Ok(Waits::Steps);
        }
        let mut waits = Waits::Nothing;
        for name in used.iter().filter(|name| name.starts_with("imports.")) {
            if self.is_unknown_import(name)? {
                waits = Waits::Imports;
            }
        }
        Ok(waits)
    }

    /// Remembers a reference `steps.ID.outputs.NAME`; gives it with the step that is meant here.
    pub fn refer(&mut self, name: &str, at: Place) -> Result<String, ExpressionError> {
        let mut path = name.split('.');
        let (Some("steps"), Some(step), Some("outputs"), Some(output)) =
            (path.next(), path.next(), path.next(), path.next())
        else {
            return Err(ExpressionError(format!(
                "{name} is no output; write steps.ID.outputs.NAME"
            )));
        };
        match self.source_of(step) {
            Ok(source) => {
                let meant = rename_steps(name, |_| Some(source.clone()));
                self.references.insert(Reference {
                    from: self.step.clone(),
                    step: source,
                    name: step.to_owned(),
                    output: output.to_owned(),
                    at,
                    own_allowed: self.own_outputs,
                });
                Ok(meant)
            }
            Err(copies) => {
                let first = copies.first().cloned().unwrap_or_default();
                let message = format!(
                    "step {step} is repeated: its output {output} exists {} times",
                    copies.len()
                );
                self.fault(at, message, &format!("name one copy: steps.{first}.outputs.{output}"));
                Ok(name.to_owned())
            }
        }
    }
}

/// A value whose texts are not resolved again.
pub(super) fn literal(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace("${", "$${")),
        Value::Array(items) => Value::Array(items.into_iter().map(literal).collect()),
        Value::Object(map) => Value::Object(map.into_iter().map(|(key, value)| (key, literal(value))).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}
