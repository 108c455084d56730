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

impl Meter {
    /// The share of the rows that are expected, from 0 to 1.
    pub fn share(&self) -> f64 {
        let (rows, expected) = (self.rows.load(Ordering::Relaxed), self.expected.load(Ordering::Relaxed));
        if expected == 0 {
            0.0
        } else {
            (rows as f64 / expected as f64).clamp(0.0, 1.0)
        }
    }

    /// How far it is, how fast it goes and how long it will take still, in a line.
    pub fn line(&self, since: Duration) -> String {
        let rows = self.rows.load(Ordering::Relaxed);
        let unlike = match self.unlike.load(Ordering::Relaxed) {
            0 => String::new(),
            some => format!(", {some} parts DIFFER"),
        };
        let left = match self.left(since) {
            Some(left) if left.as_secs() > 0 => format!(", about {} s left", left.as_secs()),
            Some(_) | None => String::new(),
        };
        format!(
            "{} of {} tables, {rows} rows, {:.0} rows/s{unlike}{left}",
            self.tables_done.load(Ordering::Relaxed),
            self.tables.load(Ordering::Relaxed),
            rows as f64 / since.as_secs_f64().max(0.001),
        )
    }

    /// How long it will take still, as far as the engines know their tables' sizes.
    fn left(&self, since: Duration) -> Option<Duration> {
        let rows = self.rows.load(Ordering::Relaxed);
        let left = self.expected.load(Ordering::Relaxed).checked_sub(rows)?;
        let seconds = since.as_secs_f64() * left as f64 / rows as f64;
        Duration::try_from_secs_f64(seconds).ok()
    }
}
