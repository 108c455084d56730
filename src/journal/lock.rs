//! One executor a run: `flock(2)` on the run's lock file, with who holds it written inside for people.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// How often a lock that is held is looked at.
const LOOKS: u32 = 40;
/// The time between two looks.
const MOMENT: Duration = Duration::from_millis(25);

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
    #[error("the run is held by a process that has not said who it is; end that one, or watch it")]
    HeldBySomebody,
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
        let mut named = None;
        for _ in 0..LOOKS {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Self::named(file, me),
                Err(rustix::io::Errno::WOULDBLOCK) => {}
                Err(error) => return Err(LockError::Io(error.into())),
            }
            // Who took it just now has not written its name yet, and the name of one that is gone may still be there;
            // who lists the runs holds it for a moment only.
            named = name_in(&mut file)?.or(named);
            match named {
                Some(holder) if holder.may_hold(me) => return Err(LockError::Held(holder)),
                other => named = other,
            }
            std::thread::sleep(MOMENT);
        }
        Err(named.map_or(LockError::HeldBySomebody, LockError::Held))
    }

    /// Writes into the locked file who holds it.
    fn named(mut file: File, me: &Holder) -> Result<Self, LockError> {
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(serde_json::to_string(me).map_err(io::Error::other)?.as_bytes())?;
        file.sync_all()?;
        Ok(Self { _file: file })
    }
}

/// The name in a lock's file, if a whole one is there.
fn name_in(file: &mut File) -> io::Result<Option<Holder>> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text).ok())
}

impl Holder {
    /// Whether it can be at the run now, as far as that can be told from here.
    fn may_hold(&self, me: &Self) -> bool {
        self.host != me.host || (self.boot == me.boot && Path::new(&format!("/proc/{}", self.pid)).exists())
    }
}
