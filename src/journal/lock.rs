//! One executor a run: `flock(2)` on the run's lock file, with who holds it written inside for people.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use chrono::{DateTime, Utc};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// Who holds a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    pub host: String,
    pub boot: String,
    pub since: DateTime<Utc>,
}

/// Why a run could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("the run is held by process {} on {} since {}; end that one, or watch it", .0.pid, .0.host, .0.since.to_rfc3339())]
    Held(Holder),
    #[error("the run's lock could not be taken: {0}")]
    Io(#[from] io::Error),
}

/// A held lock; released when dropped or when the process ends.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

impl RunLock {
    /// Takes the run's lock.
    pub fn acquire(run: &Path, me: &Holder) -> Result<Self, LockError> {
        let path = run.join("run.lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            let unknown = Holder {
                pid: 0,
                host: "unknown".to_owned(),
                boot: String::new(),
                since: me.since,
            };
            return Err(LockError::Held(serde_json::from_str(&text).unwrap_or(unknown)));
        }
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(serde_json::to_string(me).map_err(io::Error::other)?.as_bytes())?;
        file.sync_all()?;
        Ok(Self { _file: file })
    }
}
