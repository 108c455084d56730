//! What front ends hold of a run: a way to tell it commands and a feed of what happens. Must not know the journal or
//! any provider. Commands go over a bounded channel (a full one makes the sender wait); the feed is a broadcast whose
//! slow readers lose the oldest entries and catch up with [`Handle::history`].

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::provider::action::{Preview, Progress};
use crate::run::event::{CheckResult, Role};
use crate::run::facts::StepId;
use crate::run::{Command, Event, RunState};
use crate::runbook::plan::Plan;

pub use super::amend::Amendment;

/// One durable event.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    pub seq: u64,
    pub at: DateTime<Utc>,
    pub event: Event,
}

/// What a gate shows before it asks. The same bytes are the evidence that the journal keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Briefing {
    /// None for the gate of an unwinding.
    pub step: Option<StepId>,
    pub attempt: u32,
    pub actions: Vec<BriefedAction>,
    pub checks: Vec<CheckResult>,
    /// Rows that an unwinding would lose by now, where that can be counted.
    pub lost: Option<u64>,
    /// What could not be found out.
    pub faults: Vec<String>,
    /// What an amendment of the plan changes, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
}

/// One action of a briefing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BriefedAction {
    pub step: StepId,
    pub role: Role,
    pub uses: String,
    pub summary: String,
    /// The exact calls or commands, one a line.
    pub commands: Vec<String>,
    /// Warnings and observed facts.
    pub notes: Vec<String>,
    /// What it acts on, as observed.
    pub identity: Value,
}

impl BriefedAction {
    /// A briefing of one action from its preview.
    pub fn new(step: StepId, role: Role, uses: &str, preview: Preview) -> Self {
        Self {
            step,
            role,
            uses: uses.to_owned(),
            summary: preview.summary,
            commands: preview.commands,
            notes: preview.notes,
            identity: Value::Null,
        }
    }
}

/// Everything so far.
#[derive(Debug, Clone)]
pub struct Past {
    /// The plan that is executed now.
    pub plan: Arc<Plan>,
    pub state: RunState,
    pub updates: Vec<Arc<Update>>,
}

/// What a front end hears.
#[derive(Debug, Clone)]
pub enum Feed {
    /// A durable event.
    Event(Arc<Update>),
    /// What the next gate shows.
    Briefing(Arc<Briefing>),
    /// Lossy progress of a step.
    Progress { step: StepId, progress: Progress },
    /// Something worth saying that is no event.
    Notice(String),
    /// The journal cannot be written: no effect starts any more.
    Halted(String),
}

/// Why a command was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It does not fit the state.
    #[error("{0}")]
    Rejected(String),
    /// The journal could not be written.
    #[error("the journal could not be written: {0}; nothing more is executed (exit 7)")]
    Journal(String),
    /// The run's dispatcher is gone.
    #[error("the run has ended")]
    Gone,
}

/// An order to the dispatcher: a command with the bytes that belong to its record, or a question.
pub enum Order {
    /// A command.
    Tell {
        command: Command,
        evidence: Vec<u8>,
        reply: oneshot::Sender<Result<(), Refused>>,
    },
    /// Ask to go on by another plan.
    Amend {
        amendment: Box<Amendment>,
        person: String,
        reason: String,
        reply: oneshot::Sender<Result<(), Refused>>,
    },
    /// Everything so far.
    History { reply: oneshot::Sender<Past> },
    /// End the dispatcher.
    Close,
}

/// A front end's hold on a run.
#[derive(Clone)]
pub struct Handle {
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) feed: broadcast::Sender<Feed>,
}

impl Handle {
    /// Sends a command; returns once its events are durable, or why it was refused.
    pub async fn tell(&self, command: Command) -> Result<(), Refused> {
        self.tell_with(command, Vec::new()).await
    }

    /// Journals a comment; the text goes into a blob.
    pub async fn note(&self, person: &str, text: &str) -> Result<(), Refused> {
        let command = Command::Note {
            person: person.to_owned(),
            blob: String::new(),
        };
        self.tell_with(command, text.as_bytes().to_vec()).await
    }

    pub(super) async fn tell_with(&self, command: Command, evidence: Vec<u8>) -> Result<(), Refused> {
        let (reply, answer) = oneshot::channel();
        self.orders
            .send(Order::Tell {
                command,
                evidence,
                reply,
            })
            .await
            .map_err(|_closed| Refused::Gone)?;
        answer.await.unwrap_or(Err(Refused::Gone))
    }

    /// Listens from now on.
    pub fn listen(&self) -> broadcast::Receiver<Feed> {
        self.feed.subscribe()
    }

    /// Asks to go on by another plan; returns once the request is durable, or why it was refused.
    pub async fn amend(&self, amendment: Amendment, person: &str, reason: &str) -> Result<(), Refused> {
        let (reply, answer) = oneshot::channel();
        self.orders
            .send(Order::Amend {
                amendment: Box::new(amendment),
                person: person.to_owned(),
                reason: reason.to_owned(),
                reply,
            })
            .await
            .map_err(|_closed| Refused::Gone)?;
        answer.await.unwrap_or(Err(Refused::Gone))
    }

    /// The plan, the state and every event so far.
    pub async fn history(&self) -> Result<Past, Refused> {
        let (reply, answer) = oneshot::channel();
        self.orders
            .send(Order::History { reply })
            .await
            .map_err(|_closed| Refused::Gone)?;
        answer.await.map_err(|_gone| Refused::Gone)
    }

    /// Ends the dispatcher; the run can be resumed.
    pub async fn close(&self) {
        // A dispatcher that is gone already is closed.
        let _gone = self.orders.send(Order::Close).await;
    }
}
