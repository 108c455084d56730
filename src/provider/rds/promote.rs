//! `rds.promote_replica`: makes a read replica an instance of its own, for ever. Done is what the instance itself says:
//! that the call was answered is not enough.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_rds::operation::RequestId;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::provider::action::{Action, ActionError, Cx, Observed, Outcome, Preview, Progress, Ready};
use crate::provider::aws::accept::note;
use crate::provider::aws::lag::SHOWN_LATE;
use crate::provider::aws::{AwsTarget, Sent, classify};
use crate::provider::connection::BuildError;
use crate::provider::registry::Request;

use super::database::{BEAT, Database, Rds, Subject, identity, in_doubt, permanent};
use super::health::restart_applies;
use super::way::is_stuck;

/// How long a change that was accepted may show nothing, nominally.
pub const SETTLE: Duration = Duration::from_secs(15 * 60);

/// What its automated backups are: a replica has none by default, and keeps that when it is promoted.
fn kept(now: &Database) -> String {
    match now.settings.backup_retention {
        Some(0) => {
            "it keeps no automated backups, and will not by itself once it is promoted: see rds.modify".to_owned()
        }
        Some(days) => format!("its automated backups are kept for {days} days"),
        None => "how long its automated backups are kept is not known".to_owned(),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    instance: String,
    #[serde(default)]
    even_if_stopped: bool,
}

/// `rds.promote_replica`.
pub struct Promote {
    target: AwsTarget,
    subject: Subject,
    /// Its replication need not run.
    even_if_stopped: bool,
}

impl Promote {
    /// From its parameters.
    pub fn new(request: &Request<'_>, target: AwsTarget) -> Result<Self, BuildError> {
        let with: Parameters = request.parameters()?;
        Ok(Self {
            target,
            subject: Subject::Instance(with.instance),
            even_if_stopped: with.even_if_stopped,
        })
    }

    /// What is known of how far it is behind, and the refusal of one that does not follow its source.
    fn behind(&self, now: &Database) -> Result<String, ActionError> {
        let unknown = "how many seconds it is behind is NOT KNOWN here: ask the database, or CloudWatch (ReplicaLag)";
        match &now.replication {
            None => Ok(format!("RDS says nothing of its replication; {unknown}")),
            Some(told) if told.runs() => Ok(format!("its replication runs, says RDS; {unknown}")),
            Some(told) if self.even_if_stopped => Ok(format!(
                "ITS REPLICATION DOES NOT RUN: {}; what its source wrote since is missing",
                told.words()
            )),
            Some(told) => Err(permanent(format!(
                "the replication of {} does not run: {}; what its source wrote since would be missing; see to it, or say \
                 even_if_stopped: true",
                now.name,
                told.words()
            ))),
        }
    }

    fn outcome(now: &Database, source: Option<&str>, request_id: Option<String>, words: &str) -> Outcome {
        let mut result = now.result();
        result.insert("was_replica_of".to_owned(), json!(source));
        result.insert("request_id".to_owned(), json!(request_id));
        let source = source.map(|name| format!(" of {name}")).unwrap_or_default();
        Outcome {
            summary: format!("{} is no replica{source} any more{words}; {}", now.name, kept(now)),
            result,
            evidence: Vec::new(),
        }
    }
}

#[async_trait]
impl Action for Promote {
    fn preview(&self) -> Preview {
        let name = self.subject.name();
        Preview {
            summary: format!("makes the read replica {name} an instance of its own"),
            commands: vec![format!("rds:PromoteReadReplica {name}")],
            notes: vec![
                "it never becomes a replica again; what its source writes from then on does not arrive".to_owned(),
                "it restarts: sessions are cut; done only once it says itself that it is no replica".to_owned(),
                "how many seconds it is behind its source is not read here: wait until the lag is 0 before".to_owned(),
            ],
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        self.target.prove_account().await?;
        let now = Rds::open(&self.target).await.describe(&self.subject).await?;
        let Some(source) = &now.replica_of else {
            return Err(permanent(format!(
                "{} is no read replica; check the identifier, or skip the step if it was promoted already",
                now.name
            )));
        };
        if now.status != "available" {
            let words = format!("{} is {}; it has to be available to be promoted", now.name, now.status);
            return Err(permanent(words));
        }
        let mut facts = vec![
            format!("{} is a replica of {source}", now.name),
            self.behind(&now)?,
            kept(&now),
        ];
        facts.extend(restart_applies(&now.parameters_waiting));
        let mut identity = identity(&self.target, &self.subject, &now);
        identity.insert("replica_of".to_owned(), json!(source));
        Ok(Ready {
            identity: Value::Object(identity),
            facts,
        })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let rds = Rds::open(&self.target).await;
        let before = rds.describe(&self.subject).await?;
        let Some(source) = before.replica_of.clone() else {
            let words = format!(
                "{} is no replica any more; nothing was sent, look who promoted it",
                before.name
            );
            return Err(permanent(words));
        };
        // It may have stopped since the gate.
        self.behind(&before)?;
        let call = rds.writes.promote_read_replica();
        let answer = call.db_instance_identifier(self.subject.name()).send().await;
        let answer = answer.map_err(|error| classify(error, "rds:PromoteReadReplica", Sent::Mutation))?;
        let request_id = answer.request_id().map(str::to_owned);
        note(cx, self.subject.name(), request_id.as_deref()).await?;
        let mut waited = Duration::ZERO;
        loop {
            if let Some(now) = rds.follow_standing(&self.subject, cx).await? {
                let failed = |words: String| {
                    Err(ActionError {
                        request_id: request_id.clone(),
                        ..in_doubt(words)
                    })
                };
                match (&now.replica_of, now.status.as_str()) {
                    (None, "available") => return Ok(Self::outcome(&now, Some(&source), request_id, "")),
                    (_, status) if is_stuck(status) => {
                        return failed(format!(
                            "{} is {status} after its promotion began; look at its events",
                            now.name
                        ));
                    }
                    (Some(_), "available") if waited >= SETTLE => {
                        return failed(format!(
                            "the promotion of {} was answered with success and it is still a replica of {source}; look at its events",
                            now.name
                        ));
                    }
                    (_, status) => cx.reporter.progress(Progress::State(format!(
                        "{status}, {}",
                        if now.replica_of.is_some() {
                            "still a replica"
                        } else {
                            "no replica any more"
                        }
                    ))),
                }
            }
            cx.pause(BEAT).await?;
            waited += BEAT;
        }
    }

    async fn observe(&self, cx: &Cx) -> Result<Observed, ActionError> {
        let now = Rds::open(&self.target).await.describe(&self.subject).await?;
        let bound = cx.identity.get("replica_of").and_then(Value::as_str);
        Ok(match (&now.replica_of, now.status.as_str()) {
            (None, "available") => Observed::Done(Self::outcome(&now, bound, None, " (found by reading)")),
            (None, status) if !is_stuck(status) => Observed::Running {
                detail: format!("{} is no replica any more and {status}", now.name),
            },
            // It may have been asked for: RDS takes its time before it shows anything.
            (Some(source), "available") => cx.nothing_shows(
                SHOWN_LATE,
                format!("{} is still a replica of {source}, and available", now.name),
            ),
            (Some(source), status) if status != "available" && !is_stuck(status) => Observed::Running {
                detail: format!("{} is still a replica of {source}, and {status}", now.name),
            },
            (Some(source), status) => Observed::Unknown {
                detail: format!("{} is still a replica of {source}, and {status}", now.name),
            },
            (None, status) => Observed::Unknown {
                detail: format!("{} is no replica any more, and {status}", now.name),
            },
        })
    }
}
