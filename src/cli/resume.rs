//! `pointsman resume`: goes on with a run that is not over. Reads what was recorded; what was sent is only observed.

use std::path::Path;
use std::sync::Arc;

use crate::engine::amend::{Amendment, would_be_asked};
use crate::engine::clock::{Clock, boot_id, host};
use crate::engine::facts::Mode;
use crate::frontend::headless::AMENDING;
use crate::journal::reader::read_run;
use crate::journal::{Actor, JournalError, JournalWriter, Record, RunLock, Stamp};
use crate::projection::samples::History;
use crate::projection::words::closed;
use crate::run::Command;
use crate::run::state::Phase;

use super::args::ResumeArgs;
use super::genesis::Genesis;
use super::history::history_of;
use super::out::Out;
use super::place::Place;
use super::plans::{Told, amendment, told};
use super::run::runtime;
use super::session::{Seat, Session, Whereabouts, take};
use super::store::{RunFolder, Store};
use super::trouble::Trouble;
use super::world::World;

/// Resumes a run.
pub fn perform(args: ResumeArgs, store: &Store, out: Out) -> Result<u8, Trouble> {
    let folder = store.find(&args.run)?;
    let clock = Clock::new();
    let lock = take(&folder, &clock)?;
    let before = read_run(&folder.path).map_err(Trouble::journal)?;
    let genesis = before.records.first().and_then(Genesis::read).ok_or_else(|| {
        Trouble::input(format!("run {} never began: it has no first record", folder.id))
            .hint("nothing was executed; start a new run")
    })?;
    let told = told(&folder, &genesis, &before.records)?;
    if told.plan_file != genesis.plan_file {
        return Err(Trouble::input(format!(
            "{} is not the plan that run {} began with",
            folder.path.join("plan.json").display(),
            folder.id
        ))
        .hint("put the original file back; the run executes nothing else"));
    }
    let whereabouts = whereabouts(&folder, store, &genesis, &before.records)?;
    if let (Some(words), false) = (&whereabouts.taken_over, args.take_over) {
        return Err(Trouble::input(format!("{words}; nothing was executed"))
            .hint("if nobody is at it there any more, nor ever will be, add --take-over"));
    }
    if let Phase::Closed { state, .. } = told.state.phase {
        if !before.torn.is_empty() {
            seal(&folder, &genesis, &clock)?;
        }
        return Err(
            Trouble::input(format!("run {} is over: {}", folder.id, closed(state))).hint(format!(
                "read it with: pointsman report {}{}",
                folder.id,
                store.option()
            )),
        );
    }
    let seat = Seat::new(&args.seat, &told.plan)?;
    let history = Arc::new(history_of(store, &told.plan, &folder.id));
    let amend = args
        .amend
        .map(|path| {
            let because = args.because.clone();
            let because = because.unwrap_or_else(|| format!("given with --amend {}", path.display()));
            let amendment = asked(
                &path,
                &folder,
                store,
                (&whereabouts.run, &told, genesis.mode),
                (&seat, &clock),
                out,
            )?;
            Ok::<_, Trouble>((amendment, because))
        })
        .transpose()?;
    let runtime = runtime()?;
    let exit = runtime.block_on(go_on(
        folder,
        genesis,
        seat,
        (lock, clock, whereabouts),
        (store, history, amend),
        out,
    ));
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    exit
}

/// Reads a changed runbook, and whether the run would take the question. What is wrong is told before anything is
/// recorded.
fn asked(
    path: &Path,
    folder: &RunFolder,
    store: &Store,
    (run, told, mode): (&str, &Told, Mode),
    (seat, clock): (&Seat, &Clock),
    out: Out,
) -> Result<Amendment, Trouble> {
    let amendment = amendment(path, folder, store).map_err(|lines| {
        let mut lines = lines;
        let last = lines.pop().unwrap_or_default();
        out.faults(&lines.iter().map(|line| format!("{line}\n")).collect::<String>());
        Trouble::input(format!("nothing was amended: {last}")).hint("the run is as it was")
    })?;
    let who = (seat.operator.as_str(), clock.now().timestamp_millis());
    would_be_asked(run, (&told.plan, mode), &told.state, &amendment, who)
        .map_err(|refused| Trouble::input(format!("nothing was amended: {refused}")).hint("the run is as it was"))?;
    Ok(amendment)
}

/// What was torn after the end is sealed, so that the journal can be verified.
fn seal(folder: &RunFolder, genesis: &Genesis, clock: &Clock) -> Result<(), Trouble> {
    let actor = Actor {
        id: genesis.operator.clone(),
        via: "resume".to_owned(),
        uid: rustix::process::getuid().as_raw(),
        host: host(),
    };
    let stamp = Stamp {
        t: clock.now(),
        mono_ns: clock.mono_ns(),
    };
    JournalWriter::resume(&folder.path, &boot_id(), &actor, stamp)
        .map(|_| ())
        .map_err(Trouble::journal)
}

async fn go_on(
    folder: RunFolder,
    genesis: Genesis,
    seat: Seat,
    (lock, clock, whereabouts): (RunLock, Clock, Whereabouts),
    (store, history, amend): (&Store, Arc<History>, Option<(Amendment, String)>),
    out: Out,
) -> Result<u8, Trouble> {
    let (begun, _) = folder.plan()?;
    // What an amendment cannot change: connections, secrets, the environment.
    let world = World::open(&begun, genesis.lab(folder.path.join("lab"))).await?;
    let stamp = Stamp {
        t: clock.now(),
        mono_ns: clock.mono_ns(),
    };
    let (writer, records) =
        JournalWriter::resume(&folder.path, &boot_id(), &seat.actor(), stamp).map_err(|error| match error {
            JournalError::Damaged(_) => Trouble::input(error.to_string()),
            JournalError::Io { .. }
            | JournalError::Short { .. }
            | JournalError::Poisoned
            | JournalError::TooLarge { .. }
            | JournalError::Unwritable { .. } => Trouble::journal(error),
        })?;
    let told = told(&folder, &genesis, &records)?;
    let session = Session {
        mode: genesis.mode,
        state: told.state,
        updates: told.updates,
        first: Command::Resume {
            operator: seat.operator.clone(),
            host: host(),
            pid: std::process::id(),
            hold: amend.is_some().then(|| AMENDING.to_owned()),
        },
        plan: told.plan,
        option: store.option(),
        store: store.clone(),
        runbook: None,
        amend,
        folder,
        whereabouts,
        world,
        seat,
        lock,
        writer,
        clock,
        history,
    };
    session.conduct(out).await
}

/// Where this process found the run, and what has to be said before it goes on elsewhere than where it was conducted.
fn whereabouts(
    folder: &RunFolder,
    store: &Store,
    genesis: &Genesis,
    records: &[Record],
) -> Result<Whereabouts, Trouble> {
    let run = records
        .first()
        .map_or_else(|| folder.id.clone(), |record| record.run.clone());
    let here = Place::of(&folder.path)
        .map_err(|error| Trouble::input(format!("the run's folder {}: {error}", folder.path.display())))?;
    let copied = genesis.place.as_ref().filter(|made| !made.is_same(&here));
    let sat = records
        .iter()
        .rev()
        .find(|record| record.ev == "resumed")
        .and_then(|record| record.data.get("host")?.as_str())
        .unwrap_or(&genesis.host);
    let taken_over = if sat != host() {
        Some(format!(
            "run {run} was conducted on host {sat} before, and this is host {}",
            host()
        ))
    } else {
        copied.map(|made| {
            format!(
                "{} is a copy of the folder of run {run}, which was made in {}: what has happened there since is not known \
                 here",
                here.folder, made.folder
            )
        })
    };
    Ok(Whereabouts {
        word: store.word(folder),
        original: genesis.host == host() && genesis.place.is_some() && copied.is_none(),
        run,
        taken_over,
    })
}
