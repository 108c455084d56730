//! Runs actions for the dispatcher, one task an errand, and answers by command. Shares nothing with the dispatcher:
//! an errand brings a copy of the state it needs. Must not write the journal.

mod act;
mod bind;
mod check;
mod doer;
mod earlier;
mod live;
mod observe;
mod patience;
mod proof;
mod take_back;
mod unwinding;

pub use doer::{Builder, Errand, Executor, Setup};
pub use proof::Probes;
