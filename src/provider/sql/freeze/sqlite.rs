//! Freezing and thawing writes on SQLite: triggers on every table abort every write; what was frozen before stays frozen
//! after a thaw.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, TransactionBehavior};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::provider::action::{Action, ActionError, ActionErrorKind, Cx, Observed, Outcome, Preview, Progress, Ready};
use crate::provider::connection::{BuildError, SqliteTarget};
use crate::provider::registry::Request;

use crate::provider::sql::marker::{observe, once};
use crate::provider::sql::sqlite::{blocking, failed, identity, reader, rows, user_tables, writer};

use super::parameters::With;

const PREFIX: &str = "pointsman_freeze_";
/// What a refused write is told.
const REFUSAL: &str = "pointsman: writes are frozen";
/// How long nothing may be committed for the proof.
const IDLE: Duration = Duration::from_secs(5);

/// Freezes writes.
pub struct Freeze {
    on: String,
    target: SqliteTarget,
    with: With,
}

impl Freeze {
    /// From its parameters.
    pub fn new(request: &Request<'_>, target: SqliteTarget) -> Result<Self, BuildError> {
        let on = request.on.first().cloned().unwrap_or_default();
        Ok(Self {
            on,
            target,
            with: request.parameters()?,
        })
    }

    /// A write must be refused, and nothing may be committed for a while.
    async fn proof(&self, cx: &Cx) -> Result<(), ActionError> {
        let target = self.target.clone();
        let before = blocking(move || {
            refused(&target)?;
            let session = reader(&target)?;
            content(&session)
        })
        .await?;
        cx.reporter.progress(Progress::State(
            "writes are refused; watching that nothing is written".to_owned(),
        ));
        cx.pause(IDLE).await?;
        let target = self.target.clone();
        let after = blocking(move || content(&reader(&target)?)).await?;
        if before == after {
            return Ok(());
        }
        let words = format!("{}: something is still written although writes are frozen", self.on);
        Err(ActionError::new(ActionErrorKind::Permanent, words))
    }
}

fn frozen(session: &Connection) -> Result<Vec<String>, ActionError> {
    let sql = "select name from sqlite_schema where type = 'trigger' and name like 'pointsman\\_freeze\\_%' escape '\\' order by name";
    let found = rows(session, sql, &[])?;
    Ok(found
        .kept
        .iter()
        .filter_map(|row| row.first().and_then(Value::as_str).map(str::to_owned))
        .collect())
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Tries a write in a transaction that is taken back whatever happens.
fn refused(target: &SqliteTarget) -> Result<(), ActionError> {
    let mut session = writer(target)?;
    let tables = user_tables(&session)?;
    for table in tables {
        // A transaction that reads before it writes is refused at once where somebody else has written meanwhile.
        let transaction = session
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| failed(&error, "the proof"))?;
        let name = quoted(&table);
        let some: i64 = transaction
            .query_row(&format!("select exists(select 1 from {name})"), [], |row| row.get(0))
            .map_err(|error| failed(&error, "the proof"))?;
        if some == 0 {
            continue;
        }
        let tried = transaction.execute(
            &format!("delete from {name} where rowid = (select min(rowid) from {name})"),
            [],
        );
        let outcome = match tried {
            Err(error) if error.to_string().contains(REFUSAL) => Ok(()),
            Err(error) => Err(failed(&error, &format!("the proof on {table}"))),
            Ok(_) => Err(ActionError::new(
                ActionErrorKind::Permanent,
                format!("a write to {table} was not refused"),
            )),
        };
        transaction.rollback().map_err(|error| failed(&error, "the proof"))?;
        outcome?;
    }
    Ok(())
}

/// How many rows each table has, and the highest of their ids.
fn content(session: &Connection) -> Result<Vec<(String, i64, i64)>, ActionError> {
    let mut found = Vec::new();
    for table in user_tables(session)? {
        let sql = format!("select count(*), coalesce(max(rowid), 0) from {}", quoted(&table));
        let (count, last) = session
            .query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(|error| failed(&error, "the proof"))?;
        found.push((table, count, last));
    }
    Ok(found)
}

#[async_trait]
impl Action for Freeze {
    fn preview(&self) -> Preview {
        let mut notes = vec!["in one transaction, with its row in pointsman_marker".to_owned()];
        if self.with.kills() {
            notes.push(
                "SQLite has no sessions to end: open transactions finish or are refused at their next write".to_owned(),
            );
        }
        if self.with.proof {
            notes.push("proof: a refused write, then five seconds in which nothing is written".to_owned());
        }
        Preview {
            summary: format!("refuses every write on {} until it is thawed", self.on),
            commands: vec![format!(
                "{}: create trigger {PREFIX}TABLE_(insert|update|delete) before … raise(abort, '{REFUSAL}') on every table",
                self.on
            )],
            notes,
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        let target = self.target.clone();
        let (tables, before) = blocking(move || {
            let session = reader(&target)?;
            Ok((user_tables(&session)?, frozen(&session)?))
        })
        .await?;
        let mut facts = vec![format!("{} tables: {}", tables.len(), tables.join(", "))];
        if !before.is_empty() {
            facts.push(format!("{} triggers freeze it already; they stay", before.len()));
        }
        Ok(Ready {
            identity: identity(&self.target),
            facts,
        })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let result = once(&self.target, cx, |transaction| {
            let before = frozen(transaction)?;
            let tables = user_tables(transaction)?;
            for table in &tables {
                for verb in ["insert", "update", "delete"] {
                    let name = format!("{PREFIX}{table}_{verb}");
                    if before.contains(&name) {
                        continue;
                    }
                    let sql = format!(
                        "create trigger {} before {verb} on {} begin select raise(abort, '{REFUSAL}'); end",
                        quoted(&name),
                        quoted(table)
                    );
                    transaction
                        .execute_batch(&sql)
                        .map_err(|error| failed(&error, "the freeze"))?;
                }
            }
            let mut result = Map::new();
            result.insert("prior_state".to_owned(), json!({ "frozen": before }));
            result.insert("tables".to_owned(), json!(tables));
            Ok(result)
        })
        .await?;
        cx.reporter.ack(&cx.key).await?;
        let tables = result.get("tables").and_then(Value::as_array).map_or(0, Vec::len);
        Ok(Outcome {
            summary: format!("writes are refused on {tables} tables"),
            result,
            evidence: Vec::new(),
        })
    }

    async fn observe(&self, cx: &Cx) -> Result<Observed, ActionError> {
        observe(&self.target, cx, "frozen").await
    }

    async fn prove(&self, cx: &Cx) -> Result<(), ActionError> {
        if self.with.proof { self.proof(cx).await } else { Ok(()) }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ThawParameters {
    to: Prior,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Prior {
    frozen: Vec<String>,
}

/// Lets writes in again.
pub struct Thaw {
    on: String,
    target: SqliteTarget,
    with: ThawParameters,
}

impl Thaw {
    /// From its parameters.
    pub fn new(request: &Request<'_>, target: SqliteTarget) -> Result<Self, BuildError> {
        let on = request.on.first().cloned().unwrap_or_default();
        Ok(Self {
            on,
            target,
            with: request.parameters()?,
        })
    }
}

#[async_trait]
impl Action for Thaw {
    fn preview(&self) -> Preview {
        Preview {
            summary: format!("lets writes on {} in again", self.on),
            commands: vec![format!(
                "{}: drop trigger {PREFIX}… as far as they were not there before",
                self.on
            )],
            notes: if self.with.to.frozen.is_empty() {
                Vec::new()
            } else {
                vec![format!(
                    "{} triggers were there before the freeze and stay",
                    self.with.to.frozen.len()
                )]
            },
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        let target = self.target.clone();
        let now = blocking(move || frozen(&reader(&target)?)).await?;
        Ok(Ready {
            identity: identity(&self.target),
            facts: vec![format!("{} triggers freeze it now", now.len())],
        })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let keep = self.with.to.frozen.clone();
        let result = once(&self.target, cx, move |transaction| {
            let ours: Vec<String> = frozen(transaction)?
                .into_iter()
                .filter(|name| !keep.contains(name))
                .collect();
            for name in &ours {
                let sql = format!("drop trigger {}", quoted(name));
                transaction
                    .execute_batch(&sql)
                    .map_err(|error| failed(&error, "the thaw"))?;
            }
            let mut result = Map::new();
            result.insert("thawed".to_owned(), json!(ours.len()));
            Ok(result)
        })
        .await?;
        let count = result.get("thawed").cloned().unwrap_or(Value::Null);
        Ok(Outcome {
            summary: format!("writes are let in again ({count} triggers dropped)"),
            result,
            evidence: Vec::new(),
        })
    }

    async fn observe(&self, cx: &Cx) -> Result<Observed, ActionError> {
        observe(&self.target, cx, "thawed").await
    }
}
