//! What each action calls in an account, by IAM's names and on what (Service Authorization Reference of RDS, DMS, Route 53
//! and CloudWatch). Must not ask anything.

use crate::provider::aws::AwsTarget;

use super::Wish;

/// What a call is allowed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    /// No resource of its own.
    Any,
    /// The database, task or zone that the step names.
    Own,
    /// A snapshot of ours.
    Snapshot,
    /// A database that a restore test makes.
    Throwaway,
    /// A change of a zone.
    Change,
}

const DESCRIBE: (&str, On) = ("rds:DescribeDBInstances", On::Own);
const DESCRIBE_CLUSTER: (&str, On) = ("rds:DescribeDBClusters", On::Own);
const DESCRIBE_TASK: (&str, On) = ("dms:DescribeReplicationTasks", On::Any);
const LAG: &[(&str, On)] = &[
    ("dms:DescribeReplicationInstances", On::Any),
    ("cloudwatch:GetMetricStatistics", On::Any),
];

fn of(uses: &str, cluster: bool) -> &'static [(&'static str, On)] {
    match (uses, cluster) {
        ("rds.describe", false) => &[DESCRIBE],
        ("rds.describe", true) => &[DESCRIBE_CLUSTER],
        ("rds.snapshot", false) => &[
            DESCRIBE,
            ("rds:CreateDBSnapshot", On::Own),
            ("rds:DescribeDBSnapshots", On::Snapshot),
            ("rds:AddTagsToResource", On::Snapshot),
        ],
        ("rds.snapshot", true) => &[
            DESCRIBE_CLUSTER,
            ("rds:CreateDBClusterSnapshot", On::Own),
            ("rds:DescribeDBClusterSnapshots", On::Snapshot),
            ("rds:AddTagsToResource", On::Snapshot),
        ],
        ("rds.restore_test", _) => &[
            ("rds:DescribeDBSnapshots", On::Snapshot),
            ("rds:DescribeDBInstances", On::Throwaway),
            ("rds:RestoreDBInstanceFromDBSnapshot", On::Throwaway),
            ("rds:AddTagsToResource", On::Throwaway),
            ("rds:DeleteDBInstance", On::Throwaway),
        ],
        ("rds.modify", false) => &[DESCRIBE, ("rds:ModifyDBInstance", On::Own)],
        ("rds.modify", true) => &[DESCRIBE_CLUSTER, ("rds:ModifyDBCluster", On::Own)],
        ("rds.promote_replica", _) => &[DESCRIBE, ("rds:PromoteReadReplica", On::Own)],
        ("rds.failover", false) => &[DESCRIBE, ("rds:RebootDBInstance", On::Own)],
        ("rds.failover", true) => &[DESCRIBE_CLUSTER, ("rds:FailoverDBCluster", On::Own)],
        ("dms.start" | "dms.resume", _) => &[DESCRIBE_TASK, ("dms:StartReplicationTask", On::Own)],
        ("dms.stop", _) => &[DESCRIBE_TASK, ("dms:StopReplicationTask", On::Own)],
        ("dms.wait_caught_up" | "dms.wait_drained" | "dms.validation", _) => {
            &[DESCRIBE_TASK, ("dms:DescribeTableStatistics", On::Own)]
        }
        ("dms.lag", _) => &[DESCRIBE_TASK],
        ("cloudwatch.metric", _) => &[("cloudwatch:GetMetricStatistics", On::Any)],
        ("dns.lookup", _) => &[("route53:GetHostedZone", On::Own)],
        ("dns.flip" | "dns.lower_ttl" | "dns.restore" | "dns.shift", _) => &[
            ("route53:GetHostedZone", On::Own),
            ("route53:ListResourceRecordSets", On::Own),
            ("route53:ChangeResourceRecordSets", On::Own),
            ("route53:GetChange", On::Change),
        ],
        _ => &[],
    }
}

/// The calls of one action with the ARN that each is on; `*` where it has none, or where it is not known yet.
pub fn calls(wish: &Wish<'_>, target: &AwsTarget, partition: &str) -> Vec<(&'static str, String)> {
    let (instance, cluster) = (wish.text("instance"), wish.text("cluster"));
    let (region, account) = (&target.region, &target.account);
    let rds = |what: &str, name: &str| format!("arn:{partition}:rds:{region}:{account}:{what}:{name}");
    let zone = wish.text("zone");
    let own = match (instance, cluster, wish.text("task"), zone) {
        (Some(name), ..) => Some(rds("db", name)),
        (_, Some(name), ..) => Some(rds("cluster", name)),
        (_, _, Some(arn), _) if arn.starts_with("arn:") => Some(arn.to_owned()),
        (.., Some(zone)) if !zone.contains('.') => Some(format!(
            "arn:{partition}:route53:::hostedzone/{}",
            zone.trim_start_matches("/hostedzone/")
        )),
        _ => None,
    };
    let kind = if cluster.is_some() {
        "cluster-snapshot"
    } else {
        "snapshot"
    };
    let on = |on: On| match on {
        On::Any => "*".to_owned(),
        On::Own => own.clone().unwrap_or_else(|| "*".to_owned()),
        On::Snapshot => rds(kind, "pm-preflight"),
        On::Throwaway => rds("db", "pm-preflight"),
        On::Change => format!("arn:{partition}:route53:::change/C0PREFLIGHT"),
    };
    let mut calls: Vec<(&str, On)> = of(wish.uses, cluster.is_some()).to_vec();
    if wish.uses == "dms.lag" || wish.with.get("lag_below").is_some() {
        calls.extend(LAG);
    }
    if !calls.is_empty() && zone.is_some_and(|zone| zone.contains('.')) {
        calls.push(("route53:ListHostedZonesByName", On::Any));
    }
    calls.into_iter().map(|(call, place)| (call, on(place))).collect()
}

#[cfg(test)]
#[expect(clippy::panic, reason = "tests")]
mod tests {
    use super::*;
    use crate::provider::aws::Identity;
    use crate::provider::catalogue;

    #[test]
    fn every_action_that_calls_aws_says_what_it_calls() {
        for spec in catalogue().actions.iter().copied().flatten() {
            let aws = spec.on.first() == Some(&"aws") && spec.available;
            if aws && of(spec.uses, false).is_empty() {
                panic!("{} calls AWS; say here what it needs to be allowed", spec.uses);
            }
        }
    }

    #[test]
    fn a_call_is_asked_on_what_it_is_allowed_on() {
        let target = AwsTarget::new("sa-east-1", "123456789012", None, Identity::Fake);
        let with = serde_json::json!({ "zone": "Z1", "record": "erp.example.com" });
        let wish = Wish {
            step: "flip",
            uses: "dns.flip",
            on: vec!["aws".to_owned()],
            with: &with,
            later: false,
        };
        let zone = "arn:aws:route53:::hostedzone/Z1".to_owned();
        assert_eq!(
            calls(&wish, &target, "aws"),
            [
                ("route53:GetHostedZone", zone.clone()),
                ("route53:ListResourceRecordSets", zone.clone()),
                ("route53:ChangeResourceRecordSets", zone),
                ("route53:GetChange", "arn:aws:route53:::change/C0PREFLIGHT".to_owned()),
            ]
        );
        let with = serde_json::json!({ "cluster": "erp" });
        let wish = Wish {
            uses: "rds.snapshot",
            with: &with,
            ..wish
        };
        let told = calls(&wish, &target, "aws-us-gov");
        assert!(told.contains(&(
            "rds:AddTagsToResource",
            "arn:aws-us-gov:rds:sa-east-1:123456789012:cluster-snapshot:pm-preflight".to_owned()
        )));
    }
}
