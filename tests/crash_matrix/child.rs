//! The victim: one sitting at a run, which dies where it is told.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use pointsman::engine::clock::{Clock, boot_id};
use pointsman::engine::dispatcher::{Channels, Dispatcher};
use pointsman::engine::executor::{Executor, Setup};
use pointsman::engine::facts::{Mode as Really, facts_of};
use pointsman::engine::handle::{Handle, Update};
use pointsman::engine::record;
use pointsman::frontend::headless::{self, Format, HeadlessOptions};
use pointsman::journal::disk::{Appended, Disk, Real};
use pointsman::journal::{Actor, JournalWriter, Record, Redactor, Stamp};

use pointsman::projection::summary::NextCommands;
use pointsman::provider::registry::catalogue;
use pointsman::run::event::Role;
use pointsman::run::state::Phase;
use pointsman::run::{Command, RunState, apply};
use pointsman::runbook::Plan;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::world::{Script, World};

/// What a sitting is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Run,
    Resume,
    /// Goes on as a person who looks at what really happened and decides the doubts.
    Decide,
}

/// What the victim is told.
#[derive(Debug, Clone)]
pub struct Errand {
    pub runbook: String,
    pub mode: Mode,
    /// The moment in which it dies.
    pub kill: Option<u32>,
    pub blind: bool,
}

impl Errand {
    pub fn to_text(&self, folder: &Path) -> String {
        let mode = match self.mode {
            Mode::Run => "run",
            Mode::Resume => "resume",
            Mode::Decide => "decide",
        };
        let kill = self.kill.unwrap_or(0);
        format!("{mode}|{}|{kill}|{}|{}", self.runbook, self.blind, folder.display())
    }

    fn from_text(text: &str) -> (Self, PathBuf) {
        let parts: Vec<&str> = text.splitn(5, '|').collect();
        let [mode, runbook, kill, blind, folder] = parts.as_slice() else {
            unreachable!("{text}");
        };
        let mode = match *mode {
            "run" => Mode::Run,
            "resume" => Mode::Resume,
            "decide" => Mode::Decide,
            other => unreachable!("{other}"),
        };
        let kill: u32 = kill.parse().unwrap();
        let errand = Self {
            runbook: (*runbook).to_owned(),
            mode,
            kill: (kill > 0).then_some(kill),
            blind: *blind == "true",
        };
        (errand, PathBuf::from(folder))
    }
}

/// Counts moments; in the chosen one the process is gone.
struct Reaper {
    moments: AtomicU32,
    kill: Option<u32>,
}

impl Reaper {
    fn tick(&self) {
        let moment = self.moments.fetch_add(1, Ordering::SeqCst) + 1;
        if Some(moment) == self.kill {
            let own = rustix::process::getpid();
            rustix::process::kill_process(own, rustix::process::Signal::KILL).unwrap();
            // The signal is on its way: nothing more is done here.
            loop {
                std::thread::park();
            }
        }
    }
}

/// The disk of this machine, with a moment before and after each operation.
struct Watched(Arc<Reaper>);

impl Watched {
    fn around<T>(&self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.0.tick();
        let done = work();
        self.0.tick();
        done
    }
}

impl Disk for Watched {
    fn make_folder(&self, path: &Path) -> io::Result<()> {
        self.around(|| Real.make_folder(path))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Appended>> {
        let file = self.around(|| Real.create(path))?;
        Ok(Box::new(WatchedFile(self.0.clone(), file)))
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.around(|| Real.sync_folder(path))
    }

    fn settle(&self, path: &Path) -> io::Result<()> {
        self.around(|| Real.settle(path))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.around(|| Real.remove(path))
    }
}

struct WatchedFile(Arc<Reaper>, Box<dyn Appended>);

impl Appended for WatchedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.tick();
        let wrote = self.1.write(bytes);
        self.0.tick();
        wrote
    }

    fn sync(&mut self) -> io::Result<()> {
        let done = self.1.sync();
        self.0.tick();
        done
    }
}

fn plan(name: &str) -> Plan {
    let text = match name {
        "linear" => include_str!("../fixtures/linear.yaml"),
        "parallel" => include_str!("../fixtures/parallel.yaml"),
        "unwound" => include_str!("../fixtures/unwound.yaml"),
        other => unreachable!("{other}"),
    };
    let now = "2026-12-05T22:00:00Z".parse().unwrap();
    pointsman::runbook::plan(text.as_bytes(), "sim", &catalogue(), now).unwrap()
}

/// Does nothing in an ordinary run of the tests.
pub fn main() {
    let Ok(told) = std::env::var("POINTSMAN_VICTIM") else {
        return;
    };
    let (errand, folder) = Errand::from_text(&told);
    let reaper = Arc::new(Reaper {
        moments: AtomicU32::new(0),
        kill: errand.kill,
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let exit = runtime.block_on(sit(&errand, &folder, &reaper));
    fs::write(folder.join("exit"), exit.to_string()).unwrap();
    let moments = reaper.moments.load(Ordering::SeqCst);
    fs::write(folder.join("ticks"), moments.to_string()).unwrap();
}

fn fold(plan: &Plan, records: &[Record]) -> (RunState, Vec<Arc<Update>>) {
    let mut state = RunState::new(Arc::new(facts_of(plan, Really::Real)));
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

async fn sit(errand: &Errand, folder: &Path, reaper: &Arc<Reaper>) -> u8 {
    let plan = plan(&errand.runbook);
    let run = folder.join("run");
    let disk = Box::new(Watched(reaper.clone()));
    let clock = Clock::new();
    let actor = Actor {
        id: "olga".to_owned(),
        via: "headless".to_owned(),
        uid: 1000,
        host: "h".to_owned(),
    };
    let operator = "olga".to_owned();
    let (writer, records, first) = if errand.mode == Mode::Run {
        fs::create_dir(&run).unwrap();
        let writer = JournalWriter::create_on(disk, &run, "r1", &boot_id()).unwrap();
        let data = Map::new();
        (writer, Vec::new(), Command::Open { data, operator })
    } else {
        let stamp = Stamp {
            t: clock.now(),
            mono_ns: clock.mono_ns(),
        };
        let (writer, records) = JournalWriter::resume_on(disk, &run, &boot_id(), &actor, stamp).unwrap();
        let (host, pid) = ("h".to_owned(), std::process::id());
        (
            writer,
            records,
            Command::Resume {
                operator,
                host,
                pid,
                hold: None,
            },
        )
    };
    let (state, updates) = fold(&plan, &records);
    if let Phase::Closed { exit, .. } = state.phase {
        // It was over before it was killed; there is nothing to go on with.
        return exit;
    }
    let plan = Arc::new(plan);
    let ticking = reaper.clone();
    let script = Script {
        seed: 1,
        smooth: true,
        blind: if errand.blind { 100 } else { 0 },
    };
    let world = World::new(&folder.join("ledger"), script, Arc::new(move |_| ticking.tick()));
    let channels = Channels::new();
    let feed = channels.handle.listen();
    let builder = world.clone();
    let executor = Executor::new(Setup {
        run: "r1".to_owned(),
        plan: plan.clone(),
        mode: Really::Real,
        build: Arc::new(move |uses: &str, _: &[String], with: &Value| Ok(builder.action(uses, with))),
        probes: world.probes(),
        redactor: Arc::new(Redactor::default()),
        speed: 1.0,
        handle: channels.handle.clone(),
    });
    let dispatcher = Dispatcher::new(state, updates, writer, actor, clock, executor, &channels);
    let (handle, thread) = dispatcher.spawn(channels).unwrap();
    handle.tell(first).await.unwrap();
    let standing = handle.history().await.unwrap().state;
    if standing.hold.is_some() {
        let person = "olga".to_owned();
        handle.tell(Command::Release { person }).await.unwrap();
    }
    if errand.mode == Mode::Decide {
        decide(&handle, &world).await;
    }
    let heard = OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("heard"))
        .unwrap();
    let unwinds = errand.runbook == "unwound" && errand.mode == Mode::Run;
    let options = HeadlessOptions {
        run_id: "r1".to_owned(),
        operator: "olga".to_owned(),
        approve_all: true,
        format: Format::Json,
        dry_run: false,
        roll_back_at: unwinds.then(|| ("last".to_owned(), Some("crm".to_owned()))),
        sink: Box::new(heard),
        zone: chrono_tz::Tz::UTC,
        feed: Some(feed),
        next: NextCommands::default(),
        amended: 0,
        history: Arc::default(),
        speed: 1.0,
    };
    let ending = headless::run(handle.clone(), plan, options, CancellationToken::new()).await;
    handle.close().await;
    drop(handle);
    tokio::task::spawn_blocking(move || thread.join())
        .await
        .unwrap()
        .unwrap();
    ending.exit
}

/// Decides every doubt by what really happened.
async fn decide(handle: &Handle, world: &World) {
    let mut feed = handle.listen();
    loop {
        let state = handle.history().await.unwrap().state;
        let asked = state
            .open_effects()
            .find(|(_, _, effect)| effect.needs_person())
            .map(|(step, role, _)| (step.clone(), role));
        if let Some((step, role)) = asked {
            let attempt = state.step(&step).map_or(0, |step| step.attempt);
            let done = world.happened().iter().any(|entry| {
                let undone = entry.sql.starts_with("insert");
                entry.step == step.0 && entry.attempt == attempt && undone == (role != Role::Do)
            });
            let decision = Command::Decide {
                step,
                done,
                person: "olga".to_owned(),
                reason: "I read the table".to_owned(),
            };
            handle.tell(decision).await.unwrap();
            continue;
        }
        if let Some((step, _)) = state.stuck.first().cloned() {
            // Not sent, a person says: it is sent now.
            handle.tell(Command::Retry { step }).await.unwrap();
            continue;
        }
        let looking = state.open_effects().next().is_some();
        if !looking {
            return;
        }
        feed.recv().await.unwrap();
    }
}
