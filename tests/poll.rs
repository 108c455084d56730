//! `manual.poll` from the runbook to the report: a headless run answers go for every role, by somebody each; the
//! answers are outputs, records that verify, and lines of the report.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;

use serde_json::{Value, json};
use support::Place;

const POLLED: &str = include_str!("fixtures/polled.yaml");

fn placed(text: &str) -> (Place, String) {
    let place = Place::new();
    let database = place.path("erp.db").display().to_string();
    fs::write(place.path("polled.yaml"), text.replace("erp.db", &database)).unwrap();
    support::open(&place.path("erp.db"))
        .execute_batch("create table t(a)")
        .unwrap();
    let runbook = place.path("polled.yaml").display().to_string();
    (place, runbook)
}

fn records(place: &Place, ev: &str) -> Vec<Value> {
    let journal = place.run_folder(&place.only_run()).join("journal/000001.jsonl");
    let text = fs::read_to_string(journal).unwrap();
    let all = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|record| record["ev"] == ev).collect()
}

/// Who answered for which role.
fn answered(place: &Place) -> Vec<(String, String)> {
    let polled = records(place, "gate.vote").into_iter();
    polled
        .map(|record| record["data"].clone())
        .filter(|vote| vote["poll"] == json!(true))
        .map(|vote| {
            let text = |key: &str| vote[key].as_str().unwrap().to_owned();
            (text("role"), text("person"))
        })
        .collect()
}

#[test]
fn in_the_lab_every_role_says_go_and_the_record_verifies() {
    let (place, runbook) = placed(POLLED);
    let arguments = [
        "run",
        &runbook,
        "--env",
        "lab",
        "--headless",
        "--approve-all",
        "--speed",
        "100",
    ];
    let ended = place.program(&arguments).expect(0);
    assert!(
        ended
            .out
            .contains("approval by a poll, 4 of lead, dba, network, business have to say go"),
        "{}",
        ended.out
    );
    assert!(
        ended.out.contains("answered go by lead as lead (lab persona)"),
        "{}",
        ended.out
    );
    let roles: Vec<String> = answered(&place).into_iter().map(|(role, _)| role).collect();
    assert_eq!(roles, ["lead", "dba", "network", "business"]);
    let done = records(&place, "step.done").into_iter();
    let outputs: Vec<Value> = done.map(|record| record["data"]["outputs"].clone()).collect();
    assert_eq!(
        outputs[0],
        json!({
            "answers": { "lead": "go", "dba": "go", "network": "go", "business": "go" },
            "go": true,
            "dba": "go",
        })
    );
    let run = place.only_run();
    place.program(&["verify", &run, "--require", "chain"]).expect(0);
    let report = place.program(&["report", &run]).expect(0).out;
    assert!(report.contains("answered go by dba as dba"), "{report}");
    assert!(
        report.contains("a poll, 4 of lead, dba, network, business say go"),
        "{report}"
    );
}

#[test]
fn in_a_rehearsal_nobody_answers_for_two_roles() {
    let (place, runbook) = placed(POLLED);
    let arguments = [
        "run",
        &runbook,
        "--env",
        "staging",
        "--headless",
        "--approve-all",
        "--as",
        "lena",
    ];
    place.program(&arguments).expect(0);
    let answered = answered(&place);
    let of = |role: &str| {
        let own = answered.iter().find(|(other, _)| other == role);
        own.map(|(_, person)| person.as_str()).unwrap()
    };
    // Ana is the only one for the network, so that Bea answers for the dba.
    assert_eq!(
        (of("lead"), of("dba"), of("network"), of("business")),
        ("lena", "bea", "ana", "carl")
    );
    place
        .program(&["verify", &place.only_run(), "--require", "chain"])
        .expect(0);
}

#[test]
fn a_role_that_nobody_is_left_for_is_said() {
    let (place, runbook) = placed(&POLLED.replace("      bea: { name: Bea, roles: [dba] }\n", ""));
    let arguments = [
        "run",
        &runbook,
        "--env",
        "staging",
        "--headless",
        "--approve-all",
        "--as",
        "lena",
    ];
    let ended = place.program(&arguments).expect(3);
    assert!(ended.out.contains("nobody is left who may vote"), "{}", ended.out);
}

#[test]
fn without_approval_it_waits_for_people() {
    let (place, runbook) = placed(POLLED);
    let arguments = ["run", &runbook, "--env", "lab", "--headless", "--speed", "100"];
    let ended = place.program(&arguments).expect(3);
    assert!(ended.out.contains("asks for an approval"), "{}", ended.out);
    assert_eq!(answered(&place), []);
}

#[test]
fn a_dry_run_asks_nobody() {
    let (place, runbook) = placed(&POLLED.replace(", dba: result.answers.dba", "").replace(
        "select ? as said, params: [\"${ steps.ready.outputs.dba }\"], expect: value == \"go\"",
        "select 1 as one, expect: value == 1",
    ));
    let arguments = [
        "run",
        &runbook,
        "--env",
        "lab",
        "--headless",
        "--dry-run",
        "--speed",
        "100",
    ];
    place.program(&arguments).expect(0);
    assert_eq!(answered(&place), []);
}
