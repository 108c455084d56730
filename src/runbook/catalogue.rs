//! The catalogue of actions as the runbook sees them: names, parameters, effects. Providers own the tables; this
//! module owns only their shape, so that validation and the schema need no provider.

use serde::{Deserialize, Serialize};

/// What an action does to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    Read,
    Mutate,
    Human,
}

/// How an action can be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reversibility {
    /// Named actions undo it.
    Inverse(&'static [&'static str]),
    /// The named action puts it back when the run closes, not in the middle of it (a lowered TTL).
    AtClose(&'static str),
    /// Its result stays and harms nobody (a snapshot).
    Kept,
    /// The old side resumes and the migration starts again.
    Abandon,
    /// It cannot be undone.
    Irreversible,
    /// Only the author knows: a command.
    Declared,
    /// A read or a human act.
    Nothing,
}

/// What an action takes as one parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamKind {
    Text,
    /// SQL: one text, or a map of engine to text; no expressions inside.
    Sql,
    /// A predicate of the expression language over the action's result.
    Predicate,
    Integer {
        min: i64,
        max: i64,
    },
    Number,
    Boolean,
    Duration,
    OneOf(&'static [&'static str]),
    /// Statuses of HTTP: 200, 2xx, or a list of these.
    Statuses,
    TextList,
    /// A list of scalars, bound as SQL parameters.
    Params,
    /// A command: program and arguments; expressions may not begin with `-`.
    Argv,
    /// A map of text to text.
    TextMap,
    /// A map of text to lists of texts.
    TextLists,
    /// Stages of a shift: rising shares in percent, each alone or with its hold.
    Stages,
    /// Reads as checks are written: `uses`, `on`, `with`.
    Checks,
    /// Reads of what the action itself makes: `uses` and `with`, without an address, which nobody knows before.
    Assertions,
    /// Any value, usually one whole expression (`${ steps.X.outputs.Y }`).
    Any,
}

/// One parameter of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParamSpec {
    pub name: &'static str,
    pub kind: ParamKind,
    pub required: bool,
    pub doc: &'static str,
    /// The parameter that may stand instead of this one: exactly one of the two has to be there.
    pub instead: Option<&'static str>,
}

impl ParamSpec {
    /// A parameter.
    pub const fn new(name: &'static str, kind: ParamKind, required: bool, doc: &'static str) -> Self {
        Self {
            name,
            kind,
            required,
            doc,
            instead: None,
        }
    }

    /// Instead of which another parameter may stand; that one says the same of this.
    #[must_use]
    pub const fn or(mut self, other: &'static str) -> Self {
        self.instead = Some(other);
        self
    }
}

/// One action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActionSpec {
    /// `provider.action`
    pub uses: &'static str,
    pub doc: &'static str,
    pub effect: Effect,
    pub reversibility: Reversibility,
    /// Kinds of connections that `on` accepts; empty: the action takes no connection.
    pub on: &'static [&'static str],
    pub params: &'static [ParamSpec],
    /// Names that `result.…` has.
    pub results: &'static [&'static str],
    /// Whether this version executes it.
    pub available: bool,
}

/// All actions that a program version knows.
#[derive(Debug, Clone, Copy)]
pub struct Catalogue {
    pub actions: &'static [&'static [ActionSpec]],
}

impl Catalogue {
    /// The action named `uses`.
    pub fn find(&self, uses: &str) -> Option<&'static ActionSpec> {
        self.all().find(|spec| spec.uses == uses)
    }

    /// Every action, provider by provider.
    pub fn all(&self) -> impl Iterator<Item = &'static ActionSpec> + use<> {
        self.actions.iter().flat_map(|table| table.iter())
    }
}
