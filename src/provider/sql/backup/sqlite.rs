//! A backup of SQLite: a copy that the engine makes of one state of the database, while others write on (`VACUUM INTO`). It
//! is written beside its name, checked, and only then given its name: what has the name is whole.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Map, json};
use sha2::{Digest, Sha256};

use crate::provider::action::{Action, ActionError, ActionErrorKind, Cx, Observed, Outcome, Preview, Progress, Ready};
use crate::provider::connection::SqliteTarget;

use crate::provider::sql::sqlite::{blocking, failed, identity, reader};

use super::parameters::{With, file};

/// A backup.
pub struct SqliteBackup {
    pub on: String,
    pub target: SqliteTarget,
    pub with: With,
}

fn wrong(error: &io::Error, path: &Path) -> ActionError {
    let words = format!("{}: {error}; look at the folder", path.display());
    ActionError::new(ActionErrorKind::Permanent, words)
}

/// Refuses a copy that is not whole.
fn whole(path: &Path) -> Result<(), ActionError> {
    let session = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .map_err(|error| failed(&error, &path.display().to_string()))?;
    let said: String = session
        .query_row("pragma integrity_check(1)", [], |row| row.get(0))
        .map_err(|error| failed(&error, &format!("checking {}", path.display())))?;
    if said == "ok" {
        return Ok(());
    }
    let words = format!("the copy {} is not whole: {said}; take another", path.display());
    Err(ActionError::new(ActionErrorKind::Permanent, words))
}

/// How long a file is, and the SHA-256 of it.
fn measured(path: &Path) -> Result<(u64, String), ActionError> {
    let mut file = File::open(path).map_err(|error| wrong(&error, path))?;
    let (mut sum, mut size, mut piece) = (Sha256::new(), 0_u64, vec![0; 1 << 16]);
    loop {
        let count = file.read(&mut piece).map_err(|error| wrong(&error, path))?;
        if count == 0 {
            return Ok((size, data_encoding::HEXLOWER.encode(&sum.finalize())));
        }
        sum.update(piece.get(..count).unwrap_or_default());
        size += u64::try_from(count).unwrap_or(0);
    }
}

impl SqliteBackup {
    fn path(&self, key: &str) -> PathBuf {
        let name = self
            .target
            .path
            .file_stem()
            .map(|name| name.to_string_lossy().into_owned());
        PathBuf::from(file(&self.with.to, &name.unwrap_or_default(), key, "db"))
    }

    async fn outcome(&self, path: PathBuf, how: &'static str) -> Result<Outcome, ActionError> {
        let on = self.on.clone();
        blocking(move || {
            let (bytes, sha256) = measured(&path)?;
            Ok(Outcome {
                summary: format!("{on}: {} bytes in {}{how}", bytes, path.display()),
                result: Map::from_iter([
                    ("file".to_owned(), json!(path.display().to_string())),
                    ("bytes".to_owned(), json!(bytes)),
                    ("sha256".to_owned(), json!(sha256)),
                ]),
                evidence: Vec::new(),
            })
        })
        .await
    }
}

#[async_trait]
impl Action for SqliteBackup {
    fn preview(&self) -> Preview {
        let verified = match self.with.verify {
            true => "verified afterwards: it is read again",
            false => "not verified afterwards",
        };
        Preview {
            summary: format!("copies {} into a file of its own in {}", self.on, self.with.to),
            commands: vec![format!("{}: vacuum into '{}'", self.on, self.path("KEY").display())],
            notes: vec![
                "one state of it, while others read and write on; checked (integrity_check) before it gets its name"
                    .to_owned(),
                verified.to_owned(),
                "an unwinding keeps it".to_owned(),
            ],
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        let folder = PathBuf::from(&self.with.to);
        let (target, on) = (self.target.clone(), self.on.clone());
        blocking(move || {
            let about = fs::metadata(&folder).map_err(|error| wrong(&error, &folder))?;
            if !about.is_dir() || about.permissions().readonly() {
                let words = format!(
                    "{on}: {} is no folder that may be written to; make it",
                    folder.display()
                );
                return Err(ActionError::new(ActionErrorKind::Permanent, words));
            }
            let session = reader(&target)?;
            let pages: i64 = session
                .query_row(
                    "select page_count * page_size from pragma_page_count(), pragma_page_size()",
                    [],
                    |row| row.get(0),
                )
                .map_err(|error| failed(&error, "its size"))?;
            Ok(Ready {
                identity: identity(&target),
                facts: vec![format!("{pages} bytes at most, into {}", folder.display())],
            })
        })
        .await
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        if cx.cancel.is_cancelled() {
            let words = "ended before anything was written";
            return Err(ActionError::new(ActionErrorKind::Cancelled, words));
        }
        let path = self.path(&cx.key);
        let (target, own) = (self.target.clone(), path.clone());
        cx.reporter
            .progress(Progress::State(format!("copying into {}", path.display())));
        let session = blocking(move || {
            let session = reader(&target)?;
            // The copy is another file: this one stays opened for reading only.
            let open = session.pragma_update(None, "query_only", false);
            open.map_err(|error| failed(&error, "the session"))?;
            Ok(session)
        })
        .await?;
        let ender = session.get_interrupt_handle();
        let copying = blocking(move || {
            if own.exists() {
                return Ok(());
            }
            let part = own.with_extension("part");
            match fs::remove_file(&part) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(wrong(&error, &part)),
            }
            let copied = session
                .execute("vacuum into ?", [part.display().to_string()])
                .map_err(|error| failed(&error, "the copy"))
                .and_then(|_| whole(&part));
            if let Err(error) = copied {
                let _none_or_gone = fs::remove_file(&part);
                return Err(error);
            }
            // Its bytes are on the disk before its name says that they are.
            let synced = File::open(&part).and_then(|file| file.sync_all());
            synced.map_err(|error| wrong(&error, &part))?;
            fs::rename(&part, &own).map_err(|error| wrong(&error, &own))?;
            if let Some(folder) = own.parent() {
                let synced = File::open(folder).and_then(|folder| folder.sync_all());
                synced.map_err(|error| wrong(&error, folder))?;
            }
            Ok(())
        });
        tokio::pin!(copying);
        tokio::select! {
            biased;
            done = &mut copying => done?,
            () = cx.cancel.cancelled() => {
                ender.interrupt();
                copying.await?;
            }
        }
        cx.reporter.ack(&path.display().to_string()).await?;
        self.outcome(path, "").await
    }

    async fn observe(&self, cx: &Cx) -> Result<Observed, ActionError> {
        let path = self.path(&cx.key);
        if path.exists() {
            return Ok(Observed::Done(self.outcome(path, " (found by its name)").await?));
        }
        Ok(Observed::NotStarted {
            detail: format!("there is no {}; a .part beside it is worth nothing", path.display()),
        })
    }

    async fn prove(&self, cx: &Cx) -> Result<(), ActionError> {
        let (path, verify) = (self.path(&cx.key), self.with.verify);
        blocking(move || if verify { whole(&path) } else { Ok(()) }).await
    }
}
