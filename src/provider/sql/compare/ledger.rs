//! Ranges that are compared already, so that a comparison that was ended in the middle goes on where it was. A range counts
//! only for the very same question of the very same state of both databases.

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::provider::action::ActionError;

use super::cursor::Range;
use super::outcome::Difference;
use super::row::Sum;

/// Ranges with more differences than that are compared again.
pub const KEPT: usize = 100;

/// A range that is compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The question and the state that it was asked of.
    pub of: String,
    pub table: String,
    pub low: i128,
    pub high: i128,
    #[serde(default)]
    pub first: bool,
    #[serde(default)]
    pub last: bool,
    /// Rows and sums of both sides.
    pub source: (u64, String),
    pub target: (u64, String),
    #[serde(default)]
    pub unlike: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
}

impl Entry {
    /// Of a range.
    pub fn new(
        of: &str,
        table: &str,
        range: &Range,
        sums: (Sum, Sum),
        unlike: u64,
        differences: Vec<Difference>,
    ) -> Self {
        let sum = |sum: Sum| (sum.rows, format!("{:016x}", sum.hash));
        Self {
            of: of.to_owned(),
            table: table.to_owned(),
            low: range.low,
            high: range.high,
            first: range.first,
            last: range.last,
            source: sum(sums.0),
            target: sum(sums.1),
            unlike,
            differences,
        }
    }

    /// Its sums; nothing where they cannot be read.
    pub fn sums(&self) -> Option<(Sum, Sum)> {
        let sum = |(rows, hash): &(u64, String)| {
            let hash = u64::from_str_radix(hash, 16).ok()?;
            Some(Sum { rows: *rows, hash })
        };
        Some((sum(&self.source)?, sum(&self.target)?))
    }
}

/// Where compared ranges are kept.
pub trait Ledger: Send + Sync {
    /// What was compared before.
    fn known(&self) -> Vec<Entry>;
    /// Keeps a range; durable when this returns.
    fn keep<'a>(&'a self, entry: &'a Entry) -> BoxFuture<'a, Result<(), ActionError>>;
}

/// Keeps nothing.
pub struct Forgetful;

impl Ledger for Forgetful {
    fn known(&self) -> Vec<Entry> {
        Vec::new()
    }

    fn keep<'a>(&'a self, _entry: &'a Entry) -> BoxFuture<'a, Result<(), ActionError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
