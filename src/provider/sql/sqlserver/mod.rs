//! SQL Server and Azure SQL.

pub mod connect;
pub mod errors;
pub mod reader;
pub mod session;
pub mod statement;
pub mod values;
pub mod writer;

pub use reader::reader;
