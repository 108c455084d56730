//! `pointsman forecast` and `pointsman plan` as programs, over journals that were written here.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use pointsman::engine::record;
use pointsman::journal::{Actor, JournalWriter, Stamp};
use serde_json::Value;

use crate::night::{NIGHT, Run, plan_in};

fn program(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .args(arguments)
        .env_clear()
        .env("HOME", folder)
        .env("POINTSMAN_STATE_DIR", folder.join("state"))
        .output()
        .unwrap()
}

/// Writes a run into the state folder as the program itself would.
fn keep(folder: &Path, name: &str, run: &Run) {
    let path = folder.join("state/runs").join(name);
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("plan.json"), serde_json::to_vec(&run.plan).unwrap()).unwrap();
    let mut writer = JournalWriter::create(&path, name, "boot").unwrap();
    let actor = Actor {
        id: "olga".to_owned(),
        via: "headless".to_owned(),
        uid: 1000,
        host: "h".to_owned(),
    };
    for (mono_ns, (at, event)) in (0..).zip(&run.events) {
        let draft = record::draft(event, &actor, Vec::new()).unwrap();
        writer.append(vec![draft], Stamp { t: *at, mono_ns }).unwrap();
    }
}

#[test]
fn the_verb_reads_earlier_runs_and_leaves_out_what_it_cannot_read() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan_in("staging", &[]);
    for (name, seconds) in [("a", 60), ("b", 120), ("c", 240)] {
        let mut run = Run::real(&plan);
        run.step(0, "start", 60, seconds);
        keep(folder.path(), name, &run);
    }
    let broken = folder.path().join("state/runs/d");
    fs::create_dir_all(broken.join("journal")).unwrap();
    fs::write(broken.join("plan.json"), "{").unwrap();
    let runbook = folder.path().join("night.yaml");
    fs::write(&runbook, NIGHT).unwrap();
    let runbook = runbook.display().to_string();
    let told = program(
        folder.path(),
        &["forecast", &runbook, "--env", "staging", "--format", "json"],
    );
    assert_eq!(told.status.code(), Some(0), "{}", String::from_utf8_lossy(&told.stderr));
    let json: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(json["runs"], 3);
    assert_eq!(json["left_out"][0]["run"], "d");
    assert_eq!(json["steps"][0]["machine_ms"]["p50"], 120_000);
    assert_eq!(json["steps"][0]["machine_ms"]["p90"], 240_000);
    assert_eq!(json["steps"][0]["samples"], 3);
    // 1 minute of waiting, 4 of work, then 20, 15 and 5.
    assert_eq!(json["p90"]["end"], "2096-12-06T01:45:00Z");
    assert_eq!(
        json["p90"]["critical_path"],
        serde_json::json!(["start", "right1", "right2", "join"])
    );
    assert_eq!(json["way_back"][0]["state"], "until");
    assert_eq!(json["makes_it"], true);
    let told = program(folder.path(), &["forecast", &runbook, "--env", "staging"]);
    let text = String::from_utf8(told.stdout).unwrap();
    assert!(text.contains("from 3 earlier runs"), "{text}");
    assert!(text.contains("left out: d: "), "{text}");
    assert!(text.contains("p90 makes it"), "{text}");
    assert!(
        text.contains("deadline       5 join by 23:30: 47:00 to spare, at p90 45:00 to spare"),
        "{text}"
    );
    let late = [
        "forecast",
        &runbook,
        "--env",
        "staging",
        "--start",
        "2096-12-06T01:30:00-03:00",
    ];
    let told = program(folder.path(), &late);
    assert_eq!(told.status.code(), Some(1));
    let text = String::from_utf8(told.stdout).unwrap();
    assert!(
        text.contains("p90 does NOT make it") && text.contains("MISSED by"),
        "{text}"
    );
}

#[test]
fn where_nothing_is_known_it_says_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let runbook = folder.path().join("night.yaml");
    let silent: Vec<&str> = NIGHT
        .lines()
        .filter(|line| !line.trim_start().starts_with("expect:"))
        .collect();
    fs::write(&runbook, silent.join("\n")).unwrap();
    let runbook = runbook.display().to_string();
    let told = program(folder.path(), &["forecast", &runbook, "--env", "staging"]);
    assert_eq!(told.status.code(), Some(0));
    let text = String::from_utf8(told.stdout).unwrap();
    assert!(text.contains("warning: unknown"), "{text}");
    assert!(!text.contains("to spare"), "{text}");
    let told = program(
        folder.path(),
        &["forecast", &runbook, "--env", "staging", "--start", "soon"],
    );
    assert_eq!(told.status.code(), Some(2));
}

#[test]
fn a_plan_tells_what_its_own_numbers_come_to() {
    let folder = tempfile::tempdir().unwrap();
    let runbook = folder.path().join("night.yaml");
    fs::write(&runbook, NIGHT).unwrap();
    let told = program(
        folder.path(),
        &["plan", &runbook.display().to_string(), "--env", "staging"],
    );
    let text = String::from_utf8(told.stdout).unwrap();
    for line in [
        "expected            50:00: machine 35:00, people 15:00",
        "critical path       start → right1 → right2 → join",
        "window              22:00 to 02:00: 3:10:00 to spare",
        "downtime            05:00 of 45:00 agreed: 40:00 to spare",
        "deadline            5 join by 23:30: 40:00 to spare",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}
