//! Asking one DNS server directly and seeing its own words (RFC 1035; TCP after truncation, RFC 7766): no cache of ours,
//! no second server behind the first. Must not judge an answer.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::provider::action::{ActionError, ActionErrorKind};

use super::spelling;

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
    /// In one spelling, sorted.
    pub values: Vec<String>,
    /// The lowest TTL among them, in seconds.
    pub ttl: u32,
    pub authoritative: bool,
}

fn transient(words: String) -> ActionError {
    ActionError::new(ActionErrorKind::Transient, words)
}

/// Asks an authoritative server for what it knows itself.
pub async fn ask(server: SocketAddr, asked: &Asked) -> Result<Answer, ActionError> {
    exchange(server, asked, false).await
}

/// Asks a resolver, which answers from its cache as long as it holds something. One that holds nothing fetches what is
/// current and keeps it for its TTL, as it would for any client.
pub async fn ask_resolver(server: SocketAddr, asked: &Asked) -> Result<Answer, ActionError> {
    exchange(server, asked, true).await
}

async fn exchange(server: SocketAddr, asked: &Asked, recursion: bool) -> Result<Answer, ActionError> {
    let permanent = |words: String| ActionError::new(ActionErrorKind::Permanent, words);
    let name = Name::from_str(&asked.name).map_err(|error| permanent(format!("{}: {error}", asked.name)))?;
    let kind = RecordType::from_str(&asked.kind).map_err(|error| permanent(format!("{}: {error}", asked.kind)))?;
    let mut question = Message::query();
    question.metadata.recursion_desired = recursion;
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
        .map(|record| spelling::of(&record.data))
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
