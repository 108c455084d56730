//! `tcp.check`: connects, or proves that nobody listens any more. A read: it sends nothing but what TLS needs.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::Utc;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use crate::provider::action::{Action, ActionError, Cx, Observed, Outcome, Preview, Ready};
use crate::provider::again::{Again, Miss, Question, time};
use crate::provider::connection::{BuildError, Connections};
use crate::provider::expectation::Expectation;
use crate::provider::http::address::origin;
use crate::provider::reach::Reach;
use crate::provider::registry::Request;
use crate::provider::span::Within;
use crate::provider::tls::certificate::{Certificate, too_short};
use crate::provider::tls::trust::Trust;

/// The most of a banner that is read.
const BANNER: usize = 1024;
/// How long connecting may take where nothing is said.
const EACH: Duration = Duration::from_secs(5);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    host: Option<String>,
    port: Option<u16>,
    connects_within: Option<Within>,
    #[serde(default)]
    expect_refused: bool,
    expect: Option<Expectation>,
    #[serde(default)]
    tls: bool,
    tls_valid_for: Option<Within>,
    tls_verify: Option<bool>,
    server_name: Option<String>,
    ca: Option<PathBuf>,
    resolve: Option<IpAddr>,
    within: Option<Within>,
    every: Option<Within>,
}

/// What of TLS is asked.
struct Tls {
    name: ServerName<'static>,
    valid_for: Option<Within>,
    verify: bool,
    ca: Option<PathBuf>,
    trust: OnceCell<Trust>,
}

/// A check of a listener.
pub struct Check {
    host: String,
    port: u16,
    reach: Reach,
    refused: bool,
    expect: Option<Expectation>,
    tls: Option<Tls>,
    again: Again,
}

/// What connecting came to.
struct Met {
    address: SocketAddr,
    took: Duration,
    banner: Option<String>,
    certificate: Option<Certificate>,
}

impl Check {
    /// From its parameters.
    pub fn new(request: &Request<'_>, connections: &Connections) -> Result<Self, BuildError> {
        let parameter = |words: &str| BuildError::Parameter(words.to_owned());
        let with: Parameters = request.parameters()?;
        let target = request.http(connections)?;
        let (host, port) = match (&target, with.host, with.port) {
            (Some(target), None, port) => {
                let (host, own) = origin(target)?;
                (host, port.unwrap_or(own))
            }
            (None, Some(host), Some(port)) => (host, port),
            (Some(_), Some(_), _) | (None, _, _) => {
                return Err(parameter("give a connection, or a host and a port"));
            }
        };
        let target = target.unwrap_or_default();
        let tls = with.tls || with.tls_valid_for.is_some();
        if with.expect_refused && (tls || with.expect.is_some()) {
            return Err(parameter(
                "who refuses shows neither banner nor certificate; remove expect_refused or those",
            ));
        }
        let tls = if tls {
            let name = with.server_name.as_deref().unwrap_or(&host);
            let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
            let bad = BuildError::Parameter(format!("{name} is no server name"));
            Some(Tls {
                name: ServerName::try_from(name).map_err(|_bad| bad)?,
                valid_for: with.tls_valid_for,
                verify: with.tls_verify.unwrap_or(true),
                ca: with.ca.or(target.ca),
                trust: OnceCell::new(),
            })
        } else {
            None
        };
        Ok(Self {
            host,
            port,
            reach: Reach {
                pinned: with.resolve,
                resolver: target.resolver,
                confined: connections.is_confined(),
            },
            refused: with.expect_refused,
            expect: with.expect,
            tls,
            again: Again {
                within: with.within.map(|within| within.0),
                every: with.every.map(|every| every.0),
                each: with.connects_within.map_or(EACH, |each| each.0),
            },
        })
    }

    fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Every address has to refuse: one that is silent may be hidden by a firewall, and live.
    async fn closed(&self, found: &[SocketAddr], ends: Instant, limit: Duration) -> Result<Outcome, Miss> {
        let name = self.name();
        for at in found {
            match timeout_at(ends, TcpStream::connect(at)).await {
                Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {}
                Ok(Ok(_open)) => {
                    return Err(Miss::unmet(format!(
                        "{name} ({at}) still accepts connections where a refusal is wanted; stop what listens there, \
                         and see that nothing starts it again"
                    )));
                }
                Ok(Err(error)) => {
                    return Err(Miss::unmet(format!(
                        "{name} ({at}) does not refuse: {error}; that is no proof: ask from where it can be reached"
                    )));
                }
                Err(_elapsed) => {
                    return Err(Miss::unmet(format!(
                        "{name} ({at}) does not refuse, it is silent for {}; something may listen behind a firewall: \
                         ask from where it can be reached",
                        time(limit)
                    )));
                }
            }
        }
        let all = found.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ");
        let summary = format!("{name} refuses connections ({all})");
        let mut result = Map::new();
        result.insert("address".to_owned(), json!(all));
        result.insert("refused".to_owned(), json!(true));
        Ok(Outcome {
            evidence: vec![("connection".to_owned(), format!("{summary}\n").into_bytes())],
            summary,
            result,
        })
    }

    /// The first address that accepts.
    async fn open(
        &self,
        found: &[SocketAddr],
        ends: Instant,
        limit: Duration,
    ) -> Result<(TcpStream, SocketAddr), Miss> {
        let name = self.name();
        let mut refused = Vec::new();
        for at in found {
            match timeout_at(ends, TcpStream::connect(at)).await {
                Ok(Ok(stream)) => return Ok((stream, *at)),
                Ok(Err(error)) => refused.push((*at, error)),
                Err(_elapsed) => {
                    return Err(Miss::silent(format!(
                        "{name} ({at}) does not connect within {}; see whether the host lives and whether a firewall \
                         is between",
                        time(limit)
                    )));
                }
            }
        }
        let hint = if refused
            .iter()
            .all(|(_, error)| error.kind() == ErrorKind::ConnectionRefused)
        {
            "start what should listen there, or correct the port"
        } else {
            "see whether the host can be reached from here"
        };
        let each = refused.iter().map(|(at, error)| format!("{at}: {error}"));
        let each = each.collect::<Vec<_>>().join(", ");
        Err(Miss::silent(format!("{name} does not accept ({each}); {hint}")))
    }

    async fn meet(&self, stream: TcpStream, address: SocketAddr, begun: Instant, ends: Instant) -> Result<Met, Miss> {
        let mut met = Met {
            address,
            took: begun.elapsed(),
            banner: None,
            certificate: None,
        };
        let Some(tls) = &self.tls else {
            met.banner = self.banner(stream, ends).await?;
            return Ok(met);
        };
        let name = self.name();
        let trust = tls.trust.get_or_try_init(|| Trust::new(tls.ca.as_deref(), tls.verify));
        let (config, shown) = trust.await.and_then(|trust| trust.client(&[])).map_err(Miss::Never)?;
        let connect = TlsConnector::from(Arc::new(config)).connect(tls.name.clone(), stream);
        let stream = match timeout_at(ends, connect).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let words = shown.refusal(&tls.name.to_str()).unwrap_or_else(|| {
                    format!(
                        "TLS could not be agreed on: {error}; see whether that port speaks TLS from the first byte on"
                    )
                });
                return Err(Miss::unmet(format!("{name}: {words}")));
            }
            Err(_elapsed) => {
                let words = "accepts, and then does not speak TLS in time; see whether that port speaks TLS";
                return Err(Miss::silent(format!("{name} {words}")));
            }
        };
        met.took = begun.elapsed();
        met.certificate = shown.certificate().cloned();
        if let Some((what, hint)) = tls
            .valid_for
            .and_then(|wanted| too_short(wanted.0, met.certificate.as_ref(), Utc::now()))
        {
            return Err(Miss::unmet(format!("{name}: {what}; {hint}")));
        }
        met.banner = self.banner(stream, ends).await?;
        Ok(met)
    }

    /// What the peer says unasked, where something is expected of it.
    async fn banner<S: AsyncRead + Unpin + Send>(&self, mut stream: S, ends: Instant) -> Result<Option<String>, Miss> {
        let Some(expect) = &self.expect else { return Ok(None) };
        let mut bytes = Vec::new();
        let mut buffer = [0_u8; BANNER];
        let why = loop {
            let room = buffer.get_mut(..BANNER - bytes.len()).unwrap_or_default();
            if room.is_empty() {
                break "its first KiB is read".to_owned();
            }
            match timeout_at(ends, stream.read(room)).await {
                Ok(Ok(0)) => break "it says no more".to_owned(),
                Ok(Ok(read)) => {
                    bytes.extend_from_slice(room.get(..read).unwrap_or_default());
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    let result = Map::from_iter([("banner".to_owned(), Value::String(text.clone()))]);
                    // What has come so far may be half of it.
                    if expect.holds(&result).unwrap_or(false) {
                        return Ok(Some(text));
                    }
                }
                Ok(Err(error)) => break error.to_string(),
                Err(_elapsed) => break "nothing more came in time".to_owned(),
            }
        };
        let said = String::from_utf8_lossy(&bytes)
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        let said: String = said.chars().take(160).collect();
        let words = format!(
            "{}: banner: {} does not hold of \"{said}\" ({why}); see what listens there",
            self.name(),
            expect.text()
        );
        Err(Miss::unmet(words))
    }

    fn outcome(&self, met: Met) -> Outcome {
        let now = Utc::now();
        let millis = u64::try_from(met.took.as_millis()).unwrap_or(u64::MAX);
        let mut summary = format!("{} ({}) accepts in {millis} ms", self.name(), met.address);
        let mut lines = vec![summary.clone()];
        let mut result = Map::new();
        result.insert("address".to_owned(), json!(met.address.to_string()));
        result.insert("refused".to_owned(), json!(false));
        result.insert("latency_ms".to_owned(), json!(millis));
        result.insert("banner".to_owned(), json!(met.banner));
        let tls = met
            .certificate
            .as_ref()
            .map_or(Value::Null, |certificate| certificate.json(now));
        result.insert("tls".to_owned(), tls);
        if let Some(certificate) = &met.certificate {
            summary = format!("{summary}; {}", certificate.words(now));
            lines.push(certificate.words(now));
            lines.push(format!("subject {}", certificate.subject));
            lines.push(format!("SHA-256 {}", certificate.fingerprint));
            let verified = self.tls.as_ref().is_some_and(|tls| tls.verify);
            let chain = if verified {
                "the chain was verified"
            } else {
                "the chain was NOT verified"
            };
            lines.push(chain.to_owned());
        }
        if let (Some(banner), Some(expect)) = (&met.banner, &self.expect) {
            summary = format!("{summary}; {} holds", expect.text());
            lines.push(format!("banner: {banner}"));
        }
        lines.push(String::new());
        Outcome {
            summary,
            result,
            evidence: vec![("connection".to_owned(), lines.join("\n").into_bytes())],
        }
    }
}

#[async_trait]
impl Question for Check {
    async fn ask(&self, limit: Duration) -> Result<Outcome, Miss> {
        let ends = Instant::now() + limit;
        let found = timeout_at(ends, self.reach.addresses(&self.host, self.port)).await;
        let found = found.map_err(|_elapsed| {
            let words = format!("no address of {} within {}; look at its record", self.host, time(limit));
            Miss::silent(words)
        })??;
        if self.refused {
            return self.closed(&found, ends, limit).await;
        }
        let begun = Instant::now();
        let (stream, address) = self.open(&found, ends, limit).await?;
        let met = self.meet(stream, address, begun, ends).await?;
        Ok(self.outcome(met))
    }
}

#[async_trait]
impl Action for Check {
    fn preview(&self) -> Preview {
        let name = self.name();
        let mut notes = Vec::new();
        notes.push(if self.refused {
            "expects every address to refuse".to_owned()
        } else {
            format!("expects a connection within {}", time(self.again.each))
        });
        if let Some(tls) = &self.tls {
            notes.push(format!("speaks TLS with {}", tls.name.to_str()));
            notes.extend(tls.valid_for.map(|valid| {
                let days = valid.0.as_secs() / 86_400;
                format!("expects a certificate valid for {days} more days")
            }));
            if !tls.verify {
                notes.push("the certificate's chain is NOT verified".to_owned());
            }
        }
        notes.extend(self.expect.iter().map(|expect| format!("expects {}", expect.text())));
        notes.extend(self.reach.pinned.map(|ip| format!("asks at {ip}, whatever DNS says")));
        notes.extend(
            self.again
                .within
                .map(|within| format!("asks again for up to {}", time(within))),
        );
        Preview {
            summary: format!("connects to {name}"),
            commands: vec![format!("connect {name}")],
            notes,
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        Ok(Ready {
            identity: json!({ "address": self.name(), "at": self.reach.pinned.map(|ip| ip.to_string()) }),
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
