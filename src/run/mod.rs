//! The pure state machine of a run: `decide` turns a command into events, `apply` folds an event into the state,
//! `effects` says what an event asks of the world. Must not know tokio, clocks, I/O or randomness: `now` is passed in.
//!
//! Architecture invariant: nothing else holds truth about a run. A run is a fold over its events.

pub mod amend;
pub mod apply;
mod attempt;
pub mod command;
pub mod decide;
pub mod effect;
pub mod event;
pub mod facts;
mod forward;
pub mod gate;
pub mod poll;
pub mod proof;
mod question;
mod quorum;
mod seat;
pub mod shared;
mod skip;
pub mod state;
pub mod strict;
mod transition;
pub mod unwind;

pub use apply::{Illegal, apply, fold};
pub use command::Command;
pub use decide::{Rejected, decide};
pub use effect::{Effect, effects};
pub use event::Event;
pub use facts::Facts;
pub use state::RunState;
