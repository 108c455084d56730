//! What happened in a run. Events are the journal's records and the only source of the state; their names and fields
//! are a persisted format.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::facts::{RequestId, StepId};

/// What an effect is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Do,
    Undo,
    Close,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    Step,
    Unwind,
    Commit,
    /// To go on without a step.
    Skip,
    /// To work beyond the agreed window.
    Window,
    /// To go on by another plan.
    Amend,
}

/// One of the quorums that a request asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedQuorum {
    pub min: u32,
    pub roles: Vec<String>,
}

/// A vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    Approve,
    Reject,
    /// Neither; only a poll takes it.
    Abstain,
}

/// How an effect ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeResult {
    Done,
    Failed,
    InDoubt,
    /// Proven not to have been sent.
    NotSent,
}

/// Whether what a record tells of really took place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fidelity {
    #[default]
    Executed,
    /// In a dry run: nothing was sent.
    Simulated,
    /// In a dry run: it depends on something that was only simulated, so it was not executed.
    Unverifiable,
}

impl Fidelity {
    /// Whether it really took place.
    pub const fn is_executed(&self) -> bool {
        matches!(self, Self::Executed)
    }
}

/// How sure the tool is of who voted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assurance {
    /// A claimed identity at the keyboard.
    Typed,
    /// One person playing several parts in the lab.
    Persona,
    /// A voice on the bridge, written down by the operator; to be countersigned within 24 hours.
    Attested,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseState {
    Committed,
    RolledBack,
    Stopped,
    Failed,
    /// A dry run came to its end; nothing was changed.
    DryRun,
}

/// One check's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// `before` or `after`.
    pub when: String,
    pub index: u32,
    pub uses: String,
    pub ok: bool,
    /// In a dry run: nothing could be checked, so nothing failed either.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unverifiable: bool,
    pub detail: String,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ev")]
pub enum Event {
    #[serde(rename = "genesis")]
    Genesis {
        operator: String,
        #[serde(flatten)]
        data: Map<String, Value>,
    },
    #[serde(rename = "resumed")]
    Resumed { operator: String, host: String, pid: u32 },
    #[serde(rename = "step.checking")]
    StepChecking { step: StepId, attempt: u32 },
    #[serde(rename = "check.result")]
    CheckResult {
        step: StepId,
        attempt: u32,
        #[serde(flatten)]
        result: CheckResult,
    },
    #[serde(rename = "gate.requested")]
    GateRequested {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<StepId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attempt: Option<u32>,
        request: RequestId,
        subject: Subject,
        action_digest: String,
        evidence_digest: String,
        identity: Value,
        /// Milliseconds since the epoch.
        requested_ms: i64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_ms: Option<i64>,
        min: u32,
        roles: Vec<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        phrase: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        auto_reason: Option<String>,
        /// Why a person asks for it, where a person does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// The close that a longer window would have, in milliseconds since the epoch.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        closes_ms: Option<i64>,
        /// The digest of the file of the plan that the run would be amended with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        plan: Option<String>,
        /// Where several quorums have to agree: each with its roles and number. `min` and `roles` are those of all.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        quorums: Vec<AskedQuorum>,
        /// Those who were asked first did not answer in time.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        escalated: bool,
        /// Each of the roles answers; `min` of them have to say go.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        poll: bool,
    },
    #[serde(rename = "gate.vote")]
    GateVote {
        request: RequestId,
        decision: Decision,
        person: String,
        role: String,
        assurance: Assurance,
        comment: String,
        /// Who wrote an attested vote down.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attested_by: Option<String>,
        /// The answer of a role: go, no-go or abstain.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        poll: bool,
        /// Other roles of the person in which the vote counts, where several quorums have to agree.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        also: Vec<String>,
    },
    /// The glass was broken: one gate is passed without its persons.
    #[serde(rename = "gate.broken")]
    GateBroken {
        request: RequestId,
        person: String,
        role: String,
        reason: String,
    },
    /// The second signature under an attested vote or a broken glass.
    #[serde(rename = "gate.countersigned")]
    GateCountersigned {
        request: RequestId,
        person: String,
        role: String,
    },
    #[serde(rename = "gate.granted")]
    GateGranted { request: RequestId },
    #[serde(rename = "gate.voided")]
    GateVoided { request: RequestId, reason: String },
    #[serde(rename = "gate.expired")]
    GateExpired { request: RequestId },
    #[serde(rename = "effect.intent")]
    EffectIntent {
        step: StepId,
        attempt: u32,
        role: Role,
        request: RequestId,
        action_digest: String,
        mutates: bool,
    },
    #[serde(rename = "effect.ack")]
    EffectAck {
        step: StepId,
        attempt: u32,
        role: Role,
        provider_id: String,
    },
    /// A part of an effect under way that need not be done again: what a comparison has compared.
    #[serde(rename = "effect.kept")]
    EffectKept {
        step: StepId,
        attempt: u32,
        role: Role,
        kept: serde_json::Value,
    },
    #[serde(rename = "effect.outcome")]
    EffectOutcome {
        step: StepId,
        attempt: u32,
        role: Role,
        result: OutcomeResult,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error_kind: Option<String>,
        detail: String,
        outputs: Map<String, Value>,
        observed: bool,
        #[serde(default, skip_serializing_if = "Fidelity::is_executed")]
        fidelity: Fidelity,
    },
    /// The operator asked a running effect to end; what became of it is told by its outcome.
    #[serde(rename = "effect.cancel")]
    EffectCancel {
        step: StepId,
        attempt: u32,
        role: Role,
        person: String,
    },
    #[serde(rename = "effect.decided")]
    EffectDecided {
        step: StepId,
        attempt: u32,
        role: Role,
        decision: PersonDecision,
        person: String,
        reason: String,
    },
    #[serde(rename = "step.verifying")]
    StepVerifying { step: StepId, attempt: u32 },
    #[serde(rename = "step.done")]
    StepDone {
        step: StepId,
        attempt: u32,
        outputs: Map<String, Value>,
    },
    #[serde(rename = "step.failed")]
    StepFailed { step: StepId, attempt: u32, reason: String },
    /// The run goes on without it, by the approval of `request`.
    #[serde(rename = "step.skipped")]
    StepSkipped {
        step: StepId,
        attempt: u32,
        request: RequestId,
        reason: String,
    },
    #[serde(rename = "deadline.passed")]
    DeadlinePassed { step: StepId, deadline_ms: i64 },
    #[serde(rename = "window.closed")]
    WindowClosed { closes_ms: i64 },
    #[serde(rename = "window.extended")]
    WindowExtended { request: RequestId, closes_ms: i64 },
    /// From here the run goes by another plan, by the approval of `request`.
    #[serde(rename = "run.amended")]
    RunAmended {
        request: RequestId,
        plan_file_digest: String,
        /// The plan's other digests, and the files that it was made of with theirs.
        #[serde(flatten)]
        data: Map<String, Value>,
    },
    /// Every connection and what the steps need of it is looked at, before the first change.
    #[serde(rename = "preflight.begun")]
    PreflightBegun {
        number: u32,
        /// Milliseconds since the epoch.
        begun_ms: i64,
    },
    /// What the look found; all of it is in the evidence.
    #[serde(rename = "preflight.ended")]
    PreflightEnded {
        number: u32,
        begun_ms: i64,
        red: u32,
        amber: u32,
        green: u32,
        /// What is red, then what is amber.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        words: Vec<String>,
    },
    /// What was found proves nothing any more.
    #[serde(rename = "preflight.voided")]
    PreflightVoided { reason: String },
    #[serde(rename = "handover.offered")]
    HandoverOffered { from: String, to: String },
    #[serde(rename = "handover.taken")]
    HandoverTaken { from: String, to: String },
    #[serde(rename = "unwind.planned")]
    UnwindPlanned {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<StepId>,
        steps: Vec<StepId>,
        past_no_return: bool,
        person: String,
        /// There are too many to name in a record: they follow from the state.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        derived: bool,
    },
    #[serde(rename = "unwind.prepared")]
    UnwindPrepared {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lost: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fault: Option<String>,
    },
    #[serde(rename = "unwind.dropped")]
    UnwindDropped { reason: String },
    #[serde(rename = "unwind.finished")]
    UnwindFinished { complete: bool },
    #[serde(rename = "run.held")]
    RunHeld {
        reason: String,
        person: String,
        /// Who sees to it that it ends.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<String>,
        /// Until when, in milliseconds since the epoch; nothing happens by itself then but a reminder.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until_ms: Option<i64>,
    },
    #[serde(rename = "run.released")]
    RunReleased { person: String },
    #[serde(rename = "run.closed")]
    RunClosed {
        state: CloseState,
        exit: u8,
        reason: String,
    },
    #[serde(rename = "note")]
    Note { person: String, blob: String },
    #[serde(rename = "interrupted")]
    Interrupted { reason: String },
}

/// What a person decided about an effect in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PersonDecision {
    Done,
    NotStarted,
    /// Done by the person's own hands.
    ByHand,
}
