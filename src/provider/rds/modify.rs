//! `rds.modify`: class, Multi-AZ and backup retention, applied at once. Convergent: what was meant is compared with what
//! is. Storage and engine are not in here: what grows or is upgraded cannot be put back.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_rds::operation::RequestId;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::provider::action::{Action, ActionError, Cx, Observed, Outcome, Preview, Progress, Ready};
use crate::provider::aws::accept::note;
use crate::provider::aws::lag::SHOWN;
use crate::provider::aws::{AwsTarget, Sent, classify};
use crate::provider::connection::BuildError;
use crate::provider::registry::Request;

use super::database::{BEAT, Database, Rds, Settings, Subject, identity, in_doubt, permanent};
use super::health::{restart_applies, retention};
use super::promote::SETTLE;
use super::way::{Way, way};

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
    /// It takes an earlier modification back.
    back: bool,
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
        let (wanted, back) = match (named.is_empty(), with.to) {
            (false, None) => (named, false),
            // Nothing was changed: nothing is taken back.
            (true, Some(prior)) => (prior, true),
            (true, None) | (false, Some(_)) => {
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
            back,
        })
    }

    fn bound(of: &Value, name: &str) -> Option<Settings> {
        serde_json::from_value(of.get(name)?.clone()).ok()
    }

    /// What the settings were before, of those that this changes: as the approval bound them, or, of a way back, as the
    /// way left them.
    fn prior_of(&self, cx: &Cx) -> Option<Settings> {
        let left = || Self::bound(&cx.forward, "set").map(|set| set.within(&self.wanted));
        Self::bound(&cx.identity, "prior")
            .or_else(left)
            .map(|prior| prior.unlike(&self.wanted))
    }

    /// A way back meets the world as the way left it, or as it was before, and nothing else: what somebody set since
    /// then is theirs.
    fn as_left(&self, now: &Database, cx: &Cx) -> Result<(), ActionError> {
        if cx.forward.is_null() {
            return Ok(());
        }
        let text = |name: &str| cx.forward.get(name).and_then(Value::as_str);
        let ours = text(self.subject.kind()) == Some(self.subject.name());
        let (prior, set) = (Self::bound(&cx.forward, "prior"), Self::bound(&cx.forward, "set"));
        let refused = |words: String| Err(permanent(format!("{words}; nothing was sent, look who changed it")));
        if !ours || set.is_none() {
            return match self.back {
                true => refused(format!("nobody knows what this step set of {}", now.name)),
                false => Ok(()),
            };
        }
        if let (Some(then), Some(is)) = (text("resource"), now.resource.as_deref())
            && then != is
        {
            return refused(format!(
                "{} is another database ({is}) than the one that was changed ({then})",
                now.name
            ));
        }
        let known: Vec<_> = [Some(&self.wanted), prior.as_ref(), set.as_ref()]
            .into_iter()
            .flatten()
            .flat_map(Settings::each)
            .collect();
        let current = now.settings.within(&self.wanted).each();
        match current.iter().find(|setting| !known.contains(setting)) {
            Some((name, value)) => refused(format!(
                "{name} of {} is {value}, neither as before nor as this step set it",
                now.name
            )),
            None => Ok(()),
        }
    }

    /// Nothing is to be done: what should be taken back never changed anything.
    fn idle(&self, now: &Database) -> Outcome {
        let words = format!("{} keeps what it has: nothing was changed, nothing was sent", now.name);
        Outcome {
            summary: words,
            ..self.outcome(&Settings::default(), now, None, "")
        }
    }

    fn outcome(&self, prior: &Settings, now: &Database, sent: Option<Option<String>>, words: &str) -> Outcome {
        let mut result = now.result();
        result.insert("prior".to_owned(), json!(prior));
        result.insert("request_id".to_owned(), json!(sent.flatten()));
        let before = match prior.is_empty() {
            true => String::new(),
            false => format!(" (before: {})", prior.words()),
        };
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
        if self.wanted.is_empty() {
            return Preview {
                summary: format!("leaves {} as it is: nothing was changed", self.subject.words()),
                ..Preview::default()
            };
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

    async fn check(&self, cx: &Cx) -> Result<Ready, ActionError> {
        self.target.prove_account().await?;
        let now = Rds::open(&self.target).await.describe(&self.subject).await?;
        let mut identity = identity(&self.target, &self.subject, &now);
        if self.wanted.is_empty() {
            let facts = vec!["nothing was changed; nothing will be sent".to_owned()];
            let identity = Value::Object(identity);
            return Ok(Ready { identity, facts });
        }
        self.as_left(&now, cx)?;
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
        facts.extend(retention(prior.backup_retention, self.wanted.backup_retention));
        let restarts = self.wanted.class.is_some() && self.wanted.class != prior.class;
        let waiting = restart_applies(&now.parameters_waiting);
        facts.extend(waiting.map(|words| match restarts {
            true => format!("{words}; another class restarts it"),
            false => format!("{words}; this change does not"),
        }));
        // Only what is changed is taken back.
        identity.insert("prior".to_owned(), json!(prior.unlike(&self.wanted)));
        identity.insert("set".to_owned(), json!(self.wanted.unlike(&prior)));
        Ok(Ready {
            identity: Value::Object(identity),
            facts,
        })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let rds = Rds::open(&self.target).await;
        let now = rds.describe(&self.subject).await?;
        if self.wanted.is_empty() {
            return Ok(self.idle(&now));
        }
        self.as_left(&now, cx)?;
        let prior = self
            .prior_of(cx)
            .unwrap_or_else(|| now.settings.within(&self.wanted).unlike(&self.wanted));
        match way(&self.wanted, &now, Some(&prior)) {
            // Whoever changed it: we did not, and take nothing back.
            Way::There => return Ok(self.outcome(&Settings::default(), &now, None, "; nothing was sent")),
            Way::Foreign(words) => {
                let words = format!("{words}; nothing was sent, look who changed it");
                return Err(permanent(words));
            }
            Way::Going | Way::Partly | Way::Before | Way::Busy => self.allowed(&now)?,
        }
        let request_id = self.send(&rds).await?;
        note(cx, self.subject.name(), request_id.as_deref()).await?;
        let mut idle = Duration::ZERO;
        loop {
            if let Some(now) = rds.follow_standing(&self.subject, cx).await? {
                match way(&self.wanted, &now, Some(&prior)) {
                    Way::There => return Ok(self.outcome(&prior, &now, Some(request_id), "")),
                    Way::Foreign(words) => {
                        let words = format!("it was accepted, and then {words}; look who changed it");
                        return Err(ActionError {
                            request_id,
                            ..in_doubt(words)
                        });
                    }
                    way @ (Way::Before | Way::Partly) if idle >= SETTLE => {
                        let shows = if way == Way::Before { "nothing" } else { "only a part" };
                        let words = format!(
                            "the modification of {} was answered with success and {shows} of it shows; look at its events",
                            now.name
                        );
                        return Err(ActionError {
                            request_id,
                            ..in_doubt(words)
                        });
                    }
                    way @ (Way::Going | Way::Partly | Way::Before | Way::Busy) => {
                        idle = if matches!(way, Way::Before | Way::Partly) {
                            idle + BEAT
                        } else {
                            Duration::ZERO
                        };
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
        if self.wanted.is_empty() {
            return Ok(Observed::Done(self.idle(&now)));
        }
        if let Err(changed) = self.as_left(&now, cx) {
            return Ok(Observed::Unknown {
                detail: changed.message,
            });
        }
        let prior = self.prior_of(cx);
        Ok(match way(&self.wanted, &now, prior.as_ref()) {
            Way::There => {
                let prior = prior.unwrap_or_default();
                Observed::Done(self.outcome(&prior, &now, None, " (found by reading)"))
            }
            Way::Busy => Observed::Unknown {
                detail: format!("{} is {}, and nothing of it shows", now.name, now.status),
            },
            Way::Going => Observed::Running {
                detail: format!("{} is {}; pending: {}", now.name, now.status, now.pending.words()),
            },
            Way::Partly => {
                let has = now.settings.within(&self.wanted).words();
                let detail = format!("{} has {has}: a part of it, and nothing is pending", now.name);
                match cx.nothing_shows(SHOWN, detail) {
                    // Some of it happened, whoever did it.
                    Observed::NotStarted { detail } => Observed::Unknown { detail },
                    seen @ (Observed::NotVisible { .. }
                    | Observed::Done(_)
                    | Observed::Running { .. }
                    | Observed::Unknown { .. }) => seen,
                }
            }
            Way::Before => {
                let has = now.settings.within(&self.wanted).words();
                cx.nothing_shows(SHOWN, format!("{} has {has} and nothing is pending", now.name))
            }
            Way::Foreign(detail) => Observed::Unknown { detail },
        })
    }
}
