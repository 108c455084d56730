//! One sitting at a run: who sits there, the engine around the plan, the front end, and what is printed at the end.
//! Must not decide anything about the run.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono_tz::Tz;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::engine::amend::Amendment;
use crate::engine::clock::{Clock, boot_id, host};
use crate::engine::dispatcher::{Channels, Dispatcher};
use crate::engine::executor::{Executor, Setup};
use crate::engine::facts::Mode;
use crate::engine::handle::{Handle, Refused, Update};
use crate::frontend::headless::{self, Format, HeadlessOptions};
use crate::frontend::tui::{self, Amender, CockpitError, CockpitOptions};
use crate::frontend::{Ending, HangUps, tui::LabLine};
use crate::journal::lock::{Holder, LockError};
use crate::journal::{Actor, JournalWriter, RunLock};
use crate::lab::Measure;
use crate::projection::samples::History;
use crate::projection::summary::NextCommands;
use crate::projection::words::clock as clock_words;
use crate::provider::registry::{Request, build};
use crate::run::{Command, RunState};
use crate::runbook::plan::{EnvironmentKind, Plan};

use super::args::{LinesOrJson, SeatArgs};
use super::out::Out;
use super::plans::amendment;
use super::preflight::probes;
use super::store::{RunFolder, Store};
use super::trouble::{Trouble, exit};
use super::world::World;

/// Who sits at a run, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    pub operator: String,
    pub headless: bool,
    pub format: Format,
    pub approve_all: bool,
    pub roll_back_at: Option<(String, Option<String>)>,
}

impl Seat {
    /// The seat that was asked for, if this environment admits it.
    pub fn new(args: &SeatArgs, plan: &Plan) -> Result<Self, Trouble> {
        let environment = &plan.environment;
        if args.approve_all {
            let allowed = match environment.kind {
                EnvironmentKind::Lab => true,
                EnvironmentKind::Rehearsal => environment.auto_approve,
                EnvironmentKind::Production => false,
            };
            if !allowed {
                return Err(Trouble::input(format!(
                    "--approve-all is not allowed in environment {}",
                    environment.name
                ))
                .hint("it works in the lab, and in a rehearsal that says auto_approve: true"));
            }
        }
        let terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
        if !args.headless && !terminal {
            return Err(Trouble::input("there is no terminal here for the cockpit")
                .hint("run it in a terminal, or with --headless"));
        }
        for step in args.roll_back_at.iter().chain(&args.roll_back_to) {
            if !plan.steps.iter().any(|planned| planned.id == *step) {
                let known = plan.steps.iter().map(|planned| planned.id.as_str());
                let hint = crate::runbook::fault::nearest(step, known)
                    .unwrap_or_else(|| "see the ids in: pointsman plan".to_owned());
                return Err(Trouble::input(format!("the runbook has no step {step}")).hint(hint));
            }
        }
        let place = |step: &Option<String>| plan.steps.iter().position(|planned| Some(&planned.id) == step.as_ref());
        if let (Some(at), Some(to)) = (place(&args.roll_back_at), place(&args.roll_back_to))
            && to >= at
        {
            return Err(
                Trouble::input("--roll-back-to names a step that comes after --roll-back-at")
                    .hint("name an earlier step: it stands, what came after it is undone"),
            );
        }
        Ok(Self {
            operator: operator(args.operator.as_deref(), plan)?,
            headless: args.headless,
            format: match args.format {
                LinesOrJson::Lines => Format::Lines,
                LinesOrJson::Json => Format::Json,
            },
            approve_all: args.approve_all,
            roll_back_at: args.roll_back_at.clone().map(|at| (at, args.roll_back_to.clone())),
        })
    }

    /// The seat as records name it.
    pub fn actor(&self) -> Actor {
        Actor {
            id: self.operator.clone(),
            via: if self.headless { "headless" } else { "cockpit" }.to_owned(),
            uid: rustix::process::getuid().as_raw(),
            host: host(),
        }
    }
}

fn operator(named: Option<&str>, plan: &Plan) -> Result<String, Trouble> {
    let people = &plan.environment.people;
    if plan.environment.kind == EnvironmentKind::Lab {
        let user = || {
            ["USER", "LOGNAME"]
                .iter()
                .find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()))
                .unwrap_or_else(|| format!("uid-{}", rustix::process::getuid().as_raw()))
        };
        return Ok(named.map_or_else(user, str::to_owned));
    }
    let known: Vec<&str> = people.keys().map(String::as_str).collect();
    let hint = format!("people of {}: {}", plan.environment.name, known.join(", "));
    match named {
        Some(person) if people.contains_key(person) => Ok(person.to_owned()),
        Some(person) => Err(Trouble::input(format!("the environment has no person {person}")).hint(hint)),
        None => Err(Trouble::input("say who operates with --as PERSON").hint(hint)),
    }
}

/// This process, as a run's lock names it.
pub fn holder(clock: &Clock) -> Holder {
    Holder {
        pid: std::process::id(),
        host: host(),
        boot: boot_id(),
        since: clock.now(),
    }
}

/// Takes a run for this process.
pub fn take(folder: &RunFolder, clock: &Clock) -> Result<RunLock, Trouble> {
    RunLock::acquire(&folder.path, &holder(clock)).map_err(|error| match error {
        LockError::Held(_) | LockError::HeldBySomebody => {
            Trouble::input(format!("{error}; nothing was executed")).hint("see the runs with: pointsman runs")
        }
        LockError::Io(_) => Trouble::journal(error),
    })
}

/// Which run a sitting is at, and where.
pub struct Whereabouts {
    /// The run's id as its records have it, whatever its folder is called now: every effect is named after it.
    pub run: String,
    /// The run as a command names it: its id, or the path of a folder that is not in the state folder.
    pub word: String,
    /// Whether this is the folder that the run was made in, on the host where it was made.
    pub original: bool,
    /// What was said about taking the run over; becomes a note in the record.
    pub taken_over: Option<String>,
}

impl Whereabouts {
    /// Of a run in its own folder.
    pub fn original(run: &str) -> Self {
        Self {
            run: run.to_owned(),
            word: run.to_owned(),
            original: true,
            taken_over: None,
        }
    }
}

/// One sitting.
pub struct Session {
    pub folder: RunFolder,
    pub whereabouts: Whereabouts,
    pub plan: Arc<Plan>,
    pub mode: Mode,
    pub world: World,
    pub seat: Seat,
    /// Held until the sitting ends.
    pub lock: RunLock,
    pub writer: JournalWriter,
    pub clock: Clock,
    /// The run so far.
    pub state: RunState,
    pub updates: Vec<Arc<Update>>,
    /// What the sitting begins with: open or resume.
    pub first: Command,
    /// What printed commands need besides the run's id.
    pub option: String,
    /// What earlier runs took.
    pub history: Arc<History>,
    pub store: Store,
    /// The file that the run was made from, as far as this process knows it.
    pub runbook: Option<PathBuf>,
    /// A changed runbook to ask for before anything else, and why.
    pub amend: Option<(Amendment, String)>,
}

impl Session {
    /// Sits until the run is over or left; prints the summary and gives the exit code.
    pub async fn conduct(self, out: Out) -> Result<u8, Trouble> {
        let log = super::diagnostics::start(&self.folder.path, self.world.redactor.clone()).map_err(|error| {
            let words = format!("the diagnostic log: {error}");
            // It is on the journal's disk: where that is full, nothing can be recorded.
            if error.kind() == io::ErrorKind::StorageFull {
                Trouble::journal(words)
            } else {
                Trouble::failed(words)
            }
        })?;
        // Before the first record: from then on no signal ends the process without its own.
        let hang_up =
            HangUps::listen().map_err(|error| Trouble::failed(format!("signals cannot be listened for: {error}")))?;
        let channels = Channels::new();
        let feed = channels.handle.listen();
        let attempts = self.folder.attempts(self.whereabouts.original);
        let connections = self.world.connections.clone().noting(attempts);
        let executor = Executor::new(Setup {
            run: self.whereabouts.run.clone(),
            plan: self.plan.clone(),
            mode: self.mode,
            build: Arc::new(move |uses: &str, on: &[String], with: &serde_json::Value| {
                build(&Request { uses, on, with }, &connections).map_err(|error| error.to_string())
            }),
            probes: probes(self.world.connections.clone(), self.store.path("runs")),
            redactor: self.world.redactor.clone(),
            speed: self.world.speed,
            handle: channels.handle.clone(),
        });
        let actor = self.seat.actor();
        let amended = self.state.amended;
        let dispatcher = Dispatcher::new(
            self.state,
            self.updates,
            self.writer,
            actor,
            self.clock,
            executor,
            &channels,
        );
        let (handle, thread) = dispatcher
            .spawn(channels)
            .map_err(|error| Trouble::failed(format!("the engine could not be started: {error}")))?;
        let amender: Arc<Amender> = {
            let (folder, store) = (self.folder.clone(), self.store);
            Arc::new(move |path: &str| amendment(Path::new(path), &folder, &store))
        };
        let table = Table {
            amender,
            amended,
            runbook: self.runbook.map(|path| path.display().to_string()),
            seat: &self.seat,
            run_id: &self.whereabouts.run,
            dry_run: self.mode == Mode::DryRun,
            lab: self.world.lab_line(),
            zone: zone(&self.plan),
            next: next_commands(&self.whereabouts.word, &self.option),
            history: self.history,
            speed: self.world.speed,
            hang_up,
        };
        let opens = matches!(self.first, Command::Open { .. });
        let first = match (handle.tell(self.first).await, &self.whereabouts.taken_over) {
            (Ok(()), Some(words)) => handle.note(&self.seat.operator, words).await,
            (told, _) => told,
        };
        let kept = first.is_ok() || !opens;
        let first = match (first, self.amend) {
            (Ok(()), Some((amendment, because))) => {
                let asked = handle.amend(amendment, &self.seat.operator, &because).await;
                if let Err(Refused::Rejected(words)) = &asked {
                    let reason = format!("the amendment was refused: {words}");
                    handle.tell(Command::Interrupt { reason }).await.and(asked)
                } else {
                    asked
                }
            }
            (first, None) => first,
            (first @ Err(_), Some(_)) => first,
        };
        let ended = match first {
            Ok(()) => table.sit(handle.clone(), self.plan.clone(), feed, out).await,
            Err(Refused::Journal(reason)) => Err(Trouble::journal(reason)),
            Err(Refused::Rejected(reason)) => Err(Trouble::input(reason)),
            Err(refused @ Refused::Gone) => Err(Trouble::failed(refused.to_string())),
        };
        handle.close().await;
        // A dispatcher that broke has said so in the diagnostic log; the journal is what it is.
        let _broken = tokio::task::spawn_blocking(move || thread.join()).await;
        // What a runbook does not touch does not judge it.
        let database = |on: &String| self.plan.connections.get(on).is_some_and(|its| its.uses == "sqlite");
        let on_data = self.plan.steps.iter().any(|step| step.action.on.iter().any(database));
        let measured = self.world.measured().filter(|_| on_data);
        let speed = self.world.speed;
        self.world.close().await;
        drop(self.lock);
        let ending = ended.inspect_err(|_| {
            if kept {
                hint_of_resume(out, &self.whereabouts.word, &self.option);
            }
        })?;
        tell(&ending, measured, speed, &self.seat, out);
        drop(log);
        Ok(ending.exit)
    }
}

/// A run that a broken front end leaves behind is not lost.
fn hint_of_resume(out: Out, run: &str, option: &str) {
    out.faults(&format!(
        "the run is kept; go on with: pointsman resume {run}{option}\n"
    ));
}

fn next_commands(run: &str, option: &str) -> NextCommands {
    NextCommands {
        resume: format!("pointsman resume {run}{option}"),
        verify: format!("pointsman verify {run} --require chain{option}"),
        report: format!("pointsman report {run}{option}"),
    }
}

/// The zone that times are shown in.
pub fn zone(plan: &Plan) -> Tz {
    let window = plan.environment.window.as_ref();
    window
        .and_then(|window| window.timezone.as_deref())
        .and_then(|name| name.parse().ok())
        .unwrap_or(Tz::UTC)
}

/// Where the front end sits.
struct Table<'a> {
    seat: &'a Seat,
    run_id: &'a str,
    dry_run: bool,
    lab: Option<LabLine>,
    zone: Tz,
    next: NextCommands,
    history: Arc<History>,
    speed: f64,
    hang_up: HangUps,
    amender: Arc<Amender>,
    amended: u32,
    runbook: Option<String>,
}

impl Table<'_> {
    async fn sit(
        self,
        handle: Handle,
        plan: Arc<Plan>,
        feed: tokio::sync::broadcast::Receiver<crate::engine::handle::Feed>,
        out: Out,
    ) -> Result<Ending, Trouble> {
        if self.seat.headless {
            let options = HeadlessOptions {
                run_id: self.run_id.to_owned(),
                operator: self.seat.operator.clone(),
                approve_all: self.seat.approve_all,
                format: self.seat.format,
                dry_run: self.dry_run,
                roll_back_at: self.seat.roll_back_at.clone(),
                sink: Box::new(io::stdout()),
                zone: self.zone,
                feed: Some(feed),
                next: self.next,
                history: self.history,
                amended: self.amended,
                speed: self.speed,
            };
            return Ok(headless::run(handle, plan, options, stopped_by(self.hang_up)).await);
        }
        let options = CockpitOptions {
            operator: self.seat.operator.clone(),
            run_id: self.run_id.to_owned(),
            dry_run: self.dry_run,
            lab: self.lab,
            zone: self.zone,
            color: out.is_colored(&io::stdout()),
            feed: Some(feed),
            next: self.next,
            history: self.history,
            hang_up: self.hang_up,
            runbook: self.runbook,
            amender: self.amender,
        };
        tui::run(handle, plan, options).await.map_err(|error| match error {
            CockpitError::NoTerminal => Trouble::input(error.to_string()),
            CockpitError::Terminal(_) => Trouble {
                exit: exit::STOPPED,
                message: error.to_string(),
                hint: None,
            },
            CockpitError::Gone(Refused::Journal(reason)) => Trouble::journal(reason),
            CockpitError::Gone(Refused::Gone | Refused::Rejected(_)) => Trouble::failed(error.to_string()),
        })
    }
}

/// Cancelled by the first of them; a second one changes nothing, the first is being seen to.
fn stopped_by(mut hang_up: HangUps) -> CancellationToken {
    let stop = CancellationToken::new();
    let asked = stop.clone();
    tokio::spawn(async move {
        hang_up.next().await;
        asked.cancel();
    });
    stop
}

/// The last words, on the normal screen.
fn tell(ending: &Ending, measured: Option<Result<Measure, String>>, speed: f64, seat: &Seat, out: Out) {
    let mut lines = Vec::new();
    if let Some(summary) = &ending.summary {
        lines.push(summary.headline.clone());
        lines.extend(summary.lines.iter().cloned());
    }
    // Beside the downtime, before the list of steps.
    let place = lines.iter().position(String::is_empty).unwrap_or(lines.len());
    let lab = match &measured {
        None => json!(null),
        Some(Ok(measure)) => {
            lines.insert(place, lab_words(measure, speed));
            json!({
                "acknowledged": measure.acknowledged,
                "lost": measure.lost,
                "downtime_ms": measure.downtime.map(|downtime| downtime.as_millis()),
            })
        }
        Some(Err(error)) => {
            lines.insert(place, format!("the lab could not be measured: {error}"));
            json!({ "error": error })
        }
    };
    if seat.headless && seat.format == Format::Json {
        let summary = json!({ "seq": null, "ev": "summary", "exit": ending.exit, "lines": lines, "lab": lab });
        out.line(&summary.to_string());
    } else {
        out.text(&format!("\n{}\n", lines.join("\n")));
    }
}

fn lab_words(measure: &Measure, speed: f64) -> String {
    let downtime = measure.downtime.map_or_else(
        || "its writer was never refused".to_owned(),
        |downtime| {
            let words = |downtime| clock_words(chrono::TimeDelta::from_std(downtime).unwrap_or_default());
            let nominal = downtime.mul_f64(speed);
            format!(
                "its writer could not write for {}, {} without the speed of {speed}",
                words(downtime),
                words(nominal)
            )
        },
    );
    format!(
        "the lab measured: {} lost writes of {} acknowledged; {downtime}",
        measure.lost, measure.acknowledged
    )
}
