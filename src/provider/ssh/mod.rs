//! Commands of other hosts over SSH: a verified host key before anything, a keeper on the other side that outlives the
//! connection, and never a second beginning of the same attempt.

pub mod command;
mod errand;
pub(in crate::provider) mod hosts;
mod look;
mod quote;
mod script;
pub(in crate::provider) mod session;
pub mod table;
mod talk;
pub mod target;
