//! SQL engines: what a session may do, what it gives, how it ends; what is changed, once; how writes are frozen.
//! PostgreSQL and MariaDB are real servers.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "../databases/mod.rs"]
mod databases;
#[path = "../support/mod.rs"]
mod support;

mod bench;
mod freeze;
mod night;
mod objects;
mod sessions;
mod writes;
