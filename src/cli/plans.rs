//! The plans of a run: the one that it began with, and those that it was amended with, as its folder keeps them and its
//! records name them. Reads and keeps files; must not decide which plan is taken.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use chrono::Utc;
use serde_json::{Map, Value, json};

use crate::engine::amend::{Amendment, amended_with};
use crate::engine::facts::facts_of;
use crate::engine::handle::Update;
use crate::engine::record;
use crate::journal::Record;
use crate::journal::reader::read_run;
use crate::run::{Event, RunState, fold};
use crate::runbook::digest::sha256;
use crate::runbook::plan::Plan;

use super::args::Import;
use super::genesis::Genesis;
use super::imports::Imported;
use super::reading::Source;
use super::store::{RunFolder, Store};
use super::trouble::{Trouble, exit};

/// A run as its records tell it.
pub struct Told {
    /// The plan that it goes by now.
    pub plan: Arc<Plan>,
    /// The digest of the file of the plan that it began with.
    pub plan_file: String,
    pub state: RunState,
    pub updates: Vec<Arc<Update>>,
}

/// Folds a run's records, under the plans that its folder keeps.
pub fn told(folder: &RunFolder, genesis: &Genesis, records: &[Record]) -> Result<Told, Trouble> {
    let bad = |words: String| Trouble {
        exit: exit::INPUT,
        message: words,
        hint: Some("see what is wrong with: pointsman verify".to_owned()),
    };
    let (plan, plan_file) = folder.plan()?;
    let mut plan = Arc::new(plan);
    let mut state = RunState::new(Arc::new(facts_of(&plan, genesis.mode)));
    let mut updates = Vec::new();
    for record in records {
        let Some(event) = record::event(record).map_err(|error| bad(error.to_string()))? else {
            continue;
        };
        if let Event::RunAmended {
            plan_file_digest, data, ..
        } = &event
        {
            let amendment = kept(folder, plan_file_digest, data)?;
            state.learn(Arc::new(amended_with(&plan, genesis.mode, &amendment)));
            plan = amendment.plan;
        }
        fold(&mut state, &event).map_err(|error| bad(format!("record {}: {error}", record.seq)))?;
        updates.push(Arc::new(Update {
            seq: record.seq,
            at: record.t,
            event,
        }));
    }
    Ok(Told {
        plan,
        plan_file,
        state,
        updates,
    })
}

/// The plan that a record names, from the file that it names with its digest.
fn kept(folder: &RunFolder, digest: &str, data: &Map<String, Value>) -> Result<Amendment, Trouble> {
    let files = data.get("files").and_then(Value::as_object);
    let named = files
        .into_iter()
        .flatten()
        .find(|(_, file)| file.as_str() == Some(digest))
        .map(|(name, _)| name.clone());
    let path = folder.path.join(named.as_deref().unwrap_or("amendments"));
    let bytes = fs::read(&path).map_err(|error| {
        Trouble::input(format!("{}: {error}", path.display())).hint("the run was amended with it; put the file back")
    })?;
    if sha256(&bytes) != digest {
        return Err(Trouble::input(format!(
            "{} is not the plan that run {} was amended with",
            path.display(),
            folder.id
        ))
        .hint("put the original file back; the run executes nothing else"));
    }
    let plan: Plan = serde_json::from_slice(&bytes).map_err(|error| {
        Trouble::input(format!("{}: {error}", path.display()))
            .hint("was the run made by another version of pointsman? use that one")
    })?;
    Ok(Amendment {
        plan: Arc::new(plan),
        file_digest: digest.to_owned(),
        data: data.clone(),
    })
}

/// Reads a changed runbook for a run, and keeps it in the run's folder; what is wrong comes in lines for people.
pub fn amendment(path: &Path, folder: &RunFolder, store: &Store) -> Result<Amendment, Vec<String>> {
    let one = |trouble: Trouble| vec![trouble.message];
    let (old, _) = folder.plan().map_err(one)?;
    let mut source = Source::read(path).map_err(one)?;
    let named: Vec<Import> = old
        .imports
        .iter()
        .filter_map(|(name, import)| {
            Some(Import {
                name: name.clone(),
                run: import.run.clone()?.into(),
            })
        })
        .collect();
    source.imports = Imported::read(&named, store).map_err(one)?.runs;
    // A window that was open when the run began may have been extended since: that is not the runbook's to say.
    let began = read_run(&folder.path)
        .ok()
        .and_then(|chain| Some(chain.records.first()?.t));
    let now = began.unwrap_or_else(Utc::now);
    let plan = source.planned(&old.environment.name, now).map_err(|faults| {
        let mut lines: Vec<String> = source.render(&faults).lines().map(str::to_owned).collect();
        lines.push(super::reading::refusal(&faults).message);
        lines
    })?;
    if !plan.not_available.is_empty() {
        return Err(vec![format!("not available yet: {}", plan.not_available.join("; "))]);
    }
    let (file_digest, files) = folder.keep(&plan, &source).map_err(one)?;
    let data = json!({
        "runbook_digest": plan.digests.runbook,
        "plan_digest": plan.digests.plan,
        "rehearsal_digest": plan.digests.rehearsal,
        "files": files,
        "preflight_ms": plan.preflight,
    });
    let data = match data {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    };
    Ok(Amendment {
        plan: Arc::new(plan),
        file_digest,
        data,
    })
}
