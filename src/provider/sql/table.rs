//! The table of SQL actions.

use crate::provider::Action;
use crate::provider::connection::{BuildError, Connections};
use crate::provider::registry::Request;
use crate::runbook::catalogue::{ActionSpec, Effect, ParamKind, ParamSpec, Reversibility};

use super::change::Change;
use super::freeze::{Freeze, Thaw};
use super::query::Read;

const SQL: ParamSpec = ParamSpec::new("sql", ParamKind::Sql, true, "one statement; values go into params as ?");
const PARAMS: ParamSpec = ParamSpec::new("params", ParamKind::Params, false, "values for the ? of the statement");
const EXPECT: ParamSpec = ParamSpec::new(
    "expect",
    ParamKind::Predicate,
    true,
    "what must hold: rows == 0, value > 10, first.state == 'open'",
);
const ROWS: &[&str] = &["rows", "value", "first", "columns"];

const fn later(uses: &'static str, doc: &'static str, effect: Effect, reversibility: Reversibility) -> ActionSpec {
    ActionSpec {
        uses,
        doc,
        effect,
        reversibility,
        on: &["sql", "sql"],
        params: &[],
        results: &[],
        available: false,
    }
}

pub const ACTIONS: &[ActionSpec] = &[
    ActionSpec {
        uses: "sql.query",
        doc: "Reads rows in a read-only session.",
        effect: Effect::Read,
        reversibility: Reversibility::Nothing,
        on: &["sql"],
        params: &[SQL, PARAMS],
        results: ROWS,
        available: true,
    },
    ActionSpec {
        uses: "sql.assert",
        doc: "Reads rows and holds them against a predicate.",
        effect: Effect::Read,
        reversibility: Reversibility::Nothing,
        on: &["sql"],
        params: &[SQL, PARAMS, EXPECT],
        results: ROWS,
        available: true,
    },
    ActionSpec {
        uses: "sql.wait",
        doc: "Reads again and again until a predicate holds.",
        effect: Effect::Read,
        reversibility: Reversibility::Nothing,
        on: &["sql"],
        params: &[
            SQL,
            PARAMS,
            EXPECT,
            ParamSpec::new("within", ParamKind::Duration, true, "how long to wait: 5m"),
            ParamSpec::new("every", ParamKind::Duration, false, "how often to read: 2s"),
        ],
        results: ROWS,
        available: true,
    },
    ActionSpec {
        uses: "sql.exec",
        doc: "Executes one statement with its marker row in one transaction.",
        effect: Effect::Mutate,
        reversibility: Reversibility::Declared,
        on: &["sql"],
        params: &[SQL, PARAMS],
        results: &["rows"],
        available: true,
    },
    ActionSpec {
        uses: "sql.fence",
        doc: "Writes the fence row: the last write before the cut, to be read on the other side.",
        effect: Effect::Mutate,
        reversibility: Reversibility::Kept,
        on: &["sql"],
        params: &[],
        results: &["token", "written_at"],
        available: true,
    },
    ActionSpec {
        uses: "sql.freeze_writes",
        doc: "Refuses every write but the tool's own until it is thawed.",
        effect: Effect::Mutate,
        reversibility: Reversibility::Inverse(&["sql.thaw_writes"]),
        on: &["sql"],
        params: &[
            ParamSpec::new(
                "sessions",
                ParamKind::OneOf(&["keep", "kill"]),
                false,
                "what happens to open sessions",
            ),
            ParamSpec::new(
                "proof",
                ParamKind::Boolean,
                false,
                "prove it by a refused write and an idle period",
            ),
        ],
        results: &["prior_state", "tables"],
        available: true,
    },
    ActionSpec {
        uses: "sql.thaw_writes",
        doc: "Lets writes in again, as far as they were before the freeze.",
        effect: Effect::Mutate,
        reversibility: Reversibility::Inverse(&["sql.freeze_writes"]),
        on: &["sql"],
        params: &[ParamSpec::new(
            "to",
            ParamKind::Any,
            true,
            "the freeze's output prior_state",
        )],
        results: &["thawed"],
        available: true,
    },
    later("sql.backup", "Takes a backup.", Effect::Mutate, Reversibility::Kept),
    later(
        "sql.compare",
        "Compares tables of two databases.",
        Effect::Read,
        Reversibility::Nothing,
    ),
    later(
        "sql.compare_objects",
        "Compares what rows do not show.",
        Effect::Read,
        Reversibility::Nothing,
    ),
];

/// Makes a SQL action.
pub fn build(request: &Request<'_>, connections: &Connections) -> Result<Box<dyn Action>, BuildError> {
    if matches!(request.uses, "sql.query" | "sql.assert" | "sql.wait") {
        return Ok(Box::new(Read::new(request, request.database(connections, 0)?)?));
    }
    if matches!(request.uses, "sql.exec" | "sql.fence") {
        return Ok(Box::new(Change::new(request, request.database(connections, 0)?)?));
    }
    let target = request.sql(connections, 0)?;
    Ok(match request.uses {
        "sql.freeze_writes" => Box::new(Freeze::new(request, target)?),
        "sql.thaw_writes" => Box::new(Thaw::new(request, target)?),
        other => return Err(BuildError::NoAction(other.to_owned())),
    })
}
