//! Who may answer a poll, as offers to the person at the keyboard, and whose go a poll still lacks. Must not decide:
//! the state machine admits or refuses every answer by itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::run::RunState;
use crate::run::event::Decision;
use crate::run::facts::Who;
use crate::run::poll::{answers, role_of};
use crate::run::state::Request;

use super::voters::{Voter, candidates};

/// Everybody who may answer, role by role: who holds it, its deputies, in the lab a persona. Answers may change, so
/// that nobody leaves the list, and what was chosen stays chosen while others answer.
pub(super) fn answerers(state: &RunState, roles: &[String], deputies: &BTreeMap<String, Vec<String>>) -> Vec<Voter> {
    let persona = state.facts.personas;
    let mut found = Vec::new();
    for role in roles {
        let people = state.facts.people.iter();
        let holders = people.filter(|(_, facts)| facts.roles.contains(role));
        let mut persons: Vec<&String> = holders.map(|(person, _)| person).collect();
        for person in deputies.get(role).into_iter().flatten() {
            let known = persona || state.facts.people.contains_key(person);
            if known && !persons.contains(&person) {
                persons.push(person);
            }
        }
        if persona && !persons.contains(&role) {
            persons.push(role);
        }
        found.extend(persons.into_iter().map(|person| Voter {
            person: person.clone(),
            role: role.clone(),
            persona,
        }));
    }
    found
}

/// Where in the list of voters the first is whose role has not answered; the first of all once every role has.
pub fn next_unanswered(state: &RunState, request: &Request) -> usize {
    next_unanswered_but(state, request, "")
}

/// The same, while the answer of `role` is on its way.
pub fn next_unanswered_but(state: &RunState, request: &Request, role: &str) -> usize {
    let known = answers(request);
    let voters = candidates(state, request);
    let open = voters.iter().position(|voter| {
        let answered = voter.role == role || known.contains_key(voter.role.as_str());
        !answered && is_free(state, request, voter)
    });
    open.unwrap_or(0)
}

/// Whether a person's answer counts for no other role; in the lab one person plays all.
pub fn is_free(state: &RunState, request: &Request, voter: &Voter) -> bool {
    state.facts.personas || role_of(request, &voter.person).is_none_or(|role| role == voter.role)
}

/// Somebody who may say go for a role that has not, so that as many other roles as possible still find somebody:
/// nobody answers for two. `refused` are not asked again.
pub fn next_go(state: &RunState, request: &Request, refused: impl Fn(&str) -> bool) -> Option<Voter> {
    let Who::Poll { roles, .. } = &request.gate.who else {
        return None;
    };
    let known = answers(request);
    let says_go = |role: &str| known.get(role).is_some_and(|vote| vote.decision == Decision::Approve);
    let left: Vec<&String> = roles.iter().filter(|role| !says_go(role)).collect();
    let offers: Vec<Voter> = candidates(state, request)
        .into_iter()
        .filter(|voter| left.contains(&&voter.role) && !refused(&voter.person) && is_free(state, request, voter))
        .collect();
    if state.facts.personas {
        return offers.into_iter().next();
    }
    let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
    for role in &left {
        let _found = find(role, &offers, &mut taken, &mut BTreeSet::new());
    }
    let first = taken.values().min().copied()?;
    offers.into_iter().nth(first)
}

/// Finds somebody for `role`, asking those who are taken to give way where their role has somebody else.
fn find<'a>(
    role: &str,
    offers: &'a [Voter],
    taken: &mut BTreeMap<&'a str, usize>,
    asked: &mut BTreeSet<&'a str>,
) -> bool {
    for (index, offer) in offers.iter().enumerate().filter(|(_, offer)| offer.role == role) {
        if !asked.insert(&offer.person) {
            continue;
        }
        let holder = taken.get(offer.person.as_str()).and_then(|index| offers.get(*index));
        let free = holder.is_none_or(|holder| find(&holder.role, offers, taken, asked));
        if free {
            taken.insert(&offer.person, index);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_the_only_one_for_a_role_answers_for_that_role() {
        let voter = |person: &str, role: &str| Voter {
            person: person.to_owned(),
            role: role.to_owned(),
            persona: false,
        };
        let offers = [
            voter("ana", "dba"),
            voter("bea", "dba"),
            voter("ana", "network"),
            voter("carl", "lead"),
            voter("ana", "lead"),
        ];
        let mut taken = BTreeMap::new();
        for role in ["dba", "network", "lead"] {
            assert!(find(role, &offers, &mut taken, &mut BTreeSet::new()), "{role}");
        }
        assert_eq!(
            taken.into_iter().collect::<Vec<_>>(),
            [("ana", 2), ("bea", 1), ("carl", 3)]
        );
    }
}
