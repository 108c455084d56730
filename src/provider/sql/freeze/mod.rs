//! Freezing writes and letting them in again, an engine a file.

pub mod mysql;
pub mod mysql_proof;
pub mod parameters;
pub mod postgres;
pub mod postgres_state;
pub mod sqlite;
