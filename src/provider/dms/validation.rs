//! `dms.validation`: whether DMS has compared every row, and found all of them equal. A read of what DMS says; what it does
//! not compare is for something else to compare, and to be named.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;

use crate::provider::action::{Action, ActionError, Cx, Observed, Outcome, Preview, Ready};
use crate::provider::again::{Again, Miss, Question, within};
use crate::provider::aws::AwsTarget;
use crate::provider::connection::BuildError;
use crate::provider::registry::Request;
use crate::provider::span::Within;

use super::tables::Tables;
use super::task::{client, ready, statistics};

/// The longest that one question may take.
const EACH: Duration = Duration::from_secs(60);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    task: String,
    #[serde(default)]
    covered: Vec<String>,
    within: Option<Within>,
    every: Option<Within>,
}

/// `dms.validation`.
pub struct Validation {
    aws: AwsTarget,
    task: String,
    covered: Vec<String>,
    again: Again,
}

impl Validation {
    /// From its parameters.
    pub fn new(request: &Request<'_>, aws: AwsTarget) -> Result<Self, BuildError> {
        let with: Parameters = request.parameters()?;
        Ok(Self {
            aws,
            task: with.task,
            covered: with.covered,
            again: Again {
                within: with.within.map(|within| within.0),
                every: with.every.map(|every| every.0),
                each: EACH,
            },
        })
    }
}

#[async_trait]
impl Question for Validation {
    async fn ask(&self, limit: Duration) -> Result<Outcome, Miss> {
        let asking = async { statistics(&client(&self.aws).await, &self.task).await };
        let found = within(limit, "DMS", asking).await?;
        let tables = Tables::new(&found, &self.covered);
        if tables.0.is_empty() {
            return Err(Miss::unmet(format!(
                "DMS tells of no table of {} yet; has it been started?",
                self.task
            )));
        }
        let unknown = tables.unknown(&self.covered);
        if !unknown.is_empty() {
            let words = format!(
                "covered: names {}, which the task does not have; correct it",
                unknown.join(", ")
            );
            return Err(Miss::never(words));
        }
        // A difference may be one that a later change of the row mends: DMS compares it again.
        if let Some(words) = tables.bad() {
            return Err(Miss::unmet(words));
        }
        if let Some(words) = tables.pending() {
            return Err(Miss::unmet(format!("{words}; wait, or ask again within: a time")));
        }
        let result = tables.result();
        Ok(Outcome {
            summary: format!(
                "{} tables: DMS has validated {}, {} are covered elsewhere",
                tables.0.len(),
                result.get("validated").unwrap_or(&json!(0)),
                result.get("covered").unwrap_or(&json!(0)),
            ),
            result,
            evidence: tables.evidence(),
        })
    }
}

#[async_trait]
impl Action for Validation {
    fn preview(&self) -> Preview {
        let mut notes = vec!["every table has to be \"Validated\", and no row may differ".to_owned()];
        if !self.covered.is_empty() {
            notes.push(format!("compared by something else: {}", self.covered.join(", ")));
        }
        Preview {
            summary: "reads what DMS's validation says of every table".to_owned(),
            commands: vec![format!("dms:DescribeTableStatistics {}", self.task)],
            notes,
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        ready(&self.aws, &self.task).await
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        self.again.until(cx, self).await
    }

    async fn observe(&self, _cx: &Cx) -> Result<Observed, ActionError> {
        Ok(Observed::NotStarted {
            detail: "a read leaves nothing behind".to_owned(),
        })
    }
}
