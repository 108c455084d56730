//! The table of DNS actions.

use crate::provider::Action;
use crate::provider::connection::{BuildError, Connections};
use crate::provider::registry::Request;
use crate::runbook::catalogue::{ActionSpec, Effect, ParamKind, ParamSpec, Reversibility};

use super::change::Change;
use super::reading::Lookup;

const ZONE: ParamSpec = ParamSpec::new("zone", ParamKind::Text, true, "the hosted zone: its id or its name");
const RECORD: ParamSpec = ParamSpec::new("record", ParamKind::Text, true, "the record's name: erp.example.com");
const TYPE: ParamSpec = ParamSpec::new(
    "type",
    ParamKind::OneOf(&["A", "AAAA", "CNAME", "TXT"]),
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
        doc: "Points a record at other values in one atomic change.",
        effect: Effect::Mutate,
        reversibility: Reversibility::Inverse(&["dns.restore"]),
        on: &["aws"],
        params: &[
            ZONE,
            RECORD,
            TYPE,
            ParamSpec::new("to", ParamKind::TextList, true, "the new values"),
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
        doc: "Shifts shares of the traffic between weighted records.",
        effect: Effect::Mutate,
        reversibility: Reversibility::Inverse(&["dns.restore"]),
        on: &["aws"],
        params: &[ZONE, RECORD, TYPE],
        results: &["prior"],
        available: false,
    },
];

/// Makes a DNS action.
pub fn build(request: &Request<'_>, connections: &Connections) -> Result<Box<dyn Action>, BuildError> {
    let target = request.aws(connections, 0)?;
    Ok(match request.uses {
        "dns.lookup" => Box::new(Lookup::new(request, target)?),
        _ => Box::new(Change::new(request, target)?),
    })
}
