//! Comparing what rows do not show: `sql.compare_objects`.

pub mod compare;
pub mod gather;
pub mod inventory;
pub mod mysql;
pub mod postgres;
pub mod sqlite;
pub mod sqlserver;
pub mod sqlserver_instance;
pub mod sqlserver_neutral;
