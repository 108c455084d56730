//! What a plan is made of and how it hangs together: gates, checks and rollbacks as they are read, the graph with steps
//! that are not on the way, included files, repeated steps, imports. Faults by their places, plans by their parts.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod gates;
mod included;
mod repeated;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};

use chrono::{DateTime, Utc};
use pointsman::provider::registry::catalogue;
use pointsman::runbook::fault::{Fault, Severity};
use pointsman::runbook::plan::{GateKind, GateTimeout, Plan, PlannedStep, Rollback, Span, WindowEnd};
use pointsman::runbook::sources::{ImportedRun, Refusal, Sources};
use pointsman::runbook::{check, includes, plan};
use serde_json::{Value, json};

use support::Place;

const SOUND: &str = include_str!("../fixtures/sound.yaml");

fn now() -> DateTime<Utc> {
    DateTime::parse_from_rfc3339("2026-06-01T00:00:00Z")
        .unwrap()
        .with_timezone(&Utc)
}

/// The sound fixture with pieces replaced.
#[track_caller]
fn sound(pieces: &[(&str, &str)]) -> String {
    let mut text = SOUND.to_owned();
    for (from, to) in pieces {
        assert!(text.contains(from), "the fixture has no {from}");
        text = text.replacen(from, to, 1);
    }
    text
}

/// `line:col: message = hint` of every fault of a severity.
fn told(faults: &[Fault], severity: Severity) -> Vec<String> {
    faults
        .iter()
        .filter(|fault| fault.severity == severity)
        .map(|fault| {
            let hint = fault.hint.clone().unwrap_or_default();
            let file = match fault.place.file {
                0 => String::new(),
                file => format!("{file}/"),
            };
            format!(
                "{file}{}:{}: {} = {hint}",
                fault.place.line, fault.place.col, fault.message
            )
        })
        .collect()
}

/// Each fault where it should be, and nothing else; a place is `line:col`, or the words of `text` that begin there.
#[track_caller]
fn expect(found: &[String], wanted: &[(&str, &str)], text: &str) {
    assert_eq!(found.len(), wanted.len(), "{found:#?}\n{text}");
    for (found, (mark, words)) in found.iter().zip(wanted) {
        let at = place_of(mark, text);
        assert!(
            found.starts_with(&format!("{at}: ")),
            "{mark} at {at}, {words}: {found}\n{text}"
        );
        assert!(found.contains(words), "{words}: {found}\n{text}");
    }
}

#[track_caller]
fn place_of(mark: &str, text: &str) -> String {
    if mark.chars().all(|ch| ch.is_ascii_digit() || ":/".contains(ch)) {
        return mark.to_owned();
    }
    let at = text.find(mark).unwrap_or_else(|| panic!("{mark} is not in\n{text}"));
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let col = before.rsplit('\n').next().unwrap().chars().count() + 1;
    format!("{line}:{col}")
}

#[track_caller]
fn errors(text: &str, wanted: &[(&str, &str)]) {
    let faults = check(text.as_bytes(), None, &catalogue(), now());
    expect(&told(&faults, Severity::Error), wanted, text);
}

#[track_caller]
fn planned(text: &str) -> Plan {
    plan(text.as_bytes(), "lab", &catalogue(), now()).unwrap_or_else(|faults| panic!("{faults:#?}\n{text}"))
}

fn step<'a>(plan: &'a Plan, id: &str) -> &'a PlannedStep {
    let ids: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
    plan.steps
        .iter()
        .find(|step| step.id == id)
        .unwrap_or_else(|| panic!("no step {id} in {ids:?}"))
}

/// Each step with its needs: `b←a,c`.
fn graph(plan: &Plan) -> Vec<String> {
    plan.steps
        .iter()
        .map(|step| format!("{}←{}", step.id, step.needs.join(",")))
        .collect()
}

const ON: &str = "        on: source\n";

/// A runbook of steps that ask; each line is `id` or `id: more fields`; a line `- id` begins a phase.
fn asking(lines: &[&str]) -> String {
    let mut text = "version: 1\nname: asking\nvars:\n  databases: [crm, erp]\nphases:\n".to_owned();
    for line in lines {
        if let Some(phase) = line.strip_prefix("- ") {
            let (id, more) = phase.split_once(": ").unwrap_or((phase, ""));
            let more = if more.is_empty() {
                String::new()
            } else {
                format!("    {more}\n")
            };
            text.push_str(&format!("  - id: {id}\n{more}    steps:\n"));
            continue;
        }
        let (id, more) = line.split_once(": ").unwrap_or((line, ""));
        let more = if more.is_empty() {
            String::new()
        } else {
            format!(", {more}")
        };
        text.push_str(&format!(
            "      - {{ id: {id}, uses: sql.query, on: source, with: {{ sql: select 1 }}, outputs: {{ n: result.value }}{more} }}\n"
        ));
    }
    text
}

const NO_RETURN: &str = "      - { id: gone, uses: sql.exec, on: target, with: { sql: delete from orders }, rollback: { irreversible: gone } }\n";
