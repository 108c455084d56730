//! The proof of a freeze of SQL Server: a write that is refused because the database is READ_ONLY, in the very database that
//! was frozen, and a while in which it stays so. Must not set anything.
//! By Microsoft's documentation, and never run against a SQL Server.

use serde_json::json;
use tiberius::error::Error;

use crate::provider::action::{ActionError, ActionErrorKind, Cx, Progress};
use crate::provider::sql::server::ServerTarget;
use crate::provider::sql::sqlserver;
use crate::provider::sql::sqlserver::connect::{Connection, connect};
use crate::provider::sql::sqlserver::errors::{failed, number};
use crate::provider::sql::sqlserver::writer::{one, quoted, told};

use super::parameters::{IDLE, permanent};
use super::sqlserver_state::{Seen, State, seen};

/// What tells that nothing can be written.
pub const DETECTOR: &str =
    "sys.databases: READ_ONLY, which cannot change while a session is in the database, and one is";

/// The refusal of a write into a database that is READ_ONLY.
const READ_ONLY: u32 = 3906;
/// The refusal to make a table, for want of a right.
const NO_RIGHT: u32 = 262;

/// The marker's table with its schema, as the tool's session sees it; nothing where there is none.
async fn marker(own: &mut Connection) -> Result<Option<String>, ActionError> {
    let sql = "select quotename(object_schema_name(object_id(N'pointsman_marker')))+N'.[pointsman_marker]'";
    let name = one(own, sql)
        .await
        .map_err(|error| failed(&error, "pointsman_marker"))?;
    Ok((!name.is_empty()).then_some(name))
}

/// The trial's session, which has to be in the database that is frozen.
async fn on_trial(trial: &ServerTarget, place: &str) -> Result<Connection, ActionError> {
    let about = sqlserver::reader(trial, false).await?.about().await?;
    let mut connection = connect(trial, false).await?;
    let there = seen(&mut connection, &about.identity).await?.place;
    if there == place {
        return Ok(connection);
    }
    Err(permanent(format!(
        "{trial} leads to another database ({there}) than the one to freeze ({place}); its refused write would prove \
         nothing: name the same database"
    )))
}

/// Whether the write of `trial` will be one that only the freeze can refuse.
pub async fn may_try(own: &mut Connection, trial: &ServerTarget, now: &Seen) -> Result<(), ActionError> {
    let mut connection = on_trial(trial, &now.place).await?;
    let wrong = |error: Error| failed(&error, "rights");
    let (what, asks) = match marker(own).await? {
        Some(name) => {
            let asks = format!("has_perms_by_name({}, 'OBJECT', 'INSERT')", quoted(&name));
            (name, asks)
        }
        // It cannot be made any more, and nobody needs a right on it.
        None if now.state == State::frozen() => return Ok(()),
        None => {
            let schema = one(own, "select quotename(schema_name())").await.map_err(wrong)?;
            let asks = format!("has_perms_by_name({}, 'SCHEMA', 'INSERT')", quoted(&schema));
            (format!("schema::{schema}"), asks)
        }
    };
    let may = one(&mut connection, &format!("select cast({asks} as varchar(11))")).await;
    if may.map_err(wrong)? == "1" {
        return Ok(());
    }
    Err(permanent(format!(
        "{} may not insert into pointsman_marker, so that its refused write would prove nothing; grant insert on {what} to it",
        trial.user
    )))
}

/// A write has to be refused, because the database is READ_ONLY and for no other reason.
pub async fn refused_write(own: &ServerTarget, trial: Option<&ServerTarget>, cx: &Cx) -> Result<(), ActionError> {
    let about = sqlserver::reader(own, false).await?.about().await?;
    let mut session = connect(own, false).await?;
    let place = seen(&mut session, &about.identity).await?.place;
    let table = marker(&mut session).await?;
    let insert = |table: &str| {
        format!(
            "insert into {table}([key], run, step, attempt) values ({}, {}, {}, 0)",
            quoted(&format!("{}-proof", cx.key)),
            quoted(&cx.run),
            quoted(&cx.step)
        )
    };
    // What was READ_ONLY before the tool came has no table of the tool's.
    let sql = table
        .as_deref()
        .map_or_else(|| "create table pointsman_refused(id int)".to_owned(), insert);
    if let Some(trial) = trial {
        let mut theirs = on_trial(trial, &place).await?;
        if tried(&mut theirs, trial, &sql, cx).await? {
            return Ok(());
        }
    }
    // An ordinary user may make no table, whatever the database is. Who may alter the database may.
    if tried(&mut session, own, &sql, cx).await? {
        return Ok(());
    }
    Err(permanent(format!(
        "there is no pointsman_marker to write into, and {} may not make a table; grant it CREATE TABLE, or write proof: false",
        own.user
    )))
}

/// Whether a write is refused by the freeze; not where no right to make a table refuses it before.
async fn tried(connection: &mut Connection, who: &ServerTarget, sql: &str, cx: &Cx) -> Result<bool, ActionError> {
    let wrong = |error: Error| failed(&error, "the proof");
    told(connection, "begin transaction").await.map_err(wrong)?;
    match told(connection, sql).await {
        Err(error) if number(&error) == Some(READ_ONLY) => {
            let words = format!("a write of {} is refused", who.user);
            cx.reporter.progress(Progress::State(words));
            Ok(true)
        }
        Err(error) if number(&error) == Some(NO_RIGHT) => Ok(false),
        Err(Error::Server(told)) => Err(permanent(format!(
            "a write of {} was refused, but not because of the freeze: {} ({}); give it rights on pointsman_marker",
            who.user,
            told.message(),
            told.code()
        ))),
        Err(error) => Err(wrong(error)),
        Ok(_) => {
            told(connection, "rollback transaction").await.map_err(wrong)?;
            Err(permanent(format!(
                "a write of {} was not refused (it was rolled back); look who opened the database again",
                who.user
            )))
        }
    }
}

/// Nothing can be written for a while: one session stays in the database meanwhile, which keeps it as it is.
pub async fn idle(target: &ServerTarget, cx: &Cx) -> Result<(), ActionError> {
    let mut connection = connect(target, false).await?;
    let nobody = json!({});
    let before = seen(&mut connection, &nobody).await?;
    cx.reporter
        .progress(Progress::State(format!("watching that nothing is written: {DETECTOR}")));
    cx.pause(IDLE).await?;
    let after = seen(&mut connection, &nobody).await.map_err(|error| ActionError {
        kind: ActionErrorKind::Permanent,
        message: format!(
            "the session that watched was ended: {}; look who opened the database",
            error.message
        ),
        ..error
    })?;
    if before.state == State::frozen() && (&before.state, &before.place) == (&after.state, &after.place) {
        return Ok(());
    }
    Err(permanent(format!(
        "it was {} and is {} although writes are frozen; look who changed it",
        before.state.database, after.state.database
    )))
}
