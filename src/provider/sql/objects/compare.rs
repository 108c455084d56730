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

use super::gather::open;
use super::inventory::differences;
use super::{mysql, sqlserver};

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
        if across && kinds.contains(&"sqlite") {
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

    fn not_compared(&self) -> &'static [&'static str] {
        match kind(&self.source) {
            _ if self.across() => ACROSS,
            "sqlserver" => sqlserver::NOT_COMPARED,
            "mysql" => mysql::NOT_COMPARED,
            _ => &[],
        }
    }
}

#[async_trait]
impl Action for Objects {
    fn preview(&self) -> Preview {
        let [source, target] = &self.names;
        let mut notes = vec!["what may not be seen, or is only on one side, is no equality".to_owned()];
        if !self.not_compared().is_empty() {
            notes.push(format!(
                "not compared between these: {}",
                self.not_compared().join(", ")
            ));
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
        let (mut identity, mut facts) = (Vec::new(), Vec::new());
        for (database, name) in [&self.source, &self.target].into_iter().zip(&self.names) {
            let blind = open(database, self.across()).await?.blind().await?;
            facts.extend(
                blind
                    .into_iter()
                    .map(|what| format!("{name}: not all is seen of {what}")),
            );
            identity.push(match database {
                Database::Sqlite(target) => {
                    json!({ "engine": "sqlite", "database": target.path.display().to_string() })
                }
                Database::Server(target) => json!(target.to_string()),
            });
        }
        Ok(Ready {
            identity: json!(identity),
            facts,
        })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let source = open(&self.source, self.across()).await?.inventory(cx).await?;
        let target = open(&self.target, self.across()).await?.inventory(cx).await?;
        let found = differences(&source, &target, &self.with.ignore);
        let result = found.result(self.not_compared());
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
