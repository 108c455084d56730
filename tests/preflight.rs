//! Looking before the night: every connection and what the steps need of it, in a table, with exit codes that a pipeline
//! can use; nothing is changed by it.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;

use serde_json::Value;
use support::{Ended, Place, QUICKSTART};

/// The findings, by what they are about and what was asked.
fn findings(ended: &Ended) -> Vec<(String, String, String, String)> {
    let told: Value = serde_json::from_str(&ended.out).unwrap();
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let one = |finding: &Value| {
        (
            text(finding, "about"),
            text(finding, "probe"),
            text(finding, "verdict"),
            text(finding, "seen"),
        )
    };
    told["findings"].as_array().unwrap().iter().map(one).collect()
}

#[test]
fn the_quickstart_is_looked_at_on_a_lab_and_nothing_is_changed() {
    let place = Place::new();
    let lab = place.lab("lab", &[]);
    let folder = place.path("lab").display().to_string();
    let before = lab.requests().len();
    let ended = place
        .program(&[
            "preflight",
            QUICKSTART,
            "--env",
            "lab",
            "--lab",
            &folder,
            "--format",
            "json",
        ])
        .expect(0);
    let found = findings(&ended);
    let verdict = |about: &str, probe: &str| {
        let known = found.iter().find(|finding| finding.0 == about && finding.1 == probe);
        known.map(|finding| finding.2.as_str())
    };
    for (about, probe, expected) in [
        ("state folder", "space", "green"),
        ("aws", "identity", "green"),
        ("aws", "clock", "green"),
        ("aws", "snapshot quota", "green"),
        ("source", "opens", "green"),
        ("target", "opens", "green"),
        ("lab-target", "there", "green"),
        ("lab-target", "Multi-AZ", "amber"),
        ("lab-target", "backups", "green"),
        ("lab-target", "encryption at rest", "green"),
        ("LABTASK", "replication", "green"),
        ("LABTASK", "tables", "green"),
        ("erp.lab.test", "record", "green"),
        ("erp.lab.test", "TTL", "green"),
    ] {
        assert_eq!(verdict(about, probe), Some(expected), "{about} {probe}: {found:#?}");
    }
    let twice = found
        .iter()
        .filter(|finding| finding.0 == "LABTASK" && finding.1 == "replication");
    assert_eq!(twice.count(), 1, "several steps ask the same once");
    let sent = lab.requests();
    assert!(sent.len() > before + 5, "it really asked");
    assert!(
        sent.iter().all(|request| request["mutating"] != Value::Bool(true)),
        "and changed nothing"
    );
    assert!(place.runs().is_empty(), "it is no run");
}

#[test]
fn without_a_lab_that_serves_it_looks_at_one_of_its_own() {
    let place = Place::new();
    let told = place.program(&["preflight", QUICKSTART, "--env", "lab"]).expect(0);
    assert!(
        told.out.contains("0 red") && told.out.contains("nothing was changed"),
        "{}",
        told.out
    );
    assert!(told.out.contains("→ a failing zone would take it down"), "{}", told.out);
}

const NIGHT: &str = r#"version: 1
name: looked-at
title: Looked at
connections:
  db: { uses: sqlite, path: DATABASE }
  web: { uses: http, url: "http://127.0.0.1:1" }
  cloud: { uses: aws, region: us-east-1, account: "111111111111", endpoint: "http://ENDPOINT" }
environments:
  staging:
    kind: rehearsal
    connections: { inherit: [db, web, cloud] }
phases:
  - id: all
    title: All
    steps:
      - id: look
        uses: sql.query
        on: db
        with: { sql: select 1 }
        gate: { none: it only reads }
"#;

#[test]
fn what_would_stop_the_night_is_red_with_what_to_do() {
    let place = Place::new();
    let lab = place.lab("lab", &[]);
    let endpoint = lab.endpoints().aws.trim_start_matches("http://").to_owned();
    let database = place.path("db.sqlite");
    rusqlite::Connection::open(&database)
        .unwrap()
        .execute_batch("create table t (n integer)")
        .unwrap();
    let text = NIGHT
        .replace("DATABASE", &database.display().to_string())
        .replace("ENDPOINT", &endpoint);
    let file = place.path("night.yaml");
    fs::write(&file, &text).unwrap();
    let file = file.display().to_string();
    let look = || {
        let mut command = place.command(&["preflight", &file, "--env", "staging", "--format", "json"]);
        command.env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "y");
        Ended::from(command.output().unwrap())
    };
    let found = findings(&look().expect(1));
    let red: Vec<&str> = found
        .iter()
        .filter(|finding| finding.2 == "red")
        .map(|finding| finding.0.as_str())
        .collect();
    assert_eq!(red, ["cloud", "web"], "{found:#?}");
    assert!(
        found
            .iter()
            .any(|finding| finding.3.contains("the connection names 111111111111")),
        "{found:#?}"
    );
    // A database that is none.
    fs::write(&database, "this is no database at all, it is a letter to nobody").unwrap();
    let found = findings(&look().expect(1));
    assert!(
        found.iter().any(|finding| finding.0 == "db" && finding.2 == "red"),
        "{found:#?}"
    );
    // And a folder that nobody can write.
    fs::remove_file(&database).unwrap();
    let told = look().expect(1);
    assert!(told.out.contains("is not a database file"), "{}", told.out);
    place.program(&["preflight", "/nowhere.yaml", "--env", "lab"]).expect(2);
}

/// A run of a runbook that asks for a preflight.
fn journal_of(place: &Place, run: &str) -> Vec<Value> {
    let text = fs::read_to_string(place.run_folder(run).join("journal/000001.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_run_changes_nothing_while_its_preflight_is_red() {
    let place = Place::new();
    let lab = place.lab("lab", &["dns-denied"]);
    let folder = lab.folder.display().to_string();
    let arguments = [
        "run",
        QUICKSTART,
        "--env",
        "lab",
        "--headless",
        "--approve-all",
        "--lab",
        &folder,
    ];
    let held = place.program(&arguments).expect(3);
    assert!(
        held.out.contains("HELD by preflight: 1 red: ✘ aws permissions: denied"),
        "{}",
        held.out
    );
    let requests = lab.requests();
    assert!(
        !requests.is_empty() && requests.iter().all(|request| request["mutating"] != true),
        "{requests:?}"
    );
    let run = place.only_run();
    let records = journal_of(&place, &run);
    let ended = records.iter().find(|record| record["ev"] == "preflight.ended").unwrap();
    assert_eq!(ended["data"]["red"], 1, "{ended}");
    assert!(
        !ended["blobs"].as_array().unwrap().is_empty(),
        "all findings are evidence: {ended}"
    );
    let verdict = place.program(&["verify", &run, "--require", "chain"]).expect(1);
    assert!(verdict.out.starts_with("intact so far"), "{}", verdict.out);
}

#[test]
fn the_proof_is_in_the_record_before_the_first_change_and_its_evidence_names_every_finding() {
    let place = Place::new();
    let lab = place.lab("lab", &[]);
    let arguments = ["--roll-back-at", "snapshot"];
    place.run_on(&lab, QUICKSTART, &arguments).expect(4);
    let run = place.only_run();
    let records = journal_of(&place, &run);
    let at = |ev: &str| records.iter().position(|record| record["ev"] == ev);
    let first = records
        .iter()
        .position(|record| record["ev"] == "effect.intent" && record["data"]["mutates"] == true);
    assert!(at("preflight.begun") < at("preflight.ended") && at("preflight.ended") < first);
    assert!(at("preflight.begun").is_some());
    assert_eq!(records[0]["data"]["preflight_ms"], 1_800_000);
    let looks = records
        .iter()
        .filter(|record| record["ev"] == "preflight.begun")
        .count();
    assert_eq!(looks, 1, "once something is changed, nobody looks any more");
    place.program(&["verify", &run, "--require", "chain"]).expect(0);
}

#[test]
fn what_a_check_will_look_at_need_not_be_there_before_the_night() {
    let place = Place::new();
    let file = place.path("later.yaml");
    let text = "version: 1
name: later
environments: { lab: { kind: lab, approvals: typed, people: { carla: { roles: [lead] } } } }
phases:
  - id: one
    title: One
    steps:
      - id: snapshot
        title: Keep what there is
        uses: rds.snapshot
        on: aws
        with: { instance: lab-target }
        checks: { after: [{ uses: rds.describe, on: aws, with: { instance: made-meanwhile } }] }
        rollback: { not_needed: it stays }
";
    fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    let look = place.program(&["preflight", &file, "--env", "lab"]).expect(0);
    assert!(!look.out.contains("made-meanwhile"), "{}", look.out);
    // What a step itself acts on has to be there.
    fs::write(&file, text.replace("instance: lab-target", "instance: nobody")).unwrap();
    let look = place.program(&["preflight", &file, "--env", "lab"]).expect(1);
    assert!(look.out.contains("RED    nobody"), "{}", look.out);
}
