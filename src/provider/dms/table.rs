//! The table of DMS actions.

use crate::provider::Action;
use crate::provider::connection::{BuildError, Connections};
use crate::provider::registry::Request;
use crate::runbook::catalogue::{ActionSpec, Effect, ParamKind, ParamSpec, Reversibility};

use super::control::Control;
use super::lag::Lag;
use super::validation::Validation;
use super::wait::{Until, Wait};

const TASK: ParamSpec = ParamSpec::new("task", ParamKind::Text, true, "replication task ARN");
const FENCE: ParamSpec = ParamSpec::new(
    "fence",
    ParamKind::Text,
    true,
    "the token of the fence row: ${ steps.fence.outputs.token }",
);

const COVERED: ParamSpec = ParamSpec::new(
    "covered",
    ParamKind::TextList,
    false,
    "tables that something else compares: [erp.audit]; rows that DMS finds to differ are never covered",
);

const fn control(uses: &'static str, doc: &'static str, undo: &'static [&'static str]) -> ActionSpec {
    ActionSpec {
        uses,
        doc,
        effect: Effect::Mutate,
        reversibility: Reversibility::Inverse(undo),
        on: &["aws", "sql"],
        params: &[TASK],
        results: &["status", "started", "request_id"],
        available: true,
    }
}

pub const ACTIONS: &[ActionSpec] = &[
    control(
        "dms.start",
        "Starts a replication task; a task that ran before goes on where it stopped, never reloads.",
        &["dms.stop"],
    ),
    control(
        "dms.stop",
        "Stops a replication task; what was loaded stays.",
        &["dms.resume"],
    ),
    control("dms.resume", "Lets a stopped replication task go on.", &["dms.stop"]),
    ActionSpec {
        uses: "dms.wait_caught_up",
        doc: "Waits until the full load is complete, no table is in error, and the lag is short where a bound is given.",
        effect: Effect::Read,
        reversibility: Reversibility::Nothing,
        on: &["aws"],
        params: &[
            TASK,
            ParamSpec::new(
                "lag_below",
                ParamKind::Duration,
                false,
                "then wait until the task's lag in CloudWatch is less: 30s",
            ),
            ParamSpec::new(
                "hold",
                ParamKind::Duration,
                false,
                "how long on end the lag has to be below lag_below: 3m",
            ),
            ParamSpec::new(
                "max_age",
                ParamKind::Duration,
                false,
                "how long ago the minute of the newest sample of the lag may have ended; 3m",
            ),
        ],
        results: &["tables", "rows"],
        available: true,
    },
    ActionSpec {
        uses: "dms.wait_drained",
        doc: "After the freeze: waits until the fence row is on the target and every table is validated.",
        effect: Effect::Read,
        reversibility: Reversibility::Nothing,
        on: &["aws", "sql"],
        params: &[TASK, FENCE, COVERED],
        results: &["tables", "rows"],
        available: true,
    },
    ActionSpec {
        uses: "dms.lag",
        doc: "Proves that a replication is less behind than a bound, by the task's newest samples in CloudWatch.",
        effect: Effect::Read,
        reversibility: Reversibility::Nothing,
        on: &["aws"],
        params: &[
            TASK,
            ParamSpec::new(
                "below",
                ParamKind::Duration,
                true,
                "what the lag has to be less than: 30s",
            ),
            ParamSpec::new(
                "max_age",
                ParamKind::Duration,
                false,
                "how long ago the newest sample's minute may have ended; 3m",
            ),
            ParamSpec::new("within", ParamKind::Duration, false, "ask again until it holds: 10m"),
            ParamSpec::new("every", ParamKind::Duration, false, "how often to ask; 15s"),
        ],
        results: &["lag_s", "source_s", "target_s", "age_s"],
        available: true,
    },
    ActionSpec {
        uses: "dms.validation",
        doc: "Holds where DMS has validated every table and no row differs.",
        effect: Effect::Read,
        reversibility: Reversibility::Nothing,
        on: &["aws"],
        params: &[
            TASK,
            COVERED,
            ParamSpec::new("within", ParamKind::Duration, false, "ask again until it holds: 30m"),
            ParamSpec::new(
                "every",
                ParamKind::Duration,
                false,
                "how often to ask: 30s; without it ever more slowly, from 1s to 5s",
            ),
        ],
        results: &["tables", "validated", "covered", "failed", "suspended", "pending"],
        available: true,
    },
];

/// Makes a DMS action.
pub fn build(request: &Request<'_>, connections: &Connections) -> Result<Box<dyn Action>, BuildError> {
    let aws = request.aws(connections, 0)?;
    let sql = if request.on.len() > 1 {
        Some(request.database(connections, 1)?)
    } else {
        None
    };
    Ok(match request.uses {
        "dms.start" | "dms.stop" | "dms.resume" => Box::new(Control::new(request, aws, sql)?),
        "dms.validation" => Box::new(Validation::new(request, aws)?),
        "dms.wait_caught_up" => Box::new(Wait::new(request, aws, sql, Until::CaughtUp)?),
        "dms.wait_drained" => Box::new(Wait::new(request, aws, sql, Until::Drained)?),
        "dms.lag" => Box::new(Lag::new(request, aws)?),
        other => return Err(BuildError::NotAvailable(other.to_owned())),
    })
}
