//! The table of RDS actions.

use crate::provider::Action;
use crate::provider::connection::{BuildError, Connections};
use crate::provider::registry::Request;
use crate::runbook::catalogue::{ActionSpec, Effect, ParamKind, ParamSpec, Reversibility};

use super::describe::Describe;
use super::failover::Failover;
use super::modify::Modify;
use super::promote::Promote;
use super::restore_test::RestoreTest;
use super::snapshot::Snapshot;

const INSTANCE: ParamSpec = ParamSpec::new("instance", ParamKind::Text, false, "DB instance identifier").or("cluster");
const CLUSTER: ParamSpec = ParamSpec::new("cluster", ParamKind::Text, false, "DB cluster identifier").or("instance");
const EXPECT: ParamSpec = ParamSpec::new(
    "expect",
    ParamKind::Predicate,
    false,
    "what must hold: status == 'available'",
);

const fn action(
    uses: &'static str,
    doc: &'static str,
    (effect, reversibility): (Effect, Reversibility),
    params: &'static [ParamSpec],
    results: &'static [&'static str],
) -> ActionSpec {
    ActionSpec {
        uses,
        doc,
        effect,
        reversibility,
        on: &["aws"],
        params,
        results,
        available: true,
    }
}

pub const ACTIONS: &[ActionSpec] = &[
    action(
        "rds.snapshot",
        "Takes a snapshot of a DB instance or cluster and waits until it is available.",
        (Effect::Mutate, Reversibility::Kept),
        &[INSTANCE, CLUSTER],
        &["snapshot", "created", "request_id"],
    ),
    action(
        "rds.describe",
        "Reads a DB instance or cluster.",
        (Effect::Read, Reversibility::Nothing),
        &[INSTANCE, CLUSTER, EXPECT],
        &[
            "status",
            "engine",
            "engine_version",
            "class",
            "multi_az",
            "backup_retention",
            "storage_gib",
            "replica_of",
            "writer",
            "endpoint",
            "pending",
        ],
    ),
    action(
        "rds.restore_test",
        "Restores a snapshot as a throw-away instance, asserts that it came up, deletes it.",
        (Effect::Mutate, Reversibility::Kept),
        &[
            ParamSpec::new("snapshot", ParamKind::Text, true, "the snapshot: its name"),
            ParamSpec::new(
                "class",
                ParamKind::Text,
                false,
                "class of the throw-away instance; as before",
            ),
            ParamSpec::new(
                "subnet_group",
                ParamKind::Text,
                false,
                "DB subnet group; the default one",
            ),
            ParamSpec::new(
                "security_groups",
                ParamKind::TextList,
                false,
                "VPC security groups; the default one",
            ),
            EXPECT,
            ParamSpec::new(
                "assertions",
                ParamKind::Assertions,
                false,
                "tcp.check asked of the restored instance: [{ uses: tcp.check, with: { within: 5m } }]",
            ),
        ],
        &[
            "restored",
            "status",
            "engine",
            "engine_version",
            "class",
            "multi_az",
            "backup_retention",
            "storage_gib",
            "endpoint",
            "request_id",
        ],
    ),
    action(
        "rds.modify",
        "Changes class, Multi-AZ or backup retention, at once, and waits until nothing is pending.",
        (Effect::Mutate, Reversibility::Inverse(&["rds.modify"])),
        &[
            INSTANCE,
            CLUSTER,
            ParamSpec::new("class", ParamKind::Text, false, "DB instance class: db.m6g.large"),
            ParamSpec::new("multi_az", ParamKind::Boolean, false, "a standby in another zone"),
            ParamSpec::new(
                "backup_retention",
                ParamKind::Integer { min: 0, max: 35 },
                false,
                "days that automated backups are kept",
            ),
            ParamSpec::new(
                "to",
                ParamKind::Any,
                false,
                "instead of the others: the output prior of the modification that is taken back",
            ),
        ],
        &["prior", "class", "multi_az", "backup_retention", "status", "request_id"],
    ),
    action(
        "rds.promote_replica",
        "Promotes a read replica; done once it is none any more.",
        (Effect::Mutate, Reversibility::Irreversible),
        &[
            ParamSpec::new("instance", ParamKind::Text, true, "the read replica's identifier"),
            ParamSpec::new(
                "even_if_stopped",
                ParamKind::Boolean,
                false,
                "true: also where RDS says that its replication does not run",
            ),
        ],
        &["was_replica_of", "replica_of", "status", "endpoint", "request_id"],
    ),
    action(
        "rds.failover",
        "Fails over to the standby or another member; done once the primary has moved.",
        (Effect::Mutate, Reversibility::Kept),
        &[
            INSTANCE,
            CLUSTER,
            ParamSpec::new(
                "to",
                ParamKind::Text,
                false,
                "the member of the cluster that takes over",
            ),
        ],
        &["before", "primary", "status", "request_id"],
    ),
];

/// Makes an RDS action.
pub fn build(request: &Request<'_>, connections: &Connections) -> Result<Box<dyn Action>, BuildError> {
    let target = request.aws(connections, 0)?;
    Ok(match request.uses {
        "rds.snapshot" => Box::new(Snapshot::new(request, target)?),
        "rds.describe" => Box::new(Describe::new(request, target)?),
        "rds.restore_test" => Box::new(RestoreTest::new(request, target, connections)?),
        "rds.modify" => Box::new(Modify::new(request, target)?),
        "rds.promote_replica" => Box::new(Promote::new(request, target)?),
        "rds.failover" => Box::new(Failover::new(request, target)?),
        other => return Err(BuildError::NoAction(other.to_owned())),
    })
}
