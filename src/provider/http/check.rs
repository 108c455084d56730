//! `http.check`: asks a URL and holds the answer against every demand, once or until it is right. A read: it sends GET
//! or HEAD only. Must not print what the connection authenticates with.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use chrono::Utc;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::provider::action::{Action, ActionError, Cx, Observed, Outcome, Preview, Ready};
use crate::provider::again::{Again, Miss, Question, time};
use crate::provider::connection::{BuildError, Connections};
use crate::provider::expectation::Expectation;
use crate::provider::reach::Reach;
use crate::provider::registry::Request;
use crate::provider::span::Within;

use super::address::{address, parameter};
use super::demands::{Demands, Latency, Statuses, millis, result, shown_headers};
use super::exchange::{Answer, Exchange};

/// How much of a body is kept as evidence.
const KEPT: usize = 1024;
/// How long one question may take where nothing is said.
const EACH: Duration = Duration::from_secs(15);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    path: Option<String>,
    url: Option<String>,
    method: Option<String>,
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    status: Statuses,
    expect: Option<Expectation>,
    latency_below: Option<Within>,
    samples: Option<u32>,
    tls_valid_for: Option<Within>,
    tls_verify: Option<bool>,
    ca: Option<PathBuf>,
    resolve: Option<IpAddr>,
    #[serde(default)]
    follow_redirects: bool,
    request_timeout: Option<Within>,
    within: Option<Within>,
    every: Option<Within>,
}

/// A check of a URL.
pub struct Check {
    exchange: Exchange,
    demands: Demands,
    samples: u32,
    /// How long one request may take.
    each: Duration,
    again: Again,
}

impl Check {
    /// From its parameters.
    pub fn new(request: &Request<'_>, connections: &Connections) -> Result<Self, BuildError> {
        let with: Parameters = request.parameters()?;
        let target = request.http(connections)?;
        let url = address(target.as_ref(), with.url.as_deref(), with.path.as_deref())?;
        let target = target.unwrap_or_default();
        if with.tls_valid_for.is_some() && url.scheme() != "https" {
            return Err(parameter(format!("tls_valid_for needs an https url, not {url}")));
        }
        if with.resolve.is_some() && url.domain().is_none() {
            return Err(parameter(format!(
                "resolve says where a name leads, and {url} has none"
            )));
        }
        let verify = with.tls_verify.unwrap_or(true);
        let own = headers(target.headers.iter(), true)?;
        if !verify && !own.is_empty() {
            let words =
                "tls_verify: false would send the connection's headers to nobody knows whom; name its CA under ca:";
            return Err(parameter(words));
        }
        let method = match with.method.as_deref() {
            None | Some("GET") => Method::GET,
            Some("HEAD") => Method::HEAD,
            Some(other) => return Err(parameter(format!("a check asks by GET or HEAD, not {other}"))),
        };
        let samples = with.samples.unwrap_or(1).max(1);
        let each = with.request_timeout.map_or(EACH, |each| each.0);
        Ok(Self {
            exchange: Exchange {
                method,
                url,
                open: headers(
                    with.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())),
                    false,
                )?,
                own,
                follow: with.follow_redirects,
                reach: Reach {
                    pinned: with.resolve,
                    resolver: target.resolver,
                    confined: connections.is_confined(),
                },
                ca: with.ca.or(target.ca),
                verify,
                trust: OnceCell::new(),
            },
            demands: Demands {
                status: with.status,
                expect: with.expect,
                latency_below: with.latency_below.map(|below| below.0),
                tls_valid_for: with.tls_valid_for,
            },
            samples,
            each,
            again: Again {
                within: with.within.map(|within| within.0),
                every: with.every.map(|every| every.0),
                each: each.saturating_mul(samples),
            },
        })
    }

    fn wanted(&self) -> Vec<String> {
        let demands = &self.demands;
        let mut wanted = vec![format!("expects {}", demands.status.words())];
        wanted.extend(demands.expect.iter().map(|expect| format!("expects {}", expect.text())));
        wanted.extend(demands.latency_below.map(|below| {
            let of = match self.samples {
                1 => "of one answer".to_owned(),
                samples => format!("at p95 of {samples} answers, each over a connection of its own"),
            };
            format!("expects less than {} {of}", time(below))
        }));
        wanted.extend(demands.tls_valid_for.map(|valid| {
            let days = valid.0.as_secs() / 86_400;
            format!("expects a certificate valid for {days} more days")
        }));
        wanted
    }

    /// Holds one answer against every demand but that on the time.
    fn judge(&self, answer: &Answer) -> Result<(), Miss> {
        let now = Utc::now();
        let unmet = self.demands.unmet(answer, &result(answer, now), now);
        missed(&answer.url, &unmet, answer.retry_after())
    }

    fn outcome(&self, answer: Answer, latency: Latency) -> Outcome {
        let now = Utc::now();
        let mut result = result(&answer, now);
        result.insert("latency_p50_ms".to_owned(), json!(millis(latency.p50)));
        result.insert("latency_p95_ms".to_owned(), json!(millis(latency.p95)));
        let mut summary = format!("{} answers {} in {}", answer.url, answer.status, latency.words());
        if let Some(expect) = &self.demands.expect {
            summary = format!("{summary}; {} holds", expect.text());
        }
        if let Some(certificate) = &answer.certificate {
            summary = format!("{summary}; {}", certificate.words(now));
        }
        let body = answer.body.get(..answer.body.len().min(KEPT)).unwrap_or_default();
        Outcome {
            summary,
            result,
            evidence: vec![
                (
                    "answer".to_owned(),
                    seen(&answer, &latency, self.exchange.verify).into_bytes(),
                ),
                ("body".to_owned(), body.to_vec()),
            ],
        }
    }
}

/// The failure of some demands, all told, with the hint of the first.
fn missed(url: &Url, unmet: &[(String, String)], wait: Option<Duration>) -> Result<(), Miss> {
    let Some((_, hint)) = unmet.first() else { return Ok(()) };
    let all: Vec<&str> = unmet.iter().map(|(what, _)| what.as_str()).collect();
    let words = format!("{url}: {}; {hint}", all.join("; "));
    Err(match (Miss::unmet(words), wait) {
        (Miss::Yet(error), Some(wait)) => Miss::Later(error, wait),
        (miss, _) => miss,
    })
}

/// What was seen, as evidence.
fn seen(answer: &Answer, latency: &Latency, verified: bool) -> String {
    let mut lines = vec![answer.line.clone()];
    lines.extend(
        shown_headers(answer)
            .into_iter()
            .map(|(name, value)| format!("{name}: {value}")),
    );
    lines.push(String::new());
    lines.extend(answer.redirects.iter().map(|url| format!("redirected to {url}")));
    lines.extend(answer.address.map(|at| format!("answered by {at}")));
    lines.push(format!("latency {} (connection included)", latency.words()));
    lines.push(format!("whole answer in {} ms", millis(answer.total)));
    lines.push(format!(
        "body: {}{} bytes",
        if answer.whole { "" } else { "more than " },
        answer.body.len()
    ));
    if let Some(certificate) = &answer.certificate {
        lines.push(certificate.words(Utc::now()));
        lines.push(format!("subject {}", certificate.subject));
        lines.push(format!("SHA-256 {}", certificate.fingerprint));
        let chain = if verified {
            "the chain was verified"
        } else {
            "the chain was NOT verified"
        };
        lines.push(chain.to_owned());
    }
    lines.push(String::new());
    lines.join("\n")
}

fn headers<'a>(given: impl Iterator<Item = (&'a str, &'a str)>, secret: bool) -> Result<HeaderMap, BuildError> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let known = HeaderName::from_str(name).map_err(|_bad| parameter(format!("\"{name}\" is no header")))?;
        // The value is not told: it may be a secret.
        let mut value = HeaderValue::from_str(value)
            .map_err(|_bad| parameter(format!("the value of header {name} has characters that none may have")))?;
        value.set_sensitive(secret);
        headers.insert(known, value);
    }
    Ok(headers)
}

#[async_trait]
impl Question for Check {
    async fn ask(&self, limit: Duration) -> Result<Outcome, Miss> {
        let ends = Instant::now() + limit;
        let mut samples = Vec::new();
        loop {
            let left = if samples.is_empty() {
                limit
            } else {
                ends.saturating_duration_since(Instant::now())
            };
            let answer = self.exchange.once(left.min(self.each)).await?;
            self.judge(&answer)?;
            samples.push(answer.latency);
            if samples.len() < usize::try_from(self.samples).unwrap_or(usize::MAX) {
                continue;
            }
            let Some(latency) = Latency::of(&samples) else {
                continue;
            };
            if let Some(slow) = self.demands.too_slow(&latency) {
                missed(&answer.url, &[slow], None)?;
            }
            return Ok(self.outcome(answer, latency));
        }
    }
}

#[async_trait]
impl Action for Check {
    fn preview(&self) -> Preview {
        let asked = &self.exchange;
        let mut notes = self.wanted();
        let sent: Vec<&str> = asked
            .open
            .keys()
            .chain(asked.own.keys())
            .map(HeaderName::as_str)
            .collect();
        if !sent.is_empty() {
            notes.push(format!("sends {}", sent.join(", ")));
        }
        notes.extend(asked.reach.pinned.map(|ip| format!("asks at {ip}, whatever DNS says")));
        if !asked.verify {
            notes.push("the certificate's chain is NOT verified".to_owned());
        }
        if asked.follow {
            notes.push("follows redirects".to_owned());
        }
        notes.extend(
            self.again
                .within
                .map(|within| format!("asks again for up to {}", time(within))),
        );
        Preview {
            summary: format!("asks {}", asked.url),
            commands: vec![format!("{} {}", asked.method, asked.url)],
            notes,
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        let mut identity = json!({ "url": self.exchange.url.as_str() });
        if let (Some(ip), Some(identity)) = (self.exchange.reach.pinned, identity.as_object_mut()) {
            identity.insert("at".to_owned(), json!(ip.to_string()));
        }
        Ok(Ready {
            identity,
            facts: Vec::new(),
        })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        self.again.until(cx, self).await
    }

    async fn observe(&self, _cx: &Cx) -> Result<Observed, ActionError> {
        Ok(Observed::NotStarted {
            detail: "a read leaves nothing behind".to_owned(),
        })
    }
}
