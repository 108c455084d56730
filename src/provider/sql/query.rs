//! Reading: query, assert, wait.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::provider::action::{Action, ActionError, ActionErrorKind, Cx, Observed, Outcome, Preview, Progress, Ready};
use crate::provider::connection::BuildError;
use crate::provider::expectation::Expectation;
use crate::provider::registry::Request;
use crate::provider::span::Within;

use super::database::Database;
use super::rows::Rows;

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
    target: Database,
    with: Parameters,
}

impl Read {
    /// From its parameters.
    pub fn new(request: &Request<'_>, target: Database) -> Result<Self, BuildError> {
        let on = request.on.first().cloned().unwrap_or_default();
        Ok(Self {
            uses: request.uses.to_owned(),
            on,
            target,
            with: request.parameters()?,
        })
    }

    async fn rows(&self, cancel: &CancellationToken) -> Result<Rows, ActionError> {
        let read = self.target.rows(&self.with.sql, &self.with.params, cancel).await;
        read.map_err(|error| self.named(error))
    }

    fn named(&self, error: ActionError) -> ActionError {
        ActionError {
            message: format!("{}: {}", self.on, error.message),
            ..error
        }
    }

    async fn once(&self, cancel: &CancellationToken) -> Result<(Outcome, bool), ActionError> {
        let found = self.rows(cancel).await?;
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
            summary: format!("{} on {} ({})", self.uses, self.on, self.target.guard()),
            commands,
            notes,
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        let known = self.target.understands(&self.with.sql, &self.with.params).await;
        let known = known.map_err(|error| self.named(error))?;
        Ok(Ready {
            identity: known.identity,
            facts: known.facts,
        })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let begun = Instant::now();
        loop {
            let (outcome, holds) = self.once(&cx.cancel).await?;
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
