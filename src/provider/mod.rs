//! What a runbook can do. A folder per provider with its table of actions; the engine knows only the trait.
//!
//! Architecture invariant: only this module names AWS, SQL drivers, SSH, DNS and HTTP clients. A provider never knows the
//! lab: what works there works elsewhere, through the same clients.

pub mod action;
pub mod again;
pub mod aws;
pub mod causes;
pub mod cloudwatch;
pub mod connection;
pub mod dms;
pub mod dns;
pub mod expectation;
pub mod http;
pub mod manual;
mod output;
pub mod preflight;
pub mod probe;
pub mod rds;
pub mod reach;
pub mod registry;
pub mod shell;
pub mod span;
pub mod sql;
pub mod ssh;
pub mod tcp;
pub mod tls;

pub use action::Action;
pub use connection::{Connections, HttpTarget, SqliteTarget, Target};
pub use registry::{Request, build, catalogue};
