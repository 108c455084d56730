//! Which operation goes where; and STS's `GetCallerIdentity`, which speaks the same protocol.

use std::collections::BTreeMap;

use crate::lab::cloud::Cloud;
use crate::lab::endpoints::ACCOUNT;
use crate::lab::world::LabError;
use crate::lab::xml::{Answer, leaf, query, refusal};

use super::snapshot::Of;
use super::{cluster, instance, snapshot};

/// Parameters that say what an operation is about, the first that is there.
const SUBJECTS: &[&str] = &[
    "DBSnapshotIdentifier",
    "DBClusterSnapshotIdentifier",
    "DBInstanceIdentifier",
    "DBClusterIdentifier",
];

/// Puts there what a lab begins with.
pub fn seed(cloud: &Cloud) -> Result<(), LabError> {
    instance::seed(cloud)?;
    cluster::seed(cloud)
}

/// Answers an operation.
pub fn answer(cloud: &Cloud, operation: &str, form: &BTreeMap<String, String>) -> Result<Answer, LabError> {
    match operation {
        "DescribeDBInstances" => instance::describe(cloud, form),
        "DescribeAccountAttributes" => snapshot::quotas(cloud),
        "ModifyDBInstance" => instance::modify(cloud, form),
        "PromoteReadReplica" => instance::promote(cloud, form),
        "RebootDBInstance" => instance::reboot(cloud, form),
        "RestoreDBInstanceFromDBSnapshot" => instance::restore(cloud, form),
        "DeleteDBInstance" => instance::delete(cloud, form),
        "DescribeDBClusters" => cluster::describe(cloud, form),
        "ModifyDBCluster" => cluster::modify(cloud, form),
        "FailoverDBCluster" => cluster::failover(cloud, form),
        "CreateDBSnapshot" => snapshot::create(cloud, Of::Instance, form),
        "DescribeDBSnapshots" => snapshot::describe(cloud, Of::Instance, form),
        "CreateDBClusterSnapshot" => snapshot::create(cloud, Of::Cluster, form),
        "DescribeDBClusterSnapshots" => snapshot::describe(cloud, Of::Cluster, form),
        "ListTagsForResource" => snapshot::tags_of(cloud, form),
        "GetCallerIdentity" => {
            let result = format!(
                "{}{}{}",
                leaf("Arn", format!("arn:aws:iam::{ACCOUNT}:user/lab")),
                leaf("UserId", "AIDALAB"),
                leaf("Account", ACCOUNT)
            );
            let namespace = "https://sts.amazonaws.com/doc/2011-06-15/";
            Ok(query(operation, namespace, &result, false))
        }
        other => Ok(refusal(
            400,
            "InvalidAction",
            &format!("The lab does not know the action {other}"),
        )),
    }
}

/// Whether an operation can change something.
pub fn mutates(operation: &str) -> bool {
    !["Describe", "List", "Get"]
        .iter()
        .any(|verb| operation.starts_with(verb))
}

/// The idempotency name of a request: the name of what it makes, else what it does to what. A change that is asked for
/// twice has the same name twice.
pub fn name(operation: &str, form: &BTreeMap<String, String>) -> Option<String> {
    if operation.starts_with("RestoreDBInstance") {
        return form.get("DBInstanceIdentifier").cloned();
    }
    let subject = SUBJECTS.iter().find_map(|key| form.get(*key))?;
    if operation.starts_with("Create") {
        return Some(subject.clone());
    }
    let settings: Vec<String> = form
        .iter()
        .filter(|(key, _)| !SUBJECTS.contains(&key.as_str()) && !["Action", "Version"].contains(&key.as_str()))
        .map(|(key, value)| format!(" {key}={value}"))
        .collect();
    Some(format!("{operation} {subject}{}", settings.concat()))
}
