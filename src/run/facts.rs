//! What the state machine knows of a plan: ids, order, gates, kinds of undo. Made from the plan by the engine; holds
//! no parameters, no titles, nothing that a provider understands.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A step's id, `[a-z][a-z0-9_]*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(pub String);

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number of a gate's request, unique in its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What a step does to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepEffect {
    Read,
    Mutate,
    Human,
}

/// How a step is undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undo {
    /// Nothing stands after it: a read or a human act.
    Nothing,
    /// What it made stays, on purpose.
    Kept,
    /// An action takes it back (or abandons the new side).
    Action,
    /// Its inverse runs when the run closes.
    AtClose,
    /// It cannot be undone.
    Irreversible,
}

/// Who has to approve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Nobody is asked.
    Open { reason: String },
    /// Any one operator of the run.
    Operator,
    /// `min` distinct persons who hold one of the roles.
    Quorum {
        roles: Vec<String>,
        min: u32,
        org: Option<String>,
        not_operator: bool,
        not: Vec<String>,
    },
}

/// A gate's demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    pub who: Who,
    /// Milliseconds from the request.
    pub expires_ms: Option<u64>,
    /// The exact text to type.
    pub phrase: Option<String>,
    /// An expired request counts as rejected; otherwise the run is held.
    pub reject_on_expiry: bool,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepFacts {
    pub id: StepId,
    pub needs: Vec<StepId>,
    pub effect: StepEffect,
    pub gate: Gate,
    pub undo: Undo,
    /// From here an undo may lose rows.
    pub writes_on_target: bool,
    /// A failure asks for the rollback of the whole run by itself (its gate stays).
    pub rollback_on_failure: bool,
}

/// A person who may vote.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PersonFacts {
    pub roles: Vec<String>,
    pub org: Option<String>,
}

/// A plan's facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub steps: Vec<StepFacts>,
    pub unwind: Gate,
    pub no_return: Gate,
    pub commit: Gate,
    pub people: BTreeMap<String, PersonFacts>,
    /// In the lab one person may play every part: anybody may claim any role, and is marked as a persona.
    pub personas: bool,
    /// Mutations are only simulated.
    pub dry_run: bool,
}

impl Facts {
    /// The index of a step.
    pub fn index(&self, id: &StepId) -> Option<usize> {
        self.steps.iter().position(|step| step.id == *id)
    }
}
