//! The SQLite engine: sessions, rows as JSON, one transaction at a time, off the async threads.

use std::path::Path;
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, Value as Cell, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use serde_json::{Number, Value, json};

use crate::provider::action::{ActionError, ActionErrorKind};
use crate::provider::connection::SqliteTarget;

use super::rows::{KEPT, Rows};

/// How long a session waits for another one's transaction.
const BUSY: Duration = Duration::from_secs(5);
/// Runs blocking work of the driver.
pub async fn blocking<T, F>(work: F) -> Result<T, ActionError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, ActionError> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(broken) => Err(ActionError::new(
            ActionErrorKind::InDoubt,
            format!("the database task broke: {broken}"),
        )),
    }
}

/// A session that can only read: the file is opened read-only and the engine refuses writes.
pub fn reader(target: &SqliteTarget) -> Result<Connection, ActionError> {
    let session = open(&target.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    session
        .pragma_update(None, "query_only", true)
        .map_err(|error| failed(&error, "the session"))?;
    Ok(session)
}

/// A session that may write. The file must exist.
pub fn writer(target: &SqliteTarget) -> Result<Connection, ActionError> {
    open(&target.path, OpenFlags::SQLITE_OPEN_READ_WRITE)
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection, ActionError> {
    let session = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(|error| failed(&error, &format!("{}", path.display())))?;
    session
        .busy_timeout(BUSY)
        .map_err(|error| failed(&error, "the session"))?;
    Ok(session)
}

/// The class of an error before anything was committed: a busy database may be tried again, all else is refused.
pub fn failed(error: &rusqlite::Error, what: &str) -> ActionError {
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::CannotOpen) => ActionErrorKind::Transient,
        Some(ErrorCode::OperationInterrupted) => ActionErrorKind::Cancelled,
        Some(_) | None => ActionErrorKind::Permanent,
    };
    ActionError::new(kind, format!("{what}: {error}"))
}

/// Bound values.
pub fn bind(params: &[Value]) -> Vec<ToSqlOutput<'static>> {
    params
        .iter()
        .map(|value| {
            ToSqlOutput::Owned(match value {
                Value::Null => Cell::Null,
                Value::Bool(flag) => Cell::Integer(i64::from(*flag)),
                Value::Number(number) => number
                    .as_i64()
                    .map_or_else(|| Cell::Real(number.as_f64().unwrap_or(0.0)), Cell::Integer),
                Value::String(text) => Cell::Text(text.clone()),
                Value::Array(_) | Value::Object(_) => Cell::Text(value.to_string()),
            })
        })
        .collect()
}

/// Reads rows; all are counted, the first are kept.
pub fn rows(session: &Connection, sql: &str, params: &[Value]) -> Result<Rows, ActionError> {
    let mut statement = session.prepare(sql).map_err(|error| failed(&error, "the query"))?;
    if !statement.readonly() {
        let words = "the statement would write; use sql.exec for what changes something";
        return Err(ActionError::new(ActionErrorKind::Permanent, words));
    }
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut found = Rows {
        columns,
        ..Rows::default()
    };
    let mut cursor = statement
        .query(rusqlite::params_from_iter(bind(params)))
        .map_err(|error| failed(&error, "the query"))?;
    while let Some(row) = cursor.next().map_err(|error| failed(&error, "the query"))? {
        found.count += 1;
        if found.kept.len() < KEPT {
            let mut cells = Vec::with_capacity(found.columns.len());
            for index in 0..found.columns.len() {
                cells.push(
                    row.get_ref(index)
                        .map(cell)
                        .map_err(|error| failed(&error, "the query"))?,
                );
            }
            found.kept.push(cells);
        }
    }
    Ok(found)
}

fn cell(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::from(number),
        ValueRef::Real(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
        ValueRef::Text(text) => Value::String(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::String(data_encoding::HEXLOWER.encode(bytes)),
    }
}

/// What an approval binds of a database.
pub fn identity(target: &SqliteTarget) -> Value {
    json!({ "engine": "sqlite", "database": target.path.display().to_string() })
}

/// Names of the tables that belong to people, not to the tool or the engine.
pub fn user_tables(session: &Connection) -> Result<Vec<String>, ActionError> {
    let found = rows(
        session,
        "select name from sqlite_schema where type = 'table' and name not like 'sqlite\\_%' escape '\\' \
         and name not like 'pointsman\\_%' escape '\\' and name not like 'lab\\_%' escape '\\' order by name",
        &[],
    )?;
    Ok(found
        .kept
        .iter()
        .filter_map(|row| row.first().and_then(Value::as_str).map(str::to_owned))
        .collect())
}
