//! SQL engines: what a session may do, what it gives, how it ends. PostgreSQL and MariaDB are real servers.

#[path = "../databases/mod.rs"]
mod databases;

mod sessions;
