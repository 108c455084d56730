//! What the first record of a run binds, and reading it again. Owns the names of those fields.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rand::RngExt;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::engine::clock::host;
use crate::engine::facts::Mode;
use crate::journal::Record;
use crate::runbook::digest::digest;
use crate::runbook::plan::{EnvironmentKind, Plan};

use super::place::Place;
use super::trouble::Trouble;
use super::world::LabChoice;

/// The data of a run's first record.
pub fn data(
    plan: &Plan,
    (plan_file, files): (&str, BTreeMap<String, String>),
    mode: Mode,
    lab: Option<&LabChoice>,
    speed: f64,
    folder: &Path,
) -> Result<Map<String, Value>, Trouble> {
    let binary =
        binary_digest().map_err(|error| Trouble::failed(format!("the program cannot read itself: {error}")))?;
    let people = serde_json::to_value(&plan.environment.people)
        .map_err(|error| Trouble::failed(format!("the people cannot be recorded: {error}")))?;
    let place = Place::of(folder)
        .map_err(|error| Trouble::failed(format!("the run's folder {}: {error}", folder.display())))?;
    let nonce: [u8; 16] = rand::rng().random();
    let kind = match plan.environment.kind {
        EnvironmentKind::Lab => "lab",
        EnvironmentKind::Rehearsal => "rehearsal",
        EnvironmentKind::Production => "production",
    };
    let lab = match lab {
        None => Value::Null,
        Some(LabChoice::Own { faults, .. }) => {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            json!({ "speed": speed, "faults": faults })
        }
        Some(LabChoice::Other { folder }) => json!({ "folder": folder, "speed": speed }),
    };
    let data = json!({
        "runbook": plan.name,
        "environment": plan.environment.name,
        "kind": kind,
        "mode": match mode { Mode::Real => "real", Mode::DryRun => "dry_run" },
        "ticket": plan.environment.ticket,
        "runbook_digest": plan.digests.runbook,
        "plan_digest": plan.digests.plan,
        "rehearsal_digest": plan.digests.rehearsal,
        "plan_file_digest": plan_file,
        "files": files,
        "people_digest": digest(&people),
        "version": env!("CARGO_PKG_VERSION"),
        "binary_digest": binary,
        "nonce": data_encoding::HEXLOWER.encode(&nonce),
        "preflight_ms": plan.preflight.filter(|_| mode == Mode::Real),
        "host": host(),
        "place": place,
        "lab": lab,
    });
    match data {
        Value::Object(map) => Ok(map),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Ok(Map::new()),
    }
}

fn binary_digest() -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut file = File::open(std::env::current_exe()?)?;
    let mut piece = vec![0u8; 256 * 1024];
    loop {
        let count = file.read(&mut piece)?;
        match piece.get(..count) {
            Some(bytes) if !bytes.is_empty() => hasher.update(bytes),
            Some(_) | None => break,
        }
    }
    Ok(data_encoding::HEXLOWER.encode(&hasher.finalize()))
}

/// The first record of a run, as far as others ask for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Genesis {
    pub runbook: String,
    pub environment: String,
    pub mode: Mode,
    pub host: String,
    /// The folder that the run was made in; none in records that do not tell.
    pub place: Option<Place>,
    pub operator: String,
    pub plan_file: String,
    lab: Value,
}

impl Genesis {
    /// Reads a run's first record.
    pub fn read(record: &Record) -> Option<Self> {
        if record.ev != "genesis" {
            return None;
        }
        let text = |key: &str| record.data.get(key).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            runbook: text("runbook")?,
            environment: text("environment")?,
            mode: if text("mode")? == "dry_run" {
                Mode::DryRun
            } else {
                Mode::Real
            },
            host: text("host")?,
            place: record
                .data
                .get("place")
                .and_then(|place| Place::deserialize(place).ok()),
            operator: text("operator")?,
            plan_file: text("plan_file_digest")?,
            lab: record.data.get("lab").cloned().unwrap_or(Value::Null),
        })
    }

    /// The lab that the run used; one of its own is gone on with in the run's folder. Faults are made once, by the
    /// process that was told to, or by the one that goes on with it: the lab itself remembers which were made.
    pub fn lab(&self, own: PathBuf) -> Option<LabChoice> {
        if self.lab.is_null() {
            return None;
        }
        if let Some(folder) = self.lab.get("folder").and_then(Value::as_str) {
            return Some(LabChoice::Other { folder: folder.into() });
        }
        let faults = self.lab.get("faults").and_then(Value::as_array);
        Some(LabChoice::Own {
            folder: own,
            speed: self.lab.get("speed").and_then(Value::as_f64).unwrap_or(10.0),
            faults: faults
                .into_iter()
                .flatten()
                .filter_map(|name| name.as_str()?.parse().ok())
                .collect(),
        })
    }
}
