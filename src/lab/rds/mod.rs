//! RDS as far as it is called (API 2014-10-31): instances, clusters and snapshots with AWS's own progressions of states
//! and its refusals. Every state is computed from stored times.

pub mod answer;
pub mod cluster;
pub mod instance;
pub mod snapshot;
pub mod store;

pub use answer::{answer, seed};
