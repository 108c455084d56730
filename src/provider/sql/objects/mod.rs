//! Comparing what rows do not show: `sql.compare_objects`.

pub mod compare;
pub mod inventory;
pub mod mysql;
pub mod postgres;
pub mod sqlite;
