//! `pointsman run`: a runbook becomes a run.

use std::path::Path;
use std::sync::Arc;

use crate::engine::clock::{Clock, boot_id};
use crate::engine::facts::{Mode, facts_of};
use crate::journal::JournalWriter;
use crate::journal::reader::never_began;
use crate::run::{Command, RunState};
use crate::runbook::plan::{EnvironmentKind, Plan};

use super::args::RunArgs;
use super::history::history_of;
use super::imports::{Imported, complete};
use super::out::Out;
use super::reading::Source;
use super::session::{Seat, Session, Whereabouts, take};
use super::store::Store;
use super::trouble::Trouble;
use super::world::{LabChoice, World};

/// How much faster than nominal the lab runs when nothing is said.
const SPEED: f64 = 10.0;

/// Runs a runbook.
pub fn perform(args: RunArgs, store: &Store, out: Out) -> Result<u8, Trouble> {
    let mut source = Source::read(&args.runbook)?;
    let imported = Imported::read(&args.import, store)?;
    source.imports.clone_from(&imported.runs);
    let plan = source.plan(&args.env, out)?;
    imported.fit(&plan)?;
    complete(&plan)?;
    admit(&plan, &args)?;
    let seat = Seat::new(&args.seat, &plan)?;
    let clock = Clock::new();
    let folder = store.create(&plan, &source, clock.now())?;
    let path = folder.path.clone();
    let lock = take(&folder, &clock).inspect_err(|_| forget(&path))?;
    let lab = lab(&plan, &args, folder.path.join("lab"))?;
    let mode = if args.dry_run { Mode::DryRun } else { Mode::Real };
    let history = Arc::new(history_of(store, &plan, &folder.id));
    let (plan, plan_file) = (Arc::new(plan), folder.plan()?.1);
    let files = folder.files()?;
    let runtime = runtime()?;
    let exit = runtime.block_on(async {
        let world = World::open(&plan, lab.clone()).await?;
        let data = super::genesis::data(
            &plan,
            (&plan_file, files),
            mode,
            lab.as_ref(),
            world.speed,
            &folder.path,
        )?;
        let writer = JournalWriter::create(&folder.path, &folder.id, &boot_id()).map_err(Trouble::journal)?;
        let session = Session {
            state: RunState::new(Arc::new(facts_of(&plan, mode))),
            updates: Vec::new(),
            first: Command::Open {
                data,
                operator: seat.operator.clone(),
            },
            option: store.option(),
            store: store.clone(),
            runbook: Some(args.runbook.clone()),
            amend: None,
            history,
            whereabouts: Whereabouts::original(&folder.id),
            folder,
            plan,
            mode,
            world,
            seat,
            lock,
            writer,
            clock,
        };
        session.conduct(out).await
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    if exit.is_err() && never_began(&path) {
        forget(&path);
    }
    exit
}

/// Removes the folder of a run that never began. One that cannot be removed is in nobody's way.
fn forget(run: &Path) {
    let _kept = std::fs::remove_dir_all(run);
}

/// The runtime that everything asynchronous lives on.
pub fn runtime() -> Result<tokio::runtime::Runtime, Trouble> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Trouble::failed(format!("the runtime could not be started: {error}")))
}

/// Refuses what this version cannot execute, and options that do not fit the environment.
fn admit(plan: &Plan, args: &RunArgs) -> Result<(), Trouble> {
    if !plan.not_available.is_empty() {
        return Err(Trouble::input(format!(
            "not available yet: {}; nothing was executed",
            plan.not_available.join("; ")
        ))
        .hint("`check` and `plan` understand it; this version does not execute it"));
    }
    let for_lab = args.lab.is_some() || args.speed.is_some() || !args.fault.is_empty();
    if for_lab && plan.environment.kind != EnvironmentKind::Lab {
        return Err(Trouble::input(format!(
            "--lab, --speed and --fault are for environments of kind lab; {} is not one",
            plan.environment.name
        )));
    }
    Ok(())
}

fn lab(plan: &Plan, args: &RunArgs, own: std::path::PathBuf) -> Result<Option<LabChoice>, Trouble> {
    if plan.environment.kind != EnvironmentKind::Lab {
        return Ok(None);
    }
    let Some(folder) = &args.lab else {
        return Ok(Some(LabChoice::Own {
            folder: own,
            speed: args.speed.unwrap_or(SPEED),
            faults: args.fault.clone(),
        }));
    };
    let folder = folder
        .canonicalize()
        .map_err(|error| Trouble::input(format!("the lab {}: {error}", folder.display())))?;
    Ok(Some(LabChoice::Other { folder }))
}
