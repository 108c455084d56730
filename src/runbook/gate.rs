//! Gates of a runbook: who, how many, which words, how long.

use super::builder::Builder;
use super::node::{Node, NodeValue, known_keys};
use super::plan::{EnvironmentKind, GateKind, GateSpec, GateTimeout, Span};

const KEYS: &[&str] = &["approve", "expires", "phrase", "timeout", "escalate", "none"];

/// The gate that a step has when it says nothing: the operator's confirmation.
pub const fn operator(phrase: Option<String>) -> GateSpec {
    GateSpec {
        kind: GateKind::Operator,
        expires: None,
        phrase,
        on_timeout: GateTimeout::Hold,
        escalate: None,
    }
}

impl Builder<'_> {
    /// A gate; `id` is what `phrase: step-id` means here.
    pub fn gate(&mut self, node: Option<&Node>, id: &str, default: GateSpec, read: bool) -> GateSpec {
        let Some(node) = node else { return default };
        if let Some("none") = node.text() {
            let hint = "write gate: { none: \"why nobody has to be asked\" }, for reads only";
            self.fault(node.at, "a gate that asks nobody needs its reason", hint);
            return default;
        }
        let entries = node.map("a gate", &mut self.faults);
        known_keys(entries, KEYS, "a gate", &mut self.faults);
        if let Some(reason) = node.get("none") {
            let text = self
                .words_known_now(reason, "none")
                .unwrap_or_default()
                .trim()
                .to_owned();
            if text.is_empty() {
                self.fault(
                    reason.at,
                    "a gate that asks nobody needs its reason",
                    "say why nobody has to be asked",
                );
            }
            if !read {
                self.fault(
                    reason.at,
                    "only a read may go without a gate",
                    "remove `none`: the operator confirms",
                );
            }
            let kind = GateKind::Open { reason: text };
            return GateSpec {
                kind,
                expires: None,
                phrase: None,
                on_timeout: GateTimeout::Hold,
                escalate: None,
            };
        }
        let expires: Option<Span> = node.get("expires").and_then(|node| self.duration(node, "expires"));
        let phrase = match node.get("phrase") {
            Some(node) if node.text() == Some("step-id") => Some(id.to_owned()),
            Some(node) => self.words_known_now(node, "phrase"),
            None if matches!(default.kind, GateKind::Operator) && node.get("approve").is_none() => {
                default.phrase.clone()
            }
            None => None,
        };
        let on_timeout = self.on_timeout(node.get("timeout"));
        if let (None, Some(at)) = (node.get("expires"), node.get("timeout").map(|node| node.at))
            && on_timeout != GateTimeout::Hold
        {
            let hint = "add expires: 30m: it is counted from the request";
            self.fault(at, "this gate never times out", hint);
        }
        let escalate = self.escalation(node, on_timeout);
        let kind = node
            .get("approve")
            .map_or(default.kind, |node| self.quorum(node, "approve"));
        GateSpec {
            kind,
            expires,
            phrase,
            on_timeout,
            escalate,
        }
    }

    fn on_timeout(&mut self, node: Option<&Node>) -> GateTimeout {
        match node.map(|node| (node.at, node.word("timeout", &mut self.faults))) {
            Some((_, Some("hold") | None)) | None => GateTimeout::Hold,
            Some((_, Some("reject"))) => GateTimeout::Reject,
            Some((_, Some("escalate"))) => GateTimeout::Escalate,
            Some((at, Some(_))) => {
                self.fault(
                    at,
                    "a gate's timeout is hold, reject or escalate",
                    "it is never an approval",
                );
                GateTimeout::Hold
            }
        }
    }

    /// Who is asked when nobody answered in time: said if, and only if, the timeout escalates.
    fn escalation(&mut self, gate: &Node, on_timeout: GateTimeout) -> Option<GateKind> {
        match (gate.get("escalate"), on_timeout) {
            (Some(node), GateTimeout::Escalate) => Some(self.quorum(node, "escalate")),
            (Some(node), GateTimeout::Hold | GateTimeout::Reject) => {
                let hint = "add timeout: escalate, or remove escalate:";
                self.fault(node.at, "nobody is ever asked by this escalation", hint);
                None
            }
            (None, GateTimeout::Escalate) => {
                let at = gate.get("timeout").map_or(gate.at, |node| node.at);
                let hint = "add escalate: { roles: [lead], min: 1 }";
                self.fault(at, "the timeout escalates to nobody", hint);
                None
            }
            (None, GateTimeout::Hold | GateTimeout::Reject) => None,
        }
    }

    fn quorum(&mut self, node: &Node, what: &str) -> GateKind {
        let entries = node.map(what, &mut self.faults);
        known_keys(
            entries,
            &["roles", "min", "org", "distinct_from"],
            what,
            &mut self.faults,
        );
        let roles = match node.get("roles") {
            Some(node) => node.words("roles", &mut self.faults),
            None => Vec::new(),
        };
        if roles.is_empty() {
            self.fault(node.at, format!("{what} names no role"), "write roles: [dba]");
        }
        let min = match node.get("min") {
            Some(node) => node.integer("min", 1, 20, &mut self.faults).unwrap_or(1),
            None => 1,
        };
        let distinct_from = node.get("distinct_from").map(|node| {
            let words = node.words("distinct_from", &mut self.faults);
            for word in &words {
                if word != "operator" && word != "author" {
                    self.person(word, node);
                }
            }
            words
        });
        let quorum = GateKind::Quorum {
            roles,
            min: u32::try_from(min).unwrap_or(1),
            org: node
                .get("org")
                .and_then(|node| node.word("org", &mut self.faults).map(str::to_owned)),
            distinct_from: distinct_from.unwrap_or_default(),
        };
        self.can_be_filled(node, &quorum);
        quorum
    }

    /// A person that is named: defined, or a persona of the lab.
    pub fn person(&mut self, id: &str, node: &Node) {
        if self.people.contains(id) {
            return;
        }
        if self.kind == EnvironmentKind::Lab {
            self.personas.insert(id.to_owned());
            return;
        }
        let hint = super::fault::nearest(id, self.people.iter().map(String::as_str))
            .unwrap_or_else(|| "define the person under people of this environment".to_owned());
        self.fault(
            node.at,
            format!("the person {id} is not defined in this environment"),
            &hint,
        );
    }

    /// `retry: { max: 3, backoff: 5s..1m }`
    pub fn retry(&mut self, node: Option<&Node>) -> super::plan::Retry {
        let mut retry = super::plan::Retry {
            max: 0,
            from: Span(1_000),
            to: Span(60_000),
        };
        let Some(node) = node else { return retry };
        let entries = node.map("retry", &mut self.faults);
        known_keys(entries, &["max", "backoff"], "retry", &mut self.faults);
        if let Some(node) = node.get("max") {
            let max = node.integer("max", 0, 100, &mut self.faults).unwrap_or(0);
            retry.max = u32::try_from(max).unwrap_or(0);
        }
        if let Some(node) = node.get("backoff") {
            let bounds = match &node.value {
                NodeValue::Text { text, .. } => {
                    text.split_once("..").map(|(from, to)| (from.to_owned(), to.to_owned()))
                }
                NodeValue::Null
                | NodeValue::Bool(_)
                | NodeValue::Int(_)
                | NodeValue::Float(_)
                | NodeValue::List(_)
                | NodeValue::Map(_) => None,
            };
            match bounds.map(|(from, to)| (super::text::duration(&from), super::text::duration(&to))) {
                Some((Some(from), Some(to))) if from <= to => {
                    retry.from = from;
                    retry.to = to;
                }
                _ => self.fault(node.at, "a backoff is a range of durations", "write backoff: 5s..1m"),
            }
        }
        retry
    }
}
