//! MySQL and MariaDB.

pub mod connect;
pub mod session;
pub mod writer;
