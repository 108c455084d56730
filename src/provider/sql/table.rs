//! The table of SQL actions.

use crate::provider::Action;
use crate::provider::connection::{BuildError, Connections};
use crate::provider::registry::Request;
use crate::runbook::catalogue::{ActionSpec, Effect, ParamKind, ParamSpec, Reversibility};

use super::backup;
use super::change::Change;
use super::compare::action::Compare;
use super::database::Database;
use super::freeze;
use super::objects::compare::Objects;
use super::query::Read;
use super::server::Engine;

const SQL: ParamSpec = ParamSpec::new("sql", ParamKind::Sql, true, "one statement; values go into params as ?");
const PARAMS: ParamSpec = ParamSpec::new("params", ParamKind::Params, false, "values for the ? of the statement");
const EXPECT: ParamSpec = ParamSpec::new(
    "expect",
    ParamKind::Predicate,
    true,
    "what must hold: rows == 0, value > 10, first.state == 'open'",
);
const ROWS: &[&str] = &["rows", "value", "first", "columns"];

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
        // The second is an ordinary user's, whose write has to be refused for the proof.
        on: &["sql", "sql"],
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
            ParamSpec::new(
                "hard",
                ParamKind::Boolean,
                false,
                "mysql: super_read_only where there is one (true by default); postgres: nobody else may connect (false); \
                 sqlserver: always",
            ),
            ParamSpec::new(
                "except",
                ParamKind::TextList,
                false,
                "users whose sessions stay, a replication's for one",
            ),
        ],
        results: &["prior_state", "tables", "sessions_ended", "sessions_left", "detector"],
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
    ActionSpec {
        uses: "sql.backup",
        doc: "Has SQL Server or SQLite back the database up into a file of the step's own, which an unwinding keeps.",
        effect: Effect::Mutate,
        reversibility: Reversibility::Kept,
        on: &["sql"],
        params: &[
            ParamSpec::new(
                "to",
                ParamKind::Text,
                true,
                "sqlserver: a folder as the server sees it, or the beginning of a URL; sqlite: a folder here",
            ),
            ParamSpec::new(
                "verify",
                ParamKind::Boolean,
                false,
                "read it again and hold it against its checksums; true",
            ),
            ParamSpec::new(
                "compression",
                ParamKind::Boolean,
                false,
                "sqlserver: compress it, or not; as the server is set where nothing is said",
            ),
        ],
        results: &[
            "file",
            "bytes",
            "sha256",
            "compressed_bytes",
            "set",
            "first_lsn",
            "last_lsn",
            "checkpoint_lsn",
            "started_at",
            "finished_at",
            "copy_only",
            "checksums",
            "damaged",
        ],
        available: true,
    },
    ActionSpec {
        uses: "sql.compare",
        doc: "Proves that tables of two databases hold the same rows, or names the rows that differ.",
        effect: Effect::Read,
        reversibility: Reversibility::Nothing,
        on: &["sql", "sql"],
        params: &[
            ParamSpec::new(
                "tables",
                ParamKind::TextList,
                true,
                "tables: a name, A=B where the target's is called otherwise, or a pattern with *",
            ),
            ParamSpec::new(
                "exclude",
                ParamKind::TextList,
                false,
                "names that a pattern does not mean",
            ),
            ParamSpec::new(
                "level",
                ParamKind::OneOf(&["count", "checksum", "rows"]),
                false,
                "how deep: numbers of rows, checksums of ranges, or rows by name, which is what nothing means",
            ),
            ParamSpec::new(
                "key",
                ParamKind::TextLists,
                false,
                "of a table: the columns that tell its rows apart, instead of its primary key",
            ),
            ParamSpec::new(
                "columns",
                ParamKind::TextLists,
                false,
                "of a table: the only columns that are compared",
            ),
            ParamSpec::new(
                "ignore",
                ParamKind::TextLists,
                false,
                "of a table: columns that are not compared",
            ),
            ParamSpec::new(
                "where",
                ParamKind::TextMap,
                false,
                "of a table: SQL that holds, on both sides, of the rows that are compared",
            ),
            ParamSpec::new(
                "show_values",
                ParamKind::Boolean,
                false,
                "show the values that differ, which may be personal data, not only their columns",
            ),
            ParamSpec::new(
                "sessions",
                ParamKind::Integer { min: 1, max: 64 },
                false,
                "sessions that each server has at a time; 4",
            ),
            ParamSpec::new(
                "hashing",
                ParamKind::OneOf(&["faster", "servers", "here"]),
                false,
                "who hashes rows: the servers, which lets little travel, or this program, for which they only read; \
                 nothing: whoever is faster with the first rows",
            ),
            ParamSpec::new(
                "while",
                ParamKind::Checks,
                false,
                "reads without which nothing is asked for, every few seconds: sql.assert of a replica's lag",
            ),
            ParamSpec::new(
                "pause_at_most",
                ParamKind::Duration,
                false,
                "how long the reads of while may not hold, in all, before the comparison is unproven; 30m",
            ),
        ],
        results: &["verdict", "rows", "tables", "checksums"],
        available: true,
    },
    ActionSpec {
        uses: "sql.compare_objects",
        doc: "Compares what rows do not show: counters, indexes, keys, triggers, views, routines, events, users, grants.",
        effect: Effect::Read,
        reversibility: Reversibility::Nothing,
        on: &["sql", "sql"],
        params: &[
            ParamSpec::new(
                "expect",
                ParamKind::Predicate,
                false,
                "what must hold: differences == 0; without it, no difference and nothing unseen",
            ),
            ParamSpec::new(
                "ignore",
                ParamKind::TextList,
                false,
                "objects that do not count, as kind and name: \"role *\", \"index public.tmp_*\"",
            ),
        ],
        results: &[
            "differences",
            "missing",
            "extra",
            "different",
            "behind",
            "unseen",
            "not_compared",
            "objects",
        ],
        available: true,
    },
];

/// Makes a SQL action.
pub fn build(request: &Request<'_>, connections: &Connections) -> Result<Box<dyn Action>, BuildError> {
    if matches!(request.uses, "sql.query" | "sql.assert" | "sql.wait") {
        return Ok(Box::new(Read::new(request, request.database(connections, 0)?)?));
    }
    if request.uses == "sql.compare" {
        return Ok(Box::new(Compare::new(request, connections)?));
    }
    if matches!(request.uses, "sql.exec" | "sql.fence") {
        return Ok(Box::new(Change::new(request, request.database(connections, 0)?)?));
    }
    if request.uses == "sql.compare_objects" {
        let (source, target) = (request.database(connections, 0)?, request.database(connections, 1)?);
        return Ok(Box::new(Objects::new(request, source, target)?));
    }
    if request.uses == "sql.backup" {
        return backup::parameters::backup(request, request.database(connections, 0)?);
    }
    // Whose write has to be refused for the proof.
    let trial = match request.on.len() {
        0 | 1 => None,
        _ => Some(request.database(connections, 1)?),
    };
    freezing(request, request.database(connections, 0)?, trial)
}

fn freezing(request: &Request<'_>, target: Database, trial: Option<Database>) -> Result<Box<dyn Action>, BuildError> {
    let freezes = request.uses == "sql.freeze_writes";
    if !freezes && request.uses != "sql.thaw_writes" {
        return Err(BuildError::NoAction(request.uses.to_owned()));
    }
    Ok(match target {
        Database::Sqlite(target) if freezes => Box::new(freeze::sqlite::Freeze::new(request, target)?),
        Database::Sqlite(target) => Box::new(freeze::sqlite::Thaw::new(request, target)?),
        Database::Server(target) => {
            let trial = match trial {
                None => None,
                Some(Database::Server(trial)) if trial.engine == target.engine => Some(trial),
                Some(Database::Server(_) | Database::Sqlite(_)) => {
                    let words = "the second connection has to lead to the same database, as an ordinary user";
                    return Err(BuildError::Parameter(words.to_owned()));
                }
            };
            match target.engine {
                Engine::Postgres if freezes => Box::new(freeze::postgres::Freeze::new(request, target, trial)?),
                Engine::Postgres => Box::new(freeze::postgres::Thaw::new(request, target)?),
                Engine::Mysql if freezes => Box::new(freeze::mysql::Freeze::new(request, target, trial)?),
                Engine::Mysql => Box::new(freeze::mysql_thaw::Thaw::new(request, target)?),
                Engine::Sqlserver if freezes => Box::new(freeze::sqlserver::Freeze::new(request, target, trial)?),
                Engine::Sqlserver => Box::new(freeze::sqlserver::Thaw::new(request, target)?),
            }
        }
    })
}
