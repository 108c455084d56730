//! `rds.snapshot`: of an instance or a cluster (RDS API 2014-10-31). A snapshot's identifier is the idempotency key; a
//! snapshot of that name is ours only if it bears our tag and is of what we meant. Never deletes one.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_rds::operation::RequestId;
use aws_sdk_rds::types::{DbClusterSnapshot, DbSnapshot, Tag};
use serde::Deserialize;
use serde_json::{Map, json};

use crate::provider::action::{Action, ActionError, ActionErrorKind, Cx, Observed, Outcome, Preview, Progress, Ready};
use crate::provider::aws::accept::note;
use crate::provider::aws::classify::says;
use crate::provider::aws::lag::SHOWN;
use crate::provider::aws::{AwsTarget, Sent, accepted, classify};
use crate::provider::connection::BuildError;
use crate::provider::registry::Request;

use super::database::{BEAT, Rds, Subject, TAG, identity, in_doubt, permanent, tags};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    instance: Option<String>,
    cluster: Option<String>,
}

/// A snapshot as it is described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub name: String,
    /// The instance or cluster that it is of.
    pub of: String,
    pub status: String,
    pub percent: i32,
    pub created: Option<String>,
    pub engine: String,
    pub storage_gib: Option<i32>,
    key: Option<String>,
}

fn key(tags: &[Tag]) -> Option<String> {
    let tag = tags.iter().find(|tag| tag.key() == Some(TAG))?;
    tag.value().map(str::to_owned)
}

impl From<&DbSnapshot> for Taken {
    fn from(found: &DbSnapshot) -> Self {
        Self {
            name: found.db_snapshot_identifier().unwrap_or_default().to_owned(),
            of: found.db_instance_identifier().unwrap_or_default().to_owned(),
            status: found.status().unwrap_or_default().to_owned(),
            percent: found.percent_progress().unwrap_or(0),
            created: found.snapshot_create_time().map(ToString::to_string),
            engine: found.engine().unwrap_or_default().to_owned(),
            storage_gib: found.allocated_storage(),
            key: key(found.tag_list()),
        }
    }
}

impl From<&DbClusterSnapshot> for Taken {
    fn from(found: &DbClusterSnapshot) -> Self {
        Self {
            name: found.db_cluster_snapshot_identifier().unwrap_or_default().to_owned(),
            of: found.db_cluster_identifier().unwrap_or_default().to_owned(),
            status: found.status().unwrap_or_default().to_owned(),
            percent: found.percent_progress().unwrap_or(0),
            created: found.snapshot_create_time().map(ToString::to_string),
            engine: found.engine().unwrap_or_default().to_owned(),
            storage_gib: found.allocated_storage(),
            key: key(found.tag_list()),
        }
    }
}

impl Rds {
    /// The snapshot of an instance with this name.
    pub async fn snapshot(&self, name: &str) -> Result<Option<Taken>, ActionError> {
        let call = self.reads.describe_db_snapshots().db_snapshot_identifier(name);
        match call.send().await {
            Ok(answer) => Ok(answer.db_snapshots().first().map(Taken::from)),
            Err(error) if says(&error, "DBSnapshotNotFound") => Ok(None),
            Err(error) => Err(classify(error, "rds:DescribeDBSnapshots", Sent::Read)),
        }
    }

    async fn cluster_snapshot(&self, name: &str) -> Result<Option<Taken>, ActionError> {
        let call = self
            .reads
            .describe_db_cluster_snapshots()
            .db_cluster_snapshot_identifier(name);
        match call.send().await {
            Ok(answer) => Ok(answer.db_cluster_snapshots().first().map(Taken::from)),
            Err(error) if says(&error, "DBClusterSnapshotNotFound") => Ok(None),
            Err(error) => Err(classify(error, "rds:DescribeDBClusterSnapshots", Sent::Read)),
        }
    }
}

/// `rds.snapshot`.
pub struct Snapshot {
    target: AwsTarget,
    subject: Subject,
}

impl Snapshot {
    /// From its parameters.
    pub fn new(request: &Request<'_>, target: AwsTarget) -> Result<Self, BuildError> {
        let with: Parameters = request.parameters()?;
        let subject = Subject::new(with.instance.as_deref(), with.cluster.as_deref())?;
        Ok(Self { target, subject })
    }

    async fn find(&self, rds: &Rds, cx: &Cx) -> Result<Option<Taken>, ActionError> {
        match self.subject {
            Subject::Instance(_) => rds.snapshot(&cx.key).await,
            Subject::Cluster(_) => rds.cluster_snapshot(&cx.key).await,
        }
    }

    fn is_ours(&self, snapshot: &Taken, cx: &Cx) -> bool {
        snapshot.key.as_ref() == Some(&cx.key) && snapshot.of == self.subject.name()
    }

    /// Asks for it; gives the request's id. A name that is taken is not a failure: whose it is decides.
    async fn send(&self, rds: &Rds, cx: &Cx) -> Result<Option<String>, ActionError> {
        let tags = Some(tags(cx));
        let taken = match &self.subject {
            Subject::Instance(name) => {
                let call = rds.writes.create_db_snapshot().db_instance_identifier(name);
                match call.db_snapshot_identifier(&cx.key).set_tags(tags).send().await {
                    Ok(answer) => return Ok(answer.request_id().map(str::to_owned)),
                    Err(error) if says(&error, "DBSnapshotAlreadyExists") => error.request_id().map(str::to_owned),
                    Err(error) => return Err(classify(error, "rds:CreateDBSnapshot", Sent::Mutation)),
                }
            }
            Subject::Cluster(name) => {
                let call = rds.writes.create_db_cluster_snapshot().db_cluster_identifier(name);
                match call.db_cluster_snapshot_identifier(&cx.key).set_tags(tags).send().await {
                    Ok(answer) => return Ok(answer.request_id().map(str::to_owned)),
                    Err(error) if says(&error, "DBClusterSnapshotAlreadyExists") => {
                        error.request_id().map(str::to_owned)
                    }
                    Err(error) => return Err(classify(error, "rds:CreateDBClusterSnapshot", Sent::Mutation)),
                }
            }
        };
        let found = self.find(rds, cx).await?;
        if found.is_some_and(|snapshot| self.is_ours(&snapshot, cx)) {
            return Ok(taken);
        }
        Err(ActionError {
            request_id: taken,
            ..permanent(format!(
                "a snapshot {} exists that is not ours; look whose it is",
                cx.key
            ))
        })
    }

    fn outcome(snapshot: &Taken, request_id: Option<String>) -> Outcome {
        let mut result = Map::new();
        result.insert("snapshot".to_owned(), json!(snapshot.name));
        result.insert("created".to_owned(), json!(snapshot.created));
        result.insert("request_id".to_owned(), json!(request_id));
        Outcome {
            summary: format!("snapshot {} is available", snapshot.name),
            result,
            evidence: Vec::new(),
        }
    }

    /// Whether it is available, and its progress in words.
    fn state(snapshot: &Taken) -> Result<(bool, String), ActionError> {
        match snapshot.status.as_str() {
            "available" => Ok((true, "available".to_owned())),
            "creating" | "pending" => Ok((false, format!("creating, {} %", snapshot.percent))),
            other => Err(permanent(format!(
                "the snapshot {} is {other}; look at the instance's events",
                snapshot.name
            ))),
        }
    }
}

#[async_trait]
impl Action for Snapshot {
    fn preview(&self) -> Preview {
        let call = match self.subject {
            Subject::Instance(_) => "rds:CreateDBSnapshot",
            Subject::Cluster(_) => "rds:CreateDBClusterSnapshot",
        };
        Preview {
            summary: format!("takes a snapshot of {}", self.subject.words()),
            commands: vec![format!(
                "{call} {}, name and tag {TAG} from the run's key",
                self.subject.name()
            )],
            notes: vec!["it stays; nothing deletes it".to_owned()],
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        self.target.prove_account().await?;
        let about = Rds::open(&self.target).await.describe(&self.subject).await?;
        if about.status != "available" {
            let words = format!("{} is {}; a snapshot needs it available", about.name, about.status);
            return Err(permanent(words));
        }
        Ok(Ready {
            identity: identity(&self.target, &self.subject, &about).into(),
            facts: vec![format!("{} is {}", about.name, about.status)],
        })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let rds = Rds::open(&self.target).await;
        let request_id = self.send(&rds, cx).await?;
        note(cx, &cx.key, request_id.as_deref()).await?;
        let mut unseen = Duration::ZERO;
        loop {
            match self.find(&rds, cx).await {
                Ok(Some(snapshot)) => {
                    let (available, text) = Self::state(&snapshot)?;
                    if available {
                        return Ok(Self::outcome(&snapshot, request_id));
                    }
                    let done = f64::from(snapshot.percent) / 100.0;
                    cx.reporter.progress(Progress::Share { done, text });
                }
                // RDS may take a moment to list what it accepted.
                Ok(None) if unseen < SHOWN => unseen += BEAT,
                Ok(None) => {
                    let words = format!("the snapshot {} was accepted and is not there; look again", cx.key);
                    return Err(in_doubt(words));
                }
                Err(error) if error.kind == ActionErrorKind::Transient => {
                    cx.reporter.progress(Progress::State(error.message));
                }
                Err(error) => return Err(accepted(error)),
            }
            cx.pause(BEAT).await?;
        }
    }

    async fn observe(&self, cx: &Cx) -> Result<Observed, ActionError> {
        let rds = Rds::open(&self.target).await;
        let Some(snapshot) = self.find(&rds, cx).await? else {
            return Ok(cx.nothing_shows(SHOWN, format!("there is no snapshot {}", cx.key)));
        };
        if !self.is_ours(&snapshot, cx) {
            return Ok(Observed::Unknown {
                detail: format!("a snapshot {} exists without our tag", cx.key),
            });
        }
        let (available, detail) = match Self::state(&snapshot) {
            Ok(state) => state,
            Err(failed) => return Ok(Observed::Unknown { detail: failed.message }),
        };
        Ok(if available {
            Observed::Done(Self::outcome(&snapshot, None))
        } else {
            Observed::Running { detail }
        })
    }
}
