//! Polls: one answer of each role, of which the latest counts, and what follows from all of them. Pure rules over a
//! request and its answers; part of `gate`.

use std::collections::BTreeMap;

use super::decide::Rejected;
use super::event::{Assurance, Decision, Subject};
use super::facts::{Gate, Who};
use super::gate::{Cast, minimum};
use super::state::{Request, RequestStatus, RunState, Stage, Vote};
use super::unwind::plannable;

/// What the answers of a poll come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// More answers are needed.
    Open,
    /// Enough roles say go. Roles that have not answered then hold nobody up.
    Go,
    /// A role says no-go: it is over at once.
    NoGo,
    /// So many abstain that too few are left to say go.
    Unreachable,
}

/// Whether a gate is a poll.
pub const fn is_poll(gate: &Gate) -> bool {
    match &gate.who {
        Who::Poll { .. } => true,
        Who::Open { .. } | Who::Operator | Who::Quorum(_) => false,
    }
}

/// The answer of each role that counts: its latest.
pub fn answers(request: &Request) -> BTreeMap<&str, &Vote> {
    request.votes.iter().map(|vote| (vote.role.as_str(), vote)).collect()
}

/// The role that a person's answer counts for.
pub fn role_of<'a>(request: &'a Request, person: &str) -> Option<&'a str> {
    let counting = answers(request).into_iter();
    let mut own = counting.filter(|(_, vote)| vote.person == person);
    own.next().map(|(role, _)| role)
}

/// What the answers come to; a gate that is no poll stays open.
pub fn verdict(request: &Request) -> Verdict {
    let roles = match &request.gate.who {
        Who::Poll { roles, .. } => roles.len(),
        Who::Open { .. } | Who::Operator | Who::Quorum(_) => return Verdict::Open,
    };
    let counting = answers(request);
    let count = |wanted: Decision| counting.values().filter(|vote| vote.decision == wanted).count();
    let needed = usize::try_from(minimum(&request.gate)).unwrap_or(usize::MAX);
    if count(Decision::Reject) > 0 {
        Verdict::NoGo
    } else if count(Decision::Approve) >= needed {
        Verdict::Go
    } else if roles.saturating_sub(count(Decision::Abstain)) < needed {
        Verdict::Unreachable
    } else {
        Verdict::Open
    }
}

/// Whether this answer counts, and how sure the tool is of its author.
pub(super) fn admit(state: &RunState, request: &Request, vote: Cast<'_>) -> Result<Assurance, Rejected> {
    let Who::Poll { roles, deputies, .. } = &request.gate.who else {
        return Err(Rejected::new(format!("request {} is no poll", request.id)));
    };
    if !roles.iter().any(|role| role == vote.role) {
        return Err(Rejected::new(format!(
            "this poll asks {}, not {}",
            roles.join(", "),
            vote.role
        )));
    }
    let personas = state.facts.personas;
    if let Some(other) = role_of(request, vote.person).filter(|other| *other != vote.role)
        && !personas
    {
        return Err(Rejected::new(format!(
            "{} answers for {other} already; one person answers for one role, let somebody else answer for {}",
            vote.person, vote.role
        )));
    }
    let same = |last: &&Vote| last.person == vote.person && last.decision == vote.decision;
    if answers(request).get(vote.role).copied().is_some_and(|last| same(&last)) {
        return Err(Rejected::new(format!(
            "{} has given this answer for {} already; only another answer changes something",
            vote.person, vote.role
        )));
    }
    let known = state.facts.people.get(vote.person);
    let holds = known.is_some_and(|person| person.roles.iter().any(|role| role == vote.role));
    let deputy = deputies
        .get(vote.role)
        .is_some_and(|persons| persons.iter().any(|person| person == vote.person));
    match (personas, known) {
        (true, _) => Ok(Assurance::Persona),
        (false, Some(_)) if holds || deputy => Ok(Assurance::Typed),
        (false, Some(_)) => Err(Rejected::new(format!(
            "{} neither has the role {} nor is its deputy",
            vote.person, vote.role
        ))),
        (false, None) => Err(Rejected::new(format!(
            "{} is not among the people of this environment",
            vote.person
        ))),
    }
}

/// Why abstentions end a poll: too few roles are left to say go. None: they do not.
pub(super) fn unreachable(request: &Request) -> Option<String> {
    if verdict(request) != Verdict::Unreachable {
        return None;
    }
    let abstain: Vec<&str> = answers(request)
        .into_iter()
        .filter(|(_, vote)| vote.decision == Decision::Abstain)
        .map(|(role, _)| role)
        .collect();
    Some(format!(
        "the poll cannot come to {} × go any more: abstained {}",
        minimum(&request.gate),
        abstain.join(", ")
    ))
}

/// Why a no-go ends the run by itself, where the runbook says so. A run that is over cannot be rolled back any more:
/// where something stands or runs, the operator is asked all the same.
pub(super) fn stops(state: &RunState) -> Option<String> {
    let nothing_stands = state.open_effects().next().is_none()
        && state.closing_left().is_empty()
        && plannable(state, None).is_ok_and(|steps| steps.is_empty());
    if !nothing_stands {
        return None;
    }
    let mut failed = state
        .each()
        .filter(|(facts, step)| step.stage == Stage::Failed && matches!(facts.gate.who, Who::Poll { stops: true, .. }));
    failed.find_map(|(facts, step)| {
        let mut asked = state.requests.values().rev();
        let last = asked.find(|request| {
            request.subject == Subject::Step
                && request.step.as_ref() == Some(&facts.id)
                && request.attempt == Some(step.attempt)
        })?;
        let no_go = last.status == RequestStatus::Rejected && verdict(last) == Verdict::NoGo;
        let why = step.reason.as_deref().unwrap_or("no reason was recorded");
        no_go.then(|| format!("the poll {} ended the run: {why}", facts.id))
    })
}
