//! SQL: queries, assertions, waits, statements, the fence row, freezing and thawing writes. SQLite here; other engines
//! join behind the same actions. Every mutation writes its marker row in its own transaction.

pub mod change;
pub mod freeze;
pub mod marker;
pub mod query;
pub mod sqlite;
pub mod table;
