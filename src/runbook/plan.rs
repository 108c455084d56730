//! The plan: a runbook that was validated and resolved for one environment. Owns the types that the rest of the
//! program executes; holds no behaviour that needs a clock or I/O. Values known before the run are resolved here,
//! values known only at execution stay `${ … }` expressions inside `with`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::catalogue::Effect;

/// What kind of environment the plan was resolved for. Decides approvals, colours and what is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvironmentKind {
    /// The embedded lab: everything is replaced by loopback.
    Lab,
    /// A real run elsewhere, for practice.
    Rehearsal,
    /// The real night.
    Production,
}

/// How approvals are given in an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalMode {
    /// A claimed identity, typed at the keyboard.
    Typed,
    /// A signature by the person's own key.
    Signed,
}

/// A duration in milliseconds, written `90s`, `12m`, `2h`, `14d` in a runbook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(pub u64);

impl Span {
    /// The span as a standard duration.
    pub const fn as_duration(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
}

/// A validated runbook, resolved for one environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub name: String,
    pub title: String,
    pub author: Option<String>,
    pub environment: Environment,
    pub vars: BTreeMap<String, Value>,
    pub secrets: BTreeMap<String, SecretSource>,
    pub connections: BTreeMap<String, Connection>,
    /// Earlier runs whose outputs are used.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub imports: BTreeMap<String, PlannedImport>,
    pub phases: Vec<PlannedPhase>,
    /// All steps in the order of the runbook; a step's number is its index + 1.
    pub steps: Vec<PlannedStep>,
    pub unwind_gate: GateSpec,
    pub point_of_no_return: GateSpec,
    pub commit: GateSpec,
    pub residency: Vec<String>,
    /// How long a preflight proves that the first change may begin; none: no run asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preflight: Option<Span>,
    pub digests: Digests,
    /// What the plan declares and this version cannot execute; `run` refuses a plan where this is not empty.
    pub not_available: Vec<String>,
    /// Things worth a look that are no faults (homoglyph hosts, short secrets).
    pub warnings: Vec<String>,
}

/// The chosen environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    pub name: String,
    pub kind: EnvironmentKind,
    pub approvals: ApprovalMode,
    pub auto_approve: bool,
    pub window: Option<Window>,
    pub downtime_budget: Option<Span>,
    /// How long the source keeps the log that a replication reads; counted from the replication's start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_retention: Option<Span>,
    /// How long writes that arrived on the target take to come back to the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverse_drain: Option<Span>,
    /// How long the old side has to be looked at before it may open again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Span>,
    pub ticket: Option<String>,
    pub people: BTreeMap<String, Person>,
}

/// The agreed window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Window {
    pub opens: DateTime<Utc>,
    pub closes: DateTime<Utc>,
    /// An IANA zone name.
    pub timezone: Option<String>,
    pub business_opens: Option<DateTime<Utc>>,
    /// What the run does when the window closes over it.
    #[serde(default, skip_serializing_if = "WindowEnd::is_default")]
    pub at_end: WindowEnd,
    /// Who agrees to a longer window; none: the operator, with a phrase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extend: Option<GateSpec>,
}

/// What a run does when its window closes over it. Never a decision about a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowEnd {
    /// Nothing new starts until the operator says how it goes on.
    #[default]
    Ask,
    /// Nothing new starts until the window is extended, under its own gate.
    Hold,
    /// It is said, and the run goes on.
    Notify,
}

impl WindowEnd {
    /// Whether the runbook says nothing about it.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A person of the environment. In the lab, ids without a definition become personas.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Person {
    pub name: String,
    pub org: Option<String>,
    pub roles: Vec<String>,
    pub keys: Vec<String>,
    pub persona: bool,
}

/// Where a secret's value comes from; the value itself is never part of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    Env(String),
    File(String),
    Command(Vec<String>),
    AwsSecret(String),
}

/// A connection: its kind (`uses`) and settings; a secret stays the text `${ secret.NAME }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    pub uses: String,
    pub settings: BTreeMap<String, Value>,
}

/// Verified outputs of an earlier run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedImport {
    /// The name of the runbook that it executed.
    pub runbook: String,
    /// Name → `steps.ID.outputs.NAME` of that run.
    pub outputs: BTreeMap<String, String>,
    /// The run; none while it is not named: such a plan can be looked at, not executed.
    pub run: Option<String>,
    /// The hash of its journal's last record.
    pub head: Option<String>,
    /// Name → value.
    pub values: BTreeMap<String, Value>,
}

/// A phase: a barrier with a title.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedPhase {
    pub id: String,
    pub title: String,
    pub steps: Vec<String>,
}

/// One step, ready to be gated and executed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedStep {
    pub id: String,
    pub phase: String,
    pub title: String,
    pub action: PlannedAction,
    pub needs: Vec<String>,
    pub owner: Option<String>,
    pub gate: GateSpec,
    pub before: Vec<PlannedAction>,
    pub after: Vec<PlannedAction>,
    pub expect: Option<Span>,
    pub timeout: Option<Span>,
    /// `HH:MM` in the window's zone.
    pub deadline: Option<String>,
    pub retry: Retry,
    pub on_failure: OnFailure,
    pub downtime: Option<DowntimeMark>,
    pub writes_on_target: bool,
    pub divergence: Option<Divergence>,
    pub fall_forward: bool,
    /// Output name → path into the action's result (`result.…`).
    pub outputs: BTreeMap<String, String>,
    pub rollback: Rollback,
    pub notes: Option<String>,
}

/// An action with its target connections and parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedAction {
    pub uses: String,
    pub on: Vec<String>,
    /// Always a JSON object; strings may hold `${ steps.X.outputs.Y }`.
    pub with: Value,
    pub effect: Effect,
    pub timeout: Option<Span>,
    /// The author says that a dry run may execute this command because it only reads.
    pub dry_run_execute: bool,
    /// That it only reads is the author's word: the command could do anything.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub declared_read: bool,
    /// A check that goes on while its gate is open; only on checks before a step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Live>,
}

/// How a live check is read again while its gate is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// A sample older than this is no sample: the approval is void.
    pub max_age: Span,
    /// How many red samples in a row make the check red.
    pub hysteresis: u32,
}

/// Who has to approve, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateSpec {
    pub kind: GateKind,
    /// Counted from the request.
    pub expires: Option<Span>,
    /// The exact text to type.
    pub phrase: Option<String>,
    pub on_timeout: GateTimeout,
    /// Who is asked when nobody answered in time, under `timeout: escalate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalate: Option<GateKind>,
}

/// The kinds of gates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateKind {
    /// The operator confirms.
    Operator,
    /// `min` distinct persons.
    Quorum {
        roles: Vec<String>,
        min: u32,
        org: Option<String>,
        distinct_from: Vec<String>,
    },
    /// No question is asked; the reason is journaled.
    Open { reason: String },
    /// Each role answers go, no-go or abstain: the gate of `manual.poll`, made from its parameters.
    Poll {
        roles: Vec<String>,
        /// How many roles have to say go.
        quorum: u32,
        /// Role → persons who may answer for it.
        deputies: BTreeMap<String, Vec<String>>,
        no_go: NoGo,
    },
}

/// What a poll's no-go does by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoGo {
    /// The operator decides how it goes on.
    Ask,
    /// The run ends, where nothing stands that would have to be taken back.
    Stop,
}

/// What happens when nobody answers in time. Never an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateTimeout {
    Hold,
    Reject,
    Escalate,
}

/// Automatic retries: only of transient errors, only before the effect was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Attempts after the first; 0 is none.
    pub max: u32,
    pub from: Span,
    pub to: Span,
}

/// What a failure does by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    Ask,
    Rollback,
}

/// Where downtime begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DowntimeMark {
    Begins,
    Ends,
}

/// How to count the rows that an undo would lose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Divergence {
    pub on: String,
    pub sql: String,
}

/// The paired rollback of a step. There is no absent one: a read says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rollback {
    /// A read or a human step: nothing to undo.
    Nothing,
    /// An action that undoes the step.
    Action {
        action: PlannedAction,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        before: Vec<PlannedAction>,
        after: Vec<PlannedAction>,
        retry: Retry,
        /// It may run beside other undos that say the same, where the graph allows it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        parallel: bool,
    },
    /// The effect stays, for a stated reason.
    NotNeeded { reason: String },
    /// The old side resumes and the migration starts again.
    Abandon { action: PlannedAction, redo: Span },
    /// The inverse runs when the run closes.
    AtClose { action: PlannedAction },
    /// A point of no return.
    Irreversible { reason: String },
}

/// SHA-256 digests, lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digests {
    /// Of the runbook's bytes.
    pub runbook: String,
    /// Of everything resolved, secrets by name.
    pub plan: String,
    /// Of the plan without environment values.
    pub rehearsal: String,
}

impl PlannedStep {
    /// Whether the step is a point of no return: it cannot be undone, or opens the target for writes.
    pub const fn is_no_return(&self) -> bool {
        self.writes_on_target || matches!(self.rollback, Rollback::Irreversible { .. })
    }
}
