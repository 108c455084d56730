//! The workload: writes orders where DNS sends it, and notes what it was told. Lost writes and downtime are measured
//! from its own notes, never from what anybody claims.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use rusqlite::Connection;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use super::cloud::now_ms;
use super::endpoints::{Endpoints, NEW, RECORD};
use super::seed::open;
use super::world::LabError;

/// Twenty writes a second, whatever the lab's speed.
const BEAT: Duration = Duration::from_millis(50);
const NOTES: &str = "
    create table if not exists acks(key text primary key, side text not null, t_ms integer not null);
    create table if not exists refusals(t_ms integer not null, why text not null);
    create table if not exists counter(n integer not null);";

/// Opens the workload's notes.
pub fn notes(folder: &std::path::Path) -> Result<Connection, LabError> {
    let db = open(&folder.join("writer.db"))?;
    db.execute_batch(NOTES)?;
    Ok(db)
}

/// A cached DNS answer.
struct Cached {
    address: String,
    until: Instant,
}

/// The workload.
pub struct Workload {
    endpoints: Endpoints,
    cached: Option<Cached>,
}

impl Workload {
    /// A workload against a lab.
    pub const fn new(endpoints: Endpoints) -> Self {
        Self {
            endpoints,
            cached: None,
        }
    }

    /// Writes until it is asked to end.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(BEAT) => {}
            }
            let side = match self.side().await {
                Ok(side) => side,
                Err(error) => {
                    tracing::debug!(%error, "the workload cannot resolve");
                    continue;
                }
            };
            let folder = self.endpoints.folder.clone();
            let database = if side == "new" {
                self.endpoints.target.clone()
            } else {
                self.endpoints.source.clone()
            };
            match tokio::task::spawn_blocking(move || write(folder, database, side)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "the workload goes on after a fault"),
                Err(error) => tracing::error!(%error, "the workload broke"),
            }
        }
    }

    async fn side(&mut self) -> Result<&'static str, LabError> {
        let fresh = self.cached.as_ref().is_some_and(|cached| Instant::now() < cached.until);
        if !fresh {
            let (address, ttl) = resolve(self.endpoints.dns).await?;
            let kept = Duration::from_secs(u64::from(ttl)).div_f64(self.endpoints.speed.max(1.0));
            self.cached = Some(Cached {
                address,
                until: Instant::now() + kept,
            });
        }
        let new = self.cached.as_ref().is_some_and(|cached| cached.address == NEW);
        Ok(if new { "new" } else { "old" })
    }
}

async fn resolve(server: SocketAddr) -> Result<(String, u32), LabError> {
    let bad = |words: String| LabError::State(words);
    let name = Name::from_str(RECORD).map_err(|error| bad(error.to_string()))?;
    let mut question = Message::query();
    question.add_query(Query::query(name, RecordType::A));
    let bytes = question.to_vec().map_err(|error| bad(error.to_string()))?;
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.connect(server).await?;
    socket.send(&bytes).await?;
    let mut buffer = [0u8; 1500];
    let len = tokio::time::timeout(Duration::from_secs(1), socket.recv(&mut buffer))
        .await
        .map_err(|_elapsed| bad("no answer".to_owned()))??;
    let answer = Message::from_vec(buffer.get(..len).unwrap_or_default()).map_err(|error| bad(error.to_string()))?;
    answer
        .answers
        .iter()
        .find_map(|record| match &record.data {
            RData::A(address) => Some((address.0.to_string(), record.ttl)),
            _ => None,
        })
        .ok_or_else(|| bad("no address".to_owned()))
}

/// One order with its ledger entry in one transaction, then the note that it was acknowledged.
fn write(folder: PathBuf, database: PathBuf, side: &'static str) -> Result<(), LabError> {
    let notes = notes(&folder)?;
    notes.execute(
        "insert into counter select 0 where not exists (select 1 from counter)",
        [],
    )?;
    // The number is used up whether or not the write succeeds: keys are never given twice.
    let number: i64 = notes.query_row("update counter set n = n + 1 returning n", [], |row| row.get(0))?;
    let key = format!("app-{number:08}");
    match order(&database, &key, number) {
        Ok(()) => {
            notes.execute("insert into acks values (?, ?, ?)", (&key, side, now_ms()))?;
        }
        Err(refused) => {
            notes.execute("insert into refusals values (?, ?)", (now_ms(), refused.to_string()))?;
        }
    }
    Ok(())
}

fn order(database: &std::path::Path, key: &str, number: i64) -> Result<(), LabError> {
    let mut db = open(database)?;
    let transaction = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let amount = 100 + number * 13 % 900;
    transaction.execute(
        "insert into orders values (?, ?, ?, 'app', ?)",
        (key, format!("c{:04}", number % 200), amount, &now),
    )?;
    transaction.execute("insert into ledger values (?, ?, ?, ?)", (key, key, amount, &now))?;
    transaction.commit()?;
    Ok(())
}
