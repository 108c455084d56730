//! `for_each:` on phases and steps: one step of the runbook becomes many, each with an id of its own. Owns the ids of
//! copies, what a loop's variable is, and what a name means to a step that is a copy itself.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;

use super::builder::Builder;
use super::fault::Place;
use super::node::{Node, NodeValue, known_keys};
use super::text::is_step_id;

/// The most items of one list.
const MOST_ITEMS: usize = 200;
/// The most steps of a plan.
const MOST_STEPS: usize = 10_000;
/// The longest part of an id that an item gives.
const LONGEST_KEY: usize = 64;
/// Names that expressions know already.
const TAKEN: &[&str] = &["vars", "env", "steps", "secret", "imports", "result"];
const PHASE_KEYS: &[&str] = &["id", "title", "steps", "for_each"];

/// A phase of the runbook with its steps, copies written out.
pub(super) struct PhaseUnits<'n> {
    pub id: String,
    pub title: String,
    pub units: Vec<Unit<'n>>,
}

/// A step to be read: one of the runbook, or a copy of one.
pub(super) struct Unit<'n> {
    pub node: &'n Node,
    /// The id of the step or the copy.
    pub id: String,
    /// The loops' variables.
    pub bound: Map<String, Value>,
    pub origin: Origin,
}

/// Where a step comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Origin {
    /// The id that the runbook gives it.
    pub declared: String,
    pub phase: usize,
    /// Which copy of its phase it belongs to.
    pub chain: usize,
    /// Which copy it is in all, from 0.
    pub copy: usize,
}

/// The copies of one step of the runbook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub phase: usize,
    /// Whether the step itself is repeated, not only its phase.
    pub repeated: bool,
    /// Each copy's id and chain.
    pub copies: Vec<(String, usize)>,
}

/// One item of a loop.
#[derive(Clone)]
struct Item {
    key: String,
    value: Value,
}

struct Loop {
    variable: String,
    items: Vec<Item>,
}

impl Builder<'_> {
    /// Every phase with its steps in order; fills in what names of repeated steps mean.
    pub(super) fn expand<'n>(&mut self, all: &'n Node) -> Vec<PhaseUnits<'n>> {
        let nodes = all.list("phases", &mut self.faults);
        let mut seen = BTreeSet::new();
        let mut count = 0;
        let mut phases = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let entries = node.map("a phase", &mut self.faults);
            known_keys(entries, PHASE_KEYS, "a phase", &mut self.faults);
            let id = node
                .get("id")
                .and_then(|node| node.word("id", &mut self.faults))
                .unwrap_or_default()
                .to_owned();
            if id.is_empty() {
                self.fault(node.at, "a phase has no id", "write id: prepare");
            } else if phases.iter().any(|phase: &PhaseUnits<'_>| phase.id == id) {
                let at = node.get("id").map_or(node.at, |node| node.at);
                self.fault(
                    at,
                    format!("the phase id {id} is here twice"),
                    "give one of them another id",
                );
            }
            let title = node.get("title").and_then(|node| self.words_known_now(node, "title"));
            let chains = match node.get("for_each") {
                None => vec![None],
                Some(node) => match self.for_each(node) {
                    None => Vec::new(),
                    Some(each) => each
                        .items
                        .into_iter()
                        .map(|item| Some((each.variable.clone(), item)))
                        .collect(),
                },
            };
            let steps = node
                .get("steps")
                .map(|node| node.list("steps", &mut self.faults))
                .unwrap_or_default();
            let mut units = Vec::new();
            for (chain, item) in chains.iter().enumerate() {
                for step in steps {
                    let before = units.len();
                    self.copies(step, (index, chain), item.as_ref(), &mut units);
                    count += units.len() - before;
                    if count > MOST_STEPS {
                        let hint = "split the night into several runbooks";
                        self.fault(step.at, "the plan has more than 10,000 steps", hint);
                        return Vec::new();
                    }
                }
            }
            for unit in &units {
                let at = unit.node.get("id").map_or(unit.node.at, |node| node.at);
                self.unique(&unit.id, at, &mut seen);
            }
            phases.push(PhaseUnits {
                title: title.unwrap_or_else(|| id.clone()),
                id,
                units,
            });
        }
        // A repeated step's own name means its copies: no other step may have it.
        for phase in &phases {
            for unit in phase.units.iter().filter(|unit| unit.origin.copy == 0) {
                if self.groups.contains_key(&unit.origin.declared) {
                    let at = unit.node.get("id").map_or(unit.node.at, |node| node.at);
                    self.unique(&unit.origin.declared, at, &mut seen);
                }
            }
        }
        phases
    }

    /// The copies of a step within one copy of its phase.
    fn copies<'n>(
        &mut self,
        node: &'n Node,
        (phase, chain): (usize, usize),
        outer: Option<&(String, Item)>,
        units: &mut Vec<Unit<'n>>,
    ) {
        let Some(declared) = self.declared_id(node) else { return };
        let mut bound = Map::new();
        let mut stem = declared.clone();
        if let Some((variable, item)) = outer {
            bound.insert(variable.clone(), item.value.clone());
            stem = format!("{stem}_{}", item.key);
        }
        let each = match node.get("for_each") {
            None => None,
            Some(each) => {
                self.bind(&bound);
                let each_item = self.for_each(each);
                self.unbind(&bound);
                let Some(each_item) = each_item else { return };
                Some(each_item)
            }
        };
        if each.is_none() && outer.is_none() {
            let origin = Origin {
                declared,
                phase,
                ..Origin::default()
            };
            let id = stem;
            units.push(Unit {
                node,
                id,
                bound,
                origin,
            });
            return;
        }
        let group = self.groups.entry(declared.clone()).or_insert_with(|| Group {
            phase,
            repeated: each.is_some(),
            copies: Vec::new(),
        });
        let mut copy = |id: String, bound: Map<String, Value>| {
            let origin = Origin {
                declared: declared.clone(),
                phase,
                chain,
                copy: group.copies.len(),
            };
            group.copies.push((id.clone(), chain));
            units.push(Unit {
                node,
                id,
                bound,
                origin,
            });
        };
        match each {
            None => copy(stem, bound),
            Some(each) => {
                for item in each.items {
                    let mut bound = bound.clone();
                    bound.insert(each.variable.clone(), item.value);
                    copy(format!("{stem}_{}", item.key), bound);
                }
            }
        }
    }

    fn declared_id(&mut self, node: &Node) -> Option<String> {
        node.map("a step", &mut self.faults);
        let Some(id) = node.get("id") else {
            self.fault(node.at, "a step has no id", "write id: freeze_writes");
            return None;
        };
        let text = id.word("id", &mut self.faults)?;
        if !is_step_id(text) {
            self.fault(
                id.at,
                format!("\"{text}\" is no step id"),
                "lower-case letters, digits and _, a letter first",
            );
        }
        Some(text.to_owned())
    }

    /// Ids that people or tools could take for one another are one id.
    fn unique(&mut self, id: &str, at: Place, seen: &mut BTreeSet<String>) {
        let folded: String = id.nfkc().flat_map(char::to_lowercase).collect();
        if !seen.insert(folded) {
            self.fault(
                at,
                format!("the step id {id} is here twice"),
                "ids must differ, also when case is folded",
            );
        }
    }

    /// `for_each: { VARIABLE: list }`
    fn for_each(&mut self, node: &Node) -> Option<Loop> {
        let entries = node.map("for_each", &mut self.faults);
        let [(key, list)] = entries else {
            if matches!(node.value, NodeValue::Map(_)) {
                let hint = "write for_each: { db: [crm, erp] }";
                self.fault(node.at, "for_each takes exactly one variable", hint);
            }
            return None;
        };
        let variable = key.text.clone();
        let result = self
            .catalogue
            .all()
            .any(|spec| spec.results.contains(&variable.as_str()));
        if !is_step_id(&variable) {
            let hint = "lower-case letters, digits and _, a letter first";
            self.fault(key.at, format!("\"{variable}\" is no name of a variable"), hint);
            return None;
        }
        if result || TAKEN.contains(&variable.as_str()) || self.scope.get(&variable).is_some() {
            let message = format!("expressions know {variable} as something else already");
            self.fault(key.at, message, "give the variable another name");
            return None;
        }
        self.secrets_within(list, &variable);
        let values = self.loop_values(list)?;
        if values.is_empty() {
            self.fault(list.at, "for_each has nothing to repeat over", "list at least one item");
            return None;
        }
        if values.len() > MOST_ITEMS {
            let message = format!("for_each has {} items, the limit is {MOST_ITEMS}", values.len());
            self.fault(list.at, message, "split the list");
            return None;
        }
        let mut items: Vec<Item> = Vec::new();
        let mut sound = true;
        for (value, at) in values {
            match self.item(value, at, &items) {
                Some(item) => items.push(item),
                None => sound = false,
            }
        }
        sound.then_some(Loop { variable, items })
    }

    /// What stands in a list is no more a place for a secret than anything else.
    fn secrets_within(&mut self, node: &Node, key: &str) {
        match &node.value {
            NodeValue::Text { text, .. } => self.literal_secret(node.at, key, text),
            NodeValue::List(items) => items.iter().for_each(|item| self.secrets_within(item, key)),
            NodeValue::Map(entries) => {
                for (key, node) in entries {
                    self.secrets_within(node, &key.text);
                }
            }
            NodeValue::Null | NodeValue::Bool(_) | NodeValue::Int(_) | NodeValue::Float(_) => {}
        }
    }

    fn loop_values(&mut self, list: &Node) -> Option<Vec<(Value, Place)>> {
        match &list.value {
            NodeValue::List(items) => Some(
                items
                    .iter()
                    .map(|item| (self.value_known_now(item, "for_each"), item.at))
                    .collect(),
            ),
            NodeValue::Text { .. } => match self.value_known_now(list, "for_each") {
                Value::Array(values) => Some(values.into_iter().map(|value| (value, list.at)).collect()),
                // Told already.
                Value::Null => None,
                other => {
                    self.fault(
                        list.at,
                        format!("for_each gives {other}, not a list"),
                        "name a list: ${ vars.databases }",
                    );
                    None
                }
            },
            NodeValue::Null | NodeValue::Bool(_) | NodeValue::Int(_) | NodeValue::Float(_) | NodeValue::Map(_) => {
                let message = format!("for_each repeats over {}, it must be a list", list.kind());
                self.fault(list.at, message, "write for_each: { db: [crm, erp] }");
                None
            }
        }
    }

    fn item(&mut self, value: Value, at: Place, before: &[Item]) -> Option<Item> {
        let scalar = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        let text = match &value {
            Value::Object(map) => map.get("id").and_then(scalar),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => scalar(&value),
        };
        let Some(text) = text else {
            let hint = "write a text or a number, or a map with the field id";
            self.fault(at, "an item gives no id to its copy", hint);
            return None;
        };
        let key = normalised(&text);
        if key.chars().all(|ch| ch == '_') || key.len() > LONGEST_KEY {
            let hint = "1 to 64 letters and digits; a map may say it in its field id";
            self.fault(at, format!("\"{text}\" gives no id"), hint);
            return None;
        }
        if before.iter().any(|item| item.key == key) {
            let hint = "ids are made of lower-case letters, digits and _; give the items others";
            self.fault(at, format!("two items give the id {key}"), hint);
            return None;
        }
        Some(Item { key, value })
    }

    /// Puts loops' variables into the scope of expressions.
    pub(super) fn bind(&mut self, bound: &Map<String, Value>) {
        if let Some(scope) = self.scope.as_object_mut() {
            scope.extend(bound.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
    }

    /// Takes them out again.
    pub(super) fn unbind(&mut self, bound: &Map<String, Value>) {
        if let Some(scope) = self.scope.as_object_mut() {
            scope.retain(|name, _| !bound.contains_key(name));
        }
    }

    /// The steps that a name means to a step of this origin: a step, all copies of one, or those of the same copy of
    /// the phase.
    pub(super) fn named(&self, name: &str, from: &Origin) -> Vec<String> {
        named(&self.groups, name, from)
    }

    /// The one step whose output `steps.NAME` means here; several: the copies to choose from.
    pub(super) fn source_of(&self, name: &str) -> Result<String, Vec<String>> {
        let Some(group) = self.groups.get(name) else {
            return Ok(name.to_owned());
        };
        if self.origin.declared == name {
            return Ok(self.step.clone());
        }
        let inside = group.phase == self.origin.phase;
        match self.named(name, &self.origin).as_slice() {
            [one] if inside && !group.repeated => Ok(one.clone()),
            _ => Err(group.copies.iter().map(|(id, _)| id.clone()).collect()),
        }
    }
}

/// See `Builder::named`.
pub(super) fn named(groups: &BTreeMap<String, Group>, name: &str, from: &Origin) -> Vec<String> {
    match groups.get(name) {
        None => vec![name.to_owned()],
        Some(group) => group
            .copies
            .iter()
            .filter(|(_, chain)| group.phase != from.phase || *chain == from.chain)
            .map(|(id, _)| id.clone())
            .collect(),
    }
}

fn normalised(text: &str) -> String {
    text.chars()
        .map(|ch| match ch.to_ascii_lowercase() {
            ch if ch.is_ascii_lowercase() || ch.is_ascii_digit() => ch,
            _ => '_',
        })
        .collect()
}
