//! What a change means a record to be, given what it was. Pure; must not ask and must not send.

use serde::Deserialize;

use crate::provider::action::{ActionError, ActionErrorKind};

use super::records::{Alias, RecordSet, in_order};

/// `to:` as a runbook writes it, or as an earlier step left it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum To {
    Values(Vec<String>),
    Sets(Vec<RecordSet>),
}

/// Where a flip points the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// Sorted.
    Values(Vec<String>),
    Alias(Alias),
}

/// What is done to a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    LowerTtl(i64),
    Flip {
        to: Goal,
        ttl: Option<i64>,
    },
    Restore(Vec<RecordSet>),
    /// The TTLs of these record sets, on whatever the record points at by now.
    RestoreTtl(Vec<RecordSet>),
}

fn permanent(words: String) -> ActionError {
    ActionError::new(ActionErrorKind::Permanent, words)
}

fn alias_has_no_ttl(set: &RecordSet) -> ActionError {
    permanent(format!(
        "{} is an alias and has no TTL of its own, caches take its target's; leave this step out",
        set.name
    ))
}

impl What {
    /// What is meant to be, given what was.
    pub fn meant(&self, record: &str, kind: &str, prior: &[RecordSet]) -> Result<Vec<RecordSet>, ActionError> {
        let none = || permanent(format!("{record} {kind} does not exist; check the record's name"));
        match self {
            Self::LowerTtl(ttl) => {
                if prior.is_empty() {
                    return Err(none());
                }
                let lowered = prior.iter().map(|set| match set.ttl {
                    // A TTL that is lower already is not raised.
                    Some(before) => Ok(RecordSet {
                        ttl: Some(before.min(*ttl)),
                        ..set.clone()
                    }),
                    None => Err(alias_has_no_ttl(set)),
                });
                lowered.collect()
            }
            Self::Flip { to, ttl } => match prior {
                [set] if set.weight.is_none() => Ok(vec![flipped(set, to, *ttl)?]),
                [] => Err(none()),
                _ => Err(permanent(format!("{record} is weighted; use dns.shift"))),
            },
            Self::Restore(sets) => Ok(in_order(sets.clone())),
            Self::RestoreTtl(sets) => Ok(prior
                .iter()
                .map(|set| RecordSet {
                    ttl: ttl_before(set, sets),
                    ..set.clone()
                })
                .collect()),
        }
    }

    /// For people: what it does, and the change that is sent.
    pub fn words(&self, record: &str, kind: &str) -> (String, String) {
        match self {
            Self::LowerTtl(ttl) => (
                format!("lowers the TTL of {record} {kind} to {ttl} s"),
                format!("DELETE as it is, CREATE {record} {kind} TTL {ttl}, same values"),
            ),
            Self::Flip { to, ttl } => {
                let to = match to {
                    Goal::Values(values) => values.join(", "),
                    Goal::Alias(alias) => format!("alias {}", alias.words()),
                };
                let ttl = ttl.map(|ttl| format!(" TTL {ttl}")).unwrap_or_default();
                (
                    format!("points {record} {kind} at {to}"),
                    format!("DELETE as it is, CREATE {record} {kind}{ttl} → {to}"),
                )
            }
            Self::Restore(sets) if sets.is_empty() => (
                format!("takes {record} {kind} away again: it was not there"),
                format!("DELETE {record} {kind} as it is"),
            ),
            Self::Restore(sets) => {
                let sets: Vec<String> = sets.iter().map(RecordSet::words).collect();
                (
                    format!("puts {record} {kind} back as it was"),
                    format!("DELETE as it is, CREATE {}", sets.join("; ")),
                )
            }
            Self::RestoreTtl(sets) => {
                let ttls: Vec<String> = sets
                    .iter()
                    .filter_map(|set| set.ttl)
                    .map(|ttl| ttl.to_string())
                    .collect();
                (
                    format!("puts the TTL of {record} {kind} back"),
                    format!(
                        "DELETE as it is, CREATE {record} {kind} TTL {}, same values",
                        ttls.join(", ")
                    ),
                )
            }
        }
    }
}

/// The TTL that a record set gets back. An alias by now has none.
pub fn ttl_before(set: &RecordSet, sets: &[RecordSet]) -> Option<i64> {
    let now = set.ttl?;
    let same = sets.iter().find(|old| old.set_identifier == set.set_identifier);
    let highest = sets.iter().filter_map(|set| set.ttl).max();
    same.and_then(|old| old.ttl).or(highest).or(Some(now))
}

fn flipped(set: &RecordSet, to: &Goal, ttl: Option<i64>) -> Result<RecordSet, ActionError> {
    match to {
        Goal::Values(values) => {
            let Some(ttl) = ttl.or(set.ttl) else {
                let words = format!("{} is an alias and has no TTL that could stay; add ttl:", set.name);
                return Err(permanent(words));
            };
            Ok(RecordSet {
                ttl: Some(ttl),
                values: values.clone(),
                alias: None,
                ..set.clone()
            })
        }
        Goal::Alias(alias) => Ok(RecordSet {
            ttl: None,
            values: Vec::new(),
            alias: Some(alias.clone()),
            ..set.clone()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn simple() -> RecordSet {
        RecordSet {
            name: "a.test.".to_owned(),
            kind: "A".to_owned(),
            set_identifier: None,
            weight: None,
            ttl: Some(60),
            values: vec!["192.0.2.1".to_owned()],
            alias: None,
        }
    }

    fn alias() -> Alias {
        Alias {
            name: "lb.test.".to_owned(),
            zone: "Z2".to_owned(),
            evaluate_target_health: true,
        }
    }

    #[test]
    fn an_alias_comes_and_goes_with_its_ttl() -> Result<(), ActionError> {
        let to_alias = What::Flip {
            to: Goal::Alias(alias()),
            ttl: None,
        };
        let [pointing] = <[RecordSet; 1]>::try_from(to_alias.meant("a.test.", "A", &[simple()])?)
            .map_err(|_more| permanent("one set".to_owned()))?;
        assert_eq!(
            (pointing.ttl, &pointing.alias, pointing.values.len()),
            (None, &Some(alias()), 0)
        );
        let values = Goal::Values(vec!["192.0.2.2".to_owned()]);
        let back = |ttl| What::Flip {
            to: values.clone(),
            ttl,
        };
        let refused = back(None).meant("a.test.", "A", std::slice::from_ref(&pointing));
        assert!(refused.is_err_and(|error| error.message.contains("add ttl:")));
        let plain = back(Some(30)).meant("a.test.", "A", std::slice::from_ref(&pointing))?;
        assert_eq!(
            plain.first().map(|set| (set.ttl, set.alias.is_none())),
            Some((Some(30), true))
        );
        let lower = What::LowerTtl(10).meant("a.test.", "A", std::slice::from_ref(&pointing));
        assert!(lower.is_err_and(|error| error.message.contains("has no TTL of its own")));
        // Nothing to put back on what has none by now.
        let close = What::RestoreTtl(vec![simple()]);
        assert_eq!(
            close.meant("a.test.", "A", std::slice::from_ref(&pointing))?,
            [pointing]
        );
        Ok(())
    }
}
