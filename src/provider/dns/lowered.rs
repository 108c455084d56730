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
    /// It was that low already, and nobody knows since when: a cache may hold an older, longer one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub already: bool,
}

/// What resolvers say against a flip.
#[derive(Debug, Default)]
struct Against {
    longer: Vec<String>,
    silent: Vec<String>,
}

impl Against {
    fn words(&self) -> String {
        let both: Vec<&str> = self.longer.iter().chain(&self.silent).map(String::as_str).collect();
        both.join("; ")
    }
}

impl Lowered {
    /// The seconds that a cache may still keep the old TTL.
    pub fn left(&self, speed: f64) -> u64 {
        let whole = u64::try_from(self.old_ttl).unwrap_or(0);
        // Part of a second counts as a whole one.
        let passed = since(self.at, speed).as_secs_f64();
        (whole as f64 - passed).max(0.0).ceil() as u64
    }

    /// Refuses as long as a cache may keep the old TTL, unless every listed resolver holds the record for no longer than
    /// the lowered one; gives what it found. Where nobody knows since when it is low, a resolver that holds it for longer
    /// stands against the flip at any time.
    pub async fn proven(
        &self,
        asked: &Asked,
        current: &[RecordSet],
        resolvers: &[Server],
        speed: f64,
    ) -> Result<String, ActionError> {
        let left = self.left(speed);
        if left == 0 && !self.already {
            return Ok(format!(
                "the old TTL of {} s has passed since it was lowered",
                self.old_ttl
            ));
        }
        let against = self.asked_of(asked, current, resolvers).await;
        let agreed = against.longer.is_empty() && against.silent.is_empty();
        if left == 0 && against.longer.is_empty() {
            let known = match resolvers.is_empty() || !agreed {
                true => "a cache that was filled before that may hold an older one for longer",
                false => "all resolvers hold it for no longer",
            };
            return Ok(format!(
                "the TTL was {} s already, nobody knows since when; {known}",
                self.ttl
            ));
        }
        if left > 0 && !resolvers.is_empty() && agreed {
            return Ok(format!(
                "the old TTL would run for {left} s more; all {} resolvers hold the lowered one",
                resolvers.len()
            ));
        }
        let evidence = if resolvers.is_empty() {
            "list resolvers: to prove that the caches hold the lowered one".to_owned()
        } else {
            against.words()
        };
        let at = self.at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let words = match (self.already, left) {
            (true, 0) => format!(
                "{}: a cache holds the record for longer than its TTL of {} s, so that was lowered not long ago; nothing \
                 was sent; wait until it has run out: {evidence}",
                asked.name, self.ttl
            ),
            (true, left) => format!(
                "{}: the TTL of {} s, which nobody knows since when it stands, has not passed since it was seen at {at}: \
                 {left} s left; nothing was sent; wait them out, {evidence}",
                asked.name, self.ttl
            ),
            (false, left) => format!(
                "{}: the old TTL of {} s has not passed since it was lowered at {at}: {left} s left; nothing was sent; \
                 wait them out, {evidence}",
                asked.name, self.old_ttl
            ),
        };
        Err(ActionError::new(ActionErrorKind::Permanent, words))
    }

    async fn asked_of(&self, asked: &Asked, current: &[RecordSet], resolvers: &[Server]) -> Against {
        let mut against = Against::default();
        for resolver in resolvers {
            match resolver.ask(asked).await {
                Ok(answer)
                    if i64::from(answer.ttl) <= self.ttl
                        && current.iter().any(|set| set.meaning() == answer.values) => {}
                Ok(answer) => against.longer.push(format!(
                    "{} holds {} for {} s",
                    resolver.label,
                    answer.values.join(", "),
                    answer.ttl
                )),
                Err(why) => against
                    .silent
                    .push(format!("{} does not answer: {why}", resolver.label)),
            }
        }
        against
    }
}
