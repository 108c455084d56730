//! The table of manual actions.

use crate::provider::Action;
use crate::provider::connection::BuildError;
use crate::provider::registry::Request;
use crate::runbook::catalogue::{ActionSpec, Effect, ParamKind, ParamSpec, Reversibility};

use super::act::Manual;

const fn text(name: &'static str, required: bool, doc: &'static str) -> ParamSpec {
    ParamSpec {
        name,
        kind: ParamKind::Text,
        required,
        doc,
    }
}

pub const ACTIONS: &[ActionSpec] = &[
    ActionSpec {
        uses: "manual.task",
        doc: "Somebody does something; the operator says when it is done.",
        effect: Effect::Human,
        reversibility: Reversibility::Nothing,
        on: &[],
        params: &[
            text("text", true, "what is to be done"),
            text("assignee", false, "who does it"),
            text("contact", false, "how to reach them"),
            text("due", false, "when it has to be done"),
        ],
        results: &["answer"],
        available: true,
    },
    ActionSpec {
        uses: "manual.decision",
        doc: "Somebody decides; approving is go, rejecting is no-go.",
        effect: Effect::Human,
        reversibility: Reversibility::Nothing,
        on: &[],
        params: &[
            text("question", true, "what is to be decided"),
            text("context", false, "what to consider"),
        ],
        results: &["answer"],
        available: true,
    },
    ActionSpec {
        uses: "manual.poll",
        doc: "Named roles answer go, no-go or abstain.",
        effect: Effect::Human,
        reversibility: Reversibility::Nothing,
        on: &[],
        params: &[text("question", true, "what is asked")],
        results: &["answer"],
        available: false,
    },
];

/// Makes a manual action.
pub fn build(request: &Request<'_>) -> Result<Box<dyn Action>, BuildError> {
    Ok(Box::new(Manual::new(request)?))
}
