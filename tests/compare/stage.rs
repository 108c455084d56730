//! Two sides with the same table, whatever their engines, and what a comparison says of them.

use std::path::PathBuf;
use std::sync::Arc;

use pointsman::provider::connection::SqliteTarget;
use pointsman::provider::sql::compare::all::{Choice, Manner, compare};
use pointsman::provider::sql::compare::ledger::Forgetful;
use pointsman::provider::sql::compare::outcome::{Difference, Level, Outcome};
use pointsman::provider::sql::compare::wish::Wish;
use pointsman::provider::sql::compare::work::Hashing;
use pointsman::provider::sql::database::Database as Place;
use pointsman::provider::sql::server::ServerTarget;
use tokio_util::sync::CancellationToken;

use crate::databases::{self, Database};
use crate::mssql;

/// Engines that are compared with one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Maria,
    Postgres,
    Sqlite,
    /// A peer that speaks its protocol, behind a script.
    Sqlserver,
}

pub const PAIRS: [(Kind, Kind); 5] = [
    (Kind::Maria, Kind::Maria),
    (Kind::Maria, Kind::Postgres),
    (Kind::Postgres, Kind::Sqlite),
    (Kind::Sqlite, Kind::Maria),
    (Kind::Postgres, Kind::Postgres),
];

/// A value as every engine can be told it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    /// A number, or whatever is written without quotes.
    Plain(String),
    Text(String),
    Bytes(Vec<u8>),
}

impl Value {
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    pub fn plain(text: impl ToString) -> Self {
        Self::Plain(text.to_string())
    }

    pub fn literal(&self, kind: Kind) -> String {
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
        match (self, kind) {
            (Self::Null, _) => "null".to_owned(),
            (Self::Plain(text), _) => text.clone(),
            (Self::Text(text), Kind::Maria) => format!("convert(x'{}' using utf8mb4)", hex(text.as_bytes())),
            (Self::Text(text), Kind::Postgres | Kind::Sqlite) => format!("'{}'", text.replace('\'', "''")),
            (Self::Text(text), Kind::Sqlserver) => format!("N'{}'", text.replace('\'', "''")),
            (Self::Bytes(bytes), Kind::Sqlserver) => format!("0x{}", hex(bytes)),
            (Self::Bytes(bytes), Kind::Postgres) => format!("'\\x{}'", hex(bytes)),
            (Self::Bytes(bytes), Kind::Maria | Kind::Sqlite) => format!("x'{}'", hex(bytes)),
        }
    }
}

enum Owner<'a> {
    Kept(&'a Database),
    Own(Box<Database>),
}

impl Owner<'_> {
    fn get(&self) -> &Database {
        match self {
            Self::Kept(database) => database,
            Self::Own(database) => database,
        }
    }
}

/// One side's database.
pub enum Base {
    Server {
        target: ServerTarget,
        /// None where each writing has a session of its own.
        kept: Option<Box<Database>>,
        kind: Kind,
        _server: Arc<databases::Server>,
    },
    File {
        path: PathBuf,
        _folder: tempfile::TempDir,
    },
    Peer(mssql::Stage),
}

impl Base {
    /// The session that writes. PostgreSQL counts what a session wrote when it ends, or a while later: each has its own.
    async fn owner(&self) -> Owner<'_> {
        match self {
            Self::Server { kept: Some(kept), .. } => Owner::Kept(kept),
            Self::Server { .. } => Owner::Own(Box::new(self.session().await)),
            Self::File { .. } | Self::Peer(_) => panic!("another test's"),
        }
    }

    /// A session that stays.
    pub async fn session(&self) -> Database {
        match self {
            Self::Server { target, .. } => Database::open(target.clone()).await,
            Self::File { .. } | Self::Peer(_) => panic!("another test's"),
        }
    }

    /// A new one; nothing where its server cannot be had and need not be.
    pub async fn new(kind: Kind) -> Option<Self> {
        Some(match kind {
            Kind::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("base.db");
                rusqlite::Connection::open(&path)
                    .unwrap()
                    .execute_batch("pragma journal_mode = wal")
                    .unwrap();
                Self::File { path, _folder: folder }
            }
            Kind::Sqlserver => Self::Peer(mssql::Stage::new(Arc::new(crate::sqlserver::Told::default()))?),
            Kind::Maria | Kind::Postgres => {
                let server = if kind == Kind::Maria {
                    databases::mariadb()
                } else {
                    databases::postgres()
                }?;
                {
                    let database = Box::new(server.database().await);
                    Self::Server {
                        target: database.target.clone(),
                        kept: (kind == Kind::Maria).then_some(database),
                        kind,
                        _server: server,
                    }
                }
            }
        })
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::Server { kind, .. } => *kind,
            Self::File { .. } => Kind::Sqlite,
            Self::Peer(_) => Kind::Sqlserver,
        }
    }

    pub async fn run(&self, sql: &str) {
        match self {
            Self::Server { .. } => self.owner().await.get().run(sql).await,
            Self::Peer(stage) => stage.run(sql).await,
            Self::File { path, .. } => {
                let session = rusqlite::Connection::open(path).unwrap();
                session
                    .execute_batch(sql)
                    .unwrap_or_else(|error| panic!("{sql}: {error}"));
            }
        }
    }

    /// The first cell of the first row.
    pub async fn text(&self, sql: &str) -> Option<String> {
        self.owner().await.get().text(sql).await
    }

    /// Executes a statement that may be refused; whether it was not.
    pub async fn attempt(&self, sql: &str) -> bool {
        self.owner().await.get().attempt(sql).await
    }

    pub async fn insert(&self, table: &str, rows: &[Vec<Value>]) {
        for rows in rows.chunks(500) {
            let row = |row: &Vec<Value>| {
                let values: Vec<String> = row.iter().map(|value| value.literal(self.kind())).collect();
                format!("({})", values.join(","))
            };
            let rows: Vec<String> = rows.iter().map(row).collect();
            self.run(&format!("insert into {table} values {}", rows.join(",")))
                .await;
        }
    }

    /// Has its engine count its rows, as engines do by themselves after a while.
    pub async fn analyze(&self, table: &str) {
        match self.kind() {
            Kind::Maria => self.run(&format!("analyze table {table}")).await,
            Kind::Postgres => self.run(&format!("analyze {table}")).await,
            Kind::Sqlite | Kind::Sqlserver => {}
        }
    }

    pub fn place(&self) -> Place {
        match self {
            Self::Server { target, .. } => Place::Server(target.clone()),
            Self::Peer(stage) => Place::Server(stage.target.clone()),
            Self::File { path, .. } => Place::Sqlite(SqliteTarget { path: path.clone() }),
        }
    }

    pub fn address(&self) -> String {
        match self {
            Self::Server { target, .. } => databases::url(target),
            Self::Peer(stage) => databases::url(&stage.target),
            Self::File { path, .. } => format!("sqlite:{}", path.display()),
        }
    }
}

/// Compares tables of two sides.
pub async fn told(source: &Base, target: &Base, wishes: Vec<Wish>, level: Level) -> Outcome {
    told_by(source, target, wishes, level, Hashing::default()).await
}

/// Compares tables of two sides, hashed by whom it is said.
pub async fn told_by(source: &Base, target: &Base, wishes: Vec<Wish>, level: Level, hashing: Hashing) -> Outcome {
    let choice = Choice {
        wishes,
        patterns: Vec::new(),
        exclude: Vec::new(),
    };
    let manner = Manner {
        level,
        show_values: true,
        workers: 2,
        hashing,
        cancel: CancellationToken::new(),
        meter: Arc::default(),
        ledger: Box::new(Forgetful),
        brake: Arc::default(),
    };
    Box::pin(compare(source.place(), target.place(), &choice, manner))
        .await
        .unwrap()
}

/// Rows that differ, in a line each: the kind, the key, the columns.
pub fn lines(differences: &[Difference]) -> Vec<String> {
    let line = |found: &Difference| {
        let key: Vec<String> = found.key.iter().map(ToString::to_string).collect();
        format!("{} {} {}", found.kind.word(), key.join(","), found.columns.join(","))
    };
    let mut lines: Vec<String> = differences
        .iter()
        .map(|found| line(found).trim_end().to_owned())
        .collect();
    lines.sort();
    lines
}
