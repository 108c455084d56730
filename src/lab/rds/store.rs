//! Where instances and clusters are kept, and how a change goes on by itself: a list of states with the nominal second
//! until which each lasts.

use rusqlite::OptionalExtension;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::lab::cloud::{Cloud, now_ms};
use crate::lab::endpoints::{ACCOUNT, REGION};
use crate::lab::world::LabError;

/// The namespace of every answer.
pub const NAMESPACE: &str = "http://rds.amazonaws.com/doc/2014-10-31/";

/// An ARN of RDS.
pub fn arn(kind: &str, name: &str) -> String {
    format!("arn:aws:rds:{REGION}:{ACCOUNT}:{kind}:{name}")
}

/// Whether RDS takes a name: letters, digits and single hyphens, a letter first.
pub fn is_name(name: &str) -> bool {
    name.starts_with(|ch: char| ch.is_ascii_alphabetic())
        && name.len() <= 255
        && name.chars().all(|ch| ch.is_ascii_alphanumeric() || ch == '-')
        && !name.contains("--")
        && !name.ends_with('-')
}

/// What is kept under a kind and a name.
pub fn load<T: DeserializeOwned>(cloud: &Cloud, kind: &str, name: &str) -> Result<Option<T>, LabError> {
    let text: Option<String> = cloud.with(|db| {
        let sql = "select state from databases where kind = ? and name = ?";
        Ok(db.query_row(sql, [kind, name], |row| row.get(0)).optional()?)
    })?;
    Ok(text.map(|text| serde_json::from_str(&text)).transpose()?)
}

/// Keeps it.
pub fn save<T: Serialize>(cloud: &Cloud, kind: &str, name: &str, state: &T) -> Result<(), LabError> {
    let text = serde_json::to_string(state)?;
    cloud.with(|db| {
        let sql = "insert or replace into databases values (?, ?, ?)";
        db.execute(sql, [kind, name, &text])?;
        Ok(())
    })
}

/// Forgets it.
pub fn forget(cloud: &Cloud, kind: &str, name: &str) -> Result<(), LabError> {
    cloud.with(|db| {
        db.execute("delete from databases where kind = ? and name = ?", [kind, name])?;
        Ok(())
    })
}

/// Every name of a kind.
pub fn names(cloud: &Cloud, kind: &str) -> Result<Vec<String>, LabError> {
    cloud.with(|db| {
        let mut statement = db.prepare("select name from databases where kind = ? order by name")?;
        let rows = statement.query_map([kind], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    })
}

/// The state of a change that began at a moment; nothing once it is through.
pub fn stage(cloud: &Cloud, since_ms: i64, stages: &[(f64, &'static str)]) -> Option<&'static str> {
    // Times of a lab are small enough to be exact.
    let seconds = (now_ms() - since_ms).max(0) as f64 / 1000.0 * cloud.speed().max(1.0);
    stages
        .iter()
        .find(|(until, _)| seconds < *until)
        .map(|(_, status)| *status)
}
