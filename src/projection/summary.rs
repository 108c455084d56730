//! The last screen of a run: what it came to and what to type next. Must not invent a number: what was not recorded is
//! said to be unknown.

use chrono::{DateTime, Utc};

use crate::run::RunState;
use crate::run::event::{Decision, Fidelity, Role};
use crate::run::state::{Phase, Stage, StepState};
use crate::runbook::plan::Plan;

use super::alarms::{Kind, alarms};
use super::story::Story;
use super::tally::Voted;
use super::timeline::AttemptEnd;
use super::words::{self, assured, clock, closed, decided, environment, label, span};

/// Commands that a person may type next, ready to be pasted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NextCommands {
    pub resume: String,
    pub verify: String,
    pub report: String,
}

/// A run's summary, in lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// One line: the run and how it stands.
    pub headline: String,
    pub lines: Vec<String>,
}

impl Summary {
    /// The summary of a run as it stands at `now`.
    pub fn new(
        plan: &Plan,
        state: &RunState,
        story: &Story,
        run_id: &str,
        next: &NextCommands,
        now: DateTime<Utc>,
    ) -> Self {
        let (word, exit) = standing(state);
        let mut lines = Vec::new();
        let kind = environment(plan.environment.kind);
        lines.push(format!("{} in {} ({kind})", plan.title, plan.environment.name));
        if let Some(reason) = &story.tally.reason {
            lines.push(format!("because: {reason}"));
        }
        lines.push(times(story, now));
        if !state.facts.dry_run {
            lines.push(downtime(plan, story, now));
            lines.extend(losses(state, story));
        }
        lines.push(String::new());
        lines.extend(steps(plan, state, story, now));
        lines.push(String::new());
        lines.extend(approvals(plan, state, story));
        lines.push(String::new());
        if !state.is_closed() && !next.resume.is_empty() {
            lines.push(format!("resume   {}", next.resume));
        }
        for (name, command) in [("verify", &next.verify), ("report", &next.report)] {
            if !command.is_empty() {
                lines.push(format!("{name}   {command}"));
            }
        }
        let exit = exit.map_or_else(String::new, |exit| format!(", exit {exit}"));
        let dry = if state.facts.dry_run { "DRY RUN, " } else { "" };
        Self {
            headline: format!("{dry}run {run_id}: {word}{exit}"),
            lines,
        }
    }
}

fn standing(state: &RunState) -> (String, Option<u8>) {
    match state.phase {
        Phase::New => ("not begun".to_owned(), None),
        Phase::Closed { state, exit } => (closed(state).to_owned(), Some(exit)),
        Phase::Running | Phase::Unwinding | Phase::CommitGate(_) | Phase::Closing(_) => {
            let what = if state.in_doubt() {
                "not over, an effect is in doubt"
            } else if !state.stuck.is_empty() {
                "not over, a rollback or closing effect failed: hands needed"
            } else if state.steps.iter().any(|step| step.stage == Stage::Failed) {
                "not over, a step failed"
            } else if state.phase == Phase::Unwinding {
                "not over, it is being rolled back"
            } else if state.hold.is_some() {
                "not over, held"
            } else {
                "not over"
            };
            (what.to_owned(), None)
        }
    }
}

fn times(story: &Story, now: DateTime<Utc>) -> String {
    let timeline = &story.timeline;
    let until = timeline.ended.unwrap_or(now);
    let whole = timeline
        .began
        .map_or_else(|| "unknown".to_owned(), |began| clock(until - began));
    format!(
        "took {whole}; over all steps: machine {}, waiting for people {}",
        clock(timeline.machine(until)),
        clock(timeline.human(until))
    )
}

fn downtime(plan: &Plan, story: &Story, now: DateTime<Utc>) -> String {
    if !story.downtime.is_declared() {
        return "downtime: the runbook marks none".to_owned();
    }
    let budget = plan.environment.downtime_budget;
    let planned = budget.map_or_else(String::new, |budget| format!(" of {} agreed", span(budget.0)));
    let Some(taken) = story.downtime.so_far(now) else {
        return format!("downtime: none begun{planned}");
    };
    let over = budget.is_some_and(|budget| taken.num_milliseconds() > i64::try_from(budget.0).unwrap_or(i64::MAX));
    let verdict = match (budget, over, story.downtime.speed) {
        (Some(_), true, _) => ", OVER the budget".to_owned(),
        // A lab that runs faster than the night proves nothing about the night's length.
        (Some(_), false, Some(speed)) => format!(", at {speed} times speed: no measure of the budget"),
        (Some(_), false, None) => ", within the budget".to_owned(),
        (None, _, _) => String::new(),
    };
    let still = if story.downtime.is_running() {
        ", STILL RUNNING"
    } else {
        ""
    };
    let back = story.downtime.pieces.iter().any(|piece| piece.by_way_back);
    let by = if back { ", ended by going back" } else { "" };
    format!("downtime: {}{planned}{verdict}{by}{still}", clock(taken))
}

fn losses(state: &RunState, story: &Story) -> Vec<String> {
    let tally = &story.tally;
    if tally.undone.is_empty() && state.unwind.is_none() {
        return Vec::new();
    }
    let mut lines = vec![match (tally.lost_at_last, tally.lost) {
        (Some(0), _) => "rows lost by the rollback: 0, counted at the last".to_owned(),
        (Some(rows), _) => format!("rows LOST by the rollback: {rows}, counted at the last"),
        (None, Some(0)) => "rows lost by the rollback: 0 when it was approved".to_owned(),
        (None, Some(rows)) => format!("rows LOST by the rollback: {rows} when it was approved; not counted again"),
        (None, None) => "rows lost by the rollback: UNKNOWN, they could not be counted".to_owned(),
    }];
    if let Some(fault) = &tally.fault {
        lines.push(format!("not known: {fault}"));
    }
    lines
}

fn steps(plan: &Plan, state: &RunState, story: &Story, now: DateTime<Utc>) -> Vec<String> {
    let stages = |stage: Stage| state.steps.iter().filter(|step| step.stage == stage).count();
    let count = |wanted: Fidelity| {
        let counted = state.steps.iter().filter(|step| step.stage == Stage::Done);
        counted.filter(|step| step.fidelity == wanted).count()
    };
    let mut lines = vec![if state.facts.dry_run {
        format!(
            "steps: {} of {} executed, {} simulated, {} unverifiable",
            count(Fidelity::Executed),
            plan.steps.len(),
            count(Fidelity::Simulated),
            count(Fidelity::Unverifiable)
        )
    } else {
        let skipped = match stages(Stage::Skipped) {
            0 => String::new(),
            skipped => format!("{skipped} SKIPPED, "),
        };
        format!(
            "steps: {} of {} done, {skipped}{} rolled back",
            stages(Stage::Done),
            plan.steps.len(),
            stages(Stage::RolledBack)
        )
    }];
    for ((planned, step), times) in plan.steps.iter().zip(&state.steps).zip(&story.timeline.steps) {
        if is_untouched(step) && times.attempts.is_empty() {
            continue;
        }
        let (sign, word) = words::standing(state, step);
        let took = times
            .attempts
            .iter()
            .rev()
            .find(|attempt| attempt.end != AttemptEnd::Void)
            .map_or_else(String::new, |attempt| format!("  {}", clock(attempt.machine(now))));
        let expected = planned
            .expect
            .map_or_else(String::new, |expect| format!(" (planned {})", span(expect.0)));
        let tries = if times.attempts.len() > 1 {
            format!(", {} attempts", times.attempts.len())
        } else {
            String::new()
        };
        lines.push(format!(
            "  {sign} {}  {word}{took}{expected}{tries}",
            label(plan, &times.step)
        ));
        if matches!(step.stage, Stage::Failed | Stage::InDoubt | Stage::RollbackFailed)
            && let Some(reason) = &step.reason
        {
            lines.push(format!("      {reason}"));
        }
        if let (Stage::Skipped, Some(skip)) = (step.stage, &step.skip) {
            lines.push(format!("      request {}: {}", skip.request, skip.reason));
        }
    }
    let untouched = state.steps.iter().filter(|step| is_untouched(step)).count();
    if untouched > 0 {
        lines.push(format!("  ○ not begun: {untouched}"));
    }
    for (step, role) in &state.stuck {
        let what = match role {
            Role::Do => "the step",
            Role::Undo => "the rollback",
            Role::Close => "the closing effect",
        };
        lines.push(format!("  ✘ {what} of {} needs hands", label(plan, step)));
    }
    lines
}

/// Nothing of it was begun, and nobody decided to go on without it.
fn is_untouched(step: &StepState) -> bool {
    step.attempt == 0 && step.stage != Stage::Skipped
}

fn approvals(plan: &Plan, state: &RunState, story: &Story) -> Vec<String> {
    let tally = &story.tally;
    let mut lines = vec![format!(
        "votes: {}, gates that asked nobody: {}, notes: {}, holds: {}",
        tally.votes.len(),
        tally.unasked,
        tally.notes,
        tally.holds
    )];
    match tally.amended {
        0 => {}
        1 => lines.push("  ! the runbook was amended once; the gates say what it changed".to_owned()),
        times => lines.push(format!(
            "  ! the runbook was amended {times} times; the gates say what it changed"
        )),
    }
    for alarm in alarms(state).iter().filter(|alarm| alarm.kind != Kind::Skipped) {
        let request = alarm.request.and_then(|id| state.requests.get(&id));
        let about = match (&alarm.step, request) {
            (_, Some(request)) => format!("{}: ", words::about(plan, request.subject, request.step.as_ref())),
            (Some(step), None) => format!("{}: ", label(plan, step)),
            (None, None) => String::new(),
        };
        lines.push(format!("  ! {about}{}", alarm.text));
    }
    for vote in &tally.votes {
        let what = words::about(plan, vote.subject, vote.step.as_ref());
        let sign = match vote.decision {
            Decision::Approve => "✔",
            Decision::Reject => "✘",
            Decision::Abstain => "○",
        };
        let did = decided(vote.decision, vote.poll);
        let at = if vote.poll { " at" } else { "" };
        let heard = vote
            .attested_by
            .as_ref()
            .map_or_else(String::new, |by| format!(", written down by {by}"));
        lines.push(format!(
            "  {sign} {} {did}{at} {what} as {} ({}{heard}){}",
            vote.person,
            vote.role,
            assured(vote.assurance),
            said(vote)
        ));
    }
    lines
}

/// What a role said with its answer; why a gate was rejected stands with its step.
fn said(vote: &Voted) -> String {
    if vote.poll && !vote.comment.is_empty() {
        format!(": {}", vote.comment)
    } else {
        String::new()
    }
}
