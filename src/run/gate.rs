//! Who may approve what. Pure rules over a request and its votes; must not know how a person proved who they are.

use super::attempt::fail;
use super::decide::{Batch, Rejected};
use super::event::{Assurance, Decision, Event, Subject};
use super::facts::{Gate, OnExpiry, RequestId, StepFacts, StepId, Who};
use super::quorum::{also, fits};
pub use super::quorum::{minimum, missing, quorums, roles, satisfied};
use super::state::{Request, RequestStatus, RunState};
use super::{amend, poll, skip, unwind};

/// The gate of a request about `subject`.
pub fn gate_of(state: &RunState, subject: Subject, step: Option<&StepId>) -> Gate {
    match subject {
        Subject::Step => step
            .and_then(|id| state.facts.step(id))
            .map_or_else(|| state.facts.commit.clone(), |facts| facts.gate.clone()),
        Subject::Skip => step
            .and_then(|id| state.facts.step(id))
            .map_or_else(|| state.facts.commit.clone(), skipping),
        Subject::Unwind if state.unwind.as_ref().is_some_and(|unwind| unwind.past_no_return) => {
            state.facts.no_return.clone()
        }
        Subject::Unwind => state.facts.unwind.clone(),
        Subject::Commit => state.facts.commit.clone(),
        Subject::Window => state.facts.extend.clone(),
        Subject::Amend => state.facts.amend.clone(),
    }
}

/// Who agrees to go on without a step: those who would approve it; where nobody is asked, the operator.
fn skipping(facts: &StepFacts) -> Gate {
    let who = match &facts.gate.who {
        Who::Open { .. } => Who::Operator,
        own @ (Who::Operator | Who::Quorum(_) | Who::Poll { .. }) => own.clone(),
    };
    // The roles of a poll answer each by itself; none of them types for the others.
    let typed = !poll::is_poll(&facts.gate);
    Gate {
        who,
        expires_ms: facts.gate.expires_ms,
        phrase: typed.then(|| format!("skip {}", facts.id)),
        on_expiry: OnExpiry::Hold,
    }
}

/// A vote as it was cast.
#[derive(Debug, Clone, Copy)]
pub struct Cast<'a> {
    pub person: &'a str,
    pub role: &'a str,
    pub decision: Decision,
    pub phrase: Option<&'a str>,
    pub attested_by: Option<&'a str>,
}

/// Whether a request can still be answered at all.
fn answerable(state: &RunState, request: &Request, now_ms: i64) -> Result<(), Rejected> {
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
    // A longer window is what a run that was held by its end is waiting for; an amendment is only made in a hold.
    if state.hold.is_some() && !matches!(request.subject, Subject::Window | Subject::Skip | Subject::Amend) {
        return Err(Rejected::new("the run is held; release it before you approve"));
    }
    let stopped = match (request.subject, &request.step, state.blocked_by()) {
        (Subject::Step, Some(own), Some(blocked))
            if blocked != own && !state.facts.step(own).is_some_and(|facts| facts.fall_forward) =>
        {
            Some(blocked)
        }
        (
            Subject::Step | Subject::Skip | Subject::Unwind | Subject::Commit | Subject::Window | Subject::Amend,
            _,
            _,
        ) => None,
    };
    match stopped {
        Some(blocked) => Err(Rejected::new(format!(
            "step {blocked} asks how it goes on; say that before you approve anything new"
        ))),
        None => Ok(()),
    }
}

/// Whether this vote counts, and how sure the tool is of its author. A refusal changes nothing.
pub fn admit(state: &RunState, request: &Request, vote: Cast<'_>, now_ms: i64) -> Result<Assurance, Rejected> {
    answerable(state, request, now_ms)?;
    let poll = poll::is_poll(&request.gate);
    if vote.decision == Decision::Abstain && !poll {
        return Err(Rejected::new(format!(
            "request {} is approved or rejected; only a poll takes an abstention",
            request.id
        )));
    }
    if !poll && request.votes.iter().any(|cast| cast.person == vote.person) {
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
    match vote.attested_by {
        None => Ok(assurance),
        Some(_) if is_no_return(state, request) => Err(Rejected::new(
            "a point of no return takes no attested vote; the person has to vote at a keyboard",
        )),
        Some(_) if request.subject == Subject::Amend => Err(Rejected::new(
            "an amendment takes no attested vote; the person has to vote at a keyboard",
        )),
        Some(_) if vote.decision == Decision::Reject => Err(Rejected::new(
            "a no that was heard on the bridge needs no vote: reject the gate yourself, or hold the run",
        )),
        Some(witness) if witness != state.operator || witness == vote.person => Err(Rejected::new(
            "the operator attests to the voice of somebody else, and nobody but the operator does",
        )),
        Some(_) => Ok(Assurance::Attested),
    }
}

/// Whether a request lets something happen that cannot be taken back, or takes back what loses rows.
fn is_no_return(state: &RunState, request: &Request) -> bool {
    let step = request.step.as_ref().and_then(|id| state.facts.step(id));
    match request.subject {
        Subject::Step | Subject::Skip => step.is_some_and(StepFacts::is_no_return),
        Subject::Unwind => state.unwind.as_ref().is_some_and(|unwind| unwind.past_no_return),
        Subject::Commit | Subject::Window | Subject::Amend => false,
    }
}

fn entitled(state: &RunState, request: &Request, vote: Cast<'_>) -> Result<Assurance, Rejected> {
    match &request.gate.who {
        Who::Open { .. } => Err(Rejected::new(format!("request {} asks nobody", request.id))),
        Who::Operator if vote.person == state.operator => Ok(Assurance::Typed),
        Who::Operator => Err(Rejected::new(format!(
            "only the operator ({}) confirms this gate, not {}",
            state.operator, vote.person
        ))),
        Who::Poll { .. } => poll::admit(state, request, vote),
        Who::Quorum(quorums) => {
            // One that it fits is enough; else one that asks for the role says why.
            let mut why = Rejected::new(format!(
                "this gate asks for {}, not for {}",
                roles(&request.gate).join(" or "),
                vote.role
            ));
            for quorum in quorums {
                match fits(state, quorum, vote.person, vote.role) {
                    Ok(assurance) => return Ok(assurance),
                    Err(no) if quorum.roles.iter().any(|role| role == vote.role) => why = no,
                    Err(_another) => {}
                }
            }
            Err(why)
        }
    }
}

pub(super) fn vote(batch: &mut Batch, id: RequestId, cast: Cast<'_>, comment: &str) -> Result<(), Rejected> {
    let request = asked(&batch.state, id)?;
    let assurance = admit(&batch.state, request, cast, batch.now_ms)?;
    let poll = poll::is_poll(&request.gate);
    if poll && cast.decision == Decision::Reject && comment.trim().is_empty() {
        return Err(Rejected::new("a no-go needs its reason; say what stands against it"));
    }
    let also = also(&batch.state, request, cast.person, cast.role);
    let (subject, step, attempt) = (request.subject, request.step.clone(), request.attempt);
    batch.push(Event::GateVote {
        request: id,
        decision: cast.decision,
        person: cast.person.to_owned(),
        role: cast.role.to_owned(),
        assurance,
        comment: comment.to_owned(),
        attested_by: cast.attested_by.map(str::to_owned),
        poll,
        also,
    })?;
    if cast.decision == Decision::Approve {
        let enough = batch
            .state
            .requests
            .get(&id)
            .is_some_and(|request| satisfied(&batch.state, request));
        return if enough { grant(batch, id) } else { Ok(()) };
    }
    let reason = match cast.decision {
        Decision::Abstain => match poll::unreachable(asked(&batch.state, id)?) {
            Some(reason) => {
                batch.push(Event::GateVoided {
                    request: id,
                    reason: reason.clone(),
                })?;
                reason
            }
            None => return Ok(()),
        },
        Decision::Approve | Decision::Reject if poll => format!("no-go of {} by {}: {comment}", cast.role, cast.person),
        Decision::Approve | Decision::Reject if comment.is_empty() => format!("rejected by {}", cast.person),
        Decision::Approve | Decision::Reject => format!("rejected by {}: {comment}", cast.person),
    };
    match (subject, step, attempt) {
        (Subject::Step, Some(step), Some(attempt)) => fail(batch, &step, attempt, &reason),
        (Subject::Unwind, _, _) => unwind::dropped(batch, &reason),
        (Subject::Step | Subject::Commit, _, _) => {
            let reason = format!("commit {reason}");
            batch.hold(&reason, cast.person)
        }
        // Nothing changes: the step, the window and the plan are as they were before somebody asked.
        (Subject::Skip | Subject::Window | Subject::Amend, _, _) => Ok(()),
    }
}

/// The request is granted, and what it allows by itself follows.
pub(super) fn grant(batch: &mut Batch, id: RequestId) -> Result<(), Rejected> {
    batch.push(Event::GateGranted { request: id })?;
    let request = asked(&batch.state, id)?.clone();
    match (request.subject, request.step, request.closes_ms) {
        (Subject::Skip, Some(step), _) => {
            skip::granted(batch, &step, id, request.reason.as_deref().unwrap_or_default())
        }
        (Subject::Window, _, Some(closes_ms)) => batch.push(Event::WindowExtended { request: id, closes_ms }),
        (Subject::Amend, _, _) => amend::granted(batch, id, request.plan.as_deref().unwrap_or_default()),
        (Subject::Step | Subject::Skip | Subject::Unwind | Subject::Commit | Subject::Window, _, _) => Ok(()),
    }
}

fn asked(state: &RunState, id: RequestId) -> Result<&Request, Rejected> {
    state
        .requests
        .get(&id)
        .map(AsRef::as_ref)
        .ok_or_else(|| Rejected::new(format!("there is no request {id}")))
}

/// The shortest reason that breaks the glass.
pub const BROKEN_REASON: usize = 20;
/// The role that may break the glass.
pub const GLASS: &str = "break_glass";

/// Passes one gate without its persons: by its own role, with its reason, never at a point of no return.
pub(super) fn broken(batch: &mut Batch, id: RequestId, person: &str, role: &str, reason: &str) -> Result<(), Rejected> {
    let request = asked(&batch.state, id)?;
    answerable(&batch.state, request, batch.now_ms)?;
    if is_no_return(&batch.state, request) {
        return Err(Rejected::new(
            "the glass cannot be broken at a point of no return; its quorum has to be found",
        ));
    }
    if request.subject == Subject::Amend {
        return Err(Rejected::new(
            "the glass cannot be broken for an amendment; go on by the runbook that was approved",
        ));
    }
    if reason.trim().chars().count() < BROKEN_REASON {
        return Err(Rejected::new(format!(
            "breaking the glass needs its reason in {BROKEN_REASON} characters or more; nothing was approved"
        )));
    }
    let known = batch.state.facts.people.get(person);
    let holds = known.is_some_and(|facts| facts.roles.iter().any(|its| its == GLASS));
    if role != GLASS || !(holds || batch.state.facts.personas) {
        return Err(Rejected::new(format!(
            "{person} does not have the role {GLASS}; only that role breaks the glass"
        )));
    }
    batch.push(Event::GateBroken {
        request: id,
        person: person.to_owned(),
        role: role.to_owned(),
        reason: reason.to_owned(),
    })?;
    grant(batch, id)
}

/// The second signature: by the person who was heard, or by another one than who broke the glass.
pub(super) fn countersigned(batch: &mut Batch, id: RequestId, person: &str, role: &str) -> Result<(), Rejected> {
    let request = asked(&batch.state, id)?;
    // Whoever was heard several times, for a poll's roles or because an answer changed, signs for each.
    let attested = |person: &str| {
        let votes = request.votes.iter();
        votes
            .filter(|vote| vote.attested_by.is_some() && vote.person == person)
            .count()
    };
    let in_role = request
        .votes
        .iter()
        .any(|vote| vote.person == person && vote.role == role);
    let heard = if in_role { attested(person) } else { 0 };
    // One second signature is owed for a broken glass, by somebody who owes none, and no more is taken.
    let given = request.countersigned.iter().any(|signer| attested(signer) == 0);
    let second = request
        .broken
        .as_ref()
        .is_some_and(|broken| broken.person != person && !given && attested(person) == 0);
    let known = batch.state.facts.people.get(person);
    let holds = known.is_some_and(|facts| facts.roles.iter().any(|its| its == role)) || batch.state.facts.personas;
    let owed = heard + usize::from(second && holds);
    let signed = request.countersigned.iter().filter(|signer| *signer == person).count();
    if signed > 0 && signed >= owed {
        return Err(Rejected::new(format!(
            "{person} has countersigned request {id} already"
        )));
    }
    if owed == 0 {
        return Err(Rejected::new(format!(
            "request {id} waits for no second signature of {person} as {role}"
        )));
    }
    batch.push(Event::GateCountersigned {
        request: id,
        person: person.to_owned(),
        role: role.to_owned(),
    })
}

/// A live check turned red: whatever was approved, or is asked, is void.
pub(super) fn live_red(batch: &mut Batch, id: RequestId, detail: &str) -> Result<(), Rejected> {
    let request = asked(&batch.state, id)?;
    let live =
        request.subject == Subject::Step && matches!(request.status, RequestStatus::Open | RequestStatus::Granted);
    if !live {
        return Err(Rejected::new(format!(
            "request {id} is over; its live checks do not matter any more"
        )));
    }
    batch.push(Event::GateVoided {
        request: id,
        reason: format!("a live check turned red: {detail}"),
    })
}

pub(super) fn revoke(batch: &mut Batch, id: RequestId, person: &str) -> Result<(), Rejected> {
    let request = asked(&batch.state, id)?;
    let live = match request.status {
        RequestStatus::Open => true,
        RequestStatus::Granted => request.subject == Subject::Step,
        RequestStatus::Rejected | RequestStatus::Voided | RequestStatus::Expired | RequestStatus::Consumed => false,
    };
    // Whoever operates may take back what the run itself, or the operator, asked for: to go back, to amend the plan.
    let asker = matches!(request.subject, Subject::Unwind | Subject::Amend) && person == batch.state.operator;
    if !live || !(asker || request.votes.iter().any(|vote| vote.person == person)) {
        return Err(Rejected::new(format!(
            "{person} has no approval of request {id} that could be taken back"
        )));
    }
    let unwinding = request.subject == Subject::Unwind;
    batch.push(Event::GateVoided {
        request: id,
        reason: match (asker, unwinding) {
            (true, true) => format!("{person} does not want to go back any more"),
            (true, false) => format!("{person} does not want to amend the plan any more"),
            (false, _) => format!("{person} took the approval back"),
        },
    })?;
    if unwinding {
        unwind::dropped(batch, "an approval was taken back")
    } else {
        Ok(())
    }
}
