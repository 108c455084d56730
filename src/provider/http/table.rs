//! The table of HTTP actions.

use crate::provider::Action;
use crate::provider::connection::{BuildError, Connections};
use crate::provider::registry::Request;
use crate::runbook::catalogue::{ActionSpec, Effect, ParamKind, ParamSpec, Reversibility};

use super::check::Check;

pub const ACTIONS: &[ActionSpec] = &[
    ActionSpec {
        uses: "http.check",
        doc: "Asks a URL and holds the answer against a status and a predicate, also repeatedly within a time.",
        effect: Effect::Read,
        reversibility: Reversibility::Nothing,
        on: &["http"],
        params: &[
            ParamSpec::new("path", ParamKind::Text, false, "path on the connection: /health"),
            ParamSpec::new("url", ParamKind::Text, false, "whole URL, where no connection is named"),
            ParamSpec::new(
                "status",
                ParamKind::Integer { min: 100, max: 599 },
                false,
                "expected status; 200",
            ),
            ParamSpec::new(
                "expect",
                ParamKind::Predicate,
                false,
                "what must hold: json.side == 'new'",
            ),
            ParamSpec::new("within", ParamKind::Duration, false, "ask again until it holds: 2m"),
            ParamSpec::new("every", ParamKind::Duration, false, "how often to ask: 2s"),
        ],
        results: &["status", "body", "json", "latency_ms"],
        available: true,
    },
    ActionSpec {
        uses: "tcp.check",
        doc: "Opens a TCP connection.",
        effect: Effect::Read,
        reversibility: Reversibility::Nothing,
        on: &[],
        params: &[],
        results: &[],
        available: false,
    },
];

/// Makes an HTTP action.
pub fn build(request: &Request<'_>, connections: &Connections) -> Result<Box<dyn Action>, BuildError> {
    Ok(Box::new(Check::new(request, request.http(connections)?)?))
}
