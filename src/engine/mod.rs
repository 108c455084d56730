//! The only shell: performs what the state machine asks for and makes its events durable.
//!
//! Architecture invariant: no effect starts before the event that asks for it is durable. The dispatcher linearises;
//! executors share nothing with it and answer by command.

pub mod handle;

pub use handle::{BriefedAction, Briefing, Feed, Handle, Order, Refused, Update};
