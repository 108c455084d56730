//! The marker row: written in the same transaction as a mutation, so that "did it commit?" has an answer. Its result
//! stands beside it, so that a mutation found done gives the outputs it would have given.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use serde_json::{Map, Value};

use crate::provider::action::{ActionError, ActionErrorKind, Cx, Observed, Outcome};
use crate::provider::connection::SqliteTarget;

use super::sqlite::{blocking, failed, reader, writer};

const TABLES: &str = "
    create table if not exists pointsman_marker(
        key text primary key, run text, step text, attempt integer, applied_at text);
    create table if not exists pointsman_result(key text primary key, result text);";

/// The names that a marker row bears.
#[derive(Debug, Clone)]
struct Names {
    key: String,
    run: String,
    step: String,
    attempt: u32,
}

/// Does `work` and its marker in one transaction. What was done before under the same key is not done again.
pub async fn once<F>(target: &SqliteTarget, cx: &Cx, work: F) -> Result<Map<String, Value>, ActionError>
where
    F: FnOnce(&Transaction<'_>) -> Result<Map<String, Value>, ActionError> + Send + 'static,
{
    if cx.cancel.is_cancelled() {
        return Err(ActionError::new(
            ActionErrorKind::Cancelled,
            "ended before anything was sent",
        ));
    }
    let target = target.clone();
    let names = Names {
        key: cx.key.clone(),
        run: cx.run.clone(),
        step: cx.step.clone(),
        attempt: cx.attempt,
    };
    blocking(move || {
        let mut session = writer(&target)?;
        let transaction = session
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| failed(&error, "the transaction"))?;
        transaction
            .execute_batch(TABLES)
            .map_err(|error| failed(&error, "the marker table"))?;
        if let Some(result) = find(&transaction, &names.key)? {
            return Ok(result);
        }
        let result = work(&transaction)?;
        let now = chrono::Utc::now().to_rfc3339();
        transaction
            .execute(
                "insert into pointsman_marker(key, run, step, attempt, applied_at) values (?, ?, ?, ?, ?)",
                rusqlite::params![names.key, names.run, names.step, names.attempt, now],
            )
            .and_then(|_| {
                let text = Value::Object(result.clone()).to_string();
                transaction.execute(
                    "insert into pointsman_result(key, result) values (?, ?)",
                    [&names.key, &text],
                )
            })
            .map_err(|error| failed(&error, "the marker row"))?;
        transaction.commit().map_err(|error| {
            ActionError::new(
                ActionErrorKind::InDoubt,
                format!("the commit was not confirmed: {error}"),
            )
        })?;
        Ok(result)
    })
    .await
}

fn find(session: &Connection, key: &str) -> Result<Option<Map<String, Value>>, ActionError> {
    let known: Option<Option<String>> = session
        .query_row(
            "select result from pointsman_marker left join pointsman_result using (key) where key = ?",
            [key],
            |row| row.get(0),
        )
        .optional()
        .map_err(|error| failed(&error, "the marker row"))?;
    Ok(known.map(|text| match text.as_deref().map(serde_json::from_str) {
        Some(Ok(Value::Object(result))) => result,
        Some(_) | None => Map::new(),
    }))
}

/// Whether the mutation of this key was committed.
pub async fn observe(target: &SqliteTarget, cx: &Cx, summary: &str) -> Result<Observed, ActionError> {
    let target = target.clone();
    let key = cx.key.clone();
    let summary = summary.to_owned();
    blocking(move || {
        let session = reader(&target)?;
        let tables: i64 = session
            .query_row(
                "select count(*) from sqlite_schema where name in ('pointsman_marker', 'pointsman_result')",
                [],
                |row| row.get(0),
            )
            .map_err(|error| failed(&error, "the marker table"))?;
        let none = Observed::NotStarted {
            detail: "no marker row: the transaction was never committed".to_owned(),
        };
        if tables < 2 {
            return Ok(none);
        }
        Ok(match find(&session, &key)? {
            Some(result) => {
                let summary = format!("{summary} (found by its marker row)");
                Observed::Done(Outcome {
                    summary,
                    result,
                    evidence: Vec::new(),
                })
            }
            None => none,
        })
    })
    .await
}
