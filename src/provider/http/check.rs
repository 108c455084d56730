//! `http.check`: one request, or one after another until the answer is right. Redirects are answers, not followed.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::provider::action::{Action, ActionError, ActionErrorKind, Cx, Observed, Outcome, Preview, Progress, Ready};
use crate::provider::connection::{BuildError, HttpTarget};
use crate::provider::dns::lookup::{Asked, ask};
use crate::provider::expectation::Expectation;
use crate::provider::registry::Request;
use crate::provider::span::Within;

/// The most of a body that is read.
const LARGEST_BODY: usize = 64 * 1024;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    path: Option<String>,
    url: Option<String>,
    #[serde(default = "ok")]
    status: u16,
    expect: Option<Expectation>,
    within: Option<Within>,
    every: Option<Within>,
}

const fn ok() -> u16 {
    200
}

/// A check of a URL.
pub struct Check {
    url: String,
    resolver: Option<SocketAddr>,
    with: Parameters,
}

impl Check {
    /// From its parameters.
    pub fn new(request: &Request<'_>, target: Option<HttpTarget>) -> Result<Self, BuildError> {
        let with: Parameters = request.parameters()?;
        let (url, resolver) = match (&target, &with.url, &with.path) {
            (Some(target), None, path) => (
                format!("{}{}", target.base, path.as_deref().unwrap_or("/")),
                target.resolver,
            ),
            (None, Some(url), None) => (url.clone(), None),
            (Some(_), Some(_), _) | (None, None, _) | (None, Some(_), Some(_)) => {
                return Err(BuildError::Parameter(
                    "give a connection and a path, or a url alone".to_owned(),
                ));
            }
        };
        Ok(Self { url, resolver, with })
    }

    async fn once(&self) -> Result<(Outcome, bool), ActionError> {
        let transient = |words: String| ActionError::new(ActionErrorKind::Transient, words);
        let url = reqwest::Url::parse(&self.url)
            .map_err(|error| ActionError::new(ActionErrorKind::Permanent, format!("{}: {error}", self.url)))?;
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(15));
        let host = url.host_str().unwrap_or_default().to_owned();
        if let Some(resolver) = self.resolver {
            let answer = ask(
                resolver,
                &Asked {
                    name: host.clone(),
                    kind: "A".to_owned(),
                },
            )
            .await?;
            let port = url.port_or_known_default().unwrap_or(80);
            let found: Vec<SocketAddr> = answer
                .values
                .iter()
                .filter_map(|value| value.parse().ok())
                .map(|ip| SocketAddr::new(ip, port))
                .collect();
            if found.is_empty() {
                return Err(transient(format!("{host} has no address at {resolver}")));
            }
            builder = builder.resolve_to_addrs(&host, &found);
        }
        let client = builder.build().map_err(|error| transient(error.to_string()))?;
        let begun = Instant::now();
        let mut response = client
            .get(url)
            .send()
            .await
            .map_err(|error| transient(format!("{}: {}", self.url, words(&error))))?;
        let latency = begun.elapsed();
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| transient(format!("{}: {}", self.url, words(&error))))?
        {
            body.extend_from_slice(&chunk);
            if body.len() > LARGEST_BODY {
                body.truncate(LARGEST_BODY);
                break;
            }
        }
        let text = String::from_utf8_lossy(&body).into_owned();
        let mut result = Map::new();
        result.insert("status".to_owned(), json!(status));
        result.insert("json".to_owned(), serde_json::from_str(&text).unwrap_or(Value::Null));
        result.insert("body".to_owned(), json!(text));
        result.insert(
            "latency_ms".to_owned(),
            json!(u64::try_from(latency.as_millis()).unwrap_or(u64::MAX)),
        );
        let mut holds = status == self.with.status;
        let mut summary = format!("{} answers {status} in {} ms", self.url, latency.as_millis());
        if let Some(expect) = self.with.expect.as_ref().filter(|_| holds) {
            // A body that is not yet what it will be makes the predicate fail, not the check end.
            holds = expect.holds(&result).unwrap_or(false);
            summary = format!("{summary}; {} is {holds}", expect.text());
        }
        Ok((
            Outcome {
                summary,
                result,
                evidence: vec![("body".to_owned(), body)],
            },
            holds,
        ))
    }
}

fn words(error: &reqwest::Error) -> String {
    let mut words = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}

#[async_trait]
impl Action for Check {
    fn preview(&self) -> Preview {
        let mut notes = vec![format!("expects {}", self.with.status)];
        notes.extend(
            self.with
                .expect
                .iter()
                .map(|expect| format!("expects {}", expect.text())),
        );
        notes.extend(
            self.with
                .within
                .map(|within| format!("asks again for up to {} s", within.0.as_secs())),
        );
        Preview {
            summary: format!("asks {}", self.url),
            commands: vec![format!("GET {}", self.url)],
            notes,
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        Ok(Ready {
            identity: json!({ "url": self.url }),
            facts: Vec::new(),
        })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let begun = Instant::now();
        loop {
            let (kind, seen) = match self.once().await {
                Ok((outcome, true)) => return Ok(outcome),
                Ok((outcome, false)) => (ActionErrorKind::Permanent, outcome.summary),
                Err(error) if error.kind == ActionErrorKind::Transient => (error.kind, error.message),
                Err(error) => return Err(error),
            };
            let Some(within) = self.with.within else {
                return Err(ActionError::new(kind, seen));
            };
            if begun.elapsed().mul_f64(cx.speed.max(1.0)) >= within.0 {
                let words = format!("not within {} s: {seen}", within.0.as_secs());
                return Err(ActionError::new(ActionErrorKind::Permanent, words));
            }
            cx.reporter.progress(Progress::State(seen));
            cx.pause(self.with.every.map_or(Duration::from_secs(2), |every| every.0))
                .await?;
        }
    }

    async fn observe(&self, _cx: &Cx) -> Result<Observed, ActionError> {
        Ok(Observed::NotStarted {
            detail: "a read leaves nothing behind".to_owned(),
        })
    }
}
