//! When a TTL was lowered, as the step that did it leaves it to the flip; and whether a flip may be sent by now. Reads
//! only.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::provider::action::{ActionError, ActionErrorKind};

use super::lookup::Asked;
use super::records::RecordSet;
use super::servers::Server;
use super::settle::since;

/// The output `lowered` of `dns.lower_ttl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lowered {
    /// When every authoritative server gave the lowered TTL.
    pub at: DateTime<Utc>,
    /// The TTL in seconds that caches may have taken until then.
    pub old_ttl: i64,
    /// The lowered TTL in seconds.
    pub ttl: i64,
}

impl Lowered {
    /// The seconds that a cache may still keep the old TTL.
    pub fn left(&self, speed: f64) -> u64 {
        if self.old_ttl <= self.ttl {
            return 0;
        }
        let whole = u64::try_from(self.old_ttl).unwrap_or(0);
        // Part of a second counts as a whole one.
        let passed = since(self.at, speed).as_secs_f64();
        (whole as f64 - passed).max(0.0).ceil() as u64
    }

    /// Refuses as long as a cache may keep the old TTL, unless every listed resolver holds the record for no longer than
    /// the lowered one; gives what it found.
    pub async fn proven(
        &self,
        asked: &Asked,
        current: &[RecordSet],
        resolvers: &[Server],
        speed: f64,
    ) -> Result<String, ActionError> {
        let left = self.left(speed);
        if left == 0 {
            return Ok(format!(
                "the old TTL of {} s has passed since it was lowered",
                self.old_ttl
            ));
        }
        let mut against = Vec::new();
        for resolver in resolvers {
            match resolver.ask(asked).await {
                Ok(answer)
                    if i64::from(answer.ttl) <= self.ttl && current.iter().any(|set| set.values == answer.values) => {}
                Ok(answer) => against.push(format!(
                    "{} holds {} for {} s",
                    resolver.label,
                    answer.values.join(", "),
                    answer.ttl
                )),
                Err(why) => against.push(format!("{} does not answer: {why}", resolver.label)),
            }
        }
        if !resolvers.is_empty() && against.is_empty() {
            return Ok(format!(
                "the old TTL would run for {left} s more; all {} resolvers hold the lowered one",
                resolvers.len()
            ));
        }
        let evidence = if resolvers.is_empty() {
            "list resolvers: to prove that the caches hold the lowered one".to_owned()
        } else {
            against.join("; ")
        };
        let words = format!(
            "{}: the old TTL of {} s has not passed since it was lowered at {}: {left} s left; nothing was sent; wait \
             them out, {evidence}",
            asked.name,
            self.old_ttl,
            self.at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
        );
        Err(ActionError::new(ActionErrorKind::Permanent, words))
    }
}
