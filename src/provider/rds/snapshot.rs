//! `rds.snapshot` and `rds.describe` (RDS API 2014-10-31). A snapshot's identifier is the idempotency key; a snapshot
//! of that name is ours only if it bears our tag.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_rds::Client;
use aws_sdk_rds::types::{DbSnapshot, Tag};
use serde::Deserialize;
use serde_json::{Map, json};

use crate::provider::action::{Action, ActionError, ActionErrorKind, Cx, Observed, Outcome, Preview, Progress, Ready};
use crate::provider::aws::{AwsTarget, Sent, classify, classify::code};
use crate::provider::connection::BuildError;
use crate::provider::expectation::Expectation;
use crate::provider::registry::Request;

const TAG: &str = "pointsman-key";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    instance: String,
    expect: Option<Expectation>,
}

fn permanent(words: String) -> ActionError {
    ActionError::new(ActionErrorKind::Permanent, words)
}

async fn instance(client: &Client, name: &str) -> Result<Map<String, serde_json::Value>, ActionError> {
    let answer = client
        .describe_db_instances()
        .db_instance_identifier(name)
        .send()
        .await
        .map_err(|error| classify(error, "rds:DescribeDBInstances", Sent::Read))?;
    let found = answer
        .db_instances()
        .first()
        .ok_or_else(|| permanent(format!("there is no DB instance {name}; check the identifier")))?;
    let mut result = Map::new();
    result.insert("status".to_owned(), json!(found.db_instance_status()));
    result.insert("engine".to_owned(), json!(found.engine()));
    result.insert("class".to_owned(), json!(found.db_instance_class()));
    result.insert("multi_az".to_owned(), json!(found.multi_az()));
    result.insert("storage_gib".to_owned(), json!(found.allocated_storage()));
    Ok(result)
}

/// `rds.snapshot`.
pub struct Snapshot {
    target: AwsTarget,
    with: Parameters,
}

impl Snapshot {
    /// From its parameters.
    pub fn new(request: &Request<'_>, target: AwsTarget) -> Result<Self, BuildError> {
        Ok(Self {
            target,
            with: request.parameters()?,
        })
    }

    async fn client(&self) -> Client {
        Client::new(self.target.config().await)
    }

    async fn find(&self, client: &Client, cx: &Cx) -> Result<Option<DbSnapshot>, ActionError> {
        match client
            .describe_db_snapshots()
            .db_snapshot_identifier(&cx.key)
            .send()
            .await
        {
            Ok(answer) => Ok(answer.db_snapshots().first().cloned()),
            Err(error) if matches!(code(&error), Some("DBSnapshotNotFound" | "DBSnapshotNotFoundFault")) => Ok(None),
            Err(error) => Err(classify(error, "rds:DescribeDBSnapshots", Sent::Read)),
        }
    }

    fn is_ours(snapshot: &DbSnapshot, cx: &Cx) -> bool {
        snapshot
            .tag_list()
            .iter()
            .any(|tag| tag.key() == Some(TAG) && tag.value() == Some(&cx.key))
    }

    fn outcome(snapshot: &DbSnapshot) -> Outcome {
        let name = snapshot.db_snapshot_identifier().unwrap_or_default();
        let mut result = Map::new();
        result.insert("snapshot".to_owned(), json!(name));
        result.insert(
            "created".to_owned(),
            json!(snapshot.snapshot_create_time().map(ToString::to_string)),
        );
        Outcome {
            summary: format!("snapshot {name} is available"),
            result,
            evidence: Vec::new(),
        }
    }

    fn state(snapshot: &DbSnapshot) -> Result<(bool, f64), ActionError> {
        let percent = f64::from(snapshot.percent_progress().unwrap_or(0)) / 100.0;
        match snapshot.status() {
            Some("available") => Ok((true, 1.0)),
            Some("creating" | "pending") => Ok((false, percent)),
            other => Err(permanent(format!("the snapshot is {}", other.unwrap_or("in no state")))),
        }
    }
}

#[async_trait]
impl Action for Snapshot {
    fn preview(&self) -> Preview {
        let instance = &self.with.instance;
        Preview {
            summary: format!("takes a snapshot of {instance}"),
            commands: vec![format!(
                "rds:CreateDBSnapshot {instance}, name and tag {TAG} from the run's key"
            )],
            notes: vec!["it stays; nothing deletes it".to_owned()],
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        self.target.prove_account().await?;
        let about = instance(&self.client().await, &self.with.instance).await?;
        let status = about
            .get("status")
            .and_then(|status| status.as_str())
            .unwrap_or_default();
        if status != "available" {
            let words = format!("{} is {status}; a snapshot needs it available", self.with.instance);
            return Err(ActionError::new(ActionErrorKind::Permanent, words));
        }
        let mut identity = self.target.identity_json();
        if let Some(fields) = identity.as_object_mut() {
            fields.insert("instance".to_owned(), json!(self.with.instance));
        }
        Ok(Ready {
            identity,
            facts: vec![format!("{} is {status}", self.with.instance)],
        })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let client = self.client().await;
        let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
        let sent = client
            .create_db_snapshot()
            .db_instance_identifier(&self.with.instance)
            .db_snapshot_identifier(&cx.key)
            .tags(tag(TAG, &cx.key))
            .tags(tag("pointsman-run", &cx.run))
            .tags(tag("pointsman-step", &cx.step))
            .send()
            .await;
        match sent {
            Ok(_) => {}
            Err(error)
                if matches!(
                    code(&error),
                    Some("DBSnapshotAlreadyExists" | "DBSnapshotAlreadyExistsFault")
                ) =>
            {
                let ours = self
                    .find(&client, cx)
                    .await?
                    .is_some_and(|snapshot| Self::is_ours(&snapshot, cx));
                if !ours {
                    return Err(permanent(format!("a snapshot {} exists that is not ours", cx.key)));
                }
            }
            Err(error) => return Err(classify(error, "rds:CreateDBSnapshot", Sent::Mutation)),
        }
        cx.reporter.ack(&cx.key).await?;
        loop {
            match self.find(&client, cx).await {
                Ok(Some(snapshot)) => {
                    let (available, share) = Self::state(&snapshot)?;
                    if available {
                        return Ok(Self::outcome(&snapshot));
                    }
                    let text = format!("creating, {:.0} %", share * 100.0);
                    cx.reporter.progress(Progress::Share { done: share, text });
                }
                Ok(None) => {
                    let words = format!("the snapshot {} was accepted and is not there", cx.key);
                    return Err(ActionError::new(ActionErrorKind::InDoubt, words));
                }
                Err(error) if error.kind == ActionErrorKind::Transient => {
                    cx.reporter.progress(Progress::State(error.message));
                }
                Err(error) => return Err(error),
            }
            cx.pause(Duration::from_secs(2)).await?;
        }
    }

    async fn observe(&self, cx: &Cx) -> Result<Observed, ActionError> {
        let client = self.client().await;
        let Some(snapshot) = self.find(&client, cx).await? else {
            return Ok(Observed::NotStarted {
                detail: format!("there is no snapshot {}", cx.key),
            });
        };
        if !Self::is_ours(&snapshot, cx) {
            return Ok(Observed::Unknown {
                detail: format!("a snapshot {} exists without our tag", cx.key),
            });
        }
        let (available, share) = Self::state(&snapshot)?;
        if available {
            return Ok(Observed::Done(Self::outcome(&snapshot)));
        }
        Ok(Observed::Running {
            detail: format!("creating, {:.0} %", share * 100.0),
        })
    }
}

/// `rds.describe`.
pub struct Describe {
    target: AwsTarget,
    with: Parameters,
}

impl Describe {
    /// From its parameters.
    pub fn new(request: &Request<'_>, target: AwsTarget) -> Result<Self, BuildError> {
        Ok(Self {
            target,
            with: request.parameters()?,
        })
    }
}

#[async_trait]
impl Action for Describe {
    fn preview(&self) -> Preview {
        Preview {
            summary: format!("reads the DB instance {}", self.with.instance),
            commands: vec![format!("rds:DescribeDBInstances {}", self.with.instance)],
            notes: self
                .with
                .expect
                .iter()
                .map(|expect| format!("expects {}", expect.text()))
                .collect(),
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        self.target.prove_account().await?;
        Ok(Ready {
            identity: self.target.identity_json(),
            facts: Vec::new(),
        })
    }

    async fn execute(&self, _cx: &Cx) -> Result<Outcome, ActionError> {
        let client = Client::new(self.target.config().await);
        let result = instance(&client, &self.with.instance).await?;
        let status = result.get("status").cloned().unwrap_or_default();
        let summary = format!("{} is {status}", self.with.instance);
        if let Some(expect) = &self.with.expect
            && !expect.holds(&result)?
        {
            return Err(permanent(format!("{summary}; {} does not hold", expect.text())));
        }
        Ok(Outcome {
            summary,
            result,
            evidence: Vec::new(),
        })
    }

    async fn observe(&self, _cx: &Cx) -> Result<Observed, ActionError> {
        Ok(Observed::NotStarted {
            detail: "a read leaves nothing behind".to_owned(),
        })
    }
}
