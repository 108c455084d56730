//! The table of TCP actions.

use crate::provider::Action;
use crate::provider::connection::{BuildError, Connections};
use crate::provider::registry::Request;
use crate::runbook::catalogue::{ActionSpec, Effect, ParamKind, ParamSpec, Reversibility};

use super::check::Check;

pub const ACTIONS: &[ActionSpec] = &[ActionSpec {
    uses: "tcp.check",
    doc: "Opens a TCP connection, or proves that it is refused; reads a banner and the certificate where asked to.",
    effect: Effect::Read,
    reversibility: Reversibility::Nothing,
    on: &["http"],
    params: &[
        ParamSpec::new(
            "host",
            ParamKind::Text,
            false,
            "name or address, where no connection is named",
        ),
        ParamSpec::new(
            "port",
            ParamKind::Integer { min: 1, max: 65_535 },
            false,
            "port; a connection's own where it is left out",
        ),
        ParamSpec::new(
            "connects_within",
            ParamKind::Duration,
            false,
            "the most that connecting may take, banner and TLS included; 5s",
        ),
        ParamSpec::new(
            "expect_refused",
            ParamKind::Boolean,
            false,
            "true: every address has to refuse; silence is no refusal",
        ),
        ParamSpec::new(
            "expect",
            ParamKind::Predicate,
            false,
            "what must hold of the first KiB that comes unasked: 'ESMTP' in banner",
        ),
        ParamSpec::new(
            "tls",
            ParamKind::Boolean,
            false,
            "speak TLS; false unless tls_valid_for is given",
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
            "server_name",
            ParamKind::Text,
            false,
            "the name that the certificate is for; the host",
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
        ParamSpec::new("within", ParamKind::Duration, false, "ask again until it holds: 2m"),
        ParamSpec::new(
            "every",
            ParamKind::Duration,
            false,
            "how often to ask: 2s; without it ever more slowly, from 1s to 5s",
        ),
    ],
    results: &["address", "refused", "latency_ms", "banner", "tls"],
    available: true,
}];

/// Makes a TCP action.
pub fn build(request: &Request<'_>, connections: &Connections) -> Result<Box<dyn Action>, BuildError> {
    Ok(Box::new(Check::new(request, connections)?))
}
