//! What is to be compared, and how two tables become one question. Pure.

use super::cursor::Range;
use super::dialect::{Field, both};
use super::differences::Make;
use super::form::pair;
use super::kind::{Kind, Table, TableName};
use super::outcome::TableOutcome;

/// A pair of tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    pub source: TableName,
    pub target: TableName,
    /// Instead of the source's primary key.
    pub key: Option<Vec<String>>,
    /// Only these columns; all where none is named.
    pub columns: Option<Vec<String>>,
    /// None of these columns.
    pub ignore: Vec<String>,
    /// What holds of the rows that are compared, as SQL of both sides.
    pub filter: Option<String>,
}

impl Wish {
    /// Two tables, all of them.
    pub fn new(source: TableName, target: TableName) -> Self {
        Self {
            source,
            target,
            key: None,
            columns: None,
            ignore: Vec::new(),
            filter: None,
        }
    }

    /// From `A` or `A=B`.
    pub fn parse(text: &str) -> Self {
        let (source, target) = text.split_once('=').unwrap_or((text, text));
        Self::new(TableName::parse(source.trim()), TableName::parse(target.trim()))
    }
}

/// What two tables are asked.
#[derive(Debug, Clone)]
pub struct Question {
    pub source: Vec<Field>,
    pub target: Vec<Field>,
    pub make: Make,
    /// Its key is a whole number at its head: it is cut into ranges.
    pub ranged: bool,
    pub filter: Option<String>,
}

/// The key that both have: the source's, in its order. Two primary keys are the same, or none is.
fn shared_key(source: &Table, target: &Table) -> Option<Vec<String>> {
    let ordered = |one: &[String], other: &[String]| {
        one.len() == other.len()
            && one
                .iter()
                .zip(other)
                .all(|(one, other)| one.eq_ignore_ascii_case(other))
    };
    let sorted = |key: &[String]| {
        let mut names: Vec<String> = key.iter().map(|name| name.to_ascii_lowercase()).collect();
        names.sort();
        names
    };
    if source.primary && target.primary {
        let (one, other) = (source.keys.first()?, target.keys.first()?);
        return ordered(one, other).then(|| one.clone());
    }
    let also = |key: &&Vec<String>| target.keys.iter().any(|other| sorted(other) == sorted(key));
    source.keys.iter().find(also).cloned()
}

impl Question {
    /// Of two tables. What is to be said of them goes into `outcome`; nothing where they cannot be compared.
    pub fn new(
        wish: &Wish,
        source: &Table,
        target: &Table,
        show_values: bool,
        outcome: &mut TableOutcome,
    ) -> Option<Self> {
        let same = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
        let listed = |list: &[String], name: &str| list.iter().any(|known| same(known, name));
        let wanted = |name: &str| {
            wish.columns.as_deref().is_none_or(|columns| listed(columns, name)) && !listed(&wish.ignore, name)
        };
        for name in wish.columns.iter().flatten().chain(wish.key.iter().flatten()) {
            if source.column(name).is_none() {
                outcome.problems.push(format!("the source has no column {name}"));
            }
        }
        let mut question = Self {
            source: Vec::new(),
            target: Vec::new(),
            make: Make {
                names: Vec::new(),
                forms: Vec::new(),
                key: Vec::new(),
                keyless: false,
                show_values,
            },
            ranged: false,
            filter: wish.filter.clone(),
        };
        for column in source.columns.iter().filter(|column| wanted(&column.name)) {
            let Some(other) = target.column(&column.name) else {
                outcome.schema.push(format!("the target has no column {}", column.name));
                continue;
            };
            match pair(column, other) {
                Ok(pairing) => {
                    outcome.notes.extend(pairing.notes);
                    question.make.names.push(column.name.clone());
                    question.make.forms.push(pairing.source);
                    let field = |column: &super::kind::Column, form| Field {
                        column: column.clone(),
                        form,
                    };
                    question.source.push(field(column, pairing.source));
                    question.target.push(field(other, pairing.target));
                }
                Err(why) => outcome.schema.push(why),
            }
        }
        for column in target.columns.iter().filter(|column| wanted(&column.name)) {
            if source.column(&column.name).is_none() {
                outcome.schema.push(format!("the source has no column {}", column.name));
            }
        }
        let first = |table: &Table| table.keys.first().cloned().unwrap_or_default();
        let shared = shared_key(source, target);
        if wish.key.is_none() && shared.is_none() && !(source.keys.is_empty() && target.keys.is_empty()) {
            outcome.schema.push(format!(
                "the source's key is ({}), the target's ({})",
                first(source).join(", "),
                first(target).join(", ")
            ));
        }
        let key = wish.key.clone().or(shared).unwrap_or_else(|| first(source));
        for name in &key {
            match question.make.names.iter().position(|known| same(known, name)) {
                Some(at) => question.make.key.push(at),
                None => outcome
                    .problems
                    .push(format!("the key's column {name} is not compared")),
            }
        }
        if question.source.is_empty() {
            outcome.problems.push("no column of the two can be compared".to_owned());
        }
        if !outcome.problems.is_empty() {
            return None;
        }
        if question.make.key.is_empty() {
            question.make.keyless = true;
            question.make.key = (0..question.make.names.len()).collect();
            outcome.notes.push(
                "no key: rows are told apart by all of their columns, and a changed row is a missing and an extra one"
                    .to_owned(),
            );
        } else {
            let whole = |field: Option<&Field>| {
                field.is_some_and(|field| field.column.kind == Kind::Integer && !field.column.nullable)
            };
            let leading = question.make.key.first().copied().unwrap_or(0);
            question.ranged = whole(question.source.get(leading)) && whole(question.target.get(leading));
        }
        outcome.key = if question.make.keyless { Vec::new() } else { key };
        outcome.columns.clone_from(&question.make.names);
        Some(question)
    }

    /// A filter with what the wish says besides.
    pub fn filter(&self, also: &str) -> String {
        both(self.filter.as_deref(), also)
    }

    /// The ranges as one filter.
    pub fn ranges(&self, ranges: &[Range], column: &str) -> String {
        // Neighbours are one range: fewer of them are looked up faster.
        let mut joined: Vec<Range> = Vec::new();
        for range in ranges {
            match joined.last_mut() {
                Some(before) if before.high == range.low => {
                    before.high = range.high;
                    before.last = range.last;
                }
                _ => joined.push(*range),
            }
        }
        let each: Vec<String> = joined
            .iter()
            .map(|range| match range.filter(column).as_str() {
                "" => String::new(),
                filter => format!("({filter})"),
            })
            .collect();
        // A range without ends is everything.
        let whole = each.iter().any(String::is_empty);
        self.filter(&if whole { String::new() } else { each.join(" or ") })
    }
}
