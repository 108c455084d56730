//! Reading: query, assert, wait.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;

use crate::provider::action::{Action, ActionError, ActionErrorKind, Cx, Observed, Outcome, Preview, Progress, Ready};
use crate::provider::connection::{BuildError, SqliteTarget};
use crate::provider::expectation::Expectation;
use crate::provider::registry::Request;
use crate::provider::span::Within;

use super::sqlite::{Rows, blocking, identity, reader, rows};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    sql: String,
    #[serde(default)]
    params: Vec<Value>,
    expect: Option<Expectation>,
    within: Option<Within>,
    every: Option<Within>,
}

/// A read.
pub struct Read {
    uses: String,
    on: String,
    target: SqliteTarget,
    with: Parameters,
}

impl Read {
    /// From its parameters.
    pub fn new(request: &Request<'_>, target: SqliteTarget) -> Result<Self, BuildError> {
        let on = request.on.first().cloned().unwrap_or_default();
        Ok(Self {
            uses: request.uses.to_owned(),
            on,
            target,
            with: request.parameters()?,
        })
    }

    async fn rows(&self) -> Result<Rows, ActionError> {
        let (target, with) = (self.target.clone(), self.with.clone());
        let on = self.on.clone();
        blocking(move || rows(&reader(&target)?, &with.sql, &with.params))
            .await
            .map_err(|error| ActionError {
                message: format!("{on}: {}", error.message),
                ..error
            })
    }

    async fn once(&self) -> Result<(Outcome, bool), ActionError> {
        let found = self.rows().await?;
        let result = found.result();
        let holds = match &self.with.expect {
            Some(expect) => expect.holds(&result)?,
            None => true,
        };
        let seen = match result.get("value") {
            Some(Value::Null) | None => format!("{} rows", found.count),
            Some(value) => format!("value {value}"),
        };
        let summary = match &self.with.expect {
            Some(expect) => format!("{seen}; {} is {holds}", expect.text()),
            None => seen,
        };
        Ok((
            Outcome {
                summary,
                result,
                evidence: Vec::new(),
            },
            holds,
        ))
    }
}

#[async_trait]
impl Action for Read {
    fn preview(&self) -> Preview {
        let mut commands = vec![format!("{}: {}", self.on, self.with.sql.trim())];
        if !self.with.params.is_empty() {
            commands.push(format!("params: {}", Value::Array(self.with.params.clone())));
        }
        let notes = self
            .with
            .expect
            .iter()
            .map(|expect| format!("expects {}", expect.text()))
            .collect();
        Preview {
            summary: format!("{} on {} (read-only session)", self.uses, self.on),
            commands,
            notes,
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        let (target, sql) = (self.target.clone(), self.with.sql.clone());
        blocking(move || {
            let session = reader(&target)?;
            let statement = session
                .prepare(&sql)
                .map_err(|error| super::sqlite::failed(&error, "the query"))?;
            if !statement.readonly() {
                let words = "the statement would write; use sql.exec for what changes something";
                return Err(ActionError::new(ActionErrorKind::Permanent, words));
            }
            Ok(())
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
        let begun = Instant::now();
        loop {
            let (outcome, holds) = self.once().await?;
            if holds {
                return Ok(outcome);
            }
            let Some(within) = self.with.within else {
                return Err(ActionError::new(
                    ActionErrorKind::Permanent,
                    format!("{}: {}", self.on, outcome.summary),
                ));
            };
            if begun.elapsed().mul_f64(cx.speed.max(1.0)) >= within.0 {
                let words = format!("{}: not within {} s: {}", self.on, within.0.as_secs(), outcome.summary);
                return Err(ActionError::new(ActionErrorKind::Permanent, words));
            }
            cx.reporter.progress(Progress::State(outcome.summary));
            cx.pause(self.with.every.map_or(Duration::from_secs(2), |every| every.0))
                .await?;
        }
    }

    async fn observe(&self, _cx: &Cx) -> Result<Observed, ActionError> {
        Ok(Observed::NotStarted {
            detail: "a read leaves nothing behind".to_owned(),
        })
    }
}
