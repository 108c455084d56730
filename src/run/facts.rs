//! What the state machine knows of a plan: ids, order, gates, kinds of undo. Made from the plan by the engine; holds
//! no parameters, no titles, nothing that a provider understands.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::OnceLock;

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
    /// All of these quorums, each by itself; a vote counts in every one that it fits.
    Quorum(Vec<Quorum>),
    /// Each role answers go, no-go or abstain; `quorum` roles have to say go and none no-go.
    Poll {
        roles: Vec<String>,
        quorum: u32,
        /// Persons who may answer for a role besides those who hold it.
        deputies: BTreeMap<String, Vec<String>>,
        /// A no-go ends the run by itself, where nothing stands.
        stops: bool,
    },
}

/// `min` distinct persons who hold one of the roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quorum {
    pub roles: Vec<String>,
    pub min: u32,
    pub org: Option<String>,
    /// Nobody who has operated the run.
    pub not_operator: bool,
    /// Persons who are excluded.
    pub not: Vec<String>,
}

/// A gate's demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    pub who: Who,
    /// Milliseconds from the request.
    pub expires_ms: Option<u64>,
    /// The exact text to type.
    pub phrase: Option<String>,
    pub on_expiry: OnExpiry,
}

/// What follows when nobody answers a request in time. Never an approval.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum OnExpiry {
    /// The run is held.
    #[default]
    Hold,
    /// It counts as rejected.
    Reject,
    /// Others are asked, once; then the run is held.
    Escalate(Who),
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
    /// Its undo may run beside other undos that say the same.
    pub parallel_undo: bool,
    /// Not on the way: offered only beyond the point of no return.
    pub fall_forward: bool,
    /// Some of its checks go on while its gate is open.
    pub live: bool,
    /// Something of it is looked at once its effect is done: checks, outputs, what its action proves.
    pub verifies: bool,
    /// When it should be done, in milliseconds since the epoch.
    pub deadline_ms: Option<i64>,
}

impl StepFacts {
    /// Whether the step is a point of no return: it cannot be undone, or an undo may lose rows.
    pub fn is_no_return(&self) -> bool {
        self.writes_on_target || self.undo == Undo::Irreversible
    }
}

/// The window that was agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowFacts {
    /// Milliseconds since the epoch.
    pub closes_ms: i64,
    pub at_end: AtEnd,
}

/// What the end of the window does by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtEnd {
    /// The run is held; the operator may release it.
    Ask,
    /// The run is held until the window is extended.
    Hold,
    /// It is said.
    Notify,
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
    /// Who agrees to a longer window.
    pub extend: Gate,
    /// Who agrees to another plan in the middle of the run.
    pub amend: Gate,
    pub window: Option<WindowFacts>,
    /// How long a preflight proves that the first change may begin, in milliseconds; none: it is not asked for.
    pub preflight_ms: Option<u64>,
    pub people: BTreeMap<String, PersonFacts>,
    /// In the lab one person may play every part: anybody may claim any role, and is marked as a persona.
    pub personas: bool,
    /// Mutations are only simulated.
    pub dry_run: bool,
    pub places: Places,
}

/// Where each step stands in the plan, and where what it needs does, found once. Two of them never differ: they follow
/// from the steps.
#[derive(Debug, Default)]
pub struct Places(OnceLock<Found>);

#[derive(Debug)]
struct Found {
    index: HashMap<StepId, usize>,
    /// None where the plan has no such step.
    needs: Vec<Vec<Option<usize>>>,
}

impl Clone for Places {
    /// A copy of facts is made to be changed: its places are found anew.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Places {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Places {}

impl Facts {
    /// The index of a step.
    pub fn index(&self, id: &StepId) -> Option<usize> {
        self.found().index.get(id).copied()
    }

    /// The indices of what the step at `index` needs; none in the place of a step that is not there.
    pub fn needs(&self, index: usize) -> &[Option<usize>] {
        self.found().needs.get(index).map(Vec::as_slice).unwrap_or_default()
    }

    fn found(&self) -> &Found {
        self.places.0.get_or_init(|| {
            let steps = self.steps.iter().enumerate();
            let index: HashMap<StepId, usize> = steps.map(|(index, step)| (step.id.clone(), index)).collect();
            let needs = |step: &StepFacts| step.needs.iter().map(|need| index.get(need).copied()).collect();
            let needs = self.steps.iter().map(needs).collect();
            Found { index, needs }
        })
    }

    /// A step's facts.
    pub fn step(&self, id: &StepId) -> Option<&StepFacts> {
        self.index(id).and_then(|index| self.steps.get(index))
    }

    /// Adds everything that `step` needs, directly or not.
    pub fn ancestors(&self, step: &StepId, known: &mut BTreeSet<StepId>) {
        let mut open = vec![step];
        while let Some(id) = open.pop() {
            for need in self.step(id).map(|facts| facts.needs.as_slice()).unwrap_or_default() {
                if known.insert(need.clone()) {
                    open.push(need);
                }
            }
        }
    }

    /// Whether `step` needs `other`, directly or not.
    pub fn depends(&self, step: &StepId, other: &StepId) -> bool {
        let mut open: Vec<&StepId> = self
            .step(step)
            .map(|facts| facts.needs.iter().collect())
            .unwrap_or_default();
        let mut seen = BTreeSet::new();
        while let Some(need) = open.pop() {
            if need == other {
                return true;
            }
            if seen.insert(need)
                && let Some(facts) = self.step(need)
            {
                open.extend(&facts.needs);
            }
        }
        false
    }
}
