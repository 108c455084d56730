//! Steps and phases that are repeated over lists, and plans at their limits.

use super::included::IMPORT;
use super::*;

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
