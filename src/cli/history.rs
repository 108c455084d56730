//! Reads what earlier runs took, for forecasts. Tolerant: a run that cannot be read, or says nothing about this one, is
//! left out with a remark; it never stops anything.

use crate::engine::record;
use crate::journal::reader::read_run;
use crate::projection::forecast::is_timed;
use crate::projection::samples::{History, Unfit};
use crate::runbook::plan::Plan;

use super::store::{RunFolder, Store};

/// What was read, and why some runs were not.
#[derive(Debug, Default)]
pub struct Gathered {
    pub history: History,
    /// Runs of this runbook, or of nobody knows which, that were left out: id and reason.
    pub remarks: Vec<(String, String)>,
}

/// Gathers the history of a plan; `except` is the run that is forecast itself.
pub fn gather(store: &Store, plan: &Plan, except: Option<&str>) -> Gathered {
    let mut gathered = Gathered::default();
    let folders = match store.list() {
        Ok(folders) => folders,
        Err(trouble) => {
            gathered.remarks.push(("runs".to_owned(), trouble.message));
            return gathered;
        }
    };
    for folder in folders.iter().filter(|folder| except != Some(folder.id.as_str())) {
        if let Err(reason) = one(&mut gathered.history, plan, folder) {
            gathered.remarks.push((folder.id.clone(), reason));
        }
    }
    gathered
}

/// The history for a sitting at run `id`; it is only read where something is measured against it.
pub fn history_of(store: &Store, plan: &Plan, id: &str) -> History {
    if is_timed(plan) {
        gather(store, plan, Some(id)).history
    } else {
        History::default()
    }
}

fn one(history: &mut History, plan: &Plan, folder: &RunFolder) -> Result<(), String> {
    let (earlier, _) = folder.plan().map_err(|trouble| trouble.message)?;
    // The journal of another runbook is not even read.
    if earlier.name != plan.name {
        return Ok(());
    }
    let chain = read_run(&folder.path).map_err(|error| format!("its journal cannot be read: {error}"))?;
    if !chain.faults.is_empty() {
        return Err("its journal is damaged; see: pointsman verify".to_owned());
    }
    let mut events = Vec::with_capacity(chain.records.len());
    for record in &chain.records {
        if let Some(event) = record::event(record).map_err(|error| error.to_string())? {
            events.push((record.t, event));
        }
    }
    match history.take(plan, &earlier, events.iter().map(|(at, event)| (*at, event))) {
        Ok(()) | Err(Unfit::OtherRunbook) => Ok(()),
        Err(unfit) => Err(unfit.to_string()),
    }
}
