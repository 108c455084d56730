//! MySQL and MariaDB: a session that writes under a marker. The marker's tables are InnoDB whatever the server's default.

use async_trait::async_trait;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Params, Row, Value as Cell};
use serde_json::{Value, json};

use crate::provider::action::{ActionError, ActionErrorKind, Cx, Observed};
use crate::provider::sql::server::ServerTarget;
use crate::provider::sql::session::Ender;
use crate::provider::sql::writer::{self, Failure, Found, Writer, observed, result};

use super::connect::{connect, failed};
use super::session::Kill;

const TABLES: [(&str, &str); 3] = [
    (
        "pointsman_marker",
        "`key` varchar(64) primary key, run varchar(255) not null, step varchar(255) not null, attempt int not null, \
         applied_at datetime(6) null",
    ),
    (
        "pointsman_result",
        "`key` varchar(64) primary key, result longtext not null",
    ),
    (
        "pointsman_fence",
        "token varchar(64) primary key, written_at datetime(6) not null",
    ),
];

/// What the prepared protocol does not know (ER_UNSUPPORTED_PS).
const UNPREPARED: u16 = 1295;
/// The warning of a rollback that met tables without transactions (ER_WARNING_NOT_COMPLETE_ROLLBACK).
const NOT_ALL: u16 = 1196;

/// A session that writes.
pub struct MysqlWriter {
    pub session: Conn,
    target: ServerTarget,
    key: String,
}

/// What an error before a commit means: the session is gone, or the server refused.
pub fn refused(error: &Error, what: &str) -> Failure {
    match error {
        Error::Server(told) => Failure {
            error: writer::told(failed(error, what)),
            // The server shuts down (1053), or somebody ended the session (1927).
            lost: matches!(told.code, 1053 | 1927 | 3169),
        },
        Error::Driver(_) | Error::Io(_) | Error::Other(_) | Error::Url(_) => Failure {
            error: ActionError {
                kind: ActionErrorKind::Transient,
                ..failed(error, what)
            },
            lost: true,
        },
    }
}

/// Connects, takes the key's lock, and makes what it writes into.
pub async fn writer(target: &ServerTarget, cx: &Cx) -> Result<MysqlWriter, ActionError> {
    let mut session = connect(target, false).await?;
    let wrong = |error: Error| failed(&error, "the session");
    session.query_drop("set autocommit = 1").await.map_err(wrong)?;
    let wait = target.patience.as_secs().max(1);
    let held: Option<Option<i64>> = session
        .exec_first("select get_lock(?, ?)", (&cx.key, wait))
        .await
        .map_err(wrong)?;
    if held.flatten() != Some(1) {
        let words = "an earlier session is still at the same change, and holds its lock; try again when it has ended";
        return Err(ActionError::new(ActionErrorKind::Transient, words));
    }
    for (table, columns) in TABLES {
        if !there(&mut session, table).await? {
            let sql = format!("create table if not exists {table}({columns}) engine=InnoDB default charset=utf8mb4");
            let done = session.query_drop(sql).await;
            done.map_err(|error| failed(&error, &format!("making {table}")))?;
        }
    }
    Ok(MysqlWriter {
        session,
        target: target.clone(),
        key: cx.key.clone(),
    })
}

async fn there(session: &mut Conn, table: &str) -> Result<bool, ActionError> {
    let sql = "select count(*) from information_schema.tables where table_schema = database() and table_name = ?";
    let found: Option<u64> = session
        .exec_first(sql, (table,))
        .await
        .map_err(|error| failed(&error, table))?;
    Ok(found.is_some_and(|count| count > 0))
}

async fn find(session: &mut Conn, key: &str) -> Result<Found, ActionError> {
    let sql = "select m.applied_at is not null, r.result from pointsman_marker m \
               left join pointsman_result r on r.`key` = m.`key` where m.`key` = ?";
    let found: Option<(bool, Option<String>)> = session
        .exec_first(sql, (key,))
        .await
        .map_err(|error| failed(&error, "the marker row"))?;
    Ok(found.map_or(Found::Nothing, |(done, text)| match done {
        true => Found::Done(result(text.as_deref())),
        false => Found::Begun,
    }))
}

/// A scalar, bound.
fn cell(value: &Value) -> Cell {
    match value {
        Value::Null => Cell::NULL,
        Value::Bool(flag) => Cell::Int(i64::from(*flag)),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Cell::Int(number),
            (None, Some(number)) => Cell::UInt(number),
            (None, None) => Cell::Double(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => Cell::Bytes(text.clone().into_bytes()),
        Value::Array(_) | Value::Object(_) => Cell::Bytes(value.to_string().into_bytes()),
    }
}

impl MysqlWriter {
    async fn own(&mut self, what: &str, sql: &str, params: Params) -> Result<(), Failure> {
        let done = self.session.exec_drop(sql, params).await;
        done.map_err(|error| refused(&error, what))
    }

    /// A statement as the server's logs show it: whose it is stands before it.
    fn signed(&self, sql: &str) -> String {
        format!("/* {} */ {sql}", self.key)
    }

    async fn plain(&mut self, sql: &str) -> Result<u64, Failure> {
        let wrong = |error: Error| refused(&error, "the statement");
        let answer = self.session.query_iter(sql).await.map_err(wrong)?;
        let rows = answer.affected_rows();
        answer.drop_result().await.map_err(wrong)?;
        Ok(rows)
    }
}

#[async_trait]
impl Writer for MysqlWriter {
    async fn find(&mut self) -> Result<Found, ActionError> {
        find(&mut self.session, &self.key).await
    }

    async fn begin(&mut self) -> Result<(), Failure> {
        let sql = self.signed("start transaction read write");
        let begun = self.session.query_drop(sql).await;
        begun.map_err(|error| refused(&error, "the transaction"))
    }

    async fn mark(&mut self, cx: &Cx, done: bool) -> Result<(), Failure> {
        let at = if done { "utc_timestamp(6)" } else { "null" };
        let sql =
            format!("insert into pointsman_marker(`key`, run, step, attempt, applied_at) values (?, ?, ?, ?, {at})");
        let params = (&cx.key, &cx.run, &cx.step, cx.attempt).into();
        self.own("the marker row", &sql, params).await
    }

    async fn unmark(&mut self) -> Result<(), Failure> {
        let params = (&self.key,).into();
        let sql = "delete from pointsman_marker where `key` = ? and applied_at is null";
        self.own("the marker row", sql, params).await
    }

    async fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64, Failure> {
        let wrong = |error: Error| refused(&error, "the statement");
        let signed = self.signed(sql);
        let statement = match self.session.prep(&signed).await {
            Ok(statement) => statement,
            Err(Error::Server(told)) if told.code == UNPREPARED && params.is_empty() => {
                return self.plain(&signed).await;
            }
            Err(error) => return Err(wrong(error)),
        };
        if usize::from(statement.num_params()) != params.len() {
            let (takes, given) = (statement.num_params(), params.len());
            let words = format!("the statement takes {takes} parameters, {given} are given");
            return Err(Failure {
                error: ActionError::new(ActionErrorKind::Permanent, words),
                lost: false,
            });
        }
        let bound = match params {
            [] => Params::Empty,
            params => Params::Positional(params.iter().map(cell).collect()),
        };
        let answer = self.session.exec_iter(&statement, bound).await.map_err(wrong)?;
        let rows = answer.affected_rows();
        answer.drop_result().await.map_err(wrong)?;
        Ok(rows)
    }

    async fn fence(&mut self, now: &str) -> Result<(), Failure> {
        // It has no word for a zone.
        let at = now.replace('T', " ").trim_end_matches('Z').to_owned();
        let params = (&self.key, at).into();
        let sql = "insert into pointsman_fence(token, written_at) values (?, ?)";
        self.own("the fence row", sql, params).await
    }

    async fn keep(&mut self, result: &str) -> Result<(), Failure> {
        // What has begun is done only where its result stands beside it; the other order would lose it.
        let params = (&self.key, result).into();
        self.own(
            "the result's row",
            "insert into pointsman_result(`key`, result) values (?, ?)",
            params,
        )
        .await?;
        let params = (&self.key,).into();
        let sql = "update pointsman_marker set applied_at = coalesce(applied_at, utc_timestamp(6)) where `key` = ?";
        self.own("the marker row", sql, params).await
    }

    async fn commit(&mut self) -> Result<(), ActionError> {
        let sql = self.signed("commit");
        let committed = self.session.query_drop(sql).await;
        committed.map_err(|error| match &error {
            // Read-only by now, a deadlock of a cluster, a lock that was waited for: it was rolled back.
            Error::Server(told) if matches!(told.code, 1290 | 1792 | 1213 | 1205 | 1836) => {
                failed(&error, "the commit")
            }
            Error::Server(_) | Error::Driver(_) | Error::Io(_) | Error::Other(_) | Error::Url(_) => {
                let words = format!(
                    "the commit was sent and not confirmed: {}",
                    failed(&error, "the commit").message
                );
                ActionError::new(ActionErrorKind::InDoubt, words)
            }
        })
    }

    async fn rollback(&mut self) -> Option<String> {
        // A session that cannot be told ends with its connection, and its transaction with it.
        if let Err(error) = self.session.query_drop("rollback").await {
            tracing::info!(%error, "the rollback was not answered");
            return None;
        }
        let warnings: Vec<Row> = self.session.query("show warnings").await.unwrap_or_default();
        let left = warnings.iter().any(|row| row.get::<u16, _>(1) == Some(NOT_ALL));
        left.then(|| {
            "it changed tables without transactions, and what it changed there could not be taken back; look at them"
                .to_owned()
        })
    }

    fn ender(&self) -> Box<dyn Ender> {
        Box::new(Kill {
            id: self.session.id(),
            target: self.target.clone(),
        })
    }
}

/// Whether the mutation of this key was committed: first whether anybody is still at it, then its marker.
pub async fn observe(target: &ServerTarget, cx: &Cx, summary: &str) -> Result<Observed, ActionError> {
    let mut session = connect(target, true).await?;
    let held: Option<Option<u64>> = session
        .exec_first("select is_used_lock(?)", (&cx.key,))
        .await
        .map_err(|error| failed(&error, "the key's lock"))?;
    let tables = there(&mut session, "pointsman_marker").await? && there(&mut session, "pointsman_result").await?;
    let found = if tables {
        find(&mut session, &cx.key).await?
    } else {
        Found::Nothing
    };
    Ok(observed(held.flatten().is_some(), found, summary))
}

/// What an approval binds, and lines for people.
#[derive(Debug, Clone, PartialEq)]
pub struct About {
    pub identity: Value,
    pub version: String,
    pub maria: bool,
    pub facts: Vec<String>,
}

/// What the server says of itself.
pub async fn about(session: &mut Conn, target: &ServerTarget) -> Result<About, ActionError> {
    let wrong = |error: Error| failed(&error, &target.to_string());
    let sql = "select version(), @@hostname, @@server_id, database()";
    let row: Option<(String, String, u64, Option<String>)> = session.query_first(sql).await.map_err(wrong)?;
    let (version, host, id, database) = row.unwrap_or_default();
    let maria = version.contains("MariaDB");
    // MySQL's own name of a server; MariaDB 10 has none.
    let uuid: Option<(String, String)> = session
        .query_first("show variables like 'server_uuid'")
        .await
        .map_err(wrong)?;
    Ok(About {
        identity: json!({
            "engine": "mysql",
            "host": target.host,
            "port": target.port,
            "server": uuid.map_or_else(|| format!("{host}/{id}"), |(_, uuid)| uuid),
            "database": database,
        }),
        facts: vec![format!("{} {version}", if maria { "MariaDB" } else { "MySQL" })],
        version,
        maria,
    })
}

/// Looks before a statement or the fence row: who the server is, whether it takes writes, and who else gets the tool's rows.
pub async fn look(target: &ServerTarget, sql: Option<&str>) -> Result<About, ActionError> {
    let mut session = connect(target, true).await?;
    let mut about = about(&mut session, target).await?;
    let wrong = |error: Error| failed(&error, &target.to_string());
    if !there(&mut session, "pointsman_marker").await? {
        let words = "pointsman_marker, _result and _fence are not there yet and will be made";
        about.facts.push(words.to_owned());
    }
    let closed: Vec<(String, String)> = session
        .query("show variables where variable_name in ('read_only', 'super_read_only', 'log_bin')")
        .await
        .map_err(wrong)?;
    let on = |name: &str| {
        closed
            .iter()
            .any(|(known, value)| known == name && !["OFF", "0"].contains(&value.as_str()))
    };
    if on("super_read_only") {
        let words = format!(
            "{target} is super_read_only and refuses every write; thaw it, or freeze it with hard: false before this step"
        );
        return Err(ActionError::new(ActionErrorKind::Permanent, words));
    }
    if on("read_only") {
        let words =
            "the server is read_only: the statement is refused unless the connection's user may write all the same";
        about.facts.push(words.to_owned());
    }
    if on("log_bin") {
        let words = "its binary log carries the tool's rows too: replicas and change capture get pointsman_marker, _result \
                     and _fence";
        about.facts.push(words.to_owned());
    }
    if let Some(sql) = sql {
        // Preparing executes nothing, and in a session that is closed to writes the server would not even prepare.
        let mut open = connect(target, false).await?;
        match open.prep(sql).await {
            Ok(_) => {}
            Err(Error::Server(told)) if told.code == UNPREPARED => {}
            Err(error) => return Err(failed(&error, "the statement")),
        }
    }
    Ok(about)
}

/// Tables without transactions, of any database on the server, in lower case.
pub async fn without_transactions(target: &ServerTarget) -> Result<Vec<(String, String)>, ActionError> {
    let mut session = connect(target, true).await?;
    let sql = "select lower(t.table_name), t.engine from information_schema.tables t \
               join information_schema.engines e on e.engine = t.engine \
               where t.table_type = 'BASE TABLE' and coalesce(e.transactions, 'NO') <> 'YES' \
               and t.table_schema not in ('mysql', 'information_schema', 'performance_schema', 'sys')";
    let found = session.query(sql).await;
    found.map_err(|error| failed(&error, "tables without transactions"))
}
