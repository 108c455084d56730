//! Whether one gate asks for at least as much as another. Pure; what cannot be compared counts as weaker.

use std::collections::BTreeMap;

use super::facts::{Gate, OnExpiry, Quorum, Who};

/// Whether `new` asks for at least as much as `old`: nobody whom `new` lets through would have been stopped by `old`.
pub fn is_as_strict(new: &Gate, old: &Gate) -> bool {
    let lasts = match (new.expires_ms, old.expires_ms) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(new), Some(old)) => new <= old,
    };
    let typed = old.phrase.is_none() || new.phrase.is_some();
    asks_as_much(&new.who, &old.who) && lasts && typed && ends_as_hard(new, old)
}

/// Others who are asked when nobody answered must not be easier to find than those who were asked before.
fn ends_as_hard(new: &Gate, old: &Gate) -> bool {
    match (&new.on_expiry, &old.on_expiry) {
        (OnExpiry::Reject, _) | (OnExpiry::Hold, OnExpiry::Hold | OnExpiry::Escalate(_)) => true,
        (OnExpiry::Hold | OnExpiry::Escalate(_), OnExpiry::Reject) => false,
        (OnExpiry::Escalate(new), OnExpiry::Hold) => asks_as_much(new, &old.who),
        (OnExpiry::Escalate(new), OnExpiry::Escalate(old)) => asks_as_much(new, old),
    }
}

fn asks_as_much(new: &Who, old: &Who) -> bool {
    match (new, old) {
        (Who::Operator | Who::Quorum(_) | Who::Poll { .. }, Who::Open { .. })
        | (Who::Open { .. }, Who::Open { .. })
        | (Who::Operator | Who::Quorum(_), Who::Operator) => true,
        (Who::Open { .. }, Who::Operator | Who::Quorum(_) | Who::Poll { .. })
        | (Who::Operator, Who::Quorum(_) | Who::Poll { .. })
        | (Who::Quorum(_), Who::Poll { .. })
        | (Who::Poll { .. }, Who::Operator | Who::Quorum(_)) => false,
        (Who::Quorum(new), Who::Quorum(old)) => old.iter().all(|old| new.iter().any(|new| is_within(new, old))),
        (
            Who::Poll {
                roles,
                quorum,
                deputies,
                stops,
            },
            Who::Poll {
                roles: old_roles,
                quorum: old_quorum,
                deputies: old_deputies,
                stops: old_stops,
            },
        ) => {
            // Another role that could say go would make the same number easier to reach.
            let missing =
                |roles: &[String], quorum: u32| u32::try_from(roles.len()).unwrap_or(u32::MAX).saturating_sub(quorum);
            old_roles.iter().all(|role| roles.contains(role))
                && missing(roles, *quorum) <= missing(old_roles, *old_quorum)
                && quorum >= old_quorum
                && deputized(deputies, old_deputies)
                && (*stops || !*old_stops)
        }
    }
}

fn deputized(new: &BTreeMap<String, Vec<String>>, old: &BTreeMap<String, Vec<String>>) -> bool {
    new.iter().all(|(role, persons)| {
        let before = old.get(role).map(Vec::as_slice).unwrap_or_default();
        persons.iter().all(|person| before.contains(person))
    })
}

/// Whether whoever suffices for `new` suffices for `old`.
fn is_within(new: &Quorum, old: &Quorum) -> bool {
    new.roles.iter().all(|role| old.roles.contains(role))
        && new.min.max(1) >= old.min.max(1)
        && (old.org.is_none() || new.org == old.org)
        && (new.not_operator || !old.not_operator)
        && old.not.iter().all(|person| new.not.contains(person))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quorum(roles: &[&str], min: u32) -> Quorum {
        Quorum {
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            min,
            org: None,
            not_operator: false,
            not: Vec::new(),
        }
    }

    fn gate(who: Who) -> Gate {
        Gate {
            who,
            expires_ms: None,
            phrase: None,
            on_expiry: OnExpiry::Hold,
        }
    }

    #[test]
    fn fewer_roles_more_persons_and_more_exclusions_are_stricter() {
        let old = gate(Who::Quorum(vec![quorum(&["dba", "lead"], 1)]));
        assert!(is_as_strict(&old, &old));
        for stricter in [
            Who::Quorum(vec![quorum(&["dba"], 1)]),
            Who::Quorum(vec![quorum(&["dba", "lead"], 2)]),
            Who::Quorum(vec![Quorum {
                not_operator: true,
                ..quorum(&["dba"], 1)
            }]),
            Who::Quorum(vec![quorum(&["dba"], 1), quorum(&["approver"], 2)]),
        ] {
            assert!(is_as_strict(&gate(stricter.clone()), &old), "{stricter:?}");
            assert!(!is_as_strict(&old, &gate(stricter.clone())), "{stricter:?}");
        }
        for other in [
            Who::Operator,
            Who::Open {
                reason: "why".to_owned(),
            },
            Who::Quorum(vec![quorum(&["approver"], 3)]),
        ] {
            assert!(!is_as_strict(&gate(other.clone()), &old), "{other:?}");
        }
    }

    #[test]
    fn a_longer_life_a_missing_phrase_and_other_ends_are_weaker() {
        let old = Gate {
            expires_ms: Some(1_000),
            phrase: Some("flip".to_owned()),
            on_expiry: OnExpiry::Reject,
            ..gate(Who::Operator)
        };
        assert!(is_as_strict(&old, &old));
        for weaker in [
            Gate {
                expires_ms: None,
                ..old.clone()
            },
            Gate {
                expires_ms: Some(1_001),
                ..old.clone()
            },
            Gate {
                phrase: None,
                ..old.clone()
            },
            Gate {
                on_expiry: OnExpiry::Hold,
                ..old.clone()
            },
            Gate {
                on_expiry: OnExpiry::Escalate(Who::Operator),
                ..old.clone()
            },
            Gate {
                who: Who::Open {
                    reason: "why".to_owned(),
                },
                ..old.clone()
            },
        ] {
            assert!(!is_as_strict(&weaker, &old), "{weaker:?}");
            assert!(is_as_strict(&old, &weaker) || weaker.who != old.who, "{weaker:?}");
        }
        let held = Gate {
            on_expiry: OnExpiry::Hold,
            ..gate(Who::Quorum(vec![quorum(&["dba"], 2)]))
        };
        let asked = |who| Gate {
            on_expiry: OnExpiry::Escalate(who),
            ..held.clone()
        };
        assert!(!is_as_strict(&asked(Who::Quorum(vec![quorum(&["lead"], 1)])), &held));
        assert!(is_as_strict(&asked(Who::Quorum(vec![quorum(&["dba"], 3)])), &held));
    }

    #[test]
    fn another_role_in_a_poll_must_not_make_its_number_easier() {
        let poll = |roles: &[&str], quorum| {
            gate(Who::Poll {
                roles: roles.iter().map(|role| (*role).to_owned()).collect(),
                quorum,
                deputies: BTreeMap::new(),
                stops: false,
            })
        };
        let old = poll(&["dba", "app"], 2);
        assert!(is_as_strict(&poll(&["dba", "app", "net"], 3), &old));
        assert!(!is_as_strict(&poll(&["dba", "app", "net"], 2), &old));
        assert!(!is_as_strict(&poll(&["dba"], 1), &old));
        assert!(!is_as_strict(&poll(&["dba", "net"], 2), &old));
    }
}
