//! Comparing two databases on real servers: MariaDB, PostgreSQL and SQLite, in every pairing that migrations have.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "../databases/mod.rs"]
mod databases;

mod brake;
mod edges;
mod faults;
mod night;
mod program;
mod seeds;
mod spellings;
mod stage;
mod torture;
