//! What the steps' actions call in an account, and whether its policies would let us (`iam:SimulatePrincipalPolicy`). The
//! APIs of RDS, DMS and Route 53 have no dry run of their own. A simulation knows nothing of service control policies
//! that stand outside of the account, and takes one resource at a time: what it denies only implicitly is worth a look,
//! not a no.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::provider::action::ActionError;
use crate::provider::aws::AwsTarget;
use crate::provider::aws::query::{Service, ask};

use super::Wish;
use super::finding::Finding;

const PROBE: &str = "permissions";

/// What an action calls, in IAM's names; of clusters where `cluster` says so.
pub fn needed(uses: &str, cluster: bool) -> &'static [&'static str] {
    match (uses, cluster) {
        ("rds.describe", false) => &["rds:DescribeDBInstances"],
        ("rds.describe", true) => &["rds:DescribeDBClusters"],
        ("rds.snapshot", false) => &[
            "rds:DescribeDBInstances",
            "rds:DescribeDBSnapshots",
            "rds:CreateDBSnapshot",
            "rds:AddTagsToResource",
        ],
        ("rds.snapshot", true) => &[
            "rds:DescribeDBClusters",
            "rds:DescribeDBClusterSnapshots",
            "rds:CreateDBClusterSnapshot",
            "rds:AddTagsToResource",
        ],
        ("rds.restore_test", _) => &[
            "rds:DescribeDBInstances",
            "rds:DescribeDBSnapshots",
            "rds:RestoreDBInstanceFromDBSnapshot",
            "rds:AddTagsToResource",
            "rds:DeleteDBInstance",
        ],
        ("rds.modify", false) => &["rds:DescribeDBInstances", "rds:ModifyDBInstance"],
        ("rds.modify", true) => &["rds:DescribeDBClusters", "rds:ModifyDBCluster"],
        ("rds.promote_replica", _) => &["rds:DescribeDBInstances", "rds:PromoteReadReplica"],
        ("rds.failover", false) => &["rds:DescribeDBInstances", "rds:RebootDBInstance"],
        ("rds.failover", true) => &["rds:DescribeDBClusters", "rds:FailoverDBCluster"],
        ("dms.start" | "dms.resume", _) => &["dms:DescribeReplicationTasks", "dms:StartReplicationTask"],
        ("dms.stop", _) => &["dms:DescribeReplicationTasks", "dms:StopReplicationTask"],
        ("dms.wait_caught_up" | "dms.wait_drained" | "dms.validation", _) => {
            &["dms:DescribeReplicationTasks", "dms:DescribeTableStatistics"]
        }
        ("dms.lag", _) => &[
            "dms:DescribeReplicationTasks",
            "dms:DescribeReplicationInstances",
            "cloudwatch:GetMetricStatistics",
        ],
        ("cloudwatch.metric", _) => &["cloudwatch:GetMetricStatistics"],
        ("dns.lookup", _) => &["route53:ListResourceRecordSets"],
        ("dns.flip" | "dns.lower_ttl" | "dns.restore" | "dns.shift", _) => &[
            "route53:GetHostedZone",
            "route53:ListResourceRecordSets",
            "route53:ChangeResourceRecordSets",
            "route53:GetChange",
        ],
        _ => &[],
    }
}

#[derive(Debug, Deserialize)]
struct Simulated {
    #[serde(rename = "SimulatePrincipalPolicyResult")]
    result: Evaluated,
}

#[derive(Debug, Deserialize)]
struct Evaluated {
    #[serde(rename = "EvaluationResults")]
    results: Members,
}

#[derive(Debug, Deserialize)]
struct Members {
    #[serde(rename = "member", default)]
    members: Vec<Evaluation>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Evaluation {
    eval_action_name: String,
    eval_decision: String,
}

#[derive(Debug, Deserialize)]
struct Got {
    #[serde(rename = "GetRoleResult")]
    result: Role,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Role {
    role: Named,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    arn: String,
}

/// What would be called, by the resource that it is called on.
fn calls(wishes: &[&Wish<'_>], target: &AwsTarget, partition: &str) -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut calls: BTreeMap<String, BTreeSet<&'static str>> = BTreeMap::new();
    for wish in wishes {
        let cluster = wish.text("cluster");
        let all = needed(wish.uses, cluster.is_some());
        let (region, account) = (&target.region, &target.account);
        let resource = match (wish.text("instance"), cluster, wish.text("task"), wish.text("zone")) {
            (Some(name), ..) => Some(format!("arn:{partition}:rds:{region}:{account}:db:{name}")),
            (_, Some(name), ..) => Some(format!("arn:{partition}:rds:{region}:{account}:cluster:{name}")),
            (_, _, Some(arn), _) if arn.starts_with("arn:") => Some(arn.to_owned()),
            (.., Some(zone)) if !zone.contains('.') => Some(format!(
                "arn:{partition}:route53:::hostedzone/{}",
                zone.trim_start_matches("/hostedzone/")
            )),
            _ => None,
        };
        for call in all {
            // Lists and changes of a zone are of no resource, or of another one.
            let anywhere = call.contains(":Describe") || call.contains(":List") || call.ends_with(":GetChange");
            let on = match &resource {
                Some(resource) if !anywhere && !call.starts_with("cloudwatch:") => resource.clone(),
                Some(_) | None => "*".to_owned(),
            };
            calls.entry(on).or_default().insert(call);
        }
    }
    calls
}

/// Whose policies are asked; a session of a role is asked as its role.
async fn principal(target: &AwsTarget, caller: &str) -> Result<String, String> {
    let mut parts = caller.splitn(6, ':');
    let partition = parts.nth(1).unwrap_or("aws");
    let (account, name) = (parts.nth(2).unwrap_or_default(), parts.next().unwrap_or_default());
    match name.split('/').collect::<Vec<_>>().as_slice() {
        ["assumed-role", role, ..] => {
            let parameters = [("RoleName".to_owned(), (*role).to_owned())];
            // A role may have a path, which its session does not tell.
            let found = ask::<Got>(target, Service::Iam, "GetRole", &parameters).await;
            Ok(found.map_or_else(
                |_unasked| format!("arn:{partition}:iam::{account}:role/{role}"),
                |found| found.body.result.role.arn,
            ))
        }
        ["user", ..] => Ok(caller.to_owned()),
        _ => Err(format!("{caller} has no policies that could be asked")),
    }
}

/// Looks at what all steps of a connection call.
pub async fn look(name: &str, target: &AwsTarget, caller: &str, wishes: &[&Wish<'_>]) -> Vec<Finding> {
    let partition = caller.split(':').nth(1).unwrap_or("aws");
    let calls = calls(wishes, target, partition);
    if calls.is_empty() {
        return Vec::new();
    }
    let unasked = |why: String| {
        let advice = "allow iam:SimulatePrincipalPolicy, or prove in a rehearsal that every call is allowed";
        vec![Finding::amber(
            name,
            PROBE,
            format!("they could not be asked: {why}"),
            advice,
        )]
    };
    let who = match principal(target, caller).await {
        Ok(who) => who,
        Err(why) => return unasked(why),
    };
    let mut asked = 0;
    let (mut denied, mut implied) = (Vec::new(), Vec::new());
    for (resource, actions) in &calls {
        let found = match simulate(target, &who, resource, actions).await {
            Ok(found) => found,
            Err(error) => return unasked(error.message),
        };
        for action in actions {
            let decision = found.iter().find(|evaluation| evaluation.eval_action_name == *action);
            let words = format!("{action} on {resource}");
            asked += 1;
            match decision.map(|evaluation| evaluation.eval_decision.as_str()) {
                Some("allowed") => {}
                Some("explicitDeny") => denied.push(words),
                Some(_) | None => implied.push(words),
            }
        }
    }
    vec![if !denied.is_empty() {
        let advice = "a policy says no: have it changed, or take another identity";
        Finding::red(name, PROBE, format!("denied: {}", denied.join(", ")), advice)
    } else if !implied.is_empty() {
        let advice = "no policy says yes to it here: have it allowed, or prove it in a rehearsal";
        Finding::amber(name, PROBE, format!("not allowed: {}", implied.join(", ")), advice)
    } else {
        Finding::green(name, PROBE, format!("{asked} calls simulated, all allowed"))
    }]
}

async fn simulate(
    target: &AwsTarget,
    who: &str,
    resource: &str,
    actions: &BTreeSet<&'static str>,
) -> Result<Vec<Evaluation>, ActionError> {
    let mut parameters = vec![
        ("PolicySourceArn".to_owned(), who.to_owned()),
        ("MaxItems".to_owned(), "1000".to_owned()),
        ("ResourceArns.member.1".to_owned(), resource.to_owned()),
    ];
    for (index, action) in actions.iter().enumerate() {
        parameters.push((format!("ActionNames.member.{}", index + 1), (*action).to_owned()));
    }
    let answer: Simulated = ask(target, Service::Iam, "SimulatePrincipalPolicy", &parameters)
        .await?
        .body;
    Ok(answer.result.results.members)
}

#[cfg(test)]
#[expect(clippy::panic, reason = "tests")]
mod tests {
    use super::*;
    use crate::provider::catalogue;

    #[test]
    fn every_action_that_calls_aws_says_what_it_calls() {
        for spec in catalogue().actions.iter().copied().flatten() {
            let aws = spec.on.first() == Some(&"aws") && spec.available;
            if aws && needed(spec.uses, false).is_empty() {
                panic!("{} calls AWS; say here what it needs to be allowed", spec.uses);
            }
        }
    }
}
