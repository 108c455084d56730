//! The table of DNS actions.

use crate::provider::Action;
use crate::provider::connection::{BuildError, Connections};
use crate::provider::registry::Request;
use crate::runbook::catalogue::{ActionSpec, Effect, ParamKind, ParamSpec, Reversibility};

use super::change::Change;
use super::reading::Lookup;
use super::shift::Shift;

const ZONE: ParamSpec = ParamSpec::new("zone", ParamKind::Text, true, "the hosted zone: its id or its name");
const RECORD: ParamSpec = ParamSpec::new("record", ParamKind::Text, true, "the record's name: erp.example.com");
const TYPE: ParamSpec = ParamSpec::new(
    "type",
    ParamKind::OneOf(&["A", "AAAA", "CNAME", "MX", "TXT"]),
    false,
    "record type; A",
);
const UNTIL: ParamSpec = ParamSpec::new(
    "until",
    ParamKind::TextList,
    false,
    "what to wait for after INSYNC: authoritative (always), resolvers, ttl_passed",
);
const RESOLVERS: ParamSpec = ParamSpec::new(
    "resolvers",
    ParamKind::TextList,
    false,
    "caching resolvers that are asked, too: address or address:port",
);

pub const ACTIONS: &[ActionSpec] = &[
    ActionSpec {
        uses: "dns.lower_ttl",
        doc: "Lowers a record's TTL and waits until the old one has run out everywhere.",
        effect: Effect::Mutate,
        reversibility: Reversibility::AtClose("dns.restore"),
        on: &["aws"],
        params: &[
            ZONE,
            RECORD,
            TYPE,
            ParamSpec::new(
                "ttl",
                ParamKind::Integer { min: 1, max: 86_400 },
                true,
                "new TTL in seconds",
            ),
            ParamSpec::new("wait", ParamKind::Boolean, false, "wait the old TTL out; true"),
            RESOLVERS,
            UNTIL,
        ],
        results: &[
            "prior",
            "lowered",
            "change_id",
            "ttl",
            "request_id",
            "servers",
            "requests",
        ],
        available: true,
    },
    ActionSpec {
        uses: "dns.flip",
        doc: "Points a record at other values, or makes it an alias, in one atomic change.",
        effect: Effect::Mutate,
        reversibility: Reversibility::Inverse(&["dns.restore"]),
        on: &["aws"],
        params: &[
            ZONE,
            RECORD,
            TYPE,
            ParamSpec::new(
                "to",
                ParamKind::TextList,
                false,
                "the new values, as Route 53 takes them: TXT in quotes",
            )
            .or("alias"),
            ParamSpec::new(
                "alias",
                ParamKind::Text,
                false,
                "the name that the record becomes an alias of",
            )
            .or("to"),
            ParamSpec::new(
                "alias_zone",
                ParamKind::Text,
                false,
                "the hosted zone of the alias's target: a load balancer has its own",
            ),
            ParamSpec::new(
                "evaluate_target_health",
                ParamKind::Boolean,
                false,
                "Route 53 leaves the alias out while its target is not healthy; false",
            ),
            ParamSpec::new(
                "ttl",
                ParamKind::Integer { min: 1, max: 86_400 },
                false,
                "new TTL in seconds; as before",
            ),
            ParamSpec::new(
                "lowered",
                ParamKind::Any,
                false,
                "the output lowered of dns.lower_ttl: refused until the old TTL has passed since, or every resolver holds the lowered one",
            ),
            RESOLVERS,
            UNTIL,
        ],
        results: &["prior", "change_id", "ttl", "request_id", "servers", "requests"],
        available: true,
    },
    ActionSpec {
        uses: "dns.restore",
        doc: "Puts back the exact record sets that were there before.",
        effect: Effect::Mutate,
        reversibility: Reversibility::Inverse(&["dns.flip", "dns.lower_ttl"]),
        on: &["aws"],
        params: &[
            ZONE,
            RECORD,
            TYPE,
            ParamSpec::new("to", ParamKind::Any, true, "the output prior of the change"),
            ParamSpec::new(
                "only",
                ParamKind::OneOf(&["ttl"]),
                false,
                "put back the TTL only, whatever the record points at by now",
            ),
            RESOLVERS,
            UNTIL,
        ],
        results: &["change_id", "ttl", "request_id", "servers", "requests"],
        available: true,
    },
    ActionSpec {
        uses: "dns.lookup",
        doc: "Asks the authoritative servers and the listed resolvers, and shows who answers what.",
        effect: Effect::Read,
        reversibility: Reversibility::Nothing,
        on: &["aws"],
        params: &[
            ParamSpec::new(
                "zone",
                ParamKind::Text,
                false,
                "the hosted zone, whose name servers are asked where the connection names no dns_server",
            ),
            RECORD,
            TYPE,
            ParamSpec::new(
                "expect",
                ParamKind::Predicate,
                false,
                "what must hold: values == ['10.0.0.1'] and ttl <= 60",
            ),
            RESOLVERS,
            ParamSpec::new(
                "until",
                ParamKind::TextList,
                false,
                "what to wait for: resolvers (all give the authoritative answer)",
            ),
        ],
        results: &["values", "ttl", "authoritative", "servers", "requests"],
        available: true,
    },
    ActionSpec {
        uses: "dns.shift",
        doc: "Shifts shares of the traffic to other values in stages, each held, sampled and analysed before the next.",
        effect: Effect::Mutate,
        reversibility: Reversibility::Inverse(&["dns.restore"]),
        on: &["aws"],
        params: &[
            ZONE,
            RECORD,
            TYPE,
            ParamSpec::new("to", ParamKind::TextList, true, "the values of the new side"),
            ParamSpec::new(
                "ttl",
                ParamKind::Integer { min: 1, max: 86_400 },
                false,
                "TTL in seconds of both members; as before",
            ),
            ParamSpec::new(
                "stages",
                ParamKind::Stages,
                true,
                "rising shares in percent: [5, 25, 50, 100], or { share: 5, hold: 2m }",
            ),
            ParamSpec::new("hold", ParamKind::Duration, false, "how long a stage is held; 1m"),
            ParamSpec::new(
                "analysis",
                ParamKind::Checks,
                false,
                "reads that have to hold, four times in each hold: http.check, sql.assert",
            ),
            ParamSpec::new(
                "clients",
                ParamKind::Checks,
                false,
                "what a client does, with each sample: http.check; its failures are the client error share",
            ),
            ParamSpec::new(
                "new_if",
                ParamKind::Text,
                false,
                "predicate over a client's result: the new side answered: json.side == 'new'",
            ),
            ParamSpec::new(
                "max_client_errors",
                ParamKind::Number,
                false,
                "client error share in percent that is no breach yet; 1",
            ),
            ParamSpec::new(
                "samples",
                ParamKind::Integer { min: 4, max: 1_000 },
                false,
                "resolutions in each hold; 50",
            ),
            ParamSpec::new(
                "on_breach",
                ParamKind::OneOf(&["hold", "revert"]),
                false,
                "stay at the stage, or go back by itself; revert",
            ),
            ParamSpec::new(
                "revert_to",
                ParamKind::OneOf(&["previous", "start"]),
                false,
                "how far back; start: the exact record sets from before",
            ),
            RESOLVERS,
            UNTIL,
        ],
        results: &[
            "prior",
            "reached",
            "stages",
            "client_error_share",
            "breach",
            "changes",
            "servers",
            "requests",
        ],
        available: true,
    },
];

/// Makes a DNS action.
pub fn build(request: &Request<'_>, connections: &Connections) -> Result<Box<dyn Action>, BuildError> {
    let target = request.aws(connections, 0)?;
    Ok(match request.uses {
        "dns.lookup" => Box::new(Lookup::new(request, target)?),
        "dns.shift" => Box::new(Shift::new(request, target, connections)?),
        _ => Box::new(Change::new(request, target)?),
    })
}
