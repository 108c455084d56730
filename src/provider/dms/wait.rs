//! `dms.wait_caught_up` and `dms.wait_drained`: reads until the replication is where it has to be.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_databasemigration::types::TableStatistics;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::provider::action::{
    Action, ActionError, ActionErrorKind, Cx, Observed, Outcome, Preview, Progress, Ready, Table,
};
use crate::provider::again::time;
use crate::provider::aws::AwsTarget;
use crate::provider::connection::{BuildError, SqliteTarget};
use crate::provider::registry::Request;
use crate::provider::span::Within;
use crate::provider::sql::sqlite::{blocking, reader, rows};

use super::lag::{self, behind};
use super::task::{client, describe, instance_name, statistics};

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    CaughtUp,
    Drained,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    task: String,
    fence: Option<String>,
    lag_below: Option<Within>,
    hold: Option<Within>,
    max_age: Option<Within>,
}

/// A wait.
pub struct Wait {
    aws: AwsTarget,
    sql: Option<SqliteTarget>,
    with: Parameters,
    until: Until,
}

/// What a wait for a short lag remembers.
struct Held {
    begun: DateTime<Utc>,
    instance: Option<String>,
    /// The sample since which the lag has been below its bound.
    since: Option<DateTime<Utc>>,
    /// When it was asked last, and what came of it.
    asked: Option<(Instant, String)>,
}

impl Held {
    fn from_now() -> Self {
        Self {
            begun: Utc::now(),
            instance: None,
            since: None,
            asked: None,
        }
    }
}

impl Wait {
    /// From its parameters.
    pub fn new(
        request: &Request<'_>,
        aws: AwsTarget,
        sql: Option<SqliteTarget>,
        until: Until,
    ) -> Result<Self, BuildError> {
        let with: Parameters = request.parameters()?;
        if until == Until::Drained && (sql.is_none() || with.fence.is_none()) {
            return Err(BuildError::Parameter("needs on: [aws, target] and fence".to_owned()));
        }
        if with.lag_below.is_none() && (with.hold.is_some() || with.max_age.is_some()) {
            return Err(BuildError::Parameter(
                "hold and max_age are of lag_below; write it too".to_owned(),
            ));
        }
        Ok(Self { aws, sql, with, until })
    }

    /// Whether the lag has been below its bound for as long as it has to, by samples since the wait was begun; else why
    /// not yet. One sample that is not, or that nobody knows, begins the time anew.
    async fn lag_holds(&self, held: &mut Held, cx: &Cx) -> Result<Result<(), String>, ActionError> {
        let Some(below) = self.with.lag_below else {
            return Ok(Ok(()));
        };
        let speed = cx.speed.max(1.0);
        let asked_again = lag::EVERY.div_f64(speed);
        if let Some((_, words)) = held.asked.as_ref().filter(|(at, _)| at.elapsed() < asked_again) {
            return Ok(Err(words.clone()));
        }
        let instance = match &held.instance {
            Some(instance) => instance.clone(),
            None => instance_name(&client(&self.aws).await, &self.with.task).await?,
        };
        let max_age = self.with.max_age.map_or(lag::MAX_AGE, |age| age.0);
        let found = behind(&self.aws, (&self.with.task, &instance), max_age, cx.speed).await?;
        held.instance = Some(instance);
        let hold = self.with.hold.map_or(Duration::ZERO, |hold| hold.0);
        let period = lag::PERIOD.div_f64(speed);
        let words = match found {
            Err(why) => {
                held.since = None;
                format!("the lag is not known: {why}")
            }
            Ok(behind) if behind.seconds() >= below.0.as_secs_f64() => {
                held.since = None;
                format!("lag {} s, not below {}", behind.seconds(), time(below.0))
            }
            // What was sampled before the wait may be of before a stop.
            Ok(behind) if behind.at + period < held.begun => "no sample since the wait was begun yet".to_owned(),
            Ok(behind) => {
                let since = *held.since.get_or_insert(behind.at);
                let lasted = (behind.at - since).to_std().unwrap_or_default().mul_f64(speed);
                if lasted >= hold {
                    return Ok(Ok(()));
                }
                let lasted = time(Duration::from_secs(lasted.as_secs()));
                let seconds = behind.seconds();
                format!(
                    "lag {seconds} s, below {} for {lasted} of {}",
                    time(below.0),
                    time(hold)
                )
            }
        };
        held.asked = Some((Instant::now(), words.clone()));
        Ok(Err(words))
    }

    /// Whether the fence row has been read on the target.
    async fn fence_arrived(&self) -> Result<bool, ActionError> {
        let (Some(target), Some(token)) = (self.sql.clone(), self.with.fence.clone()) else {
            return Ok(true);
        };
        blocking(move || {
            let session = reader(&target)?;
            let found = rows(
                &session,
                "select 1 from pointsman_fence where token = ?",
                &[Value::from(token)],
            )?;
            Ok(found.count > 0)
        })
        .await
    }

    /// What is still missing, with the share that is done; nothing when it is reached.
    async fn missing(&self) -> Result<(Option<(f64, String)>, Vec<TableStatistics>), ActionError> {
        let client = client(&self.aws).await;
        let task = describe(&client, &self.with.task).await?;
        if !matches!(task.status.as_str(), "running" | "starting") {
            let words = format!("the replication task is {}; it has to run", task.status);
            return Err(ActionError::new(ActionErrorKind::Permanent, words));
        }
        let tables = statistics(&client, &self.with.task).await?;
        if let Some(bad) = tables.iter().find(|table| broken(table)) {
            let words = format!(
                "table {} is in state {}",
                bad.table_name().unwrap_or_default(),
                bad.table_state().unwrap_or_default()
            );
            return Err(ActionError::new(ActionErrorKind::Permanent, words));
        }
        if task.tables_errored > 0 {
            let words = format!("{} tables are in error", task.tables_errored);
            return Err(ActionError::new(ActionErrorKind::Permanent, words));
        }
        let share = f64::from(task.full_load_percent) / 100.0;
        if task.status != "running" || task.full_load_percent < 100 || tables.is_empty() {
            return Ok((Some((share, format!("full load {} %", task.full_load_percent))), tables));
        }
        if self.until == Until::CaughtUp {
            return Ok((None, tables));
        }
        if !self.fence_arrived().await? {
            return Ok((Some((0.5, "the fence row is not on the target yet".to_owned())), tables));
        }
        let failed: i64 = tables.iter().map(TableStatistics::validation_failed_records).sum();
        if failed > 0 {
            let words = format!("DMS validation found {failed} rows that differ");
            return Err(ActionError::new(ActionErrorKind::Permanent, words));
        }
        let pending: i64 = tables.iter().map(TableStatistics::validation_pending_records).sum();
        let open = tables
            .iter()
            .filter(|table| table.validation_state() != Some("Validated"))
            .count();
        if pending > 0 || open > 0 {
            let words = format!("validation: {pending} rows pending, {open} tables open");
            return Ok((Some((0.8, words)), tables));
        }
        Ok((None, tables))
    }
}

/// The statistics of every table, for people; those that are not done first.
fn table(statistics: &[TableStatistics]) -> Table {
    let mut known: Vec<&TableStatistics> = statistics.iter().collect();
    known.sort_by_key(|table| table.validation_state() == Some("Validated"));
    let row = |table: &&TableStatistics| {
        let changes = table.inserts() + table.updates() + table.deletes();
        vec![
            table.table_name().unwrap_or_default().to_owned(),
            table.table_state().unwrap_or_default().to_owned(),
            table.full_load_rows().to_string(),
            changes.to_string(),
            table.validation_state().unwrap_or("not validated").to_owned(),
            table.validation_pending_records().to_string(),
            table.validation_failed_records().to_string(),
        ]
    };
    let head = ["table", "state", "loaded", "changes", "validation", "pending", "failed"];
    Table {
        head: head.map(str::to_owned).to_vec(),
        rows: known.iter().map(row).collect(),
    }
}

fn broken(table: &TableStatistics) -> bool {
    table.table_state().is_some_and(|state| {
        let state = state.to_lowercase();
        state.contains("error") || state.contains("suspend")
    })
}

#[async_trait]
impl Action for Wait {
    fn preview(&self) -> Preview {
        let (summary, note) = match self.until {
            Until::CaughtUp => (
                "waits until the replication has caught up",
                "full load 100 %, no table in error",
            ),
            Until::Drained => (
                "waits until the replication is drained",
                "the fence row is read on the target, nothing is pending, every table is validated",
            ),
        };
        let mut commands = vec![
            format!("dms:DescribeReplicationTasks {}", self.with.task),
            format!("dms:DescribeTableStatistics {}", self.with.task),
        ];
        let mut notes = vec![note.to_owned()];
        if let Some(below) = self.with.lag_below {
            let hold = self.with.hold.map_or(Duration::ZERO, |hold| hold.0);
            commands.push(format!("cloudwatch:GetMetricStatistics AWS/DMS {}", self.with.task));
            notes.push(format!("then a lag below {}, for {} on end", time(below.0), time(hold)));
        }
        if let Some(fence) = &self.with.fence {
            commands.push(format!("target: select 1 from pointsman_fence where token = '{fence}'"));
        }
        Preview {
            summary: summary.to_owned(),
            commands,
            notes,
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        self.aws.prove_account().await?;
        self.aws.prove_place(&self.with.task)?;
        let task = describe(&client(&self.aws).await, &self.with.task).await?;
        let mut identity = self.aws.identity_json();
        if let Some(fields) = identity.as_object_mut() {
            fields.insert("task".to_owned(), json!(self.with.task));
        }
        let facts = vec![format!(
            "the task is {}, full load {} %",
            task.status, task.full_load_percent
        )];
        Ok(Ready { identity, facts })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let mut held = Held::from_now();
        loop {
            let missing = match self.missing().await {
                Ok((None, tables)) => match self.lag_holds(&mut held, cx).await {
                    Ok(Ok(())) => Ok((None, tables)),
                    Ok(Err(words)) => Ok((Some((0.9, words)), tables)),
                    Err(error) => {
                        held.since = None;
                        Err(error)
                    }
                },
                missing @ (Ok((Some(_), _)) | Err(_)) => {
                    held.since = None;
                    missing
                }
            };
            match missing {
                Ok((None, tables)) => {
                    let rows: i64 = tables
                        .iter()
                        .map(|table| table.full_load_rows() + table.inserts())
                        .sum();
                    let mut result = Map::new();
                    result.insert("tables".to_owned(), json!(tables.len()));
                    result.insert("rows".to_owned(), json!(rows));
                    let words = match self.until {
                        Until::CaughtUp => "caught up",
                        Until::Drained => "drained: fence read on the target, all tables validated",
                    };
                    let summary = format!("{words}; {} tables, {rows} rows", tables.len());
                    return Ok(Outcome {
                        summary,
                        result,
                        evidence: Vec::new(),
                    });
                }
                Ok((Some((done, text)), tables)) => {
                    cx.reporter.progress(Progress::Share { done, text });
                    cx.reporter.progress(Progress::Table(table(&tables)));
                }
                Err(error) if error.kind == ActionErrorKind::Transient => {
                    cx.reporter.progress(Progress::State(error.message));
                }
                Err(error) => return Err(error),
            }
            cx.pause(Duration::from_secs(2)).await?;
        }
    }

    async fn observe(&self, _cx: &Cx) -> Result<Observed, ActionError> {
        Ok(Observed::NotStarted {
            detail: "a read leaves nothing behind".to_owned(),
        })
    }
}
