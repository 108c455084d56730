//! `rds.modify`: class, Multi-AZ and backup retention, applied at once. Convergent: what was meant is compared with what
//! is. Storage and engine are not in here: what grows or is upgraded cannot be put back.

use async_trait::async_trait;
use aws_sdk_rds::operation::RequestId;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::provider::action::{Action, ActionError, Cx, Observed, Outcome, Preview, Progress, Ready};
use crate::provider::aws::{AwsTarget, Sent, classify};
use crate::provider::connection::BuildError;
use crate::provider::registry::Request;

use super::database::{BEAT, Database, Rds, Settings, Subject, identity, in_doubt, permanent};

/// States that do not become `available` by themselves.
const STUCK: &[&str] = &[
    "failed",
    "storage-full",
    "stopped",
    "deleting",
    "incompatible-network",
    "incompatible-option-group",
    "incompatible-parameters",
    "incompatible-restore",
    "incompatible-create",
    "inaccessible-encryption-credentials",
    "inaccessible-encryption-credentials-recoverable",
    "insufficient-capacity",
    "restore-error",
];

/// Whether a state needs hands.
pub fn is_stuck(status: &str) -> bool {
    STUCK.contains(&status)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    instance: Option<String>,
    cluster: Option<String>,
    class: Option<String>,
    multi_az: Option<bool>,
    backup_retention: Option<i32>,
    /// The output `prior` of the modification that is taken back.
    to: Option<Settings>,
}

/// `rds.modify`.
pub struct Modify {
    target: AwsTarget,
    subject: Subject,
    wanted: Settings,
}

/// How far a database is on its way.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    There,
    /// Ours, and not there yet.
    Going,
    /// As it was before.
    Before,
    /// Somebody else's, or in a state that needs hands.
    Foreign(String),
}

impl Modify {
    /// From its parameters.
    pub fn new(request: &Request<'_>, target: AwsTarget) -> Result<Self, BuildError> {
        let with: Parameters = request.parameters()?;
        let subject = Subject::new(with.instance.as_deref(), with.cluster.as_deref())?;
        let named = Settings {
            class: with.class,
            multi_az: with.multi_az,
            backup_retention: with.backup_retention,
        };
        let wanted = match (named.is_empty(), with.to) {
            (false, None) => named,
            (true, Some(prior)) if !prior.is_empty() => prior,
            (true | false, _) => {
                let words = "needs class, multi_az or backup_retention, or to: with an earlier prior";
                return Err(BuildError::Parameter(words.to_owned()));
            }
        };
        if matches!(subject, Subject::Cluster(_)) && wanted.multi_az.is_some() {
            let words = "multi_az is no setting of a cluster: its members are what it has";
            return Err(BuildError::Parameter(words.to_owned()));
        }
        Ok(Self {
            target,
            subject,
            wanted,
        })
    }

    fn prior_of(cx: &Cx) -> Option<Settings> {
        let prior = cx.identity.get("prior")?;
        serde_json::from_value(prior.clone()).ok()
    }

    fn way(&self, now: &Database, prior: Option<&Settings>) -> Way {
        let current = now.settings.within(&self.wanted);
        let wanted = self.wanted.each();
        let foreign = |words: String| Way::Foreign(format!("{}: {words}", now.name));
        let pending = now.pending.each();
        if pending.iter().any(|change| !wanted.contains(change)) || now.pending_others {
            return foreign("changes are pending that nobody here asked for".to_owned());
        }
        let before = prior.map(Settings::each).unwrap_or_default();
        if prior.is_some()
            && let Some((name, value)) = current
                .each()
                .iter()
                .find(|setting| !wanted.contains(setting) && !before.contains(setting))
        {
            return foreign(format!("{name} is {value}, neither as before nor as meant"));
        }
        if is_stuck(&now.status) {
            return foreign(format!("it is {}", now.status));
        }
        if current == self.wanted && now.is_settled() {
            return Way::There;
        }
        // A change that is asked for shows as pending at once; what is partly ours is ours.
        let begun = !pending.is_empty() || prior.is_some_and(|prior| current != *prior);
        if begun || now.status != "available" {
            return Way::Going;
        }
        Way::Before
    }

    fn outcome(&self, prior: Option<&Settings>, now: &Database, sent: Option<Option<String>>, words: &str) -> Outcome {
        let mut result = now.result();
        result.insert("prior".to_owned(), json!(prior));
        result.insert("request_id".to_owned(), json!(sent.flatten()));
        let before = prior
            .map(|prior| format!(" (before: {})", prior.words()))
            .unwrap_or_default();
        Outcome {
            summary: format!("{} has {}{before}{words}", now.name, self.wanted.words()),
            result,
            evidence: Vec::new(),
        }
    }

    async fn send(&self, rds: &Rds) -> Result<Option<String>, ActionError> {
        let wanted = self.wanted.clone();
        match &self.subject {
            Subject::Instance(name) => {
                let call = rds.writes.modify_db_instance().db_instance_identifier(name);
                let call = call
                    .set_db_instance_class(wanted.class)
                    .set_multi_az(wanted.multi_az)
                    .set_backup_retention_period(wanted.backup_retention)
                    .apply_immediately(true);
                let answer = call.send().await;
                let answer = answer.map_err(|error| classify(error, "rds:ModifyDBInstance", Sent::Mutation))?;
                Ok(answer.request_id().map(str::to_owned))
            }
            Subject::Cluster(name) => {
                let call = rds.writes.modify_db_cluster().db_cluster_identifier(name);
                let call = call
                    .set_db_cluster_instance_class(wanted.class)
                    .set_backup_retention_period(wanted.backup_retention)
                    .apply_immediately(true);
                let answer = call.send().await;
                let answer = answer.map_err(|error| classify(error, "rds:ModifyDBCluster", Sent::Mutation))?;
                Ok(answer.request_id().map(str::to_owned))
            }
        }
    }

    /// What stands against sending it now.
    fn allowed(&self, now: &Database) -> Result<(), ActionError> {
        if now.status != "available" {
            let words = format!("{} is {}; it has to be available to be modified", now.name, now.status);
            return Err(permanent(words));
        }
        if !now.pending.is_empty() || now.pending_others {
            // Applying at once applies everything that waits, whoever asked for it.
            let words = format!(
                "{} has changes that wait for its maintenance window; applying at once would apply them too, see to them first",
                now.name
            );
            return Err(permanent(words));
        }
        if matches!(self.subject, Subject::Cluster(_)) && self.wanted.class.is_some() && now.settings.class.is_none() {
            let words = format!("{} has no class of its own; modify its instances", now.name);
            return Err(permanent(words));
        }
        Ok(())
    }
}

#[async_trait]
impl Action for Modify {
    fn preview(&self) -> Preview {
        let call = match self.subject {
            Subject::Instance(_) => "rds:ModifyDBInstance",
            Subject::Cluster(_) => "rds:ModifyDBCluster",
        };
        let mut notes = vec!["applied at once; waits until nothing is pending".to_owned()];
        if self.wanted.class.is_some() {
            notes.push("another class restarts it: sessions are cut, also on the way back".to_owned());
        }
        if self.wanted.backup_retention == Some(0) {
            notes.push("retention 0 deletes its automated backups; they do not come back".to_owned());
        }
        Preview {
            summary: format!("sets {} of {}", self.wanted.words(), self.subject.words()),
            commands: vec![format!(
                "{call} {} {}, apply immediately",
                self.subject.name(),
                self.wanted.words()
            )],
            notes,
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        self.target.prove_account().await?;
        let now = Rds::open(&self.target).await.describe(&self.subject).await?;
        self.allowed(&now)?;
        let prior = now.settings.within(&self.wanted);
        let mut facts: Vec<String> = self
            .wanted
            .each()
            .into_iter()
            .map(|(name, value)| {
                let before = prior.each().into_iter().find(|(known, _)| *known == name);
                let before = before.map_or_else(|| "nothing".to_owned(), |(_, before)| before);
                format!("{name}: now {before}, then {value}")
            })
            .collect();
        if prior == self.wanted {
            facts.push("it is so already; nothing will be sent".to_owned());
        }
        let mut identity = identity(&self.target, &self.subject, &now);
        identity.insert("prior".to_owned(), json!(prior));
        Ok(Ready {
            identity: Value::Object(identity),
            facts,
        })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let rds = Rds::open(&self.target).await;
        let now = rds.describe(&self.subject).await?;
        let prior = Self::prior_of(cx).unwrap_or_else(|| now.settings.within(&self.wanted));
        match self.way(&now, Some(&prior)) {
            Way::There => return Ok(self.outcome(Some(&prior), &now, None, "; nothing was sent")),
            Way::Foreign(words) => {
                let words = format!("{words}; nothing was sent, look who changed it");
                return Err(permanent(words));
            }
            Way::Going | Way::Before => self.allowed(&now)?,
        }
        let request_id = self.send(&rds).await?;
        cx.reporter.ack(self.subject.name()).await?;
        loop {
            if let Some(now) = rds.follow_standing(&self.subject, cx).await? {
                match self.way(&now, Some(&prior)) {
                    Way::There => return Ok(self.outcome(Some(&prior), &now, Some(request_id), "")),
                    Way::Foreign(words) => {
                        let words = format!("it was accepted, and then {words}; look who changed it");
                        return Err(ActionError {
                            request_id,
                            ..in_doubt(words)
                        });
                    }
                    Way::Going | Way::Before => {
                        let pending = match now.pending.is_empty() {
                            true => String::new(),
                            false => format!(", pending: {}", now.pending.words()),
                        };
                        cx.reporter
                            .progress(Progress::State(format!("{}{pending}", now.status)));
                    }
                }
            }
            cx.pause(BEAT).await?;
        }
    }

    async fn observe(&self, cx: &Cx) -> Result<Observed, ActionError> {
        let now = Rds::open(&self.target).await.describe(&self.subject).await?;
        let prior = Self::prior_of(cx);
        Ok(match self.way(&now, prior.as_ref()) {
            Way::There => Observed::Done(self.outcome(prior.as_ref(), &now, None, " (found by reading)")),
            Way::Going => Observed::Running {
                detail: format!("{} is {}; pending: {}", now.name, now.status, now.pending.words()),
            },
            Way::Before => Observed::NotStarted {
                detail: format!(
                    "{} has {} and nothing is pending",
                    now.name,
                    now.settings.within(&self.wanted).words()
                ),
            },
            Way::Foreign(detail) => Observed::Unknown { detail },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::aws::Identity;

    fn modify() -> Modify {
        Modify {
            target: AwsTarget::new("us-east-1", "000000000000", None, Identity::Fake),
            subject: Subject::Instance("db".to_owned()),
            wanted: settings(Some("big"), Some(7)),
        }
    }

    fn settings(class: Option<&str>, days: Option<i32>) -> Settings {
        Settings {
            class: class.map(str::to_owned),
            multi_az: None,
            backup_retention: days,
        }
    }

    fn now(settings: Settings, pending: Settings, status: &str) -> Database {
        Database {
            status: status.to_owned(),
            settings,
            pending,
            ..Database::default()
        }
    }

    #[test]
    fn a_database_is_there_only_with_every_value_and_nothing_pending() {
        let prior = settings(Some("small"), Some(1));
        let (big, none) = (settings(Some("big"), Some(7)), Settings::default);
        let cases = [
            (now(big.clone(), none(), "available"), Way::There),
            (now(big.clone(), none(), "modifying"), Way::Going),
            (now(big.clone(), settings(Some("big"), None), "available"), Way::Going),
            (now(prior.clone(), none(), "available"), Way::Before),
            (now(prior.clone(), settings(Some("big"), None), "available"), Way::Going),
            (now(settings(Some("small"), Some(7)), none(), "available"), Way::Going),
        ];
        for (database, way) in cases {
            assert_eq!(modify().way(&database, Some(&prior)), way, "{database:?}");
        }
    }

    #[test]
    fn what_somebody_else_did_is_foreign() {
        let prior = settings(Some("small"), Some(1));
        let mut other = now(settings(Some("big"), Some(7)), Settings::default(), "available");
        other.pending_others = true;
        let cases = [
            now(settings(Some("huge"), Some(1)), Settings::default(), "available"),
            now(prior.clone(), settings(Some("huge"), None), "available"),
            now(prior.clone(), Settings::default(), "incompatible-parameters"),
            other,
        ];
        for database in cases {
            assert!(
                matches!(modify().way(&database, Some(&prior)), Way::Foreign(_)),
                "{database:?}"
            );
        }
    }
}
