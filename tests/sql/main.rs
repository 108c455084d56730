//! SQL engines: what a session may do, what it gives, how it ends; what is changed, once; how writes are frozen.
//! PostgreSQL and MariaDB are real servers.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "../support/cx.rs"]
mod cx;
#[path = "../databases/mod.rs"]
mod databases;
#[path = "../mssql/mod.rs"]
mod mssql;
#[path = "../support/mod.rs"]
mod support;

mod about;
mod backup;
mod bench;
mod ends;
mod freeze;
mod mysql_packets;
mod night;
mod objects;
mod params;
mod program;
mod refusals;
mod replica;
mod sessions;
mod sqlserver;
mod sqlserver_changes;
mod sqlserver_freeze;
mod sqlserver_night;
mod sqlserver_objects;
mod standby;
mod tds_front;
mod tls;
mod types;
mod writes;

use pointsman::provider::action::ActionError;
use pointsman::provider::sql::database::Database;
use pointsman::provider::sql::rows::Rows;
use pointsman::provider::sql::server::ServerTarget;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// What a step's read gives.
async fn rows(target: &ServerTarget, sql: &str, params: &[Value]) -> Result<Rows, ActionError> {
    let database = Database::Server(target.clone());
    database.rows(sql, params, &CancellationToken::new()).await
}

/// The first row of it.
async fn first(target: &ServerTarget, sql: &str, params: &[Value]) -> Vec<Value> {
    let mut rows = rows(target, sql, params)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    assert_eq!(rows.count, 1, "{sql}");
    rows.kept.remove(0)
}
