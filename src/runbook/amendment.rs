//! Two plans side by side: what differs, in lines for people, and what an amendment of a run may not touch. Pure. Must
//! not know how far a run has come.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::plan::{Plan, PlannedStep, Span};
use super::text::duration_text;

/// Texts that are longer are shown around what differs.
const LONG: usize = 200;
/// So much of what is the same is shown on each side of it, in characters.
const AROUND: usize = 40;

/// What differs between a plan and one that would take its place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// What an amendment cannot change, each with what to do instead.
    pub refused: Vec<String>,
    /// Steps of both plans that differ in anything.
    pub changed: BTreeSet<String>,
    /// Those of them that differ in nothing but their after-checks and words.
    pub only_checks: BTreeSet<String>,
    /// Every difference: `+` new, `-` gone, `~` changed, indented what changed in it.
    pub lines: Vec<String>,
}

impl Difference {
    /// Whether the plans say the same.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

/// Compares `old` with `new`.
pub fn compare(old: &Plan, new: &Plan) -> Difference {
    let mut found = Difference {
        refused: refused(old, new),
        ..Difference::default()
    };
    whole(old, new, &mut found.lines);
    let position = |plan: &Plan, id: &str| plan.steps.iter().position(|step| step.id == id);
    for (index, step) in new.steps.iter().enumerate() {
        match old.steps.iter().find(|before| before.id == step.id) {
            None => added(index, step, &mut found.lines),
            Some(before) => changed(before, (index, step), &mut found),
        }
    }
    for step in old.steps.iter().filter(|step| position(new, &step.id).is_none()) {
        found
            .lines
            .push(format!("- step {} \"{}\" is taken out", step.id, step.title));
    }
    let order = |plan: &Plan, other: &Plan| -> Vec<String> {
        let both = plan.steps.iter().filter(|step| position(other, &step.id).is_some());
        both.map(|step| step.id.clone()).collect()
    };
    let (before, after) = (order(old, new), order(new, old));
    if before != after {
        found
            .lines
            .push(format!("~ the steps stand in another order: {}", after.join(", ")));
    }
    found
}

fn refused(old: &Plan, new: &Plan) -> Vec<String> {
    let mut refused = Vec::new();
    let mut same = |what: &str, same: bool| {
        if !same {
            refused.push(format!(
                "an amendment cannot change {what}; leave it as it was, or stop this run and begin another"
            ));
        }
    };
    let (ours, theirs) = (&old.environment, &new.environment);
    same("the runbook's name", old.name == new.name);
    same("the runbook's author, whom gates exclude", old.author == new.author);
    same("the people", ours.people == theirs.people);
    same("the connections", old.connections == new.connections);
    same("where secrets come from", old.secrets == new.secrets);
    same("the regions of residency", old.residency == new.residency);
    // A note on an imported run moves its head; what is imported from it stays.
    let imports = |plan: &Plan| {
        let mut imports = plan.imports.clone();
        for import in imports.values_mut() {
            import.head = None;
        }
        imports
    };
    same("the imported runs", imports(old) == imports(new));
    let rest = |plan: &Plan| {
        let mut environment = plan.environment.clone();
        environment.people.clear();
        environment
    };
    same(&format!("the environment {}", ours.name), rest(old) == rest(new));
    refused
}

/// What is not a step's.
fn whole(old: &Plan, new: &Plan, lines: &mut Vec<String>) {
    let of = |plan: &Plan| {
        let mut phases = BTreeMap::new();
        for phase in &plan.phases {
            phases.insert(phase.id.clone(), phase.title.clone());
        }
        serde_json::json!({
            "title": plan.title,
            "vars": plan.vars,
            "phases": phases,
            "unwind_gate": plan.unwind_gate,
            "point_of_no_return": plan.point_of_no_return,
            "commit": plan.commit,
            "preflight": plan.preflight.map(duration_text),
        })
    };
    let mut differing = Vec::new();
    walk("", &of(old), &of(new), &mut differing);
    lines.extend(differing.iter().map(|(path, words)| format!("~ {path}: {words}")));
}

fn added(index: usize, step: &PlannedStep, lines: &mut Vec<String>) {
    lines.push(format!(
        "+ step {} {} \"{}\" in phase {}",
        index + 1,
        step.id,
        step.title,
        step.phase
    ));
    let value = serde_json::to_value(step).unwrap_or(Value::Null);
    for (path, words) in leaves("", &value) {
        if !matches!(path.as_str(), "id" | "title" | "phase") {
            lines.push(format!("    {path}: {words}"));
        }
    }
}

fn changed(before: &PlannedStep, (index, step): (usize, &PlannedStep), found: &mut Difference) {
    if before == step {
        return;
    }
    let value = |step: &PlannedStep| serde_json::to_value(step).unwrap_or(Value::Null);
    let mut differing = Vec::new();
    walk("", &value(before), &value(step), &mut differing);
    found.changed.insert(step.id.clone());
    let words_or_checks = PlannedStep {
        title: before.title.clone(),
        notes: before.notes.clone(),
        after: before.after.clone(),
        expect: before.expect,
        deadline: before.deadline.clone(),
        ..step.clone()
    };
    if words_or_checks == *before {
        found.only_checks.insert(step.id.clone());
    }
    found
        .lines
        .push(format!("~ step {} {} \"{}\"", index + 1, step.id, step.title));
    found
        .lines
        .extend(differing.iter().map(|(path, words)| format!("    {path}: {words}")));
}

/// Every place where two values differ, with what it was and is.
fn walk(path: &str, old: &Value, new: &Value, differing: &mut Vec<(String, String)>) {
    if old == new {
        return;
    }
    match (old, new) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before {
                walk(
                    &joined(path, key),
                    value,
                    after.get(key).unwrap_or(&Value::Null),
                    differing,
                );
            }
            for (key, value) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
                walk(&joined(path, key), &Value::Null, value, differing);
            }
        }
        (Value::Array(before), Value::Array(after)) if before.iter().chain(after).any(Value::is_object) => {
            for index in 0..before.len().max(after.len()) {
                let at = |items: &[Value]| items.get(index).cloned().unwrap_or(Value::Null);
                walk(&format!("{path}[{index}]"), &at(before), &at(after), differing);
            }
        }
        (Value::String(before), Value::String(after)) if before.len().max(after.len()) > LONG => {
            differing.push((path.to_owned(), around(before, after)));
        }
        _ => differing.push((path.to_owned(), format!("{} → {}", shown(path, old), shown(path, new)))),
    }
}

/// Every value that says something, by its path.
fn leaves(path: &str, value: &Value) -> Vec<(String, String)> {
    match value {
        Value::Null | Value::Bool(false) => Vec::new(),
        Value::Object(map) => map
            .iter()
            .flat_map(|(key, value)| leaves(&joined(path, key), value))
            .collect(),
        Value::Array(items) if items.iter().any(Value::is_object) => {
            let each = items.iter().enumerate();
            each.flat_map(|(index, item)| leaves(&format!("{path}[{index}]"), item))
                .collect()
        }
        Value::Array(items) if items.is_empty() => Vec::new(),
        Value::Array(_) | Value::Bool(true) | Value::Number(_) | Value::String(_) => {
            vec![(path.to_owned(), shown(path, value))]
        }
    }
}

fn joined(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// Keys whose numbers are spans of time, in milliseconds.
const SPANS: &[&str] = &["timeout", "expect", "expires", "from", "to", "redo", "max_age"];

fn shown(path: &str, value: &Value) -> String {
    let key = path.rsplit('.').next().unwrap_or_default();
    let span = value
        .as_u64()
        .filter(|_| SPANS.contains(&key) && !path.contains("with."));
    if let Some(span) = span {
        return duration_text(Span(span));
    }
    match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => format!("\"{text}\""),
        other => other.to_string(),
    }
}

/// What differs of two long texts, all of it, with a little of what is the same before and after.
fn around(old: &str, new: &str) -> String {
    let (before, after): (Vec<char>, Vec<char>) = (old.chars().collect(), new.chars().collect());
    let head = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
    let most = before.len().min(after.len()) - head;
    let tails = before.iter().rev().zip(after.iter().rev()).take(most);
    let tail = tails.take_while(|(a, b)| a == b).count();
    let from = head.saturating_sub(AROUND);
    let part = |text: &[char]| -> String {
        let to = (text.len() - tail + AROUND).min(text.len());
        let open = if from > 0 { "…" } else { "" };
        let close = if to < text.len() { "…" } else { "" };
        let middle: String = text.get(from..to).unwrap_or_default().iter().collect();
        format!("\"{open}{middle}{close}\"")
    };
    format!(
        "{} → {} ({} of {} characters are the same)",
        part(&before),
        part(&after),
        head + tail,
        before.len()
    )
}
