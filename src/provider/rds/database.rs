//! An instance or a cluster as RDS describes it (API 2014-10-31), and the two clients: one that reads and tries again,
//! one that changes and never does.

use std::time::Duration;

use aws_sdk_rds::Client;
use aws_sdk_rds::types::{ClusterPendingModifiedValues, DbCluster, DbInstance, PendingModifiedValues, Tag};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::provider::action::{ActionError, ActionErrorKind, Cx, Progress};
use crate::provider::aws::classify::says;
use crate::provider::aws::{AwsTarget, Sent, accepted, classify};
use crate::provider::connection::BuildError;

use super::health::{Replication, waiting_of_cluster, waiting_of_instance};

/// The tag that says whose something is; its value is the idempotency key.
pub const TAG: &str = "pointsman-key";
/// The run that made something.
pub const TAG_RUN: &str = "pointsman-run";
/// The step that made something.
pub const TAG_STEP: &str = "pointsman-step";
/// How often a database is looked at, nominally.
pub const BEAT: Duration = Duration::from_secs(2);

/// A refusal.
pub fn permanent(words: impl Into<String>) -> ActionError {
    ActionError::new(ActionErrorKind::Permanent, words)
}

/// What nobody knows.
pub fn in_doubt(words: impl Into<String>) -> ActionError {
    ActionError::new(ActionErrorKind::InDoubt, words)
}

/// What an action is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    Instance(String),
    Cluster(String),
}

impl Subject {
    /// From the parameters `instance` and `cluster`, of which one has to be there.
    pub fn new(instance: Option<&str>, cluster: Option<&str>) -> Result<Self, BuildError> {
        match (instance, cluster) {
            // RDS keeps identifiers in lower case, and answers them so.
            (Some(name), None) => Ok(Self::Instance(name.to_lowercase())),
            (None, Some(name)) => Ok(Self::Cluster(name.to_lowercase())),
            (None, None) | (Some(_), Some(_)) => {
                Err(BuildError::Parameter("needs either instance or cluster".to_owned()))
            }
        }
    }

    /// Its identifier.
    pub fn name(&self) -> &str {
        match self {
            Self::Instance(name) | Self::Cluster(name) => name,
        }
    }

    /// The kind as a parameter names it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Instance(_) => "instance",
            Self::Cluster(_) => "cluster",
        }
    }

    /// For people.
    pub fn words(&self) -> String {
        format!("the DB {} {}", self.kind(), self.name())
    }
}

/// The settings that `rds.modify` changes; what is not named is not touched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multi_az: Option<bool>,
    /// Days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_retention: Option<i32>,
}

impl Settings {
    /// These settings, as far as `wanted` names them.
    #[must_use]
    pub fn within(&self, wanted: &Self) -> Self {
        Self {
            class: self.class.clone().filter(|_| wanted.class.is_some()),
            multi_az: self.multi_az.filter(|_| wanted.multi_az.is_some()),
            backup_retention: self.backup_retention.filter(|_| wanted.backup_retention.is_some()),
        }
    }

    /// These settings, without those that are as `wanted` has them.
    #[must_use]
    pub fn unlike(&self, wanted: &Self) -> Self {
        Self {
            class: self.class.clone().filter(|_| self.class != wanted.class),
            multi_az: self.multi_az.filter(|_| self.multi_az != wanted.multi_az),
            backup_retention: self
                .backup_retention
                .filter(|_| self.backup_retention != wanted.backup_retention),
        }
    }

    /// These settings, and those of `others` that are not named here.
    #[must_use]
    pub fn or(&self, others: &Self) -> Self {
        Self {
            class: self.class.clone().or_else(|| others.class.clone()),
            multi_az: self.multi_az.or(others.multi_az),
            backup_retention: self.backup_retention.or(others.backup_retention),
        }
    }

    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Name and value of each.
    pub fn each(&self) -> Vec<(&'static str, String)> {
        let class = self.class.clone().map(|class| ("class", class));
        let multi_az = self.multi_az.map(|on| ("multi_az", on.to_string()));
        let days = self.backup_retention.map(|days| ("backup_retention", days.to_string()));
        [class, multi_az, days].into_iter().flatten().collect()
    }

    /// For people.
    pub fn words(&self) -> String {
        let each: Vec<String> = self
            .each()
            .iter()
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        each.join(", ")
    }
}

/// What is known of an instance or a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Database {
    pub name: String,
    pub arn: String,
    /// RDS's own name of it, which no other database ever has.
    pub resource: Option<String>,
    pub status: String,
    pub engine: String,
    pub engine_version: Option<String>,
    pub storage_gib: Option<i32>,
    /// Encrypted at rest.
    pub encrypted: Option<bool>,
    pub settings: Settings,
    /// Changes of settings that are asked for and not done.
    pub pending: Settings,
    /// Names of other changes that are asked for and not done.
    pub pending_others: bool,
    /// The availability zone of the primary, of an instance.
    pub zone: Option<String>,
    pub standby_zone: Option<String>,
    pub replica_of: Option<String>,
    /// The member of a cluster that takes writes.
    pub writer: Option<String>,
    pub members: usize,
    /// Where it answers: host and port.
    pub endpoint: Option<String>,
    pub tags: Vec<(String, String)>,
    /// Of a replica, where RDS says anything of it.
    pub replication: Option<Replication>,
    /// Parameter groups that wait for a restart.
    pub parameters_waiting: Vec<String>,
}

impl Database {
    /// Whether it waits for nothing.
    pub fn is_settled(&self) -> bool {
        self.status == "available" && self.pending.is_empty() && !self.pending_others
    }

    /// The value of a tag.
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.tags
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// What `expect:` and `outputs:` see.
    pub fn result(&self) -> Map<String, Value> {
        let mut result = Map::new();
        for (name, value) in [
            ("status", json!(self.status)),
            ("engine", json!(self.engine)),
            ("engine_version", json!(self.engine_version)),
            ("class", json!(self.settings.class)),
            ("multi_az", json!(self.settings.multi_az)),
            ("backup_retention", json!(self.settings.backup_retention)),
            ("storage_gib", json!(self.storage_gib)),
            ("replica_of", json!(self.replica_of)),
            ("writer", json!(self.writer)),
            ("endpoint", json!(self.endpoint)),
            ("pending", json!(!self.pending.is_empty() || self.pending_others)),
        ] {
            result.insert(name.to_owned(), value);
        }
        result
    }
}

fn pairs(tags: &[Tag]) -> Vec<(String, String)> {
    tags.iter()
        .filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned())))
        .collect()
}

/// An instance as it is described.
pub fn of_instance(found: &DbInstance) -> Database {
    let text = |value: Option<&str>| value.filter(|value| !value.is_empty()).map(str::to_owned);
    let pending = found.pending_modified_values();
    let ours = Settings {
        class: pending.and_then(|pending| text(pending.db_instance_class())),
        multi_az: pending.and_then(PendingModifiedValues::multi_az),
        backup_retention: pending.and_then(PendingModifiedValues::backup_retention_period),
    };
    let only_ours = PendingModifiedValues::builder()
        .set_db_instance_class(ours.class.clone())
        .set_multi_az(ours.multi_az)
        .set_backup_retention_period(ours.backup_retention)
        .build();
    Database {
        name: found.db_instance_identifier().unwrap_or_default().to_owned(),
        arn: found.db_instance_arn().unwrap_or_default().to_owned(),
        resource: text(found.dbi_resource_id()),
        status: found.db_instance_status().unwrap_or_default().to_owned(),
        engine: found.engine().unwrap_or_default().to_owned(),
        engine_version: text(found.engine_version()),
        storage_gib: found.allocated_storage(),
        encrypted: found.storage_encrypted(),
        settings: Settings {
            class: text(found.db_instance_class()),
            multi_az: found.multi_az(),
            backup_retention: found.backup_retention_period(),
        },
        pending: ours,
        pending_others: pending.is_some_and(|pending| *pending != only_ours),
        zone: text(found.availability_zone()),
        standby_zone: text(found.secondary_availability_zone()),
        replica_of: text(found.read_replica_source_db_instance_identifier())
            .or_else(|| text(found.read_replica_source_db_cluster_identifier())),
        writer: None,
        members: 0,
        endpoint: found
            .endpoint()
            .and_then(|at| Some(format!("{}:{}", at.address()?, at.port()?))),
        tags: pairs(found.tag_list()),
        replication: Replication::of(found),
        parameters_waiting: waiting_of_instance(found),
    }
}

fn of_cluster(found: &DbCluster) -> Database {
    let text = |value: Option<&str>| value.filter(|value| !value.is_empty()).map(str::to_owned);
    let pending = found.pending_modified_values();
    let ours = Settings {
        backup_retention: pending.and_then(ClusterPendingModifiedValues::backup_retention_period),
        ..Settings::default()
    };
    let only_ours = ClusterPendingModifiedValues::builder()
        .set_backup_retention_period(ours.backup_retention)
        .build();
    let writer = found
        .db_cluster_members()
        .iter()
        .find(|member| member.is_cluster_writer() == Some(true));
    Database {
        name: found.db_cluster_identifier().unwrap_or_default().to_owned(),
        arn: found.db_cluster_arn().unwrap_or_default().to_owned(),
        resource: text(found.db_cluster_resource_id()),
        status: found.status().unwrap_or_default().to_owned(),
        engine: found.engine().unwrap_or_default().to_owned(),
        engine_version: text(found.engine_version()),
        storage_gib: found.allocated_storage(),
        encrypted: found.storage_encrypted(),
        settings: Settings {
            class: text(found.db_cluster_instance_class()),
            multi_az: found.multi_az(),
            backup_retention: found.backup_retention_period(),
        },
        pending: ours,
        pending_others: pending.is_some_and(|pending| *pending != only_ours),
        zone: None,
        standby_zone: None,
        replica_of: text(found.replication_source_identifier()),
        writer: writer.and_then(|member| text(member.db_instance_identifier())),
        members: found.db_cluster_members().len(),
        endpoint: found.endpoint().and_then(|at| Some(format!("{at}:{}", found.port()?))),
        tags: pairs(found.tag_list()),
        replication: None,
        parameters_waiting: waiting_of_cluster(found),
    }
}

/// What a look finds after a call was accepted.
pub enum Followed {
    Found(Box<Database>),
    Gone,
    /// Nobody knows for now.
    Unreached,
}

/// The two clients of a connection.
pub struct Rds {
    target: AwsTarget,
    /// Tries again.
    pub reads: Client,
    /// Never does.
    pub writes: Client,
}

impl Rds {
    /// The clients.
    pub async fn open(target: &AwsTarget) -> Self {
        Self {
            reads: Client::new(target.reading().await),
            writes: Client::new(target.config().await),
            target: target.clone(),
        }
    }

    /// What is known of `subject`; nothing where it does not exist.
    pub async fn find(&self, subject: &Subject) -> Result<Option<Database>, ActionError> {
        let found = match subject {
            Subject::Instance(name) => {
                let call = self.reads.describe_db_instances().db_instance_identifier(name);
                match call.send().await {
                    Ok(answer) => answer.db_instances().first().map(of_instance),
                    Err(error) if says(&error, "DBInstanceNotFound") => None,
                    Err(error) => return Err(classify(error, "rds:DescribeDBInstances", Sent::Read)),
                }
            }
            Subject::Cluster(name) => {
                let call = self.reads.describe_db_clusters().db_cluster_identifier(name);
                match call.send().await {
                    Ok(answer) => answer.db_clusters().first().map(of_cluster),
                    Err(error) if says(&error, "DBClusterNotFound") => None,
                    Err(error) => return Err(classify(error, "rds:DescribeDBClusters", Sent::Read)),
                }
            }
        };
        if let Some(database) = &found {
            self.target.prove_place(&database.arn)?;
        }
        Ok(found)
    }

    /// What is known of `subject`, which has to exist.
    pub async fn describe(&self, subject: &Subject) -> Result<Database, ActionError> {
        self.find(subject)
            .await?
            .ok_or_else(|| permanent(format!("there is no {}; check the identifier", subject.words())))
    }

    /// Looks at `subject` after a call about it was accepted: that RDS cannot be reached for a while is only told.
    pub async fn follow(&self, subject: &Subject, cx: &Cx) -> Result<Followed, ActionError> {
        match self.find(subject).await {
            Ok(Some(found)) => Ok(Followed::Found(Box::new(found))),
            Ok(None) => Ok(Followed::Gone),
            Err(error) if error.kind == ActionErrorKind::Transient => {
                cx.reporter.progress(Progress::State(error.message));
                Ok(Followed::Unreached)
            }
            Err(error) => Err(accepted(error)),
        }
    }

    /// Looks as [`Self::follow`] does at what has to go on existing; nothing while RDS cannot be reached.
    pub async fn follow_standing(&self, subject: &Subject, cx: &Cx) -> Result<Option<Database>, ActionError> {
        match self.follow(subject, cx).await? {
            Followed::Found(found) => Ok(Some(*found)),
            Followed::Unreached => Ok(None),
            Followed::Gone => {
                let words = format!(
                    "it was accepted, and then {} was gone; look who deleted it",
                    subject.words()
                );
                Err(in_doubt(words))
            }
        }
    }
}

/// What an approval binds: account, region and the database by RDS's own name.
pub fn identity(target: &AwsTarget, subject: &Subject, database: &Database) -> Map<String, Value> {
    let mut identity = Map::new();
    identity.insert("account".to_owned(), json!(target.account));
    identity.insert("region".to_owned(), json!(target.region));
    identity.insert(subject.kind().to_owned(), json!(database.name));
    identity.insert("resource".to_owned(), json!(database.resource));
    identity
}

/// The tags of what a step makes.
pub fn tags(cx: &Cx) -> Vec<Tag> {
    [(TAG, &cx.key), (TAG_RUN, &cx.run), (TAG_STEP, &cx.step)]
        .into_iter()
        .map(|(key, value)| Tag::builder().key(key).value(value).build())
        .collect()
}
