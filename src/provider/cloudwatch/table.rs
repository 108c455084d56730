//! The table of CloudWatch actions.

use crate::provider::Action;
use crate::provider::connection::{BuildError, Connections};
use crate::provider::registry::Request;
use crate::runbook::catalogue::{ActionSpec, Effect, ParamKind, ParamSpec, Reversibility};

use super::metric::Check;

pub const ACTIONS: &[ActionSpec] = &[ActionSpec {
    uses: "cloudwatch.metric",
    doc: "Reads the newest sample of a metric and proves what is expected of it; an old or a missing one proves nothing.",
    effect: Effect::Read,
    reversibility: Reversibility::Nothing,
    on: &["aws"],
    params: &[
        ParamSpec::new("namespace", ParamKind::Text, true, "AWS/ApplicationELB, AWS/RDS, …"),
        ParamSpec::new(
            "metric",
            ParamKind::Text,
            true,
            "HTTPCode_Target_5XX_Count, ReplicaLag, …",
        ),
        ParamSpec::new(
            "dimensions",
            ParamKind::TextMap,
            false,
            "all that the metric is published with: { LoadBalancer: app/erp/50dc6c495c0c9188 }",
        ),
        ParamSpec::new(
            "statistic",
            ParamKind::OneOf(&[
                "average",
                "sum",
                "minimum",
                "maximum",
                "sample_count",
                "p50",
                "p90",
                "p95",
                "p99",
                "p99.9",
            ]),
            false,
            "what is read of each period; average",
        ),
        ParamSpec::new("period", ParamKind::Duration, false, "what one sample covers: 60s"),
        ParamSpec::new(
            "max_age",
            ParamKind::Duration,
            false,
            "how long ago the newest sample's period may have ended; three periods",
        ),
        ParamSpec::new(
            "missing",
            ParamKind::Number,
            false,
            "the value where CloudWatch has no young sample: 0 for counts that are only told when there are any",
        ),
        ParamSpec::new("expect", ParamKind::Predicate, true, "what must hold of it: value < 5"),
        ParamSpec::new("within", ParamKind::Duration, false, "ask again until it holds: 5m"),
        ParamSpec::new("every", ParamKind::Duration, false, "how often to ask; 15s"),
    ],
    results: &["value", "age_s", "missing"],
    available: true,
}];

/// Makes a CloudWatch action.
pub fn build(request: &Request<'_>, connections: &Connections) -> Result<Box<dyn Action>, BuildError> {
    Ok(Box::new(Check::new(request, request.aws(connections, 0)?)?))
}
