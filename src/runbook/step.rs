//! Steps of a runbook: everything that one step declares, and what must fit together.

use std::collections::BTreeMap;

use serde_json::Value;

use super::action::may_declare;
use super::builder::Builder;
use super::catalogue::{ActionSpec, Effect};
use super::checks::ChecksOf;
use super::gate::operator;
use super::node::{Key, Node, known_keys};
use super::plan::{
    Divergence, DowntimeMark, EnvironmentKind, GateKind, OnFailure, PlannedAction, PlannedStep, Rollback,
};
use super::poll::POLL;
use super::text::is_time_of_day;

const KEYS: &[&str] = &[
    "id",
    "title",
    "uses",
    "on",
    "with",
    "effect",
    "dry_run",
    "lab",
    "needs",
    "owner",
    "gate",
    "checks",
    "expect",
    "deadline",
    "timeout",
    "retry",
    "on_failure",
    "downtime",
    "writes_on_target",
    "divergence",
    "fall_forward",
    "outputs",
    "rollback",
    "notes",
    "for_each",
];

impl Builder<'_> {
    /// One step; `needs` are filled in by the graph.
    pub fn one_step(&mut self, node: &Node, id: &str, phase: &str) -> Option<PlannedStep> {
        let entries = node.map("a step", &mut self.faults);
        known_keys(entries, KEYS, "a step", &mut self.faults);
        let id = id.to_owned();
        self.step.clone_from(&id);
        self.own_outputs = false;
        let substitute = node.get("lab").filter(|_| self.kind == EnvironmentKind::Lab);
        let acting = substitute.unwrap_or(node);
        if substitute.is_some() {
            self.replaced_action(node, &format!("step {id}"));
        }
        let (mut action, spec) = self.action(acting, &format!("step {id}"))?;
        self.lab_rule(node, spec, substitute.is_some());
        self.declared_effect(node, spec, &mut action);
        let read = action.effect == Effect::Read;
        let (before, after) = self.checks(node.get("checks"), ChecksOf::Step);
        let outputs = self.outputs(node.get("outputs"), spec);
        self.own_outputs = true;
        let rollback = self.rollback(node, spec, &action, &outputs);
        self.own_outputs = false;
        self.demands(node, acting, (spec, &action), &rollback);
        let title = node.get("title").and_then(|node| self.words_known_now(node, "title"));
        let owner = node.get("owner").and_then(|owner| {
            let id = self.words_known_now(owner, "owner")?;
            self.person(&id, owner);
            Some(id)
        });
        if read && matches!(rollback, Rollback::Action { .. } | Rollback::Irreversible { .. }) {
            let at = node.get("rollback").map_or(node.at, |node| node.at);
            self.fault(
                at,
                format!("step {id} only reads; there is nothing to roll back"),
                "remove rollback:",
            );
        }
        let writes = self.writes_on_target(node);
        let divergence = node.get("divergence").and_then(|node| self.divergence(node));
        if writes && divergence.is_none() && node.get("divergence").is_none() {
            let at = node.get("writes_on_target").map_or(node.at, |node| node.at);
            let hint = "add divergence: { on: target, sql: \"select count(*) …\" } to count what an undo would lose";
            self.fault(
                at,
                format!("step {id} opens the target for writes without saying how to count them"),
                hint,
            );
        }
        let gate = if spec.uses == POLL {
            self.poll(node, acting, &action.with)
        } else {
            self.gate(node.get("gate"), &id, operator(None), read)
        };
        Some(PlannedStep {
            title: title.unwrap_or_else(|| id.clone()),
            phase: phase.to_owned(),
            needs: Vec::new(),
            owner,
            gate,
            before,
            after,
            expect: node.get("expect").and_then(|node| self.duration(node, "expect")),
            timeout: node.get("timeout").and_then(|node| self.duration(node, "timeout")),
            deadline: self.deadline(node.get("deadline")),
            retry: self.retry(node.get("retry")),
            on_failure: self.on_failure(node.get("on_failure")),
            downtime: self.downtime(node.get("downtime")),
            writes_on_target: writes,
            divergence,
            fall_forward: node
                .get("fall_forward")
                .and_then(|node| node.flag("fall_forward", &mut self.faults))
                .unwrap_or(false),
            outputs,
            rollback,
            notes: node.get("notes").and_then(|node| self.words_known_now(node, "notes")),
            action,
            id,
        })
    }

    fn lab_rule(&mut self, node: &Node, spec: &ActionSpec, substituted: bool) {
        let outside = matches!(spec.uses, "shell.command" | "ssh.command");
        if self.kind == EnvironmentKind::Lab && outside && !substituted {
            let hint = "add lab: { uses: …, with: … } with what stands for it in the lab";
            self.fault(
                node.at,
                format!("{} does not run in the lab without a substitute", spec.uses),
                hint,
            );
        }
    }

    fn declared_effect(&mut self, node: &Node, spec: &ActionSpec, action: &mut PlannedAction) {
        if let Some(effect) = node.get("effect") {
            let declared = match effect.word("effect", &mut self.faults) {
                Some("read") => Some(Effect::Read),
                Some("mutate") => Some(Effect::Mutate),
                Some("human") => Some(Effect::Human),
                Some(_) | None => None,
            };
            match declared {
                Some(declared) if may_declare(spec, declared) => {
                    action.declared_read = declared == Effect::Read && spec.effect != Effect::Read;
                    action.effect = declared;
                }
                Some(_) => {
                    self.fault(
                        effect.at,
                        format!("{} does more than that", spec.uses),
                        "an effect may only be made stricter",
                    );
                }
                None => self.fault(effect.at, "an effect is read, mutate or human", "write one of these"),
            }
        }
        match node.get("dry_run").map(|node| (node.at, node.text())) {
            None => {}
            Some((_, Some("execute"))) if action.effect == Effect::Read => action.dry_run_execute = true,
            Some((at, _)) => self.fault(
                at,
                "dry_run can only be execute, on a command declared effect: read",
                "remove it",
            ),
        }
    }

    fn outputs(&mut self, node: Option<&Node>, spec: &ActionSpec) -> BTreeMap<String, String> {
        let mut outputs = BTreeMap::new();
        let entries: &[(Key, Node)] = node
            .map(|node| node.map("outputs", &mut self.faults))
            .unwrap_or_default();
        for (key, value) in entries {
            let Some(path) = value.word("an output", &mut self.faults) else {
                continue;
            };
            let name = path
                .strip_prefix("result.")
                .and_then(|rest| rest.split(['.', '[', ' ']).next());
            match name {
                Some(name) if spec.results.contains(&name) => {}
                Some(name) => {
                    let hint = super::fault::nearest(name, spec.results.iter().copied())
                        .unwrap_or_else(|| format!("it has: {}", spec.results.join(", ")));
                    self.fault(value.at, format!("the result of {} has no {name}", spec.uses), &hint);
                }
                None => self.fault(
                    value.at,
                    format!("\"{path}\" is no path into the result"),
                    "write result.NAME",
                ),
            }
            outputs.insert(key.text.clone(), path.to_owned());
        }
        outputs
    }

    fn writes_on_target(&mut self, node: &Node) -> bool {
        match node.get("writes_on_target").map(|node| (node.at, node.text())) {
            None => false,
            Some((_, Some("begins"))) => true,
            Some((at, _)) => {
                self.fault(
                    at,
                    "writes_on_target can only be begins",
                    "write writes_on_target: begins",
                );
                false
            }
        }
    }

    fn divergence(&mut self, node: &Node) -> Option<Divergence> {
        let entries = node.map("divergence", &mut self.faults);
        known_keys(entries, &["on", "sql"], "divergence", &mut self.faults);
        let probe = Node {
            at: node.at,
            value: super::node::NodeValue::Map(vec![
                (
                    Key {
                        text: "uses".to_owned(),
                        at: node.at,
                    },
                    text_node("sql.query", node),
                ),
                (
                    Key {
                        text: "on".to_owned(),
                        at: node.at,
                    },
                    node.get("on").cloned().unwrap_or_else(|| text_node("", node)),
                ),
                (
                    Key {
                        text: "with".to_owned(),
                        at: node.at,
                    },
                    Node {
                        at: node.at,
                        value: super::node::NodeValue::Map(
                            node.get("sql")
                                .map(|sql| {
                                    (
                                        Key {
                                            text: "sql".to_owned(),
                                            at: sql.at,
                                        },
                                        sql.clone(),
                                    )
                                })
                                .into_iter()
                                .collect(),
                        ),
                    },
                ),
            ]),
        };
        let (action, _) = self.action(&probe, "divergence")?;
        Some(Divergence {
            on: action.on.first().cloned().unwrap_or_default(),
            sql: action
                .with
                .get("sql")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
        })
    }

    fn deadline(&mut self, node: Option<&Node>) -> Option<String> {
        let node = node?;
        let text = node.word("deadline", &mut self.faults)?;
        if !is_time_of_day(text) {
            self.fault(
                node.at,
                format!("the deadline \"{text}\" is no time of day"),
                "write \"22:20\" in quotes",
            );
            return None;
        }
        if self.origin.copy == 0 {
            self.deadlines.push((self.step.clone(), node.at));
        }
        Some(text.to_owned())
    }

    fn on_failure(&mut self, node: Option<&Node>) -> OnFailure {
        match node.map(|node| (node.at, node.text())) {
            None | Some((_, Some("ask"))) => OnFailure::Ask,
            Some((_, Some("rollback"))) => OnFailure::Rollback,
            Some((at, _)) => {
                self.fault(at, "on_failure is ask or rollback", "write one of these");
                OnFailure::Ask
            }
        }
    }

    fn downtime(&mut self, node: Option<&Node>) -> Option<DowntimeMark> {
        match node.map(|node| (node.at, node.text())) {
            None => None,
            Some((_, Some("begins"))) => Some(DowntimeMark::Begins),
            Some((_, Some("ends"))) => Some(DowntimeMark::Ends),
            Some((at, _)) => {
                self.fault(at, "downtime is begins or ends", "write one of these");
                None
            }
        }
    }
}

fn text_node(text: &str, at: &Node) -> Node {
    Node {
        at: at.at,
        value: super::node::NodeValue::Text {
            text: text.to_owned(),
            plain: false,
        },
    }
}

/// Whether a gate asks nobody.
pub(super) const fn is_open(kind: &GateKind) -> bool {
    matches!(kind, GateKind::Open { .. })
}
