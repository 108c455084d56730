//! A database of any engine, as far as reads go: the only place that knows which engines there are.

use std::fmt;
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::provider::action::{ActionError, ActionErrorKind};
use crate::provider::connection::SqliteTarget;

use super::about::About;
use super::mysql;
use super::postgres;
use super::reading::reads;
use super::rows::Rows;
use super::server::{Engine, ServerTarget};
use super::session::Session;
use super::sqlserver;
use super::{sqlite, sqlite_session};

/// How long a statement that reads a whole table may take.
const SCANNING: Duration = Duration::from_secs(30 * 60);

/// A database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    Sqlite(SqliteTarget),
    Server(ServerTarget),
}

impl fmt::Display for Database {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(target) => write!(f, "sqlite database {}", target.path.display()),
            Self::Server(target) => target.fmt(f),
        }
    }
}

/// What was found before anything is read.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// What an approval binds.
    pub identity: Value,
    /// Lines for people.
    pub facts: Vec<String>,
}

/// A session of reads on a server.
pub enum Reader {
    Postgres(postgres::reader::Reader),
    Mysql(mysql::reader::Reader),
    Sqlserver(Box<sqlserver::reader::Reader>),
}

impl Reader {
    /// Connects, and has the server close the session to writes where its engine can.
    pub async fn open(target: &ServerTarget) -> Result<Self, ActionError> {
        match target.engine {
            Engine::Postgres => postgres::reader(target).await.map(Self::Postgres),
            Engine::Mysql => mysql::reader(target).await.map(Self::Mysql),
            Engine::Sqlserver => sqlserver::reader(target, true)
                .await
                .map(|reader| Self::Sqlserver(Box::new(reader))),
        }
    }

    /// What the server says of itself.
    pub async fn about(&mut self) -> Result<About, ActionError> {
        match self {
            Self::Postgres(reader) => reader.about().await,
            Self::Mysql(reader) => reader.about().await,
            Self::Sqlserver(reader) => reader.about().await,
        }
    }

    async fn prepare(&mut self, sql: &str, params: &[Value]) -> Result<(), ActionError> {
        match self {
            Self::Postgres(reader) => reader.prepare(sql, params.len()).await,
            Self::Mysql(reader) => reader.prepare(sql, params.len()).await,
            Self::Sqlserver(reader) => reader.prepare(sql, params).await,
        }
    }

    async fn rows(&mut self, sql: &str, params: &[Value], cancel: &CancellationToken) -> Result<Rows, ActionError> {
        match self {
            Self::Postgres(reader) => reader.rows(sql, params, cancel).await,
            Self::Mysql(reader) => reader.rows(sql, params, cancel).await,
            Self::Sqlserver(reader) => reader.rows(sql, params, cancel).await,
        }
    }
}

impl Database {
    /// The engine as a runbook writes it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Server(target) => target.engine.word(),
        }
    }

    /// With statements that may take as long as reading a whole table does.
    #[must_use]
    pub fn patient(mut self) -> Self {
        if let Self::Server(target) = &mut self {
            target.patience = target.patience.max(SCANNING);
        }
        self
    }

    /// How long the engine lets a statement take.
    pub const fn patience(&self) -> Duration {
        match self {
            Self::Server(target) => target.patience,
            Self::Sqlite(_) => SCANNING,
        }
    }

    /// What changes when a database that is a file is written to; nothing for all others.
    pub fn stamp(&self) -> Option<String> {
        let Self::Sqlite(target) = self else { return None };
        let stamp = |path: &std::path::Path| {
            let about = std::fs::metadata(path).ok()?;
            let changed = about.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
            Some(format!("{} {}", about.len(), changed.as_nanos()))
        };
        let log = std::path::PathBuf::from(format!("{}-wal", target.path.display()));
        Some(format!("{} {}", stamp(&target.path)?, stamp(&log).unwrap_or_default()))
    }

    /// A session that reads rows as text.
    pub async fn session(&self) -> Result<Box<dyn Session>, ActionError> {
        Ok(match self {
            Self::Sqlite(target) => Box::new(sqlite_session::session(target).await?),
            Self::Server(target) => match target.engine {
                Engine::Postgres => Box::new(postgres::session::session(target).await?),
                Engine::Mysql => Box::new(mysql::session::session(target).await?),
                Engine::Sqlserver => Box::new(sqlserver::session::session(target).await?),
            },
        })
    }

    /// What keeps a read from writing, in a few words.
    pub const fn guard(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "read-only session",
            Self::Server(target) => match target.engine {
                Engine::Postgres | Engine::Mysql => "read-only session",
                Engine::Sqlserver => "one select, rolled back",
            },
        }
    }

    /// Reads rows by one statement, in a session that the engine closes to writes.
    pub async fn rows(&self, sql: &str, params: &[Value], cancel: &CancellationToken) -> Result<Rows, ActionError> {
        match self {
            Self::Sqlite(target) => {
                let (target, sql, params) = (target.clone(), sql.to_owned(), params.to_vec());
                sqlite::blocking(move || sqlite::rows(&sqlite::reader(&target)?, &sql, &params)).await
            }
            Self::Server(target) => {
                reads(target.engine, sql)?;
                Reader::open(target).await?.rows(sql, params, cancel).await
            }
        }
    }

    /// Whether the engine takes `sql` as a read with such parameters; it is not executed.
    pub async fn understands(&self, sql: &str, params: &[Value]) -> Result<Known, ActionError> {
        match self {
            Self::Sqlite(target) => {
                let (own, sql) = (target.clone(), sql.to_owned());
                sqlite::blocking(move || {
                    let session = sqlite::reader(&own)?;
                    let statement = session
                        .prepare(&sql)
                        .map_err(|error| sqlite::failed(&error, "the query"))?;
                    if !statement.readonly() {
                        let words = "the statement would write; use sql.exec for what changes something";
                        return Err(ActionError::new(ActionErrorKind::Permanent, words));
                    }
                    Ok(())
                })
                .await?;
                Ok(Known {
                    identity: sqlite::identity(target),
                    facts: Vec::new(),
                })
            }
            Self::Server(target) => {
                reads(target.engine, sql)?;
                let mut session = Reader::open(target).await?;
                let about = session.about().await?;
                session.prepare(sql, params).await?;
                Ok(Known {
                    facts: vec![about.words()],
                    identity: about.identity,
                })
            }
        }
    }
}
