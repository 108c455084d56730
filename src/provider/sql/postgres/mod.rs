//! PostgreSQL.

pub mod connect;
pub mod copy;
pub mod numeric;
pub mod reader;
pub mod session;
pub mod writer;

pub use reader::reader;
