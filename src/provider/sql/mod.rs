//! SQL: queries, assertions, waits, comparisons, statements, the fence row, freezing and thawing writes, backups, on SQLite,
//! PostgreSQL, MySQL, MariaDB and SQL Server; what is changed has its marker.

pub mod about;
pub mod backup;
pub mod change;
pub mod compare;
pub mod database;
pub mod freeze;
pub mod marker;
pub mod mysql;
pub mod objects;
pub mod postgres;
pub mod query;
pub mod reading;
pub mod replicated;
pub mod rows;
pub mod server;
pub mod session;
pub mod sqlite;
pub mod sqlite_session;
pub mod sqlserver;
pub mod statement;
pub mod table;
pub mod tokens;
pub mod writer;
