//! The cloud's state: one SQLite file, every progress computed from stored start times, so that it goes on while
//! nobody looks.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};

use super::endpoints::{OLD, RECORD};
use super::fault::Fault;
use super::world::LabError;
use super::zone::Set;

/// Nominal durations.
pub const SNAPSHOT: Duration = Duration::from_secs(60);
/// See [`SNAPSHOT`].
pub const FULL_LOAD: Duration = Duration::from_secs(60);
/// See [`SNAPSHOT`].
pub const IN_SYNC: Duration = Duration::from_secs(30);
/// See [`SNAPSHOT`].
pub const DMS_START: Duration = Duration::from_secs(20);
/// See [`SNAPSHOT`].
pub const DMS_STOP: Duration = Duration::from_secs(10);

const SCHEMA: &str = "
    create table if not exists kv(key text primary key, value text);
    create table if not exists snapshots(name text primary key, instance text, tags text, created_ms integer);
    create table if not exists databases(kind text, name text, state text, primary key(kind, name));
    create table if not exists changes(seq integer primary key, id text, comment text, submitted_ms integer, zone text);
    create table if not exists used(fault text primary key);";

/// The state.
pub struct Cloud {
    db: Mutex<Connection>,
    speed: f64,
    faults: BTreeSet<Fault>,
}

impl Cloud {
    /// Opens or makes the state of a folder.
    pub fn open(folder: &Path, speed: f64, faults: &[Fault]) -> Result<Self, LabError> {
        let db = Connection::open(folder.join("cloud.db"))?;
        db.pragma_update(None, "journal_mode", "wal")?;
        db.busy_timeout(Duration::from_secs(5))?;
        db.execute_batch(SCHEMA)?;
        let zone = serde_json::to_string(&[Set {
            name: RECORD.to_owned(),
            kind: "A".to_owned(),
            identifier: None,
            weight: None,
            ttl: Some(300),
            values: vec![OLD.to_owned()],
            alias: None,
        }])?;
        db.execute("insert or ignore into changes values (0, 'C0', '', 0, ?)", [zone])?;
        let cloud = Self {
            db: Mutex::new(db),
            speed,
            faults: faults.iter().copied().collect(),
        };
        super::rds::seed(&cloud)?;
        Ok(cloud)
    }

    /// Works on the database.
    pub fn with<T>(&self, work: impl FnOnce(&Connection) -> Result<T, LabError>) -> Result<T, LabError> {
        work(&self.db.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a fault is asked for.
    pub fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    /// Whether a fault that happens once happens now.
    pub fn use_up(&self, fault: Fault, what: &str) -> Result<bool, LabError> {
        if !self.has(fault) {
            return Ok(false);
        }
        let name = format!("{fault} {what}");
        self.with(|db| Ok(db.execute("insert or ignore into used values (?)", [name])? > 0))
    }

    /// A value that was kept.
    pub fn get(&self, key: &str) -> Result<Option<i64>, LabError> {
        let value: Option<String> = self.with(|db| {
            Ok(db
                .query_row("select value from kv where key = ?", [key], |row| row.get(0))
                .optional()?)
        })?;
        Ok(value.and_then(|text| text.parse().ok()))
    }

    /// Keeps a value.
    pub fn set(&self, key: &str, value: i64) -> Result<(), LabError> {
        self.with(|db| {
            db.execute("insert or replace into kv values (?, ?)", (key, value.to_string()))?;
            Ok(())
        })
    }

    /// A nominal duration in real milliseconds.
    pub fn scaled_ms(&self, nominal: Duration) -> i64 {
        i64::try_from(nominal.div_f64(self.speed.max(1.0)).as_millis()).unwrap_or(i64::MAX)
    }

    /// How much of a nominal duration has passed since a moment: 0 to 1.
    pub fn share(&self, since_ms: i64, nominal: Duration) -> f64 {
        let whole = self.scaled_ms(nominal).max(1);
        let passed = (now_ms() - since_ms).clamp(0, whole);
        // Both are small enough to be exact.
        passed as f64 / whole as f64
    }

    /// How much faster than nominal.
    pub const fn speed(&self) -> f64 {
        self.speed
    }
}

/// Milliseconds since the epoch.
pub fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}
