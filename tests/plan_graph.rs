//! What a plan is made of and how it hangs together: gates, checks and rollbacks as they are read, the graph with steps
//! that are not on the way, included files, repeated steps, imports. Faults by their places, plans by their parts.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

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

const SOUND: &str = include_str!("fixtures/sound.yaml");

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

#[test]
fn a_live_check_says_how_old_a_sample_may_be() {
    let with = |live: &str| {
        let checks = format!(
            "{ON}        checks:\n          before:\n            - {{ uses: sql.query, on: source, with: {{ sql: select 1 }}, live: {live} }}\n"
        );
        sound(&[(ON, &checks)])
    };
    let plan = planned(&with("{ max_age: 90s, hysteresis: 2 }"));
    let live = step(&plan, "first").before[0].live.unwrap();
    assert_eq!((live.max_age, live.hysteresis), (Span(90_000), 2));
    assert!(plan.not_available.is_empty());
    let live = step(&planned(&with("{ max_age: 1m }")), "first").before[0]
        .live
        .unwrap();
    assert_eq!(live.hysteresis, 1);
    errors(
        &with("{ hysteresis: 2 }"),
        &[("{ hysteresis: 2 }", "how old a sample may be")],
    );
    errors(&with("{ max_age: 0s }"), &[("0s", "max_age is 0")]);
    errors(&with("{ max_age: 1s, hysteresis: 21 }"), &[("21 }", "from 1 to 20")]);
    errors(
        &with("{ max_age: 1s, hysterese: 2 }"),
        &[("hysterese", "did you mean hysteresis?")],
    );
    let after = with("{ max_age: 90s }").replace("before:", "after:");
    errors(&after, &[("{ max_age: 90s }", "read once")]);
}

#[test]
fn a_rollback_has_one_form_and_its_checks() {
    let with = |rollback: &str| sound(&[("rollback: { not_needed: it is a test }", rollback)]);
    let undo = "uses: sql.exec, on: target, with: { sql: delete from orders }";
    let checks = "checks: { before: [{ uses: sql.query, on: target, with: { sql: select 1 } }] }";
    let plan = planned(&with(&format!("rollback: {{ {undo}, parallel: true, {checks} }}")));
    let Rollback::Action { before, parallel, .. } = &step(&plan, "second").rollback else {
        panic!("no action");
    };
    assert!(*parallel);
    assert_eq!(before.len(), 1);
    errors(
        &with("rollback: { not_needed: why, parallel: true }"),
        &[("parallel", "a rollback that is not_needed has no parallel")],
    );
    errors(
        &with(&format!("rollback: {{ {undo}, redo: 30h }}")),
        &[("redo", "a rollback that is an action has no redo")],
    );
    let live = checks.replace("select 1 }", "select 1 }, live: { max_age: 1s }");
    errors(
        &with(&format!("rollback: {{ {undo}, {live} }}")),
        &[("{ max_age: 1s }", "read once")],
    );
}

#[test]
fn a_gate_that_times_out_says_when_and_who_is_asked_then() {
    let with = |gate: &str| sound(&[(ON, &format!("{ON}        gate: {gate}\n"))]);
    let text = with(
        "{ approve: { roles: [dba] }, expires: 30m, timeout: escalate, escalate: { roles: [lead], min: 2, org: client, distinct_from: [operator] } }",
    );
    let gate = &step(&planned(&text), "first").gate.clone();
    assert_eq!(gate.on_timeout, GateTimeout::Escalate);
    let Some(GateKind::Quorum { roles, min, .. }) = &gate.escalate else {
        panic!("{gate:?}");
    };
    assert_eq!((roles.as_slice(), *min), (["lead".to_owned()].as_slice(), 2));
    errors(
        &with("{ expires: 30m, timeout: escalate }"),
        &[("escalate }", "escalates to nobody")],
    );
    errors(
        &with("{ expires: 30m, escalate: { roles: [lead] } }"),
        &[("{ roles: [lead] }", "nobody is ever asked")],
    );
    errors(
        &with("{ timeout: reject }"),
        &[("reject", "this gate never times out = add expires")],
    );
    errors(
        &with("{ timeout: escalate, escalate: { min: 1 } }"),
        &[
            ("escalate, ", "never times out"),
            ("{ min: 1 }", "escalate names no role"),
        ],
    );
}

const WINDOW: &str =
    "window: { opens: 2130-01-01T22:00:00-03:00, closes: 2130-01-02T02:00:00-03:00, timezone: America/Sao_Paulo";

#[test]
fn a_window_says_what_happens_at_its_end() {
    let with = |more: &str| sound(&[("kind: lab", &format!("kind: lab, {WINDOW}{more} }}"))]);
    let plan = planned(&with(
        ", at_end: hold, extend: { approve: { roles: [approver], min: 2 }, phrase: longer }",
    ));
    let window = plan.environment.window.unwrap();
    assert_eq!(window.at_end, WindowEnd::Hold);
    assert_eq!(window.extend.unwrap().phrase.as_deref(), Some("longer"));
    let window = planned(&with("")).environment.window.unwrap();
    assert_eq!((window.at_end, window.extend), (WindowEnd::Ask, None));
    errors(&with(", at_end: holt"), &[("holt", "did you mean hold?")]);
    errors(
        &with(", extend: { none: why }"),
        &[("why }", "only a read may go without a gate")],
    );
}

#[test]
fn a_deadline_is_warned_of_where_it_cannot_help() {
    let deadline = |time: &str| format!("{ON}        deadline: \"{time}\"\n");
    let warned = |text: &str| {
        told(
            &check(text.as_bytes(), Some("lab"), &catalogue(), now()),
            Severity::Warning,
        )
    };
    let bare = sound(&[(ON, &deadline("22:20"))]);
    expect(&warned(&bare), &[("\"22:20\"", "there is no window")], &bare);
    let window = format!("kind: lab, {WINDOW} }}");
    let good = sound(&[(ON, &deadline("22:20")), ("kind: lab", &window)]);
    expect(&warned(&good), &[], &good);
    let late = sound(&[(ON, &deadline("02:20")), ("kind: lab", &window)]);
    expect(&warned(&late), &[("\"02:20\"", "after the window closes")], &late);
    let zoneless = window.replace(", timezone: America/Sao_Paulo", "");
    let zoneless = sound(&[(ON, &deadline("01:20")), ("kind: lab", &zoneless)]);
    expect(&warned(&zoneless), &[("\"01:20\"", "read in UTC")], &zoneless);
    errors(&sound(&[(ON, &deadline("25:20"))]), &[("\"25:20\"", "no time of day")]);
}

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

#[test]
fn a_step_that_falls_forward_is_not_on_the_way() {
    let text = asking(&[
        "- one",
        "a",
        "f: fall_forward: true",
        "b",
        "g: fall_forward: true, needs: [f]",
        "- two",
        "c",
    ]);
    let text = text.replace("  - id: two", &format!("{NO_RETURN}  - id: two"));
    let plan = planned(&text);
    assert_eq!(
        graph(&plan),
        ["a←", "f←a", "b←a", "g←f", "gone←b", "c←gone"],
        "neither a default need nor a sink"
    );
    assert!(step(&plan, "f").fall_forward);
    errors(&text, &[]);
    let needed = text.replace("id: b,", "id: b, needs: [f],");
    errors(&needed, &[("f], uses", "step b needs f, which is not on the way")]);
    let used = text.replace(
        "id: b, uses: sql.query, on: source, with: { sql: select 1 }",
        "id: b, uses: sql.query, on: source, with: { sql: select 1, params: [\"${ steps.f.outputs.n }\"] }",
    );
    errors(&used, &[("\"${ steps.f", "does not need = it is not on the way")]);
    errors(
        &asking(&["- one", "a", "f: fall_forward: true"]),
        &[("true }", "for after a point of no return, and there is none")],
    );
}

#[test]
fn a_repeated_step_becomes_a_step_for_each_item() {
    let text = asking(&[
        "- one",
        "start",
        "snap: for_each: { db: [crm, \"ERP 1\"] }, title: \"Snapshot of ${ db }\", notes: \"for ${ db }\", gate: { phrase: \"${ db }\" }",
        "next",
        "late: needs: [start]",
        "- two",
        "both: needs: [snap]",
        "own: with: { sql: select 1 }",
    ])
    .replace("with: { sql: select 1 }, outputs: { n: result.value }, with: { sql: select 1 }", "with: { sql: select 1, params: [\"${ steps.snap_crm.outputs.n }\"] }");
    let plan = planned(&text);
    assert_eq!(
        graph(&plan),
        [
            "start←",
            "snap_crm←start",
            "snap_erp_1←start",
            "next←snap_crm,snap_erp_1",
            "late←start",
            "both←snap_crm,snap_erp_1,next,late",
            "own←both",
        ]
    );
    let copy = step(&plan, "snap_erp_1");
    assert_eq!(copy.title, "Snapshot of ERP 1");
    assert_eq!(copy.notes.as_deref(), Some("for ERP 1"));
    assert_eq!(copy.gate.phrase.as_deref(), Some("ERP 1"));
    assert_eq!(plan.phases[0].steps.len(), 5);
}

#[test]
fn an_item_may_be_a_map_and_a_list_a_variable() {
    let text = asking(&[
        "- one",
        "snap: for_each: { db: \"${ vars.databases }\" }, rollback: { not_needed: \"${ db.name } is kept\" }",
    ])
    .replace(
        "databases: [crm, erp]",
        "databases: [{ id: crm, name: CRM, rows: 7 }, { id: erp, name: ERP, rows: 8 }]",
    )
    .replace(
        "sql: select 1 }",
        "sql: select 1, params: [\"${ db.rows }\", \"${ db.name ~ '!' }\"] }",
    );
    let plan = planned(&text);
    assert_eq!(
        graph(&plan),
        ["snap_crm←", "snap_erp←"],
        "copies do not need each other"
    );
    let erp = step(&plan, "snap_erp");
    assert_eq!(erp.action.with["params"], json!([8, "ERP!"]), "a value keeps its type");
    let Rollback::NotNeeded { reason } = &erp.rollback else {
        panic!("{:?}", erp.rollback);
    };
    assert_eq!(reason, "ERP is kept");
}

#[test]
fn a_loops_variable_is_known_in_sql_names_checks_predicates_and_the_way_back() {
    let text = sound(&[
        ("id: first", "id: first\n        for_each: { db: [crm, erp] }"),
        ("sql: select 1\n", "sql: \"select count(*) from ${ db | ident }\"\n"),
        (
            "        outputs: { rows: result.rows }\n",
            "        outputs: { rows: result.rows }\n        checks: { after: [{ uses: sql.assert, on: source, with: { sql: select 1, expect: \"value != db\" } }] }\n",
        ),
        (
            "id: second",
            "id: second\n        for_each: { db: [crm, erp] }\n        outputs: { n: result.rows_affected }",
        ),
        (
            "{ not_needed: it is a test }",
            "{ uses: sql.exec, on: target, with: { sql: delete from orders, params: [\"${ db }\", \"${ steps.second.outputs.n }\"] } }",
        ),
    ]);
    let affected = catalogue().find("sql.exec").unwrap().results[0];
    let text = text.replace("rows_affected", affected);
    let plan = planned(&text);
    let first = step(&plan, "first_erp");
    assert_eq!(first.action.with["sql"], json!("select count(*) from \"erp\""));
    assert_eq!(first.after[0].with["expect"]["known"], json!({ "db": "erp" }));
    assert_eq!(first.after[0].with["expect"]["predicate"], json!("value != db"));
    let Rollback::Action { action, .. } = &step(&plan, "second_crm").rollback else {
        panic!("no action");
    };
    assert_eq!(action.with["params"], json!(["crm", "${ steps.second_crm.outputs.n }"]));
}

#[test]
fn a_loop_chooses_connections_and_owners_and_keeps_no_secret() {
    let text = asking(&[
        "- one",
        "s: for_each: { db: [{ id: a, on: source }, { id: b, on: target }] }, owner: \"${ db.id }\"",
    ])
    .replace("on: source, with", "on: \"${ db.on }\", with");
    let plan = planned(&text);
    assert_eq!(step(&plan, "s_a").action.on, ["source"]);
    assert_eq!(step(&plan, "s_b").action.on, ["target"]);
    assert_eq!(step(&plan, "s_b").owner.as_deref(), Some("b"));
    errors(
        &text.replace("on: target }", "on: tarket }"),
        &[("\"${ db.on", "there is no connection tarket = did you mean target?")],
    );
    errors(
        &text.replace("id: a,", "id: a, password: hunter2hunter2,"),
        &[("hunter2", "a literal secret stands in password")],
    );
    let down = asking(&[
        "- one",
        "s: for_each: { db: [a] }, downtime: begins",
        "t: downtime: ends",
    ]);
    errors(&down, &[("begins }", "step s is repeated: downtime has one begin")]);
}

#[test]
fn a_value_that_looks_like_an_expression_is_none() {
    let text = sound(&[
        ("who: world", "who: \"${ steps.first.outputs.rows }\""),
        ("params: [1]", "params: [\"${ vars.who }\", \"$${HOME}\"]"),
    ]);
    let params = step(&planned(&text), "second").action.with["params"].clone();
    let resolved = pointsman::runbook::expression::resolve(&params, &BTreeMap::new()).unwrap();
    assert_eq!(resolved, json!(["${ steps.first.outputs.rows }", "${HOME}"]));
}

#[test]
fn a_repeated_phase_has_a_chain_for_each_item() {
    let text = asking(&[
        "- zero",
        "z",
        "- one: for_each: { db: \"${ vars.databases }\" }",
        "a",
        "b: needs: [a]",
        "c: for_each: { part: [1, 2] }, title: \"${ db } ${ part }\"",
        "d",
        "- two",
        "e",
    ]);
    let text = text.replace(
        "id: b, uses: sql.query, on: source, with: { sql: select 1 }",
        "id: b, uses: sql.query, on: source, with: { sql: select 1, params: [\"${ steps.a.outputs.n }\"] }, checks: { after: [{ uses: sql.assert, on: source, with: { sql: select 1, expect: value == steps.a.outputs.n } }] }",
    );
    let plan = planned(&text);
    assert_eq!(
        graph(&plan),
        [
            "z←",
            "a_crm←z",
            "b_crm←a_crm",
            "c_crm_1←b_crm",
            "c_crm_2←b_crm",
            "d_crm←c_crm_1,c_crm_2",
            "a_erp←z",
            "b_erp←a_erp",
            "c_erp_1←b_erp",
            "c_erp_2←b_erp",
            "d_erp←c_erp_1,c_erp_2",
            "e←d_crm,d_erp",
        ]
    );
    assert_eq!(plan.phases.len(), 3);
    let b = step(&plan, "b_erp");
    assert_eq!(b.action.with["params"], json!(["${ steps.a_erp.outputs.n }"]));
    assert_eq!(
        b.after[0].with["expect"]["steps"],
        json!({ "a": { "outputs": { "n": "${ steps.a_erp.outputs.n }" } } }),
        "the predicate keeps the name, the value is the copy's"
    );
    assert_eq!(step(&plan, "c_erp_2").title, "erp 2");
}

#[test]
fn an_output_of_a_repeated_step_is_that_of_one_copy() {
    let text = asking(&["- one", "snap: for_each: { db: [crm, erp] }", "next"]);
    let with = |output: &str| {
        text.replace(
            "id: next, uses: sql.query, on: source, with: { sql: select 1 }",
            &format!("id: next, uses: sql.query, on: source, with: {{ sql: select 1, params: [\"${{ {output} }}\"] }}"),
        )
    };
    errors(
        &with("steps.snap.outputs.n"),
        &[(
            "\"${ steps.snap.",
            "exists 2 times = name one copy: steps.snap_crm.outputs.n",
        )],
    );
    errors(&with("steps.snap_erp.outputs.n"), &[]);
    errors(
        &with("steps.snap_erq.outputs.n"),
        &[("\"${ steps.snap_erq", "did you mean snap_erp?")],
    );
}

#[test]
fn what_a_loop_cannot_be_is_told_once_with_its_place() {
    let with = |each: &str| asking(&["- one", &format!("s: for_each: {each}")]);
    errors(&with("{ db: [a, A] }"), &[("A] }", "two items give the id a")]);
    errors(&with("{ db: [] }"), &[("[] }", "nothing to repeat over")]);
    errors(
        &with("{ db: [a], t: [b] }"),
        &[("{ db: [a], t", "exactly one variable")],
    );
    errors(
        &with("{ vars: [a] }"),
        &[("vars: [a]", "know vars as something else already")],
    );
    errors(
        &with("{ rows: [a] }"),
        &[("rows: [a]", "know rows as something else already")],
    );
    errors(&with("{ db: [\"--\"] }"), &[("\"--\"", "gives no id")]);
    errors(
        &with("{ db: [{ name: x }] }"),
        &[("{ name: x }", "gives no id to its copy")],
    );
    errors(
        &with("{ db: \"${ vars.who }\" }"),
        &[("\"${ vars.who", "`vars.who` is not defined")],
    );
    errors(&with("{ db: \"${ env.name }\" }"), &[("\"${ env", "not a list")]);
    errors(&with("{ db: x }"), &[("x }", "not a list")]);
    errors(
        &with("{ db: \"${ steps.s.outputs.n }\" }"),
        &[("\"${ steps.s", "must be known before the run")],
    );
    let many: Vec<String> = (0..201).map(|number| number.to_string()).collect();
    errors(
        &with(&format!("{{ db: [{}] }}", many.join(", "))),
        &[("[0, 1", "has 201 items")],
    );
    errors(
        &with("{ db: [a, b, c] }, title: \"${ dbs }\""),
        &[("\"${ dbs", "`dbs` is not defined")],
    );
    let clash = asking(&["- one", "s: for_each: { db: [a] }", "s_a"]);
    errors(&clash, &[("s_a, ", "the step id s_a is here twice")]);
    let fixed: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    let list = format!("for_each: {{ x: [{}] }}", fixed.join(", "));
    let phase = format!("- one: {}", list.replace("x:", "y:"));
    errors(
        &asking(&[&phase, &format!("s: {list}")]),
        &[("{ id: s,", "more than 10,000 steps")],
    );
}

#[test]
fn the_largest_plan_is_made_in_time() {
    let list: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    let names: Vec<String> = (0..50)
        .map(|number| format!("s{number}: for_each: {{ x: \"${{ vars.databases }}\" }}"))
        .collect();
    let mut lines = vec!["- one"];
    lines.extend(names.iter().map(String::as_str));
    let began = std::time::Instant::now();
    let plan = planned(&asking(&lines).replace("crm, erp", &list.join(", ")));
    assert_eq!(plan.steps.len(), 10_000);
    assert!(began.elapsed().as_secs() < 120, "{:?}", began.elapsed());
}

#[test]
fn a_runbook_cut_anywhere_is_told_of_and_breaks_nothing() {
    let lines = [
        "- one: for_each: { db: \"${ vars.databases }\" }",
        "a: live: 1, deadline: \"22:20\"",
        "b: needs: [a, c], title: \"${ db ~ steps.a.outputs.n }\"",
        "- two",
        "c: for_each: { t: [{ id: x, n: [1] }, 2] }, gate: { timeout: escalate, escalate: { roles: [a] } }",
        "f: fall_forward: true, needs: [c], rollback: { parallel: true }",
    ];
    let text = format!("{IMPORT}{}", asking(&lines));
    let told = |text: &str| check(text.as_bytes(), None, &catalogue(), now()).len();
    assert!(told(&text) > 5);
    let mut silent = 0;
    for at in (0..text.len()).step_by(3) {
        let (before, after) = text.split_at(at);
        for cut in [
            before.to_owned(),
            format!("{before}{}", &after[1..]),
            format!("{before}]{after}"),
        ] {
            silent += usize::from(told(&cut) == 0);
        }
    }
    assert_eq!(silent, 0);
}

/// A runbook with included files; a refusal stands for a file that could not be read.
fn with_parts<'a>(main: &'a str, parts: &[(&'a str, &'a str)]) -> Sources<'a> {
    let mut sources = Sources::from(main.as_bytes());
    for (name, text) in parts {
        sources.parts.insert(name, Ok(text.as_bytes()));
    }
    sources
}

#[track_caller]
fn errors_of(sources: &Sources<'_>, wanted: &[(&str, &str)]) {
    let faults = check(sources.clone(), None, &catalogue(), now());
    expect(&told(&faults, Severity::Error), wanted, "");
}

const PART: &str =
    "phases:\n  - id: part\n    steps:\n      - { id: inner, uses: sql.query, on: source, with: { sql: select 1 } }\n";

fn including(path: &str) -> String {
    sound(&[("phases:\n", &format!("phases:\n  - {{ include: \"{path}\" }}\n"))])
}

#[test]
fn an_included_file_gives_its_phases_and_is_covered_by_every_digest() {
    let main = including("parts/a.yaml");
    assert_eq!(includes(main.as_bytes()), ["parts/a.yaml"]);
    let made = |part: &str| plan(with_parts(&main, &[("parts/a.yaml", part)]), "lab", &catalogue(), now()).unwrap();
    let before = made(PART);
    assert_eq!(graph(&before), ["inner←", "first←inner", "second←first"]);
    let changed = made(&PART.replace("select 1", "select 2")).digests;
    assert_ne!(before.digests.runbook, changed.runbook);
    assert_ne!(before.digests.plan, changed.plan);
    assert_ne!(before.digests.rehearsal, changed.rehearsal);
    let comment = made(&format!("# a comment\n{PART}")).digests;
    assert_ne!(before.digests.runbook, comment.runbook, "every byte");
    assert_eq!(before.digests.plan, comment.plan);
    let moved = including("parts/b.yaml");
    let moved = plan(
        with_parts(&moved, &[("parts/b.yaml", PART)]),
        "lab",
        &catalogue(),
        now(),
    )
    .unwrap();
    assert_ne!(before.digests.runbook, moved.digests.runbook, "and every name");
}

#[test]
fn a_fault_of_an_included_file_names_it() {
    let main = including("parts/a.yaml");
    let bad = PART.replace("sql: select 1", "sqll: select 1");
    let sources = with_parts(&main, &[("parts/a.yaml", &bad)]);
    errors_of(&sources, &[("1/4:57", "needs the parameter"), ("1/4:59", "sqll")]);
    let faults = check(sources.clone(), None, &catalogue(), now());
    let text = pointsman::runbook::fault::render(&faults, "night.yaml", &sources);
    assert!(
        text.contains("parts/a.yaml:4:59: error: sql.query has no parameter"),
        "{text}"
    );
    assert!(text.contains("sqll: select 1"), "{text}");
    for (part, at, words) in [
        ("", "1/1:1", "the included file is empty"),
        ("phases: [\n", "1/1:9", "not YAML"),
        ("name: x\nphases: []\n", "1/1:1", "no field \"name\""),
        ("version: 2\nphases: []\n", "1/1:10", "knows version 1"),
        ("version: 1\n", "1/1:1", "has no phases"),
        ("phases: [{ include: a, steps: [] }]\n", "1/1:24", "no field \"steps\""),
    ] {
        let faults = check(with_parts(&main, &[("parts/a.yaml", part)]), None, &catalogue(), now());
        let found = told(&faults, Severity::Error);
        assert!(
            found
                .iter()
                .any(|found| found.starts_with(&format!("{at}: ")) && found.contains(words)),
            "{at} {words}: {found:#?}"
        );
    }
}

#[test]
fn what_may_not_be_included_is_told_where_it_is_named() {
    for (path, words) in [
        ("/etc/passwd", "is absolute"),
        ("../a.yaml", "leaves the runbook's folder"),
        ("parts/../../a.yaml", "leaves the runbook's folder"),
        ("./a.yaml", "is no plain path"),
        ("a//b.yaml", "is no plain path"),
        ("", "is no plain path"),
    ] {
        let main = including(path);
        assert!(includes(main.as_bytes()).is_empty(), "{path}");
        errors_of(&with_parts(&main, &[]), &[("11:16", words)]);
    }
    let main = including("a.yaml");
    let refusal = Refusal {
        message: "a.yaml: this is not a plain file".to_owned(),
        hint: "only plain files".to_owned(),
    };
    let mut sources = Sources::from(main.as_bytes());
    sources.parts.insert("a.yaml", Err(&refusal));
    errors_of(&sources, &[("11:16", "not a plain file = only plain files")]);
    let twice = including("a.yaml").replace("phases:\n", "phases:\n  - include: a.yaml\n");
    errors_of(&with_parts(&twice, &[("a.yaml", PART)]), &[("12:16", "included twice")]);
    let round = "phases: [{ include: b.yaml }]\n";
    let back = "phases: [{ include: a.yaml }]\n";
    let sources = with_parts(&main, &[("a.yaml", round), ("b.yaml", back)]);
    errors_of(&sources, &[("2/1:21", "a.yaml → b.yaml → a.yaml")]);
    let chain = ["b", "c", "d", "e", "f"].map(|name| format!("phases: [{{ include: {name}.yaml }}]\n"));
    let names = ["a.yaml", "b.yaml", "c.yaml", "d.yaml", "e.yaml"];
    let mut parts: Vec<(&str, &str)> = names.into_iter().zip(chain.iter().map(String::as_str)).collect();
    errors_of(&with_parts(&main, &parts), &[("4/1:21", "deeper than 4 levels")]);
    parts[3].1 = PART;
    errors_of(&with_parts(&main, &parts), &[]);
    let large = format!("{PART}# {}\n", "x".repeat(1024 * 1024 - 100));
    errors_of(
        &with_parts(&main, &[("a.yaml", &large)]),
        &[("1:1", "larger than 1 MiB together")],
    );
    let nodes = format!("{PART}version: [{}]\n", "1, ".repeat(9_990));
    let faults = check(with_parts(&main, &[("a.yaml", &nodes)]), None, &catalogue(), now());
    assert!(
        told(&faults, Severity::Error)[0].contains("more than 10,000 nodes"),
        "{faults:#?}"
    );
}

const IMPORT: &str = "import_run:\n  prep: { runbook: prepare-erp, outputs: { snapshot: steps.snap.outputs.id } }\n";

fn importing() -> String {
    sound(&[
        ("vars:", &format!("{IMPORT}vars:")),
        (
            "params: [1]",
            "params: [\"${ imports.prep.snapshot }\", \"of ${ vars.who }: ${ imports.prep.snapshot }\"]",
        ),
    ])
}

#[test]
fn an_import_is_a_name_until_its_run_is_named() {
    let text = importing();
    let open = planned(&text);
    assert_eq!(
        step(&open, "second").action.with["params"],
        json!(["${ imports.prep.snapshot }", "of world: ${ imports.prep.snapshot }"])
    );
    assert_eq!(open.imports["prep"].run, None);
    let outputs = json!({ "id": "snap-1" });
    let Value::Object(outputs) = outputs else { panic!() };
    let mut run = ImportedRun {
        run: "20260531-2200-abcd".to_owned(),
        runbook: "prepare-erp".to_owned(),
        head: "h1".to_owned(),
        outputs: BTreeMap::from([("snap".to_owned(), outputs)]),
    };
    let made = |run: &ImportedRun| {
        let mut sources = Sources::from(text.as_bytes());
        sources.imports.insert("prep", run);
        plan(sources, "lab", &catalogue(), now())
    };
    let known = made(&run).unwrap();
    assert_eq!(
        step(&known, "second").action.with["params"],
        json!(["snap-1", "of world: snap-1"])
    );
    assert_eq!(known.imports["prep"].run.as_deref(), Some("20260531-2200-abcd"));
    run.head = "h2".to_owned();
    let other = made(&run).unwrap();
    assert_ne!(known.digests.plan, other.digests.plan, "the head is part of the plan");
    assert_eq!(known.digests.rehearsal, other.digests.rehearsal);
    run.runbook = "other".to_owned();
    let faults = made(&run).unwrap_err();
    expect(
        &told(&faults, Severity::Error),
        &[("5:9", "executed other, not prepare-erp")],
        "",
    );
    run.runbook = "prepare-erp".to_owned();
    run.outputs.clear();
    let faults = made(&run).unwrap_err();
    expect(
        &told(&faults, Severity::Error),
        &[("5:54", "has no steps.snap.outputs.id")],
        "",
    );
}

#[test]
fn an_import_that_cannot_be_is_told_with_its_place() {
    let with = |from: &str, to: &str| importing().replacen(from, to, 1);
    errors(
        &with("{ runbook: prepare-erp, ", "{ "),
        &[
            ("5:9", "needs runbook and outputs"),
            ("28:20", "declares no prep"),
            ("28:50", "declares no prep"),
        ],
    );
    errors(
        &with("steps.snap.outputs.id", "snap.id"),
        &[("5:54", "is no output of a step")],
    );
    errors(&with("prepare-erp", "Prepare"), &[("5:20", "is no runbook name")]);
    errors(
        &with("{ runbook:", "{ run: x, runbook:"),
        &[("5:11", "has no field \"run\"")],
    );
    errors(
        &with("${ imports.prep.snapshot }\", ", "${ imports.prep.snap }\", "),
        &[("28:20", "has no output snap")],
    );
    errors(
        &with("${ imports.prep.snapshot }\", ", "${ imports.pre.snapshot }\", "),
        &[("28:20", "declares no pre")],
    );
    errors(
        &importing().replace(
            "sql: select 1",
            "sql: \"select * from ${ imports.prep.snapshot | ident }\"",
        ),
        &[("20:16", "an identifier from an import")],
    );
}

#[test]
fn included_files_are_read_from_the_runbooks_folder_and_nowhere_else() {
    let place = Place::new();
    fs::create_dir_all(place.path("night/parts")).unwrap();
    fs::create_dir(place.path("elsewhere")).unwrap();
    for file in ["elsewhere/a.yaml", "night/parts/a.yaml", "night/parts/open.yaml"] {
        fs::write(place.path(file), PART).unwrap();
    }
    fs::set_permissions(place.path("night/parts/open.yaml"), fs::Permissions::from_mode(0o666)).unwrap();
    symlink("a.yaml", place.path("night/parts/link.yaml")).unwrap();
    symlink(place.path("elsewhere"), place.path("night/linked")).unwrap();
    let fifo = place.path("night/parts/fifo.yaml").display().to_string();
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let night = place.path("night/night.yaml").display().to_string();
    for (path, words) in [
        ("parts/link.yaml", "a link"),
        ("linked/a.yaml", "a link"),
        ("parts/fifo.yaml", "not a plain file"),
        ("parts", "not a plain file"),
        ("parts/open.yaml", "chmod o-w"),
        ("parts/missing.yaml", "No such file"),
        ("../elsewhere/a.yaml", "leaves the runbook's folder"),
    ] {
        fs::write(&night, including(path)).unwrap();
        let ended = place.program(&["check", &night]).expect(2);
        assert!(
            ended.err.contains(&format!("{night}:11:16: error: ")),
            "{path}: {}",
            ended.err
        );
        assert!(ended.err.contains(words), "{path}: {}", ended.err);
    }
    fs::write(&night, including("parts/a.yaml")).unwrap();
    place.program(&["check", &night]).expect(0);
    let bad = PART.replace("sql: select 1", "sql: 1");
    fs::write(place.path("night/parts/a.yaml"), bad).unwrap();
    let ended = place.program(&["check", &night]).expect(2);
    assert!(ended.err.starts_with("parts/a.yaml:4:"), "{}", ended.err);
    let ended = place.program(&["check", &night, "--format", "json"]).expect(2);
    let faults: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(faults[0]["file"], "parts/a.yaml");
    let mut check = place.command(&["check", "-"]);
    let text = fs::File::open(&night).unwrap();
    let ended = check.stdin(Stdio::from(text)).output().unwrap();
    let err = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{err}");
    assert!(
        err.contains("<stdin>:11:16: error: a runbook from standard input has no folder"),
        "{err}"
    );
}

#[test]
fn a_run_keeps_what_it_included_and_its_outputs_can_be_imported() {
    let place = Place::new();
    fs::create_dir(place.path("parts")).unwrap();
    let part = PART.replace("select 1 }", "select 7 }, outputs: { seven: result.value }");
    fs::write(place.path("parts/a.yaml"), &part).unwrap();
    let prepare = place.path("prepare.yaml").display().to_string();
    let main = including("parts/a.yaml").replace("params: [1]", "params: []");
    fs::write(&prepare, &main).unwrap();
    let run = |more: &[&str]| {
        let mut arguments = vec!["run"];
        arguments.extend(more);
        arguments.extend(["--env", "lab", "--headless", "--approve-all", "--speed", "100"]);
        place.program(&arguments)
    };
    run(&[&prepare]).expect(0);
    let first = place.only_run();
    let folder = place.run_folder(&first);
    assert_eq!(fs::read_to_string(folder.join("runbook.yaml")).unwrap(), main);
    assert_eq!(fs::read_to_string(folder.join("included/parts/a.yaml")).unwrap(), part);

    let next = place.path("next.yaml").display().to_string();
    let import = "import_run:\n  prep: { runbook: sound, outputs: { seven: steps.inner.outputs.seven } }\n";
    let text = sound(&[
        ("name: sound", "name: next"),
        ("vars:", &format!("{import}vars:")),
        (
            "sql: select 1",
            "sql: select ?\n          params: [\"${ imports.prep.seven }\"]",
        ),
        ("params: [1]", "params: []"),
    ]);
    fs::write(&next, text).unwrap();
    place.program(&["check", &next]).expect(0);
    let ended = run(&[&next]).expect(2);
    assert!(ended.err.contains("--import prep=RUN"), "{}", ended.err);
    let named = format!("prep={first}");
    let ended = place
        .program(&["plan", &next, "--env", "lab", "--format", "json", "--import", &named])
        .expect(0);
    let plan: Plan = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(step(&plan, "first").action.with["params"], json!([7]));
    assert_eq!(plan.imports["prep"].run.as_deref(), Some(first.as_str()));
    run(&[&next, "--import", &named]).expect(0);
    for (import, words) in [
        ("prep=20200101-0000-aaaa".to_owned(), "there is no run"),
        (format!("other={first}"), "imports nothing called other"),
        (format!("prep={}", place.runs()[0]), "executed next, not sound"),
        ("prep".to_owned(), "write NAME=RUN"),
    ] {
        let ended = run(&[&next, "--import", &import]).expect(2);
        assert!(ended.err.contains(words), "{import}: {}", ended.err);
    }
    let journal = folder.join("journal/000001.jsonl");
    let altered = fs::read_to_string(&journal)
        .unwrap()
        .replacen("\"seven\":7", "\"seven\":8", 1);
    fs::write(&journal, altered).unwrap();
    let ended = run(&[&next, "--import", &named]).expect(2);
    assert!(ended.err.contains("cannot be imported: TAMPERED"), "{}", ended.err);
}
