//! The table of HTTP actions.

use crate::provider::Action;
use crate::provider::connection::{BuildError, Connections};
use crate::provider::registry::Request;
use crate::runbook::catalogue::{ActionSpec, Effect, ParamKind, ParamSpec, Reversibility};

use super::check::Check;

pub const ACTIONS: &[ActionSpec] = &[ActionSpec {
    uses: "http.check",
    doc: "Asks a URL and holds the answer against status, body, latency and certificate, also repeatedly within a time.",
    effect: Effect::Read,
    reversibility: Reversibility::Nothing,
    on: &["http"],
    params: &[
        ParamSpec::new("path", ParamKind::Text, false, "path on the connection: /health"),
        ParamSpec::new("url", ParamKind::Text, false, "whole URL, where no connection is named"),
        ParamSpec::new("method", ParamKind::OneOf(&["GET", "HEAD"]), false, "how to ask; GET"),
        ParamSpec::new(
            "headers",
            ParamKind::TextMap,
            false,
            "headers to send; secret ones belong to the connection: headers: or bearer:",
        ),
        ParamSpec::new(
            "status",
            ParamKind::Statuses,
            false,
            "statuses that are right: 200 (the default), 2xx, [200, 204]",
        ),
        ParamSpec::new(
            "expect",
            ParamKind::Predicate,
            false,
            "what must hold: json.side == 'new', 'ready' in body, headers.server == 'x'",
        ),
        ParamSpec::new(
            "latency_below",
            ParamKind::Duration,
            false,
            "the most that p95 of the samples may take, connection included: 500ms",
        ),
        ParamSpec::new(
            "samples",
            ParamKind::Integer { min: 1, max: 100 },
            false,
            "how many answers are measured, one after another; 1",
        ),
        ParamSpec::new(
            "tls_valid_for",
            ParamKind::Duration,
            false,
            "how long the certificate must still be valid: 14d",
        ),
        ParamSpec::new(
            "tls_verify",
            ParamKind::Boolean,
            false,
            "whether the certificate's chain and name are verified; true",
        ),
        ParamSpec::new(
            "ca",
            ParamKind::Text,
            false,
            "path of PEM certificates that are trusted besides the system's",
        ),
        ParamSpec::new(
            "resolve",
            ParamKind::Text,
            false,
            "IP address to ask, whatever DNS says: 10.0.0.7",
        ),
        ParamSpec::new(
            "follow_redirects",
            ParamKind::Boolean,
            false,
            "follow up to 10 redirects; false: a redirect is the answer",
        ),
        ParamSpec::new(
            "request_timeout",
            ParamKind::Duration,
            false,
            "the most that one request may take; 15s",
        ),
        ParamSpec::new("within", ParamKind::Duration, false, "ask again until it holds: 2m"),
        ParamSpec::new(
            "every",
            ParamKind::Duration,
            false,
            "how often to ask: 2s; without it ever more slowly, from 1s to 5s",
        ),
    ],
    results: &[
        "status",
        "url",
        "body",
        "json",
        "headers",
        "latency_ms",
        "latency_p50_ms",
        "latency_p95_ms",
        "tls",
    ],
    available: true,
}];

/// Makes an HTTP action.
pub fn build(request: &Request<'_>, connections: &Connections) -> Result<Box<dyn Action>, BuildError> {
    Ok(Box::new(Check::new(request, connections)?))
}
