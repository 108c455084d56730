//! Comparing two databases on real servers: MariaDB, PostgreSQL and SQLite, in every pairing that migrations have;
//! and a peer that speaks SQL Server's protocol.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "../databases/mod.rs"]
mod databases;
#[path = "../mssql/mod.rs"]
mod mssql;

mod brake;
mod edges;
mod faults;
mod night;
mod program;
mod seeds;
mod spellings;
mod sqlserver;
mod stage;
mod torture;
