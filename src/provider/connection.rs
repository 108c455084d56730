//! Connections as providers see them: resolved addresses and credentials, by name. Must not know where they come from.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::aws::AwsTarget;
use super::shell::attempt::Attempts;
use super::sql::server::ServerTarget;
use super::ssh::target::SshTarget;

/// A SQLite database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteTarget {
    pub path: PathBuf,
}

/// A web application.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpTarget {
    /// `http://host:port`
    pub base: String,
    /// A DNS server that knows the host, where the system's resolver does not.
    pub resolver: Option<SocketAddr>,
    /// Sent with every request.
    pub headers: Headers,
    /// A file with PEM certificates that are trusted besides the system's.
    pub ca: Option<PathBuf>,
}

/// Headers whose values may be secrets: they can be sent, and not printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(BTreeMap<String, String>);

impl Headers {
    /// From names and values.
    pub const fn new(headers: BTreeMap<String, String>) -> Self {
        Self(headers)
    }

    /// Names and values, for whoever sends them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What a connection leads to.
#[derive(Debug, Clone)]
pub enum Target {
    Sqlite(SqliteTarget),
    /// A database on a server.
    Server(ServerTarget),
    Aws(AwsTarget),
    Http(HttpTarget),
    Ssh(SshTarget),
}

impl Target {
    /// Its kind as a runbook writes it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Server(target) => target.engine.word(),
            Self::Aws(_) => "aws",
            Self::Http(_) => "http",
            Self::Ssh(_) => "ssh",
        }
    }
}

/// All connections of a run.
#[derive(Debug, Clone, Default)]
pub struct Connections {
    targets: BTreeMap<String, Target>,
    attempts: Option<Attempts>,
    confined: bool,
}

impl Connections {
    /// No connections.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more.
    #[must_use]
    pub fn with(mut self, name: &str, target: Target) -> Self {
        self.targets.insert(name.to_owned(), target);
        self
    }

    /// With the place where commands note their attempts; without one, nothing is known of them after a crash.
    #[must_use]
    pub fn noting(mut self, attempts: Attempts) -> Self {
        self.attempts = Some(attempts);
        self
    }

    /// Nothing but loopback may be reached: this is a lab.
    #[must_use]
    pub const fn confined(mut self) -> Self {
        self.confined = true;
        self
    }

    /// Whether nothing but loopback may be reached.
    pub const fn is_confined(&self) -> bool {
        self.confined
    }

    /// Where commands note their attempts.
    pub const fn attempts(&self) -> Option<&Attempts> {
        self.attempts.as_ref()
    }

    /// Every connection by its name.
    pub fn each(&self) -> impl Iterator<Item = (&str, &Target)> {
        self.targets.iter().map(|(name, target)| (name.as_str(), target))
    }

    /// The connection at a position of `on`.
    pub fn at(&self, on: &[String], position: usize) -> Result<&Target, BuildError> {
        let name = on.get(position).ok_or(BuildError::NoConnection { position })?;
        self.targets
            .get(name)
            .ok_or_else(|| BuildError::Unknown { name: name.clone() })
    }
}

/// Why an action could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    #[error("it names no connection at position {position}; write on:")]
    NoConnection { position: usize },
    #[error("connection {name} is not open in this environment")]
    Unknown { name: String },
    #[error("connection {name} is {kind}; {wanted} is needed")]
    Kind {
        name: String,
        kind: &'static str,
        wanted: &'static str,
    },
    #[error("a parameter does not fit: {0}")]
    Parameter(String),
    #[error("{0} is not available yet")]
    NotAvailable(String),
    #[error("there is no action {0}")]
    NoAction(String),
}
