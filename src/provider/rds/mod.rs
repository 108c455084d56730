//! RDS: snapshots under a name that is ours, adopted by tag, never deleted.

pub mod snapshot;
pub mod table;
