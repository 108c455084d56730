//! What is true of a run: the state that a fold over its events gives. Owns the types; only `apply` changes it, and
//! `question` asks about it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::amend::Drafts;
use super::event::{CheckResult, CloseState, Decision, Fidelity, Role, Subject};
use super::facts::{Facts, Gate, RequestId, StepId};
use super::proof::Preflight;
use super::shared::{List, Requests};

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
    pub steps: List<StepState>,
    pub requests: Requests,
    pub unwind: Option<Unwind>,
    /// Undos or closing effects that failed: a person says how each goes on.
    pub stuck: Vec<(StepId, Role)>,
    /// Counts intents and outcomes: gives the actual order of both.
    pub ticks: u64,
    /// The target was opened for writes in this run: its rows stay after what opened it is undone.
    pub target_written: bool,
    /// To whom the operator's seat is offered.
    pub seat_offered: Option<String>,
    /// When the window closes, extensions included, in milliseconds since the epoch.
    pub window_closes_ms: Option<i64>,
    /// The window has closed and was not extended since.
    pub window_over: bool,
    /// The run was held for it.
    pub window_asked: bool,
    /// Steps whose deadline passed before they were done.
    pub overdue: BTreeSet<StepId>,
    /// What is known of the peers before the first change.
    pub preflight: Preflight,
    /// How often steps were tried that an amendment took out: should they come back, they go on counting.
    pub retired: BTreeMap<StepId, u32>,
    /// How often the plan was amended.
    pub amended: u32,
    /// The plans that an amendment may name.
    pub drafts: Drafts,
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
    /// Who sees to it that it ends.
    pub owner: Option<String>,
    /// Until when, in milliseconds since the epoch.
    pub until_ms: Option<i64>,
}

/// Who holds a run whose window has closed.
pub const WINDOW: &str = "window";

/// A step that the run went on without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    pub reason: String,
    /// The request whose approvals allowed it.
    pub request: RequestId,
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
    /// Where the step stood before its undo was begun.
    pub before_undo: Stage,
    /// How often its way back was begun: each try has a name of its own.
    pub ways_back: u32,
    /// The tick of the intent, once there was one in this attempt.
    pub started: Option<u64>,
    /// The tick of the outcome, or of being skipped.
    pub settled: Option<u64>,
    /// Why the run went on without it.
    pub skip: Option<Skip>,
    /// Its failure asked for the unwinding already.
    pub asked_back: bool,
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
    /// The run goes on without it.
    Skipped,
    RollingBack,
    RolledBack,
    RollbackFailed,
    /// The run was unwound and what it made stays, on purpose.
    Kept,
}

impl Stage {
    /// Whether what needs the step may begin.
    pub const fn is_settled(self) -> bool {
        match self {
            Self::Done | Self::Skipped => true,
            Self::Waiting
            | Self::Checking
            | Self::AtGate(_)
            | Self::Approved(_)
            | Self::Running
            | Self::InDoubt
            | Self::Verifying
            | Self::Failed
            | Self::RollingBack
            | Self::RolledBack
            | Self::RollbackFailed
            | Self::Kept => false,
        }
    }
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
    /// Why a person asks for it.
    pub reason: Option<String>,
    /// The close that a longer window would have.
    pub closes_ms: Option<i64>,
    /// The plan that it would be amended with.
    pub plan: Option<String>,
    /// Those who were asked first did not answer in time.
    pub escalated: bool,
    /// Who passed it without its persons, and why.
    pub broken: Option<Broken>,
    /// Who signed after the fact.
    pub countersigned: Vec<String>,
}

/// A gate that was passed in an emergency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub person: String,
    pub reason: String,
}

/// One vote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vote {
    pub person: String,
    pub role: String,
    pub decision: Decision,
    pub comment: String,
    /// Who wrote it down, where the voter was only heard.
    pub attested_by: Option<String>,
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
