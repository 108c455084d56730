//! A gate's request as a stranger reads it from the records: who was asked, who answered, what became of it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::record::Record;

/// A request.
#[derive(Default)]
pub(super) struct Request {
    pub subject: String,
    pub step: Option<String>,
    pub min: u64,
    pub roles: BTreeSet<String>,
    pub automatic: bool,
    pub approvers: BTreeSet<String>,
    pub rejected: bool,
    pub granted: bool,
    pub ended: bool,
    pub spent: bool,
    pub action_digest: String,
    /// Milliseconds since the epoch.
    pub expires_ms: Option<i64>,
    /// The file of the plan that it would be amended with.
    pub plan: String,
    /// Where several quorums have to agree: roles and number of each, and the roles in which everybody approved.
    pub quorums: Vec<(BTreeSet<String>, u64)>,
    pub approved_as: BTreeSet<(String, String)>,
    /// Passed in an emergency, without its persons.
    pub broken: bool,
    /// Of a poll: role → who answered last, and what.
    pub answers: Option<BTreeMap<String, (String, String)>>,
}

impl Request {
    /// A request as its record asks it.
    pub fn of(record: &Record) -> Self {
        Self {
            subject: text(record, "subject").to_owned(),
            step: record.step.clone(),
            min: number(record, "min"),
            roles: texts(record, "roles"),
            answers: (record.data.get("poll") == Some(&Value::Bool(true))).then(BTreeMap::new),
            automatic: record.data.get("auto_reason").is_some_and(Value::is_string),
            action_digest: text(record, "action_digest").to_owned(),
            plan: text(record, "plan").to_owned(),
            quorums: quorums(record),
            expires_ms: record.data.get("expires_ms").and_then(Value::as_i64),
            ..Self::default()
        }
    }

    /// Whether it had expired at `t`.
    pub fn is_over(&self, t: DateTime<Utc>) -> bool {
        self.expires_ms.is_some_and(|expires| t.timestamp_millis() >= expires)
    }

    /// How many persons approve, or how many roles of a poll say go.
    pub fn approvals(&self) -> u64 {
        let count = match &self.answers {
            None => self.approvers.len(),
            Some(answers) => answers.values().filter(|(_, answer)| answer == "approve").count(),
        };
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    /// Whether enough persons approved in the roles of each quorum.
    pub fn each_quorum_is_met(&self) -> bool {
        self.quorums.iter().all(|(roles, min)| {
            let fitting = self.approved_as.iter().filter(|(_, role)| roles.contains(role));
            let persons: BTreeSet<&String> = fitting.map(|(person, _)| person).collect();
            u64::try_from(persons.len()).unwrap_or(u64::MAX) >= *min
        })
    }

    /// Takes the answer of a role to a poll; says what is wrong with it.
    pub fn answered(&mut self, record: &Record, person: &str) -> Option<String> {
        let role = text(record, "role");
        let answers = self.answers.as_mut()?;
        let before = answers.insert(
            role.to_owned(),
            (person.to_owned(), text(record, "decision").to_owned()),
        );
        let unasked = before.is_none() && !self.roles.contains(role);
        let twice = text(record, "assurance") != "persona"
            && answers
                .iter()
                .any(|(other, (whose, _))| other != role && whose == person);
        match (unasked, twice) {
            (true, _) => Some(format!("{person} answered for {role}, which was not asked")),
            (false, true) => Some(format!("{person} answered for two roles")),
            (false, false) => None,
        }
    }
}

pub(super) fn text<'a>(record: &'a Record, key: &str) -> &'a str {
    record.data.get(key).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn number(record: &Record, key: &str) -> u64 {
    record.data.get(key).and_then(Value::as_u64).unwrap_or(0)
}

pub(super) fn texts(record: &Record, key: &str) -> BTreeSet<String> {
    let list = record.data.get(key).and_then(Value::as_array);
    let items = list.into_iter().flatten().filter_map(Value::as_str);
    items.map(str::to_owned).collect()
}

fn quorums(record: &Record) -> Vec<(BTreeSet<String>, u64)> {
    let list = record.data.get("quorums").and_then(Value::as_array);
    let one = |quorum: &Value| {
        let roles = quorum.get("roles").and_then(Value::as_array);
        let roles = roles.into_iter().flatten().filter_map(Value::as_str);
        let min = quorum.get("min").and_then(Value::as_u64).unwrap_or(1);
        (roles.map(str::to_owned).collect(), min)
    };
    list.into_iter().flatten().map(one).collect()
}
