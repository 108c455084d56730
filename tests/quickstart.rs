//! The shipped quickstart, conducted headless on a lab in its own process: forwards, backwards, dry, and with the steps
//! missing that protect it. What is claimed is read from the lab, not from the program.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;

use support::{Place, QUICKSTART, assert_nothing_twice};

#[test]
fn it_commits_without_a_lost_write_and_its_journal_stands_up_to_a_stranger() {
    let place = Place::new();
    let lab = place.lab("lab", &[]);
    let ended = place.run_on(&lab, QUICKSTART, &[]).expect(0);
    assert_eq!(ended.lost(), 0);
    assert!(
        lab.measure().acknowledged > 0,
        "a writer that wrote nothing proves nothing"
    );
    assert_eq!(lab.answer().values, ["127.0.0.2"]);
    assert_eq!(lab.answer().ttl, 300, "the old TTL is back");
    assert_eq!(lab.replication(), "stopped");
    assert!(!lab.is_writable(), "the old house stays frozen");
    assert_nothing_twice(&lab, &[]);
    let run = place.only_run();
    place.program(&["verify", &run, "--require", "chain"]).expect(0);
    place.program(&["verify", &run]).expect(1);
    let resumed = place.program(&["resume", &run, "--headless"]).expect(2);
    assert!(resumed.err.contains("is over: committed"), "{}", resumed.err);
    altered(&place, &run);
    let report = place.program(&["report", &run]).expect(0).out;
    for words in [
        "committed, exit 0",
        "approved by bruno as dba",
        "Point the record at the new house",
    ] {
        assert!(report.contains(words), "{words}\n{report}");
    }
}

/// One flipped byte, one removed line, one swapped pair of lines, another plan: each is found.
fn altered(place: &Place, run: &str) {
    let journal = place.run_folder(run).join("journal/000001.jsonl");
    let original = fs::read(&journal).unwrap();
    let lines: Vec<&[u8]> = original.split_inclusive(|byte| *byte == b'\n').collect();
    let middle = lines.len() / 2;
    let mut flipped = original.clone();
    let at = lines[..middle].concat().len() + 200;
    flipped[at] ^= 1;
    let mut removed = lines.clone();
    removed.remove(middle);
    let mut swapped = lines.clone();
    swapped.swap(middle, middle + 1);
    for (what, bytes) in [
        ("byte", flipped),
        ("line", removed.concat()),
        ("pair", swapped.concat()),
    ] {
        fs::write(&journal, bytes).unwrap();
        let verdict = place.program(&["verify", run, "--require", "chain"]);
        assert_eq!(verdict.code, 4, "{what}: {}", verdict.out);
        assert!(verdict.out.contains("FAULT"), "{what}: {}", verdict.out);
    }
    fs::write(&journal, original).unwrap();
    for name in ["plan.json", "runbook.yaml"] {
        let path = place.run_folder(run).join(name);
        let kept = fs::read(&path).unwrap();
        fs::write(&path, [kept.as_slice(), b" "].concat()).unwrap();
        let verdict = place.program(&["verify", run, "--require", "chain"]);
        assert_eq!(verdict.code, 4, "{name}: {}", verdict.out);
        assert!(verdict.out.contains(name), "{}", verdict.out);
        fs::write(&path, kept).unwrap();
    }
    place.program(&["verify", run, "--require", "chain"]).expect(0);
}

#[test]
fn without_the_freeze_the_validation_stops_it() {
    let place = Place::new();
    let lab = place.lab("lab", &[]);
    let runbook = place.quickstart_without("unfrozen.yaml", &["freeze"]);
    let ended = place.run_on(&lab, &runbook, &[]).expect(1);
    let failed = ended.named("step.failed");
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(
        ["count_source", "drained", "validate_target"].contains(&failed[0]["step"].as_str().unwrap()),
        "{failed:?}"
    );
    assert_eq!(lab.answer().values, ["127.0.0.1"], "nothing was flipped");
}

#[test]
fn a_row_that_no_sum_shows_holds_the_night_by_its_key() {
    let place = Place::new();
    let lab = place.lab("lab", &["row-differs-unseen"]);
    let ended = place.run_on(&lab, QUICKSTART, &[]).expect(1);
    let failed = ended.named("step.failed");
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0]["step"], "validate_target");
    let words = failed[0].to_string();
    assert!(words.contains("DIFFERENT: 1 of 3 tables, 1 rows listed"), "{words}");
    assert!(words.contains(r#"orders changed \"seed-00100\""#), "{words}");
    assert_eq!(lab.answer().values, ["127.0.0.1"], "nothing was flipped");
}

#[test]
fn without_freeze_fence_drain_and_validation_writes_are_lost_and_counted() {
    let place = Place::new();
    let lab = place.lab("lab", &[]);
    let text_of = [
        "freeze",
        "fence",
        "drained",
        "count_source",
        "validate_target",
        "writes_arrive",
    ];
    let runbook = place.quickstart_without("reckless.yaml", &text_of);
    let text = fs::read_to_string(&runbook).unwrap();
    // Without a fence nothing tells which rows came after it.
    let blind = text.replace(
        "created_at > (select max(written_at) from pointsman_fence)",
        "writer = 'nobody'",
    );
    fs::write(&runbook, blind).unwrap();
    let ended = place.run_on(&lab, &runbook, &[]).expect(0);
    assert!(ended.lost() > 0, "{}", ended.out);
    assert_eq!(lab.measure().lost, ended.lost());
}

#[test]
fn rolled_back_before_the_flip_everything_is_as_it_was() {
    let place = Place::new();
    let lab = place.lab("lab", &[]);
    let ended = place.run_on(&lab, QUICKSTART, &["--roll-back-at", "flip"]).expect(4);
    assert_eq!(lab.answer().values, ["127.0.0.1"]);
    assert_eq!(lab.answer().ttl, 300, "the old TTL is back");
    assert_eq!(lab.replication(), "stopped", "not replicating, as before");
    assert!(lab.is_writable());
    assert_eq!(ended.lost(), 0);
    // Once as its own step, once as the way back of the start.
    assert_nothing_twice(&lab, &[("LABTASK stop", 2)]);
    let run = place.only_run();
    place.program(&["verify", &run, "--require", "chain"]).expect(0);
}

#[test]
fn rolled_back_after_the_flip_it_loses_what_it_announced() {
    let place = Place::new();
    let lab = place.lab("lab", &[]);
    let ended = place
        .run_on(&lab, QUICKSTART, &["--roll-back-at", "writes_arrive"])
        .expect(4);
    assert_eq!(lab.answer().values, ["127.0.0.1"]);
    assert_eq!(lab.answer().ttl, 300, "the old TTL is back");
    assert_eq!(lab.replication(), "stopped");
    assert!(lab.is_writable());
    let counted: Vec<u64> = ended
        .named("effect.outcome")
        .iter()
        .filter(|event| event["role"] == "undo")
        .filter_map(|event| event["outputs"]["lost"].as_u64())
        .collect();
    assert_eq!(counted.len(), 1, "counted once, at the last: {}", ended.out);
    assert_eq!(ended.lost(), counted[0], "the lab measures what the rollback announced");
    assert!(counted[0] > 0, "a rollback that lost nothing proves nothing");
    let started = lab
        .requests()
        .into_iter()
        .filter(|it| it["operation"] == "StartReplicationTask");
    assert_eq!(
        started.count(),
        1,
        "nothing is replicated onto a target with writes of its own"
    );
    let asked = ended.named("unwind.prepared");
    assert!(asked[0]["lost"].as_u64().unwrap() <= counted[0], "{asked:?}");
    let lines = ended.named("summary")[0]["lines"].to_string();
    assert!(
        lines.contains(&format!("rows LOST by the rollback: {}", counted[0])),
        "{lines}"
    );
}

#[test]
fn unwound_to_the_freeze_it_goes_forward_again() {
    let place = Place::new();
    let lab = place.lab("lab", &[]);
    let ended = place
        .run_on(
            &lab,
            QUICKSTART,
            &["--roll-back-at", "flip", "--roll-back-to", "freeze"],
        )
        .expect(0);
    let planned = ended.named("unwind.planned");
    assert_eq!(planned.len(), 1);
    assert_eq!(planned[0]["to"], "freeze");
    assert_eq!(ended.lost(), 0);
    assert_eq!(lab.answer().values, ["127.0.0.2"]);
    // Stopped before the unwinding, and again after it.
    assert_nothing_twice(&lab, &[("LABTASK stop", 2)]);
}

#[test]
fn a_dry_run_changes_nothing() {
    let place = Place::new();
    let lab = place.lab("lab", &[]);
    let folder = lab.folder.display().to_string();
    let arguments = [
        "run",
        QUICKSTART,
        "--env",
        "lab",
        "--headless",
        "--dry-run",
        "--lab",
        &folder,
    ];
    let ended = place.program(&arguments).expect(0);
    let counted = "steps: 1 of 14 executed, 7 simulated, 6 unverifiable";
    for word in [
        "DRY RUN",
        "simulated: nothing was sent",
        "unverifiable: not executed",
        counted,
    ] {
        assert!(ended.out.contains(word), "{word}\n{}", ended.out);
    }
    let requests = lab.requests();
    assert!(!requests.is_empty(), "a dry run executes reads");
    let mutating: Vec<_> = requests.iter().filter(|request| request["mutating"] == true).collect();
    assert!(mutating.is_empty(), "{mutating:?}");
    let effects: i64 = lab
        .source()
        .query_row("select count(*) from lab_ledger", [], |row| row.get(0))
        .unwrap();
    assert_eq!(effects, 0);
    assert_eq!(lab.answer().values, ["127.0.0.1"]);
    assert!(lab.is_writable());
    place
        .program(&["verify", &place.only_run(), "--require", "chain"])
        .expect(0);
    let run = place.only_run();
    for told in [
        ended.out,
        place.program(&["runs"]).out,
        place.program(&["report", &run]).out,
    ] {
        assert!(told.contains("dry run"), "{told}");
        assert!(!told.contains("committed"), "a dry run commits nothing: {told}");
    }
}

const REHEARSAL: &str = r#"
version: 1
name: rehearsal
title: A rehearsal
secrets: { token: { env: REHEARSAL_TOKEN } }
connections:
  source: { uses: sqlite, path: PLACE/erp.db }
environments:
  staging:
    kind: rehearsal
    auto_approve: AUTO
    people:
      ana: { name: Ana, roles: [lead] }
      bruno: { name: Bruno, roles: [dba] }
phases:
  - id: one
    steps:
      - id: change
        uses: sql.exec
        on: source
        with: { sql: "insert into t values (?)", params: [1] }
        gate: { approve: { roles: [dba], min: 1, distinct_from: [operator] } }
        rollback: { uses: sql.exec, on: source, with: { sql: "delete from t" } }
      - id: print
        uses: shell.command
        effect: read
        with: { argv: [sh, -c, "base64 PLACE/token; cat PLACE/token"] }
        gate: { none: it only reads }
"#;

/// A rehearsal's folder, with its runbook's path.
fn rehearsal(auto: &str) -> (Place, String) {
    let place = Place::new();
    let folder = place.path("").display().to_string();
    let text = REHEARSAL
        .replace("PLACE", folder.trim_end_matches('/'))
        .replace("AUTO", auto);
    fs::write(place.path("rehearsal.yaml"), text).unwrap();
    fs::write(place.path("token"), "correct-horse-battery").unwrap();
    support::open(&place.path("erp.db"))
        .execute_batch("create table t(a)")
        .unwrap();
    let runbook = place.path("rehearsal.yaml").display().to_string();
    (place, runbook)
}

#[test]
fn a_rehearsal_knows_its_people_and_never_writes_a_secret_down() {
    let (place, runbook) = rehearsal("true");
    let run = |more: &[&str], token: Option<&str>| {
        let mut arguments = vec!["run", &runbook, "--env", "staging", "--headless", "--approve-all"];
        arguments.extend(more);
        let mut command = place.command(&arguments);
        if let Some(token) = token {
            command.env("REHEARSAL_TOKEN", token);
        }
        support::Ended::from(command.output().unwrap())
    };
    let token = Some("correct-horse-battery");
    assert!(run(&[], token).expect(2).err.contains("--as PERSON"));
    assert!(run(&["--as", "eva"], token).expect(2).err.contains("no person eva"));
    assert!(
        run(&["--as", "ana"], None)
            .expect(2)
            .err
            .contains("REHEARSAL_TOKEN is not set")
    );
    assert!(
        run(&["--as", "ana", "--speed", "5"], token)
            .expect(2)
            .err
            .contains("kind lab")
    );
    assert_eq!(place.runs(), Vec::<String>::new(), "none of these began");
    let alone = run(&["--as", "bruno"], token).expect(3);
    assert!(alone.out.contains("nobody is left who may vote"), "{}", alone.out);
    let ended = run(&["--as", "ana"], token).expect(0);
    assert!(ended.out.contains("[secret token]"), "{}", ended.out);
    let kept = place.run_folder(&place.runs()[0]);
    let mut folders = vec![kept];
    let mut read = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = fs::read(&path).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            for form in ["correct-horse", "Y29ycmVjdC1ob3Jz"] {
                assert!(!text.contains(form), "{form} stands in {}", path.display());
            }
            read += 1;
        }
    }
    assert!(read > 5, "the run's files were not read");
}

#[test]
fn a_rehearsal_without_auto_approve_is_not_approved_by_an_option() {
    let (place, runbook) = rehearsal("false");
    let arguments = [
        "run",
        &runbook,
        "--env",
        "staging",
        "--headless",
        "--approve-all",
        "--as",
        "ana",
    ];
    let ended = place.program(&arguments).expect(2);
    assert!(ended.err.contains("--approve-all is not allowed"), "{}", ended.err);
}

#[test]
fn runs_are_listed_newest_first_within_a_minute_too() {
    let (place, runbook) = rehearsal("true");
    let mut begun = Vec::new();
    for _ in 0..5 {
        let mut command = place.command(&[
            "run",
            &runbook,
            "--env",
            "staging",
            "--headless",
            "--dry-run",
            "--as",
            "ana",
        ]);
        let ended = support::Ended::from(
            command
                .env("REHEARSAL_TOKEN", "correct-horse-battery")
                .output()
                .unwrap(),
        );
        let ended = ended.expect(0);
        let named = ended.out.lines().find_map(|line| line.strip_prefix("DRY RUN, run "));
        begun.insert(0, named.unwrap().split(':').next().unwrap().to_owned());
    }
    assert_eq!(place.runs(), begun);
}
