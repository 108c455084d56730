//! `dms.wait_caught_up` and `dms.wait_drained`: reads until the replication is where it has to be.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::provider::action::{Action, ActionError, ActionErrorKind, Cx, Observed, Outcome, Preview, Progress, Ready};
use crate::provider::again::time;
use crate::provider::aws::AwsTarget;
use crate::provider::connection::BuildError;
use crate::provider::registry::Request;
use crate::provider::span::Within;
use crate::provider::sql::database::Database;
use crate::provider::sql::replicated::Target;

use super::lag::{self, behind};
use super::tables::{Tables, Validity};
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
    #[serde(default)]
    covered: Vec<String>,
}

/// Where DMS notes on the target what it could not apply there.
const EXCEPTIONS: &str = "awsdms_apply_exceptions";

/// A wait.
pub struct Wait {
    aws: AwsTarget,
    sql: Option<Database>,
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
    pub fn new(request: &Request<'_>, aws: AwsTarget, sql: Option<Database>, until: Until) -> Result<Self, BuildError> {
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
        let (Some(target), Some(token)) = (&self.sql, &self.with.fence) else {
            return Ok(true);
        };
        Target::open(target).await?.fence(token).await
    }

    /// How many changes DMS could not apply to the target, by the tables that it keeps there, in a schema of its own or not;
    /// nothing where there is none.
    async fn exceptions(&self) -> Result<Option<u64>, ActionError> {
        let Some(target) = &self.sql else {
            return Ok(None);
        };
        let mut target = Target::open(target).await?;
        let mut counted = None;
        let tables = target.tables().await?;
        for table in tables
            .iter()
            .filter(|table| table.name.eq_ignore_ascii_case(EXCEPTIONS))
        {
            counted = Some(counted.unwrap_or(0) + target.count(table).await?);
        }
        if counted.is_none()
            && let Some(needs) = target.blind().await?
        {
            let words = format!(
                "{EXCEPTIONS} is not seen on the target, and its user is not shown all tables; grant it SELECT on the schema \
                 where DMS keeps it (awsdms_control unless ControlSchema says otherwise), or {needs}"
            );
            return Err(ActionError::new(ActionErrorKind::Permanent, words));
        }
        Ok(counted)
    }

    /// Changes that could not be applied since the gate are missing on the target, whatever the fence says.
    async fn no_new_exceptions(&self, before: u64) -> Result<(), ActionError> {
        let now = self.exceptions().await?.unwrap_or(0);
        if now > before {
            let words = format!(
                "DMS could not apply {} changes since the gate ({EXCEPTIONS} has {now} rows, it had {before}); read their \
                 ERROR and STATEMENT there",
                now - before
            );
            return Err(ActionError::new(ActionErrorKind::Permanent, words));
        }
        Ok(())
    }

    /// What is still missing, with the share that is done; nothing when it is reached.
    async fn missing(&self, exceptions: u64) -> Result<(Option<(f64, String)>, Tables), ActionError> {
        // First: what is read after it was seen knows every change before it.
        let arrived = self.until == Until::CaughtUp || self.fence_arrived().await?;
        let client = client(&self.aws).await;
        let task = describe(&client, &self.with.task).await?;
        let permanent = |words: String| Err(ActionError::new(ActionErrorKind::Permanent, words));
        if !matches!(task.status.as_str(), "running" | "starting") {
            return permanent(format!("the replication task is {}; it has to run", task.status));
        }
        let tables = Tables::new(&statistics(&client, &self.with.task).await?, &self.with.covered);
        if let Some(bad) = tables.0.iter().find(|table| table.is_broken()) {
            return permanent(format!("table {} is in state {}", bad.name, bad.state));
        }
        if task.tables_errored > 0 {
            return permanent(format!("{} tables are in error", task.tables_errored));
        }
        let share = f64::from(task.full_load_percent) / 100.0;
        if task.status != "running" || task.full_load_percent < 100 || tables.0.is_empty() {
            return Ok((Some((share, format!("full load {} %", task.full_load_percent))), tables));
        }
        if self.until == Until::CaughtUp {
            return Ok((None, tables));
        }
        let unknown = tables.unknown(&self.with.covered);
        if !unknown.is_empty() {
            return permanent(format!(
                "covered: names {}, which the task does not have; correct it",
                unknown.join(", ")
            ));
        }
        self.no_new_exceptions(exceptions).await?;
        if !arrived {
            return Ok((Some((0.5, "the fence row is not on the target yet".to_owned())), tables));
        }
        if let Some(words) = tables.bad() {
            return permanent(format!("DMS's validation does not hold: {words}"));
        }
        if let Some(words) = tables.pending() {
            return Ok((Some((0.8, words)), tables));
        }
        Ok((None, tables))
    }
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
                "the fence row is read on the target, nothing is pending, every table is validated, and DMS has noted no \
                 new change that it could not apply",
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
            commands.push(format!("target: select count(*) from {EXCEPTIONS}"));
        }
        let covered = (!self.with.covered.is_empty())
            .then(|| format!("compared by something else: {}", self.with.covered.join(", ")));
        Preview {
            summary: summary.to_owned(),
            commands,
            notes: notes.into_iter().chain(covered).collect(),
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
        let mut facts = vec![format!(
            "the task is {}, full load {} %",
            task.status, task.full_load_percent
        )];
        if self.until == Until::Drained {
            let exceptions = self.exceptions().await?;
            facts.push(match exceptions {
                Some(count) => format!("changes that DMS could not apply so far: {count} ({EXCEPTIONS})"),
                None => format!("the target has no {EXCEPTIONS}: DMS has noted no change that it could not apply"),
            });
            if let Some(fields) = identity.as_object_mut() {
                fields.insert("exceptions".to_owned(), json!(exceptions.unwrap_or(0)));
            }
        }
        Ok(Ready { identity, facts })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        // What was there before the gate was there to be seen.
        let bound = cx.identity.get("exceptions").and_then(Value::as_u64);
        let exceptions = match bound {
            Some(bound) => bound,
            None if self.until == Until::Drained => self.exceptions().await?.unwrap_or(0),
            None => 0,
        };
        let mut held = Held::from_now();
        loop {
            let missing = match self.missing(exceptions).await {
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
                    let rows = tables.rows();
                    let mut result = Map::new();
                    result.insert("tables".to_owned(), json!(tables.0.len()));
                    result.insert("rows".to_owned(), json!(rows));
                    let covered = match tables.count(Validity::Covered) {
                        0 => String::new(),
                        covered => format!(" ({covered} covered elsewhere)"),
                    };
                    let words = match self.until {
                        Until::CaughtUp => "caught up".to_owned(),
                        Until::Drained => format!("drained: fence read on the target, all tables validated{covered}"),
                    };
                    return Ok(Outcome {
                        summary: format!("{words}; {} tables, {rows} rows", tables.0.len()),
                        result,
                        evidence: tables.evidence(),
                    });
                }
                Ok((Some((done, text)), tables)) => cx.reporter.progress(Progress::Board {
                    done,
                    text,
                    rows: tables.lines(),
                }),
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
