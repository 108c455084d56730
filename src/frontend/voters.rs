//! Who may still vote on a request, as offers to the person at the keyboard. Must not decide: the state machine admits
//! or refuses every vote by itself.

use crate::run::RunState;
use crate::run::facts::{Quorum, Who};
use crate::run::gate::missing;
use crate::run::state::Request;

use super::poll;

/// Somebody who may vote, in a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voter {
    pub person: String,
    pub role: String,
    /// Played by whoever sits at the keyboard, in the lab.
    pub persona: bool,
}

/// Who may still vote on `request`, the people of the environment first, then the lab's personas.
pub fn candidates(state: &RunState, request: &Request) -> Vec<Voter> {
    let voted = |person: &str| request.votes.iter().any(|vote| vote.person == person);
    match &request.gate.who {
        Who::Open { .. } => Vec::new(),
        Who::Poll { roles, deputies, .. } => poll::answerers(state, roles, deputies),
        Who::Operator => {
            if voted(&state.operator) {
                return Vec::new();
            }
            vec![Voter {
                person: state.operator.clone(),
                role: "operator".to_owned(),
                persona: false,
            }]
        }
        Who::Quorum(quorums) => {
            let mut found: Vec<Voter> = Vec::new();
            // Of several quorums those that are complete ask nobody any more.
            for quorum in quorums.iter().filter(|quorum| missing(state, request, quorum) > 0) {
                for voter in of_quorum(state, quorum, voted) {
                    if !found.contains(&voter) {
                        found.push(voter);
                    }
                }
            }
            found
        }
    }
}

/// Who may still vote in one quorum: for each role the people of the environment, then the lab's personas.
fn of_quorum(state: &RunState, quorum: &Quorum, voted: impl Fn(&str) -> bool) -> Vec<Voter> {
    let excluded = |person: &str| {
        voted(person)
            || quorum.not.iter().any(|other| other == person)
            || (quorum.not_operator && state.operators.contains(person))
    };
    let mut found: Vec<Voter> = Vec::new();
    for role in &quorum.roles {
        for (person, facts) in &state.facts.people {
            let fits = facts.roles.contains(role) && (quorum.org.is_none() || facts.org == quorum.org);
            if fits && !excluded(person) {
                found.push(Voter {
                    person: person.clone(),
                    role: role.clone(),
                    persona: state.facts.personas,
                });
            }
        }
    }
    if state.facts.personas {
        for role in &quorum.roles {
            let known = |person: &str| state.facts.people.contains_key(person);
            let names = (1..).map(|number: u32| {
                if number == 1 {
                    role.clone()
                } else {
                    format!("{role}-{number}")
                }
            });
            let count = usize::try_from(quorum.min.max(1)).unwrap_or(1);
            let fresh = names.filter(|name| !known(name) && !excluded(name)).take(count);
            found.extend(fresh.map(|person| Voter {
                person,
                role: role.clone(),
                persona: true,
            }));
        }
    }
    found
}
