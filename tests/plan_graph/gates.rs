//! Gates, checks, rollbacks, windows and deadlines as they are read; steps that are not on the way.

use super::*;

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
