//! DB clusters: one, with two members, of which one takes writes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::lab::cloud::{Cloud, now_ms};
use crate::lab::world::LabError;
use crate::lab::xml::{Answer, leaf, query, refusal};

use super::store::{self, NAMESPACE, arn};

const KIND: &str = "cluster";
/// The engine of the lab's cluster.
pub const ENGINE: &str = "aurora-mysql";

type Form = BTreeMap<String, String>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Cluster {
    name: String,
    retention: i64,
    members: Vec<String>,
    writer: String,
    change: Option<Change>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Change {
    what: What,
    at_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum What {
    Modify { retention: i64 },
    Failover { to: String },
}

impl What {
    /// States with the nominal second until which each lasts.
    const fn stages(&self) -> &'static [(f64, &'static str)] {
        match self {
            Self::Modify { .. } => &[(4.0, "available"), (20.0, "modifying")],
            Self::Failover { .. } => &[(25.0, "failing-over")],
        }
    }
}

impl Cluster {
    fn now(mut self, cloud: &Cloud) -> (Self, &'static str) {
        let Some(change) = self.change.clone() else {
            return (self, "available");
        };
        if let Some(status) = store::stage(cloud, change.at_ms, change.what.stages()) {
            return (self, status);
        }
        self.change = None;
        match change.what {
            What::Modify { retention } => self.retention = retention,
            What::Failover { to } => self.writer = to,
        }
        (self, "available")
    }

    fn xml(&self, status: &str) -> String {
        let pending = match &self.change {
            Some(Change {
                what: What::Modify { retention },
                ..
            }) => leaf("BackupRetentionPeriod", retention.to_string()),
            Some(_) | None => String::new(),
        };
        let members: String = self
            .members
            .iter()
            .map(|member| {
                format!(
                    "<DBClusterMember>{}{}</DBClusterMember>",
                    leaf("DBInstanceIdentifier", member),
                    leaf("IsClusterWriter", (*member == self.writer).to_string())
                )
            })
            .collect();
        format!(
            "<DBCluster>{}{}{}{}{}{}<DBClusterMembers>{members}</DBClusterMembers>\
             <PendingModifiedValues>{pending}</PendingModifiedValues></DBCluster>",
            leaf("DBClusterIdentifier", &self.name),
            leaf("DBClusterArn", arn("cluster", &self.name)),
            leaf(
                "DbClusterResourceId",
                format!("cluster-LAB{}", self.name.to_uppercase())
            ),
            leaf("Engine", ENGINE),
            leaf("Status", status),
            leaf("BackupRetentionPeriod", self.retention.to_string()),
        )
    }
}

/// Puts the cluster there that a lab begins with.
pub fn seed(cloud: &Cloud) -> Result<(), LabError> {
    let name = "lab-cluster";
    if store::load::<Cluster>(cloud, KIND, name)?.is_none() {
        let cluster = Cluster {
            name: name.to_owned(),
            retention: 1,
            members: vec![format!("{name}-1"), format!("{name}-2")],
            writer: format!("{name}-1"),
            change: None,
        };
        store::save(cloud, KIND, name, &cluster)?;
    }
    Ok(())
}

fn find(cloud: &Cloud, name: &str) -> Result<Option<(Cluster, &'static str)>, LabError> {
    Ok(store::load::<Cluster>(cloud, KIND, name)?.map(|cluster| cluster.now(cloud)))
}

/// The state of a cluster; nothing where there is none.
pub fn status(cloud: &Cloud, name: &str) -> Result<Option<&'static str>, LabError> {
    Ok(find(cloud, name)?.map(|(_, status)| status))
}

/// The refusal of a cluster that is not there.
pub fn not_found(name: &str) -> Answer {
    refusal(404, "DBClusterNotFoundFault", &format!("DBCluster {name} not found."))
}

/// `DescribeDBClusters`.
pub fn describe(cloud: &Cloud, form: &Form) -> Result<Answer, LabError> {
    let wanted = form.get("DBClusterIdentifier");
    let mut items = String::new();
    for name in store::names(cloud, KIND)? {
        if wanted.is_none_or(|wanted| *wanted == name)
            && let Some((cluster, status)) = find(cloud, &name)?
        {
            items.push_str(&cluster.xml(status));
        }
    }
    if let (Some(name), true) = (wanted, items.is_empty()) {
        return Ok(not_found(name));
    }
    let body = format!("<DBClusters>{items}</DBClusters>");
    Ok(query("DescribeDBClusters", NAMESPACE, &body, false))
}

fn change(
    cloud: &Cloud,
    operation: &str,
    form: &Form,
    make: impl FnOnce(&Cluster) -> Result<Option<What>, Answer>,
) -> Result<Answer, LabError> {
    let name = form.get("DBClusterIdentifier").map_or("", String::as_str);
    let Some((mut cluster, status)) = find(cloud, name)? else {
        return Ok(not_found(name));
    };
    if status != "available" || cluster.change.is_some() {
        let words = format!("DB cluster {name} is not in available state.");
        return Ok(refusal(400, "InvalidDBClusterStateFault", &words));
    }
    let what = match make(&cluster) {
        Ok(what) => what,
        Err(refused) => return Ok(refused),
    };
    let changed = what.is_some();
    if let Some(what) = what {
        cluster.change = Some(Change { what, at_ms: now_ms() });
        store::save(cloud, KIND, name, &cluster)?;
    }
    let (_, status) = cluster.clone().now(cloud);
    Ok(query(operation, NAMESPACE, &cluster.xml(status), changed))
}

/// `ModifyDBCluster`: the retention; members have the classes.
pub fn modify(cloud: &Cloud, form: &Form) -> Result<Answer, LabError> {
    if form.contains_key("DBClusterInstanceClass") {
        let words = "DBClusterInstanceClass is not supported for aurora-mysql.";
        return Ok(refusal(400, "InvalidParameterCombination", words));
    }
    let days = form
        .get("BackupRetentionPeriod")
        .and_then(|days| days.parse::<i64>().ok());
    let Some(retention) = days.filter(|days| (1..=35).contains(days)) else {
        let words = "Invalid backup retention period: it must be between 1 and 35.";
        return Ok(refusal(400, "InvalidParameterValue", words));
    };
    change(cloud, "ModifyDBCluster", form, |cluster| {
        Ok((retention != cluster.retention).then_some(What::Modify { retention }))
    })
}

/// `FailoverDBCluster`.
pub fn failover(cloud: &Cloud, form: &Form) -> Result<Answer, LabError> {
    change(cloud, "FailoverDBCluster", form, |cluster| {
        let wanted = form.get("TargetDBInstanceIdentifier");
        let reader = cluster
            .members
            .iter()
            .find(|member| **member != cluster.writer && wanted.is_none_or(|wanted| *member == wanted));
        reader.map(|to| Some(What::Failover { to: to.clone() })).ok_or_else(|| {
            let words = format!("{} has no reader that could take over.", cluster.name);
            refusal(400, "InvalidDBClusterStateFault", &words)
        })
    })
}
