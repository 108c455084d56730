//! Signals and a lost terminal: whatever asks the program to end, it leaves in order, with a record that says so, and the
//! run goes on as if nothing had been. What was accepted is not waited for; what was sent is, for a while.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use pointsman::journal::Record;
use pointsman::journal::reader::read_run;
use rustix::process::{Pid, Signal, kill_process};
use support::{Ended, LabProcess, Place, QUICKSTART, assert_nothing_twice, wait_for};

const HEADLESS: [&str; 4] = ["--headless", "--format", "json", "--approve-all"];

/// A headless program whose lines are read.
struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
    heard: String,
}

impl Running {
    fn begin(place: &Place, lab: &LabProcess, runbook: &str) -> Self {
        let folder = lab.folder.display().to_string();
        let mut arguments = vec!["run", runbook, "--env", "lab", "--lab", &folder];
        arguments.extend(HEADLESS);
        let mut command = place.command(&arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let heard = String::new();
        Self { child, lines, heard }
    }

    #[track_caller]
    fn hear(&mut self, words: &[&str]) {
        loop {
            let before = self.heard.len();
            assert!(
                self.lines.read_line(&mut self.heard).unwrap() > 0,
                "{words:?} was never told:\n{}",
                self.heard
            );
            if words.iter().all(|word| self.heard[before..].contains(word)) {
                return;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    #[track_caller]
    fn left(mut self) -> String {
        self.lines.read_to_string(&mut self.heard).unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(3), "{}", self.heard);
        self.heard
    }
}

fn records(place: &Place) -> Vec<Record> {
    read_run(&place.run_folder(&place.only_run())).unwrap().records
}

fn of_snapshot(record: &Record, ev: &str) -> bool {
    record.ev == ev && record.step.as_deref() == Some("snapshot")
}

/// Goes on to the end: nothing is lost, nothing was done twice.
#[track_caller]
fn goes_on(place: &Place, lab: &LabProcess) -> Ended {
    let run = place.only_run();
    let mut arguments = vec!["resume", run.as_str()];
    arguments.extend(HEADLESS);
    let ended = place.program(&arguments).expect(0);
    assert_eq!(ended.lost(), 0);
    assert_eq!(lab.answer().values, ["127.0.0.2"]);
    assert_nothing_twice(lab, &[]);
    let verified = place.program(&["verify", &run, "--require", "chain"]).expect(0);
    assert!(!verified.out.contains("damaged"), "{}", verified.out);
    ended
}

fn what_was_accepted_is_left_at_once(signal: Signal) {
    let place = Place::new();
    let lab = place.lab("lab", &["snapshot-stalls"]);
    let mut running = Running::begin(&place, &lab, QUICKSTART);
    running.hear(&["effect.ack", "snapshot"]);
    let asked = Instant::now();
    running.signal(signal);
    running.signal(signal);
    running.left();
    assert!(
        asked.elapsed() < Duration::from_secs(20),
        "{signal:?}: it was waited for"
    );
    let kept = records(&place);
    assert_eq!(kept.last().unwrap().ev, "interrupted", "{signal:?}");
    assert!(!kept.iter().any(|record| of_snapshot(record, "effect.outcome")));
    // The same lab, without its fault.
    drop(lab);
    let lab = place.lab("lab", &[]);
    let ended = goes_on(&place, &lab);
    let found = ended.named("effect.outcome");
    let found = found.iter().find(|event| event["step"] == "snapshot").unwrap();
    assert_eq!(found["observed"], true, "it was adopted, not made again");
}

#[test]
fn an_interrupt_leaves_an_accepted_effect_at_once() {
    what_was_accepted_is_left_at_once(Signal::INT);
}

#[test]
fn a_termination_leaves_an_accepted_effect_at_once() {
    what_was_accepted_is_left_at_once(Signal::TERM);
}

#[test]
fn a_hangup_leaves_an_accepted_effect_at_once() {
    what_was_accepted_is_left_at_once(Signal::HUP);
}

fn in_the_middle_of_a_send(signal: Signal, place: &Place) -> (LabProcess, Running) {
    let lab = place.lab("lab", &["snapshot-reply-stalls"]);
    let mut running = Running::begin(place, &lab, QUICKSTART);
    wait_for("the reply to stall", || lab.folder.join("stalled").exists());
    running.signal(signal);
    running.hear(&["the answer of step snapshot is waited for"]);
    (lab, running)
}

#[test]
fn an_answer_that_is_on_its_way_is_waited_for_whatever_the_signal() {
    std::thread::scope(|scope| {
        for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
            scope.spawn(move || {
                let place = Place::new();
                let (lab, running) = in_the_middle_of_a_send(signal, &place);
                // Somebody is impatient.
                running.signal(Signal::INT);
                running.signal(Signal::INT);
                fs::remove_file(lab.folder.join("stalled")).unwrap();
                running.left();
                let kept = records(&place);
                let acked = kept.iter().position(|record| of_snapshot(record, "effect.ack"));
                let left = kept.iter().position(|record| record.ev == "interrupted");
                assert!(acked.is_some() && acked < left, "{signal:?}");
                goes_on(&place, &lab);
            });
        }
    });
}

#[test]
fn an_answer_that_does_not_come_is_given_up_and_looked_for_on_resume() {
    let place = Place::new();
    let (lab, running) = in_the_middle_of_a_send(Signal::TERM, &place);
    let asked = Instant::now();
    running.left();
    // The client of the cloud gives up before the program would.
    assert!(asked.elapsed() > Duration::from_secs(10), "it was not waited for");
    let kept = records(&place);
    assert_eq!(kept.last().unwrap().ev, "interrupted");
    let outcome = kept
        .iter()
        .find(|record| of_snapshot(record, "effect.outcome"))
        .unwrap();
    assert_eq!(outcome.data["result"], "in_doubt");
    assert!(!kept.iter().any(|record| of_snapshot(record, "effect.ack")));
    fs::remove_file(lab.folder.join("stalled")).unwrap();
    let ended = goes_on(&place, &lab);
    // What was told before is told again: the doubt, then what was found by the tag.
    let outcomes = ended.named("effect.outcome");
    let last = outcomes.iter().rfind(|event| event["step"] == "snapshot").unwrap();
    assert_eq!((&last["observed"], &last["result"]), (&true.into(), &"done".into()));
}

const COPY: &str = r#"
version: 1
name: copying
title: A night with a long copy
environments:
  lab: { kind: lab }
phases:
  - id: one
    steps:
      - id: sync
        uses: shell.command
        with: { argv: [sync-files] }
        lab: { uses: shell.command, with: { argv: [sh, -c, "SCRIPT"] } }
        rollback: { not_needed: a copy harms nobody }
"#;

#[test]
fn a_command_is_ended_and_a_person_is_asked_what_it_did() {
    let place = Place::new();
    let lab = place.lab("lab", &[]);
    let mark = place.path("mark");
    let script = format!(
        "trap '' TERM; echo once >> {}; while :; do sleep 600; done",
        mark.display()
    );
    let runbook = place.path("copy.yaml");
    fs::write(&runbook, COPY.replace("SCRIPT", &script)).unwrap();
    let mut running = Running::begin(&place, &lab, &runbook.display().to_string());
    running.hear(&["effect.ack"]);
    wait_for("the mark", || mark.exists());
    running.signal(Signal::TERM);
    running.left();
    assert_eq!(records(&place).last().unwrap().ev, "interrupted");
    let run = place.only_run();
    for _ in 0..2 {
        let mut arguments = vec!["resume", run.as_str()];
        arguments.extend(HEADLESS);
        let asked = place.program(&arguments).expect(6);
        assert!(
            !asked.out.contains("still runs"),
            "nothing is left of it: {}",
            asked.out
        );
    }
    let kept = records(&place);
    let outcome = kept.iter().find(|record| record.ev == "effect.outcome").unwrap();
    let detail = outcome.data["detail"].as_str().unwrap();
    assert!(
        detail.contains("signal: 9") && detail.contains("asked to end"),
        "{detail}"
    );
    assert_eq!(fs::read_to_string(&mark).unwrap(), "once\n");
}
