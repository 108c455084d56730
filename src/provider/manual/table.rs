//! The table of manual actions.

use crate::provider::Action;
use crate::provider::connection::BuildError;
use crate::provider::registry::Request;
use crate::runbook::catalogue::{ActionSpec, Effect, ParamKind, ParamSpec, Reversibility};

use super::act::Manual;
use super::poll::Poll;

const fn text(name: &'static str, required: bool, doc: &'static str) -> ParamSpec {
    ParamSpec::new(name, ParamKind::Text, required, doc)
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
        params: &[
            text("question", true, "what is asked"),
            ParamSpec::new(
                "roles",
                ParamKind::TextList,
                true,
                "who answers, one answer of each role",
            ),
            ParamSpec::new(
                "quorum",
                ParamKind::Integer { min: 1, max: 20 },
                false,
                "how many roles have to say go; without it all of them",
            ),
            ParamSpec::new(
                "deputies",
                ParamKind::TextLists,
                false,
                "role: persons who may answer for it besides those who hold it",
            ),
            ParamSpec::new(
                "no_go",
                ParamKind::OneOf(&["ask", "stop"]),
                false,
                "what one no-go does: the operator decides (ask), or the run ends where nothing stands (stop)",
            ),
        ],
        results: &["answers", "go"],
        available: true,
    },
];

/// Makes a manual action.
pub fn build(request: &Request<'_>) -> Result<Box<dyn Action>, BuildError> {
    if request.uses == "manual.poll" {
        return Ok(Box::new(Poll::new(request)?));
    }
    Ok(Box::new(Manual::new(request)?))
}
