//! Who operates, until when, and what time does by itself: handover, the window, deadlines. Pure part of `decide`.

use super::command::Binding;
use super::decide::{Ask, Batch, Rejected, request};
use super::event::{Event, Subject};
use super::facts::{AtEnd, RequestId, Who};
use super::state::{Phase, RequestStatus, Stage, WINDOW};

/// The operator offers the seat to somebody known.
pub(super) fn offer(batch: &mut Batch, person: &str, to: &str) -> Result<(), Rejected> {
    if person != batch.state.operator {
        return Err(Rejected::new(format!(
            "only the operator ({}) hands the seat over",
            batch.state.operator
        )));
    }
    if to == person && batch.state.seat_offered.is_none() {
        return Err(Rejected::new(format!("{person} has the seat already")));
    }
    // Offering it to oneself takes an offer back.
    if to != person && !batch.state.facts.people.contains_key(to) && !batch.state.facts.personas {
        return Err(Rejected::new(format!(
            "{to} is not among the people of this environment"
        )));
    }
    batch.push(Event::HandoverOffered {
        from: person.to_owned(),
        to: to.to_owned(),
    })
}

/// The seat is taken; votes that the new operator may not have cast are void.
pub(super) fn take(batch: &mut Batch, person: &str) -> Result<(), Rejected> {
    if batch.state.seat_offered.as_deref() != Some(person) {
        return Err(Rejected::new(format!(
            "the seat was not offered to {person}; the operator offers it first"
        )));
    }
    let from = batch.state.operator.clone();
    batch.push(Event::HandoverTaken {
        from,
        to: person.to_owned(),
    })?;
    let void: Vec<RequestId> = batch
        .state
        .requests
        .values()
        .filter(|request| matches!(request.status, RequestStatus::Open | RequestStatus::Granted))
        .filter(|request| match &request.gate.who {
            Who::Quorum(quorums) => {
                let excludes = quorums.iter().any(|quorum| quorum.not_operator);
                excludes && request.votes.iter().any(|vote| vote.person == person)
            }
            Who::Open { .. } | Who::Operator | Who::Poll { .. } => false,
        })
        // A granted unwinding or commit is under way: it was approved while the voter did not operate.
        .filter(|request| match request.subject {
            Subject::Step | Subject::Skip | Subject::Window | Subject::Amend => true,
            Subject::Unwind | Subject::Commit => request.status == RequestStatus::Open,
        })
        .map(|request| request.id)
        .collect();
    for request in void {
        batch.push(Event::GateVoided {
            request,
            reason: format!("{person}, who voted, operates the run now"),
        })?;
    }
    Ok(())
}

/// Asks for a longer window.
pub(super) fn extend(batch: &mut Batch, closes_ms: i64, person: &str, reason: &str) -> Result<(), Rejected> {
    let Some(closes) = batch.state.window_closes_ms else {
        return Err(Rejected::new(
            "this environment has no window; there is nothing to extend",
        ));
    };
    if closes_ms <= closes || closes_ms <= batch.now_ms {
        return Err(Rejected::new(
            "a longer window closes later than the present one and later than now",
        ));
    }
    if reason.trim().is_empty() {
        return Err(Rejected::new("a longer window needs its reason"));
    }
    let asked = batch
        .state
        .open_requests()
        .any(|request| request.subject == Subject::Window);
    if asked {
        return Err(Rejected::new("a longer window is asked for already"));
    }
    let binding = Binding {
        action_digest: String::new(),
        evidence_digest: String::new(),
        identity: serde_json::json!({ "closes_ms": closes_ms, "reason": reason, "asked_by": person }),
    };
    let ask = Ask {
        reason: Some(reason.to_owned()),
        closes_ms: Some(closes_ms),
        ..Ask::of(Subject::Window)
    };
    request(batch, ask, None, &binding)
}

/// What time does by itself: it says that a deadline or the window has passed, and at most holds the run.
pub(super) fn passes(batch: &mut Batch) -> Result<(), Rejected> {
    let now_ms = batch.now_ms;
    let late: Vec<_> = batch
        .state
        .each()
        .filter_map(|(facts, step)| Some((facts, step, facts.deadline_ms.filter(|deadline| now_ms >= *deadline)?)))
        .filter(|(facts, step, _)| {
            let over = step.stage.is_settled() || matches!(step.stage, Stage::RolledBack | Stage::Kept);
            !over && !facts.fall_forward && !batch.state.overdue.contains(&facts.id)
        })
        .map(|(facts, _, deadline_ms)| (facts.id.clone(), deadline_ms))
        .collect();
    for (step, deadline_ms) in late {
        batch.push(Event::DeadlinePassed { step, deadline_ms })?;
    }
    let Some(closes_ms) = batch.state.window_closes_ms.filter(|closes| now_ms >= *closes) else {
        return Ok(());
    };
    if !batch.state.window_over {
        batch.push(Event::WindowClosed { closes_ms })?;
    }
    let words = match batch.state.facts.window.map(|window| window.at_end) {
        Some(AtEnd::Ask) if batch.state.window_asked => return Ok(()),
        Some(AtEnd::Ask) => "the window has closed: release to go on all the same, extend it, or roll back",
        Some(AtEnd::Hold) => "the window has closed: extend it, or roll back",
        Some(AtEnd::Notify) | None => return Ok(()),
    };
    let forward = matches!(batch.state.phase, Phase::Running | Phase::CommitGate(_));
    if forward && batch.state.hold.is_none() {
        batch.hold(words, WINDOW)?;
    }
    Ok(())
}
