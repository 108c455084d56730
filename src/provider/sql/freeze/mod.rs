//! Freezing writes and letting them in again, an engine a file.

pub mod mysql;
pub mod mysql_proof;
pub mod mysql_state;
pub mod mysql_thaw;
pub mod parameters;
pub mod postgres;
pub mod postgres_state;
pub mod sqlite;
pub mod sqlserver;
pub mod sqlserver_proof;
pub mod sqlserver_state;
