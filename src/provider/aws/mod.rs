//! What all AWS providers share: the way to an account, the classes of errors, the proof of who we are.

pub mod classify;
pub mod query;
pub mod target;

pub use classify::{Sent, accepted, classify};
pub use target::{AwsTarget, Identity};
