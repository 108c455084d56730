//! What two sides' rows of the same buckets tell. Pure.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::form::Form;
use super::outcome::{Change, Difference};
use super::row::{hash, parts, split};
use super::work::{Found, Seen};

/// What rows are made of, the same on both sides but for how a text is cut.
#[derive(Debug, Clone)]
pub struct Make {
    pub names: Vec<String>,
    pub forms: Vec<Form>,
    /// Positions of the key.
    pub key: Vec<usize>,
    /// Nothing promises that a row is there once.
    pub keyless: bool,
    pub show_values: bool,
}

impl Make {
    /// The rows that differ, in the order of their keys.
    pub fn differences(&self, source: Found, mut target: Found) -> Vec<Difference> {
        let mut found = Vec::new();
        for (key, (here, times)) in source.rows {
            match target.rows.remove(&key) {
                None => found.push((key, Change::Missing, here, None, times)),
                Some((there, again)) if here == there && times == again => {}
                Some((there, again)) if here == there => {
                    let kind = if again < times { Change::Missing } else { Change::Extra };
                    found.push((key, kind, here, Some(there), times.abs_diff(again)));
                }
                Some((there, _)) => found.push((key, Change::Changed, here, Some(there), 1)),
            }
        }
        for (key, (there, times)) in target.rows {
            found.push((key, Change::Extra, there, None, times));
        }
        let mut differences: Vec<Difference> = found
            .into_iter()
            .map(|(key, kind, one, other, times)| self.difference(&key, kind, &one, other.as_ref(), times))
            .collect();
        differences.sort_by(|one, other| order(&one.key, &other.key));
        differences
    }

    fn difference(&self, key: &[u8], kind: Change, one: &Seen, other: Option<&Seen>, times: u64) -> Difference {
        let forms: Vec<Form> = self.key.iter().filter_map(|at| self.forms.get(*at)).copied().collect();
        let values = split(key, &forms);
        let key = values
            .into_iter()
            .zip(&forms)
            .map(|(value, form)| match value {
                None => Value::Null,
                Some(text) if *form == Form::Whole => text.parse::<i64>().map_or(Value::String(text), Value::from),
                Some(text) => Value::String(text),
            })
            .collect();
        let columns = match (kind, other) {
            (Change::Changed, Some(other)) => self.unlike(one, other),
            _ => BTreeSet::new(),
        };
        let shown = if self.show_values {
            self.shown(kind, one, other, &columns)
        } else {
            Map::new()
        };
        Difference {
            key,
            kind,
            columns: columns.iter().filter_map(|at| self.names.get(*at).cloned()).collect(),
            times: (self.keyless || times > 1).then_some(times),
            values: shown,
        }
    }

    fn unlike(&self, one: &Seen, other: &Seen) -> BTreeSet<usize> {
        let hashes = |seen: &Seen| -> Vec<u64> {
            match seen {
                Seen::Hashes(each) => each.to_vec(),
                Seen::Text(text) => parts(text, &self.forms).into_iter().map(hash).collect(),
            }
        };
        let (one, other) = (hashes(one), hashes(other));
        (0..one.len().max(other.len()))
            .filter(|at| one.get(*at) != other.get(*at))
            .collect()
    }

    fn shown(&self, kind: Change, one: &Seen, other: Option<&Seen>, columns: &BTreeSet<usize>) -> Map<String, Value> {
        let fields = |seen: Option<&Seen>| match seen {
            Some(Seen::Text(text)) => Some(split(text, &self.forms)),
            Some(Seen::Hashes(_)) | None => None,
        };
        let (source, target) = match kind {
            Change::Changed => (fields(Some(one)), fields(other)),
            Change::Missing => (fields(Some(one)), None),
            Change::Extra => (None, fields(Some(one))),
        };
        let at = |side: &Option<Vec<Option<String>>>, index: usize| {
            side.as_ref().and_then(|fields| fields.get(index).cloned()).flatten()
        };
        self.names
            .iter()
            .enumerate()
            .filter(|(index, _)| kind != Change::Changed || columns.contains(index))
            .map(|(index, name)| {
                let entry = json!({ "source": at(&source, index), "target": at(&target, index) });
                (name.clone(), entry)
            })
            .collect()
    }
}

/// The order of two keys: numbers by their value, all else by their text.
pub fn order(one: &[Value], other: &[Value]) -> std::cmp::Ordering {
    let each = one
        .iter()
        .zip(other)
        .map(|(one, other)| match (one.as_i64(), other.as_i64()) {
            (Some(one), Some(other)) => one.cmp(&other),
            _ => one.to_string().cmp(&other.to_string()),
        });
    each.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
}
