//! Connections of an environment: their kinds and settings, secrets by name, the regions that they may lie in. Must not
//! open anything.

use std::collections::BTreeMap;

use serde_json::Value;

use super::builder::Builder;
use super::environment::LAB;
use super::expression::has_expression;
use super::fault::{Place, nearest};
use super::node::{Key, Node, NodeValue, known_keys};
use super::plan::{Connection, EnvironmentKind};
use super::text::duration;

/// Kinds of connections with the settings that each has.
pub const KINDS: &[(&str, &[&str])] = &[
    ("sqlite", &["path"]),
    (
        "mysql",
        &["host", "port", "database", "user", "password", "tls", "ca", "timeout"],
    ),
    (
        "postgres",
        &["host", "port", "database", "user", "password", "tls", "ca", "timeout"],
    ),
    (
        "sqlserver",
        &[
            "host", "port", "database", "user", "password", "token", "tls", "ca", "timeout",
        ],
    ),
    (
        "aws",
        &[
            "region",
            "account",
            "profile",
            "role_arn",
            "endpoint",
            "dns_server",
            "timeout",
        ],
    ),
    ("http", &["url", "resolver", "headers", "bearer", "ca"]),
    (
        "ssh",
        &[
            "host",
            "port",
            "user",
            "known_hosts",
            "key",
            "passphrase",
            "agent",
            "password",
        ],
    ),
];

impl Builder<'_> {
    pub(super) fn connections(&mut self, root: &Node, node: &Node) {
        let shared = root
            .get("connections")
            .map(|node| node.map("connections", &mut self.faults))
            .unwrap_or_default();
        let own = node
            .get("connections")
            .map(|node| node.map("connections", &mut self.faults))
            .unwrap_or_default();
        let mut known = BTreeMap::new();
        let mut places = BTreeMap::new();
        for (key, node) in shared.iter().chain(own) {
            if key.text == "inherit" {
                node.words("inherit", &mut self.faults);
                continue;
            }
            if let Some(connection) = self.connection(key, node) {
                places.insert(key.text.clone(), node.get("region").map_or(node.at, |region| region.at));
                known.insert(key.text.clone(), connection);
            }
        }
        if self.kind == EnvironmentKind::Lab {
            self.declared = known;
            known = LAB
                .iter()
                .map(|(name, kind)| {
                    let settings = if *name == "aws" {
                        BTreeMap::from([
                            ("region".to_owned(), Value::from("us-east-1")),
                            ("account".to_owned(), Value::from("000000000000")),
                        ])
                    } else {
                        BTreeMap::new()
                    };
                    (
                        (*name).to_owned(),
                        Connection {
                            uses: (*kind).to_owned(),
                            settings,
                        },
                    )
                })
                .collect();
        }
        self.residency(root, &known, &places);
        self.connections = known;
    }

    fn connection(&mut self, key: &Key, node: &Node) -> Option<Connection> {
        let entries = node.map("a connection", &mut self.faults);
        let Some(uses) = node.get("uses") else {
            self.fault(
                node.at,
                format!("connection {} has no uses", key.text),
                "write uses: aws, mysql, …",
            );
            return None;
        };
        let kind = uses.word("uses", &mut self.faults)?;
        let Some((_, settings)) = KINDS.iter().find(|(name, _)| *name == kind) else {
            let hint = nearest(kind, KINDS.iter().map(|(name, _)| *name))
                .unwrap_or_else(|| "known: sqlite, mysql, postgres, sqlserver, aws, http, ssh".to_owned());
            self.fault(uses.at, format!("connections of kind \"{kind}\" are not known"), &hint);
            return None;
        };
        let mut known = vec!["uses"];
        known.extend_from_slice(settings);
        known_keys(
            entries,
            &known,
            &format!("a connection of kind {kind}"),
            &mut self.faults,
        );
        match kind {
            "ssh" => self.ssh_connection(&key.text, node),
            "mysql" | "postgres" | "sqlserver" => self.server_connection(&key.text, kind, node),
            _ => {}
        }
        let mut resolved = BTreeMap::new();
        for (name, value) in entries.iter().filter(|(name, _)| name.text != "uses") {
            let text = value.text().unwrap_or_default();
            self.literal_secret(value.at, &name.text, text);
            let json = if name.text == "headers" {
                self.connection_headers(value)
            } else if text.contains("secret.") {
                self.secret_use(value.at, text)
            } else {
                self.value_known_now(value, "a connection's setting")
            };
            let waits = name.text == "timeout" && !json.is_null();
            if waits && json.as_str().and_then(duration).is_none_or(|span| span.0 == 0) {
                let message = format!("the timeout of {} is {json}, not a duration", key.text);
                self.fault(value.at, message, "write how long a call may take: 30s");
            }
            resolved.insert(name.text.clone(), json);
        }
        self.look_alikes(&key.text, node, &resolved);
        Some(Connection {
            uses: kind.to_owned(),
            settings: resolved,
        })
    }

    /// A database server says where it is and who logs in; what cannot be meant is told at its place.
    fn server_connection(&mut self, name: &str, kind: &str, node: &Node) {
        let (token, password) = (node.get("token"), node.get("password"));
        let mut needed = vec!["host", "database"];
        if token.is_none() {
            needed.push("user");
        }
        for key in needed {
            if node.get(key).is_none() {
                let message = format!("the {kind} connection {name} has no {key}");
                self.fault(node.at, message, &format!("write {key}: …"));
            }
        }
        if let (Some(token), Some(_)) = (token, password) {
            self.fault(token.at, "a token beside a password", "keep one of them");
        }
        if let Some(port) = node.get("port").filter(|port| !port.text().is_some_and(has_expression)) {
            port.integer("port", 1, 65_535, &mut self.faults);
        }
        let Some(tls) = node.get("tls") else { return };
        let word = match &tls.value {
            NodeValue::Bool(flag) => Some(if *flag { "true" } else { "false" }),
            NodeValue::Null
            | NodeValue::Int(_)
            | NodeValue::Float(_)
            | NodeValue::Text { .. }
            | NodeValue::List(_)
            | NodeValue::Map(_) => tls.text(),
        };
        if word.is_some_and(has_expression) {
            return;
        }
        match word {
            Some("verify" | "true") => {}
            Some("unverified" | "off" | "false") => {
                if token.is_some() {
                    self.fault(tls.at, "a token that anybody on the way may use", "take tls: out");
                }
                if let Some(ca) = node.get("ca") {
                    self.fault(ca.at, "a ca that nobody is verified by", "take tls: out, or ca:");
                }
            }
            Some(_) | None => {
                let message = format!("the tls of {name} is not known");
                self.fault(
                    tls.at,
                    message,
                    "write verify, which is what nothing means, unverified or off",
                );
            }
        }
    }

    /// An SSH connection says who logs in, and by which one proof.
    fn ssh_connection(&mut self, name: &str, node: &Node) {
        for key in ["host", "user"] {
            if node.get(key).is_none() {
                let message = format!("the ssh connection {name} has no {key}");
                self.fault(node.at, message, &format!("write {key}: …"));
            }
        }
        if let Some(port) = node.get("port").filter(|port| !port.text().is_some_and(has_expression)) {
            port.integer("port", 1, 65_535, &mut self.faults);
        }
        let agent = match node.get("agent") {
            Some(agent) => agent.flag("agent", &mut self.faults).unwrap_or(true),
            None => false,
        };
        let (key, password) = (node.get("key").is_some(), node.get("password").is_some());
        if usize::from(agent) + usize::from(key) + usize::from(password) != 1 {
            let message = format!("the ssh connection {name} needs one proof of who logs in");
            self.fault(
                node.at,
                message,
                "write key: PATH, agent: true or password: \"${ secret.NAME }\"",
            );
        }
        if let Some(passphrase) = node.get("passphrase").filter(|_| !key) {
            self.fault(
                passphrase.at,
                "a passphrase without a key",
                "write key: PATH, or remove it",
            );
        }
    }

    pub(super) fn secret_use(&mut self, at: Place, text: &str) -> Value {
        let name = text
            .trim()
            .strip_prefix("${")
            .and_then(|rest| rest.strip_suffix('}'))
            .and_then(|rest| rest.trim().strip_prefix("secret."))
            .map(str::to_owned);
        match name {
            Some(name) if self.secrets.contains(&name) => {}
            Some(name) => {
                let hint = nearest(&name, self.secrets.iter().map(String::as_str))
                    .unwrap_or_else(|| "declare it under secrets".to_owned());
                self.fault(at, format!("there is no secret {name}"), &hint);
            }
            None => self.fault(
                at,
                "a secret must stand alone",
                "write \"${ secret.NAME }\" and nothing beside it",
            ),
        }
        Value::from(text)
    }

    /// Every AWS connection lies in a region that the runbook allows.
    pub(super) fn residency(
        &mut self,
        root: &Node,
        known: &BTreeMap<String, Connection>,
        places: &BTreeMap<String, Place>,
    ) {
        let Some(node) = root.get("residency") else { return };
        let allowed = node.words("residency", &mut self.faults);
        if self.kind == EnvironmentKind::Lab {
            return;
        }
        let hint = format!("allowed: {}", allowed.join(", "));
        for (name, connection) in known {
            let at = places.get(name).copied().unwrap_or(node.at);
            match connection.settings.get("region").and_then(Value::as_str) {
                Some(region) if !allowed.iter().any(|allowed| allowed == region) => {
                    let message = format!("connection {name} is in {region}, outside of the residency");
                    self.fault(at, message, &hint);
                }
                Some(_) => {}
                None if connection.uses == "aws" => {
                    let message = format!("connection {name} names no region, and the residency is bounded");
                    self.fault(at, message, &hint);
                }
                None => {}
            }
        }
    }
}
