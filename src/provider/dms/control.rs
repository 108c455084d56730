//! `dms.start`, `dms.stop`, `dms.resume`. Never `reload-target`: a task that ran before goes on.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_databasemigration::operation::RequestId;
use aws_sdk_databasemigration::types::StartReplicationTaskTypeValue;
use serde::Deserialize;
use serde_json::{Map, json};

use crate::provider::action::{Action, ActionError, ActionErrorKind, Cx, Observed, Outcome, Preview, Progress, Ready};
use crate::provider::aws::accept::note;
use crate::provider::aws::lag::SHOWN;
use crate::provider::aws::{AwsTarget, Sent, accepted, classify};
use crate::provider::connection::BuildError;
use crate::provider::registry::Request;
use crate::provider::sql::database::Database;
use crate::provider::sql::replicated::{MOST, Target};

use super::task::{Task, client, describe, writer};

/// How far the clocks of AWS and this machine may differ.
const SKEW_MS: i64 = 2_000;
/// How often a task is looked at, nominally.
const BEAT: Duration = Duration::from_secs(2);
/// The preparation of target tables that leaves their rows.
const KEEPS: &str = "DO_NOTHING";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    task: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Start,
    Stop,
    Resume,
}

/// A change of a task's state.
pub struct Control {
    aws: AwsTarget,
    sql: Option<Database>,
    task: String,
    verb: Verb,
}

fn permanent(words: String) -> ActionError {
    ActionError::new(ActionErrorKind::Permanent, words)
}

impl Control {
    /// From its parameters.
    pub fn new(request: &Request<'_>, aws: AwsTarget, sql: Option<Database>) -> Result<Self, BuildError> {
        let with: Parameters = request.parameters()?;
        let verb = match request.uses {
            "dms.start" => Verb::Start,
            "dms.stop" => Verb::Stop,
            _ => Verb::Resume,
        };
        Ok(Self {
            aws,
            sql,
            task: with.task,
            verb,
        })
    }

    /// Rows of every table of the target, as far as they are counted, where a target is named; and what its user needs to be
    /// shown all tables.
    async fn target_rows(&self) -> Result<(Vec<(String, u64)>, Option<&'static str>), ActionError> {
        let Some(target) = &self.sql else {
            return Ok((Vec::new(), None));
        };
        let mut target = Target::open(target).await?;
        let blind = target.blind().await?;
        let mut counts = Vec::new();
        // Tables that DMS and this tool keep there for themselves are no rows of anybody's.
        let kept = |name: &str| ["awsdms_", "pointsman_"].iter().any(|own| name.starts_with(own));
        for table in target.tables().await?.into_iter().filter(|table| !kept(&table.name)) {
            let count = target.filled(&table).await?;
            counts.push((table.to_string(), count));
        }
        Ok((counts, blind))
    }

    /// A first start prepares the target's tables as the task is set up to: every preparation but one takes rows away, so
    /// that nothing may be there.
    fn spares(&self, task: &Task, counts: &[(String, u64)], blind: Option<&str>) -> Result<(), ActionError> {
        let preparation = task.preparation.as_deref();
        if task.started.is_some() || preparation == Some(KEEPS) {
            return Ok(());
        }
        let how = preparation.unwrap_or("nobody knows how");
        let filled: Vec<&str> = counts
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(table, _)| table.as_str())
            .collect();
        if self.sql.is_none() {
            return Err(permanent(format!(
                "{} would prepare the target's tables ({how}), which takes rows away, and no target is named to count them; write on: [aws, target], or set TargetTablePrepMode to {KEEPS}",
                self.task
            )));
        }
        if let Some(needs) = blind {
            return Err(permanent(format!(
                "{} would prepare the target's tables ({how}), and its connection's user is not shown all of them; grant it \
                 {needs}, or set TargetTablePrepMode to {KEEPS}",
                self.task
            )));
        }
        if !filled.is_empty() {
            return Err(permanent(format!(
                "{} would prepare the target's tables ({how}) and could take the rows of {}; empty the target first, or set TargetTablePrepMode to {KEEPS}",
                self.task,
                filled.join(", ")
            )));
        }
        Ok(())
    }

    fn allowed(&self, task: &Task) -> Result<(), ActionError> {
        let status = task.status.as_str();
        match (self.verb, status) {
            (Verb::Start, "ready" | "created" | "stopped")
            | (Verb::Stop, "running" | "starting" | "stopped" | "ready" | "failed") => Ok(()),
            (Verb::Resume, "stopped" | "running") => Ok(()),
            (Verb::Resume, "ready") => Err(permanent(format!("{} was never started; use dms.start", self.task))),
            (Verb::Start, _) => Err(permanent(format!(
                "{} is {status}; it can be started when ready or stopped",
                self.task
            ))),
            (Verb::Stop, _) => Err(permanent(format!(
                "{} is {status}; it can be stopped when running",
                self.task
            ))),
            (Verb::Resume, _) => Err(permanent(format!(
                "{} is {status}; it can go on when stopped",
                self.task
            ))),
        }
    }

    fn outcome(&self, task: &Task, words: &str) -> Outcome {
        let mut result = Map::new();
        result.insert("status".to_owned(), json!(task.status));
        result.insert("started".to_owned(), json!(task.started));
        let failure = task.failure.as_ref().filter(|_| task.status == "failed");
        let failure = failure.map(|words| format!("; it failed: {words}")).unwrap_or_default();
        Outcome {
            summary: format!("{} {words}{failure}", self.task),
            result,
            evidence: Vec::new(),
        }
    }

    /// Whether the task is where the verb leads: done, on its way, or not.
    fn reached(&self, task: &Task) -> Result<Option<bool>, ActionError> {
        let failure = || task.failure.clone().unwrap_or_else(|| "no reason given".to_owned());
        Ok(match (self.verb, task.status.as_str()) {
            (Verb::Start | Verb::Resume, "running") | (Verb::Stop, "stopped" | "failed") => Some(true),
            (Verb::Start | Verb::Resume, "starting") | (Verb::Stop, "stopping") => Some(false),
            (Verb::Start | Verb::Resume, "failed") => {
                return Err(permanent(format!("{} failed: {}", self.task, failure())));
            }
            _ => None,
        })
    }
}

#[async_trait]
impl Action for Control {
    fn preview(&self) -> Preview {
        let (summary, call, note) = match self.verb {
            Verb::Start => (
                format!("starts the replication task {}", self.task),
                "dms:StartReplicationTask start-replication (resume-processing if it ran before)",
                "never reload-target; stopping it leaves the loaded rows",
            ),
            Verb::Stop => (
                format!("stops the replication task {}", self.task),
                "dms:StopReplicationTask",
                "what was loaded stays on the target",
            ),
            Verb::Resume => (
                format!("lets the replication task {} go on", self.task),
                "dms:StartReplicationTask resume-processing",
                "where the target has taken writes of its own it is kept stopped: replicating could overwrite them",
            ),
        };
        Preview {
            summary,
            commands: vec![format!("{call} {}", self.task)],
            notes: vec![note.to_owned()],
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        self.aws.prove_account().await?;
        self.aws.prove_place(&self.task)?;
        let client = client(&self.aws).await;
        let task = describe(&client, &self.task).await?;
        self.allowed(&task)?;
        let mut facts = vec![format!("the task is {}", task.status)];
        if self.verb == Verb::Start {
            let preparation = task.preparation.clone().unwrap_or_else(|| "unknown".to_owned());
            facts.push(format!("target table preparation: {preparation}"));
            let (counts, blind) = self.target_rows().await?;
            if let Some(target) = &self.sql {
                facts.push(format!("the target is {target}"));
            }
            facts.extend(counts.iter().map(|(table, count)| match *count < MOST {
                true => format!("target {table}: {count} rows"),
                false => format!("target {table}: {count} rows or more"),
            }));
            self.spares(&task, &counts, blind)?;
        }
        let mut identity = self.aws.identity_json();
        if let Some(fields) = identity.as_object_mut() {
            fields.insert("task".to_owned(), json!(self.task));
            fields.insert("started".to_owned(), json!(task.started));
            fields.insert("stopped".to_owned(), json!(task.stopped));
        }
        Ok(Ready { identity, facts })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let client = client(&self.aws).await;
        let before = describe(&client, &self.task).await?;
        if self.verb == Verb::Resume && cx.target_written {
            let words = format!(
                "is kept {}: the target has taken writes of its own, and replicating could overwrite them; nothing was sent",
                before.status
            );
            return Ok(self.outcome(&before, &words));
        }
        self.allowed(&before)?;
        let there = match self.verb {
            Verb::Start => false,
            Verb::Stop => matches!(before.status.as_str(), "stopped" | "ready" | "failed"),
            Verb::Resume => before.status == "running",
        };
        if there {
            return Ok(self.outcome(&before, &format!("is {} already; nothing was sent", before.status)));
        }
        let writer = writer(&self.aws).await;
        let request_id = match self.verb {
            Verb::Start | Verb::Resume => {
                let fresh = self.verb == Verb::Start && before.started.is_none();
                let kind = if fresh {
                    StartReplicationTaskTypeValue::StartReplication
                } else {
                    StartReplicationTaskTypeValue::ResumeProcessing
                };
                let call = writer.start_replication_task().replication_task_arn(&self.task);
                let answer = call.start_replication_task_type(kind).send().await;
                let answer = answer.map_err(|error| classify(error, "dms:StartReplicationTask", Sent::Mutation))?;
                answer.request_id().map(str::to_owned)
            }
            Verb::Stop => {
                let call = writer.stop_replication_task().replication_task_arn(&self.task);
                let answer = call.send().await;
                let answer = answer.map_err(|error| classify(error, "dms:StopReplicationTask", Sent::Mutation))?;
                answer.request_id().map(str::to_owned)
            }
        };
        note(cx, &self.task, request_id.as_deref()).await?;
        let mut stale = Duration::ZERO;
        loop {
            match describe(&client, &self.task).await {
                Ok(task) => match self.reached(&task)? {
                    Some(true) => {
                        let mut outcome = self.outcome(&task, &format!("is {}", task.status));
                        outcome.result.insert("request_id".to_owned(), json!(request_id));
                        return Ok(outcome);
                    }
                    Some(false) => cx.reporter.progress(Progress::State(task.status)),
                    // DMS may say for a while what was before.
                    None if stale < SHOWN => {
                        stale += BEAT;
                        cx.reporter.progress(Progress::State(format!("still {}", task.status)));
                    }
                    None => {
                        let words = format!("{} is {} after it was accepted", self.task, task.status);
                        return Err(ActionError {
                            request_id,
                            ..ActionError::new(ActionErrorKind::InDoubt, words)
                        });
                    }
                },
                Err(error) if error.kind == ActionErrorKind::Transient => {
                    cx.reporter.progress(Progress::State(error.message));
                }
                Err(error) => return Err(accepted(error)),
            }
            cx.pause(BEAT).await?;
        }
    }

    async fn observe(&self, cx: &Cx) -> Result<Observed, ActionError> {
        let client = client(&self.aws).await;
        let task = describe(&client, &self.task).await?;
        let (key, now) = match self.verb {
            Verb::Start | Verb::Resume => ("started", task.started),
            Verb::Stop => ("stopped", task.stopped),
        };
        // What was bound tells best; without it the time of the intent has to.
        let ours = match cx.identity.get(key) {
            Some(bound) => bound.as_i64() != now,
            None => now.is_some_and(|now| now >= cx.intent_at.timestamp_millis() - SKEW_MS),
        };
        let reached = match self.reached(&task) {
            Ok(reached) => reached,
            // It is looked at, and it is for a person to say what that failure was.
            Err(failed) => return Ok(Observed::Unknown { detail: failed.message }),
        };
        let Some(reached) = reached else {
            let detail = format!("the task is {}", task.status);
            // It was where the verb leads, and has left again: to start it anew would not be the first time.
            return Ok(match ours {
                true => Observed::Unknown {
                    detail: format!("{detail}, and its time of being {key} is another than before"),
                },
                false => cx.nothing_shows(SHOWN, detail),
            });
        };
        if !ours && self.verb != Verb::Stop {
            let words = format!("the task is {}, but not since this run asked for it", task.status);
            return Ok(Observed::Unknown { detail: words });
        }
        if reached {
            return Ok(Observed::Done(
                self.outcome(&task, &format!("is {} (found by reading)", task.status)),
            ));
        }
        Ok(Observed::Running { detail: task.status })
    }
}
