//! Whole nights with another host: the program itself, headless, in a rehearsal.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use rustix::process::Signal;

use crate::server::{Host, kill, processes, user};
use crate::support::{Place, wait_for};

const NIGHT: &str = r#"
version: 1
name: other-house
title: A night with another house
secrets: { passphrase: { env: NIGHT_PASSPHRASE } }
connections:
  house: { uses: ssh, host: 127.0.0.1, port: PORT, user: USER, known_hosts: PLACE/known_hosts, PROOF }
environments:
  staging:
    kind: rehearsal
    auto_approve: true
    people: { ana: { name: Ana, roles: [lead] } }
phases:
  - id: one
    steps:
      - id: move
        uses: ssh.command
        on: house
        with: { argv: [sh, -c, "SCRIPT", --, PLACE] }
        EXTRA
        gate: { phrase: move }
        outputs: { printed: result.stdout }
        rollback: { not_needed: a test harms nobody }
      - id: look
        uses: ssh.command
        on: house
        effect: read
        with: { argv: [echo, "it printed ${ steps.move.outputs.printed }"], expect: "'once' in stdout" }
        gate: { none: it only reads }
"#;

const HEADLESS: &[&str] = &["--headless", "--format", "json", "--approve-all"];

struct Night {
    place: Place,
    host: Host,
    runbook: String,
}

impl Night {
    fn new(proof: &str, script: &str, extra: &str) -> Self {
        let (place, host) = (Place::new(), Host::new());
        host.make_key("ed25519", "locked", "open sesame");
        fs::copy(host.path("locked.pub"), host.path("authorized_keys")).unwrap();
        let text = NIGHT
            .replace("PROOF", proof)
            .replace("SCRIPT", script)
            .replace("EXTRA", extra)
            .replace("PORT", &host.port.to_string())
            .replace("USER", &user())
            .replace("PLACE", &host.path("").display().to_string());
        let runbook = place.path("night.yaml");
        fs::write(&runbook, text).unwrap();
        Self {
            runbook: runbook.display().to_string(),
            place,
            host,
        }
    }

    fn command(&self, first: &[&str], more: &[&str]) -> std::process::Command {
        let mut command = self.place.command(&[first, HEADLESS, more].concat());
        command.env("NIGHT_PASSPHRASE", "open sesame");
        command
    }

    fn run(&self, more: &[&str]) -> std::process::Command {
        self.command(&["run", &self.runbook, "--env", "staging", "--as", "ana"], more)
    }

    fn journal(&self) -> String {
        let folder = self.place.run_folder(&self.place.runs()[0]).join("journal");
        let segments = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        segments.map(|segment| fs::read_to_string(segment).unwrap()).collect()
    }

    fn attempts(&self) -> usize {
        fs::read_dir(self.host.path("state").join("pointsman")).map_or(0, Iterator::count)
    }
}

const WAITING: &str = "echo once | tee -a $1/mark; read word < $1/pipe; exit $word";

/// A night whose command has begun and waits for a word, in a process of its own.
fn begun() -> (Night, std::process::Child) {
    let night = Night::new(LOCKED, WAITING, "timeout: 10m");
    let pipe = night.host.path("pipe");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(pipe)
            .status()
            .unwrap()
            .success()
    );
    let running = night.run(&[]).stdout(Stdio::piped()).spawn().unwrap();
    wait_for("the command", || night.host.path("mark").exists());
    (night, running)
}

/// The same, with the process killed.
fn killed() -> Night {
    let (night, mut running) = begun();
    running.kill().unwrap();
    running.wait().unwrap();
    night
}

const LOCKED: &str = r#"key: PLACE/locked, passphrase: "${ secret.passphrase }""#;

#[test]
fn the_record_names_the_host_key_and_the_group_and_a_dry_run_begins_nothing() {
    let night = Night::new(LOCKED, "echo once | tee -a $1/mark", "timeout: 1m");
    let ended = crate::support::Ended::from(night.run(&["--dry-run"]).output().unwrap()).expect(0);
    assert!(ended.out.contains("simulated"), "{}", ended.out);
    assert!(!night.host.path("mark").exists() && night.attempts() == 0);
    crate::support::Ended::from(night.run(&[]).output().unwrap()).expect(0);
    let journal = night.journal();
    let key = format!("ssh-ed25519 {}", night.host.fingerprint("host_ed25519"));
    for named in [
        key.as_str(),
        "process group ",
        &format!("on {}@127.0.0.1:{}", user(), night.host.port),
    ] {
        assert!(journal.contains(named), "{named}: {journal}");
    }
    assert!(!journal.contains("sesame"));
    assert_eq!(fs::read_to_string(night.host.path("mark")).unwrap(), "once\n");
    assert_eq!(night.attempts(), 1, "the step that reads leaves nothing");
    let run = night.place.runs()[0].clone();
    night.place.program(&["verify", &run, "--require", "chain"]).expect(0);
}

#[test]
fn a_night_that_is_killed_goes_on_with_what_its_command_came_to() {
    let night = killed();
    let run = night.place.only_run();
    let mut resumed = night
        .command(&["resume", &run, "--as", "ana"], &[])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(resumed.stdout.take().unwrap());
    let mut all = String::new();
    while !all.contains("still runs on the host") {
        assert!(told.read_line(&mut all).unwrap() > 0, "it was never found: {all}");
    }
    fs::write(night.host.path("pipe"), "0\n").unwrap();
    told.read_to_string(&mut all).unwrap();
    assert_eq!(resumed.wait().unwrap().code(), Some(0), "{all}");
    assert_eq!(fs::read_to_string(night.host.path("mark")).unwrap(), "once\n");
    let journal = night.journal();
    assert!(journal.contains(r#""observed":true"#), "{journal}");
}

#[test]
fn what_ended_while_nobody_looked_is_found_and_a_failure_is_for_a_person() {
    for (word, code) in [("0", 0), ("3", 6)] {
        let night = killed();
        fs::write(night.host.path("pipe"), format!("{word}\n")).unwrap();
        let notes = fs::read_dir(night.host.path("state").join("pointsman")).unwrap();
        let notes = notes.map(|entry| entry.unwrap().path()).next().unwrap();
        wait_for("its end", || notes.join("status").exists());
        let run = night.place.only_run();
        let resumed =
            crate::support::Ended::from(night.command(&["resume", &run, "--as", "ana"], &[]).output().unwrap());
        let resumed = resumed.expect(code);
        let found = format!("sh ended with {word} on ");
        assert!(night.journal().contains(&found), "{}", resumed.out);
    }
}

#[test]
fn a_timeout_ends_the_group_and_is_in_doubt() {
    let night = Night::new(
        LOCKED,
        "sleep 600 & echo $$ > $1/group.new; mv $1/group.new $1/mark; wait",
        "timeout: 8s",
    );
    let ended = crate::support::Ended::from(night.run(&[]).output().unwrap()).expect(6);
    let journal = night.journal();
    assert!(journal.contains("its timeout of 8 s has passed"), "{}", ended.out);
    let group: u32 = fs::read_to_string(night.host.path("mark"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!(!processes().iter().any(|process| process.group == group));
}

#[test]
fn a_cut_connection_is_looked_into_at_once() {
    let (night, mut running) = begun();
    let before = night.host.connections();
    for pid in &before {
        kill(*pid, Signal::KILL);
    }
    wait_for("another connection", || {
        night.host.connections().iter().any(|pid| !before.contains(pid))
    });
    fs::write(night.host.path("pipe"), "0\n").unwrap();
    let mut all = String::new();
    running.stdout.take().unwrap().read_to_string(&mut all).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(0), "{all}");
    assert!(night.journal().contains("was cut while sh ran"), "{all}");
    assert_eq!(fs::read_to_string(night.host.path("mark")).unwrap(), "once\n");
}

#[test]
fn a_connection_without_its_agent_executes_nothing() {
    let night = Night::new("agent: true", "echo once", "timeout: 1m");
    let ended = crate::support::Ended::from(night.run(&[]).output().unwrap()).expect(2);
    assert!(ended.err.contains("SSH_AUTH_SOCK is not set"), "{}", ended.err);
}
