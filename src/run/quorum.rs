//! What a quorum asks, and what the votes of a request come to. Pure rules; must not know how a vote was cast.

use std::collections::BTreeSet;

use super::decide::Rejected;
use super::event::{AskedQuorum, Assurance, Decision};
use super::facts::{Gate, Quorum, Who};
use super::poll;
use super::state::{Request, RunState};

/// Whether a vote counts in a quorum: in the role in which it was cast, or in another one that the person holds. Nobody
/// votes twice, and one person's yes is a yes to everything that they may say yes to.
fn counts(state: &RunState, quorum: &Quorum, person: &str, role: &str) -> bool {
    let known = state.facts.people.get(person);
    let held = known.map(|facts| facts.roles.as_slice()).unwrap_or_default();
    let mut roles = held.iter().map(String::as_str).chain([role]);
    roles.any(|role| fits(state, quorum, person, role).is_ok())
}

/// The roles in which a vote counts besides the one in which it was cast, where a gate has several quorums.
pub(super) fn also(state: &RunState, request: &Request, person: &str, role: &str) -> Vec<String> {
    let Who::Quorum(quorums) = &request.gate.who else {
        return Vec::new();
    };
    let known = state.facts.people.get(person);
    let held = known.map(|facts| facts.roles.as_slice()).unwrap_or_default();
    let fitting = held.iter().filter(|own| {
        let fits = quorums.iter().any(|quorum| fits(state, quorum, person, own).is_ok());
        quorums.len() > 1 && *own != role && fits
    });
    fitting.cloned().collect()
}

/// Whether the vote of a person in a role fits a quorum, and how sure the tool is of its author.
pub(super) fn fits(state: &RunState, quorum: &Quorum, person: &str, role: &str) -> Result<Assurance, Rejected> {
    if !quorum.roles.iter().any(|its| its == role) {
        return Err(Rejected::new(format!(
            "this gate asks for {}, not for {role}",
            quorum.roles.join(" or "),
        )));
    }
    if quorum.not_operator && state.operators.contains(person) {
        return Err(Rejected::new(format!(
            "{person} has operated this run and cannot approve this gate",
        )));
    }
    if quorum.not.iter().any(|excluded| excluded == person) {
        return Err(Rejected::new(format!("{person} is excluded from this gate")));
    }
    match state.facts.people.get(person) {
        Some(known) if known.roles.iter().any(|its| its == role) => {
            if quorum.org.is_some() && known.org != quorum.org {
                return Err(Rejected::new(format!(
                    "this gate asks for somebody of {}",
                    quorum.org.as_deref().unwrap_or_default()
                )));
            }
            Ok(if state.facts.personas {
                Assurance::Persona
            } else {
                Assurance::Typed
            })
        }
        Some(_) | None if state.facts.personas => Ok(Assurance::Persona),
        Some(_) => Err(Rejected::new(format!("{person} does not have the role {role}"))),
        None => Err(Rejected::new(format!(
            "{person} is not among the people of this environment"
        ))),
    }
}

/// Whether the votes suffice: enough distinct persons approve, or roles say go, and nobody rejects.
pub fn satisfied(state: &RunState, request: &Request) -> bool {
    let rejected = request.votes.iter().any(|vote| vote.decision == Decision::Reject);
    let approving = || request.votes.iter().filter(|vote| vote.decision == Decision::Approve);
    match &request.gate.who {
        Who::Poll { .. } => poll::verdict(request) == poll::Verdict::Go,
        Who::Open { .. } => !rejected,
        Who::Operator => !rejected && approving().next().is_some(),
        Who::Quorum(quorums) => !rejected && quorums.iter().all(|quorum| missing(state, request, quorum) == 0),
    }
}

/// How many persons a quorum of a request still asks for.
pub fn missing(state: &RunState, request: &Request, quorum: &Quorum) -> u32 {
    let approving = request.votes.iter().filter(|vote| vote.decision == Decision::Approve);
    let fitting = approving.filter(|vote| counts(state, quorum, &vote.person, &vote.role));
    let persons: BTreeSet<&str> = fitting.map(|vote| vote.person.as_str()).collect();
    let found = u32::try_from(persons.len()).unwrap_or(u32::MAX);
    quorum.min.max(1).saturating_sub(found)
}

/// How many persons a gate asks for at least, or how many roles have to say go.
pub fn minimum(gate: &Gate) -> u32 {
    match &gate.who {
        Who::Open { .. } => 0,
        Who::Operator => 1,
        // A quorum of nobody would be an open gate without its reason.
        Who::Quorum(quorums) => quorums.iter().map(|quorum| quorum.min.max(1)).max().unwrap_or(1),
        Who::Poll { quorum, .. } => (*quorum).max(1),
    }
}

/// Each quorum of a gate that asks for several.
pub fn quorums(gate: &Gate) -> Vec<AskedQuorum> {
    match &gate.who {
        Who::Quorum(quorums) if quorums.len() > 1 => {
            let asked = quorums.iter().map(|quorum| AskedQuorum {
                min: quorum.min.max(1),
                roles: quorum.roles.clone(),
            });
            asked.collect()
        }
        Who::Quorum(_) | Who::Open { .. } | Who::Operator | Who::Poll { .. } => Vec::new(),
    }
}

/// The roles that a request lists.
pub fn roles(gate: &Gate) -> Vec<String> {
    match &gate.who {
        Who::Open { .. } => Vec::new(),
        Who::Operator => vec!["operator".to_owned()],
        Who::Poll { roles, .. } => roles.clone(),
        Who::Quorum(quorums) => {
            let mut all: Vec<String> = Vec::new();
            for role in quorums.iter().flat_map(|quorum| &quorum.roles) {
                if !all.contains(role) {
                    all.push(role.clone());
                }
            }
            all
        }
    }
}
