//! Changing rows: one statement, or the fence row.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::provider::action::{Action, ActionError, Cx, Observed, Outcome, Preview, Ready};
use crate::provider::connection::{BuildError, SqliteTarget};
use crate::provider::registry::Request;

use super::marker::{observe, once};
use super::sqlite::{bind, blocking, failed, identity, reader};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    sql: String,
    #[serde(default)]
    params: Vec<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Debug, Clone)]
enum What {
    Statement(Statement),
    Fence,
}

/// A change.
pub struct Change {
    on: String,
    target: SqliteTarget,
    what: What,
}

impl Change {
    /// From its parameters.
    pub fn new(request: &Request<'_>, target: SqliteTarget) -> Result<Self, BuildError> {
        let on = request.on.first().cloned().unwrap_or_default();
        let what = if request.uses == "sql.fence" {
            let Nothing {} = request.parameters()?;
            What::Fence
        } else {
            What::Statement(request.parameters()?)
        };
        Ok(Self { on, target, what })
    }
}

#[async_trait]
impl Action for Change {
    fn preview(&self) -> Preview {
        let (summary, command, mut notes) = match &self.what {
            What::Statement(statement) => (
                format!("executes one statement on {}", self.on),
                format!("{}: {}", self.on, statement.sql.trim()),
                (!statement.params.is_empty())
                    .then(|| format!("params: {}", Value::Array(statement.params.clone())))
                    .into_iter()
                    .collect::<Vec<_>>(),
            ),
            What::Fence => (
                format!("writes the fence row on {}", self.on),
                format!(
                    "{}: insert into pointsman_fence(token, written_at) values (key, now)",
                    self.on
                ),
                Vec::new(),
            ),
        };
        notes.push("one transaction with its row in pointsman_marker".to_owned());
        Preview {
            summary,
            commands: vec![command],
            notes,
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        let (target, what) = (self.target.clone(), self.what.clone());
        blocking(move || {
            let session = reader(&target)?;
            match what {
                What::Statement(statement) => session
                    .prepare(&statement.sql)
                    .map(|_| ())
                    .map_err(|error| failed(&error, "the statement")),
                What::Fence => Ok(()),
            }
        })
        .await
        .map_err(|error| ActionError {
            message: format!("{}: {}", self.on, error.message),
            ..error
        })?;
        Ok(Ready {
            identity: identity(&self.target),
            facts: Vec::new(),
        })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let (what, key) = (self.what.clone(), cx.key.clone());
        let result = once(&self.target, cx, move |transaction| {
            let mut result = Map::new();
            match what {
                What::Statement(statement) => {
                    let rows = transaction
                        .execute(&statement.sql, rusqlite::params_from_iter(bind(&statement.params)))
                        .map_err(|error| failed(&error, "the statement"))?;
                    result.insert("rows".to_owned(), json!(rows));
                }
                What::Fence => {
                    let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
                    transaction
                        .execute_batch(
                            "create table if not exists pointsman_fence(token text primary key, written_at text)",
                        )
                        .and_then(|()| {
                            let sql = "insert into pointsman_fence(token, written_at) values (?, ?)";
                            transaction.execute(sql, [&key, &now])
                        })
                        .map_err(|error| failed(&error, "the fence row"))?;
                    result.insert("token".to_owned(), json!(key));
                    result.insert("written_at".to_owned(), json!(now));
                }
            }
            Ok(result)
        })
        .await?;
        let summary = match &self.what {
            What::Statement(_) => format!("{} rows changed", result.get("rows").unwrap_or(&Value::Null)),
            What::Fence => format!("fence {} written", cx.key),
        };
        Ok(Outcome {
            summary,
            result,
            evidence: Vec::new(),
        })
    }

    async fn observe(&self, cx: &Cx) -> Result<Observed, ActionError> {
        observe(&self.target, cx, "committed").await
    }
}
