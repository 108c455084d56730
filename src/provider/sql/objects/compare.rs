//! `sql.compare_objects`: both sides are asked for the same kinds of objects in read-only sessions. What could not be seen
//! is no equality.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;

use crate::provider::action::{Action, ActionError, ActionErrorKind, Cx, Observed, Outcome, Preview, Ready};
use crate::provider::connection::BuildError;
use crate::provider::expectation::Expectation;
use crate::provider::registry::Request;
use crate::provider::sql::database::Database;
use crate::provider::sql::server::Engine;
use crate::provider::sql::session::{Session, all};
use crate::provider::sql::{mysql, postgres, sqlite_session};

use super::inventory::{Inventory, Lookup, differences};

/// What engines have no common words for.
const ACROSS: &[&str] = &[
    "column types and defaults",
    "indexes that are no keys",
    "check constraints",
    "triggers",
    "texts of views",
    "routines",
    "events",
    "users and grants",
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    expect: Option<Expectation>,
    #[serde(default)]
    ignore: Vec<String>,
}

/// The comparison.
pub struct Objects {
    source: Database,
    target: Database,
    names: [String; 2],
    with: Parameters,
}

fn kind(database: &Database) -> &'static str {
    match database {
        Database::Sqlite(_) => "sqlite",
        Database::Server(target) => target.engine.word(),
    }
}

impl Objects {
    /// From its parameters.
    pub fn new(request: &Request<'_>, source: Database, target: Database) -> Result<Self, BuildError> {
        let name = |at: usize| request.on.get(at).cloned().unwrap_or_default();
        let with: Parameters = request.parameters()?;
        let kinds = [kind(&source), kind(&target)];
        let across = kinds[0] != kinds[1];
        if kinds.contains(&"sqlserver") || across && kinds.contains(&"sqlite") {
            let words = format!("sql.compare_objects between {} and {}", kinds[0], kinds[1]);
            return Err(BuildError::NotAvailable(words));
        }
        Ok(Self {
            source,
            target,
            names: [name(0), name(1)],
            with,
        })
    }

    fn across(&self) -> bool {
        kind(&self.source) != kind(&self.target)
    }
}

async fn open(
    database: &Database,
) -> Result<(Box<dyn Session>, [&'static [Lookup]; 2], Option<&'static str>), ActionError> {
    Ok(match database {
        Database::Sqlite(target) => {
            let session = sqlite_session::session(target).await?;
            (Box::new(session), [super::sqlite::NATIVE, &[]], None)
        }
        Database::Server(target) => match target.engine {
            Engine::Postgres => {
                let session = postgres::session::session(target).await?;
                let lookups = [super::postgres::NATIVE, super::postgres::NEUTRAL];
                (Box::new(session), lookups, Some(super::postgres::COUNTERS))
            }
            Engine::Mysql => {
                let mut session = mysql::session::session(target).await?;
                // Long lists would be cut; and MySQL would tell counters as of yesterday.
                all(&mut session, "set session group_concat_max_len = 1048576").await?;
                let _mariadb_has_none = all(&mut session, "set session information_schema_stats_expiry = 0").await;
                let lookups = [super::mysql::NATIVE, super::mysql::NEUTRAL];
                (Box::new(session), lookups, Some(super::mysql::COUNTERS))
            }
            Engine::Sqlserver => {
                let words = format!("{target}: its objects are not compared yet");
                return Err(ActionError::new(ActionErrorKind::Permanent, words));
            }
        },
    })
}

async fn inventory(database: &Database, across: bool, cx: &Cx) -> Result<Inventory, ActionError> {
    let (mut session, [native, neutral], counters) = open(database).await?;
    let mut found = Inventory::default();
    for lookup in if across { neutral } else { native } {
        if cx.cancel.is_cancelled() {
            return Err(ActionError::new(
                ActionErrorKind::Cancelled,
                "the comparison was cancelled",
            ));
        }
        match all(&mut *session, lookup.sql).await {
            Ok(rows) => found.objects.extend(rows.into_iter().map(|row| {
                let mut cells = row.into_iter().map(Option::unwrap_or_default);
                let mut next = || cells.next().unwrap_or_default();
                ((next(), next()), next())
            })),
            // What the user may not see is told; a session whose statement failed is not used again.
            Err(error) if error.kind == ActionErrorKind::Permanent => {
                found.unseen.push(format!("{} ({})", lookup.what, error.message));
                session = open(database).await?.0;
            }
            Err(error) => return Err(error),
        }
    }
    for row in match counters {
        Some(sql) => all(&mut *session, sql).await?,
        None => Vec::new(),
    } {
        let mut cells = row.into_iter().map(Option::unwrap_or_default);
        let (name, next, highest) = (cells.next(), cells.next(), cells.next());
        let (name, next, highest) = (
            name.unwrap_or_default(),
            next.unwrap_or_default(),
            highest.unwrap_or_default(),
        );
        let next = number(&mut *session, &next).await?;
        let highest = number(&mut *session, &highest).await?;
        if let (Some(next), Some(highest)) = (next, highest)
            && next <= highest
        {
            found
                .behind
                .push(format!("counter {name} gives {next}, and {highest} is there"));
        }
    }
    Ok(found)
}

async fn number(session: &mut dyn Session, sql: &str) -> Result<Option<i128>, ActionError> {
    let rows = all(session, sql).await?;
    let cell = rows.into_iter().next().and_then(|row| row.into_iter().next().flatten());
    Ok(cell.and_then(|text| text.parse().ok()))
}

#[async_trait]
impl Action for Objects {
    fn preview(&self) -> Preview {
        let [source, target] = &self.names;
        let mut notes = vec!["what may not be seen, or is only on one side, is no equality".to_owned()];
        if self.across() {
            notes.push(format!("not compared between these engines: {}", ACROSS.join(", ")));
        }
        if !self.with.ignore.is_empty() {
            notes.push(format!("left out: {}", self.with.ignore.join(", ")));
        }
        Preview {
            summary: format!("compares what rows do not show: {source} and {target} (read-only sessions)"),
            commands: vec![format!(
                "{source}, {target}: reads of the catalogue, and the maximum of every counted column"
            )],
            notes,
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        let mut identity = Vec::new();
        for database in [&self.source, &self.target] {
            open(database).await?;
            identity.push(match database {
                Database::Sqlite(target) => {
                    json!({ "engine": "sqlite", "database": target.path.display().to_string() })
                }
                Database::Server(target) => json!(target.to_string()),
            });
        }
        Ok(Ready {
            identity: json!(identity),
            facts: Vec::new(),
        })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let source = inventory(&self.source, self.across(), cx).await?;
        let target = inventory(&self.target, self.across(), cx).await?;
        let found = differences(&source, &target, &self.with.ignore);
        let result = found.result(if self.across() { ACROSS } else { &[] });
        let holds = match &self.with.expect {
            Some(expect) => expect.holds(&result)?,
            None => found.count() == 0 && found.unseen.is_empty(),
        };
        if !holds {
            let words = format!("{}: {}", self.names.join(", "), found.words());
            return Err(ActionError::new(ActionErrorKind::Permanent, words));
        }
        Ok(Outcome {
            summary: found.words(),
            result,
            evidence: Vec::new(),
        })
    }

    async fn observe(&self, _cx: &Cx) -> Result<Observed, ActionError> {
        Ok(Observed::NotStarted {
            detail: "a read leaves nothing behind".to_owned(),
        })
    }
}
