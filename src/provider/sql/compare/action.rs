//! `sql.compare` as a step: what it asks, how far it is, what is kept of it, and its result as evidence.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::provider::action::{
    Action, ActionError, ActionErrorKind, Cx, Observed, Outcome as Done, Preview, Progress, Ready, Reporter,
};
use crate::provider::connection::{BuildError, Connections};
use crate::provider::probe::{Probe, Silent, Written, probes};
use crate::provider::registry::Request;
use crate::provider::span::Within;
use crate::provider::sql::database::Database;

use super::all::{Choice, Manner, compare};
use super::brake::{AT_MOST, Brake, Conditions};
use super::ledger::{Entry, Ledger};
use super::meter::Meter;
use super::outcome::{Level, Outcome, Verdict};
use super::wish::Wish;
use super::work::Hashing;

/// How often it is told how far it is.
const BEAT: Duration = Duration::from_millis(500);
/// Sessions of each server where nothing is said.
const SESSIONS: u8 = 4;
/// A part that is kept is not longer, in bytes.
const LONGEST: usize = 16 * 1024;
/// Rows that a failure names.
const NAMED: usize = 5;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    tables: Vec<String>,
    #[serde(default)]
    exclude: Vec<String>,
    level: Option<String>,
    #[serde(default)]
    key: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    columns: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    ignore: BTreeMap<String, Vec<String>>,
    #[serde(default, rename = "where")]
    filter: BTreeMap<String, String>,
    #[serde(default)]
    show_values: bool,
    sessions: Option<u8>,
    hashing: Option<String>,
    #[serde(default, rename = "while")]
    conditions: Vec<Written>,
    pause_at_most: Option<Within>,
}

/// `sql.compare`.
pub struct Compare {
    on: (String, String),
    source: Database,
    target: Database,
    choice: Choice,
    level: Level,
    show_values: bool,
    sessions: u8,
    hashing: Hashing,
    /// Without which nothing is asked.
    conditions: Arc<Vec<Probe>>,
    at_most: Duration,
}

impl Compare {
    /// From its parameters.
    pub fn new(request: &Request<'_>, connections: &Connections) -> Result<Self, BuildError> {
        let with: Parameters = request.parameters()?;
        let named = |position: usize| request.on.get(position).cloned().unwrap_or_default();
        let (patterns, names): (Vec<String>, Vec<String>) =
            with.tables.iter().cloned().partition(|name| name.contains('*'));
        let mut wishes: Vec<Wish> = names.iter().map(|name| Wish::parse(name)).collect();
        // A table that only a setting names is meant by a pattern, or by mistake: it is compared, or said to be missing.
        let settings = with
            .key
            .keys()
            .chain(with.columns.keys())
            .chain(with.ignore.keys())
            .chain(with.filter.keys());
        for name in settings {
            if !wishes.iter().any(|wish| wish.source.to_string() == *name) {
                wishes.push(Wish::parse(name));
            }
        }
        for wish in &mut wishes {
            let name = wish.source.to_string();
            wish.key = with.key.get(&name).cloned();
            wish.columns = with.columns.get(&name).cloned();
            wish.ignore = with.ignore.get(&name).cloned().unwrap_or_default();
            wish.filter = with.filter.get(&name).cloned();
        }
        Ok(Self {
            on: (named(0), named(1)),
            source: request.database(connections, 0)?.patient(),
            target: request.database(connections, 1)?.patient(),
            choice: Choice {
                wishes,
                patterns,
                exclude: with.exclude,
            },
            level: with.level.as_deref().and_then(Level::named).unwrap_or(Level::Rows),
            show_values: with.show_values,
            sessions: with.sessions.unwrap_or(SESSIONS),
            hashing: with.hashing.as_deref().and_then(Hashing::named).unwrap_or_default(),
            conditions: Arc::new(probes(&with.conditions, connections)?),
            at_most: with.pause_at_most.map_or(AT_MOST, |within| within.0),
        })
    }

    fn tables(&self) -> String {
        let named = self.choice.wishes.iter().map(|wish| {
            if wish.source == wish.target {
                wish.source.to_string()
            } else {
                format!("{} = {}", wish.source, wish.target)
            }
        });
        let meant = self.choice.patterns.iter().cloned();
        let mut words = named.chain(meant).collect::<Vec<_>>().join(", ");
        if !self.choice.exclude.is_empty() {
            words.push_str(&format!(", but not {}", self.choice.exclude.join(", ")));
        }
        words
    }
}

/// What the run's journal keeps of a comparison. Values never go there: they may be personal data.
struct Journaled {
    known: Vec<Entry>,
    reporter: Arc<dyn Reporter>,
}

impl Ledger for Journaled {
    fn known(&self) -> Vec<Entry> {
        self.known.clone()
    }

    fn keep<'a>(&'a self, entry: &'a Entry) -> BoxFuture<'a, Result<(), ActionError>> {
        Box::pin(async move {
            let shows = entry.differences.iter().any(|found| !found.values.is_empty());
            match serde_json::to_value(entry) {
                Ok(part) if !shows && part.to_string().len() <= LONGEST => self.reporter.keep(part).await,
                // It is compared again after a crash.
                Ok(_) | Err(_) => Ok(()),
            }
        })
    }
}

#[async_trait]
impl Action for Compare {
    fn preview(&self) -> Preview {
        let mut notes = vec![
            "both sides sum hashes of the same ranges of keys at once; only where they differ are rows read".to_owned(),
            "\"equal\" takes every range of every table, and that nobody writes meanwhile: freeze writes first"
                .to_owned(),
            format!(
                "up to {} sessions on each server, all of them closed to writes",
                self.sessions
            ),
        ];
        if self.show_values {
            notes.push("values that differ are shown and become evidence: they may be personal data".to_owned());
        }
        let conditions: Vec<String> = self
            .conditions
            .iter()
            .flat_map(|read| {
                let preview = read.action.preview();
                preview.commands.into_iter().chain(preview.notes)
            })
            .collect();
        if !conditions.is_empty() {
            notes.push(format!(
                "asks for nothing while this does not hold, {} s in all, and is unproven after that: {}",
                self.at_most.as_secs(),
                conditions.join("; ")
            ));
        }
        for wish in &self.choice.wishes {
            if let Some(filter) = &wish.filter {
                notes.push(format!("of {} only rows where {filter}", wish.source));
            }
        }
        Preview {
            summary: format!(
                "compares {} of {} with {}, level {}",
                self.tables(),
                self.on.0,
                self.on.1,
                self.level.word()
            ),
            commands: vec![format!("{} ↔ {}: {}", self.source, self.target, self.tables())],
            notes,
        }
    }

    async fn check(&self, cx: &Cx) -> Result<Ready, ActionError> {
        let named = |name: &str, error: ActionError| ActionError {
            message: format!("{name}: {}", error.message),
            ..error
        };
        let source = self
            .source
            .understands("select 1", &[])
            .await
            .map_err(|error| named(&self.on.0, error))?;
        let target = self
            .target
            .understands("select 1", &[])
            .await
            .map_err(|error| named(&self.on.1, error))?;
        for read in self.conditions.iter() {
            read.action
                .check(cx)
                .await
                .map_err(|error| named(&format!("while: {}", read.uses), error))?;
        }
        Ok(Ready {
            identity: json!({ "source": source.identity, "target": target.identity }),
            facts: source.facts.into_iter().chain(target.facts).collect(),
        })
    }

    async fn execute(&self, cx: &Cx) -> Result<Done, ActionError> {
        let known = cx.reporter.kept().await?;
        let meter = Arc::new(Meter::default());
        let brake = Arc::new(Brake::new(Conditions {
            reads: Arc::clone(&self.conditions),
            at_most: self.at_most,
            cx: Cx {
                mutates: false,
                reporter: Arc::new(Silent),
                ..cx.clone()
            },
        }));
        let manner = Manner {
            level: self.level,
            show_values: self.show_values,
            workers: usize::from(self.sessions),
            hashing: self.hashing,
            cancel: cx.cancel.clone(),
            meter: Arc::clone(&meter),
            brake: Arc::clone(&brake),
            ledger: Box::new(Journaled {
                known: known
                    .into_iter()
                    .filter_map(|part| serde_json::from_value(part).ok())
                    .collect(),
                reporter: Arc::clone(&cx.reporter),
            }),
        };
        let begun = Instant::now();
        let comparing = compare(self.source.clone(), self.target.clone(), &self.choice, manner);
        tokio::pin!(comparing);
        let mut beat = tokio::time::interval(BEAT);
        let outcome = loop {
            tokio::select! {
                done = &mut comparing => break done?,
                _ = beat.tick() => cx.reporter.progress(Progress::Board {
                    done: meter.share(),
                    rows: meter.board(),
                    text: brake.told(&meter.line(begun.elapsed().saturating_sub(brake.idle()))),
                }),
            }
        };
        told(&outcome)
    }

    async fn observe(&self, _cx: &Cx) -> Result<Observed, ActionError> {
        Ok(Observed::NotStarted {
            detail: "a read leaves nothing behind".to_owned(),
        })
    }
}

/// Equal is done; everything else is a failure that says what differs, or what could not be compared.
fn told(outcome: &Outcome) -> Result<Done, ActionError> {
    let body = serde_json::to_vec_pretty(&outcome.json()).unwrap_or_default();
    if outcome.verdict() == Verdict::Equal {
        let mut result = Map::new();
        result.insert("verdict".to_owned(), json!(outcome.verdict().word()));
        result.insert("rows".to_owned(), json!(outcome.rows()));
        result.insert("tables".to_owned(), json!(outcome.tables.len()));
        let checksums: Map<String, Value> = outcome
            .tables
            .iter()
            .filter_map(|table| Some((table.source.clone(), json!(format!("{:016x}", table.sums?.0.hash)))))
            .collect();
        result.insert("checksums".to_owned(), Value::Object(checksums));
        return Ok(Done {
            summary: outcome.line(),
            result,
            evidence: vec![("comparison".to_owned(), body)],
        });
    }
    let mut words = vec![outcome.line()];
    for table in &outcome.tables {
        let named = table.differences.iter().take(NAMED).map(|found| {
            let key: Vec<String> = found.key.iter().map(ToString::to_string).collect();
            format!("{} {} {}", table.name(), found.kind.word(), key.join(", "))
        });
        words.extend(
            table
                .schema
                .iter()
                .chain(&table.problems)
                .map(|words| format!("{}: {words}", table.name())),
        );
        words.extend(named);
        words.extend(table.cut.clone());
    }
    words.extend(outcome.problems.iter().cloned());
    let words = format!("{}; the evidence lists everything", words.join("; "));
    Err(ActionError::new(ActionErrorKind::Permanent, words).with_evidence("comparison", body))
}
