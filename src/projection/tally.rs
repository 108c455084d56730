//! What the end of a run is asked about and the state forgets: who approved what, rows lost, notes, holds. Must not
//! judge.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::run::Event;
use crate::run::event::{Assurance, Decision, OutcomeResult, PersonDecision, Role, Subject};
use crate::run::facts::{RequestId, StepId};

/// Counts and lists over a run's events.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tally {
    pub operator: String,
    pub votes: Vec<Voted>,
    /// Requests that asked nobody, with their reason.
    pub unasked: u64,
    /// Rows that the last unwinding would lose, as counted for its gate.
    pub lost: Option<u64>,
    /// Rows lost as counted when no more could come.
    pub lost_at_last: Option<u64>,
    /// Why rows could not be counted.
    pub fault: Option<String>,
    /// Whether there was an unwinding that undid something.
    pub undone: Vec<StepId>,
    pub notes: u64,
    pub holds: u64,
    /// How often the plan was amended.
    pub amended: u64,
    pub resumed: u64,
    /// Steps that the run went on without.
    pub skipped: u64,
    /// Who broke the glass, and why.
    pub broken: Vec<(String, String)>,
    /// What needs a second signature, and what has it.
    pub attested: u64,
    pub countersigned: u64,
    /// What ended the run, or the process.
    pub reason: Option<String>,
    subjects: BTreeMap<RequestId, (Subject, Option<StepId>)>,
}

/// One vote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voted {
    pub at: DateTime<Utc>,
    pub subject: Subject,
    pub step: Option<StepId>,
    pub decision: Decision,
    pub person: String,
    pub role: String,
    pub assurance: Assurance,
    /// Who wrote it down, where the voter was only heard.
    pub attested_by: Option<String>,
    pub comment: String,
    /// The answer of a role.
    pub poll: bool,
}

impl Tally {
    /// Takes one event in.
    pub fn fold(&mut self, at: DateTime<Utc>, event: &Event) {
        match event {
            Event::Genesis { operator, .. } => self.operator.clone_from(operator),
            Event::Resumed { operator, .. } => {
                self.operator.clone_from(operator);
                self.resumed += 1;
                self.reason = None;
            }
            Event::GateRequested {
                request,
                subject,
                step,
                auto_reason,
                ..
            } => {
                self.unasked += u64::from(auto_reason.is_some());
                self.subjects.insert(*request, (*subject, step.clone()));
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
                also: _,
            } => {
                self.attested += u64::from(attested_by.is_some());
                let (subject, step) = self.subjects.get(request).cloned().unwrap_or((Subject::Step, None));
                self.votes.push(Voted {
                    at,
                    subject,
                    step,
                    decision: *decision,
                    person: person.clone(),
                    role: role.clone(),
                    assurance: *assurance,
                    attested_by: attested_by.clone(),
                    comment: comment.clone(),
                    poll: *poll,
                });
            }
            Event::UnwindPrepared { lost, fault } => {
                self.lost = *lost;
                self.fault.clone_from(fault);
            }
            Event::EffectOutcome {
                step,
                role: Role::Undo,
                result: OutcomeResult::Done,
                outputs,
                ..
            } => {
                self.undone.push(step.clone());
                if let Some(lost) = outputs.get("lost").and_then(serde_json::Value::as_u64) {
                    self.lost_at_last = Some(self.lost_at_last.unwrap_or(0).saturating_add(lost));
                }
            }
            Event::EffectDecided {
                step,
                role: Role::Undo,
                decision: PersonDecision::Done | PersonDecision::ByHand,
                ..
            } => self.undone.push(step.clone()),
            Event::Note { .. } => self.notes += 1,
            Event::RunHeld { .. } => self.holds += 1,
            Event::RunAmended { .. } => self.amended += 1,
            Event::StepSkipped { .. } => self.skipped += 1,
            Event::GateBroken { person, reason, .. } => {
                self.broken.push((person.clone(), reason.clone()));
                self.attested += 1;
            }
            Event::GateCountersigned { .. } => self.countersigned += 1,
            Event::RunClosed { reason, .. } | Event::Interrupted { reason } => self.reason = Some(reason.clone()),
            Event::StepChecking { .. }
            | Event::CheckResult { .. }
            | Event::GateGranted { .. }
            | Event::GateVoided { .. }
            | Event::GateExpired { .. }
            | Event::EffectIntent { .. }
            | Event::EffectAck { .. }
            | Event::EffectKept { .. }
            | Event::EffectOutcome { .. }
            | Event::EffectDecided { .. }
            | Event::StepVerifying { .. }
            | Event::StepDone { .. }
            | Event::StepFailed { .. }
            | Event::UnwindPlanned { .. }
            | Event::UnwindDropped { .. }
            | Event::UnwindFinished { .. }
            | Event::EffectCancel { .. }
            | Event::DeadlinePassed { .. }
            | Event::WindowClosed { .. }
            | Event::PreflightBegun { .. }
            | Event::PreflightEnded { .. }
            | Event::PreflightVoided { .. }
            | Event::WindowExtended { .. }
            | Event::HandoverOffered { .. }
            | Event::HandoverTaken { .. }
            | Event::RunReleased { .. } => {}
        }
    }
}
