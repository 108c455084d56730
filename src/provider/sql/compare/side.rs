//! One side of a comparison: its sessions, that all see one state of the database where the engine can have it so, and how
//! often something is tried again. Must not know what is asked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::provider::action::{ActionError, ActionErrorKind};
use crate::provider::sql::database::Database;
use crate::provider::sql::session::{Session, all, until_ended};

use super::dialect::{Dialect, named};
use super::kind::TableName;
use super::pace::Pace;

/// How often a part is tried before it counts as not compared.
const TRIES: u32 = 5;
/// How long is waited before the first further try; twice as long before each one after it.
const BACKOFF: Duration = Duration::from_millis(500);

/// How long it is waited at the beginning for what is being written.
const SETTLING: Duration = Duration::from_secs(3);
/// A server's sessions count what they wrote within this time (PostgreSQL: ten seconds after the last statement).
const LATE: Duration = Duration::from_secs(12);
/// A server that says nothing for so long after it should have said something has gone.
const SILENT: Duration = Duration::from_secs(30);
/// How long a session may take to open and to see what the others see.
const OPENING: Duration = Duration::from_secs(60);
/// A watch that says nothing for longer may be ended as idle, by the server or on the way.
const IDLE: Duration = Duration::from_secs(60);
/// How often it is looked meanwhile.
const BEAT: Duration = Duration::from_millis(300);

/// One side.
pub struct Side {
    /// `source` or `target`.
    pub role: &'static str,
    pub dialect: &'static dyn Dialect,
    /// How many ranges it is asked for at a time.
    pub pace: Pace,
    database: Database,
    anchor: Mutex<Anchor>,
    watcher: Mutex<Option<Box<dyn Session>>>,
    /// The watch has had a session.
    watched: AtomicBool,
}

/// The session whose state the others share, as long as it is open.
#[derive(Default)]
struct Anchor {
    session: Option<Box<dyn Session>>,
    shared: Option<String>,
}

/// What tells whether somebody has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touch {
    /// Changes with every write.
    pub state: String,
    /// Something is being written, or was a moment ago.
    pub moving: bool,
    /// Stays as it is as long as nobody writes anywhere on the server; empty where the engine has no such thing, because
    /// its `state` is never late.
    pub horizon: String,
    /// Somebody may have written without its having been counted yet.
    pub late: bool,
    /// A session that may have written since the watch began has not ended what it does: what it wrote before is not counted
    /// until it does, however long that takes.
    pub hidden: bool,
}

/// Something that is done in a session, and done again in another one where that one broke.
pub trait Work: Send + Sync {
    /// What comes of it.
    type Out: Send;
    /// Does it from the beginning.
    fn run<'a>(&'a self, session: &'a mut dyn Session) -> BoxFuture<'a, Result<Self::Out, ActionError>>;
}

impl Side {
    /// A side.
    pub fn new(role: &'static str, database: Database, workers: usize) -> Self {
        Self {
            role,
            dialect: named(database.word()),
            pace: Pace::new(workers),
            database,
            anchor: Mutex::default(),
            watcher: Mutex::default(),
            watched: AtomicBool::new(false),
        }
    }

    /// The database in words, without its password.
    pub fn place(&self) -> String {
        self.database.to_string()
    }

    /// What is the same as long as nobody has written, also for another process; nothing where nobody can tell.
    pub fn standing(&self, touch: Option<&Touch>) -> Option<String> {
        // What is being written changes, as some engines tell it, in the same second again.
        if touch.is_some_and(|touch| touch.moving) {
            return None;
        }
        // MySQL forgets at a restart when a table was written to.
        if touch.is_some_and(|touch| touch.state.split(';').any(|table| table.ends_with(" -"))) {
            return None;
        }
        self.database
            .stamp()
            .or_else(|| touch.map(|touch| format!("{} {}", touch.state, touch.horizon)))
    }

    /// Gives up the state that sessions share: the next one takes a new one.
    pub async fn forget(&self) {
        *self.anchor.lock().await = Anchor::default();
    }

    /// A session that sees what every other of this side sees.
    async fn open(&self) -> Result<Box<dyn Session>, ActionError> {
        let Some(share) = self.dialect.share() else {
            return self.begun(None).await;
        };
        let mut anchor = self.anchor.lock().await;
        if let Some(shared) = anchor.shared.clone() {
            // The state is gone with the session that had it: whoever wrote since is seen by the watch.
            match self.begun(Some(&shared)).await {
                Ok(session) => return Ok(session),
                Err(_) => *anchor = Anchor::default(),
            }
        }
        let mut session = self.begun(None).await?;
        let answer = all(&mut *session, share).await?;
        anchor.shared = answer.into_iter().flatten().flatten().next();
        anchor.session = Some(session);
        let shared = anchor.shared.clone();
        self.begun(shared.as_deref()).await
    }

    async fn begun(&self, shared: Option<&str>) -> Result<Box<dyn Session>, ActionError> {
        let mut session = self.database.session().await?;
        for sql in self.dialect.snapshot(shared) {
            all(&mut *session, &sql).await?;
        }
        Ok(session)
    }

    /// Does `work` in the session of `slot`; a session that broke is replaced, and what may go well later is tried again.
    pub async fn perform<W: Work>(
        &self,
        slot: &mut Option<Box<dyn Session>>,
        work: &W,
        cancel: &CancellationToken,
    ) -> Result<W::Out, ActionError> {
        let mut tries = 0;
        loop {
            let error = match Box::pin(self.once(slot, work, cancel)).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            *slot = None;
            tries += 1;
            if error.kind != ActionErrorKind::Transient || tries == TRIES {
                return Err(ActionError {
                    message: match tries {
                        1 => format!("{}: {}", self.role, error.message),
                        tries => format!("{}, after {tries} tries: {}", self.role, error.message),
                    },
                    ..error
                });
            }
            tracing::info!(%error, side = self.role, "a part of a comparison is tried again");
            tokio::select! {
                () = cancel.cancelled() => {}
                () = tokio::time::sleep(BACKOFF * 2_u32.pow(tries - 1)) => {}
            }
        }
    }

    async fn once<W: Work>(
        &self,
        slot: &mut Option<Box<dyn Session>>,
        work: &W,
        cancel: &CancellationToken,
    ) -> Result<W::Out, ActionError> {
        if cancel.is_cancelled() {
            return Err(ActionError::new(
                ActionErrorKind::Cancelled,
                "the comparison was cancelled",
            ));
        }
        let mut session = match slot.take() {
            Some(session) => session,
            None => {
                let opening = tokio::time::timeout(OPENING, self.open());
                tokio::select! {
                    biased;
                    opened = opening => opened.map_err(|_elapsed| ActionError::new(
                        ActionErrorKind::Transient,
                        format!("no session within {} s; the server has gone silent", OPENING.as_secs()),
                    ))??,
                    () = cancel.cancelled() => return Err(ActionError::new(
                        ActionErrorKind::Cancelled,
                        "the comparison was cancelled",
                    )),
                }
            }
        };
        let ender = session.ender();
        // The server ends what takes too long; where it has gone silent nobody else does.
        let patience = self.database.patience() + SILENT;
        let done = until_ended(work.run(&mut *session), ender, cancel, patience).await?;
        *slot = Some(session);
        Ok(done)
    }

    /// What tells at the beginning: once nothing is being written, and what was written before is counted, as far as that
    /// comes within a while.
    pub async fn settled(&self, tables: &[TableName]) -> Option<Touch> {
        let begun = Instant::now();
        let mut touch = self.touch(tables).await?;
        while touch.moving && begun.elapsed() < SETTLING || touch.late && begun.elapsed() < LATE {
            tokio::time::sleep(BEAT).await;
            touch = self.touch(tables).await?;
        }
        Some(touch)
    }

    /// What tells at the end whether somebody has written to `tables` since `before`. A server that counts late is asked until
    /// it has counted, where anybody has written anything at all.
    pub async fn touched_since(&self, tables: &[TableName], before: Option<&Touch>) -> Option<Touch> {
        let mut after = self.touch(tables).await?;
        let Some(before) = before else { return Some(after) };
        let begun = Instant::now();
        while after.late && after.state == before.state && after.horizon != before.horizon && begun.elapsed() < LATE {
            tokio::time::sleep(BEAT).await;
            after = self.touch(tables).await?;
        }
        Some(after)
    }

    /// Keeps the watch from being ended as idle, for ever.
    pub async fn stay(&self, tables: &[TableName]) {
        loop {
            tokio::time::sleep(IDLE).await;
            // What it says is asked again at the end.
            let _now = self.touch(tables).await;
        }
    }

    /// What tells whether somebody has written to `tables` since; nothing where the engine does not tell us.
    pub async fn touch(&self, tables: &[TableName]) -> Option<Touch> {
        let asked = [self.dialect.closed(tables), self.dialect.touched(tables)];
        let mut watcher = self.watcher.lock().await;
        let mut rows = Vec::new();
        for sql in asked.into_iter().flatten() {
            // A session whose answer nobody has waited for is not asked again: it would give that one.
            let mut session = match watcher.take() {
                Some(session) => session,
                // What a session says that began later may leave out what was written before.
                None if self.watched.load(Ordering::Relaxed) && !self.dialect.anew() => return None,
                None => {
                    let opened = tokio::time::timeout(OPENING, self.database.session()).await;
                    opened.ok()?.ok()?
                }
            };
            self.watched.store(true, Ordering::Relaxed);
            let answer = tokio::time::timeout(SILENT, all(&mut *session, &sql)).await;
            let told = answer.ok()?.ok()?;
            *watcher = Some(session);
            // A view, or a table that is not there, is not watched; a file is, as a whole. What is NULL tells nothing.
            let known = told.iter().all(|row| row.first().is_some_and(Option::is_some));
            if known && !told.is_empty() && (self.database.stamp().is_some() || told.len() >= tables.len()) {
                rows = told;
                break;
            }
        }
        if rows.is_empty() {
            return None;
        }
        // A row for each table: no engine's limit of a text cuts them short.
        let cell = |row: &Vec<Option<String>>, at: usize| row.get(at).cloned().flatten().unwrap_or_default();
        let state: Vec<String> = rows.iter().map(|row| cell(row, 0)).collect();
        Some(Touch {
            state: state.join(";"),
            moving: rows.iter().any(|row| yes(&cell(row, 1))),
            horizon: rows.first().map(|row| cell(row, 2)).unwrap_or_default(),
            late: rows.iter().any(|row| yes(&cell(row, 3))),
            hidden: rows.iter().any(|row| yes(&cell(row, 4))),
        })
    }
}

/// Whether an engine says yes.
fn yes(cell: &str) -> bool {
    !matches!(cell, "" | "0" | "f" | "false")
}
