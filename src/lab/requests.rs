//! `requests.jsonl`: every request that the cloud served. The judge of "no effect twice".

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde_json::Value;

use super::world::LabError;

/// One request.
#[derive(Debug, Clone, Serialize)]
pub struct Served {
    pub t: String,
    pub service: &'static str,
    pub operation: String,
    /// Whether the operation can change something.
    pub mutating: bool,
    /// Whether the lab's state moved.
    pub changed: bool,
    /// The idempotency name.
    pub name: Option<String>,
    pub params: Value,
    pub status: u16,
}

/// The log.
pub struct Requests {
    file: Mutex<File>,
}

impl Requests {
    /// Opens the log of a folder.
    pub fn open(folder: &Path) -> Result<Self, LabError> {
        let path = folder.join("requests.jsonl");
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .map_err(|source| LabError::io(&path, source))?;
        Ok(Self { file: Mutex::new(file) })
    }

    /// Notes a request; in the log before its answer is sent.
    pub fn note(&self, served: &Served) -> Result<(), LabError> {
        let mut line = serde_json::to_vec(served).map_err(|error| LabError::State(error.to_string()))?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line)
            .map_err(|source| LabError::io(Path::new("requests.jsonl"), source))
    }
}
