//! HTTP: is the application there, and does it say what it should?

pub mod check;
pub mod table;
