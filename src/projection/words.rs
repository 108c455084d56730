//! Events, stages and durations in words for people. Must not decide anything; every word comes from the record.

use chrono::{DateTime, TimeDelta};

use crate::run::Event;
use crate::run::event::{
    AskedQuorum, Assurance, CheckResult, CloseState, Decision, Fidelity, OutcomeResult, PersonDecision, Role, Subject,
};
use crate::run::facts::{RequestId, StepId};
use crate::run::state::{EffectState, RunState, Stage, StepState};
use crate::runbook::plan::{Plan, PlannedStep, Rollback};
pub use crate::runbook::render::{gate_words as gate, kind_word as environment};

/// The number and title of a step: `7 Validate row counts`.
pub fn label(plan: &Plan, step: &StepId) -> String {
    plan.steps
        .iter()
        .position(|planned| planned.id == step.0)
        .and_then(|index| {
            plan.steps
                .get(index)
                .map(|planned| format!("{} {}", index + 1, planned.title))
        })
        .unwrap_or_else(|| step.0.clone())
}

/// What every step of a run is that asks to commit.
pub fn settled(state: &RunState) -> &'static str {
    let skipped = state.steps.iter().any(|step| step.stage == Stage::Skipped);
    if skipped { "done or SKIPPED" } else { "done" }
}

/// What a request is about.
pub fn about(plan: &Plan, subject: Subject, step: Option<&StepId>) -> String {
    let step = step.map_or_else(|| "a step".to_owned(), |step| label(plan, step));
    match subject {
        Subject::Step => step,
        Subject::Skip => format!("SKIP {step}"),
        Subject::Unwind => "roll back".to_owned(),
        Subject::Commit => "commit the run".to_owned(),
        Subject::Window => "extend the window".to_owned(),
        Subject::Amend => "amend the runbook".to_owned(),
    }
}

/// The step that an event is about.
pub const fn step_of(event: &Event) -> Option<&StepId> {
    match event {
        Event::StepChecking { step, .. }
        | Event::CheckResult { step, .. }
        | Event::EffectIntent { step, .. }
        | Event::EffectAck { step, .. }
        | Event::EffectKept { step, .. }
        | Event::EffectOutcome { step, .. }
        | Event::EffectDecided { step, .. }
        | Event::StepVerifying { step, .. }
        | Event::StepDone { step, .. }
        | Event::StepFailed { step, .. }
        | Event::StepSkipped { step, .. }
        | Event::EffectCancel { step, .. }
        | Event::DeadlinePassed { step, .. } => Some(step),
        Event::GateRequested { step, .. } => step.as_ref(),
        Event::Genesis { .. }
        | Event::Resumed { .. }
        | Event::GateVote { .. }
        | Event::GateGranted { .. }
        | Event::GateVoided { .. }
        | Event::GateExpired { .. }
        | Event::GateBroken { .. }
        | Event::GateCountersigned { .. }
        | Event::WindowClosed { .. }
        | Event::WindowExtended { .. }
        | Event::RunAmended { .. }
        | Event::PreflightBegun { .. }
        | Event::PreflightEnded { .. }
        | Event::PreflightVoided { .. }
        | Event::HandoverOffered { .. }
        | Event::HandoverTaken { .. }
        | Event::UnwindPlanned { .. }
        | Event::UnwindPrepared { .. }
        | Event::UnwindDropped { .. }
        | Event::UnwindFinished { .. }
        | Event::RunHeld { .. }
        | Event::RunReleased { .. }
        | Event::RunClosed { .. }
        | Event::Note { .. }
        | Event::Interrupted { .. } => None,
    }
}

/// The step that an event is about, or that its request is about.
pub fn step_in<'a>(state: &'a RunState, event: &'a Event) -> Option<&'a StepId> {
    let of_request = |request: &RequestId| state.requests.get(request).and_then(|request| request.step.as_ref());
    match event {
        Event::GateVote { request, .. }
        | Event::GateGranted { request }
        | Event::GateVoided { request, .. }
        | Event::GateExpired { request }
        | Event::GateBroken { request, .. }
        | Event::GateCountersigned { request, .. } => of_request(request),
        other => step_of(other),
    }
}

/// What happened, in one line.
pub fn describe(event: &Event) -> String {
    match event {
        Event::Genesis { operator, .. } => format!("run begun by {operator}"),
        Event::Resumed { operator, host, pid } => format!("run resumed by {operator} on {host} (process {pid})"),
        Event::StepChecking { attempt, .. } if *attempt > 1 => format!("checking before attempt {attempt}"),
        Event::StepChecking { .. } => "checking".to_owned(),
        Event::CheckResult { result, .. } => {
            format!(
                "check {} {} {}: {}",
                result.when,
                result.uses,
                verdict(result),
                result.detail
            )
        }
        Event::GateRequested {
            request,
            subject,
            min,
            roles,
            phrase,
            auto_reason,
            reason,
            escalated,
            poll,
            quorums,
            ..
        } => {
            let asked = match subject {
                Subject::Step => "approval",
                Subject::Unwind => "approval to roll back",
                Subject::Commit => "approval to commit",
                Subject::Skip => "approval to SKIP the step",
                Subject::Window => "approval of a longer window",
                Subject::Amend => "approval of an AMENDED runbook",
            };
            let asked = if *escalated {
                format!("escalated, {asked}")
            } else {
                asked.to_owned()
            };
            let why = reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
            match auto_reason {
                Some(reason) => format!("request {request}: {asked}, nobody is asked: {reason}"),
                None if *poll => format!(
                    "request {request}: {asked} by a poll, {min} of {} have to say go{why}",
                    roles.join(", ")
                ),
                None => {
                    let typed = if phrase.is_some() { ", with a typed phrase" } else { "" };
                    let who = asked_of(*min, roles, quorums);
                    format!("request {request}: {asked} by {who}{typed}{why}")
                }
            }
        }
        Event::GateVote {
            request,
            decision,
            person,
            role,
            assurance,
            comment,
            attested_by,
            poll,
            also,
        } => {
            let what = decided(*decision, *poll);
            let said = if comment.is_empty() {
                String::new()
            } else {
                format!(": {comment}")
            };
            let heard = attested_by
                .as_ref()
                .map_or_else(String::new, |by| format!(", written down by {by}"));
            let roles: Vec<&str> = std::iter::once(role).chain(also).map(String::as_str).collect();
            format!(
                "request {request} {what} by {person} as {} ({}{heard}){said}",
                roles.join(" and "),
                assured(*assurance)
            )
        }
        Event::GateGranted { request } => format!("request {request} granted"),
        Event::GateVoided { request, reason } => format!("request {request} void: {reason}"),
        Event::GateExpired { request } => format!("request {request} expired: nobody answered in time"),
        Event::EffectIntent { role, attempt, .. } => format!("{} (attempt {attempt})", beginning(*role)),
        Event::EffectAck { provider_id, .. } => format!("accepted by the peer as {provider_id}"),
        Event::EffectKept { .. } => "a part of it is done, and kept for a resume".to_owned(),
        Event::EffectOutcome {
            role,
            result,
            detail,
            observed,
            fidelity,
            ..
        } => {
            let found = if *observed { ", found by looking" } else { "" };
            match fidelity {
                Fidelity::Executed => format!("{}{found}: {detail}", ending(*role, *result)),
                other => format!("{}: {detail}", faithful(*other)),
            }
        }
        Event::EffectDecided {
            role,
            decision,
            person,
            reason,
            ..
        } => {
            let what = match decision {
                PersonDecision::Done => "it was done",
                PersonDecision::NotStarted => "it was not started",
                PersonDecision::ByHand => "done by hand",
            };
            format!("{person} decided about {}: {what}: {reason}", noun(*role))
        }
        Event::StepVerifying { .. } => "verifying".to_owned(),
        Event::StepDone { .. } => "done".to_owned(),
        Event::StepFailed { reason, .. } => format!("FAILED: {reason}"),
        Event::UnwindPlanned {
            to,
            steps,
            past_no_return,
            person,
            derived,
        } => {
            let scope = to
                .as_ref()
                .map_or_else(|| "the whole run".to_owned(), |to| format!("what came after {to}"));
            let names: Vec<&str> = steps.iter().map(|step| step.0.as_str()).collect();
            let order = if *derived {
                "everything that stands".to_owned()
            } else if names.is_empty() {
                "nothing".to_owned()
            } else {
                names.join(", ")
            };
            let beyond = if *past_no_return {
                "; PAST THE POINT OF NO RETURN"
            } else {
                ""
            };
            format!("rollback of {scope} asked by {person}: undo {order}{beyond}")
        }
        Event::UnwindPrepared { lost, fault } => match (lost, fault) {
            (_, Some(fault)) => format!("rollback prepared; not everything is known: {fault}"),
            (Some(0), None) => "rollback prepared; no rows would be lost so far".to_owned(),
            (Some(1), None) => "rollback prepared; 1 row would be lost so far".to_owned(),
            (Some(rows), None) => format!("rollback prepared; {rows} rows would be lost so far"),
            (None, None) => "rollback prepared".to_owned(),
        },
        Event::UnwindDropped { reason } => format!("rollback dropped: {reason}"),
        Event::UnwindFinished { complete: true } => "everything is rolled back".to_owned(),
        Event::UnwindFinished { complete: false } => "rolled back as far as asked".to_owned(),
        Event::RunHeld {
            reason,
            person,
            owner,
            until_ms,
        } => {
            let whose = owner
                .as_ref()
                .map_or_else(String::new, |owner| format!("; {owner} sees to it"));
            let until = until_ms.map_or_else(String::new, |ms| format!("; until {}", instant(ms)));
            format!("HELD by {person}: {reason}{whose}{until}")
        }
        Event::GateBroken {
            request,
            person,
            role,
            reason,
        } => format!("GLASS BROKEN: request {request} passed by {person} as {role} without its persons: {reason}"),
        Event::GateCountersigned { request, person, role } => {
            format!("request {request} countersigned by {person} as {role}")
        }
        Event::EffectCancel { role, person, .. } => format!("{person} asked {} to end", noun(*role)),
        Event::StepSkipped { request, reason, .. } => format!("SKIPPED under request {request}: {reason}"),
        Event::DeadlinePassed { deadline_ms, .. } => {
            format!("its deadline of {} has passed", instant(*deadline_ms))
        }
        Event::WindowClosed { closes_ms } => format!("THE WINDOW HAS CLOSED at {}", instant(*closes_ms)),
        Event::WindowExtended { request, closes_ms } => {
            format!(
                "the window is extended to {} under request {request}",
                instant(*closes_ms)
            )
        }
        Event::PreflightVoided { reason } => format!("the preflight is void: {reason}"),
        Event::PreflightBegun { number, .. } => format!("preflight {number}: looking at every connection"),
        Event::PreflightEnded {
            number,
            red,
            amber,
            green,
            words,
            ..
        } => super::proof::found(*number, [*red, *amber, *green], words),
        Event::RunAmended {
            request,
            plan_file_digest,
            ..
        } => format!(
            "AMENDED under request {request}: from here the plan is that of file {}…",
            plan_file_digest.get(..12).unwrap_or(plan_file_digest)
        ),
        Event::HandoverOffered { from, to } if from == to => format!("{from} keeps the operator's seat"),
        Event::HandoverOffered { from, to } => format!("{from} offers the operator's seat to {to}"),
        Event::HandoverTaken { from, to } => format!("{to} has taken the operator's seat from {from}"),
        Event::RunReleased { person } => format!("released by {person}"),
        Event::RunClosed { state, exit, reason } => {
            format!("the run is over: {} (exit {exit}): {reason}", closed(*state))
        }
        Event::Note { person, .. } => format!("note by {person}"),
        Event::Interrupted { reason } => format!("left, can be resumed: {reason}"),
    }
}

/// Who is asked: how many of which roles, where several quorums are asked each of them.
pub fn asked_of(min: u32, roles: &[String], quorums: &[AskedQuorum]) -> String {
    let one = |min: u32, roles: &[String]| format!("{min} of {}", roles.join(", "));
    if quorums.is_empty() {
        return one(min, roles);
    }
    let each: Vec<String> = quorums.iter().map(|quorum| one(quorum.min, &quorum.roles)).collect();
    each.join(" and ")
}

/// Whether a step of a dry run really took place, in a word.
pub const fn faithful(fidelity: Fidelity) -> &'static str {
    match fidelity {
        Fidelity::Executed => "executed",
        Fidelity::Simulated => "simulated",
        Fidelity::Unverifiable => "unverifiable",
    }
}

/// A check's verdict in a word.
pub const fn verdict(result: &CheckResult) -> &'static str {
    if result.unverifiable {
        "unverifiable"
    } else if result.ok {
        "passed"
    } else {
        "FAILED"
    }
}

const fn beginning(role: Role) -> &'static str {
    match role {
        Role::Do => "executing",
        Role::Undo => "rolling back",
        Role::Close => "closing",
    }
}

const fn noun(role: Role) -> &'static str {
    match role {
        Role::Do => "the effect",
        Role::Undo => "the rollback",
        Role::Close => "the closing effect",
    }
}

const fn ending(role: Role, result: OutcomeResult) -> &'static str {
    match (role, result) {
        (Role::Do, OutcomeResult::Done) => "effect done",
        (Role::Undo, OutcomeResult::Done) => "rolled back",
        (Role::Close, OutcomeResult::Done) => "closing effect done",
        (Role::Do, OutcomeResult::Failed) => "effect FAILED",
        (Role::Undo, OutcomeResult::Failed) => "rollback FAILED",
        (Role::Close, OutcomeResult::Failed) => "closing effect FAILED",
        (_, OutcomeResult::InDoubt) => "IN DOUBT",
        (_, OutcomeResult::NotSent) => "not sent",
    }
}

/// What a voter did, or a role of a poll.
pub const fn decided(decision: Decision, poll: bool) -> &'static str {
    match (decision, poll) {
        (Decision::Approve, false) => "approved",
        (Decision::Reject, false) => "REJECTED",
        (Decision::Approve, true) => "answered go",
        (Decision::Reject, true) => "answered NO-GO",
        (Decision::Abstain, true | false) => "abstained",
    }
}

/// A role's answer to a poll, in a word.
pub const fn answer(decision: Decision) -> &'static str {
    match decision {
        Decision::Approve => "go",
        Decision::Reject => "NO-GO",
        Decision::Abstain => "abstains",
    }
}

/// How sure the tool is of a voter.
pub const fn assured(assurance: Assurance) -> &'static str {
    match assurance {
        Assurance::Typed => "typed",
        Assurance::Persona => "lab persona",
        Assurance::Attested => "attested",
    }
}

/// How a run ended.
pub const fn closed(state: CloseState) -> &'static str {
    match state {
        CloseState::Committed => "committed",
        CloseState::RolledBack => "rolled back",
        CloseState::Stopped => "stopped",
        CloseState::Failed => "failed",
        CloseState::DryRun => "dry run complete",
    }
}

/// A stage: a sign that differs in shape, and a word.
pub const fn stage(stage: Stage) -> (&'static str, &'static str) {
    match stage {
        Stage::Waiting => ("○", "waiting"),
        Stage::Checking => ("◌", "checking"),
        Stage::AtGate(_) => ("⏸", "at gate"),
        Stage::Approved(_) => ("●", "approved"),
        Stage::Running => ("▶", "running"),
        Stage::InDoubt => ("?", "IN DOUBT"),
        Stage::Verifying => ("◍", "verifying"),
        Stage::Done => ("✔", "done"),
        Stage::Failed => ("✘", "FAILED"),
        Stage::RollingBack => ("◀", "rolling back"),
        Stage::RolledBack => ("↶", "rolled back"),
        Stage::RollbackFailed => ("✘", "UNDO FAILED"),
        Stage::Skipped => ("⤼", "SKIPPED"),
        Stage::Kept => ("▣", "kept"),
    }
}

/// Where a step of a run stands: its stage, or in a dry run whether it really took place.
pub fn standing(state: &RunState, step: &StepState) -> (&'static str, &'static str) {
    match (state.facts.dry_run, step.stage) {
        (true, Stage::Done) => ("·", faithful(step.fidelity)),
        (false, Stage::Done) if step.close == EffectState::Done => ("↶", "put back"),
        (true | false, other) => stage(other),
    }
}

/// How a step is taken back, one thought a line.
pub fn rollback(step: &PlannedStep) -> Vec<String> {
    match &step.rollback {
        Rollback::Nothing => vec!["nothing to undo".to_owned()],
        Rollback::Action { action, .. } => vec![format!("undone by {}", action.uses)],
        Rollback::NotNeeded { reason } => vec![format!("not needed, it stays: {reason}")],
        Rollback::Abandon { action, redo } => vec![format!(
            "abandon by {}: the old side resumes; to do it again takes {}",
            action.uses,
            span(redo.0)
        )],
        Rollback::AtClose { action } => vec![format!("put back when the run closes, by {}", action.uses)],
        Rollback::Irreversible { reason } => vec!["POINT OF NO RETURN: it cannot be undone".to_owned(), reason.clone()],
    }
}

/// Who is asked before a step: its own gate, and the point of no return where it is one.
pub fn gates(plan: &Plan, step: &PlannedStep) -> String {
    let own = gate(&step.gate);
    if step.is_no_return() {
        format!("{own}; as the point of no return {}", gate(&plan.point_of_no_return))
    } else {
        own
    }
}

/// An instant of the record, in UTC.
pub fn instant(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).map_or_else(
        || "an unknown time".to_owned(),
        |at| format!("{} UTC", at.format("%Y-%m-%d %H:%M")),
    )
}

/// A duration as a clock: `41:07`, `1:02:03`.
pub fn clock(delta: TimeDelta) -> String {
    let seconds = delta.num_seconds().max(0);
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{rest:02}")
    } else {
        format!("{minutes:02}:{rest:02}")
    }
}

/// A planned duration in milliseconds as a clock.
pub fn span(ms: u64) -> String {
    clock(TimeDelta::milliseconds(i64::try_from(ms).unwrap_or(i64::MAX)))
}
