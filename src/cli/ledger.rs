//! Compared ranges in a file, a line each, synced before they count. Lines that cannot be read are compared again.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;

use crate::provider::action::{ActionError, ActionErrorKind};
use crate::provider::sql::compare::ledger::{Entry, Ledger};

/// A file of compared ranges.
pub struct FileLedger {
    known: Vec<Entry>,
    file: Arc<Mutex<File>>,
}

impl FileLedger {
    /// Opens it, or makes it; nobody else can have it meanwhile.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        if !text.is_empty() && !text.ends_with('\n') {
            // The last one was not written whole: it would swallow the next.
            file.write_all(b"\n")?;
        }
        let known = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        Ok(Self {
            known,
            file: Arc::new(Mutex::new(file)),
        })
    }
}

impl Ledger for FileLedger {
    fn known(&self) -> Vec<Entry> {
        self.known.clone()
    }

    fn keep<'a>(&'a self, entry: &'a Entry) -> BoxFuture<'a, Result<(), ActionError>> {
        Box::pin(async move {
            let file = Arc::clone(&self.file);
            let line = serde_json::to_string(entry).map_err(io::Error::other);
            let writing = tokio::task::spawn_blocking(move || {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.write_all(format!("{}\n", line?).as_bytes())?;
                file.sync_data()
            });
            let done = writing.await.map_err(io::Error::other).and_then(|done| done);
            done.map_err(|error| {
                let words = format!("the ledger of compared ranges cannot be written: {error}; free its disk");
                ActionError::new(ActionErrorKind::Permanent, words)
            })
        })
    }
}
