//! MySQL and MariaDB.

pub mod connect;
pub mod session;
