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

/// A server's clock, in seconds since 1970, less ours in the middle between asking and hearing.
pub fn ahead(server: f64, asked: DateTime<Utc>, heard: DateTime<Utc>) -> f64 {
    let seconds =
        |at: DateTime<Utc>| Duration::from_micros(u64::try_from(at.timestamp_micros()).unwrap_or(0)).as_secs_f64();
    server - f64::midpoint(seconds(asked), seconds(heard))
}
