//! AWS DMS: start, stop, resume a replication task; wait until it has caught up, wait until it is drained; read its
//! validation. State
//! guarded: what was bound before an effect is compared with what is.

pub mod control;
pub mod lag;
pub mod table;
pub mod tables;
pub mod task;
pub mod validation;
pub mod wait;
