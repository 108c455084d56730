//! What RDS actions demand of the step that does them is told before anything runs.

use pointsman::provider::registry::catalogue;
use pointsman::runbook::Plan;

const RUNBOOK: &str = r#"
version: 1
name: demands
title: Demands
author: olga
vars: { days: 0 }
connections:
  aws: { uses: aws, region: us-east-1, account: "000000000000" }
residency: [us-east-1]
environments:
  sim:
    kind: rehearsal
    approvals: typed
    people: { olga: { roles: [operator] } }
phases:
  - id: all
    title: All
    steps:
      - id: one
        on: aws
"#;

/// The plan with this one step, or every fault.
fn planned(step: &str) -> Result<Plan, String> {
    let text = format!("{RUNBOOK}{step}");
    let now = "2026-12-05T22:00:00Z".parse().unwrap();
    pointsman::runbook::plan(text.as_bytes(), "sim", &catalogue(), now).map_err(|faults| format!("{faults:?}"))
}

fn refused(step: &str, words: &str) {
    let told = planned(step).map(|_| "nothing").unwrap_err();
    assert!(told.contains(words), "{step}: {told}");
}

#[test]
fn a_restore_that_is_tried_has_an_end() {
    let step = "        uses: rds.restore_test
        with: { snapshot: one }
        rollback: { not_needed: it is deleted }
";
    refused(step, "rds.restore_test needs a timeout");
    planned(&format!("{step}        timeout: 2h\n")).unwrap();
}

#[test]
fn what_was_restored_has_no_address_before() {
    let step = |assertion: &str| {
        format!(
            "        uses: rds.restore_test
        with: {{ snapshot: one, assertions: [{assertion}] }}
        timeout: 2h
        rollback: {{ not_needed: it is deleted }}
"
        )
    };
    let plan = planned(&step(
        "{ uses: tcp.check, with: { within: 5m, expect: \"'8.0' in banner\" } }",
    ))
    .unwrap();
    let with = &plan.steps[0].action.with["assertions"][0]["with"];
    assert_eq!(with["within"], "5m");
    assert!(with.get("host").is_none() && with.get("port").is_none(), "{with}");
    planned(&step("{ uses: tcp.check }")).unwrap();
    for (assertion, words) in [
        ("{ uses: tcp.check, with: { host: db } }", "an assertion has no host"),
        ("{ uses: tcp.check, with: { port: 3306 } }", "an assertion has no port"),
        (
            "{ uses: tcp.check, with: { expect_refused: true } }",
            "an assertion has no expect_refused",
        ),
        ("{ uses: tcp.check, with: { withn: 5m } }", "did you mean within?"),
        (
            "{ uses: http.check, with: { path: / } }",
            "http.check cannot be asked of what was restored",
        ),
        (
            "{ uses: rds.modify, with: { class: big } }",
            "rds.modify cannot be asked of what was restored",
        ),
        ("{ uses: tcp.check, on: aws }", "on"),
    ] {
        refused(&step(assertion), words);
    }
}

#[test]
fn backups_that_are_deleted_have_no_way_back() {
    let step = |days: &str, rollback: &str| {
        format!(
            "        uses: rds.modify
        with: {{ instance: db, backup_retention: {days} }}
        outputs: {{ prior: result.prior }}
        rollback: {rollback}
"
        )
    };
    let inverse = "{ uses: rds.modify, on: aws, with: { instance: db, to: \"${ steps.one.outputs.prior }\" } }";
    for days in ["0", "\"${ vars.days }\""] {
        refused(&step(days, inverse), "backup_retention 0 deletes the automated backups");
        refused(
            &step(days, "{ not_needed: they are old }"),
            "backup_retention 0 deletes",
        );
        planned(&step(days, "{ irreversible: nobody needs them }")).unwrap();
    }
    planned(&step("7", inverse)).unwrap();
}
