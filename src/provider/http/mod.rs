//! HTTP: is the application there, and does it say what it should?

pub mod address;
pub mod check;
mod demands;
mod exchange;
pub mod table;
