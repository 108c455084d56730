//! A backup of SQL Server: COPY_ONLY, so that no chain of other backups is touched, with checksums, under the change's key as
//! its name. What became of it stands in msdb; while it runs, its session holds the key's lock. It is proven by
//! RESTORE VERIFYONLY. By Microsoft's documentation, and never run against a SQL Server.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use tiberius::error::Error;

use crate::provider::action::{Action, ActionError, ActionErrorKind, Cx, Observed, Outcome, Preview, Progress, Ready};

use crate::provider::sql::server::ServerTarget;
use crate::provider::sql::session::Ender;
use crate::provider::sql::sqlserver;
use crate::provider::sql::sqlserver::connect::{Connection, connect};
use crate::provider::sql::sqlserver::errors::{failed, number};
use crate::provider::sql::sqlserver::writer::{is_held, lock, one, quoted, refused, told};

use super::parameters::{With, file};

/// How long a backup, or reading one, may take where the step has no timeout.
const LONG: Duration = Duration::from_secs(24 * 60 * 60);
/// Errors before anything is written: no right, and no such device.
const NOTHING: [u32; 2] = [262, 3201];
/// How often the server is asked how far it is.
const BEAT: Duration = Duration::from_secs(2);

/// What msdb says of a backup, in the order of the result's names.
const SET: &str = "select cast(s.backup_size as varchar(30)), cast(s.compressed_backup_size as varchar(30)), \
                   cast(s.first_lsn as varchar(30)), cast(s.last_lsn as varchar(30)), cast(s.checkpoint_lsn as varchar(30)), \
                   convert(varchar(19), s.backup_start_date, 126), convert(varchar(19), s.backup_finish_date, 126), \
                   cast(s.is_copy_only as varchar(1)), cast(s.has_backup_checksums as varchar(1)), \
                   cast(s.is_damaged as varchar(1)), cast(f.physical_device_name as nvarchar(260)) \
                   from msdb.dbo.backupset s join msdb.dbo.backupmediafamily f on f.media_set_id = s.media_set_id \
                   where s.database_name = db_name() and s.type = 'D' and s.name = ";

const NAMES: [&str; 7] = [
    "bytes",
    "compressed_bytes",
    "first_lsn",
    "last_lsn",
    "checkpoint_lsn",
    "started_at",
    "finished_at",
];

/// A backup.
pub struct SqlserverBackup {
    pub on: String,
    pub target: ServerTarget,
    pub with: With,
}

/// Where the server writes to, as its statements say it.
fn device(path: &str) -> String {
    let kind = if path.starts_with("https://") || path.starts_with("s3://") {
        "url"
    } else {
        "disk"
    };
    format!("{kind} = {}", quoted(path))
}

fn statement(name: &str, path: &str, with: &With, cx: (&str, &str, &str)) -> String {
    let (key, run, step) = cx;
    let compression = match with.compression {
        None => "",
        Some(true) => ", compression",
        Some(false) => ", no_compression",
    };
    // A description has 255 characters.
    let about: String = format!("pointsman {run} {step}").chars().take(250).collect();
    format!(
        "/* {key} */ backup database [{}] to {} with copy_only, checksum, stop_on_error, name = {}, description = {}, \
         stats = 5{compression}",
        name.replace(']', "]]"),
        device(path),
        quoted(key),
        quoted(&about)
    )
}

impl SqlserverBackup {
    fn path(&self, key: &str) -> String {
        file(&self.with.to, &self.target.database, key, "bak")
    }

    fn patient(&self) -> ServerTarget {
        ServerTarget {
            patience: LONG,
            ..self.target.clone()
        }
    }

    /// What msdb has of it; nothing where there is none.
    async fn found(&self, connection: &mut Connection, key: &str) -> Result<Option<Outcome>, ActionError> {
        let rows = told(connection, &format!("{SET}{}", quoted(key))).await;
        let rows = rows.map_err(|error| failed(&error, "what msdb says of backups"))?;
        let Some(row) = rows.into_iter().next() else {
            return Ok(None);
        };
        let cell = |at: usize| row.get(at).cloned().flatten();
        let mut result = Map::new();
        for (at, name) in NAMES.iter().enumerate() {
            let value = match (at, cell(at).map(|text| text.parse::<u64>().map_err(|_| text))) {
                (0 | 1, Some(Ok(number))) => json!(number),
                (_, Some(Ok(_)) | Some(Err(_)) | None) => cell(at).map_or(Value::Null, Value::String),
            };
            result.insert((*name).to_owned(), value);
        }
        for (at, name) in [(7, "copy_only"), (8, "checksums"), (9, "damaged")] {
            result.insert(name.to_owned(), json!(cell(at).as_deref() == Some("1")));
        }
        let file = cell(10).unwrap_or_default();
        result.insert("file".to_owned(), json!(file));
        result.insert("set".to_owned(), json!(key));
        Ok(Some(Outcome {
            summary: format!("{}: {} bytes in {file}", self.on, cell(0).unwrap_or_default()),
            result,
            evidence: Vec::new(),
        }))
    }

    /// RESTORE VERIFYONLY asks for the right to create a database.
    async fn verifiable(&self, connection: &mut Connection) -> Result<(), ActionError> {
        let sql = "select case when has_perms_by_name(null, null, 'CREATE ANY DATABASE') = 1 \
                   or has_perms_by_name('master', 'DATABASE', 'CREATE DATABASE') = 1 then '1' else '0' end";
        let may = one(connection, sql).await;
        if may.map_err(|error| failed(&error, "rights"))? == "1" {
            return Ok(());
        }
        let words = format!(
            "{}: the connection's user may not verify a backup; grant it CREATE ANY DATABASE, or write verify: false",
            self.on
        );
        Err(ActionError::new(ActionErrorKind::Permanent, words))
    }

    /// What an error after it was sent means. It may stand whole where only its history could not be written (3009).
    fn doubted(&self, error: &Error, key: &str) -> ActionError {
        let failure = refused(error, "the backup");
        if number(error).is_some_and(|number| NOTHING.contains(&number)) {
            return ActionError {
                kind: ActionErrorKind::Permanent,
                ..failure.error
            };
        }
        let path = self.path(key);
        let words = if failure.lost {
            format!("it was sent, and msdb will say what became of it; look at {path}")
        } else {
            format!("a file may stand, whole or in part; look at {path}")
        };
        ActionError::new(ActionErrorKind::InDoubt, format!("{}; {words}", failure.error.message))
    }

    /// Tells how far it is, until it is over; nothing where that may not be seen.
    async fn watch(&self, session: &str, cx: &Cx) {
        let Ok(mut connection) = connect(&self.target, false).await else {
            return std::future::pending().await;
        };
        let sql = format!(
            "select cast(cast(percent_complete as decimal(5,1)) as varchar(10)) from sys.dm_exec_requests \
             where session_id = {session} and command like 'BACKUP%'"
        );
        loop {
            tokio::time::sleep(BEAT).await;
            match one(&mut connection, &sql).await.map(|text| text.parse::<f64>()) {
                Ok(Ok(percent)) => cx.reporter.progress(Progress::Share {
                    done: (percent / 100.0).clamp(0.0, 1.0),
                    text: format!("{percent:.1} % written"),
                }),
                Ok(Err(_)) => {}
                Err(error) => {
                    tracing::info!(%error, "how far a backup is cannot be seen");
                    return std::future::pending().await;
                }
            }
        }
    }
}

#[async_trait]
impl Action for SqlserverBackup {
    fn preview(&self) -> Preview {
        let path = self.path("KEY");
        let mut commands = vec![format!(
            "{}: {}",
            self.on,
            statement(&self.target.database, &path, &self.with, ("KEY", "RUN", "STEP"))
        )];
        if self.with.verify {
            commands.push(format!(
                "{}: restore verifyonly from {} with checksum",
                self.on,
                device(&path)
            ));
        }
        Preview {
            summary: format!("backs {} up into a file of its own, written by the server", self.on),
            commands,
            notes: vec![
                "COPY_ONLY: no differential and no chain of the log's backups is touched".to_owned(),
                "sessions read and write on; the server's account has to be allowed to write there".to_owned(),
                "an unwinding keeps it".to_owned(),
            ],
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        let about = sqlserver::reader(&self.target, false).await?.about().await?;
        let mut connection = connect(&self.target, false).await?;
        let wrong = |error: Error| failed(&error, &self.target.to_string());
        let sql = "select cast(has_perms_by_name(db_name(), 'DATABASE', 'BACKUP DATABASE') as varchar(11))+' '+\
                   cast(serverproperty('EngineEdition') as varchar(11))";
        let told = one(&mut connection, sql).await.map_err(wrong)?;
        let (may, edition) = told.split_once(' ').unwrap_or(("", ""));
        let refusal = match (may, edition) {
            (_, "5" | "6" | "11" | "12") => Some("this service takes its backups itself; use its own restore points"),
            ("1", _) => None,
            (_, _) => Some("the connection's user may not back it up; grant it BACKUP DATABASE"),
        };
        if let Some(words) = refusal {
            let words = format!("{}: {words}", self.on);
            return Err(ActionError::new(ActionErrorKind::Permanent, words));
        }
        if self.with.verify {
            self.verifiable(&mut connection).await?;
        }
        // Where msdb may not be read, nobody could tell after a lost answer what became of it.
        let count = one(
            &mut connection,
            "select cast(count_big(*) as varchar(20)) from msdb.dbo.backupset s \
             join msdb.dbo.backupmediafamily f on f.media_set_id = s.media_set_id where s.database_name = db_name()",
        )
        .await;
        let count = count.map_err(|error| failed(&error, "what msdb says of backups"))?;
        let size = one(
            &mut connection,
            "select cast(sum(cast(size as bigint)) * 8192 as varchar(30)) from sys.database_files where type = 0",
        )
        .await;
        let size = size.map_err(|error| failed(&error, "its size"))?;
        Ok(Ready {
            identity: about.identity,
            facts: vec![
                about.product,
                format!(
                    "{size} bytes at most, into {}; {count} backups of it are known",
                    self.with.to
                ),
            ],
        })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        if cx.cancel.is_cancelled() {
            let words = "ended before anything was sent";
            return Err(ActionError::new(ActionErrorKind::Cancelled, words));
        }
        let mut connection = connect(&self.patient(), false).await?;
        lock(&mut connection, &self.target, &cx.key).await?;
        if let Some(done) = self.found(&mut connection, &cx.key).await? {
            return Ok(done);
        }
        let wrong = |error: Error| failed(&error, "the session");
        let session = one(&mut connection, "select cast(@@spid as varchar(11))")
            .await
            .map_err(wrong)?;
        let name = one(&mut connection, "select db_name()").await.map_err(wrong)?;
        let sql = statement(&name, &self.path(&cx.key), &self.with, (&cx.key, &cx.run, &cx.step));
        let ender = connection.cut();
        let done = {
            let writing = told(&mut connection, &sql);
            tokio::pin!(writing);
            tokio::select! {
                biased;
                done = &mut writing => done,
                () = self.watch(&session, cx) => writing.await,
                () = cx.cancel.cancelled() => {
                    ender.end().await;
                    writing.await
                }
            }
        };
        done.map_err(|error| self.doubted(&error, &cx.key))?;
        cx.reporter.ack(&cx.key).await?;
        match self.found(&mut connection, &cx.key).await {
            Ok(Some(done)) => Ok(done),
            Ok(None) => Err(ActionError::new(
                ActionErrorKind::InDoubt,
                "the server says that it is done, and msdb has nothing of it; look at the file",
            )),
            Err(error) => Err(ActionError {
                kind: ActionErrorKind::InDoubt,
                ..error
            }),
        }
    }

    async fn observe(&self, cx: &Cx) -> Result<Observed, ActionError> {
        let mut connection = connect(&self.target, false).await?;
        if is_held(&mut connection, &cx.key).await? {
            let detail = "a session is still at it".to_owned();
            return Ok(Observed::Running { detail });
        }
        Ok(match self.found(&mut connection, &cx.key).await? {
            Some(done) => Observed::Done(done),
            None => Observed::NotStarted {
                detail: format!(
                    "msdb has no backup {}; a file {} would be a part of one, or one whose history could not be written",
                    cx.key,
                    self.path(&cx.key)
                ),
            },
        })
    }

    async fn prove(&self, cx: &Cx) -> Result<(), ActionError> {
        let mut connection = connect(&self.patient(), false).await?;
        let known = self.found(&mut connection, &cx.key).await?.unwrap_or_default().result;
        let is = |name: &str| known.get(name) == Some(&json!(true));
        if !is("copy_only") || !is("checksums") || is("damaged") {
            let words = format!(
                "msdb does not have it as a whole copy with checksums: {}; take another",
                Value::Object(known)
            );
            return Err(ActionError::new(ActionErrorKind::Permanent, words));
        }
        if !self.with.verify {
            return Ok(());
        }
        let file = known.get("file").and_then(Value::as_str).unwrap_or_default();
        cx.reporter.progress(Progress::State(format!("verifying {file}")));
        let sql = format!("restore verifyonly from {} with checksum", device(file));
        let ender = connection.cut();
        let reading = told(&mut connection, &sql);
        tokio::pin!(reading);
        let done = tokio::select! {
            biased;
            done = &mut reading => done,
            () = cx.cancel.cancelled() => {
                ender.end().await;
                reading.await
            }
        };
        done.map(drop)
            .map_err(|error| failed(&error, &format!("verifying {file}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_named_by_its_key() {
        let with = |compression| With {
            to: "/b".to_owned(),
            verify: true,
            compression,
        };
        let cx = ("pm-1", "run", "it's");
        assert_eq!(
            statement("e]rp", "/b/e-rp_pm-1.bak", &with(None), cx),
            "/* pm-1 */ backup database [e]]rp] to disk = N'/b/e-rp_pm-1.bak' with copy_only, checksum, stop_on_error, \
             name = N'pm-1', description = N'pointsman run it''s', stats = 5"
        );
        let url = statement("d", "https://a.example/c/d_pm-1.bak", &with(Some(true)), cx);
        assert!(
            url.contains(" to url = N'https://") && url.ends_with(", compression"),
            "{url}"
        );
    }
}
