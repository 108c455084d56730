//! An action on a real server, in the hands of a test; and a way to a server that is cut where the test says.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use pointsman::provider::action::{Action, ActionError, Cx, Progress, Reporter};
use pointsman::provider::connection::{Connections, Target};
use pointsman::provider::registry::{Request, build};
use pointsman::provider::sql::server::ServerTarget;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

struct Unheard;

#[async_trait]
impl Reporter for Unheard {
    async fn ack(&self, _provider_id: &str) -> Result<(), ActionError> {
        Ok(())
    }

    fn progress(&self, _progress: Progress) {}
}

pub fn cx(key: &str) -> Cx {
    Cx {
        run: "run".to_owned(),
        step: "step".to_owned(),
        attempt: 1,
        key: key.to_owned(),
        intent_at: chrono::Utc::now(),
        identity: Value::Null,
        forward: Value::Null,
        acked: None,
        mutates: true,
        answers: std::collections::BTreeMap::new(),
        target_written: false,
        cancel: CancellationToken::new(),
        speed: 1.0,
        reporter: Arc::new(Unheard),
    }
}

pub fn action(uses: &str, with: Value, targets: &[&ServerTarget]) -> Box<dyn Action> {
    try_action(uses, with, targets).unwrap_or_else(|error| panic!("{uses}: {error}"))
}

pub fn try_action(uses: &str, with: Value, targets: &[&ServerTarget]) -> Result<Box<dyn Action>, String> {
    let mut connections = Connections::new();
    let mut on = Vec::new();
    for (index, target) in targets.iter().enumerate() {
        let name = format!("db{index}");
        connections = connections.with(&name, Target::Server((*target).clone()));
        on.push(name);
    }
    let request = Request {
        uses,
        on: &on,
        with: &with,
    };
    build(&request, &connections).map_err(|error| error.to_string())
}

pub fn exec(sql: &str, target: &ServerTarget) -> Box<dyn Action> {
    action("sql.exec", json!({ "sql": sql }), &[target])
}

/// Where a connection is cut.
#[derive(Clone, Copy)]
pub enum Cut {
    /// What the client says never arrives.
    Before(&'static str),
    /// It arrives, and the answer does not.
    After(&'static str),
}

/// The same database by a way that is cut.
pub async fn by_way_of(target: &ServerTarget, cut: Cut) -> ServerTarget {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let at = SocketAddr::from(([127, 0, 0, 1], target.port));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(carried(client, at, cut));
        }
    });
    ServerTarget { port, ..target.clone() }
}

async fn carried(mut client: TcpStream, at: SocketAddr, cut: Cut) {
    let Ok(mut server) = TcpStream::connect(at).await else {
        return;
    };
    let (word, after) = match cut {
        Cut::Before(word) => (word, false),
        Cut::After(word) => (word, true),
    };
    let (mut from_client, mut from_server) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(count @ 1..) = read else { return };
                let said = &from_client[..count];
                let found = String::from_utf8_lossy(said).contains(word);
                if found && !after {
                    return;
                }
                if server.write_all(said).await.is_err() {
                    return;
                }
                if found {
                    // The answer shows that it was done.
                    let _answered = server.read(&mut from_server).await;
                    return;
                }
            }
            read = server.read(&mut from_server) => {
                let Ok(count @ 1..) = read else { return };
                if client.write_all(&from_server[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}
