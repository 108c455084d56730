//! One question to a web server and its answer: where to, redirects, limits, and words for what went wrong. Judges no
//! answer.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, Url};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};

use crate::provider::again::{Miss, time};
use crate::provider::causes::{cause, causes};
use crate::provider::reach::Reach;
use crate::provider::tls::certificate::Certificate;
use crate::provider::tls::trust::{Shown, Trust};

/// The most of a body that is read.
pub(super) const LARGEST_BODY: usize = 1024 * 1024;
/// The most redirects that are followed.
const FARTHEST: usize = 10;

/// What is asked, and how.
pub(super) struct Exchange {
    pub method: Method,
    pub url: Url,
    /// Sent wherever the question goes.
    pub open: HeaderMap,
    /// Of the connection: sent to its own origin only.
    pub own: HeaderMap,
    pub follow: bool,
    pub reach: Reach,
    pub ca: Option<PathBuf>,
    pub verify: bool,
    /// Made when the first TLS connection needs it: it reads every certificate of the system.
    pub trust: OnceCell<Trust>,
}

/// What was answered.
pub(super) struct Answer {
    /// Where the answer came from, redirects followed.
    pub url: Url,
    pub address: Option<SocketAddr>,
    /// `HTTP/1.1 200 OK`
    pub line: String,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// Whether that is all of the body.
    pub whole: bool,
    /// From the first connection to the head of the last answer, without looking up names.
    pub latency: Duration,
    /// To the end of the body.
    pub total: Duration,
    /// Where it was sent on to, in order.
    pub redirects: Vec<Url>,
    pub certificate: Option<Certificate>,
}

/// One answer's head.
struct Head {
    response: Response,
    shown: Option<Arc<Shown>>,
    took: Duration,
}

impl Exchange {
    /// Asks once, with everything done within `limit`.
    pub async fn once(&self, limit: Duration) -> Result<Answer, Miss> {
        let ends = Instant::now() + limit;
        let mut url = self.url.clone();
        let mut redirects = Vec::new();
        let mut latency = Duration::ZERO;
        loop {
            let head = self.head(&url, ends, limit).await?;
            latency += head.took;
            if let Some(next) = self.next(&url, &head.response, &redirects)? {
                redirects.push(next.clone());
                url = next;
                continue;
            }
            return self.read(url, head, redirects, latency, (ends, limit)).await;
        }
    }

    async fn head(&self, url: &Url, ends: Instant, limit: Duration) -> Result<Head, Miss> {
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or(80);
        let late = |_elapsed| Miss::silent(format!("{url}: no answer within {}; {}", time(limit), SILENT));
        // What is pinned is one name, not wherever a redirect leads.
        let reach = Reach {
            pinned: self.reach.pinned.filter(|_| url.host() == self.url.host()),
            ..self.reach
        };
        let found = timeout_at(ends, reach.addresses(host, port)).await.map_err(late)??;
        let mut builder = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .resolve_to_addrs(host, &found);
        let mut shown = None;
        if url.scheme() == "https" {
            let trust = self
                .trust
                .get_or_try_init(|| Trust::new(self.ca.as_deref(), self.verify))
                .await
                .map_err(Miss::Never)?;
            let (config, kept) = trust.client(&["h2", "http/1.1"]).map_err(Miss::Never)?;
            builder = builder.tls_backend_preconfigured(config);
            shown = Some(kept);
        }
        let client = builder
            .build()
            .map_err(|error| Miss::never(format!("{url}: {}", chain(&error))))?;
        let mut request = client
            .request(self.method.clone(), url.clone())
            .headers(self.open.clone());
        if url.origin() == self.url.origin() {
            request = request.headers(self.own.clone());
        }
        let begun = Instant::now();
        let response = timeout_at(ends, request.send())
            .await
            .map_err(late)?
            .map_err(|error| failed(url, &error, shown.as_deref()))?;
        Ok(Head {
            response,
            shown,
            took: begun.elapsed(),
        })
    }

    /// Where the answer sends us, if we follow.
    fn next(&self, url: &Url, response: &Response, before: &[Url]) -> Result<Option<Url>, Miss> {
        if !self.follow || !response.status().is_redirection() {
            return Ok(None);
        }
        let Some(location) = response.headers().get(LOCATION) else {
            return Ok(None);
        };
        let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
        let Ok(next) = url.join(&location) else {
            let words = format!("{url} sends us to \"{location}\", which is no URL; look at the redirect");
            return Err(Miss::unmet(words));
        };
        let way = || {
            let all = std::iter::once(&self.url).chain(before).chain(std::iter::once(&next));
            all.map(Url::to_string).collect::<Vec<_>>().join(" → ")
        };
        if next == self.url || before.contains(&next) {
            let hint = "look at the redirects, or expect the first one: status: 3xx";
            return Err(Miss::unmet(format!("the redirects run in a circle: {}; {hint}", way())));
        }
        if before.len() >= FARTHEST {
            let words = format!("more than {FARTHEST} redirects: {}; ask the last one itself", way());
            return Err(Miss::unmet(words));
        }
        if !matches!(next.scheme(), "http" | "https") || (url.scheme() == "https" && next.scheme() == "http") {
            let words = format!("{url} sends us to {next}, out of TLS; it is not followed: look at the redirect");
            return Err(Miss::unmet(words));
        }
        Ok(Some(next))
    }

    async fn read(
        &self,
        url: Url,
        head: Head,
        redirects: Vec<Url>,
        latency: Duration,
        (ends, limit): (Instant, Duration),
    ) -> Result<Answer, Miss> {
        let mut response = head.response;
        let begun = Instant::now();
        let mut body = Vec::new();
        let mut whole = true;
        loop {
            let chunk = timeout_at(ends, response.chunk()).await.map_err(|_elapsed| {
                let read = body.len();
                let words = format!(
                    "{url} answers {}, but its body did not end within {} ({read} bytes came); ask for something \
                     shorter, or give more time under request_timeout:",
                    response.status().as_u16(),
                    time(limit)
                );
                Miss::silent(words)
            })?;
            let Some(chunk) = chunk.map_err(|error| failed(&url, &error, head.shown.as_deref()))? else {
                break;
            };
            body.extend_from_slice(&chunk);
            if body.len() > LARGEST_BODY {
                body.truncate(LARGEST_BODY);
                whole = false;
                break;
            }
        }
        Ok(Answer {
            address: response.remote_addr(),
            line: format!("{:?} {}", response.version(), response.status()),
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body,
            whole,
            latency,
            total: latency + begun.elapsed(),
            redirects,
            certificate: head.shown.and_then(|shown| shown.certificate().cloned()),
            url,
        })
    }
}

impl Answer {
    /// How long the server asks to be left alone, where it says so in seconds (RFC 9110, 10.2.3).
    pub fn retry_after(&self) -> Option<Duration> {
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?;
        text.trim().parse().ok().map(Duration::from_secs)
    }
}

const SILENT: &str = "see whether the server lives and whether a firewall is between";

/// Why there is no answer.
fn failed(url: &Url, error: &reqwest::Error, shown: Option<&Shown>) -> Miss {
    let host = url.host_str().unwrap_or_default();
    if let Some(words) = shown.and_then(|shown| shown.refusal(host)) {
        return Miss::unmet(format!("{url}: {words}"));
    }
    if let Some(fault) = cause::<rustls::Error>(error) {
        let words = format!("{url}: TLS could not be agreed on: {fault}; see whether that port speaks TLS");
        return Miss::unmet(words);
    }
    let kind = cause::<std::io::Error>(error).map(std::io::Error::kind);
    let inner = causes(error)
        .filter_map(|cause| cause.downcast_ref::<hyper::Error>())
        .last();
    let ended = inner.is_some_and(|inner| inner.is_incomplete_message() || inner.is_closed());
    // A peer that speaks before it was asked makes hyper call the question off, and hyper has no name for that.
    let unasked = cause::<hyper::Error>(error).is_some_and(hyper::Error::is_canceled) && !ended && kind.is_none();
    if unasked || inner.is_some_and(hyper::Error::is_parse) {
        let words = format!(
            "{url}: what answers is no HTTP ({}); see what listens there",
            chain(error)
        );
        return Miss::unmet(words);
    }
    let (what, hint) = match kind {
        Some(std::io::ErrorKind::ConnectionRefused) => {
            ("the connection is refused", "start the server, or correct the port")
        }
        Some(std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe) => (
            "the connection was reset",
            "look at the server's log, and at what stands between",
        ),
        _ if error.is_timeout() => ("no answer in time", SILENT),
        _ if ended => (
            "the connection ended before the answer did",
            "look at the server's log, and at what stands between",
        ),
        _ if error.is_body() || error.is_decode() => ("the body broke off", "look at the server's log"),
        _ => ("there is no answer", SILENT),
    };
    Miss::silent(format!("{url}: {what} ({}); {hint}", chain(error)))
}

/// What caused an error; the URL is said beside it.
fn chain(error: &reqwest::Error) -> String {
    let mut words: Vec<String> = Vec::new();
    for cause in causes(error).skip(1) {
        let text = cause.to_string();
        // Most layers repeat what is below them.
        if !words.iter().any(|known| known.contains(&text)) {
            words.push(text);
        }
    }
    if words.is_empty() {
        error.to_string()
    } else {
        words.join(": ")
    }
}
