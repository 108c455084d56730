//! What all AWS providers share: the way to an account, the classes of errors, how late its answers may be, the
//! proof of who we are.

pub mod classify;
pub mod lag;
pub mod target;

pub use classify::{Sent, accepted, classify};
pub use target::{AwsTarget, Identity};
