//! MySQL and MariaDB.

pub mod connect;
pub mod errors;
pub mod login;
pub mod packets;
pub mod reader;
pub mod session;
pub mod values;
pub mod writer;

pub use reader::reader;
