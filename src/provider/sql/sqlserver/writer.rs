//! SQL Server: a session that writes under a marker. It holds a lock of the application by the mutation's key as long as it
//! lives; each transaction is begun by name of the key and takes back everything at the first error (XACT_ABORT). Its tables
//! are made in the default schema of the user. By Microsoft's documentation, and never run against a SQL Server.

use async_trait::async_trait;
use futures::TryStreamExt;
use serde_json::Value;
use tiberius::error::Error;
use tiberius::{QueryItem, ToSql};

use crate::provider::action::{ActionError, ActionErrorKind, Cx, Observed};
use crate::provider::sql::about::About;
use crate::provider::sql::server::ServerTarget;
use crate::provider::sql::session::Ender;
use crate::provider::sql::writer::{self, Failure, Found, Writer, observed, result};

use super::connect::{Connection, connect};
use super::errors::failed;
use super::reader::{counted, reader};
use super::values::{Bound, text};

const TABLES: [(&str, &str); 3] = [
    (
        "pointsman_marker",
        "[key] varchar(64) not null primary key, run nvarchar(255) not null, step nvarchar(255) not null, \
         attempt int not null, applied_at datetime2 null",
    ),
    (
        "pointsman_result",
        "[key] varchar(64) not null primary key, result nvarchar(max) not null",
    ),
    (
        "pointsman_fence",
        "token varchar(64) not null primary key, written_at datetime2 not null",
    ),
];

/// There is an object of that name already.
const THERE: u32 = 2714;
/// How much of a long text is read at once.
const PART: usize = 4_000;

/// A session that writes.
pub struct SqlserverWriter {
    pub connection: Connection,
    key: String,
    /// There is a transaction of ours.
    whole: bool,
}

/// A text in quotes.
pub fn quoted(text: &str) -> String {
    format!("N'{}'", text.replace('\'', "''"))
}

/// What an error before a commit means: the session is gone, or the server refused. Nothing was committed either way: what
/// takes too long is left with its session, which the server rolls back.
pub fn refused(error: &Error, what: &str) -> Failure {
    match error {
        // From this class on the server ends the session.
        Error::Server(told) => Failure {
            error: writer::told(failed(error, what)),
            lost: told.class() >= 20,
        },
        Error::Io { .. }
        | Error::Tls(_)
        | Error::Routing { .. }
        | Error::Protocol(_)
        | Error::Encoding(_)
        | Error::Conversion(_)
        | Error::Utf8
        | Error::Utf16
        | Error::ParseInt(_)
        | Error::BulkInput(_) => Failure {
            error: ActionError {
                kind: ActionErrorKind::Transient,
                ..failed(error, what)
            },
            lost: true,
        },
    }
}

/// Rows of a short answer, each cell a text.
pub async fn told(connection: &mut Connection, sql: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
    let mut answer = connection.client.simple_query(sql).await?;
    let mut rows = Vec::new();
    while let Some(item) = answer.try_next().await? {
        let QueryItem::Row(row) = item else { continue };
        let cells: Result<Vec<Option<String>>, String> = row
            .cells()
            .map(|(column, data)| text(column.column_type(), data))
            .collect();
        rows.push(cells.map_err(|why| Error::Conversion(format!("a cell {why}").into()))?);
    }
    Ok(rows)
}

/// The first cell of the first row; empty where there is none.
pub async fn one(connection: &mut Connection, sql: &str) -> Result<String, Error> {
    let rows = told(connection, sql).await?;
    Ok(rows
        .into_iter()
        .next()
        .and_then(|row| row.into_iter().next())
        .flatten()
        .unwrap_or_default())
}

/// Connects, takes the key's lock, and makes what it writes into.
pub async fn writer(target: &ServerTarget, cx: &Cx) -> Result<SqlserverWriter, ActionError> {
    let mut connection = connect(target, false).await?;
    lock(&mut connection, target, &cx.key).await?;
    for (table, columns) in TABLES {
        if there(&mut connection, table).await? {
            continue;
        }
        let made = told(&mut connection, &format!("create table {table}({columns})")).await;
        match made {
            Ok(_) => {}
            // Another session made it at the same time.
            Err(Error::Server(told)) if told.code() == THERE => {}
            Err(error) => return Err(writer::told(failed(&error, &format!("making {table}")))),
        }
    }
    Ok(SqlserverWriter {
        connection,
        key: cx.key.clone(),
        whole: false,
    })
}

/// Takes the lock of a key for as long as the session lives.
pub async fn lock(connection: &mut Connection, target: &ServerTarget, key: &str) -> Result<(), ActionError> {
    let wait = target.patience.as_millis();
    let sql = format!(
        "declare @held int; exec @held = sp_getapplock @Resource = {}, @LockMode = 'Exclusive', @LockOwner = 'Session', \
         @LockTimeout = {wait}; select cast(@held as varchar(11))",
        quoted(key)
    );
    let held = one(connection, &sql).await;
    match held.map_err(|error| failed(&error, "the key's lock"))?.as_str() {
        "0" | "1" => Ok(()),
        other => {
            let words = format!(
                "an earlier session is still at the same change, and holds its lock ({other}); try again when it has ended"
            );
            Err(ActionError::new(ActionErrorKind::Transient, words))
        }
    }
}

/// Whether a session holds the lock of a key.
pub async fn is_held(connection: &mut Connection, key: &str) -> Result<bool, ActionError> {
    let sql = format!(
        "select cast(applock_test('public', {}, 'Exclusive', 'Session') as varchar(11))",
        quoted(key)
    );
    let free = one(connection, &sql).await;
    Ok(free.map_err(|error| failed(&error, "the key's lock"))? == "0")
}

/// Whether a table of the tool's is there.
pub async fn there(connection: &mut Connection, table: &str) -> Result<bool, ActionError> {
    let sql = format!("select cast(object_id({}) as varchar(20))", quoted(table));
    let found = one(connection, &sql).await;
    Ok(!found.map_err(|error| failed(&error, table))?.is_empty())
}

/// A result, in parts that every session reads alike.
pub async fn kept(connection: &mut Connection, key: &str) -> Result<Option<String>, ActionError> {
    let mut whole = String::new();
    for part in 0.. {
        let sql = format!(
            "select cast(substring(result, {}, {PART}) as nvarchar({PART})) from pointsman_result where [key] = {}",
            part * PART + 1,
            quoted(key)
        );
        let rows = told(connection, &sql).await;
        let rows = rows.map_err(|error| failed(&error, "the result's row"))?;
        let Some(row) = rows.into_iter().next() else {
            return Ok(None);
        };
        let text = row.into_iter().next().flatten().unwrap_or_default();
        whole.push_str(&text);
        if text.encode_utf16().count() < PART {
            break;
        }
    }
    Ok(Some(whole))
}

async fn find(connection: &mut Connection, key: &str) -> Result<Found, ActionError> {
    let sql = format!(
        "select case when applied_at is null then '0' else '1' end from pointsman_marker where [key] = {}",
        quoted(key)
    );
    let done = one(connection, &sql).await;
    Ok(match done.map_err(|error| failed(&error, "the marker row"))?.as_str() {
        "" => Found::Nothing,
        "1" => match kept(connection, key).await? {
            Some(kept) => Found::Done(result(Some(&kept))),
            // Its result is written before it is done: a trigger committed the marker in the middle.
            None => Found::Begun,
        },
        _ => Found::Begun,
    })
}

impl SqlserverWriter {
    async fn own(&mut self, what: &str, sql: &str) -> Result<(), Failure> {
        let done = told(&mut self.connection, sql).await;
        done.map(drop).map_err(|error| refused(&error, what))
    }

    /// A statement as the server shows it: whose it is stands before it.
    pub fn signed(&self, sql: &str) -> String {
        format!("/* {} */ {sql}", self.key)
    }

    /// Where there is no transaction of ours, the statement must have left none open: it would be rolled back with the
    /// session, and no error says so inside of `sp_executesql`.
    async fn none(&mut self) -> Result<(), Failure> {
        let open = one(&mut self.connection, "select cast(@@trancount as varchar(11))").await;
        let words = match open {
            Ok(count) if count == "0" => return Ok(()),
            Ok(count) => format!(
                "the statement left {count} transactions open, which end with the session and are rolled back; have it \
                 commit what it begins"
            ),
            Err(error) => format!(
                "whether the statement left a transaction open is not known: {}; look at what it changes",
                failed(&error, "the transaction").message
            ),
        };
        Err(Failure {
            error: ActionError::new(ActionErrorKind::Permanent, words),
            // A part of it may stand whatever its shape is.
            lost: true,
        })
    }

    /// What the author's statement did must have left our transaction as it was.
    async fn ours(&mut self) -> Result<(), Failure> {
        let sql = "select cast(@@trancount as varchar(11))+' '+cast(xact_state() as varchar(11))";
        let state = one(&mut self.connection, sql).await;
        match state.map_err(|error| refused(&error, "the transaction"))?.as_str() {
            "1 1" => Ok(()),
            other => Err(Failure {
                error: ActionError::new(
                    ActionErrorKind::Permanent,
                    format!(
                        "the statement ended the transaction that it was in ({other}), or left it so that it cannot be \
                         committed; look for a trigger that rolls back"
                    ),
                ),
                lost: false,
            }),
        }
    }
}

#[async_trait]
impl Writer for SqlserverWriter {
    async fn find(&mut self) -> Result<Found, ActionError> {
        find(&mut self.connection, &self.key).await
    }

    async fn begin(&mut self) -> Result<(), Failure> {
        self.whole = true;
        let sql = self.signed("begin transaction");
        self.own("the transaction", &sql).await
    }

    async fn mark(&mut self, cx: &Cx, done: bool) -> Result<(), Failure> {
        let at = if done { "sysutcdatetime()" } else { "null" };
        let sql = format!(
            "insert into pointsman_marker([key], run, step, attempt, applied_at) values ({}, {}, {}, {}, {at})",
            quoted(&cx.key),
            quoted(&cx.run),
            quoted(&cx.step),
            cx.attempt
        );
        self.own("the marker row", &sql).await
    }

    async fn unmark(&mut self) -> Result<(), Failure> {
        let sql = format!(
            "if @@trancount > 0 rollback transaction; \
             delete from pointsman_marker where [key] = {} and applied_at is null",
            quoted(&self.key)
        );
        self.own("the marker row", &sql).await
    }

    async fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64, Failure> {
        counted(sql, params).map_err(|error| Failure { error, lost: false })?;
        let signed = self.signed(sql);
        let bound: Vec<Bound<'_>> = params.iter().map(Bound).collect();
        let given: Vec<&dyn ToSql> = bound.iter().map(|value| value as &dyn ToSql).collect();
        let done = self.connection.client.execute(signed, &given).await;
        let done = done.map_err(|error| refused(&error, "the statement"))?;
        let counts = done.rows_affected();
        if self.whole {
            self.ours().await?;
            // The counts of its triggers stand before its own.
            return Ok(counts.last().copied().unwrap_or_default());
        }
        self.none().await?;
        // The call of a procedure counts nothing itself, after all that it called.
        Ok(counts
            .iter()
            .rev()
            .find(|count| **count > 0)
            .copied()
            .unwrap_or_default())
    }

    async fn fence(&mut self, now: &str) -> Result<(), Failure> {
        // It has no zone.
        let at = now.trim_end_matches('Z');
        let sql = format!(
            "insert into pointsman_fence(token, written_at) values ({}, {})",
            quoted(&self.key),
            quoted(at)
        );
        self.own("the fence row", &sql).await
    }

    async fn keep(&mut self, result: &str) -> Result<(), Failure> {
        // What has begun is done only where its result stands beside it; the other order would lose it.
        let sql = format!(
            "insert into pointsman_result([key], result) values ({}, {})",
            quoted(&self.key),
            quoted(result)
        );
        self.own("the result's row", &sql).await?;
        let sql = format!(
            "update pointsman_marker set applied_at = isnull(applied_at, sysutcdatetime()) where [key] = {}",
            quoted(&self.key)
        );
        self.own("the marker row", &sql).await
    }

    async fn commit(&mut self) -> Result<(), ActionError> {
        let sql = self.signed("commit transaction");
        self.whole = false;
        told(&mut self.connection, &sql)
            .await
            .map(drop)
            .map_err(|error| match &error {
                // There is no transaction any more, or it cannot be committed; a deadlock; what tables in memory found out at
                // the end. It was rolled back.
                Error::Server(told)
                    if matches!(
                        told.code(),
                        1205 | 3902 | 3903 | 3930 | 3998 | 41301 | 41302 | 41305 | 41325
                    ) =>
                {
                    failed(&error, "the commit")
                }
                Error::Server(_)
                | Error::Io { .. }
                | Error::Tls(_)
                | Error::Routing { .. }
                | Error::Protocol(_)
                | Error::Encoding(_)
                | Error::Conversion(_)
                | Error::Utf8
                | Error::Utf16
                | Error::ParseInt(_)
                | Error::BulkInput(_) => {
                    let words = format!(
                        "the commit was sent and not confirmed: {}",
                        failed(&error, "the commit").message
                    );
                    ActionError::new(ActionErrorKind::InDoubt, words)
                }
            })
    }

    async fn rollback(&mut self) -> Option<String> {
        self.whole = false;
        // The error may have rolled it back already. A session that cannot be told ends with its connection.
        if let Err(error) = told(&mut self.connection, "rollback transaction").await {
            tracing::info!(%error, "the rollback was not answered");
        }
        // A trigger may have committed what it was in, and the marker with it, before the statement failed.
        match self.find().await {
            Ok(Found::Nothing) => None,
            Ok(Found::Begun | Found::Done(_)) => Some(
                "its marker is committed all the same, and a part of it may stand: a trigger may have committed; look at \
                 what it changes"
                    .to_owned(),
            ),
            Err(error) => Some(format!(
                "whether a trigger committed a part of it is not known: {}; look at its marker",
                error.message
            )),
        }
    }

    fn ender(&self) -> Box<dyn Ender> {
        Box::new(self.connection.cut())
    }
}

/// Whether the mutation of this key was committed: first whether anybody is still at it, then its marker. While somebody is,
/// its row would be waited for. Without the intent to only read: a listener would send that to a secondary, which may be
/// behind.
pub async fn observe(target: &ServerTarget, cx: &Cx, summary: &str) -> Result<Observed, ActionError> {
    let mut connection = connect(target, false).await?;
    if is_held(&mut connection, &cx.key).await? {
        return Ok(observed(true, Found::Nothing, summary));
    }
    let tables =
        there(&mut connection, "pointsman_marker").await? && there(&mut connection, "pointsman_result").await?;
    let found = if tables {
        find(&mut connection, &cx.key).await?
    } else {
        Found::Nothing
    };
    Ok(observed(false, found, summary))
}

/// Looks before a statement or the fence row: who the server is, whether it takes writes, whether it understands.
pub async fn look(target: &ServerTarget, sql: Option<(&str, &[Value])>) -> Result<(About, Vec<String>), ActionError> {
    let mut session = reader(target, false).await?;
    let about = session.about().await?;
    open(target, &about)?;
    if let Some((sql, params)) = sql {
        session.understands(sql, params).await?;
    }
    let mut facts = vec![about.product.clone()];
    let mut connection = connect(target, false).await?;
    if !there(&mut connection, "pointsman_marker").await? {
        facts.push("pointsman_marker, _result and _fence are not there yet and will be made".to_owned());
    }
    Ok((about, facts))
}

/// Refuses a database that takes no writes.
pub fn open(target: &ServerTarget, about: &About) -> Result<(), ActionError> {
    let why = if about.replica == Some(true) {
        "is a secondary and takes no writes; name its primary"
    } else if about.read_only == Some(true) {
        "is READ_ONLY and refuses every write; thaw it, or write before it is frozen"
    } else {
        return Ok(());
    };
    Err(ActionError::new(ActionErrorKind::Permanent, format!("{target} {why}")))
}
