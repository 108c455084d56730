//! PostgreSQL: a session that writes under a marker. Its tables are made in the first schema of the user's search path,
//! and named with it from then on.

use async_trait::async_trait;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio_postgres::error::{Severity, SqlState};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::provider::action::{ActionError, ActionErrorKind, Cx, Observed};
use crate::provider::sql::server::ServerTarget;
use crate::provider::sql::session::Ender;
use crate::provider::sql::writer::{Failure, Found, Writer, observed, result, told};

use super::connect::{connect, failed};
use super::reader::Bound;
use super::session::Cancel;

const TABLES: [(&str, &str); 3] = [
    (
        "pointsman_marker",
        "key text primary key, run text not null, step text not null, attempt integer not null, applied_at timestamptz",
    ),
    ("pointsman_result", "key text primary key, result text not null"),
    (
        "pointsman_fence",
        "token text primary key, written_at timestamptz not null",
    ),
];

/// A session that writes.
pub struct PostgresWriter {
    pub client: Client,
    tls: Option<MakeRustlsConnect>,
    key: String,
    marker: String,
    result: String,
    fence: String,
}

/// The lock of a key, as PostgreSQL counts them.
fn lock(key: &str) -> i64 {
    let digest = Sha256::digest(key.as_bytes());
    digest
        .iter()
        .take(8)
        .fold(0, |number, byte| (number << 8) | i64::from(*byte))
}

/// What an error before a commit means: the session is gone, or the server refused. Nothing was committed either way.
pub fn refused(error: &Error, what: &str) -> Failure {
    let answer = error.as_db_error();
    let fatal = answer.is_some_and(|told| matches!(told.parsed_severity(), Some(Severity::Fatal | Severity::Panic)));
    let lost = fatal || error.is_closed() || answer.is_none() && error.to_string().contains("communicating");
    Failure {
        error: told(failed(error, what)),
        lost,
    }
}

/// Where a table is, as SQL names it; nothing where there is none.
async fn place(client: &Client, table: &str) -> Result<Option<String>, ActionError> {
    let sql = "select format('%I.%I', n.nspname, c.relname) from pg_class c \
               join pg_namespace n on n.oid = c.relnamespace where c.oid = to_regclass($1::text)";
    let found = client.query_opt(sql, &[&table]).await;
    let found = found.map_err(|error| failed(&error, table))?;
    Ok(found.map(|row| row.get(0)))
}

/// Makes the tables that are not there, each by itself: another session may make them at the same time.
async fn made(client: &Client, table: &str, columns: &str) -> Result<String, ActionError> {
    if let Some(found) = place(client, table).await? {
        return Ok(found);
    }
    if let Err(error) = client.batch_execute(&format!("create table {table}({columns})")).await {
        let there = [
            SqlState::DUPLICATE_TABLE,
            SqlState::UNIQUE_VIOLATION,
            SqlState::DUPLICATE_OBJECT,
        ];
        if !error.code().is_some_and(|code| there.contains(code)) {
            return Err(failed(&error, &format!("making {table}")));
        }
    }
    place(client, table).await?.ok_or_else(|| {
        let words = format!("{table} was made and is not found; look at the search path of the connection's user");
        ActionError::new(ActionErrorKind::Permanent, words)
    })
}

/// Connects, takes the key's lock, and makes what it writes into.
pub async fn writer(target: &ServerTarget, cx: &Cx) -> Result<PostgresWriter, ActionError> {
    let (client, tls) = connect(target, false).await?;
    // A database that was frozen is frozen for others.
    let open = client.batch_execute("set default_transaction_read_only = off").await;
    open.map_err(|error| failed(&error, "the session"))?;
    let held = client.execute("select pg_advisory_lock($1)", &[&lock(&cx.key)]).await;
    held.map_err(|error| failed(&error, "an earlier session is still at the same change; its lock"))?;
    let mut places = Vec::new();
    for (table, columns) in TABLES {
        places.push(made(&client, table, columns).await?);
    }
    let mut place = places.into_iter();
    let mut next = || place.next().unwrap_or_default();
    Ok(PostgresWriter {
        client,
        tls,
        key: cx.key.clone(),
        marker: next(),
        result: next(),
        fence: next(),
    })
}

impl PostgresWriter {
    async fn own(&self, what: &str, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<u64, Failure> {
        let done = self.client.execute(sql, params).await;
        done.map_err(|error| refused(&error, what))
    }

    /// A statement as the server's log shows it: whose it is stands before it.
    fn signed(&self, sql: &str) -> String {
        format!("/* {} */ {sql}", self.key)
    }
}

async fn find(client: &Client, marker: &str, results: &str, key: &str) -> Result<Found, ActionError> {
    let sql = format!(
        "select m.applied_at is not null, r.result from {marker} m left join {results} r on r.key = m.key where m.key = $1"
    );
    let found = client.query_opt(&sql, &[&key]).await;
    let found = found.map_err(|error| failed(&error, "the marker row"))?;
    Ok(found.map_or(Found::Nothing, |row| match row.get(0) {
        true => Found::Done(result(row.get(1))),
        false => Found::Begun,
    }))
}

#[async_trait]
impl Writer for PostgresWriter {
    async fn find(&mut self) -> Result<Found, ActionError> {
        find(&self.client, &self.marker, &self.result, &self.key).await
    }

    async fn begin(&mut self) -> Result<(), Failure> {
        let begun = self.client.batch_execute(&self.signed("begin read write")).await;
        begun.map_err(|error| refused(&error, "the transaction"))
    }

    async fn mark(&mut self, cx: &Cx, done: bool) -> Result<(), Failure> {
        let at = if done { "clock_timestamp()" } else { "null" };
        let sql = format!(
            "insert into {}(key, run, step, attempt, applied_at) values ($1, $2, $3, $4, {at})",
            self.marker
        );
        let attempt = i32::try_from(cx.attempt).unwrap_or(i32::MAX);
        self.own("the marker row", &sql, &[&cx.key, &cx.run, &cx.step, &attempt])
            .await
            .map(drop)
    }

    async fn unmark(&mut self) -> Result<(), Failure> {
        let sql = format!("delete from {} where key = $1 and applied_at is null", self.marker);
        self.own("the marker row", &sql, &[&self.key]).await.map(drop)
    }

    async fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64, Failure> {
        let wrong = |error: Error| refused(&error, "the statement");
        let statement = self.client.prepare(&self.signed(sql)).await.map_err(wrong)?;
        if statement.params().len() != params.len() {
            let words = format!(
                "the statement takes {} parameters, {} are given",
                statement.params().len(),
                params.len()
            );
            return Err(Failure {
                error: ActionError::new(ActionErrorKind::Permanent, words),
                lost: false,
            });
        }
        let bound: Vec<Bound<'_>> = params.iter().map(Bound).collect();
        self.client.execute_raw(&statement, bound.iter()).await.map_err(wrong)
    }

    async fn fence(&mut self, now: &str) -> Result<(), Failure> {
        let sql = format!(
            "insert into {}(token, written_at) values ($1, ($2::text)::timestamptz)",
            self.fence
        );
        self.own("the fence row", &sql, &[&self.key, &now]).await.map(drop)
    }

    async fn keep(&mut self, result: &str) -> Result<(), Failure> {
        let sql = format!(
            "with done as (update {} set applied_at = coalesce(applied_at, clock_timestamp()) where key = $1) \
             insert into {}(key, result) values ($1, $2)",
            self.marker, self.result
        );
        self.own("the result's row", &sql, &[&self.key, &result])
            .await
            .map(drop)
    }

    async fn commit(&mut self) -> Result<(), ActionError> {
        let committed = self.client.batch_execute(&self.signed("commit")).await;
        committed.map_err(|error| {
            let failure = refused(&error, "the commit");
            if failure.lost {
                // It was sent: the answer may be all that is missing.
                let words = format!("the commit was sent and not confirmed: {}", failure.error.message);
                return ActionError::new(ActionErrorKind::InDoubt, words);
            }
            failure.error
        })
    }

    async fn rollback(&mut self) -> Option<String> {
        // A session that cannot be told ends with its connection, and its transaction with it.
        if let Err(error) = self.client.batch_execute("rollback").await {
            tracing::info!(%error, "the rollback was not answered");
        }
        None
    }

    fn ender(&self) -> Box<dyn Ender> {
        Box::new(Cancel {
            token: self.client.cancel_token(),
            tls: self.tls.clone(),
        })
    }
}

/// Whether the mutation of this key was committed: first whether anybody is still at it, then its marker.
pub async fn observe(target: &ServerTarget, cx: &Cx, summary: &str) -> Result<Observed, ActionError> {
    let (client, _tls) = connect(target, true).await?;
    let sql = "select exists(select 1 from pg_locks where locktype = 'advisory' and objsubid = 1 and granted \
               and database = (select oid from pg_database where datname = current_database()) \
               and ((classid::bigint << 32) | objid::bigint) = $1)";
    let held = client.query_one(sql, &[&lock(&cx.key)]).await;
    let held: bool = held.map_err(|error| failed(&error, "the key's lock"))?.get(0);
    let marker = place(&client, "pointsman_marker").await?;
    let results = place(&client, "pointsman_result").await?;
    let found = match marker.zip(results) {
        Some((marker, results)) => find(&client, &marker, &results, &cx.key).await?,
        None => Found::Nothing,
    };
    Ok(observed(held, found, summary))
}

/// Lines for people: who else gets the tool's rows.
pub async fn facts(target: &ServerTarget) -> Result<Vec<String>, ActionError> {
    let (client, _tls) = connect(target, true).await?;
    let mut facts = Vec::new();
    if place(&client, "pointsman_marker").await?.is_none() {
        facts.push("pointsman_marker, _result and _fence are not there yet and will be made".to_owned());
    }
    let sql = "select coalesce(string_agg(pubname, ', ' order by pubname), '') from pg_publication where puballtables";
    let published = client.query_one(sql, &[]).await;
    let published: String = published.map_err(|error| failed(&error, "publications"))?.get(0);
    if !published.is_empty() {
        facts.push(format!(
            "publication {published} publishes every table: a subscriber without pointsman_marker, _result and _fence \
             stops applying; make them there first"
        ));
    }
    let sql = "select pg_is_in_recovery()";
    let standby = client.query_one(sql, &[]).await;
    if standby.map_err(|error| failed(&error, "the server's role"))?.get(0) {
        let words = format!("{target} is a standby and takes no writes; name its primary");
        return Err(ActionError::new(ActionErrorKind::Permanent, words));
    }
    Ok(facts)
}
