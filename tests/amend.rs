//! Amending a run with a changed runbook, as its user does it: a step fails because the runbook is wrong, the file is
//! mended, the run goes on by it. What an amendment must not change is refused, and the journal tells a stranger.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;

use support::{Ended, Place};

const RUNBOOK: &str = r#"version: 1
name: mended
title: A runbook that is wrong
connections:
  source: { uses: sqlite, path: source.db }
environments:
  lab: { kind: lab }
phases:
  - id: all
    title: All
    steps:
      - id: first
        uses: sql.exec
        on: source
        with: { sql: create table mended_first (n integer) }
        gate: { approve: { roles: [dba], min: 1 } }
        rollback: { uses: sql.exec, on: source, with: { sql: drop table mended_first } }
      - id: second
        uses: sql.assert
        on: source
        with: { sql: select 1 as n, expect: value == 2 }
        gate: { none: it only reads }
      - id: third
        uses: sql.exec
        on: source
        with: { sql: create table mended_third (n integer) }
        gate: { approve: { roles: [dba], min: 1 } }
        rollback: { uses: sql.exec, on: source, with: { sql: drop table mended_third } }
"#;

struct Night {
    place: Place,
    run: String,
}

impl Night {
    /// A night that stopped at `second`, which is wrong.
    fn stopped() -> Self {
        let place = Place::new();
        fs::write(place.path("first.yaml"), RUNBOOK).unwrap();
        let file = place.path("first.yaml").display().to_string();
        let ended = place.program(&[
            "run",
            &file,
            "--env",
            "lab",
            "--headless",
            "--approve-all",
            "--speed",
            "50",
        ]);
        let ended = ended.expect(1);
        assert!(ended.out.contains("second"), "{}", ended.out);
        let run = place.only_run();
        Self { place, run }
    }

    /// Goes on by a changed runbook.
    fn amend(&self, name: &str, text: &str) -> Ended {
        let file = self.place.path(name);
        fs::write(&file, text).unwrap();
        let file = file.display().to_string();
        let arguments = ["resume", &self.run, "--headless", "--approve-all", "--amend", &file];
        self.place
            .program(&[&arguments[..], &["--because", "the number was wrong"]].concat())
    }
}

#[test]
fn a_mended_runbook_is_gone_on_by_and_the_journal_says_so() {
    let night = Night::stopped();
    // The first amendment mends one step and brings another that is wrong.
    let mended = RUNBOOK.replace("value == 2", "value == 1").replace(
        "      - id: third",
        "      - id: between\n        uses: sql.assert\n        on: source\n        with: { sql: select 3 as n, expect: value == 4 }\n        gate: { none: it only reads }\n      - id: third",
    );
    let again = night.amend("mended.yaml", &mended).expect(1);
    assert!(again.out.contains("AMENDED under request"), "{}", again.out);
    assert!(
        again.out.contains("between") && again.out.contains("FAILED"),
        "{}",
        again.out
    );
    let whole = mended.replace("value == 4", "value == 3");
    let ended = night.amend("whole.yaml", &whole).expect(0);
    assert!(ended.out.contains("committed"), "{}", ended.out);
    let verified = night
        .place
        .program(&["verify", &night.run, "--require", "chain"])
        .expect(0);
    assert_eq!(
        verified
            .out
            .matches("the plan was amended: a rehearsal of the old one proves nothing")
            .count(),
        2
    );
    let report = night.place.program(&["report", &night.run]).expect(0).out;
    for words in [
        "amended 2 times",
        "the number was wrong",
        "step 2 second",
        r#"action.with.expect: "value == 2" → "value == 1""#,
        "+ step 3 between",
    ] {
        assert!(report.contains(words), "{words}\n{report}");
    }
    let first = night.place.run_folder(&night.run).join("amendments/0001/plan.json");
    let original = fs::read(&first).unwrap();
    fs::write(
        &first,
        String::from_utf8(original).unwrap().replace("value == 1", "value == 9"),
    )
    .unwrap();
    let found = night
        .place
        .program(&["verify", &night.run, "--require", "chain"])
        .expect(4);
    assert!(
        found.out.contains("not the file that the run was amended with"),
        "{}",
        found.out
    );
    let read = night.place.program(&["report", &night.run]).expect(2);
    assert!(read.err.contains("is not the plan that run"), "{}", read.err);
}

#[test]
fn what_an_amendment_must_not_change_is_refused_and_the_run_can_still_go_on() {
    let night = Night::stopped();
    let good = RUNBOOK.replace("value == 2", "value == 1");
    for (name, text, words) in [
        ("done", good.replace("mended_first (n integer)", "mended_first (m integer)"), "step first has begun"),
        ("gone", good.replace("- id: third", "- id: other"), "skip it under its own gate"),
        (
            "weaker",
            good.replacen("        gate: { approve: { roles: [dba], min: 1 } }\n        rollback: { uses: sql.exec, on: source, with: { sql: drop table mended_third", "        rollback: { uses: sql.exec, on: source, with: { sql: drop table mended_third", 1),
            "weakens that of step third",
        ),
        ("name", good.replace("name: mended", "name: another"), "cannot change the runbook's name"),
        ("secret", good.replace("phases:", "secrets: { word: { env: WORD } }\nphases:"), "where secrets come from"),
        ("same", RUNBOOK.to_owned(), "nothing is amended"),
        ("wrong", good.replace("uses: sql.assert", "uses: sql.asert"), "1 error"),
    ] {
        let refused = night.amend(&format!("{name}.yaml"), &text).expect(2);
        assert!(refused.err.contains(words), "{name}: {}", refused.err);
        assert!(refused.err.contains("the run is as it was"), "{name}: {}", refused.err);
    }
    let events = fs::read_to_string(night.place.run_folder(&night.run).join("journal/000001.jsonl")).unwrap();
    assert!(!events.contains("run.amended"));
    let second = night.place.run_folder(&night.run).join("journal/000002.jsonl");
    assert!(
        !second.exists(),
        "nothing is recorded of what was refused before it was asked"
    );
    night.amend("good.yaml", &good).expect(0);
}

#[test]
fn a_run_that_was_amended_is_rolled_back_by_its_new_plan() {
    let night = Night::stopped();
    let mended = RUNBOOK.replace("value == 2", "value == 1");
    let file = night.place.path("mended.yaml");
    fs::write(&file, mended).unwrap();
    let file = file.display().to_string();
    let ended = night.place.program(&[
        "resume",
        &night.run,
        "--headless",
        "--approve-all",
        "--amend",
        &file,
        "--roll-back-at",
        "third",
    ]);
    let ended = ended.expect(4);
    assert!(ended.out.contains("rolled back"), "{}", ended.out);
    night
        .place
        .program(&["verify", &night.run, "--require", "chain"])
        .expect(0);
}
