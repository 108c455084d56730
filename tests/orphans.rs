//! Children of commands that outlive the program: found again by the lock they inherit, waited for, asked about, and
//! never started twice. A cancel ends the whole process group and says so.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "support/cx.rs"]
mod cx;
mod support;

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use pointsman::provider::action::{Action, ActionError, ActionErrorKind, Cx, Observed, Progress, Reporter};
use pointsman::provider::connection::Connections;
use pointsman::provider::registry::{Request, build};
use pointsman::provider::shell::attempt::Attempts;
use serde_json::{Value, json};
use support::{Place, wait_for};
use tokio_util::sync::CancellationToken;

#[derive(Default)]
struct Heard {
    acked: Mutex<bool>,
}

#[async_trait]
impl Reporter for Heard {
    async fn ack(&self, _provider_id: &str) -> Result<(), ActionError> {
        *self.acked.lock().unwrap() = true;
        Ok(())
    }

    fn progress(&self, _progress: Progress) {}
}

struct Bench {
    place: Place,
    heard: Arc<Heard>,
    cancel: CancellationToken,
}

impl Bench {
    fn new() -> Self {
        let place = Place::new();
        fs::create_dir(place.path("attempts")).unwrap();
        Self {
            place,
            heard: Arc::default(),
            cancel: CancellationToken::new(),
        }
    }

    fn action(&self, script: &str, complete: bool) -> Box<dyn Action> {
        let attempts = Attempts::new(self.place.path("attempts"), complete);
        let request = Request {
            uses: "shell.command",
            on: &[],
            with: &json!({ "argv": ["sh", "-c", script] }),
        };
        build(&request, &Connections::new().noting(attempts)).unwrap()
    }

    fn cx(&self) -> Cx {
        Cx {
            step: "sync".to_owned(),
            ..cx::cx("pm-key", Value::Null, 1.0, &self.cancel, self.heard.clone())
        }
    }

    /// Begins it and forgets it once its child runs, as a program does that is killed.
    async fn orphan(&self, script: &str) {
        let (action, cx) = (self.action(script, true), self.cx());
        let begun = tokio::spawn(async move { action.execute(&cx).await });
        let heard = self.heard.clone();
        tokio::task::block_in_place(|| wait_for("the child", || *heard.acked.lock().unwrap()));
        begun.abort();
        assert!(begun.await.unwrap_err().is_cancelled());
    }

    async fn observe(&self) -> Observed {
        self.action("true", true).observe(&self.cx()).await.unwrap()
    }

    /// A pipe that nobody writes to: who reads it waits until the test lets go.
    fn pipe(&self, name: &str) -> Pipe {
        Pipe::new(&self.place.path(name))
    }
}

struct Pipe(PathBuf);

impl Pipe {
    fn new(path: &Path) -> Self {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        Self(path.to_owned())
    }

    fn let_go(&self) {
        OpenOptions::new()
            .write(true)
            .open(&self.0)
            .unwrap()
            .write_all(b"go\n")
            .unwrap();
    }

    fn path(&self) -> std::path::Display<'_> {
        self.0.display()
    }
}

#[track_caller]
fn unknown(seen: &Observed) -> &str {
    match seen {
        Observed::Unknown { detail } => detail,
        other @ (Observed::Done(_)
        | Observed::NotVisible { .. }
        | Observed::NotStarted { .. }
        | Observed::Running { .. }) => panic!("{other:?}"),
    }
}

#[track_caller]
fn running(seen: &Observed) -> &str {
    match seen {
        Observed::Running { detail } => detail,
        other @ (Observed::Done(_)
        | Observed::NotVisible { .. }
        | Observed::NotStarted { .. }
        | Observed::Unknown { .. }) => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_noted_was_never_started_but_only_in_the_runs_own_folder() {
    let bench = Bench::new();
    assert!(matches!(bench.observe().await, Observed::NotStarted { .. }));
    let copied = bench.action("true", false).observe(&bench.cx()).await.unwrap();
    assert!(unknown(&copied).contains("proves nothing"), "{copied:?}");
    let read = Cx {
        mutates: false,
        ..bench.cx()
    };
    bench.action("true", true).execute(&read).await.unwrap();
    assert!(
        matches!(bench.observe().await, Observed::NotStarted { .. }),
        "a read notes nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_runs_while_it_runs_and_then_nobody_knows_how_it_ended() {
    let bench = Bench::new();
    let pipe = bench.pipe("pipe");
    bench.orphan(&format!("read told < {}", pipe.path())).await;
    let seen = bench.observe().await;
    let detail = running(&seen);
    assert!(detail.contains("sh still runs (process "), "{detail}");
    // Nothing of the same name is started beside it.
    let again = bench.action("true", true).execute(&bench.cx()).await.unwrap_err();
    assert_eq!(again.kind, ActionErrorKind::Transient, "{again:?}");
    let (action, cx) = (bench.action("true", true), bench.cx());
    let adopted = tokio::spawn(async move { action.adopt(&cx).await });
    tokio::task::block_in_place(|| pipe.let_go());
    let error = adopted.await.unwrap().unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::InDoubt);
    assert!(error.message.contains("nobody saw how it ended"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grandchild_keeps_the_lock_and_is_told_apart() {
    let bench = Bench::new();
    let (child, grandchild) = (bench.pipe("child"), bench.pipe("grandchild"));
    let script = format!("(read told < {}) & read told < {}", grandchild.path(), child.path());
    bench.orphan(&script).await;
    tokio::task::block_in_place(|| child.let_go());
    let look = || tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(bench.observe()));
    wait_for("the child's end", || {
        running(&look()).contains("has ended, but something that it started still runs")
    });
    tokio::task::block_in_place(|| grandchild.let_go());
    wait_for("the grandchild's end", || matches!(look(), Observed::Unknown { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_was_seen_is_remembered() {
    let bench = Bench::new();
    bench.action("exit 0", true).execute(&bench.cx()).await.unwrap();
    let Observed::Done(found) = bench.observe().await else {
        panic!("its end was noted");
    };
    assert_eq!(found.result["code"], 0);
    let bench = Bench::new();
    bench.action("exit 3", true).execute(&bench.cx()).await.unwrap_err();
    let seen = bench.observe().await;
    assert!(unknown(&seen).contains("exit status: 3"), "{seen:?}");
    let bench = Bench::new();
    let request = Request {
        uses: "shell.command",
        on: &[],
        with: &json!({ "argv": ["no-such-program-here"] }),
    };
    let attempts = Attempts::new(bench.place.path("attempts"), true);
    let missing = build(&request, &Connections::new().noting(attempts)).unwrap();
    missing.execute(&bench.cx()).await.unwrap_err();
    assert!(matches!(bench.observe().await, Observed::NotStarted { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_a_crash_cut_short_is_read_as_far_as_it_goes() {
    let bench = Bench::new();
    bench.action("exit 0", true).execute(&bench.cx()).await.unwrap();
    let file = bench.place.path("attempts").join("sync-1-pm-key.lock");
    let whole = fs::read_to_string(&file).unwrap();
    let cut = whole.trim_end().len() - 3;
    fs::write(&file, &whole[..cut]).unwrap();
    let seen = bench.observe().await;
    assert!(unknown(&seen).contains("nobody saw how it ended"), "{seen:?}");
    fs::write(&file, "").unwrap();
    assert!(unknown(&bench.observe().await).contains("its process"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_will_not_end_is_killed_with_all_its_group() {
    let bench = Bench::new();
    let note = bench.place.path("ready");
    let deaf = "trap '' TERM; while :; do sleep 600; done";
    let script = format!(
        "sh -c \"{deaf}\" & trap '' TERM; echo $! > {}; wait; wait",
        note.display()
    );
    let (action, cx) = (bench.action(&script, true), bench.cx());
    let running = tokio::spawn(async move { action.execute(&cx).await });
    tokio::task::block_in_place(|| {
        wait_for("the children", || {
            fs::read_to_string(&note).is_ok_and(|text| text.ends_with('\n'))
        })
    });
    bench.cancel.cancel();
    let error = running.await.unwrap().unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::InDoubt);
    assert!(error.message.contains("had to be killed"), "{error:?}");
    // The lock tells of the whole group.
    let seen = bench.observe().await;
    assert!(
        unknown(&seen).contains("signal: 9") && unknown(&seen).contains("after it was asked to end"),
        "{seen:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_left_the_group_is_not_reached_and_that_is_said() {
    let bench = Bench::new();
    let (pipe, note) = (bench.pipe("pipe"), bench.place.path("ready"));
    let script = format!(
        "setsid sh -c 'echo ready > {}; read told < {}' & wait",
        note.display(),
        pipe.path()
    );
    let (action, cx) = (bench.action(&script, true), bench.cx());
    let running = tokio::spawn(async move { action.execute(&cx).await });
    tokio::task::block_in_place(|| wait_for("what left", || note.exists()));
    bench.cancel.cancel();
    let error = running.await.unwrap().unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::InDoubt);
    assert!(error.message.contains("has left its process group"), "{error:?}");
    let seen = bench.observe().await;
    assert!(
        unknown(&seen).contains("something that it started still runs"),
        "{seen:?}"
    );
    tokio::task::block_in_place(|| pipe.let_go());
}

const NIGHT: &str = r#"
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
        EXTRA
        gate: { phrase: sync }
"#;

fn night(place: &Place, script: &str, extra: &str) -> String {
    let path = place.path("night.yaml");
    fs::write(&path, NIGHT.replace("SCRIPT", script).replace("EXTRA", extra)).unwrap();
    path.display().to_string()
}

/// Reads a headless program's lines until one of them holds.
#[track_caller]
fn read_until(child: &mut Child, what: &str, holds: impl Fn(&str) -> bool) -> BufReader<std::process::ChildStdout> {
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut all = String::new();
    loop {
        let mut line = String::new();
        assert!(lines.read_line(&mut line).unwrap() > 0, "{what} was never told:\n{all}");
        if holds(&line) {
            return lines;
        }
        all.push_str(&line);
    }
}

#[test]
fn a_run_that_was_killed_waits_for_its_orphan_and_then_asks() {
    let place = Place::new();
    let lab = place.lab("lab", &[]);
    let (mark, pipe) = (place.path("mark"), Pipe::new(&place.path("pipe")));
    let script = format!("echo once >> {}; read told < {}", mark.display(), pipe.path());
    let runbook = night(&place, &script, "rollback: { not_needed: a copy harms nobody }");
    let folder = lab.folder.display().to_string();
    let headless = ["--headless", "--format", "json", "--approve-all"];
    let mut arguments = vec!["run", &runbook, "--env", "lab", "--lab", &folder];
    arguments.extend(headless);
    let mut killed = place.command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    drop(read_until(&mut killed, "the start", |line| line.contains("effect.ack")));
    wait_for("the mark", || mark.exists());
    killed.kill().unwrap();
    killed.wait().unwrap();
    let run = place.only_run();
    let mut arguments = vec!["resume", run.as_str()];
    arguments.extend(headless);
    let mut resumed = place.command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut rest = read_until(&mut resumed, "the orphan", |line| {
        line.contains("still runs (process ") && line.contains("outlived")
    });
    pipe.let_go();
    let mut out = String::new();
    std::io::Read::read_to_string(&mut rest, &mut out).unwrap();
    assert_eq!(resumed.wait().unwrap().code(), Some(6), "{out}");
    assert!(out.contains("nobody saw how it ended"), "{out}");
    assert_eq!(fs::read_to_string(&mark).unwrap(), "once\n");
}

#[test]
fn a_read_that_takes_too_long_is_ended_and_fails_and_leaves_no_doubt() {
    let place = Place::new();
    let lab = place.lab("lab", &[]);
    let runbook = night(&place, "sleep 600", "effect: read\n        timeout: 1s");
    let ended = place.run_on(&lab, &runbook, &[]).expect(1);
    let outcome = &ended.named("effect.outcome")[0];
    assert_eq!(outcome["result"], "failed", "{outcome}");
    assert_eq!(outcome["error_kind"], "cancelled", "{outcome}");
}
