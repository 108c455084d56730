//! What the state machine is told of a plan: whose gate is whose where a point of no return meets a step's own gate, who
//! agrees to an amendment, and what differs between two plans.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use pointsman::engine::facts::{Mode, facts_of};
use pointsman::provider::catalogue;
use pointsman::run::facts::{Facts, Gate, OnExpiry, StepId, Who};
use pointsman::runbook::Plan;
use pointsman::runbook::amendment::compare;
use pointsman::runbook::plan::EnvironmentKind;

const RUNBOOK: &str = r#"version: 1
name: both
title: Two gates at once
connections:
  source: { uses: sqlite, path: source.db }
environments:
  staging:
    kind: rehearsal
    connections: { source: { uses: sqlite, path: staging.db } }
    people:
      dan: { name: Dan, roles: [dba] }
      ana: { name: Ana, roles: [approver, lead] }
      bea: { name: Bea, roles: [approver] }
point_of_no_return: { approve: { roles: [approver], min: 2 } NO_RETURN }
phases:
  - id: all
    title: All
    steps:
      - id: drop
        uses: sql.exec
        on: source
        with: { sql: drop table old }
        gate: OWN
        rollback: { irreversible: the table is gone }
"#;

fn plan(own: &str, no_return: &str) -> Plan {
    let text = RUNBOOK.replace("OWN", own).replace(" NO_RETURN", no_return);
    let now = "2026-12-05T22:00:00Z".parse().unwrap();
    pointsman::runbook::plan(text.as_bytes(), "staging", &catalogue(), now)
        .unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn facts(own: &str, no_return: &str) -> Facts {
    facts_of(&plan(own, no_return), Mode::Real)
}

fn gate(own: &str, no_return: &str) -> Gate {
    facts(own, no_return)
        .step(&StepId("drop".to_owned()))
        .unwrap()
        .gate
        .clone()
}

/// Each quorum: its roles and its number.
fn quorums(who: &Who) -> Vec<(String, u32)> {
    let Who::Quorum(quorums) = who else { panic!("{who:?}") };
    quorums
        .iter()
        .map(|quorum| (quorum.roles.join("+"), quorum.min))
        .collect()
}

#[test]
fn a_point_of_no_return_asks_the_steps_own_quorum_and_its_own() {
    let dba = ("dba".to_owned(), 1);
    let approvers = ("approver".to_owned(), 2);
    let both = gate("{ approve: { roles: [dba], min: 1 } }", "");
    assert_eq!(quorums(&both.who), [dba.clone(), approvers.clone()]);
    // The default gate is the operator's: the point of no return's persons are asked for it.
    let default = gate("{ phrase: step-id }", "");
    assert_eq!(quorums(&default.who), std::slice::from_ref(&approvers));
    let same = gate("{ approve: { roles: [approver], min: 2 } }", "");
    assert_eq!(quorums(&same.who), [approvers], "the same quorum is asked once");
}

#[test]
fn whoever_is_asked_instead_takes_the_place_of_one_gate_only() {
    let own = "{ approve: { roles: [dba], min: 1 }, expires: 30m }";
    let gate = gate(
        own,
        ", expires: 20m, timeout: escalate, escalate: { roles: [lead], min: 1 }",
    );
    assert_eq!(gate.expires_ms, Some(20 * 60_000), "the shorter of both");
    let OnExpiry::Escalate(who) = &gate.on_expiry else {
        panic!("{gate:?}")
    };
    assert_eq!(quorums(who), [("dba".to_owned(), 1), ("lead".to_owned(), 1)]);
    let own = "{ approve: { roles: [dba], min: 1 }, expires: 30m, timeout: escalate, escalate: { roles: [lead] } }";
    let gate = self::gate(own, "");
    let OnExpiry::Escalate(who) = &gate.on_expiry else {
        panic!("{gate:?}")
    };
    assert_eq!(quorums(who), [("lead".to_owned(), 1), ("approver".to_owned(), 2)]);
}

#[test]
fn in_production_an_amendment_asks_the_approvers() {
    let mut plan = plan("{ phrase: step-id }", "");
    assert_eq!(facts_of(&plan, Mode::Real).amend.who, Who::Operator);
    plan.environment.kind = EnvironmentKind::Production;
    let amend = facts_of(&plan, Mode::Real).amend;
    assert_eq!(quorums(&amend.who), [("approver".to_owned(), 2)]);
    assert_eq!(amend.phrase.as_deref(), Some("amend"));
}

#[test]
fn every_difference_of_two_plans_is_a_line_and_the_environment_is_out_of_bounds() {
    let old = plan("{ phrase: step-id }", "");
    assert!(compare(&old, &old).is_empty());
    let mut new = old.clone();
    let sql = format!("select {} from t", "a, ".repeat(200));
    new.steps[0].action.with = serde_json::json!({ "sql": format!("{sql} where n = 1") });
    new.steps[0].notes = Some("tell the bridge".to_owned());
    let mut longer = new.clone();
    longer.steps[0].action.with = serde_json::json!({ "sql": format!("{sql} where n = 2") });
    let found = compare(&old, &new);
    assert!(found.changed.contains("drop") && found.only_checks.is_empty());
    assert!(
        found
            .lines
            .iter()
            .any(|line| line.contains("notes: nothing → \"tell the bridge\"")),
        "{found:?}"
    );
    let long = compare(&new, &longer).lines.join("\n");
    assert!(
        long.contains("where n = 1\" → ") && long.contains("where n = 2\""),
        "{long}"
    );
    assert!(long.contains("characters are the same"), "{long}");
    for change in [
        (|plan: &mut Plan| plan.name = "other".to_owned()) as fn(&mut Plan),
        |plan| plan.author = Some("ana".to_owned()),
        |plan| drop(plan.environment.people.remove("dan")),
        |plan| plan.connections.clear(),
        |plan| plan.residency.push("sa-east-1".to_owned()),
        |plan| plan.environment.ticket = Some("CHG1".to_owned()),
    ] {
        let mut new = old.clone();
        change(&mut new);
        assert_eq!(compare(&old, &new).refused.len(), 1, "{:?}", compare(&old, &new));
    }
    let mut checked = old.clone();
    checked.steps[0].after.push(old.steps[0].action.clone());
    assert!(compare(&old, &checked).only_checks.contains("drop"));
}
