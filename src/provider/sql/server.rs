//! A database server as a connection names it. Must not know which engine's protocol it speaks.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How long a statement may take where the connection says nothing.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How much longer than the server's own limit an answer is waited for.
pub const GRACE: Duration = Duration::from_secs(5);
/// How long connecting may take.
pub const CONNECTING: Duration = Duration::from_secs(10);

/// A server's engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Postgres,
    /// MySQL and MariaDB.
    Mysql,
    /// SQL Server, Azure SQL.
    Sqlserver,
}

impl Engine {
    /// By the word that a runbook, or an address, names it with.
    pub fn named(word: &str) -> Option<Self> {
        match word {
            "postgres" | "postgresql" => Some(Self::Postgres),
            "mysql" | "mariadb" => Some(Self::Mysql),
            "sqlserver" | "mssql" => Some(Self::Sqlserver),
            _ => None,
        }
    }

    /// As a runbook writes it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Sqlserver => "sqlserver",
        }
    }

    /// The port where nothing is said.
    pub const fn port(self) -> u16 {
        match self {
            Self::Postgres => 5432,
            Self::Mysql => 3306,
            Self::Sqlserver => 1433,
        }
    }
}

/// How the way to a server is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protection {
    /// TLS, chain and name verified; a file with PEM certificates that are trusted besides the system's.
    Verified { ca: Option<PathBuf> },
    /// TLS to whoever answers: nobody's name is verified.
    Unverified,
    /// None.
    Off,
}

/// A database on a server.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerTarget {
    pub engine: Engine,
    pub host: String,
    pub port: u16,
    pub database: String,
    pub user: String,
    /// None: the server asks for none.
    pub password: Option<String>,
    /// Of Microsoft Entra, instead of user and password; SQL Server only.
    pub token: Option<String>,
    pub protection: Protection,
    /// How long a statement may take.
    pub patience: Duration,
}

impl fmt::Debug for ServerTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServerTarget").field(&self.to_string()).finish()
    }
}

impl fmt::Display for ServerTarget {
    /// Without password and token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} database {} of {}@{}:{}",
            self.engine.word(),
            self.database,
            self.user,
            self.host,
            self.port
        )
    }
}
