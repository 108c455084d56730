//! Environments: kinds, windows, people, connections; what the lab replaces and what production forbids.

use std::collections::BTreeMap;

use serde_json::{Map, json};

use super::builder::Builder;
use super::fault::nearest;
use super::node::{Node, known_keys};
use super::plan::{ApprovalMode, Environment, EnvironmentKind, Person, PlannedImport, SecretSource, Span};
use super::sources::Sources;

const KEYS: &[&str] = &[
    "kind",
    "approvals",
    "auto_approve",
    "window",
    "downtime_budget",
    "log_retention",
    "reverse_drain",
    "validation",
    "ticket",
    "requires_rehearsal",
    "people",
    "vars",
    "connections",
];
/// Connections that the lab gives, with their kinds.
pub const LAB: &[(&str, &str)] = &[
    ("source", "sqlite"),
    ("target", "sqlite"),
    ("aws", "aws"),
    ("app", "http"),
];

impl Builder<'_> {
    /// The environment named `name`, with its variables, connections and people put to use.
    pub(super) fn environment(
        &mut self,
        root: &Node,
        name: &str,
        node: &Node,
        sources: &Sources<'_>,
    ) -> (Environment, BTreeMap<String, PlannedImport>) {
        let entries = node.map("an environment", &mut self.faults);
        known_keys(entries, KEYS, "an environment", &mut self.faults);
        self.kind = self.environment_kind(name, node);
        self.secrets = self.secret_names(root);
        self.variables(root, node, name);
        let imports = self.imports(root, sources);
        let people = self.people(root.get("people"), node.get("people"));
        self.people = people.keys().cloned().collect();
        self.roster.clone_from(&people);
        self.connections(root, node);
        let approvals = match node
            .get("approvals")
            .and_then(|node| node.word("approvals", &mut self.faults))
        {
            Some("typed") | None => ApprovalMode::Typed,
            Some("signed") => {
                self.later("signed approvals (environments with approvals: signed)");
                ApprovalMode::Signed
            }
            Some(other) => {
                let at = node.get("approvals").map_or(node.at, |node| node.at);
                self.fault(at, format!("approvals are \"{other}\""), "write typed or signed");
                ApprovalMode::Typed
            }
        };
        let auto = node
            .get("auto_approve")
            .and_then(|node| node.flag("auto_approve", &mut self.faults));
        if node.get("requires_rehearsal").is_some() {
            self.rehearsal_rule(node.get("requires_rehearsal"));
        }
        self.author = root.get("author").and_then(Node::text).map(str::to_owned);
        let window = node.get("window").and_then(|node| self.window(node));
        if self.kind == EnvironmentKind::Production {
            self.production(node, approvals, auto);
        }
        let environment = Environment {
            name: name.to_owned(),
            kind: self.kind,
            approvals,
            auto_approve: auto.unwrap_or(self.kind == EnvironmentKind::Lab),
            window,
            downtime_budget: node
                .get("downtime_budget")
                .and_then(|node| self.duration(node, "downtime_budget")),
            log_retention: self.optional_duration(node, "log_retention"),
            reverse_drain: self.optional_duration(node, "reverse_drain"),
            validation: self.optional_duration(node, "validation"),
            ticket: node
                .get("ticket")
                .and_then(|node| node.word("ticket", &mut self.faults).map(str::to_owned)),
            people,
        };
        (environment, imports)
    }

    fn optional_duration(&mut self, node: &Node, key: &str) -> Option<Span> {
        node.get(key).and_then(|node| self.duration(node, key))
    }

    fn environment_kind(&mut self, name: &str, node: &Node) -> EnvironmentKind {
        let Some(kind) = node.get("kind") else {
            if name == "lab" {
                return EnvironmentKind::Lab;
            }
            self.fault(
                node.at,
                format!("environment {name} has no kind"),
                "write kind: lab, rehearsal or production",
            );
            return EnvironmentKind::Rehearsal;
        };
        match kind.word("kind", &mut self.faults) {
            Some("lab") => EnvironmentKind::Lab,
            Some("rehearsal") | None => EnvironmentKind::Rehearsal,
            Some("production") => EnvironmentKind::Production,
            Some(other) => {
                let hint = nearest(other, ["lab", "rehearsal", "production"])
                    .unwrap_or_else(|| "write lab, rehearsal or production".to_owned());
                self.fault(kind.at, format!("the kind \"{other}\" is not known"), &hint);
                EnvironmentKind::Rehearsal
            }
        }
    }

    fn production(&mut self, node: &Node, approvals: ApprovalMode, auto: Option<bool>) {
        if approvals != ApprovalMode::Signed {
            let at = node.get("approvals").map_or(node.at, |node| node.at);
            self.fault(
                at,
                "production needs signed approvals",
                "write approvals: signed and give people their keys",
            );
        }
        if auto == Some(true) {
            let at = node.get("auto_approve").map_or(node.at, |node| node.at);
            self.fault(at, "production forbids automatic approval", "remove auto_approve");
        }
        self.later("environments of kind production (they need signed approvals)");
    }

    fn rehearsal_rule(&mut self, node: Option<&Node>) {
        let Some(node) = node else { return };
        let entries = node.map("requires_rehearsal", &mut self.faults);
        known_keys(
            entries,
            &["within", "with_rollback"],
            "requires_rehearsal",
            &mut self.faults,
        );
        if let Some(within) = node.get("within") {
            self.duration(within, "within");
        }
        if let Some(with) = node.get("with_rollback") {
            with.flag("with_rollback", &mut self.faults);
        }
        self.later("requires_rehearsal");
    }

    fn variables(&mut self, root: &Node, node: &Node, name: &str) {
        let mut vars = Map::new();
        for source in [root.get("vars"), node.get("vars")].into_iter().flatten() {
            for (key, value) in source.map("vars", &mut self.faults) {
                if let Some(text) = value.text() {
                    self.literal_secret(value.at, &key.text, text);
                }
                vars.insert(key.text.clone(), value.json());
            }
        }
        self.scope = json!({ "vars": vars, "env": { "name": name } });
    }

    fn people(&mut self, shared: Option<&Node>, own: Option<&Node>) -> BTreeMap<String, Person> {
        let mut people = BTreeMap::new();
        for source in [shared, own].into_iter().flatten() {
            for (key, node) in source.map("people", &mut self.faults) {
                let entries = node.map("a person", &mut self.faults);
                known_keys(entries, &["name", "org", "roles", "keys"], "a person", &mut self.faults);
                let mut word = |key: &str| {
                    node.get(key)
                        .and_then(|node| node.word(key, &mut self.faults).map(str::to_owned))
                };
                let (full, org) = (word("name"), word("org"));
                let person = Person {
                    name: full.unwrap_or_else(|| key.text.clone()),
                    org,
                    roles: node
                        .get("roles")
                        .map(|node| node.words("roles", &mut self.faults))
                        .unwrap_or_default(),
                    keys: node
                        .get("keys")
                        .map(|node| node.words("keys", &mut self.faults))
                        .unwrap_or_default(),
                    persona: false,
                };
                people.insert(key.text.clone(), person);
            }
        }
        people
    }

    fn secret_names(&mut self, root: &Node) -> std::collections::BTreeSet<String> {
        let entries = root
            .get("secrets")
            .map(|node| node.map("secrets", &mut self.faults))
            .unwrap_or_default();
        entries.iter().map(|(key, _)| key.text.clone()).collect()
    }

    /// Where secrets come from.
    pub fn secret_sources(&mut self, root: &Node) -> BTreeMap<String, SecretSource> {
        let mut sources = BTreeMap::new();
        let entries = root
            .get("secrets")
            .map(|node| node.map("secrets", &mut self.faults))
            .unwrap_or_default();
        for (key, node) in entries {
            if let Some(text) = node.text() {
                let _ = text;
                self.fault(
                    node.at,
                    format!("the secret {} is written out", key.text),
                    "write { env: NAME }, { file: PATH } or { command: [...] }",
                );
                continue;
            }
            let fields = node.map("a secret", &mut self.faults);
            known_keys(
                fields,
                &["env", "file", "command", "aws_secret"],
                "a secret",
                &mut self.faults,
            );
            let source = match fields {
                [(kind, value)] => match kind.text.as_str() {
                    "env" => value
                        .word("env", &mut self.faults)
                        .map(|name| SecretSource::Env(name.to_owned())),
                    "file" => value
                        .word("file", &mut self.faults)
                        .map(|path| SecretSource::File(path.to_owned())),
                    "command" => Some(SecretSource::Command(value.words("command", &mut self.faults))),
                    "aws_secret" => {
                        self.later("secrets from aws_secret");
                        value
                            .word("aws_secret", &mut self.faults)
                            .map(|id| SecretSource::AwsSecret(id.to_owned()))
                    }
                    _ => None,
                },
                _ => {
                    self.fault(
                        node.at,
                        format!("the secret {} needs one source", key.text),
                        "write { env: NAME }",
                    );
                    None
                }
            };
            if let Some(source) = source {
                sources.insert(key.text.clone(), source);
            }
        }
        sources
    }
}
