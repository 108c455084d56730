//! `pointsman runs`: the list of runs.

use chrono::{DateTime, SecondsFormat, Utc};
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;

use crate::frontend::ending::is_stuck_way_back;
use crate::journal::reader::read_run;
use crate::projection::escape::{fit, visible};
use crate::projection::words::closed;
use crate::run::state::{Phase, Stage};

use super::args::{RunsArgs, TextOrJson};
use super::genesis::Genesis;
use super::out::Out;
use super::plans::told;
use super::store::{RunFolder, Store};
use super::trouble::Trouble;

/// One run of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Line {
    run: String,
    runbook: Option<String>,
    environment: Option<String>,
    /// How it ended, or `running`, `held`, `failing`, `hands needed`, `in doubt`, `interrupted`, `unreadable`.
    state: String,
    started: Option<String>,
    ended: Option<String>,
    exit: Option<u8>,
    #[serde(skip)]
    began: Option<DateTime<Utc>>,
}

/// Lists the runs.
pub fn perform(args: &RunsArgs, store: &Store, out: Out) -> Result<u8, Trouble> {
    let mut lines: Vec<Line> = store.list()?.iter().map(line).collect();
    // An id tells the minute only.
    lines.sort_by(|a, b| b.began.cmp(&a.began).then_with(|| b.run.cmp(&a.run)));
    match args.format {
        TextOrJson::Json => {
            let text = serde_json::to_string_pretty(&lines)
                .map_err(|error| Trouble::failed(format!("the list cannot be written: {error}")))?;
            out.line(&text);
        }
        TextOrJson::Text if lines.is_empty() => out.line("no runs yet"),
        TextOrJson::Text => {
            let row = |cells: [&str; 5]| {
                let widths = [18, 15, 11, 12, 20];
                let cells = cells.iter().zip(widths).map(|(cell, width)| fit(&visible(cell), width));
                cells.collect::<Vec<_>>().join(" ").trim_end().to_owned()
            };
            out.line(&row(["run", "runbook", "environment", "state", "started (UTC)"]));
            for line in &lines {
                let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "?".to_owned());
                out.line(&row([
                    &line.run,
                    &text(&line.runbook),
                    &text(&line.environment),
                    &line.state,
                    &text(&line.started),
                ]));
            }
        }
    }
    Ok(0)
}

fn line(folder: &RunFolder) -> Line {
    let mut line = Line {
        run: folder.id.clone(),
        runbook: None,
        environment: None,
        state: "unreadable".to_owned(),
        started: None,
        ended: None,
        exit: None,
        began: None,
    };
    let Ok(chain) = read_run(&folder.path) else {
        return line;
    };
    let Some((first, genesis)) = chain
        .records
        .first()
        .and_then(|record| Some((record, Genesis::read(record)?)))
    else {
        return line;
    };
    line.runbook = Some(genesis.runbook.clone());
    line.environment = Some(genesis.environment.clone());
    line.started = Some(stamp(first.t));
    line.began = Some(first.t);
    let Ok(told) = told(folder, &genesis, &chain.records) else {
        return line;
    };
    line.state = match told.state.phase {
        Phase::Closed { state, exit } => {
            line.exit = Some(exit);
            line.ended = told.updates.last().map(|update| stamp(update.at));
            closed(state).to_owned()
        }
        Phase::New | Phase::Running | Phase::Unwinding | Phase::CommitGate(_) | Phase::Closing(_) => {
            if told.state.in_doubt() {
                "in doubt".to_owned()
            } else if is_stuck_way_back(&told.state) {
                "hands needed".to_owned()
            } else if told.state.steps.iter().any(|step| step.stage == Stage::Failed) {
                "failing".to_owned()
            } else if !is_held(folder) {
                "interrupted".to_owned()
            } else if told.state.hold.is_some() {
                "held".to_owned()
            } else {
                "running".to_owned()
            }
        }
    };
    line
}

fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Whether a process is at the run; only asks, holds nothing.
fn is_held(folder: &RunFolder) -> bool {
    std::fs::File::open(folder.path.join("run.lock"))
        .is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared).is_err())
}
