//! The table of RDS actions.

use crate::provider::Action;
use crate::provider::connection::{BuildError, Connections};
use crate::provider::registry::Request;
use crate::runbook::catalogue::{ActionSpec, Effect, ParamKind, ParamSpec, Reversibility};

use super::snapshot::{Describe, Snapshot};

const INSTANCE: ParamSpec = ParamSpec::new("instance", ParamKind::Text, true, "DB instance identifier");

const fn later(uses: &'static str, doc: &'static str, reversibility: Reversibility) -> ActionSpec {
    ActionSpec {
        uses,
        doc,
        effect: Effect::Mutate,
        reversibility,
        on: &["aws"],
        params: &[INSTANCE],
        results: &[],
        available: false,
    }
}

pub const ACTIONS: &[ActionSpec] = &[
    ActionSpec {
        uses: "rds.snapshot",
        doc: "Takes a snapshot of a DB instance and waits until it is available.",
        effect: Effect::Mutate,
        reversibility: Reversibility::Kept,
        on: &["aws"],
        params: &[INSTANCE],
        results: &["snapshot", "created"],
        available: true,
    },
    ActionSpec {
        uses: "rds.describe",
        doc: "Reads a DB instance.",
        effect: Effect::Read,
        reversibility: Reversibility::Nothing,
        on: &["aws"],
        params: &[
            INSTANCE,
            ParamSpec::new(
                "expect",
                ParamKind::Predicate,
                false,
                "what must hold: status == 'available'",
            ),
        ],
        results: &["status", "engine", "class", "multi_az", "storage_gib"],
        available: true,
    },
    later(
        "rds.restore_test",
        "Restores under a throw-away name, asserts, deletes it.",
        Reversibility::Kept,
    ),
    later(
        "rds.modify",
        "Changes class, Multi-AZ or retention.",
        Reversibility::Inverse(&["rds.modify"]),
    ),
    later(
        "rds.promote_replica",
        "Promotes a read replica.",
        Reversibility::Irreversible,
    ),
    later("rds.failover", "Fails over to the standby.", Reversibility::Kept),
];

/// Makes an RDS action.
pub fn build(request: &Request<'_>, connections: &Connections) -> Result<Box<dyn Action>, BuildError> {
    let target = request.aws(connections, 0)?;
    Ok(match request.uses {
        "rds.snapshot" => Box::new(Snapshot::new(request, target)?),
        "rds.describe" => Box::new(Describe::new(request, target)?),
        other => return Err(BuildError::NotAvailable(other.to_owned())),
    })
}
