//! What an answer is held against: status, body, latency, certificate. Tells each demand that fails, with what was seen.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use crate::provider::again::time;
use crate::provider::expectation::Expectation;
use crate::provider::span::Within;
use crate::provider::tls::certificate::too_short;
use crate::runbook::text::statuses;

use super::exchange::{Answer, LARGEST_BODY};

/// How much of a body is said in a message.
const SAID: usize = 160;
/// Headers whose values are credentials.
const WITHHELD: &[&str] = &[
    "set-cookie",
    "cookie",
    "authorization",
    "proxy-authorization",
    "www-authenticate",
    "proxy-authenticate",
    "authentication-info",
];

/// The statuses that are right: ranges, both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statuses(Vec<(u16, u16)>);

impl Default for Statuses {
    fn default() -> Self {
        Self(vec![(200, 200)])
    }
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        statuses(&value)
            .map(Self)
            .ok_or_else(|| D::Error::custom(format!("{value} is no status; write 200, 2xx or [200, 204]")))
    }
}

impl Statuses {
    fn hold(&self, status: u16) -> bool {
        self.0.iter().any(|(from, to)| (*from..=*to).contains(&status))
    }

    /// As people write it.
    pub fn words(&self) -> String {
        let each = self.0.iter().map(|(from, to)| {
            if from == to {
                from.to_string()
            } else {
                format!("{}xx", from / 100)
            }
        });
        each.collect::<Vec<_>>().join(" or ")
    }
}

/// What has to hold.
#[derive(Debug, Clone)]
pub(super) struct Demands {
    pub status: Statuses,
    pub expect: Option<Expectation>,
    pub latency_below: Option<Duration>,
    pub tls_valid_for: Option<Within>,
}

/// How long the answers took: the nearest rank of each share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Latency {
    pub p50: Duration,
    pub p95: Duration,
    pub samples: usize,
}

impl Latency {
    /// Of some samples; nothing of none.
    pub fn of(samples: &[Duration]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_unstable();
        let rank = |percent: usize| (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        Some(Self {
            p50: *sorted.get(rank(50))?,
            p95: *sorted.get(rank(95))?,
            samples: sorted.len(),
        })
    }

    /// For people.
    pub fn words(&self) -> String {
        let (p50, p95) = (millis(self.p50), millis(self.p95));
        match self.samples {
            1 => format!("{p95} ms"),
            samples => format!("p50 {p50} ms, p95 {p95} ms of {samples}"),
        }
    }
}

impl Demands {
    /// Each demand that one answer fails, what was seen and what to do: `(what, hint)`.
    pub fn unmet(&self, answer: &Answer, result: &Map<String, Value>, now: DateTime<Utc>) -> Vec<(String, String)> {
        let mut unmet = Vec::new();
        let right = self.status.hold(answer.status);
        if !right {
            let wanted = self.status.words();
            let what = format!(
                "status: {} where {wanted} is wanted{}",
                answer.status,
                begins(&answer.body)
            );
            let hint = match answer.status {
                300..=399 if answer.redirects.is_empty() => "write follow_redirects: true if that is meant",
                401 | 403 => "give the connection headers: or bearer: that may ask this",
                404 => "correct the path, or see what is deployed there",
                429 | 502..=504 => "see whether the server is up to it yet; within: asks again",
                _ => "look at the server's log",
            };
            unmet.push((what, hint.to_owned()));
        }
        // The body of a wrong status says nothing about the right one's.
        if let Some(expect) = self.expect.as_ref().filter(|_| right) {
            unmet.extend(self.body(expect, answer, result));
        }
        if let Some(wanted) = self.tls_valid_for {
            unmet.extend(too_short(wanted.0, answer.certificate.as_ref(), now));
        }
        unmet
    }

    fn body(&self, expect: &Expectation, answer: &Answer, result: &Map<String, Value>) -> Option<(String, String)> {
        let text = expect.text();
        if !answer.whole {
            let what = format!(
                "body: it is larger than {} KiB, so {text} cannot be told",
                LARGEST_BODY / 1024
            );
            return Some((what, "ask for something shorter".to_owned()));
        }
        let seen = begins(&answer.body);
        match expect.holds(result) {
            Ok(true) => None,
            Ok(false) => Some((
                format!("body: {text} does not hold{seen}"),
                "compare the body with expect:, and see which version answers".to_owned(),
            )),
            Err(error) => Some((
                format!("body: {text} cannot be told: {error}{seen}"),
                "see whether the body has these fields; JSON is under json, text under body".to_owned(),
            )),
        }
    }

    /// The demand on time that all the samples fail.
    pub fn too_slow(&self, latency: &Latency) -> Option<(String, String)> {
        let below = self.latency_below?;
        if latency.p95 < below {
            return None;
        }
        let (seen, wanted) = (latency.words(), time(below));
        let what = format!("latency: {seen} where less than {wanted} is wanted (p95 counts)");
        Some((
            what,
            "let caches fill, or see what keeps it; within: asks again".to_owned(),
        ))
    }
}

/// An answer as predicates and outputs see it.
pub(super) fn result(answer: &Answer, now: DateTime<Utc>) -> Map<String, Value> {
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let mut result = Map::new();
    let mut put = |name: &str, value: Value| result.insert(name.to_owned(), value);
    put("status", json!(answer.status));
    put("url", json!(answer.url.as_str()));
    put("json", serde_json::from_str(&text).unwrap_or(Value::Null));
    put("body", json!(text));
    let headers = shown_headers(answer)
        .into_iter()
        .map(|(name, value)| (name, json!(value)));
    put("headers", Value::Object(headers.collect()));
    put("latency_ms", json!(millis(answer.latency)));
    let tls = answer
        .certificate
        .as_ref()
        .map_or(Value::Null, |certificate| certificate.json(now));
    put("tls", tls);
    result
}

/// The answer's headers, credentials withheld.
pub(super) fn shown_headers(answer: &Answer) -> Vec<(String, String)> {
    let each = answer.headers.iter().map(|(name, value)| {
        let name = name.as_str().to_owned();
        let value = if WITHHELD.contains(&name.as_str()) {
            "[withheld]".to_owned()
        } else {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        };
        (name, value)
    });
    each.collect()
}

/// How a body begins, on one line.
fn begins(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..body.len().min(SAID * 4)).unwrap_or_default());
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut said: String = line.chars().take(SAID).collect();
    if said.is_empty() {
        return String::new();
    }
    if body.len() > said.len() {
        said.push('…');
    }
    format!(" (the body begins: {said})")
}

/// Whole milliseconds.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
