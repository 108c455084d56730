//! What stands for SQL Server in the tests: a peer that other people wrote (`tests/peers/tds`), and a front before it that
//! answers by a script what the peer cannot. What the script answers is Microsoft's documentation, and was never held
//! against a SQL Server.
#![allow(dead_code, clippy::allow_attributes, reason = "each test file uses its own part")]

pub mod front;
pub mod world;

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use pointsman::provider::sql::server::{Engine, PATIENCE, Protection, ServerTarget};
use pointsman::provider::sql::sqlserver;

use crate::databases::{PASSWORD, USER};

pub use front::{Script, front};

/// The peer; it ends with its input.
pub struct Peer {
    child: Child,
    pub port: u16,
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ended = self.child.wait();
    }
}

/// A new one; nothing where it is not built and need not be.
pub fn peer() -> Option<Peer> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target"),
        PathBuf::from,
    );
    let program = target.join("peers-tds/debug/tds-peer");
    if !program.is_file() {
        let words = format!("{} is not built", program.display());
        let needed = ["CI", "POINTSMAN_PEERS"]
            .map(std::env::var_os)
            .iter()
            .any(Option::is_some);
        assert!(!needed, "{words}; ./tests/run builds it");
        // Not by a macro: the harness would keep it to itself.
        let mut out = std::io::stderr();
        writeln!(out, "SKIPPED: {words}; ./tests/run builds it").unwrap();
        return None;
    }
    let mut child = Command::new(program)
        .args([USER, PASSWORD])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    let port = first.trim().parse().unwrap();
    Some(Peer { child, port })
}

pub fn target(host: &str, port: u16) -> ServerTarget {
    ServerTarget {
        engine: Engine::Sqlserver,
        host: host.to_owned(),
        port,
        database: "master".to_owned(),
        user: USER.to_owned(),
        password: Some(PASSWORD.to_owned()),
        token: None,
        protection: Protection::Off,
        patience: PATIENCE,
    }
}

/// A peer behind a script.
pub struct Stage {
    pub target: ServerTarget,
    /// The peer itself.
    pub behind: ServerTarget,
    _peer: Peer,
}

impl Stage {
    /// A new one; nothing where the peer is not there.
    pub fn new(script: Arc<dyn Script>) -> Option<Self> {
        let peer = peer()?;
        Some(Self {
            target: target("127.0.0.1", front(peer.port, script)),
            behind: target("127.0.0.1", peer.port),
            _peer: peer,
        })
    }

    /// Executes as the owner does, past the script.
    pub async fn run(&self, sql: &str) {
        run(&self.behind, sql).await;
    }
}

/// Executes as the owner does.
pub async fn run(target: &ServerTarget, sql: &str) {
    let mut connection = sqlserver::connect::connect(target, false).await.unwrap();
    let answer = connection.client.simple_query(sql).await;
    let done = match answer {
        Ok(answer) => answer.into_results().await.map(drop),
        Err(error) => Err(error),
    };
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}
