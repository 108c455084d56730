//! The only shell: performs what the state machine asks for and makes its events durable.
//!
//! Architecture invariant: no effect starts before the event that asks for it is durable. The dispatcher linearises;
//! executors share nothing with it and answer by command.

pub mod amend;
pub mod clock;
pub mod dispatcher;
pub mod executor;
pub mod facts;
mod fitting;
pub mod handle;
pub mod record;

pub use handle::{BriefedAction, Briefing, Feed, Handle, Order, Refused, Update};
