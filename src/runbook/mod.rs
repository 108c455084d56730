//! Text to plan: parses a runbook, finds every fault with its place, resolves it for one environment. Pure: files are
//! read by the caller, `now` is passed in, no provider is known but for the catalogue of its actions.

pub mod amendment;
pub mod catalogue;
pub mod digest;
pub mod expression;
pub mod fault;
mod nested;
pub mod node;
pub mod parse;
pub mod plan;
pub mod render;
pub mod schema;
pub mod sources;
pub mod text;

mod action;
mod alternatives;
mod builder;
mod checks;
mod connections;
mod demands;
mod document;
mod environment;
mod expand;
mod gate;
mod graph;
mod import;
mod include;
mod network;
mod phases;
mod poll;
mod rollback;
mod separation;
mod sql_text;
mod step;
mod voters;
mod window;

pub use document::{check, plan};
pub use include::includes;
pub use plan::Plan;
pub use sources::Sources;
