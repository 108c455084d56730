//! What a database server says of itself, whichever engine it is.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct About {
    /// Its name and version: `MariaDB 10.11.6`.
    pub product: String,
    /// It follows another server. Nothing where it may not be asked.
    pub replica: Option<bool>,
    /// How far it is behind the other, in seconds; nothing where it does not say.
    pub behind_s: Option<f64>,
    /// It refuses everybody's writes; nothing where it may not be asked.
    pub read_only: Option<bool>,
    pub encrypted: bool,
    /// The server's clock less ours, in seconds.
    pub ahead_s: f64,
    /// What an approval binds.
    pub identity: Value,
}

impl About {
    /// What it is, as far as that stays as it is: `MariaDB 10.11.6, a replica, read-only`.
    pub fn words(&self) -> String {
        let role = match self.replica {
            Some(true) => "a replica",
            Some(false) => "not a replica",
            None => "it may not be asked whether it is a replica",
        };
        let closed = if self.read_only == Some(true) {
            ", read-only"
        } else {
            ""
        };
        format!("{}, {role}{closed}", self.product)
    }
}

/// A server's clock less ours, in seconds, as in the middle between asking and hearing.
pub fn ahead(server: DateTime<Utc>, asked: DateTime<Utc>, heard: DateTime<Utc>) -> f64 {
    let micros = (server - asked)
        .num_microseconds()
        .zip((heard - asked).num_microseconds());
    let micros = micros.map_or(i64::MAX, |(server, took)| server - took / 2);
    let size = Duration::from_micros(micros.unsigned_abs()).as_secs_f64();
    if micros < 0 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_compared_in_the_middle() {
        let at = |millis| DateTime::from_timestamp_millis(millis).unwrap_or_default();
        assert!((ahead(at(5_500), at(1_000), at(2_000)) - 4.0).abs() < 1e-9);
        assert!((ahead(at(500), at(1_000), at(2_000)) + 1.0).abs() < 1e-9);
    }
}
