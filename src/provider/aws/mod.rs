//! What all AWS providers share: the way to an account, the classes of errors, how late its answers may be,
//! what is noted of a change that was accepted, the proof of who we are.

pub mod accept;
pub mod classify;
pub mod lag;
pub mod query;
pub mod target;

pub use classify::{Sent, accepted, classify};
pub use target::{AwsTarget, Identity};
