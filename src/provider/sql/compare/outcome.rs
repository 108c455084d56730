//! What a comparison found, table by table, as people and programs read it. Pure; must not decide anything but what follows
//! from its parts.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::brake::Held;
use super::row::{EXPRESSION, Sum};

/// How deep tables are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Numbers of rows.
    Count,
    /// Checksums of ranges of rows.
    Checksum,
    /// Rows: those that differ are named.
    Rows,
}

impl Level {
    /// As it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Checksum => "checksum",
            Self::Rows => "rows",
        }
    }

    /// By its word.
    pub fn named(word: &str) -> Option<Self> {
        [Self::Count, Self::Checksum, Self::Rows]
            .into_iter()
            .find(|level| level.word() == word)
    }
}

/// What can be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Everything was compared, and nothing differs.
    Equal,
    /// Something differs.
    Different,
    /// Nothing was seen to differ, and not everything was compared.
    Unproven,
}

impl Verdict {
    /// As it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Different => "different",
            Self::Unproven => "unproven",
        }
    }
}

/// How a row differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It is on both sides, with other values.
    Changed,
    /// The target does not have it.
    Missing,
    /// Only the target has it.
    Extra,
}

impl Change {
    /// As it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::Extra => "extra",
        }
    }
}

/// A row that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The values of its key; of all of its columns where the table has no key.
    pub key: Vec<Value>,
    pub kind: Change,
    /// Which columns differ, of a changed row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// How often, where a table has no key and rows may come more than once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// Of each column that differs: what the source and what the target has. Only where values may be shown.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub values: Map<String, Value>,
}

impl Difference {
    /// What became of which row: `changed 17`.
    pub fn words(&self) -> String {
        let key: Vec<String> = self.key.iter().map(ToString::to_string).collect();
        format!("{} {}", self.kind.word(), key.join(", "))
    }
}

/// What was found of one table.
#[derive(Debug, Clone, PartialEq)]
pub struct TableOutcome {
    pub source: String,
    pub target: String,
    pub level: Level,
    /// By what rows are told apart.
    pub key: Vec<String>,
    pub columns: Vec<String>,
    pub sums: Option<(Sum, Sum)>,
    /// Ranges that were compared, and how many of them before.
    pub chunks: u64,
    pub reused: u64,
    /// Buckets whose sums differ.
    pub unlike: u64,
    pub took: Duration,
    pub differences: Vec<Difference>,
    /// Not every row that differs is listed, for this reason.
    pub cut: Option<String>,
    /// What differs in how the tables are made.
    pub schema: Vec<String>,
    /// What is compared in another way than byte by byte, and how.
    pub notes: Vec<String>,
    /// Why it was not compared as a whole.
    pub problems: Vec<String>,
    /// Who hashed, and by which statement, of each side.
    pub means: Vec<(&'static str, String, String)>,
}

impl TableOutcome {
    /// Of a table of which nothing is known yet.
    pub fn new(source: String, target: String, level: Level) -> Self {
        Self {
            source,
            target,
            level,
            key: Vec::new(),
            columns: Vec::new(),
            sums: None,
            chunks: 0,
            reused: 0,
            unlike: 0,
            took: Duration::ZERO,
            differences: Vec::new(),
            cut: None,
            schema: Vec::new(),
            notes: Vec::new(),
            problems: Vec::new(),
            means: Vec::new(),
        }
    }

    /// What can be said of it.
    pub fn verdict(&self) -> Verdict {
        let unlike = match (&self.sums, self.level) {
            (Some((source, target)), Level::Count) => source.rows != target.rows,
            (Some((source, target)), Level::Checksum | Level::Rows) => source != target,
            (None, _) => false,
        };
        if unlike || self.unlike > 0 || !self.differences.is_empty() || !self.schema.is_empty() {
            Verdict::Different
        } else if self.problems.is_empty() && self.sums.is_some() {
            Verdict::Equal
        } else {
            Verdict::Unproven
        }
    }

    /// Its names: one where both are the same.
    pub fn name(&self) -> String {
        if self.source == self.target {
            self.source.clone()
        } else {
            format!("{} = {}", self.source, self.target)
        }
    }

    /// How many rows are listed as what.
    pub fn listed(&self, kind: Change) -> usize {
        self.differences.iter().filter(|found| found.kind == kind).count()
    }

    /// A line for people.
    pub fn line(&self) -> String {
        let rows = match &self.sums {
            None => "nothing compared".to_owned(),
            Some((source, target)) if source.rows == target.rows => format!("{} rows", grouped(source.rows)),
            Some((source, target)) => format!("{} rows against {}", grouped(source.rows), grouped(target.rows)),
        };
        let mut words = vec![rows];
        for kind in [Change::Changed, Change::Missing, Change::Extra] {
            match self.listed(kind) {
                0 => {}
                some => words.push(format!("{} {}", grouped(some as u64), kind.word())),
            }
        }
        if self.reused > 0 {
            words.push(format!("{} of {} ranges compared before", self.reused, self.chunks));
        }
        words.push(format!("{:.1} s", self.took.as_secs_f64()));
        format!("{:<9} {}  {}", self.verdict().word(), self.name(), words.join(", "))
    }

    /// As programs read it.
    pub fn json(&self) -> Value {
        let side = |pick: fn(&(Sum, Sum)) -> Sum| {
            self.sums
                .as_ref()
                .map(pick)
                .map_or(Value::Null, |sum| match self.level {
                    Level::Count => json!({ "rows": sum.rows }),
                    Level::Checksum | Level::Rows => {
                        json!({ "rows": sum.rows, "checksum": format!("{:016x}", sum.hash) })
                    }
                })
        };
        let means: Map<String, Value> = self
            .means
            .iter()
            .map(|(role, words, sql)| ((*role).to_owned(), json!({ "hashed": words, "sql": sql })))
            .collect();
        json!({
            "table": self.source,
            "target_table": self.target,
            "verdict": self.verdict().word(),
            "level": self.level.word(),
            "key": self.key,
            "columns": self.columns,
            "source": side(|sums| sums.0),
            "target": side(|sums| sums.1),
            "chunks": self.chunks,
            "chunks_compared_before": self.reused,
            "unlike_buckets": self.unlike,
            "seconds": (self.took.as_secs_f64() * 1_000.0).round() / 1_000.0,
            "schema": self.schema,
            "differences": self.differences.len(),
            "differences_complete": self.cut.is_none(),
            "cut": self.cut,
            "notes": self.notes,
            "problems": self.problems,
            "expression_version": EXPRESSION,
            "means": means,
        })
    }
}

/// What was found of everything.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub source: String,
    pub target: String,
    pub level: Level,
    pub tables: Vec<TableOutcome>,
    /// What keeps the whole from being proven, besides what stands at its tables.
    pub problems: Vec<String>,
    pub notes: Vec<String>,
    /// How long it was held back, where it was.
    pub held: Option<Held>,
    pub took: Duration,
}

impl Outcome {
    /// What can be said of everything.
    pub fn verdict(&self) -> Verdict {
        let any = |verdict| self.tables.iter().any(|table| table.verdict() == verdict);
        if any(Verdict::Different) {
            Verdict::Different
        } else if any(Verdict::Unproven) || !self.problems.is_empty() || self.tables.is_empty() {
            Verdict::Unproven
        } else {
            Verdict::Equal
        }
    }

    /// Rows of the source that were compared.
    pub fn rows(&self) -> u64 {
        self.tables
            .iter()
            .filter_map(|table| table.sums)
            .map(|sums| sums.0.rows)
            .sum()
    }

    /// Rows that are listed as different.
    pub fn differences(&self) -> usize {
        self.tables.iter().map(|table| table.differences.len()).sum()
    }

    /// A line for people.
    pub fn line(&self) -> String {
        let tables = self.tables.len();
        let s = if tables == 1 { "" } else { "s" };
        let rows = grouped(self.rows());
        let took = self.took.as_secs_f64();
        let what = match self.verdict() {
            Verdict::Equal => format!("EQUAL: {tables} table{s}, {rows} rows on both sides"),
            Verdict::Different => {
                let many = self
                    .tables
                    .iter()
                    .filter(|table| table.verdict() == Verdict::Different)
                    .count();
                format!(
                    "DIFFERENT: {many} of {tables} table{s}, {} rows listed",
                    grouped(self.differences() as u64)
                )
            }
            Verdict::Unproven => {
                let many = self
                    .tables
                    .iter()
                    .filter(|table| table.verdict() == Verdict::Unproven)
                    .count();
                format!("UNPROVEN: {many} of {tables} table{s} could not be compared as a whole")
            }
        };
        format!("{what}, level {}, {took:.1} s", self.level.word())
    }

    /// As programs read it.
    pub fn json(&self) -> Value {
        let differences: Vec<Value> = self
            .tables
            .iter()
            .flat_map(|table| {
                table.differences.iter().map(|found| {
                    let key = match found.key.as_slice() {
                        [single] => single.clone(),
                        many => Value::Array(many.to_vec()),
                    };
                    let mut entry = json!({
                        "table": table.source,
                        "key": key,
                        "kind": found.kind.word(),
                        "columns": found.columns,
                    });
                    if let Some(entry) = entry.as_object_mut() {
                        if let Some(times) = found.times {
                            entry.insert("times".to_owned(), json!(times));
                        }
                        if !found.values.is_empty() {
                            entry.insert("values".to_owned(), Value::Object(found.values.clone()));
                        }
                    }
                    entry
                })
            })
            .collect();
        json!({
            "verdict": self.verdict().word(),
            "level": self.level.word(),
            "source": self.source,
            "target": self.target,
            "rows": self.rows(),
            "seconds": (self.took.as_secs_f64() * 1_000.0).round() / 1_000.0,
            "tables": self.tables.iter().map(TableOutcome::json).collect::<Vec<_>>(),
            "differences": differences,
            "held": self.held.as_ref().map(|held| json!({
                "seconds": (held.took.as_secs_f64() * 1_000.0).round() / 1_000.0,
                "times": held.times,
                "why": held.why,
                "over": held.over,
            })),
            "problems": self.problems,
            "notes": self.notes,
        })
    }
}

/// A number with commas between its thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
