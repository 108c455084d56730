//! The contract between the engine and every provider. Owns the trait and its vocabulary; must not know any concrete
//! provider.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

/// How an action failed. The class decides what may happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionErrorKind {
    /// Nothing was sent; it may be tried again.
    Transient,
    /// The peer refused, or the request can never succeed; nothing changed.
    Permanent,
    /// Sent, and the outcome is unknown. A timeout after sending is this, never transient.
    InDoubt,
    /// Ended on request before anything was sent.
    Cancelled,
}

/// An action's failure with a message for a person: lower-case, names the target, ends in a hint.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct ActionError {
    pub kind: ActionErrorKind,
    pub message: String,
    /// The request id that the peer gave, where it gave one.
    pub request_id: Option<String>,
    /// What was found nevertheless, name and content; becomes a blob.
    pub evidence: Vec<(String, Vec<u8>)>,
}

impl ActionError {
    /// An error of `kind` that says `message`.
    pub fn new(kind: ActionErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            request_id: None,
            evidence: Vec::new(),
        }
    }

    /// With what was found nevertheless.
    #[must_use]
    pub fn with_evidence(mut self, name: &str, content: Vec<u8>) -> Self {
        self.evidence.push((name.to_owned(), content));
        self
    }

    /// What is told of it, and journaled: its message, with the request's id where the peer gave one.
    pub fn told(&self) -> String {
        match &self.request_id {
            Some(id) => format!("{} (request id {id})", self.message),
            None => self.message.clone(),
        }
    }
}

/// What an action will do, in exact words; made without I/O and shown at the gate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Preview {
    /// One line.
    pub summary: String,
    /// The exact calls or commands, one a line, secrets by name.
    pub commands: Vec<String>,
    /// What else the approver should know (what it does to existing sessions, what it cannot undo).
    pub notes: Vec<String>,
}

/// The result of an action's own read-only look before the gate.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ready {
    /// What the action would act on, as observed: account and region, database, zone. Bound by the approval.
    pub identity: Value,
    /// Lines for people: target row counts, current record, task state.
    pub facts: Vec<String>,
}

/// What an action did.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// One line for people.
    pub summary: String,
    /// The result object that `outputs: { x: result.… }` and `expect:` see.
    pub result: Map<String, Value>,
    /// Captured bytes, name and content; become blobs.
    pub evidence: Vec<(String, Vec<u8>)>,
}

/// What `observe` found about an effect whose outcome is not known.
#[derive(Debug, Clone, PartialEq)]
pub enum Observed {
    /// It happened, and by us.
    Done(Outcome),
    /// It certainly did not happen.
    NotStarted { detail: String },
    /// Nothing of it shows, and it may have been asked for all the same: the peer takes its time to show what it took.
    NotVisible { detail: String },
    /// It is under way, and ours.
    Running { detail: String },
    /// Nobody can tell from outside.
    Unknown { detail: String },
}

/// How long it is looked again for an effect that does not show, nominally, before a person decides.
pub const LOOKED_FOR: Duration = Duration::from_secs(10 * 60);

/// Lossy progress: shown, never journaled.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// A line of output.
    Line(String),
    /// A share between 0 and 1 with words.
    Share { done: f64, text: String },
    /// A state in words.
    State(String),
    /// A share with a row for each part of what is under way, what asks for people first; replaces the one before.
    Board { done: f64, text: String, rows: Vec<String> },
}

/// Where an action reports to while it runs. Implemented by the engine.
#[async_trait]
pub trait Reporter: Send + Sync {
    /// The peer accepted the effect and named it; durable when this returns.
    async fn ack(&self, provider_id: &str) -> Result<(), ActionError>;
    /// Progress; may be dropped.
    fn progress(&self, progress: Progress);
    /// Keeps a part that is done, so that a later attempt of the step need not do it again; durable when this returns. At
    /// most a few KiB.
    async fn keep(&self, part: Value) -> Result<(), ActionError> {
        let _forgotten = part;
        Ok(())
    }
    /// What was kept by this step's attempts so far, in their order.
    async fn kept(&self) -> Result<Vec<Value>, ActionError> {
        Ok(Vec::new())
    }
}

/// What an action may use while it runs.
#[derive(Clone)]
pub struct Cx {
    pub run: String,
    pub step: String,
    pub attempt: u32,
    /// The idempotency key `pm-…`: names snapshots, goes into tags, comments and markers.
    pub key: String,
    /// When the intent was journaled (for state-guarded observation).
    pub intent_at: DateTime<Utc>,
    /// What `check` observed and the approval bound: the way back is found here after a crash.
    pub identity: Value,
    /// Of a way back: what was bound when the way was begun, so that it is told whether the world is still as the way
    /// left it. Null of everything else.
    pub forward: Value,
    /// By what name the peer acknowledged the effect that is observed, as the record has it.
    pub acked: Option<String>,
    /// The plan counts it as a change: false for checks and for commands that are declared reads.
    pub mutates: bool,
    /// What each role answered, where the gate was a poll: `go`, `no_go` or `abstain`.
    pub answers: BTreeMap<String, String>,
    /// The target has taken writes of its own in this run: what would overwrite them must not be done.
    pub target_written: bool,
    /// Cancelled when a person or a timeout ends the action.
    pub cancel: CancellationToken,
    /// Scales waits: the lab's speed, else 1.
    pub speed: f64,
    pub reporter: Arc<dyn Reporter>,
}

impl Cx {
    /// How much nominal time has passed since the intent.
    pub fn since_intent(&self) -> Duration {
        let passed = (Utc::now() - self.intent_at).to_std();
        // A clock that went back says nothing of the time.
        passed.unwrap_or_default().mul_f64(self.speed.max(1.0))
    }

    /// What it means that nothing of the effect shows, where the peer shows within `shown` (nominal) what it took: before
    /// that nobody can say that it did not happen.
    pub fn nothing_shows(&self, shown: Duration, detail: String) -> Observed {
        if self.since_intent() >= shown {
            Observed::NotStarted { detail }
        } else {
            Observed::NotVisible { detail }
        }
    }

    /// Waits `nominal` (scaled by speed), or ends early with `Cancelled` when the action is cancelled.
    pub async fn pause(&self, nominal: Duration) -> Result<(), ActionError> {
        let scaled = nominal.div_f64(self.speed.max(1.0));
        tokio::select! {
            () = self.cancel.cancelled() => Err(ActionError::new(ActionErrorKind::Cancelled, "the wait was cancelled")),
            () = tokio::time::sleep(scaled) => Ok(()),
        }
    }
}

/// One action, bound to its connections and parameters.
#[async_trait]
pub trait Action: Send + Sync {
    /// What it will do, without I/O.
    fn preview(&self) -> Preview;
    /// Read-only: preconditions and observed identity.
    async fn check(&self, cx: &Cx) -> Result<Ready, ActionError>;
    /// Does it. Calls `cx.reporter.ack` once the peer accepted a mutating request, before polling.
    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError>;
    /// Read-only: did the effect with `cx.key` happen?
    async fn observe(&self, cx: &Cx) -> Result<Observed, ActionError>;
    /// Read-only: proves that an effect that is done holds. A failed proof is a failed check: the effect stands, its
    /// outputs are kept, and the proof can be asked for again.
    async fn prove(&self, _cx: &Cx) -> Result<(), ActionError> {
        Ok(())
    }
    /// Follows an effect that `observe` called running until it ends; sends nothing that changes anything.
    async fn adopt(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let mut unseen = Unseen::default();
        loop {
            match self.observe(cx).await? {
                Observed::Done(outcome) => return Ok(outcome),
                Observed::Running { detail } => {
                    unseen = Unseen::default();
                    cx.reporter.progress(Progress::State(detail));
                }
                Observed::NotVisible { detail } => unseen.still(BEAT, detail, cx)?,
                Observed::NotStarted { detail } => unseen.gone(detail)?,
                Observed::Unknown { detail } => return Err(ActionError::new(ActionErrorKind::InDoubt, detail)),
            }
            cx.pause(BEAT).await?;
        }
    }
}

/// How often an effect that is followed is looked at, nominally.
const BEAT: Duration = Duration::from_secs(2);

/// Looks at an effect that ran and shows no more: one look may have met a peer that lags behind itself.
#[derive(Debug, Default)]
pub struct Unseen {
    nominal: Duration,
    gone: bool,
}

impl Unseen {
    /// It does not show, and may again.
    pub fn still(&mut self, beat: Duration, detail: String, cx: &Cx) -> Result<(), ActionError> {
        if self.nominal >= LOOKED_FOR {
            return Err(ActionError::new(ActionErrorKind::InDoubt, detail));
        }
        self.nominal += beat;
        cx.reporter.progress(Progress::State(detail));
        Ok(())
    }

    /// It is said not to have begun, though it ran: two looks that say so leave it in doubt.
    pub fn gone(&mut self, detail: String) -> Result<(), ActionError> {
        if self.gone {
            let words = format!("it was seen at work, and now {detail}");
            return Err(ActionError::new(ActionErrorKind::InDoubt, words));
        }
        self.gone = true;
        Ok(())
    }
}
