//! A mutation on a server, once: its marker says whether it happened. What stands or falls with a transaction shares one
//! with its marker; what commits by itself runs between a marker that says begun (`applied_at` is NULL) and one that says
//! done. Must not know any engine.
//!
//! The session that does it holds a lock of the server by the mutation's key as long as it lives. Whoever observes looks at
//! that lock first: while it is held, a commit may still be on its way; once it is free, the marker is the last word.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use crate::provider::action::{ActionError, ActionErrorKind, Cx, Observed, Outcome};

use super::session::Ender;
use super::statement::Shape;

/// How often a server is asked to end what was cancelled.
const AGAIN: Duration = Duration::from_secs(1);

/// What a mutation's marker says.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    Nothing,
    /// It was begun, and nobody wrote down its end.
    Begun,
    /// It was committed, with this result.
    Done(Map<String, Value>),
}

/// Why a statement failed.
#[derive(Debug)]
pub struct Failure {
    pub error: ActionError,
    /// There was no answer: the session is gone.
    pub lost: bool,
}

impl From<Failure> for ActionError {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

/// The error of a change: what is told to a read that would write says nothing to what has to write.
pub fn told(error: ActionError) -> ActionError {
    let own = "; the statement would write; use sql.exec for what changes something";
    let message = error
        .message
        .replace(own, "; it takes no writes from this user: is it frozen, or a replica?");
    ActionError { message, ..error }
}

/// What is to be done.
#[derive(Debug, Clone)]
pub enum Work {
    Statement {
        sql: String,
        params: Vec<Value>,
        shape: Shape,
    },
    Fence,
}

/// A session that writes, with its marker's tables at hand and the lock of its key held.
#[async_trait]
pub trait Writer: Send {
    /// What the marker of this key says.
    async fn find(&mut self) -> Result<Found, ActionError>;
    /// Begins a transaction.
    async fn begin(&mut self) -> Result<(), Failure>;
    /// Writes the marker, as `done` or as begun.
    async fn mark(&mut self, cx: &Cx, done: bool) -> Result<(), Failure>;
    /// Takes the marker of what was begun and refused out again.
    async fn unmark(&mut self) -> Result<(), Failure>;
    /// Executes the author's statement, and says how many rows it changed.
    async fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64, Failure>;
    /// Writes the fence row.
    async fn fence(&mut self, now: &str) -> Result<(), Failure>;
    /// Writes the result beside the marker, and that what was begun is done.
    async fn keep(&mut self, result: &str) -> Result<(), Failure>;
    /// Commits. An error says by its class whether it is known what came of it.
    async fn commit(&mut self) -> Result<(), ActionError>;
    /// Rolls back, and says what could not be taken back.
    async fn rollback(&mut self) -> Option<String>;
    /// Ends what the session is at.
    fn ender(&self) -> Box<dyn Ender>;
}

/// Does `work` once. What was done before under the same key is not done again.
pub async fn once(writer: &mut dyn Writer, cx: &Cx, work: &Work) -> Result<Map<String, Value>, ActionError> {
    let committing = AtomicBool::new(false);
    let ender = writer.ender();
    let doing = doing(writer, cx, work, &committing);
    tokio::pin!(doing);
    let ended = tokio::select! {
        biased;
        done = &mut doing => done,
        () = cx.cancel.cancelled() => loop {
            // A commit is not disturbed: its answer is worth more than its end.
            if !committing.load(Ordering::Relaxed) {
                ender.end().await;
            }
            tokio::select! {
                biased;
                done = &mut doing => break done,
                () = tokio::time::sleep(AGAIN) => {}
            }
        },
    };
    ended.map_err(|error| match error.kind {
        ActionErrorKind::Transient | ActionErrorKind::Permanent if cx.cancel.is_cancelled() => ActionError {
            kind: ActionErrorKind::Cancelled,
            message: format!("it was ended, and nothing of it stays: {}", error.message),
            ..error
        },
        ActionErrorKind::Transient
        | ActionErrorKind::Permanent
        | ActionErrorKind::InDoubt
        | ActionErrorKind::Cancelled => error,
    })
}

async fn doing(
    writer: &mut dyn Writer,
    cx: &Cx,
    work: &Work,
    committing: &AtomicBool,
) -> Result<Map<String, Value>, ActionError> {
    unless_ended(cx)?;
    match writer.find().await? {
        Found::Nothing => {}
        Found::Done(result) => return Ok(result),
        Found::Begun => return Err(in_doubt(BEGUN)),
    }
    match work {
        Work::Statement {
            sql,
            params,
            shape: Shape::Alone { partly, .. },
        } => alone(writer, cx, (sql, params), *partly).await,
        Work::Statement {
            shape: Shape::Whole, ..
        }
        | Work::Fence => whole(writer, cx, work, committing).await,
    }
}

const BEGUN: &str =
    "its marker says that it was begun, and not that it ended; look at what it changes, and say what you found";

fn in_doubt(words: impl Into<String>) -> ActionError {
    ActionError::new(ActionErrorKind::InDoubt, words)
}

fn unless_ended(cx: &Cx) -> Result<(), ActionError> {
    if cx.cancel.is_cancelled() {
        let words = "ended before anything was sent";
        return Err(ActionError::new(ActionErrorKind::Cancelled, words));
    }
    Ok(())
}

/// In one transaction with its marker.
async fn whole(
    writer: &mut dyn Writer,
    cx: &Cx,
    work: &Work,
    committing: &AtomicBool,
) -> Result<Map<String, Value>, ActionError> {
    writer.begin().await?;
    match within(writer, cx, work).await {
        Ok(result) => {
            // From here on an end that is asked for waits for the answer.
            committing.store(true, Ordering::Relaxed);
            writer.commit().await?;
            Ok(result)
        }
        // The server takes back what a session left open.
        Err(failure) if failure.lost => Err(failure.error),
        Err(failure) => match writer.rollback().await {
            None => Err(failure.error),
            Some(left) => Err(in_doubt(format!("{}; {left}", failure.error.message))),
        },
    }
}

async fn within(writer: &mut dyn Writer, cx: &Cx, work: &Work) -> Result<Map<String, Value>, Failure> {
    writer.mark(cx, true).await?;
    unless_ended(cx).map_err(|error| Failure { error, lost: false })?;
    let mut result = Map::new();
    match work {
        Work::Statement { sql, params, .. } => {
            let rows = writer.execute(sql, params).await?;
            result.insert("rows".to_owned(), json!(rows));
        }
        Work::Fence => {
            let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
            writer.fence(&now).await?;
            result.insert("token".to_owned(), json!(cx.key));
            result.insert("written_at".to_owned(), json!(now));
        }
    }
    writer.keep(&Value::Object(result.clone()).to_string()).await?;
    unless_ended(cx).map_err(|error| Failure { error, lost: false })?;
    Ok(result)
}

/// By itself, between two markers.
async fn alone(
    writer: &mut dyn Writer,
    cx: &Cx,
    (sql, params): (&str, &[Value]),
    partly: bool,
) -> Result<Map<String, Value>, ActionError> {
    writer.mark(cx, false).await?;
    match writer.execute(sql, params).await {
        Ok(rows) => {
            let result = Map::from_iter([("rows".to_owned(), json!(rows))]);
            // It was answered: that nobody can write it down changes nothing of it.
            if let Err(failure) = writer.keep(&Value::Object(result.clone()).to_string()).await {
                tracing::warn!(error = %failure.error, "the marker of what is done could not be completed");
            }
            Ok(result)
        }
        Err(failure) if failure.lost => Err(in_doubt(format!(
            "{}; it was sent, and it may have happened: its marker says begun",
            failure.error.message
        ))),
        Err(failure) if partly => Err(in_doubt(format!(
            "{}; a part of it may stand, and its marker says begun: look at what it changes",
            failure.error.message
        ))),
        Err(failure) => match writer.unmark().await {
            Ok(()) => Err(failure.error),
            // Another try of the same would find the marker.
            Err(_kept) => Err(ActionError {
                kind: ActionErrorKind::Permanent,
                ..failure.error
            }),
        },
    }
}

/// What a marker, and the lock before it, say of a mutation.
pub fn observed(held: bool, found: Found, summary: &str) -> Observed {
    match found {
        Found::Nothing | Found::Begun if held => Observed::Running {
            detail: "a session is still at it".to_owned(),
        },
        Found::Done(result) => Observed::Done(Outcome {
            summary: format!("{summary} (found by its marker row)"),
            result,
            evidence: Vec::new(),
        }),
        Found::Begun => Observed::Unknown {
            detail: BEGUN.to_owned(),
        },
        Found::Nothing => Observed::NotStarted {
            detail: "no marker row: the transaction was never committed".to_owned(),
        },
    }
}

/// A result as a marker's row has it.
pub fn result(text: Option<&str>) -> Map<String, Value> {
    match text.map(serde_json::from_str) {
        Some(Ok(Value::Object(result))) => result,
        Some(_) | None => Map::new(),
    }
}
