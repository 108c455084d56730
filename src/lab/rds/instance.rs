//! DB instances: what is asked of them, what they refuse, and how a change goes on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::lab::cloud::{Cloud, now_ms};
use crate::lab::world::LabError;
use crate::lab::xml::{Answer, leaf, query, refusal};

use super::snapshot;
use super::store::{self, NAMESPACE, arn, is_name};

const KIND: &str = "instance";
/// The engine of everything in the lab.
pub const ENGINE: &str = "mysql";
/// GiB of everything in the lab.
pub const STORAGE: &str = "20";

type Form = BTreeMap<String, String>;

/// An instance as it was after its last change that is through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Instance {
    name: String,
    id: String,
    class: String,
    multi_az: bool,
    retention: i64,
    zone: String,
    standby: String,
    /// The instance that it is a replica of.
    source: Option<String>,
    tags: BTreeMap<String, String>,
    change: Option<Change>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Change {
    what: What,
    at_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum What {
    Create,
    Modify {
        class: Option<String>,
        multi_az: Option<bool>,
        retention: Option<i64>,
    },
    Promote,
    Failover,
    Delete,
}

impl What {
    /// States with the nominal second until which each lasts. A change that waits for RDS still says `available`.
    const fn stages(&self) -> &'static [(f64, &'static str)] {
        match self {
            Self::Create => &[(90.0, "creating"), (110.0, "backing-up")],
            Self::Modify { .. } => &[(4.0, "available"), (40.0, "modifying")],
            Self::Promote => &[(4.0, "available"), (25.0, "modifying"), (35.0, "rebooting")],
            Self::Failover => &[(25.0, "rebooting")],
            Self::Delete => &[(20.0, "deleting")],
        }
    }
}

impl Instance {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            id: format!("db-LAB{}", name.to_uppercase()),
            class: "db.t4g.medium".to_owned(),
            multi_az: false,
            retention: 1,
            zone: "us-east-1a".to_owned(),
            standby: "us-east-1b".to_owned(),
            source: None,
            tags: BTreeMap::new(),
            change: None,
        }
    }

    /// It as it is now, with its state; nothing once it is deleted.
    fn now(mut self, cloud: &Cloud) -> Option<(Self, &'static str)> {
        let Some(change) = self.change.clone() else {
            return Some((self, "available"));
        };
        if let Some(status) = store::stage(cloud, change.at_ms, change.what.stages()) {
            return Some((self, status));
        }
        self.change = None;
        match change.what {
            What::Create => {}
            What::Modify {
                class,
                multi_az,
                retention,
            } => {
                self.class = class.unwrap_or(self.class);
                self.multi_az = multi_az.unwrap_or(self.multi_az);
                self.retention = retention.unwrap_or(self.retention);
            }
            What::Promote => self.source = None,
            What::Failover => std::mem::swap(&mut self.zone, &mut self.standby),
            What::Delete => return None,
        }
        Some((self, "available"))
    }

    fn xml(&self, status: &str) -> String {
        let pending = match &self.change {
            Some(Change {
                what:
                    What::Modify {
                        class,
                        multi_az,
                        retention,
                    },
                ..
            }) => [
                class.as_ref().map(|class| leaf("DBInstanceClass", class)),
                multi_az.map(|on| leaf("MultiAZ", on.to_string())),
                retention.map(|days| leaf("BackupRetentionPeriod", days.to_string())),
            ]
            .into_iter()
            .flatten()
            .collect(),
            Some(_) | None => String::new(),
        };
        let source = self
            .source
            .as_ref()
            .map(|source| leaf("ReadReplicaSourceDBInstanceIdentifier", source))
            .unwrap_or_default();
        let standby = if self.multi_az {
            leaf("SecondaryAvailabilityZone", &self.standby)
        } else {
            String::new()
        };
        format!(
            "<DBInstance>{}{}{}{}{}{}{}{}{}{}{standby}{source}<PendingModifiedValues>{pending}</PendingModifiedValues>\
             <Endpoint>{}<Port>3306</Port></Endpoint>{}</DBInstance>",
            leaf("DBInstanceIdentifier", &self.name),
            leaf("DBInstanceArn", arn("db", &self.name)),
            leaf("DbiResourceId", &self.id),
            leaf("DBInstanceClass", &self.class),
            leaf("Engine", ENGINE),
            leaf("DBInstanceStatus", status),
            leaf("AllocatedStorage", STORAGE),
            leaf("MultiAZ", self.multi_az.to_string()) + &leaf("StorageEncrypted", "true"),
            leaf("BackupRetentionPeriod", self.retention.to_string()),
            leaf("AvailabilityZone", &self.zone),
            leaf("Address", format!("{}.lab.test", self.name)),
            snapshot::tag_list(&self.tags),
        )
    }
}

/// Puts the instances there that a lab begins with.
pub fn seed(cloud: &Cloud) -> Result<(), LabError> {
    for name in ["lab-source", "lab-target", "lab-replica"] {
        if store::load::<Instance>(cloud, KIND, name)?.is_none() {
            let mut instance = Instance::new(name);
            instance.source = (name == "lab-replica").then(|| "lab-target".to_owned());
            store::save(cloud, KIND, name, &instance)?;
        }
    }
    Ok(())
}

fn find(cloud: &Cloud, name: &str) -> Result<Option<(Instance, &'static str)>, LabError> {
    let Some(instance) = store::load::<Instance>(cloud, KIND, name)? else {
        return Ok(None);
    };
    let now = instance.now(cloud);
    if now.is_none() {
        store::forget(cloud, KIND, name)?;
    }
    Ok(now)
}

/// The state of an instance; nothing where there is none.
pub fn status(cloud: &Cloud, name: &str) -> Result<Option<&'static str>, LabError> {
    Ok(find(cloud, name)?.map(|(_, status)| status))
}

/// The refusal of an instance that is not there.
pub fn not_found(name: &str) -> Answer {
    refusal(404, "DBInstanceNotFound", &format!("DBInstance {name} not found."))
}

fn name_of(form: &Form) -> &str {
    form.get("DBInstanceIdentifier").map_or("", String::as_str)
}

/// `DescribeDBInstances`.
pub fn describe(cloud: &Cloud, form: &Form) -> Result<Answer, LabError> {
    let wanted = form.get("DBInstanceIdentifier");
    let mut items = String::new();
    for name in store::names(cloud, KIND)? {
        if wanted.is_none_or(|wanted| *wanted == name)
            && let Some((instance, status)) = find(cloud, &name)?
        {
            items.push_str(&instance.xml(status));
        }
    }
    if let (Some(name), true) = (wanted, items.is_empty()) {
        return Ok(not_found(name));
    }
    let body = format!("<DBInstances>{items}</DBInstances>");
    Ok(query("DescribeDBInstances", NAMESPACE, &body, false))
}

/// A change of an instance that has to be available.
fn change(
    cloud: &Cloud,
    operation: &str,
    form: &Form,
    make: impl FnOnce(&Instance) -> Result<Option<What>, Answer>,
) -> Result<Answer, LabError> {
    let name = name_of(form);
    let Some((mut instance, status)) = find(cloud, name)? else {
        return Ok(not_found(name));
    };
    if status != "available" || instance.change.is_some() {
        let words = "Database instance is not in available state.";
        return Ok(refusal(400, "InvalidDBInstanceState", words));
    }
    let what = match make(&instance) {
        Ok(what) => what,
        Err(refused) => return Ok(refused),
    };
    let changed = what.is_some();
    if let Some(what) = what {
        instance.change = Some(Change { what, at_ms: now_ms() });
        store::save(cloud, KIND, name, &instance)?;
    }
    let status = status_word(cloud, &instance);
    Ok(query(operation, NAMESPACE, &instance.xml(status), changed))
}

fn status_word(cloud: &Cloud, instance: &Instance) -> &'static str {
    instance.clone().now(cloud).map_or("deleting", |(_, status)| status)
}

/// `ModifyDBInstance`, applied immediately or refused: the lab has no maintenance windows.
pub fn modify(cloud: &Cloud, form: &Form) -> Result<Answer, LabError> {
    if form.get("ApplyImmediately").map(String::as_str) != Some("true") {
        let words = "The lab has no maintenance windows: ApplyImmediately must be true.";
        return Ok(refusal(400, "InvalidParameterCombination", words));
    }
    let retention = form.get("BackupRetentionPeriod").map(|days| days.parse::<i64>());
    let retention = match retention {
        Some(Ok(days)) if (0..=35).contains(&days) => Some(days),
        Some(_) => {
            let words = "Invalid backup retention period: it must be between 0 and 35.";
            return Ok(refusal(400, "InvalidParameterValue", words));
        }
        None => None,
    };
    if let Some(class) = form.get("DBInstanceClass").filter(|class| !class.starts_with("db.")) {
        let words = format!("Invalid DB Instance class: {class}");
        return Ok(refusal(400, "InvalidParameterValue", &words));
    }
    change(cloud, "ModifyDBInstance", form, |instance| {
        let class = form
            .get("DBInstanceClass")
            .cloned()
            .filter(|class| *class != instance.class);
        let multi_az = form.get("MultiAZ").map(|on| on == "true");
        let what = What::Modify {
            class,
            multi_az: multi_az.filter(|on| *on != instance.multi_az),
            retention: retention.filter(|days| *days != instance.retention),
        };
        let nothing = What::Modify {
            class: None,
            multi_az: None,
            retention: None,
        };
        Ok((what != nothing).then_some(what))
    })
}

/// `PromoteReadReplica`.
pub fn promote(cloud: &Cloud, form: &Form) -> Result<Answer, LabError> {
    change(cloud, "PromoteReadReplica", form, |instance| match instance.source {
        Some(_) => Ok(Some(What::Promote)),
        None => {
            let words = format!("DB Instance {} is not a read replica.", instance.name);
            Err(refusal(400, "InvalidDBInstanceState", &words))
        }
    })
}

/// `RebootDBInstance` with a failover; the lab has no need of another.
pub fn reboot(cloud: &Cloud, form: &Form) -> Result<Answer, LabError> {
    change(cloud, "RebootDBInstance", form, |instance| {
        if form.get("ForceFailover").map(String::as_str) == Some("true") && instance.multi_az {
            return Ok(Some(What::Failover));
        }
        let words = "You can specify ForceFailover only for a Multi-AZ DB instance.";
        Err(refusal(400, "InvalidParameterCombination", words))
    })
}

/// `RestoreDBInstanceFromDBSnapshot`.
pub fn restore(cloud: &Cloud, form: &Form) -> Result<Answer, LabError> {
    let name = name_of(form);
    let taken = form.get("DBSnapshotIdentifier").cloned().unwrap_or_default();
    if !is_name(name) {
        let words = "The parameter DBInstanceIdentifier is not a valid identifier. It must begin with a letter.";
        return Ok(refusal(400, "InvalidParameterValue", words));
    }
    match snapshot::status(cloud, &taken)? {
        Some("available") => {}
        Some(_) => {
            let words = format!("Snapshot {taken} is not in available state.");
            return Ok(refusal(400, "InvalidDBSnapshotState", &words));
        }
        None => return Ok(snapshot::not_found(&taken)),
    }
    if find(cloud, name)?.is_some() {
        return Ok(refusal(400, "DBInstanceAlreadyExists", "DB instance already exists"));
    }
    let mut instance = Instance::new(name);
    instance.class = form.get("DBInstanceClass").cloned().unwrap_or(instance.class);
    instance.tags = snapshot::tags(form);
    instance.change = Some(Change {
        what: What::Create,
        at_ms: now_ms(),
    });
    store::save(cloud, KIND, name, &instance)?;
    let xml = instance.xml("creating");
    Ok(query("RestoreDBInstanceFromDBSnapshot", NAMESPACE, &xml, true))
}

/// `DeleteDBInstance`.
pub fn delete(cloud: &Cloud, form: &Form) -> Result<Answer, LabError> {
    let name = name_of(form);
    let Some((mut instance, status)) = find(cloud, name)? else {
        return Ok(not_found(name));
    };
    if status == "deleting" {
        let words = format!("Instance {name} is already being deleted.");
        return Ok(refusal(400, "InvalidDBInstanceState", &words));
    }
    if status == "creating" {
        let words = format!("Instance {name} is currently creating - try again once it is available.");
        return Ok(refusal(400, "InvalidDBInstanceState", &words));
    }
    if form.get("SkipFinalSnapshot").map(String::as_str) != Some("true") {
        let words = "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified.";
        return Ok(refusal(400, "InvalidParameterCombination", words));
    }
    instance.change = Some(Change {
        what: What::Delete,
        at_ms: now_ms(),
    });
    store::save(cloud, KIND, name, &instance)?;
    Ok(query("DeleteDBInstance", NAMESPACE, &instance.xml("deleting"), true))
}
