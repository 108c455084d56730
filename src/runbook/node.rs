//! A parsed runbook as a tree of nodes with places. Owns the tree and the ways to take it apart with faults; knows
//! nothing of the runbook's meaning.

use serde_json::{Map, Number, Value};

use super::fault::{Fault, Place, nearest};

/// A node.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub at: Place,
    pub value: NodeValue,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeValue {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text { text: String, plain: bool },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key of a map.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    pub text: String,
    pub at: Place,
}

impl Node {
    /// What it is, for messages.
    pub const fn kind(&self) -> &'static str {
        match &self.value {
            NodeValue::Null => "nothing",
            NodeValue::Bool(_) => "true or false",
            NodeValue::Int(_) => "an integer",
            NodeValue::Float(_) => "a number",
            NodeValue::Text { .. } => "text",
            NodeValue::List(_) => "a list",
            NodeValue::Map(_) => "a map",
        }
    }

    /// Its text, where it is text.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            NodeValue::Text { text, .. } => Some(text),
            NodeValue::Null
            | NodeValue::Bool(_)
            | NodeValue::Int(_)
            | NodeValue::Float(_)
            | NodeValue::List(_)
            | NodeValue::Map(_) => None,
        }
    }

    /// The entry of a map.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            NodeValue::Map(entries) => entries.iter().find(|(name, _)| name.text == key).map(|(_, node)| node),
            NodeValue::Null
            | NodeValue::Bool(_)
            | NodeValue::Int(_)
            | NodeValue::Float(_)
            | NodeValue::Text { .. }
            | NodeValue::List(_) => None,
        }
    }

    /// The same as JSON.
    pub fn json(&self) -> Value {
        match &self.value {
            NodeValue::Null => Value::Null,
            NodeValue::Bool(flag) => Value::Bool(*flag),
            NodeValue::Int(number) => Value::from(*number),
            NodeValue::Float(number) => Number::from_f64(*number).map_or(Value::Null, Value::Number),
            NodeValue::Text { text, .. } => Value::String(text.clone()),
            NodeValue::List(items) => Value::Array(items.iter().map(Self::json).collect()),
            NodeValue::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, node)| (key.text.clone(), node.json()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    /// Its entries; a fault when it is no map.
    pub fn map(&self, what: &str, faults: &mut Vec<Fault>) -> &[(Key, Self)] {
        if let NodeValue::Map(entries) = &self.value {
            return entries;
        }
        faults.push(Fault::new(
            self.at,
            format!("{what} is {}, it must be a map", self.kind()),
        ));
        &[]
    }

    /// Its items; a fault when it is no list.
    pub fn list(&self, what: &str, faults: &mut Vec<Fault>) -> &[Self] {
        if let NodeValue::List(items) = &self.value {
            return items;
        }
        faults.push(Fault::new(
            self.at,
            format!("{what} is {}, it must be a list", self.kind()),
        ));
        &[]
    }

    /// Its text; a fault when it is not.
    pub fn word(&self, what: &str, faults: &mut Vec<Fault>) -> Option<&str> {
        let text = self.text();
        if text.is_none() {
            faults.push(
                Fault::new(self.at, format!("{what} is {}, it must be text", self.kind())).hint("write it in quotes"),
            );
        }
        text
    }

    /// True or false; a fault when it is not. YAML 1.1's other words are named.
    pub fn flag(&self, what: &str, faults: &mut Vec<Fault>) -> Option<bool> {
        match &self.value {
            NodeValue::Bool(flag) => Some(*flag),
            NodeValue::Text { text, .. } if ["yes", "no", "on", "off", "y", "n"].contains(&&*text.to_lowercase()) => {
                faults.push(Fault::new(self.at, format!("{what} is \"{text}\"")).hint("write true or false"));
                None
            }
            NodeValue::Null
            | NodeValue::Int(_)
            | NodeValue::Float(_)
            | NodeValue::Text { .. }
            | NodeValue::List(_)
            | NodeValue::Map(_) => {
                faults.push(Fault::new(
                    self.at,
                    format!("{what} is {}, it must be true or false", self.kind()),
                ));
                None
            }
        }
    }

    /// An integer within bounds; a fault when it is not.
    pub fn integer(&self, what: &str, min: i64, max: i64, faults: &mut Vec<Fault>) -> Option<i64> {
        match &self.value {
            NodeValue::Int(number) if (min..=max).contains(number) => Some(*number),
            NodeValue::Int(number) => {
                faults.push(Fault::new(
                    self.at,
                    format!("{what} is {number}, it must be from {min} to {max}"),
                ));
                None
            }
            NodeValue::Null
            | NodeValue::Bool(_)
            | NodeValue::Float(_)
            | NodeValue::Text { .. }
            | NodeValue::List(_)
            | NodeValue::Map(_) => {
                faults.push(Fault::new(
                    self.at,
                    format!("{what} is {}, it must be an integer", self.kind()),
                ));
                None
            }
        }
    }

    /// A list of texts, or one text alone.
    pub fn words(&self, what: &str, faults: &mut Vec<Fault>) -> Vec<String> {
        if let Some(text) = self.text() {
            return vec![text.to_owned()];
        }
        self.list(what, faults)
            .iter()
            .filter_map(|item| item.word(what, faults).map(str::to_owned))
            .collect()
    }
}

/// A fault for each key that is not known, with the nearest name.
pub fn known_keys(entries: &[(Key, Node)], known: &[&str], what: &str, faults: &mut Vec<Fault>) {
    for (key, _) in entries {
        if !known.contains(&key.text.as_str()) {
            let hint = nearest(&key.text, known.iter().copied())
                .unwrap_or_else(|| format!("known here: {}", known.join(", ")));
            faults.push(Fault::new(key.at, format!("{what} has no field \"{}\"", key.text)).hint(hint));
        }
    }
}
