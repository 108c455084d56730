//! What is true of a run: the state that a fold over its events gives. Owns the types and questions about them; only
//! `apply` changes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::event::{CheckResult, CloseState, Decision, Fidelity, Role, Subject};
use super::facts::{Facts, Gate, RequestId, StepEffect, StepId, Undo};

/// A run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunState {
    pub facts: Arc<Facts>,
    /// Who operates now.
    pub operator: String,
    /// Everybody who ever operated this run.
    pub operators: BTreeSet<String>,
    pub phase: Phase,
    pub hold: Option<Hold>,
    pub steps: Vec<StepState>,
    pub requests: BTreeMap<RequestId, Request>,
    pub unwind: Option<Unwind>,
    /// An undo or closing effect failed: a person says how it goes on.
    pub stuck: Option<(StepId, Role)>,
    /// How many intents there were: gives the actual order of starts.
    pub intents: u64,
    /// The target was opened for writes in this run: its rows stay after what opened it is undone.
    pub target_written: bool,
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not opened.
    New,
    /// Steps are worked through.
    Running,
    /// Undos are prepared, asked for or done; see [`RunState::unwind`].
    Unwinding,
    /// The commit gate was asked.
    CommitGate(RequestId),
    /// The commit gate was granted: closing effects are done.
    Closing(RequestId),
    /// It is over.
    Closed { state: CloseState, exit: u8 },
}

/// A hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    pub reason: String,
    pub person: String,
}

/// One step of a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StepState {
    pub stage: Stage,
    /// 0 before the first attempt.
    pub attempt: u32,
    /// The effect of `attempt`.
    pub act: EffectState,
    /// An earlier attempt may have left something, and nobody has undone it.
    pub residue: bool,
    /// Its undo.
    pub undo: EffectState,
    /// Its closing effect.
    pub close: EffectState,
    /// The number of the intent in actual order, once there was one in this attempt.
    pub started: Option<u64>,
    /// Whether the effect of the attempt really took place.
    pub fidelity: Fidelity,
    /// The action's result, as far as the record keeps it.
    pub result: Map<String, Value>,
    /// The declared outputs, once verified.
    pub outputs: Map<String, Value>,
    /// What the attempt's checks said.
    pub checks: Vec<CheckResult>,
    /// Why it failed, or what is in doubt.
    pub reason: Option<String>,
}

impl StepState {
    /// Whether the world may bear something that this step did.
    pub const fn stands(&self) -> bool {
        (self.act.stands() || self.residue) && !matches!(self.undo, EffectState::Done)
    }
}

/// Where a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stage {
    #[default]
    Waiting,
    Checking,
    AtGate(RequestId),
    Approved(RequestId),
    Running,
    InDoubt,
    Verifying,
    Done,
    Failed,
    RollingBack,
    RolledBack,
    RollbackFailed,
}

/// What is known of one effect (do, undo or close).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum EffectState {
    /// No intent.
    #[default]
    None,
    /// Intent journaled; the executor is at it.
    InFlight {
        request: RequestId,
        mutates: bool,
        acked: Option<String>,
    },
    /// The process that was at it is gone; it is being observed.
    Orphaned {
        request: RequestId,
        acked: Option<String>,
    },
    /// Sent, outcome unknown; `asked` once observing could not tell either.
    InDoubt {
        request: RequestId,
        acked: Option<String>,
        asked: bool,
    },
    Done,
    /// It failed and certainly changed nothing.
    Failed,
    /// It failed after the peer had accepted it: it may have happened in part.
    MaybeHappened,
    /// Proven not to have been sent.
    NotSent,
}

impl EffectState {
    /// Whether the world may bear this effect.
    pub const fn stands(&self) -> bool {
        match self {
            Self::None | Self::Failed | Self::NotSent => false,
            Self::InFlight { .. } | Self::Orphaned { .. } | Self::InDoubt { .. } | Self::Done | Self::MaybeHappened => {
                true
            }
        }
    }

    /// Whether its outcome is still open.
    pub const fn is_open(&self) -> bool {
        match self {
            Self::InFlight { .. } | Self::Orphaned { .. } | Self::InDoubt { .. } => true,
            Self::None | Self::Failed | Self::NotSent | Self::Done | Self::MaybeHappened => false,
        }
    }

    /// Whether only a person can say what became of it.
    pub const fn needs_person(&self) -> bool {
        match self {
            Self::InDoubt { asked, .. } => *asked,
            Self::InFlight { .. }
            | Self::Orphaned { .. }
            | Self::None
            | Self::Failed
            | Self::NotSent
            | Self::Done
            | Self::MaybeHappened => false,
        }
    }
}

/// A gate's request.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub id: RequestId,
    pub subject: Subject,
    pub step: Option<StepId>,
    pub attempt: Option<u32>,
    pub gate: Gate,
    pub action_digest: String,
    pub evidence_digest: String,
    pub identity: Value,
    pub requested_ms: i64,
    pub expires_ms: Option<i64>,
    pub votes: Vec<Vote>,
    pub status: RequestStatus,
}

/// One vote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vote {
    pub person: String,
    pub role: String,
    pub decision: Decision,
    pub comment: String,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestStatus {
    Open,
    Granted,
    Rejected,
    Voided,
    Expired,
    /// Granted, and its effect was begun.
    Consumed,
}

/// An unwinding.
#[derive(Debug, Clone, PartialEq)]
pub struct Unwind {
    /// The step that stands; none: the whole run.
    pub to: Option<StepId>,
    /// Still to undo, in this order.
    pub steps: Vec<StepId>,
    pub undone: Vec<StepId>,
    pub stage: UnwindStage,
    pub past_no_return: bool,
    /// Rows that the undo loses, as counted for the gate.
    pub lost: Option<u64>,
    /// Rows lost as counted when no more could come: after the way back of the clients was waited out.
    pub lost_at_last: Option<u64>,
    /// Why they could not be counted.
    pub fault: Option<String>,
    pub person: String,
}

/// Where an unwinding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnwindStage {
    /// A new process has to plan the rest anew.
    Replan,
    /// Previews and counts are gathered.
    Preparing,
    AtGate(RequestId),
    Running(RequestId),
}

impl RunState {
    /// A run that has not begun.
    pub fn new(facts: Arc<Facts>) -> Self {
        let steps = vec![StepState::default(); facts.steps.len()];
        Self {
            facts,
            operator: String::new(),
            operators: BTreeSet::new(),
            phase: Phase::New,
            hold: None,
            steps,
            requests: BTreeMap::new(),
            unwind: None,
            stuck: None,
            intents: 0,
            target_written: false,
        }
    }

    /// A step's state.
    pub fn step(&self, id: &StepId) -> Option<&StepState> {
        self.facts.index(id).and_then(|index| self.steps.get(index))
    }

    /// The id that the next request gets.
    pub fn next_request(&self) -> RequestId {
        RequestId(self.requests.keys().next_back().map_or(1, |last| last.0 + 1))
    }

    /// Requests that are asked, and approvals of steps that are granted and not consumed: what dies with a process and
    /// with the way forward.
    pub fn pending_approvals(&self) -> Vec<RequestId> {
        self.requests
            .values()
            .filter(|request| match request.status {
                RequestStatus::Open => true,
                RequestStatus::Granted => request.subject == Subject::Step,
                RequestStatus::Rejected | RequestStatus::Voided | RequestStatus::Expired | RequestStatus::Consumed => {
                    false
                }
            })
            .map(|request| request.id)
            .collect()
    }

    /// Requests that wait for votes.
    pub fn open_requests(&self) -> impl Iterator<Item = &Request> {
        self.requests
            .values()
            .filter(|request| request.status == RequestStatus::Open)
    }

    /// Effects whose outcome is open: step, role, state.
    pub fn open_effects(&self) -> impl Iterator<Item = (&StepId, Role, &EffectState)> {
        self.facts.steps.iter().zip(&self.steps).flat_map(|(facts, step)| {
            [
                (Role::Do, &step.act),
                (Role::Undo, &step.undo),
                (Role::Close, &step.close),
            ]
            .into_iter()
            .filter(|(_, effect)| effect.is_open())
            .map(|(role, effect)| (&facts.id, role, effect))
        })
    }

    /// The step that occupies the run: neither waiting nor done nor rolled back.
    pub fn active(&self) -> Option<usize> {
        self.steps.iter().position(|step| match step.stage {
            Stage::Waiting | Stage::Done | Stage::RolledBack => false,
            Stage::Checking
            | Stage::AtGate(_)
            | Stage::Approved(_)
            | Stage::Running
            | Stage::InDoubt
            | Stage::Verifying
            | Stage::Failed
            | Stage::RollingBack
            | Stage::RollbackFailed => true,
        })
    }

    /// The next step to begin: waiting, all needs done.
    pub fn next_step(&self) -> Option<usize> {
        (0..self.steps.len()).find(|&index| {
            self.steps.get(index).is_some_and(|step| step.stage == Stage::Waiting)
                && self.facts.steps.get(index).is_some_and(|facts| {
                    facts
                        .needs
                        .iter()
                        .all(|need| self.step(need).is_some_and(|step| step.stage == Stage::Done))
                })
        })
    }

    /// Whether every step is done.
    pub fn all_done(&self) -> bool {
        self.steps.iter().all(|step| step.stage == Stage::Done)
    }

    /// Whether something stands that cannot be undone without losing rows.
    pub fn past_no_return(&self) -> bool {
        self.facts.steps.iter().zip(&self.steps).any(|(facts, step)| {
            facts.effect == StepEffect::Mutate
                && (facts.writes_on_target || facts.undo == Undo::Irreversible)
                && step.stands()
        })
    }

    /// Closing effects that are still to be done, in the runbook's order.
    pub fn closing_left(&self) -> Vec<StepId> {
        self.facts
            .steps
            .iter()
            .zip(&self.steps)
            .filter(|(facts, step)| facts.undo == Undo::AtClose && step.stands() && step.close != EffectState::Done)
            .map(|(facts, _)| facts.id.clone())
            .collect()
    }

    /// Whether a person has to decide about an effect in doubt.
    pub fn in_doubt(&self) -> bool {
        self.open_effects().any(|(_, _, effect)| effect.needs_person())
    }

    /// Whether the run is over.
    pub const fn is_closed(&self) -> bool {
        match self.phase {
            Phase::Closed { .. } => true,
            Phase::New | Phase::Running | Phase::Unwinding | Phase::CommitGate(_) | Phase::Closing(_) => false,
        }
    }
}
