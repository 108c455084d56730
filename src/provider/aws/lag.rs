//! How long AWS may take to show what it took. Owns the bounds: before them nobody says of a change whose reply was lost
//! that it did not begin. What AWS answers to a read may be older than a change that it accepted ("eventual consistency";
//! its guides speak of a few minutes).

use std::time::Duration;

/// What is made or changed at once: a snapshot, a setting, the state of a replication task. Nominal, from the intent.
pub const SHOWN: Duration = Duration::from_secs(5 * 60);
/// What one request changes that is answered once it is done: a batch of record sets. So long it may still be on its way.
/// Nominal, from the intent.
pub const SHOWN_AT_ONCE: Duration = Duration::from_secs(60);
/// What RDS begins some time after it was asked: a promotion, a failover. Nominal, from the intent.
pub const SHOWN_LATE: Duration = Duration::from_secs(60 * 60);
