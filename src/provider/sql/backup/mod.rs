//! Backups by the engine itself, an engine a file. Other engines are backed up by commands.

pub mod parameters;
pub mod sqlite;
pub mod sqlserver;
