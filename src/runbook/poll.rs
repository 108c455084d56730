//! `manual.poll`: the gate that its parameters make, and what a step that is one cannot have besides.

use std::collections::BTreeMap;

use serde_json::Value;

use super::builder::Builder;
use super::expression::has_expression;
use super::fault::{Place, nearest};
use super::gate::operator;
use super::node::{Node, NodeValue, known_keys};
use super::plan::{GateKind, GateSpec, GateTimeout, NoGo};

/// The action.
pub const POLL: &str = "manual.poll";

/// What a poll's `gate:` may say: the parameters say who answers.
const KEYS: &[&str] = &["expires", "timeout"];
/// What other gates say, and why a poll does not.
const ELSEWHERE: &[(&str, &str)] = &[
    ("approve", "name the roles under with: { roles: […], quorum: … }"),
    ("phrase", "every role answers for itself; remove it"),
    (
        "escalate",
        "name deputies under with:, or write timeout: hold or reject",
    ),
    ("none", "a poll always asks; remove it"),
];
/// What a step that changes nothing cannot declare.
const CHANGES: &[(&str, &str)] = &[
    ("rollback", "there is nothing to undo"),
    ("writes_on_target", "it opens nothing"),
    ("divergence", "it writes nothing"),
];

impl Builder<'_> {
    /// The gate of a step whose action is a poll: `acting` declares the action, `with` are its resolved parameters.
    pub(super) fn poll(&mut self, step: &Node, acting: &Node, with: &Value) -> GateSpec {
        for (key, why) in CHANGES {
            if let Some(node) = step.get(key) {
                self.fault(
                    node.at,
                    format!("a poll changes nothing: {why}"),
                    &format!("remove {key}:"),
                );
            }
        }
        if let Some(node) = step.get("effect").filter(|node| node.text() != Some("human")) {
            self.fault(node.at, "a poll is answered by people", "remove effect:");
        }
        let parameters = acting.get("with");
        let kind = self.poll_kind(parameters.unwrap_or(acting), with);
        self.poll_gate(step.get("gate"), kind)
    }

    /// A poll asks before its own step only; nobody would answer it elsewhere.
    pub(super) fn no_poll(&mut self, node: &Node, uses: &str, what: &str) {
        if uses == POLL {
            let at = node.get("uses").map_or(node.at, |uses| uses.at);
            let hint = "make it a step of its own, or use manual.task";
            self.fault(at, format!("{what} cannot be a poll"), hint);
        }
    }

    fn poll_kind(&mut self, node: &Node, with: &Value) -> GateKind {
        for key in ["roles", "quorum", "deputies", "no_go"] {
            if let Some(value) = node.get(key).filter(|_| deferred(with.get(key))) {
                let hint = "outputs of steps can be used in the question";
                self.fault(value.at, format!("{key} must be known before the run"), hint);
            }
        }
        let roles = texts(with.get("roles"));
        let at = |key: &str| node.get(key).map_or(node.at, |value| value.at);
        if roles.is_empty() && with.get("roles").is_some_and(Value::is_array) {
            self.fault(at("roles"), "the poll names no role", "write roles: [lead, dba]");
        }
        for (index, role) in roles.iter().enumerate() {
            if roles.iter().take(index).any(|other| other == role) {
                let place = place_of(node.get("roles"), index).unwrap_or_else(|| at("roles"));
                self.fault(place, format!("the role {role} is here twice"), "a role has one answer");
            }
        }
        let all = u32::try_from(roles.len()).unwrap_or(u32::MAX);
        let quorum = with.get("quorum").and_then(Value::as_u64);
        let quorum = quorum.and_then(|quorum| u32::try_from(quorum).ok()).unwrap_or(all);
        if quorum > all && !roles.is_empty() {
            self.fault(
                at("quorum"),
                format!("a quorum of {quorum} cannot be reached by {all} roles"),
                "name more roles, or ask for fewer",
            );
        }
        let poll = GateKind::Poll {
            quorum,
            deputies: self.deputies(node.get("deputies"), with.get("deputies"), &roles),
            no_go: match with.get("no_go").and_then(Value::as_str) {
                Some("stop") => NoGo::Stop,
                Some(_) | None => NoGo::Ask,
            },
            roles,
        };
        self.can_be_filled(node, &poll);
        poll
    }

    fn deputies(
        &mut self,
        node: Option<&Node>,
        given: Option<&Value>,
        roles: &[String],
    ) -> BTreeMap<String, Vec<String>> {
        let mut deputies = BTreeMap::new();
        let Some((node, given)) = node.zip(given.and_then(Value::as_object)) else {
            return deputies;
        };
        for (role, persons) in given {
            let own = node.get(role).unwrap_or(node);
            if !roles.is_empty() && !roles.contains(role) {
                let hint = nearest(role, roles.iter().map(String::as_str))
                    .unwrap_or_else(|| format!("it asks: {}", roles.join(", ")));
                self.fault(
                    own.at,
                    format!("deputies for {role}, a role that the poll does not ask"),
                    &hint,
                );
            }
            let persons = texts(Some(persons));
            for (index, person) in persons.iter().enumerate() {
                let at = place_of(Some(own), index).unwrap_or(own.at);
                let named = Node { at, ..own.clone() };
                self.person(person, &named);
            }
            deputies.insert(role.clone(), persons);
        }
        deputies
    }

    fn poll_gate(&mut self, node: Option<&Node>, kind: GateKind) -> GateSpec {
        let mut gate = GateSpec { kind, ..operator(None) };
        let Some(node) = node else { return gate };
        if let Some("none") = node.text() {
            self.fault(
                node.at,
                "a poll's gate is the poll itself",
                "remove gate:, the roles are asked",
            );
            return gate;
        }
        let entries = node.map("a gate", &mut self.faults);
        let others = ELSEWHERE.iter().map(|(key, _)| *key);
        let known: Vec<&str> = KEYS.iter().copied().chain(others).collect();
        known_keys(entries, &known, "a gate", &mut self.faults);
        for (key, hint) in ELSEWHERE {
            if let Some(node) = node.get(key) {
                self.fault(
                    node.at,
                    format!("a poll's gate is the poll itself; it takes no {key}"),
                    hint,
                );
            }
        }
        gate.expires = node.get("expires").and_then(|node| self.duration(node, "expires"));
        gate.on_timeout = self.poll_timeout(node, gate.expires.is_some());
        gate
    }

    fn poll_timeout(&mut self, gate: &Node, expires: bool) -> GateTimeout {
        let timeout = gate.get("timeout");
        let at = timeout.map_or(gate.at, |node| node.at);
        match timeout.and_then(Node::text) {
            None if timeout.is_none() => GateTimeout::Hold,
            Some("hold") => GateTimeout::Hold,
            Some("reject") if expires => GateTimeout::Reject,
            Some("reject") => {
                let hint = "add expires: 30m: it is counted from the request";
                self.fault(at, "this gate never times out", hint);
                GateTimeout::Hold
            }
            Some(_) | None => {
                let hint = "it is never a go; others who may answer are deputies, under with:";
                self.fault(at, "a poll's timeout is hold or reject", hint);
                GateTimeout::Hold
            }
        }
    }
}

/// Whether a parameter waits for a step's output.
fn deferred(value: Option<&Value>) -> bool {
    match value {
        Some(Value::String(text)) => has_expression(text),
        Some(Value::Array(items)) => items.iter().any(|item| deferred(Some(item))),
        Some(Value::Object(entries)) => entries.values().any(|item| deferred(Some(item))),
        Some(Value::Null | Value::Bool(_) | Value::Number(_)) | None => false,
    }
}

fn texts(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Where an item of a list stands.
fn place_of(list: Option<&Node>, index: usize) -> Option<Place> {
    match list.map(|node| &node.value) {
        Some(NodeValue::List(items)) => items.get(index).map(|item| item.at),
        Some(
            NodeValue::Null
            | NodeValue::Bool(_)
            | NodeValue::Int(_)
            | NodeValue::Float(_)
            | NodeValue::Text { .. }
            | NodeValue::Map(_),
        )
        | None => None,
    }
}
