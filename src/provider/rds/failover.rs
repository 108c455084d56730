//! `rds.failover`: the standby takes over. Done is what moved: the zone of an instance, the writer of a cluster. Failing
//! back is a step of its own.

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
use super::promote::SETTLE;
use super::way::is_stuck;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    instance: Option<String>,
    cluster: Option<String>,
    /// The member of a cluster that takes over; RDS chooses where none is named.
    to: Option<String>,
}

/// `rds.failover`.
pub struct Failover {
    target: AwsTarget,
    subject: Subject,
    to: Option<String>,
}

impl Failover {
    /// From its parameters.
    pub fn new(request: &Request<'_>, target: AwsTarget) -> Result<Self, BuildError> {
        let with: Parameters = request.parameters()?;
        let subject = Subject::new(with.instance.as_deref(), with.cluster.as_deref())?;
        if with.to.is_some() && matches!(subject, Subject::Instance(_)) {
            let words = "to: names a member of a cluster; an instance has one standby";
            return Err(BuildError::Parameter(words.to_owned()));
        }
        Ok(Self {
            target,
            subject,
            to: with.to,
        })
    }

    /// Where the primary is: a zone, or a member.
    fn primary(&self, now: &Database) -> Option<String> {
        match self.subject {
            Subject::Instance(_) => now.zone.clone(),
            Subject::Cluster(_) => now.writer.clone(),
        }
    }

    /// Whether the primary left `before` for where it was meant to go.
    fn moved(&self, before: Option<&str>, now: &Database) -> bool {
        let primary = self.primary(now);
        match (&self.to, before) {
            (Some(to), _) => primary.as_ref() == Some(to),
            (None, Some(before)) => primary.is_some_and(|primary| primary != before),
            (None, None) => false,
        }
    }

    fn allowed(&self, now: &Database) -> Result<String, ActionError> {
        if now.status != "available" {
            let words = format!("{} is {}; it has to be available to fail over", now.name, now.status);
            return Err(permanent(words));
        }
        match self.subject {
            Subject::Instance(_) if now.settings.multi_az != Some(true) => {
                return Err(permanent(format!(
                    "{} is not Multi-AZ: there is no standby; use rds.modify first",
                    now.name
                )));
            }
            Subject::Cluster(_) if now.members < 2 => {
                return Err(permanent(format!(
                    "{} has one member only; add a reader first",
                    now.name
                )));
            }
            Subject::Instance(_) | Subject::Cluster(_) => {}
        }
        let Some(primary) = self.primary(now) else {
            return Err(permanent(format!(
                "{} does not say where its primary is; nobody could tell whether it moved",
                now.name
            )));
        };
        if self.to.as_ref() == Some(&primary) {
            return Err(permanent(format!(
                "{primary} is the writer already; name another member"
            )));
        }
        Ok(primary)
    }

    /// Of a way back: whether the member that it names is the writer, so that nothing is left to do.
    fn is_back(&self, now: &Database, cx: &Cx) -> bool {
        !cx.forward.is_null() && self.to.is_some() && self.to == self.primary(now) && now.status == "available"
    }

    async fn send(&self, rds: &Rds) -> Result<Option<String>, ActionError> {
        match &self.subject {
            Subject::Instance(name) => {
                let call = rds.writes.reboot_db_instance().db_instance_identifier(name);
                let answer = call.force_failover(true).send().await;
                let answer = answer.map_err(|error| classify(error, "rds:RebootDBInstance", Sent::Mutation))?;
                Ok(answer.request_id().map(str::to_owned))
            }
            Subject::Cluster(name) => {
                let call = rds.writes.failover_db_cluster().db_cluster_identifier(name);
                let answer = call.set_target_db_instance_identifier(self.to.clone()).send().await;
                let answer = answer.map_err(|error| classify(error, "rds:FailoverDBCluster", Sent::Mutation))?;
                Ok(answer.request_id().map(str::to_owned))
            }
        }
    }

    fn outcome(&self, before: Option<&str>, now: &Database, request_id: Option<String>, words: &str) -> Outcome {
        let primary = self.primary(now);
        let mut result = now.result();
        result.insert("before".to_owned(), json!(before));
        result.insert("primary".to_owned(), json!(primary));
        result.insert("request_id".to_owned(), json!(request_id));
        Outcome {
            summary: format!(
                "the primary of {} moved from {} to {}{words}",
                now.name,
                before.unwrap_or("elsewhere"),
                primary.unwrap_or_default()
            ),
            result,
            evidence: Vec::new(),
        }
    }
}

#[async_trait]
impl Action for Failover {
    fn preview(&self) -> Preview {
        let name = self.subject.name();
        let to = self.to.as_ref().map(|to| format!(" to {to}")).unwrap_or_default();
        let call = match self.subject {
            Subject::Instance(_) => format!("rds:RebootDBInstance {name}, force failover"),
            Subject::Cluster(_) => format!("rds:FailoverDBCluster {name}{to}"),
        };
        Preview {
            summary: format!("fails {} over{to}", self.subject.words()),
            commands: vec![call],
            notes: vec!["sessions are cut; failing back is a step of its own".to_owned()],
        }
    }

    async fn check(&self, cx: &Cx) -> Result<Ready, ActionError> {
        self.target.prove_account().await?;
        let now = Rds::open(&self.target).await.describe(&self.subject).await?;
        if self.is_back(&now, cx) {
            return Ok(Ready {
                identity: Value::Object(identity(&self.target, &self.subject, &now)),
                facts: vec!["it is the writer again already; nothing will be sent".to_owned()],
            });
        }
        let primary = self.allowed(&now)?;
        let standby = now.standby_zone.clone().or_else(|| self.to.clone());
        let mut facts = vec![format!("the primary is in {primary}")];
        if matches!(self.subject, Subject::Cluster(_)) {
            facts = vec![format!("{} members, {primary} takes writes", now.members)];
        }
        facts.extend(standby.map(|standby| format!("{standby} takes over")));
        facts.extend(restart_applies(&now.parameters_waiting));
        let mut identity = identity(&self.target, &self.subject, &now);
        // As the result names it, so that the way back is known from what was approved.
        identity.insert("before".to_owned(), json!(primary));
        Ok(Ready {
            identity: Value::Object(identity),
            facts,
        })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let rds = Rds::open(&self.target).await;
        let now = rds.describe(&self.subject).await?;
        if self.is_back(&now, cx) {
            return Ok(self.outcome(None, &now, None, " already; nothing was sent"));
        }
        let before = self.allowed(&now)?;
        if let Some(bound) = cx.identity.get("before").and_then(Value::as_str)
            && bound != before
        {
            let words = format!(
                "the primary of {} moved from {bound} to {before} meanwhile; nothing was sent",
                now.name
            );
            return Err(permanent(words));
        }
        let request_id = self.send(&rds).await?;
        note(cx, self.subject.name(), request_id.as_deref()).await?;
        let mut waited = Duration::ZERO;
        loop {
            if let Some(now) = rds.follow_standing(&self.subject, cx).await? {
                let available = now.status == "available";
                if available && self.moved(Some(&before), &now) {
                    return Ok(self.outcome(Some(&before), &now, request_id, ""));
                }
                if is_stuck(&now.status) || (available && waited >= SETTLE) {
                    let words = format!(
                        "the failover of {} was answered with success; its primary is {} and it is {}; look at its events",
                        now.name,
                        self.primary(&now).unwrap_or_default(),
                        now.status
                    );
                    return Err(ActionError {
                        request_id,
                        ..in_doubt(words)
                    });
                }
                cx.reporter.progress(Progress::State(now.status));
            }
            cx.pause(BEAT).await?;
            waited += BEAT;
        }
    }

    async fn observe(&self, cx: &Cx) -> Result<Observed, ActionError> {
        let now = Rds::open(&self.target).await.describe(&self.subject).await?;
        if self.is_back(&now, cx) {
            return Ok(Observed::Done(self.outcome(None, &now, None, " already")));
        }
        let before = cx.identity.get("before").and_then(Value::as_str);
        let primary = self.primary(&now).unwrap_or_default();
        let detail = format!("the primary of {} is {primary}, and it is {}", now.name, now.status);
        let moved = self.moved(before, &now);
        Ok(match now.status.as_str() {
            // A zone or a writer that fails moves the primary as well: only what was accepted is ours.
            "available" if moved && cx.acked.is_none() => Observed::Unknown {
                detail: format!(
                    "{detail}; nobody accepted this run's failover, so that something else may have moved it"
                ),
            },
            "available" if moved => Observed::Done(self.outcome(before, &now, None, " (found by reading)")),
            "rebooting" | "failing-over" => Observed::Running { detail },
            _ if moved && !is_stuck(&now.status) => Observed::Running { detail },
            // It may have been asked for: RDS shows the other zone some minutes later.
            "available" if before.is_some() => cx.nothing_shows(SHOWN_LATE, detail),
            _ => Observed::Unknown { detail },
        })
    }
}
