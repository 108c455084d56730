//! How far a comparison is, for people. Pure.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How far it is, for people.
#[derive(Debug, Default)]
pub struct Meter {
    pub rows: AtomicU64,
    pub expected: AtomicU64,
    pub tables: AtomicU64,
    pub tables_done: AtomicU64,
    pub unlike: AtomicU64,
}

/// How long the estimate says that it will take still.
pub fn eta(meter: &Meter, since: Duration) -> Option<Duration> {
    let (rows, expected) = (
        meter.rows.load(Ordering::Relaxed),
        meter.expected.load(Ordering::Relaxed),
    );
    let left = expected.checked_sub(rows)?;
    (rows > 0).then(|| since.mul_f64(left as f64 / rows as f64))
}
