//! What a headless run does next, from the state alone. Pure: sends nothing, waits for nothing.

use std::collections::BTreeSet;

use crate::frontend::ending::is_stuck_way_back;
use crate::frontend::poll::next_go;
use crate::frontend::voters::{Voter, candidates};
use crate::projection::samples::UNLOOKED;
use crate::run::event::{Decision, Subject};
use crate::run::facts::{RequestId, StepId};
use crate::run::gate::minimum;
use crate::run::poll::is_poll;
use crate::run::state::{Phase, Request, Stage};
use crate::run::{Command, RunState};

/// Why a run is held by `--amend`: until the amendment is answered.
pub const AMENDING: &str = "a changed runbook is asked for";

/// The next act.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// The engine is at work, or only a person could act.
    Wait,
    Tell(Command),
    /// Leave with this code; the run can be resumed unless it is over.
    End {
        exit: u8,
        reason: String,
    },
}

/// Decides in the place of a person, as far as it was allowed to.
#[derive(Debug, Clone, Default)]
pub struct Autopilot {
    pub operator: String,
    pub approve_all: bool,
    /// A scripted rehearsal: when this step is reached, unwind to that one (none: the whole run), once.
    pub roll_back_at: Option<(StepId, Option<StepId>)>,
    /// How often the plan was amended before this sitting.
    amended: u32,
    begun: bool,
    released: bool,
    refused: BTreeSet<(RequestId, String)>,
    fault: Option<String>,
}

impl Autopilot {
    /// An autopilot that has done nothing yet.
    pub fn new(operator: &str, approve_all: bool, roll_back_at: Option<(StepId, Option<StepId>)>) -> Self {
        Self {
            operator: operator.to_owned(),
            approve_all,
            roll_back_at,
            ..Self::default()
        }
    }

    /// In a run that was amended so often before.
    #[must_use]
    pub const fn after(mut self, amended: u32) -> Self {
        self.amended = amended;
        self
    }

    /// Whether the scripted rollback was asked for and never came to be.
    pub const fn missed_its_rollback(&self) -> bool {
        self.roll_back_at.is_some() && !self.begun
    }

    /// What to do in `state`.
    pub fn next(&self, state: &RunState) -> Next {
        if let Phase::Closed { exit, state } = state.phase {
            let reason = crate::projection::words::closed(state).to_owned();
            return Next::End { exit, reason };
        }
        match self.judged(state) {
            // What runs beside it has its outcome first: nobody would be there to hear it.
            Next::End { .. } if is_at_work(state) => Next::Wait,
            next => next,
        }
    }

    fn judged(&self, state: &RunState) -> Next {
        if let Some(fault) = &self.fault {
            return end(1, fault.clone());
        }
        if state.in_doubt() {
            return end(6, doubt(state));
        }
        if let Some((step, _)) = state.stuck.first() {
            let exit = if is_stuck_way_back(state) { 5 } else { 1 };
            return end(
                exit,
                format!("step {step} could not be put back by itself, and nobody can be asked"),
            );
        }
        if state.hold.is_none()
            && let Some(next) = self.scripted(state)
        {
            return next;
        }
        // What failed may be what is amended.
        if let Some(next) = self.amending(state) {
            return next;
        }
        if let Some(failed) = failed(state) {
            return end(1, failed);
        }
        if state.hold.is_some() {
            return self.held(state);
        }
        self.at_gates(state)
    }

    /// A command was taken.
    pub fn told(&mut self, command: &Command) {
        if let Command::Rollback { .. } = command {
            self.begun = true;
        }
        if let Command::Release { .. } = command {
            self.released = true;
        }
    }

    /// A command was refused in `state`; the same is not tried again, but for a rollback that came while something ran.
    pub fn refused(&mut self, command: &Command, reason: &str, state: Option<&RunState>) {
        let running = state.is_some_and(|state| state.open_effects().next().is_some());
        if let Command::Vote { request, person, .. } = command {
            self.refused.insert((*request, person.clone()));
        } else if !(running && matches!(command, Command::Rollback { .. })) {
            self.fault = Some(format!("it could not go on as asked: {reason}"));
        }
    }

    /// The scripted rollback, once its step is reached and nothing runs; what runs is waited for, and nothing more is
    /// begun beside it.
    fn scripted(&self, state: &RunState) -> Option<Next> {
        let (at, to) = self.roll_back_at.as_ref().filter(|_| !self.begun)?;
        if state.step(at).is_none_or(|step| step.stage == Stage::Waiting) {
            return None;
        }
        if state.open_effects().next().is_some() {
            return Some(Next::Wait);
        }
        Some(Next::Tell(Command::Rollback {
            to: to.clone(),
            person: self.operator.clone(),
        }))
    }

    /// Only the hold that its own partial unwinding ended in is released; any other waits for a person.
    fn held(&self, state: &RunState) -> Next {
        let ours = self.begun && !self.released && self.approve_all;
        let by_unwinding = state.hold.as_ref().is_some_and(|hold| hold.person == "unwinding");
        if ours && by_unwinding && state.phase == Phase::Running {
            return self.release();
        }
        let why = state.hold.as_ref().map_or("", |hold| hold.reason.as_str());
        end(
            3,
            format!("the run is held, and nobody sits here to release it; resume in the cockpit: {why}"),
        )
    }

    /// What `--amend` asked for is answered, then its hold ends.
    fn amending(&self, state: &RunState) -> Option<Next> {
        let ours = state.hold.as_ref().is_some_and(|hold| hold.reason == AMENDING);
        if !ours || state.phase != Phase::Running {
            return None;
        }
        let asked = state.open_requests().any(|request| request.subject == Subject::Amend);
        match asked {
            true => Some(self.at_gates(state)),
            false => (self.approve_all && state.amended > self.amended).then(|| self.release()),
        }
    }

    fn release(&self) -> Next {
        Next::Tell(Command::Release {
            person: self.operator.clone(),
        })
    }

    /// Approves the first gate for which somebody is left; where there is none, says so of the first.
    fn at_gates(&self, state: &RunState) -> Next {
        // In a hold only the amendment that it is for can be answered.
        let open = || {
            let held = state.hold.is_some();
            let open = state.open_requests();
            open.filter(move |request| !held || request.subject == Subject::Amend)
        };
        let Some(first) = open().next() else {
            return Next::Wait;
        };
        if !self.approve_all {
            return end(
                3,
                format!(
                    "request {} asks for an approval, and nobody sits here to give it; resume in the cockpit",
                    first.id
                ),
            );
        }
        let votable = open().find_map(|request| {
            let refused = |person: &str| self.refused.contains(&(request.id, person.to_owned()));
            let next = if is_poll(&request.gate) {
                next_go(state, request, refused)
            } else {
                let voters = candidates(state, request).into_iter();
                voters.into_iter().find(|voter| !refused(&voter.person))
            };
            next.map(|voter| vote(request, voter))
        });
        votable.map_or_else(
            || {
                end(
                    3,
                    format!(
                        "request {} needs {} votes and nobody is left who may vote",
                        first.id,
                        minimum(&first.gate)
                    ),
                )
            },
            Next::Tell,
        )
    }
}

/// Whether an effect is under way, or is being looked for.
fn is_at_work(state: &RunState) -> bool {
    state.open_effects().any(|(_, _, effect)| !effect.needs_person())
}

fn end(exit: u8, reason: String) -> Next {
    Next::End { exit, reason }
}

fn vote(request: &Request, voter: Voter) -> Command {
    Command::Vote {
        request: request.id,
        person: voter.person,
        role: voter.role,
        decision: Decision::Approve,
        phrase: request.gate.phrase.clone(),
        comment: UNLOOKED.to_owned(),
        attested_by: None,
    }
}

fn doubt(state: &RunState) -> String {
    let open: Vec<String> = state
        .open_effects()
        .filter(|(_, _, effect)| effect.needs_person())
        .map(|(step, _, _)| step.to_string())
        .collect();
    format!(
        "the outcome of {} is unknown; a person has to look and decide",
        open.join(", ")
    )
}

fn failed(state: &RunState) -> Option<String> {
    if state.phase != Phase::Running {
        return None;
    }
    let (facts, step) = state.each().find(|(_, step)| step.stage == Stage::Failed)?;
    let why = step.reason.as_deref().unwrap_or("no reason was recorded");
    Some(format!("step {} failed, and nobody can be asked: {why}", facts.id))
}
