//! The journal: the event log that is also the audit log. One JSON record a line, chained by SHA-256 over raw bytes,
//! synced before any effect.
//!
//! Architecture invariant: one writer a run, append only. After a failed write nothing is ever written to that segment
//! again and no effect starts. Must not know what an event means; only `verify` knows the rules between gates and
//! effects, by their names.

mod asked;
pub mod chain;
pub mod disk;
pub mod evidence;
pub mod lock;
mod looks;
pub mod pack;
pub mod reader;
pub mod record;
pub mod redact;
pub mod rules;
pub mod verify;
pub mod writer;

pub use lock::RunLock;
pub use pack::BlobRef;
pub use record::{Actor, Draft, Record, Stamp};
pub use redact::Redactor;
pub use writer::{JournalError, JournalWriter};
