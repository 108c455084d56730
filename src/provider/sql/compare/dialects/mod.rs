//! The engines' dialects, a file each.

mod mysql;
mod postgres;
mod sqlite;
mod sqlserver;
mod sqlserver_catalogue;

pub use mysql::Mysql;
pub use postgres::Postgres;
pub use sqlite::Sqlite;
pub use sqlserver::Sqlserver;
