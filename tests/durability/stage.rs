//! A whole run on a given disk: the real dispatcher and executor over a small plan, with actions that only remember
//! what they did.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use pointsman::engine::clock::{Clock, boot_id};
use pointsman::engine::dispatcher::{Channels, Dispatcher};
use pointsman::engine::executor::{Errand, Executor, Setup};
use pointsman::engine::facts::{Mode, facts_of};
use pointsman::engine::handle::{Feed, Handle, Refused, Update};
use pointsman::engine::record;
use pointsman::frontend::headless::{self, Format, HeadlessOptions};
use pointsman::journal::disk::{make_folders, new_folder};
use pointsman::journal::reader::read_run;
use pointsman::journal::{Actor, JournalWriter, Record, Redactor, Stamp};

use pointsman::projection::summary::NextCommands;
use pointsman::provider::action::{Action, ActionError, Cx, Observed, Outcome, Preview, Ready};
use pointsman::provider::registry::catalogue;
use pointsman::run::{Command, Event, RunState, apply, effects};
use pointsman::runbook::plan::Plan;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::disk::{Entry, TestDisk};

const RUNBOOK: &str = r#"
version: 1
name: linear
title: "Three changes, one after another"
connections:
  target: { uses: sqlite, path: nowhere.db }
environments:
  lab: { kind: lab }
phases:
  - id: one
    steps:
      - id: first
        title: First
        uses: sql.exec
        on: target
        with: { sql: delete from a }
        rollback: { not_needed: it is a test }
      - id: second
        title: Second
        uses: sql.exec
        on: target
        with: { sql: delete from b }
        rollback: { not_needed: it is a test }
      - id: third
        title: Third
        uses: sql.exec
        on: target
        with: { sql: delete from c }
        rollback: { not_needed: it is a test }
"#;

/// An empty folder; in memory where this machine has such a place, for a test needs thousands.
pub fn place() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// The folder of the only run.
pub fn run_folder(root: &Path) -> PathBuf {
    root.join("state/runs/r1")
}

pub fn actor() -> Actor {
    Actor {
        id: "olga".to_owned(),
        via: "headless".to_owned(),
        uid: 1000,
        host: "h".to_owned(),
    }
}

/// How a sitting ended.
#[derive(Debug)]
pub enum Sat {
    /// There was no dispatcher yet.
    NeverBegan,
    /// The first command was refused.
    Refused(Refused),
    /// The front end's exit code, and what a further command is answered where it is not 0.
    Ended(u8, Result<(), Refused>),
}

fn plan() -> Plan {
    let now = "2026-12-05T22:00:00Z".parse().unwrap();
    pointsman::runbook::plan(RUNBOOK.as_bytes(), "lab", &catalogue(), now).unwrap()
}

/// Makes the run as the program makes it, and sits until it is over.
pub fn run(root: &Path, disk: &TestDisk) -> Sat {
    let plan = plan();
    let folder = run_folder(root);
    let text = serde_json::to_vec(&plan).unwrap();
    let made = make_folders(disk, folder.parent().unwrap())
        .and_then(|()| new_folder(disk, &folder, &[("plan.json", &text)]))
        .map_err(|error| error.to_string())
        .and_then(|()| {
            JournalWriter::create_on(Box::new(disk.clone()), &folder, "r1", &boot_id())
                .map_err(|error| error.to_string())
        });
    let writer = match made {
        Ok(writer) => writer,
        Err(_) => return Sat::NeverBegan,
    };
    let first = Command::Open {
        data: Map::new(),
        operator: "olga".to_owned(),
    };
    sit(plan, disk, writer, &[], first)
}

/// Goes on with the run as the program does.
pub fn resume(root: &Path, disk: &TestDisk) -> Sat {
    let clock = Clock::new();
    let stamp = Stamp {
        t: clock.now(),
        mono_ns: clock.mono_ns(),
    };
    let resumed = JournalWriter::resume_on(Box::new(disk.clone()), &run_folder(root), &boot_id(), &actor(), stamp);
    let (writer, records) = match resumed {
        Ok(resumed) => resumed,
        Err(_) => return Sat::NeverBegan,
    };
    let first = Command::Resume {
        operator: "olga".to_owned(),
        host: "h".to_owned(),
        pid: 1,
        hold: None,
    };
    sit(plan(), disk, writer, &records, first)
}

/// Folds records; every prefix of a journal has to be a legal story.
pub fn fold(plan: &Plan, records: &[Record]) -> (RunState, Vec<Arc<Update>>) {
    let mut state = RunState::new(Arc::new(facts_of(plan, Mode::Real)));
    let mut updates = Vec::new();
    for record in records {
        if let Some(event) = record::event(record).unwrap() {
            state = apply(state, &event).unwrap();
            updates.push(Arc::new(Update {
                seq: record.seq,
                at: record.t,
                event,
            }));
        }
    }
    (state, updates)
}

/// Whether what the disk holds of the run can be gone on with.
pub fn folds(root: &Path) -> bool {
    read_run(&run_folder(root)).is_ok_and(|chain| !fold(&plan(), &chain.records).1.is_empty())
}

/// A run that was cut off behind the intent of its first effect, whose executor was asked to end before it was given
/// that effect. Gives the outcome that is journaled.
pub fn started_too_late(root: &Path, disk: &TestDisk) -> Event {
    let path = run_folder(root).join("journal/000001.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let intent = text.find("effect.intent").unwrap();
    let end = intent + text[intent..].find('\n').unwrap() + 1;
    std::fs::write(&path, &text[..end]).unwrap();
    let stamp = Stamp {
        t: Clock::new().now(),
        mono_ns: Clock::new().mono_ns(),
    };
    let (writer, records) =
        JournalWriter::resume_on(Box::new(disk.clone()), &run_folder(root), "boot", &actor(), stamp).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (state, updates) = fold(&plan(), &records);
        let channels = Channels::new();
        let mut feed = channels.handle.listen();
        let mut executor = executor(Arc::new(plan()), disk, &channels);
        let intent = updates.last().unwrap();
        executor.cancel_all();
        executor.start(Errand {
            effect: effects(&state, &intent.event).remove(0),
            intent_at: intent.at,
            state: state.clone(),
        });
        let dispatcher = Dispatcher::new(state, updates, writer, actor(), Clock::new(), executor, &channels);
        let (handle, thread) = dispatcher.spawn(channels).unwrap();
        let outcome = loop {
            if let Feed::Event(update) = feed.recv().await.unwrap()
                && matches!(update.event, Event::EffectOutcome { .. })
            {
                break update.event.clone();
            }
        };
        handle.close().await;
        tokio::task::spawn_blocking(move || thread.join())
            .await
            .unwrap()
            .unwrap();
        outcome
    })
}

fn executor(plan: Arc<Plan>, disk: &TestDisk, channels: &Channels) -> Executor {
    let world = disk.clone();
    Executor::new(Setup {
        run: "r1".to_owned(),
        plan,
        mode: Mode::Real,
        build: Arc::new(move |_: &str, _: &[String], _: &Value| {
            Ok(Box::new(Remembered(world.clone())) as Box<dyn Action>)
        }),
        probes: Arc::new(|_| Box::pin(async { Vec::new() })),
        redactor: Arc::new(Redactor::default()),
        speed: 1.0,
        handle: channels.handle.clone(),
    })
}

fn sit(plan: Plan, disk: &TestDisk, writer: JournalWriter, records: &[Record], first: Command) -> Sat {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (state, updates) = fold(&plan, records);
        let plan = Arc::new(plan);
        let channels = Channels::new();
        let executor = executor(plan.clone(), disk, &channels);
        let clock = Clock::new();
        let feed = channels.handle.listen();
        let told = tokio::spawn(listen(channels.handle.clone(), disk.clone()));
        let dispatcher = Dispatcher::new(state, updates, writer, actor(), clock, executor, &channels);
        let (handle, thread) = dispatcher.spawn(channels).unwrap();
        let sat = match handle.tell(first).await {
            Err(refused) => Sat::Refused(refused),
            Ok(()) => {
                let ending = headless::run(handle.clone(), plan, options(feed), CancellationToken::new()).await;
                let more = match ending.exit {
                    0 => Ok(()),
                    _ => handle.note("olga", "one thing more").await,
                };
                Sat::Ended(ending.exit, more)
            }
        };
        handle.close().await;
        drop(handle);
        tokio::task::spawn_blocking(move || thread.join())
            .await
            .unwrap()
            .unwrap();
        told.abort();
        sat
    })
}

/// Writes down what everybody is told, when it is told.
async fn listen(handle: Handle, disk: TestDisk) {
    let mut feed = handle.listen();
    while let Ok(heard) = feed.recv().await {
        if let Feed::Event(update) = heard {
            disk.push(Entry::Told(update.seq));
        }
    }
}

fn options(feed: tokio::sync::broadcast::Receiver<Feed>) -> HeadlessOptions {
    HeadlessOptions {
        run_id: "r1".to_owned(),
        operator: "olga".to_owned(),
        approve_all: true,
        format: Format::Json,
        dry_run: false,
        roll_back_at: None,
        sink: Box::new(std::io::sink()),
        zone: chrono_tz::Tz::UTC,
        feed: Some(feed),
        next: NextCommands::default(),
        amended: 0,
        history: Arc::default(),
        speed: 1.0,
    }
}

/// An action whose only effect is an entry in the story of its disk.
struct Remembered(TestDisk);

#[async_trait]
impl Action for Remembered {
    fn preview(&self) -> Preview {
        Preview {
            summary: "remember it".to_owned(),
            ..Preview::default()
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        Ok(Ready::default())
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        self.0.push(Entry::Effect(cx.step.clone(), cx.attempt));
        cx.reporter.ack("remembered").await?;
        let result = json!({ "rows": 1 });
        Ok(Outcome {
            summary: "remembered".to_owned(),
            result: result.as_object().unwrap().clone(),
            evidence: Vec::new(),
        })
    }

    async fn observe(&self, cx: &Cx) -> Result<Observed, ActionError> {
        let ours = Entry::Effect(cx.step.clone(), cx.attempt);
        Ok(if self.0.entries().contains(&ours) {
            Observed::Done(Outcome::default())
        } else {
            Observed::NotStarted {
                detail: "it is not remembered".to_owned(),
            }
        })
    }
}
