//! One executor a run: a second one is refused and told who holds it; a run that was conducted elsewhere, or whose folder
//! is a copy, is gone on with only after a word from a person.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use pointsman::journal::reader::read_run;
use support::{Ended, LabProcess, Place, QUICKSTART, wait_for};

/// A run that was left at its first gate: nothing was executed yet.
fn left_at_a_gate(place: &Place, lab: &LabProcess) -> String {
    let folder = lab.folder.display().to_string();
    let arguments = ["run", QUICKSTART, "--env", "lab", "--headless", "--lab", &folder];
    place.program(&arguments).expect(3);
    place.only_run()
}

fn journal(folder: &Path) -> Vec<String> {
    let records = read_run(folder).unwrap().records;
    records.iter().map(|record| record.ev.clone()).collect()
}

/// A run in the middle of a snapshot that never gets ready.
struct Waiting {
    child: Child,
}

impl Waiting {
    fn begin(place: &Place, lab: &LabProcess) -> Self {
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
            "--lab",
            &folder,
        ];
        let mut child = place.command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let acked = lines.any(|line| {
            let line = line.unwrap();
            line.contains("\"effect.ack\"") && line.contains("\"snapshot\"")
        });
        assert!(acked);
        // Somebody goes on reading what it says.
        std::thread::spawn(move || lines.count());
        Self { child }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[test]
fn a_second_executor_is_refused_and_told_who_holds_the_run() {
    let place = Place::new();
    let lab = place.lab("lab", &["snapshot-stalls"]);
    let first = Waiting::begin(&place, &lab);
    let run = place.only_run();
    let before = journal(&place.run_folder(&run));
    let requests = lab
        .requests()
        .iter()
        .filter(|request| request["changed"] == true)
        .count();
    let second = place
        .program(&["resume", &run, "--headless", "--approve-all"])
        .expect(2);
    let holder = format!("held by process {} on ", first.child.id());
    assert!(second.err.contains(&holder), "{}", second.err);
    assert!(second.err.contains("nothing was executed"), "{}", second.err);
    let after = journal(&place.run_folder(&run));
    assert!(!after.iter().any(|ev| ev == "resumed"), "{after:?}");
    assert!(after.starts_with(&before));
    let changed = lab
        .requests()
        .iter()
        .filter(|request| request["changed"] == true)
        .count();
    assert_eq!(changed, requests, "nothing was executed");
}

#[test]
fn of_two_that_resume_at_once_one_goes_on_and_the_other_is_refused() {
    let place = Place::new();
    let lab = place.lab("lab", &["snapshot-stalls"]);
    let run = left_at_a_gate(&place, &lab);
    let folder = place.run_folder(&run);
    let resume = || {
        let mut command = place.command(&["resume", &run, "--headless", "--approve-all"]);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let mut racers = [resume(), resume()];
    let mut refused = None;
    wait_for("one of them to be refused", || {
        refused = racers.iter_mut().position(|racer| racer.try_wait().unwrap().is_some());
        refused.is_some()
    });
    let [first, second] = racers;
    let (loser, mut winner) = if refused == Some(0) {
        (first, second)
    } else {
        (second, first)
    };
    let lost = Ended::from(loser.wait_with_output().unwrap()).expect(2);
    let holder = format!("held by process {} on ", winner.id());
    assert!(lost.err.contains(&holder), "{}", lost.err);
    wait_for("the other to go on", || {
        journal(&folder).iter().any(|ev| ev == "effect.intent")
    });
    winner.kill().unwrap();
    winner.wait().unwrap();
    let resumed = journal(&folder).iter().filter(|ev| *ev == "resumed").count();
    assert_eq!(resumed, 1);
    place.program(&["verify", &run, "--require", "chain"]).expect(1);
}

fn copy(from: &Path, to: &Path) {
    assert!(
        Command::new("cp")
            .arg("-a")
            .args([from, to])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn a_copied_folder_is_taken_over_only_by_a_persons_word_and_a_moved_one_goes_on() {
    let place = Place::new();
    let lab = place.lab("lab", &[]);
    let run = left_at_a_gate(&place, &lab);
    let copied = place.path("copied");
    copy(&place.run_folder(&run), &copied);
    let word = copied.display().to_string();
    let refused = place.program(&["resume", &word, "--headless"]).expect(2);
    assert!(
        refused.err.contains("is a copy of the folder of run"),
        "{}",
        refused.err
    );
    assert!(refused.err.contains("--take-over"), "{}", refused.err);
    assert!(!journal(&copied).iter().any(|ev| ev == "resumed"));
    let taken = place.program(&["resume", &word, "--headless", "--take-over"]).expect(3);
    assert!(
        taken.out.contains(&format!("pointsman resume {word}")),
        "the copy is named, not the original: {}",
        taken.out
    );
    let records = journal(&copied);
    let said: Vec<&str> = records
        .iter()
        .map(String::as_str)
        .skip_while(|ev| *ev != "resumed")
        .collect();
    assert!(
        said.contains(&"note"),
        "the record says that it was taken over: {records:?}"
    );
    // Its effects are still named after the run, not after the folder.
    let through = place
        .program(&[
            "resume",
            &word,
            "--headless",
            "--approve-all",
            "--format",
            "json",
            "--take-over",
        ])
        .expect(0);
    assert_eq!(through.named("effect.outcome").last().unwrap()["result"], "done");
    let snapshot = through.named("effect.ack");
    let key = snapshot.iter().find(|event| event["step"] == "snapshot").unwrap();
    assert!(key["provider_id"].is_string());
    assert!(
        read_run(&copied)
            .unwrap()
            .records
            .iter()
            .all(|record| record.run == run)
    );
    // A folder that was only moved is the run's own.
    let moved = place.path("moved");
    fs::rename(place.run_folder(&run), &moved).unwrap();
    let word = moved.display().to_string();
    place.program(&["resume", &word, "--headless"]).expect(3);
}

#[test]
#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
fn a_run_of_another_host_is_taken_over_only_by_a_persons_word() {
    let place = Place::new();
    let lab = place.lab("lab", &[]);
    let run = left_at_a_gate(&place, &lab);
    let elsewhere = |arguments: &[&str]| {
        let inner = place.command(arguments);
        let mut command = Command::new("unshare");
        command
            .args(["--user", "--map-root-user", "--uts", "sh", "-c"])
            .arg("hostname elsewhere && exec \"$0\" \"$@\"")
            .arg(inner.get_program())
            .args(inner.get_args())
            .env_clear();
        for (name, value) in inner.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        Ended::from(command.stdin(Stdio::null()).output().unwrap())
    };
    if elsewhere(&["runs"]).code != 0 {
        // Other host names need a namespace of their own, which not every machine lends.
        println!("skipped: unshare is not permitted here");
        return;
    }
    let refused = elsewhere(&["resume", &run, "--headless"]).expect(2);
    assert!(refused.err.contains("this is host elsewhere"), "{}", refused.err);
    elsewhere(&["resume", &run, "--headless", "--take-over"]).expect(3);
    elsewhere(&["resume", &run, "--headless"]).expect(3);
    // Who was there last counts, not who began.
    let back = place.program(&["resume", &run, "--headless"]).expect(2);
    assert!(back.err.contains("on host elsewhere before"), "{}", back.err);
    place.program(&["resume", &run, "--headless", "--take-over"]).expect(3);
    let verified = place.program(&["verify", &run, "--require", "chain"]).expect(1);
    assert!(verified.out.contains("intact so far"), "{}", verified.out);
}
