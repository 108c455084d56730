//! The program is killed (SIGKILL) in the middle of every step of the quickstart, and goes on; replies are cut after
//! the effect. Nothing is done twice, no acknowledged event is lost, the run reaches its end.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use pointsman::journal::reader::read_run;
use serde_json::Value;
use support::{LabProcess, Place, QUICKSTART, assert_nothing_twice};

/// Steps that only read or ask.
const READS: &[&str] = &[
    "go_no_go",
    "caught_up",
    "drained",
    "count_source",
    "validate_target",
    "http_ok",
    "writes_arrive",
];
/// Steps that change something.
const MUTATIONS: &[&str] = &[
    "lower_ttl",
    "snapshot",
    "dms_start",
    "freeze",
    "fence",
    "dms_stop",
    "flip",
];

/// Where the process is killed.
#[derive(Debug, Clone, Copy)]
struct Moment {
    ev: &'static str,
    step: &'static str,
}

fn moments() -> Vec<Moment> {
    let at = |ev: &'static str, steps: &'static [&'static str]| steps.iter().map(move |step| Moment { ev, step });
    at("effect.intent", READS)
        .chain(at("effect.intent", MUTATIONS))
        .chain(at("effect.ack", MUTATIONS).filter(|moment| moment.step != "fence"))
        .chain(at("gate.requested", &["freeze", "flip"]))
        .chain(at("step.verifying", &["snapshot", "flip"]))
        .collect()
}

#[test]
fn killed_in_every_step_it_goes_on_and_repeats_nothing() {
    let moments = moments();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(moment) = moments.get(next.fetch_add(1, Ordering::SeqCst)) {
                    killed_at(*moment);
                }
            });
        }
    });
}

fn killed_at(moment: Moment) {
    let place = Place::new();
    let lab = place.lab("lab", &[]);
    let heard = run_and_kill(&place, &lab, moment);
    let run = place.only_run();
    let listed = place.program(&["runs", "--format", "json"]).out;
    assert!(listed.contains("\"interrupted\""), "{moment:?}: {listed}");
    let arguments = [
        "resume",
        run.as_str(),
        "--headless",
        "--format",
        "json",
        "--approve-all",
    ];
    let ended = place.program(&arguments);
    assert_eq!(ended.code, 0, "{moment:?}\n{}\n{}", ended.out, ended.err);
    assert_eq!(ended.lost(), 0, "{moment:?}");
    assert_eq!(lab.answer().values, ["127.0.0.2"], "{moment:?}");
    assert_nothing_twice(&lab, &[]);
    let records = read_run(&place.run_folder(&run)).unwrap().records;
    for event in &heard {
        let seq = event["seq"].as_u64().unwrap();
        let kept = records.iter().find(|record| record.seq == seq);
        assert!(
            kept.is_some_and(|record| event["ev"] == record.ev.as_str()),
            "{moment:?}: an event that was told is not in the journal: {event}"
        );
    }
    assert!(records.iter().any(|record| record.ev == "resumed"), "{moment:?}");
    place.program(&["verify", &run, "--require", "chain"]).expect(0);
}

/// Runs the quickstart until a moment is told, then kills; gives the durable events that were told.
fn run_and_kill(place: &Place, lab: &LabProcess, moment: Moment) -> Vec<Value> {
    let folder = lab.folder.display().to_string();
    let arguments = [
        "run",
        QUICKSTART,
        "--env",
        "lab",
        "--headless",
        "--format",
        "json",
        "--approve-all",
    ];
    let mut command = place.command(&arguments);
    let mut child = command.args(["--lab", &folder]).stdout(Stdio::piped()).spawn().unwrap();
    let mut heard = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let reached = event["ev"] == moment.ev && event["step"] == moment.step;
        if event["seq"].is_u64() {
            heard.push(event);
        }
        if reached {
            child.kill().unwrap();
            child.wait().unwrap();
            return heard;
        }
    }
    let status = child.wait().unwrap();
    unreachable!("{moment:?} was never told; the run ended with {status}");
}

#[test]
fn a_reply_that_is_cut_after_the_effect_is_adopted_not_repeated() {
    let faults = [
        ("snapshot-reply-lost", "snapshot"),
        ("dms-start-reply-lost", "dms_start"),
        ("dns-change-reply-lost", "lower_ttl"),
        ("dns-flip-reply-lost", "flip"),
    ];
    for (fault, step) in faults {
        let place = Place::new();
        let lab = place.lab("lab", &[fault]);
        let ended = place.run_on(&lab, QUICKSTART, &[]);
        assert_eq!(ended.code, 0, "{fault}\n{}\n{}", ended.out, ended.err);
        let outcomes = ended.named("effect.outcome");
        let found = outcomes
            .iter()
            .any(|event| event["observed"] == true && event["step"] == step && event["result"] == "done");
        assert!(found, "{fault}: the effect was found by looking\n{}", ended.out);
        assert_eq!(ended.lost(), 0, "{fault}");
        assert_nothing_twice(&lab, &[]);
        place
            .program(&["verify", &place.only_run(), "--require", "chain"])
            .expect(0);
    }
}

#[test]
fn a_throttled_call_is_sent_again_because_it_changed_nothing() {
    let place = Place::new();
    let lab = place.lab("lab", &["throttle-once"]);
    let ended = place.run_on(&lab, QUICKSTART, &[]).expect(0);
    // The look at the server's clock asks for nothing, and is refused.
    let mutating = lab.requests().into_iter().filter(|request| request["mutating"] == true);
    let throttled = mutating.filter(|request| request["status"] == 400);
    assert_eq!(throttled.count(), 3, "one of each service");
    assert_eq!(ended.named("step.failed").len(), 0);
    assert_nothing_twice(&lab, &[]);
}

#[test]
fn an_unhealthy_target_ends_the_run_resumably_and_the_way_back_is_open() {
    let place = Place::new();
    let lab = place.lab("lab", &["target-unhealthy"]);
    let ended = place.run_on(&lab, QUICKSTART, &[]).expect(1);
    assert_eq!(ended.named("step.failed")[0]["step"], "http_ok");
    let run = place.only_run();
    let arguments = [
        "resume",
        &run,
        "--headless",
        "--format",
        "json",
        "--approve-all",
        "--roll-back-at",
        "http_ok",
    ];
    let back = place.program(&arguments).expect(4);
    assert_eq!(lab.answer().values, ["127.0.0.1"]);
    assert!(lab.is_writable());
    let outcome = back.named("effect.outcome");
    let counted = outcome.iter().find_map(|event| event["outputs"]["lost"].as_u64());
    assert_eq!(Some(back.lost()), counted);
}

const DOUBTFUL: &str = r#"
version: 1
name: doubtful
title: A night with a doubt
environments:
  lab: { kind: lab }
phases:
  - id: one
    steps:
      - id: sync
        uses: shell.command
        with: { argv: [sync-files] }
        lab: { uses: shell.command, with: { argv: [sh, -c, "echo once >> MARK; sleep 600"] } }
        timeout: 1s
        rollback: { not_needed: copying again harms nobody }
"#;

#[test]
fn what_nobody_can_tell_is_asked_and_never_repeated() {
    let place = Place::new();
    let lab = place.lab("lab", &[]);
    let mark = place.path("mark");
    let runbook = place.path("doubtful.yaml");
    std::fs::write(&runbook, DOUBTFUL.replace("MARK", &mark.display().to_string())).unwrap();
    place.run_on(&lab, &runbook.display().to_string(), &[]).expect(6);
    let run = place.only_run();
    for _ in 0..2 {
        let listed = place.program(&["runs", "--format", "json"]).out;
        assert!(listed.contains("\"in doubt\""), "{listed}");
        let resumed = place
            .program(&["resume", &run, "--headless", "--approve-all"])
            .expect(6);
        assert!(
            resumed.out.contains("a person has to look and decide"),
            "{}",
            resumed.out
        );
    }
    assert_eq!(std::fs::read_to_string(&mark).unwrap(), "once\n");
    place.program(&["verify", &run, "--require", "chain"]).expect(1);
}
