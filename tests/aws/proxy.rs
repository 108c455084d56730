//! A faulty network: stands in front of the lab or a peer and hands requests on, except where it is told otherwise. One
//! request a connection.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// What happens to a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Handed on; the connection is reset instead of an answer.
    ResetAfter,
    /// Handed on; half of the answer arrives.
    CutReply,
    /// Not handed on: this answer instead.
    Answer(u16, &'static str),
    /// Handed on; the answer is these words and 200.
    Garbage(&'static str),
    /// Handed on; there never is an answer.
    Silence,
    /// Handed on once the gate is opened.
    Held(Arc<Gate>),
    /// Handed on; a text of the answer is another.
    Rewrite(&'static str, &'static str),
    /// The same of an answer that may be without it.
    RewriteIfThere(&'static str, &'static str),
}

/// Where a request waits.
#[derive(Debug, Default)]
pub struct Gate {
    /// It came.
    pub arrived: Notify,
    /// It may go on.
    pub open: Notify,
}

struct Rule {
    /// The operation, by the end of its name; empty: any.
    operation: String,
    fault: Fault,
    left: u32,
}

#[derive(Default)]
struct Told {
    rules: Vec<Rule>,
    resets: u32,
    seen: Vec<String>,
}

/// The proxy; ends when dropped.
pub struct Proxy {
    at: SocketAddr,
    told: Arc<Mutex<Told>>,
    serving: JoinHandle<()>,
}

impl Proxy {
    pub async fn start(upstream: &str) -> Self {
        let upstream = upstream.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let told: Arc<Mutex<Told>> = Arc::default();
        let serving = tokio::spawn({
            let told = told.clone();
            async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let (told, upstream) = (told.clone(), upstream.clone());
                    // A client that goes away is a client that goes away.
                    tokio::spawn(async move { serve(stream, &upstream, &told).await.ok() });
                }
            }
        });
        Self { at, told, serving }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.at)
    }

    /// The next requests of an operation meet a fault, so many times.
    pub fn arm(&self, operation: &str, fault: Fault, times: u32) {
        self.told.lock().unwrap().rules.push(Rule {
            operation: operation.to_owned(),
            fault,
            left: times,
        });
    }

    /// From here no request meets a fault any more.
    pub fn disarm(&self) {
        self.told.lock().unwrap().rules.clear();
    }

    /// The next connections are reset once something was sent and before it is read.
    pub fn reset(&self, connections: u32) {
        self.told.lock().unwrap().resets = connections;
    }

    /// How often an operation was asked for.
    pub fn count(&self, operation: &str) -> usize {
        let told = self.told.lock().unwrap();
        told.seen.iter().filter(|seen| *seen == operation).count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Drops a connection so that its other end is reset.
fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
}

async fn serve(mut client: TcpStream, upstream: &str, told: &Mutex<Told>) -> std::io::Result<()> {
    let resets = {
        let mut told = told.lock().unwrap();
        let resets = told.resets > 0;
        told.resets = told.resets.saturating_sub(1);
        resets
    };
    if resets {
        client.peek(&mut [0; 1]).await?;
        reset(client);
        return Ok(());
    }
    let request = read_request(&mut client).await?;
    let operation = operation(&request);
    let fault = {
        let mut told = told.lock().unwrap();
        told.seen.push(operation.clone());
        let rule = told
            .rules
            .iter_mut()
            .find(|rule| rule.left > 0 && operation.ends_with(&rule.operation));
        rule.map(|rule| {
            rule.left -= 1;
            rule.fault.clone()
        })
    };
    match fault {
        Some(Fault::Answer(status, body)) => client.write_all(&response(status, body)).await,
        Some(Fault::Held(gate)) => {
            gate.arrived.notify_one();
            gate.open.notified().await;
            let answer = hand_on(upstream, &request).await?;
            client.write_all(&answer).await
        }
        Some(Fault::ResetAfter) => {
            hand_on(upstream, &request).await?;
            reset(client);
            Ok(())
        }
        Some(Fault::CutReply) => {
            let answer = hand_on(upstream, &request).await?;
            client.write_all(&answer[..answer.len() / 2]).await
        }
        Some(Fault::Garbage(words)) => {
            hand_on(upstream, &request).await?;
            client.write_all(&response(200, words)).await
        }
        Some(Fault::Silence) => {
            hand_on(upstream, &request).await?;
            // Until the other end has had enough.
            client.read(&mut [0; 1]).await.map(|_| ())
        }
        Some(Fault::Rewrite(from, to)) => {
            let answer = hand_on(upstream, &request).await?;
            let text = String::from_utf8(answer).unwrap();
            let (_, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(body.contains(from), "{body}");
            client.write_all(&response(200, &body.replace(from, to))).await
        }
        Some(Fault::RewriteIfThere(from, to)) => {
            let answer = hand_on(upstream, &request).await?;
            let text = String::from_utf8(answer).unwrap();
            match text.split_once("\r\n\r\n") {
                Some((_, body)) if body.contains(from) => {
                    client.write_all(&response(200, &body.replace(from, to))).await
                }
                Some(_) | None => client.write_all(text.as_bytes()).await,
            }
        }
        None => {
            let answer = hand_on(upstream, &request).await?;
            client.write_all(&answer).await
        }
    }
}

fn response(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} Said\r\nContent-Type: text/xml\r\nContent-Length: {length}\r\nConnection: close\r\n\
         x-amzn-RequestId: proxy-said\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A whole request.
async fn read_request(client: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut request = Vec::new();
    loop {
        if let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.trim().parse::<usize>().unwrap());
            if request.len() >= end + 4 + length {
                return Ok(request);
            }
        }
        if client.read_buf(&mut request).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Sends a request on, on a connection of its own, and gives the whole answer.
async fn hand_on(upstream: &str, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(upstream).await?;
    let first = request.windows(2).position(|two| two == b"\r\n").unwrap() + 2;
    server.write_all(&request[..first]).await?;
    server.write_all(b"Connection: close\r\n").await?;
    server.write_all(&request[first..]).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    Ok(answer)
}

/// The operation that a request asks for.
fn operation(request: &[u8]) -> String {
    let text = String::from_utf8_lossy(request);
    if let Some((_, target)) = text.split_once("AmazonDMSv20160101.") {
        return target.split("\r\n").next().unwrap().to_owned();
    }
    if let Some((_, action)) = text.split_once("Action=") {
        return action.split('&').next().unwrap().to_owned();
    }
    let line = text.lines().next().unwrap();
    match line {
        _ if line.starts_with("POST") && line.contains("/rrset") => "ChangeResourceRecordSets".to_owned(),
        _ if line.contains("/rrset") => "ListResourceRecordSets".to_owned(),
        _ if line.contains("/change/") => "GetChange".to_owned(),
        other => other.to_owned(),
    }
}
