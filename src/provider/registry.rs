//! Finds an action by its name. The only place that lists the providers.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::runbook::catalogue::{ActionSpec, Catalogue};

use super::action::Action;
use super::aws::AwsTarget;
use super::connection::{BuildError, Connections, HttpTarget, Target};
use super::sql::database::Database;
use super::ssh::target::SshTarget;
use super::{cloudwatch, dms, dns, http, manual, rds, shell, sql, ssh, tcp};

/// What a plan asks for, everything resolved.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub uses: &'a str,
    pub on: &'a [String],
    pub with: &'a Value,
}

const TABLES: &[&[ActionSpec]] = &[
    rds::table::ACTIONS,
    dms::table::ACTIONS,
    cloudwatch::table::ACTIONS,
    sql::table::ACTIONS,
    dns::table::ACTIONS,
    http::table::ACTIONS,
    tcp::table::ACTIONS,
    shell::table::ACTIONS,
    ssh::table::ACTIONS,
    manual::table::ACTIONS,
];

/// Every action that this version knows.
pub const fn catalogue() -> Catalogue {
    Catalogue { actions: TABLES }
}

/// Makes an action.
pub fn build(request: &Request<'_>, connections: &Connections) -> Result<Box<dyn Action>, BuildError> {
    let spec = catalogue()
        .find(request.uses)
        .ok_or_else(|| BuildError::NoAction(request.uses.to_owned()))?;
    if !spec.available {
        return Err(BuildError::NotAvailable(request.uses.to_owned()));
    }
    match request.uses.split('.').next() {
        Some("rds") => rds::table::build(request, connections),
        Some("cloudwatch") => cloudwatch::table::build(request, connections),
        Some("dms") => dms::table::build(request, connections),
        Some("sql") => sql::table::build(request, connections),
        Some("dns") => dns::table::build(request, connections),
        Some("http") => http::table::build(request, connections),
        Some("tcp") => tcp::table::build(request, connections),
        Some("shell") => shell::table::build(request, connections),
        Some("ssh") => ssh::table::build(request, connections),
        Some("manual") => manual::table::build(request),
        _ => Err(BuildError::NoAction(request.uses.to_owned())),
    }
}

impl Request<'_> {
    /// The parameters as a strict type.
    pub fn parameters<T: DeserializeOwned>(&self) -> Result<T, BuildError> {
        serde_json::from_value(self.with.clone()).map_err(|error| BuildError::Parameter(error.to_string()))
    }

    fn kind(&self, position: usize, target: &Target, wanted: &'static str) -> BuildError {
        let name = self.on.get(position).cloned().unwrap_or_default();
        BuildError::Kind {
            name,
            kind: target.kind(),
            wanted,
        }
    }

    /// The AWS connection at a position.
    pub fn aws(&self, connections: &Connections, position: usize) -> Result<AwsTarget, BuildError> {
        match connections.at(self.on, position)? {
            Target::Aws(target) => Ok(target.clone()),
            other @ (Target::Sqlite(_) | Target::Server(_) | Target::Http(_) | Target::Ssh(_)) => {
                Err(self.kind(position, other, "aws"))
            }
        }
    }

    /// The database at a position, of any engine.
    pub fn database(&self, connections: &Connections, position: usize) -> Result<Database, BuildError> {
        match connections.at(self.on, position)? {
            Target::Sqlite(target) => Ok(Database::Sqlite(target.clone())),
            Target::Server(target) => Ok(Database::Server(target.clone())),
            other @ (Target::Aws(_) | Target::Http(_) | Target::Ssh(_)) => {
                Err(self.kind(position, other, "a SQL engine"))
            }
        }
    }

    /// The HTTP connection, where one is named.
    pub fn http(&self, connections: &Connections) -> Result<Option<HttpTarget>, BuildError> {
        if self.on.is_empty() {
            return Ok(None);
        }
        match connections.at(self.on, 0)? {
            Target::Http(target) => Ok(Some(target.clone())),
            other @ (Target::Aws(_) | Target::Sqlite(_) | Target::Server(_) | Target::Ssh(_)) => {
                Err(self.kind(0, other, "http"))
            }
        }
    }

    /// The SSH connection.
    pub fn ssh(&self, connections: &Connections) -> Result<SshTarget, BuildError> {
        match connections.at(self.on, 0)? {
            Target::Ssh(target) => Ok(target.clone()),
            other @ (Target::Aws(_) | Target::Sqlite(_) | Target::Server(_) | Target::Http(_)) => {
                Err(self.kind(0, other, "ssh"))
            }
        }
    }
}
