//! Changing rows: one statement, or the fence row, once, under a marker.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::provider::action::{Action, ActionError, ActionErrorKind, Cx, Observed, Outcome, Preview, Ready};
use crate::provider::connection::{BuildError, SqliteTarget};
use crate::provider::registry::Request;

use super::database::Database;
use super::server::{Engine, ServerTarget};
use super::sqlite::{bind, blocking, failed, identity, reader};
use super::statement::{self, Shape};
use super::writer::{Work, Writer};
use super::{marker, mysql, postgres, sqlserver, writer};

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
    target: Database,
    what: What,
    /// What the words of the statement tell, on a server.
    read: Option<statement::Read>,
}

impl Change {
    /// From its parameters. A statement that must not be sent is refused here.
    pub fn new(request: &Request<'_>, target: Database) -> Result<Self, BuildError> {
        let on = request.on.first().cloned().unwrap_or_default();
        let what = if request.uses == "sql.fence" {
            let Nothing {} = request.parameters()?;
            What::Fence
        } else {
            What::Statement(request.parameters()?)
        };
        let read = match (&what, &target) {
            (What::Statement(with), Database::Server(server)) => {
                let read = statement::read(&with.sql, server.engine);
                Some(read.map_err(|words| BuildError::Parameter(format!("sql: {words}")))?)
            }
            (What::Statement(_) | What::Fence, Database::Sqlite(_)) | (What::Fence, Database::Server(_)) => None,
        };
        Ok(Self { on, target, what, read })
    }

    fn named(&self, error: ActionError) -> ActionError {
        ActionError {
            message: format!("{}: {}", self.on, error.message),
            ..error
        }
    }

    fn shape(&self) -> Shape {
        self.read.as_ref().map_or(Shape::Whole, |read| read.shape)
    }

    /// What there is to do on a server; a table without transactions that the statement names makes it one that cannot be
    /// taken back.
    async fn work(&self, target: &ServerTarget) -> Result<(Work, Vec<String>), ActionError> {
        let What::Statement(with) = &self.what else {
            return Ok((Work::Fence, Vec::new()));
        };
        let mut shape = self.shape();
        let mut facts = Vec::new();
        if let (Engine::Mysql, Some(read)) = (target.engine, &self.read) {
            let named = mysql::writer::without_transactions(target).await?;
            for (table, engine) in named.into_iter().filter(|(table, _)| read.names.contains(table)) {
                facts.push(format!(
                    "table {table} is {engine}, without transactions: what changes there cannot be taken back, and an \
                     error in the middle leaves the step in doubt"
                ));
                shape = Shape::Alone {
                    why: "a table has no transactions",
                    partly: true,
                };
            }
        }
        let work = Work::Statement {
            sql: with.sql.clone(),
            params: with.params.clone(),
            shape,
        };
        Ok((work, facts))
    }

    async fn on_server(&self, target: &ServerTarget, cx: &Cx) -> Result<Map<String, Value>, ActionError> {
        if cx.cancel.is_cancelled() {
            let words = "ended before anything was sent";
            return Err(ActionError::new(ActionErrorKind::Cancelled, words));
        }
        let (work, _facts) = self.work(target).await?;
        let mut session: Box<dyn Writer> = match target.engine {
            Engine::Postgres => Box::new(postgres::writer::writer(target, cx).await?),
            Engine::Mysql => Box::new(mysql::writer::writer(target, cx).await?),
            Engine::Sqlserver => Box::new(sqlserver::writer::writer(target, cx).await?),
        };
        writer::once(&mut *session, cx, &work).await
    }

    async fn look(&self, target: &ServerTarget) -> Result<Ready, ActionError> {
        let sql = match &self.what {
            What::Statement(with) => Some((with.sql.as_str(), with.params.len())),
            What::Fence => None,
        };
        let mut ready = match target.engine {
            Engine::Postgres => {
                let mut session = postgres::reader(target).await?;
                let about = session.about().await?;
                if let Some((sql, params)) = sql {
                    session.prepare(sql, params).await?;
                }
                let mut facts = vec![about.product.clone()];
                facts.extend(postgres::writer::facts(target).await?);
                Ready {
                    identity: about.identity,
                    facts,
                }
            }
            Engine::Mysql => {
                let about = mysql::writer::look(target, sql.map(|(sql, _)| sql)).await?;
                Ready {
                    identity: about.identity,
                    facts: about.facts,
                }
            }
            Engine::Sqlserver => {
                let what = match &self.what {
                    What::Statement(with) => Some((with.sql.as_str(), with.params.as_slice())),
                    What::Fence => None,
                };
                let (about, facts) = sqlserver::writer::look(target, what).await?;
                Ready {
                    identity: about.identity,
                    facts,
                }
            }
        };
        ready.facts.extend(self.work(target).await?.1);
        Ok(ready)
    }
}

/// On SQLite, in one transaction with its marker.
async fn on_sqlite(target: &SqliteTarget, what: What, cx: &Cx) -> Result<Map<String, Value>, ActionError> {
    let key = cx.key.clone();
    marker::once(target, cx, move |transaction| {
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
    .await
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
        notes.push(match self.shape() {
            Shape::Whole => "one transaction with its row in pointsman_marker".to_owned(),
            Shape::Alone { why, partly } => {
                let left = if partly { ", also where it fails in the middle" } else { "" };
                format!(
                    "{why}: its row in pointsman_marker says begun before it and done after it; if the answer is lost{left}, \
                     a person decides"
                )
            }
        });
        if matches!(&self.target, Database::Server(_)) {
            notes.push(
                "pointsman_marker, pointsman_result and pointsman_fence are replicated like any table: a replication of \
                 every table needs them on its other side"
                    .to_owned(),
            );
        }
        Preview {
            summary,
            commands: vec![command],
            notes,
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        let ready = match &self.target {
            Database::Server(target) => self.look(target).await,
            Database::Sqlite(target) => {
                let (own, what) = (target.clone(), self.what.clone());
                let seen = blocking(move || {
                    let session = reader(&own)?;
                    match what {
                        What::Statement(statement) => session
                            .prepare(&statement.sql)
                            .map(|_| ())
                            .map_err(|error| failed(&error, "the statement")),
                        What::Fence => Ok(()),
                    }
                });
                seen.await.map(|()| Ready {
                    identity: identity(target),
                    facts: Vec::new(),
                })
            }
        };
        ready.map_err(|error| self.named(error))
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let result = match &self.target {
            Database::Sqlite(target) => on_sqlite(target, self.what.clone(), cx).await?,
            Database::Server(target) => self.on_server(target, cx).await.map_err(|error| self.named(error))?,
        };
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
        match &self.target {
            Database::Sqlite(target) => marker::observe(target, cx, "committed").await,
            Database::Server(target) => match target.engine {
                Engine::Postgres => postgres::writer::observe(target, cx, "committed").await,
                Engine::Mysql => mysql::writer::observe(target, cx, "committed").await,
                Engine::Sqlserver => sqlserver::writer::observe(target, cx, "committed").await,
            },
        }
    }
}
