//! A whole runbook: its header and how its parts come together; the two entries `check` and `plan`.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::builder::Builder;
use super::catalogue::Catalogue;
use super::digest::digest;
use super::fault::{Fault, Severity, any_error, nearest};
use super::gate::operator;
use super::include::whole;
use super::node::{Node, NodeValue, known_keys};
use super::plan::{Digests, GateSpec, Person, Plan, Span};
use super::sources::Sources;
use super::step::is_open;
use super::text::{duration_text, is_name};

const KEYS: &[&str] = &[
    "version",
    "name",
    "title",
    "author",
    "vars",
    "secrets",
    "connections",
    "environments",
    "people",
    "preflight",
    "residency",
    "unwind_gate",
    "point_of_no_return",
    "commit",
    "phases",
    "import_run",
    "notify",
    "witness",
];
/// How long a preflight proves that the first change may begin, where the runbook does not say.
const PROOF: Span = Span(30 * 60 * 1_000);
/// The least that a person who approves needs; a look may take a minute of it.
const SHORTEST_PROOF: Span = Span(5 * 60 * 1_000);
/// The default environment of a runbook that declares none.
pub const LAB: &str = "lab";

/// Every fault of a runbook: of one environment, or of all.
pub fn check<'a>(
    sources: impl Into<Sources<'a>>,
    env: Option<&str>,
    catalogue: &Catalogue,
    now: DateTime<Utc>,
) -> Vec<Fault> {
    let sources = sources.into();
    let root = match whole(&sources) {
        Ok(root) => root,
        Err(faults) => return in_order(faults),
    };
    let names = match env {
        Some(name) => vec![name.to_owned()],
        None => environment_names(&root),
    };
    let mut faults: Vec<Fault> = Vec::new();
    for name in names {
        faults.extend(planned(&root, &sources, &name, catalogue, now).1);
    }
    if env.is_none() {
        faults.extend(super::separation::faults(&root));
    }
    in_order(faults)
}

/// By place, each once: environments share most of a runbook.
fn in_order(faults: Vec<Fault>) -> Vec<Fault> {
    let mut once: Vec<Fault> = Vec::new();
    for fault in faults {
        if !once.contains(&fault) {
            once.push(fault);
        }
    }
    once.sort_by_key(|fault| fault.place);
    once
}

/// The plan of one environment, or every fault that stands against it.
pub fn plan<'a>(
    sources: impl Into<Sources<'a>>,
    env: &str,
    catalogue: &Catalogue,
    now: DateTime<Utc>,
) -> Result<Plan, Vec<Fault>> {
    let sources = sources.into();
    let root = whole(&sources).map_err(in_order)?;
    let (plan, mut faults) = planned(&root, &sources, env, catalogue, now);
    faults.extend(super::separation::faults(&root));
    let faults = in_order(faults);
    if any_error(&faults) {
        return Err(faults);
    }
    plan.ok_or(faults)
}

fn environment_names(root: &Node) -> Vec<String> {
    let mut names: Vec<String> = match root.get("environments").map(|node| &node.value) {
        Some(NodeValue::Map(entries)) => entries.iter().map(|(key, _)| key.text.clone()).collect(),
        Some(_) | None => Vec::new(),
    };
    if names.is_empty() {
        names.push(LAB.to_owned());
    }
    names
}

fn planned(
    root: &Node,
    sources: &Sources<'_>,
    env: &str,
    catalogue: &Catalogue,
    now: DateTime<Utc>,
) -> (Option<Plan>, Vec<Fault>) {
    let mut builder = Builder::new(catalogue, now);
    let plan = builder.document(root, sources, env);
    (plan, builder.faults)
}

impl Builder<'_> {
    fn document(&mut self, root: &Node, sources: &Sources<'_>, env: &str) -> Option<Plan> {
        let entries = root.map("a runbook", &mut self.faults);
        if entries.is_empty() {
            return None;
        }
        self.version(root)?;
        known_keys(entries, KEYS, "a runbook", &mut self.faults);
        for later in ["notify", "witness"] {
            if root.get(later).is_some() {
                self.later(later);
            }
        }
        let name = self.name(root);
        let node = self.chosen(root, env)?;
        let (mut environment, imports) = self.environment(root, env, &node, sources);
        let secrets = self.secret_sources(root);
        let preflight = self.preflight(root);
        let author = root.get("author").and_then(|node| {
            let id = node.word("author", &mut self.faults)?.to_owned();
            self.person(&id, node);
            Some(id)
        });
        let unwind_gate = self.run_gate(root.get("unwind_gate"), "roll back");
        let no_return = self.run_gate(root.get("point_of_no_return"), "no return");
        let commit = self.commit(root);
        let (phases, steps) = self.phases(root);
        for id in std::mem::take(&mut self.personas) {
            let person = Person {
                name: id.clone(),
                org: None,
                roles: Vec::new(),
                keys: Vec::new(),
                persona: true,
            };
            environment.people.insert(id, person);
        }
        let mut plan = Plan {
            title: root
                .get("title")
                .and_then(Node::text)
                .map_or_else(|| name.clone(), str::to_owned),
            name,
            author,
            environment,
            vars: match self.scope.get("vars") {
                Some(Value::Object(vars)) => vars.clone().into_iter().collect(),
                Some(_) | None => Default::default(),
            },
            secrets,
            connections: self.connections.clone(),
            imports,
            phases,
            steps,
            unwind_gate,
            point_of_no_return: no_return,
            commit,
            residency: root
                .get("residency")
                .map(|node| node.words("residency", &mut self.faults))
                .unwrap_or_default(),
            preflight,
            digests: Digests {
                runbook: String::new(),
                plan: String::new(),
                rehearsal: rehearsal(root),
            },
            not_available: self.not_available.clone(),
            warnings: Vec::new(),
        };
        // What the file looks like (comments, lines that warnings name) is no part of what would happen.
        plan.digests.plan = serde_json::to_value(&plan)
            .map(|json| digest(&json))
            .unwrap_or_default();
        plan.digests.runbook = sources.digest();
        self.deadlines_hold(&plan);
        plan.warnings = self
            .faults
            .iter()
            .filter(|fault| fault.severity == Severity::Warning)
            .map(|fault| match sources.name(fault.place.file) {
                None => format!("{}:{}: {}", fault.place.line, fault.place.col, fault.message),
                Some(file) => format!("{file}:{}:{}: {}", fault.place.line, fault.place.col, fault.message),
            })
            .collect();
        Some(plan)
    }

    fn version(&mut self, root: &Node) -> Option<()> {
        match root.get("version").map(|node| (node.at, &node.value)) {
            Some((_, NodeValue::Int(1))) => Some(()),
            Some((at, NodeValue::Int(newer))) => {
                self.fault(
                    at,
                    format!("format version {newer} is not known"),
                    "this pointsman knows version 1; update it",
                );
                None
            }
            Some((at, _)) => {
                self.fault(at, "the version must be an integer", "write version: 1");
                None
            }
            None => {
                self.fault(root.at, "the runbook has no version", "write version: 1");
                None
            }
        }
    }

    fn name(&mut self, root: &Node) -> String {
        let Some(node) = root.get("name") else {
            self.fault(root.at, "the runbook has no name", "write name: erp-cutover");
            return String::new();
        };
        let text = node.word("name", &mut self.faults).unwrap_or_default().to_owned();
        if !is_name(&text) {
            self.fault(
                node.at,
                format!("\"{text}\" is no runbook name"),
                "lower-case letters, digits and -",
            );
        }
        if let Some(title) = root.get("title") {
            title.word("title", &mut self.faults);
        }
        text
    }

    fn chosen(&mut self, root: &Node, env: &str) -> Option<Node> {
        let Some(all) = root.get("environments") else {
            if env == LAB {
                return Some(Node {
                    at: root.at,
                    value: NodeValue::Map(Vec::new()),
                });
            }
            self.fault(
                root.at,
                format!("there is no environment {env}"),
                "the runbook declares none but the lab",
            );
            return None;
        };
        let entries = all.map("environments", &mut self.faults);
        if let Some((_, node)) = entries.iter().find(|(key, _)| key.text == env) {
            return Some(node.clone());
        }
        if env == LAB {
            return Some(Node {
                at: all.at,
                value: NodeValue::Map(Vec::new()),
            });
        }
        let known = entries.iter().map(|(key, _)| key.text.as_str());
        let hint = nearest(env, known.clone())
            .unwrap_or_else(|| format!("declared: {}", known.collect::<Vec<_>>().join(", ")));
        self.fault(all.at, format!("there is no environment {env}"), &hint);
        None
    }

    /// How long a proof lasts. One that were over before anybody could approve would be looked for for ever.
    fn preflight(&mut self, root: &Node) -> Option<Span> {
        let node = root.get("preflight")?;
        let entries = node.map("preflight", &mut self.faults);
        known_keys(entries, &["valid_for"], "preflight", &mut self.faults);
        let Some(node) = node.get("valid_for") else {
            return Some(PROOF);
        };
        let span = self.duration(node, "valid_for")?;
        if span < SHORTEST_PROOF {
            self.fault(
                node.at,
                format!(
                    "a preflight that is valid for {} is over before anybody can approve",
                    duration_text(span)
                ),
                "write at least 5m",
            );
        }
        Some(span)
    }

    fn run_gate(&mut self, node: Option<&Node>, phrase: &str) -> GateSpec {
        let gate = self.gate(node, phrase, operator(Some(phrase.to_owned())), false);
        if is_open(&gate.kind) {
            return operator(Some(phrase.to_owned()));
        }
        gate
    }

    fn commit(&mut self, root: &Node) -> GateSpec {
        let Some(node) = root.get("commit") else {
            return operator(Some("commit".to_owned()));
        };
        let entries = node.map("commit", &mut self.faults);
        known_keys(entries, &["gate"], "commit", &mut self.faults);
        self.run_gate(node.get("gate"), "commit")
    }
}

/// What a rehearsal proves: everything but people, window, connections and variables.
fn rehearsal(root: &Node) -> String {
    let part = |key: &str| root.get(key).map_or(Value::Null, Node::json);
    let mut proved = json!({
        "version": part("version"),
        "name": part("name"),
        "unwind_gate": part("unwind_gate"),
        "point_of_no_return": part("point_of_no_return"),
        "commit": part("commit"),
        "phases": part("phases"),
    });
    if let (Some(imports), Some(proved)) = (root.get("import_run"), proved.as_object_mut()) {
        proved.insert("import_run".to_owned(), imports.json());
    }
    digest(&proved)
}
