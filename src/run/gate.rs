//! Who may approve what. Pure rules over a request and its votes; must not know how a person proved who they are.

use std::collections::BTreeSet;

use super::attempt::fail;
use super::decide::{Batch, Rejected};
use super::event::{Assurance, Decision, Event, Subject};
use super::facts::{Gate, RequestId, StepId, Who};
use super::state::{Request, RequestStatus, RunState};
use super::unwind;

/// The gate of a request about `subject`.
pub fn gate_of(state: &RunState, subject: Subject, step: Option<&StepId>) -> Gate {
    match subject {
        Subject::Step => step
            .and_then(|id| state.facts.index(id))
            .and_then(|index| state.facts.steps.get(index))
            .map_or_else(|| state.facts.commit.clone(), |facts| facts.gate.clone()),
        Subject::Unwind if state.unwind.as_ref().is_some_and(|unwind| unwind.past_no_return) => {
            state.facts.no_return.clone()
        }
        Subject::Unwind => state.facts.unwind.clone(),
        Subject::Commit => state.facts.commit.clone(),
    }
}

/// A vote as it was cast.
#[derive(Debug, Clone, Copy)]
pub struct Cast<'a> {
    pub person: &'a str,
    pub role: &'a str,
    pub decision: Decision,
    pub phrase: Option<&'a str>,
}

/// Whether this vote counts, and how sure the tool is of its author. A refusal changes nothing.
pub fn admit(state: &RunState, request: &Request, vote: Cast<'_>, now_ms: i64) -> Result<Assurance, Rejected> {
    if request.status != RequestStatus::Open {
        return Err(Rejected::new(format!(
            "request {} is not open any more; look at the current gate",
            request.id
        )));
    }
    if request.expires_ms.is_some_and(|expires| now_ms >= expires) {
        return Err(Rejected::new(format!(
            "request {} has expired; it will be asked again",
            request.id
        )));
    }
    if state.hold.is_some() {
        return Err(Rejected::new("the run is held; release it before you approve"));
    }
    if request.votes.iter().any(|cast| cast.person == vote.person) {
        return Err(Rejected::new(format!(
            "{} has already voted on request {}",
            vote.person, request.id
        )));
    }
    let assurance = entitled(state, request, vote)?;
    if vote.decision == Decision::Approve
        && let Some(phrase) = &request.gate.phrase
        && vote.phrase != Some(phrase.as_str())
    {
        return Err(Rejected::new(format!(
            "the typed text is not \"{phrase}\"; nothing was approved"
        )));
    }
    Ok(assurance)
}

fn entitled(state: &RunState, request: &Request, vote: Cast<'_>) -> Result<Assurance, Rejected> {
    let known = state.facts.people.get(vote.person);
    let is_operator = state.operators.contains(vote.person);
    match &request.gate.who {
        Who::Open { .. } => Err(Rejected::new(format!("request {} asks nobody", request.id))),
        Who::Operator if vote.person == state.operator => Ok(Assurance::Typed),
        Who::Operator => Err(Rejected::new(format!(
            "only the operator ({}) confirms this gate, not {}",
            state.operator, vote.person
        ))),
        Who::Quorum {
            roles,
            org,
            not_operator,
            not,
            ..
        } => {
            if !roles.iter().any(|role| role == vote.role) {
                return Err(Rejected::new(format!(
                    "this gate asks for {}, not for {}",
                    roles.join(" or "),
                    vote.role
                )));
            }
            if *not_operator && is_operator {
                return Err(Rejected::new(format!(
                    "{} has operated this run and cannot approve this gate",
                    vote.person
                )));
            }
            if not.iter().any(|person| person == vote.person) {
                return Err(Rejected::new(format!("{} is excluded from this gate", vote.person)));
            }
            match known {
                Some(person) if person.roles.iter().any(|role| role == vote.role) => {
                    if org.is_some() && person.org != *org {
                        return Err(Rejected::new(format!(
                            "this gate asks for somebody of {}",
                            org.as_deref().unwrap_or_default()
                        )));
                    }
                    Ok(if state.facts.personas {
                        Assurance::Persona
                    } else {
                        Assurance::Typed
                    })
                }
                Some(_) | None if state.facts.personas => Ok(Assurance::Persona),
                Some(_) => Err(Rejected::new(format!(
                    "{} does not have the role {}",
                    vote.person, vote.role
                ))),
                None => Err(Rejected::new(format!(
                    "{} is not among the people of this environment",
                    vote.person
                ))),
            }
        }
    }
}

/// Whether the votes suffice: enough distinct persons approve and nobody rejects.
pub fn satisfied(request: &Request) -> bool {
    let needed = usize::try_from(minimum(&request.gate)).unwrap_or(usize::MAX);
    let persons: BTreeSet<&str> = request
        .votes
        .iter()
        .filter(|vote| vote.decision == Decision::Approve)
        .map(|vote| vote.person.as_str())
        .collect();
    let rejected = request.votes.iter().any(|vote| vote.decision == Decision::Reject);
    !rejected && persons.len() >= needed
}

/// How many persons a gate asks for.
pub const fn minimum(gate: &Gate) -> u32 {
    match &gate.who {
        Who::Open { .. } => 0,
        Who::Operator => 1,
        // A quorum of nobody would be an open gate without its reason.
        Who::Quorum { min, .. } => {
            if *min == 0 {
                1
            } else {
                *min
            }
        }
    }
}

/// The roles that a request lists.
pub fn roles(gate: &Gate) -> Vec<String> {
    match &gate.who {
        Who::Open { .. } => Vec::new(),
        Who::Operator => vec!["operator".to_owned()],
        Who::Quorum { roles, .. } => roles.clone(),
    }
}

pub(super) fn vote(batch: &mut Batch, id: RequestId, cast: Cast<'_>, comment: &str) -> Result<(), Rejected> {
    let request = batch
        .state
        .requests
        .get(&id)
        .ok_or_else(|| Rejected::new(format!("there is no request {id}")))?;
    let assurance = admit(&batch.state, request, cast, batch.now_ms)?;
    let (subject, step, attempt) = (request.subject, request.step.clone(), request.attempt);
    batch.push(Event::GateVote {
        request: id,
        decision: cast.decision,
        person: cast.person.to_owned(),
        role: cast.role.to_owned(),
        assurance,
        comment: comment.to_owned(),
    })?;
    if cast.decision == Decision::Approve {
        let enough = batch.state.requests.get(&id).is_some_and(satisfied);
        return if enough {
            batch.push(Event::GateGranted { request: id })
        } else {
            Ok(())
        };
    }
    let words = if comment.is_empty() {
        String::new()
    } else {
        format!(": {comment}")
    };
    let reason = format!("rejected by {}{words}", cast.person);
    match (subject, step, attempt) {
        (Subject::Step, Some(step), Some(attempt)) => fail(batch, &step, attempt, &reason),
        (Subject::Unwind, _, _) => unwind::dropped(batch, &reason),
        (Subject::Step | Subject::Commit, _, _) => batch.push(Event::RunHeld {
            reason: format!("commit {reason}"),
            person: cast.person.to_owned(),
        }),
    }
}

pub(super) fn revoke(batch: &mut Batch, id: RequestId, person: &str) -> Result<(), Rejected> {
    let request = batch
        .state
        .requests
        .get(&id)
        .ok_or_else(|| Rejected::new(format!("there is no request {id}")))?;
    let live = match request.status {
        RequestStatus::Open => true,
        RequestStatus::Granted => request.subject == Subject::Step,
        RequestStatus::Rejected | RequestStatus::Voided | RequestStatus::Expired | RequestStatus::Consumed => false,
    };
    if !live || !request.votes.iter().any(|vote| vote.person == person) {
        return Err(Rejected::new(format!(
            "{person} has no approval of request {id} that could be taken back"
        )));
    }
    let unwinding = request.subject == Subject::Unwind;
    batch.push(Event::GateVoided {
        request: id,
        reason: format!("{person} took the approval back"),
    })?;
    if unwinding {
        unwind::dropped(batch, "an approval was taken back")
    } else {
        Ok(())
    }
}
