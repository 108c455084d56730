//! What a run can be told: by people through front ends, by executors, by timers. Owns only the vocabulary.

use serde_json::{Map, Value};

use super::event::{CheckResult, Decision, Fidelity, OutcomeResult, Role};
use super::facts::{RequestId, StepId};
use super::proof::Counts;

/// A command to a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Opens the run: its first event.
    Open { data: Map<String, Value>, operator: String },
    /// A new process took the run over after a crash or an exit.
    Resume {
        operator: String,
        host: String,
        pid: u32,
        /// Hold it before anything goes on, for this reason.
        hold: Option<String>,
    },
    /// Do whatever is next; the dispatcher sends it until nothing follows.
    Advance,
    /// A preflight ended.
    Preflighted {
        number: u32,
        counts: Counts,
        /// What is red, then what is amber.
        words: Vec<String>,
    },
    /// The wall clock shows less than it did before.
    ClockWentBack,
    /// The before-checks and the action's own look ended.
    Checked {
        step: StepId,
        attempt: u32,
        results: Vec<CheckResult>,
        binding: Option<Binding>,
    },
    /// A person's vote on a request.
    Vote {
        request: RequestId,
        person: String,
        role: String,
        decision: Decision,
        phrase: Option<String>,
        comment: String,
        /// The operator writes down a voice on the bridge.
        attested_by: Option<String>,
    },
    /// Passes one gate without its persons, in an emergency.
    BreakGlass {
        request: RequestId,
        person: String,
        role: String,
        reason: String,
    },
    /// The second signature under an attested vote or a broken glass.
    Countersign {
        request: RequestId,
        person: String,
        role: String,
    },
    /// A live check of an open or granted request turned red or stale.
    LiveRed { request: RequestId, detail: String },
    /// The owner of an unconsumed approval takes it back.
    Revoke { request: RequestId, person: String },
    /// The identity was read again in the instant before the effect.
    Rechecked {
        request: RequestId,
        action_digest: Result<String, String>,
    },
    /// The peer accepted an effect.
    Acked {
        role: Role,
        step: StepId,
        attempt: u32,
        provider_id: String,
    },
    /// A part of an effect under way is done and need not be done again.
    Kept {
        role: Role,
        step: StepId,
        attempt: u32,
        kept: Value,
    },
    /// An effect ended.
    Finished {
        role: Role,
        step: StepId,
        attempt: u32,
        outcome: Outcome,
    },
    /// The after-checks ended.
    Verified {
        step: StepId,
        attempt: u32,
        results: Vec<CheckResult>,
        outputs: Map<String, Value>,
        fault: Option<String>,
    },
    /// A failed step is tried again, or verified again where its effect stands.
    Retry { step: StepId },
    /// Asks to go on without a step, under a gate of its own.
    Skip {
        step: StepId,
        person: String,
        reason: String,
    },
    /// Begins a step that is offered only beyond the point of no return.
    FallForward { step: StepId, person: String },
    /// Asks a running effect to end.
    Cancel { step: StepId, person: String },
    /// Asks for a longer window, under its own gate.
    ExtendWindow {
        closes_ms: i64,
        person: String,
        reason: String,
    },
    /// Asks to go on by another plan, which was read before, under its own gate.
    Amend {
        /// The digest of the plan's file.
        plan: String,
        person: String,
        reason: String,
        binding: Binding,
    },
    /// The operator offers the seat.
    OfferSeat { person: String, to: String },
    /// The person to whom the seat was offered takes it.
    TakeSeat { person: String },
    /// A person decides what became of an effect in doubt.
    Decide {
        step: StepId,
        done: bool,
        person: String,
        reason: String,
    },
    /// An undo or closing effect was done by hand.
    DoneByHand {
        step: StepId,
        person: String,
        reason: String,
    },
    /// No new effect starts.
    Hold {
        reason: String,
        person: String,
        owner: Option<String>,
        until_ms: Option<i64>,
    },
    /// The hold ends.
    Release { person: String },
    /// Unwind to a step (it stands), or the whole run.
    Rollback { to: Option<StepId>, person: String },
    /// What the unwinding gate shows was gathered.
    UnwindPrepared {
        lost: Option<u64>,
        action_digest: String,
        evidence: Option<String>,
        fault: Option<String>,
    },
    /// The run ends where it is, by a person.
    Stop { reason: String, person: String },
    /// A comment; the text is in the blob.
    Note { person: String, blob: String },
    /// The process leaves; the run can be resumed.
    Interrupt { reason: String },
}

/// What an approval binds besides the run itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Binding {
    /// Digest of the resolved action with its observed identity.
    pub action_digest: String,
    /// Digest of the evidence shown.
    pub evidence_digest: String,
    /// The observed identity.
    pub identity: Value,
}

/// How an effect ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub result: OutcomeResult,
    /// `transient`, `permanent`, `in_doubt`, `cancelled`, where it failed.
    pub error_kind: Option<String>,
    pub detail: String,
    pub outputs: Map<String, Value>,
    /// Found by reading, not reported by the executor that sent it.
    pub observed: bool,
    pub fidelity: Fidelity,
}
