//! `--import NAME=RUN`: takes the outputs of an earlier run. Only of one that verifies, was committed for real, and
//! still has the plan that it executed. Reads only.

use std::collections::BTreeMap;
use std::path::Path;

use crate::engine::facts::Mode;
use crate::journal::reader::read_run;
use crate::journal::verify::{Require, verify};
use crate::run::event::CloseState;
use crate::run::state::{Phase, Stage};
use crate::runbook::plan::{EnvironmentKind, Plan};
use crate::runbook::sources::ImportedRun;

use super::args::Import;
use super::genesis::Genesis;
use super::plans::told;
use super::store::Store;
use super::trouble::Trouble;

/// Earlier runs by the names that the runbook gives them, and what kind of environment each ran in.
#[derive(Debug, Default)]
pub struct Imported {
    pub runs: BTreeMap<String, ImportedRun>,
    kinds: BTreeMap<String, EnvironmentKind>,
}

impl Imported {
    /// Reads every run that was named.
    pub fn read(named: &[Import], store: &Store) -> Result<Self, Trouble> {
        let mut imported = Self::default();
        for import in named {
            let (run, kind) = one(&import.run, store)?;
            imported.kinds.insert(import.name.clone(), kind);
            if imported.runs.insert(import.name.clone(), run).is_some() {
                return Err(Trouble::input(format!("--import names {} twice", import.name))
                    .hint("name one run for each import"));
            }
        }
        Ok(imported)
    }

    /// Refuses what was brought from an environment of another kind: the lab's snapshot is not production's.
    pub fn fit(&self, plan: &Plan) -> Result<(), Trouble> {
        let other = self.kinds.iter().find(|(_, kind)| **kind != plan.environment.kind);
        other.map_or(Ok(()), |(name, _)| {
            Err(Trouble::input(format!(
                "the run imported as {name} was in an environment of another kind than {}",
                plan.environment.name
            ))
            .hint("import a run of the same kind: lab, rehearsal or production"))
        })
    }
}

/// Refuses a plan whose imports have no run yet.
pub fn complete(plan: &Plan) -> Result<(), Trouble> {
    let missing = plan.imports.iter().find(|(_, import)| import.run.is_none());
    missing.map_or(Ok(()), |(name, import)| {
        Err(Trouble::input(format!(
            "the runbook imports a run of {} as {name}; nothing was executed",
            import.runbook
        ))
        .hint(format!("name it: --import {name}=RUN")))
    })
}

fn one(run: &Path, store: &Store) -> Result<(ImportedRun, EnvironmentKind), Trouble> {
    let folder = store.find(run)?;
    let refused = |words: &str, hint: &str| {
        Trouble::input(format!("run {} cannot be imported: {words}", folder.id)).hint(hint.to_owned())
    };
    let verdict = verify(&folder.path, Require::Chain);
    if verdict.code != 0 {
        let hint = format!(
            "see why with: pointsman verify {} --require chain{}",
            folder.id,
            store.option()
        );
        return Err(refused(&verdict.conclusion, &hint));
    }
    let chain = read_run(&folder.path).map_err(|error| refused(&error.to_string(), "can you read it?"))?;
    let (Some(first), Some(last)) = (chain.records.first(), chain.records.last()) else {
        return Err(refused("it has no records", "import another run"));
    };
    let Some(genesis) = Genesis::read(first) else {
        return Err(refused("it never began", "import another run"));
    };
    let told = told(&folder, &genesis, &chain.records)?;
    if told.plan_file != genesis.plan_file {
        return Err(refused(
            "its plan.json is not the plan that it began with",
            "put the original file back",
        ));
    }
    let (plan, state) = (told.plan, told.state);
    let committed = matches!(
        state.phase,
        Phase::Closed {
            state: CloseState::Committed,
            ..
        }
    );
    if genesis.mode != Mode::Real || !committed {
        return Err(refused(
            "it was not committed",
            "only what was committed for real is used",
        ));
    }
    let outputs = state
        .facts
        .steps
        .iter()
        .zip(&state.steps)
        .filter(|(_, step)| step.stage == Stage::Done)
        .map(|(facts, step)| (facts.id.0.clone(), step.outputs.clone()))
        .collect();
    let imported = ImportedRun {
        run: folder.id.clone(),
        runbook: genesis.runbook,
        head: last.h.clone(),
        outputs,
    };
    Ok((imported, plan.environment.kind))
}
