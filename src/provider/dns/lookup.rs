//! Asking one DNS server directly: no cache, no recursion (RFC 1035; TCP after truncation, RFC 7766).

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use serde::Deserialize;
use serde_json::{Map, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::provider::action::{Action, ActionError, ActionErrorKind, Cx, Observed, Outcome, Preview, Ready};
use crate::provider::aws::AwsTarget;
use crate::provider::connection::BuildError;
use crate::provider::expectation::Expectation;
use crate::provider::registry::Request;

const PATIENCE: Duration = Duration::from_secs(3);

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub name: String,
    pub kind: String,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// Sorted.
    pub values: Vec<String>,
    /// The lowest TTL among them, in seconds.
    pub ttl: u32,
    pub authoritative: bool,
}

fn transient(words: String) -> ActionError {
    ActionError::new(ActionErrorKind::Transient, words)
}

/// Asks `server`.
pub async fn ask(server: SocketAddr, asked: &Asked) -> Result<Answer, ActionError> {
    let permanent = |words: String| ActionError::new(ActionErrorKind::Permanent, words);
    let name = Name::from_str(&asked.name).map_err(|error| permanent(format!("{}: {error}", asked.name)))?;
    let kind = RecordType::from_str(&asked.kind).map_err(|error| permanent(format!("{}: {error}", asked.kind)))?;
    let mut question = Message::query();
    question.metadata.recursion_desired = false;
    question.add_query(Query::query(name, kind));
    let id = question.metadata.id;
    let bytes = question.to_vec().map_err(|error| permanent(error.to_string()))?;
    let failed = |error: std::io::Error| transient(format!("{server}: {error}"));
    let silent = |_elapsed| transient(format!("{server} gives no answer about {}", asked.name));
    let mut answer = tokio::time::timeout(PATIENCE, over_udp(server, &bytes, id))
        .await
        .map_err(silent)?
        .map_err(failed)?;
    if answer.metadata.truncation {
        answer = tokio::time::timeout(PATIENCE, over_tcp(server, &bytes))
            .await
            .map_err(silent)?
            .map_err(failed)?;
    }
    match answer.metadata.response_code {
        ResponseCode::NoError => {}
        ResponseCode::NXDomain => {
            return Ok(Answer {
                authoritative: answer.metadata.authoritative,
                ..Answer::default()
            });
        }
        other => return Err(permanent(format!("{server} answers {other} about {}", asked.name))),
    }
    let mut values: Vec<String> = answer
        .answers
        .iter()
        .filter(|record| record.record_type() == kind)
        .map(|record| record.data.to_string())
        .collect();
    values.sort();
    let ttl = answer.answers.iter().map(|record| record.ttl).min().unwrap_or(0);
    Ok(Answer {
        values,
        ttl,
        authoritative: answer.metadata.authoritative,
    })
}

async fn over_udp(server: SocketAddr, question: &[u8], id: u16) -> std::io::Result<Message> {
    let local = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut buffer = vec![0u8; 4096];
    loop {
        let len = socket.recv(&mut buffer).await?;
        // What does not answer our question is not for us.
        if let Ok(message) = Message::from_vec(buffer.get(..len).unwrap_or_default())
            && message.metadata.id == id
        {
            return Ok(message);
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &[u8]) -> std::io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let len = u16::try_from(question.len()).map_err(std::io::Error::other)?;
    stream.write_all(&len.to_be_bytes()).await?;
    stream.write_all(question).await?;
    let mut size = [0u8; 2];
    stream.read_exact(&mut size).await?;
    let mut bytes = vec![0u8; usize::from(u16::from_be_bytes(size))];
    stream.read_exact(&mut bytes).await?;
    Message::from_vec(&bytes).map_err(std::io::Error::other)
}

/// The authoritative server of a connection.
pub fn server_of(target: &AwsTarget) -> Result<SocketAddr, ActionError> {
    target.dns_server.ok_or_else(|| {
        let words = "the connection names no authoritative server; add dns_server: ip:port";
        ActionError::new(ActionErrorKind::Permanent, words)
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    record: String,
    #[serde(rename = "type", default = "address")]
    kind: String,
    expect: Option<Expectation>,
}

pub(super) fn address() -> String {
    "A".to_owned()
}

/// `dns.lookup`.
pub struct Lookup {
    target: AwsTarget,
    with: Parameters,
}

impl Lookup {
    /// From its parameters.
    pub fn new(request: &Request<'_>, target: AwsTarget) -> Result<Self, BuildError> {
        Ok(Self {
            target,
            with: request.parameters()?,
        })
    }
}

#[async_trait]
impl Action for Lookup {
    fn preview(&self) -> Preview {
        let server = self
            .target
            .dns_server
            .map_or_else(|| "the authoritative server".to_owned(), |at| at.to_string());
        Preview {
            summary: format!("asks {server} for {} {}", self.with.record, self.with.kind),
            commands: vec![format!("dig @{server} {} {}", self.with.record, self.with.kind)],
            notes: self
                .with
                .expect
                .iter()
                .map(|expect| format!("expects {}", expect.text()))
                .collect(),
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        let server = server_of(&self.target)?;
        Ok(Ready {
            identity: json!({ "server": server.to_string() }),
            facts: Vec::new(),
        })
    }

    async fn execute(&self, _cx: &Cx) -> Result<Outcome, ActionError> {
        let asked = Asked {
            name: self.with.record.clone(),
            kind: self.with.kind.clone(),
        };
        let answer = ask(server_of(&self.target)?, &asked).await?;
        let mut result = Map::new();
        result.insert("values".to_owned(), json!(answer.values));
        result.insert("ttl".to_owned(), json!(answer.ttl));
        result.insert("authoritative".to_owned(), json!(answer.authoritative));
        let summary = format!(
            "{} {} = {} (TTL {})",
            self.with.record,
            self.with.kind,
            answer.values.join(", "),
            answer.ttl
        );
        if let Some(expect) = &self.with.expect
            && !expect.holds(&result)?
        {
            let words = format!("{summary}; {} does not hold", expect.text());
            return Err(ActionError::new(ActionErrorKind::Permanent, words));
        }
        Ok(Outcome {
            summary,
            result,
            evidence: Vec::new(),
        })
    }

    async fn observe(&self, _cx: &Cx) -> Result<Observed, ActionError> {
        Ok(Observed::NotStarted {
            detail: "a read leaves nothing behind".to_owned(),
        })
    }
}
