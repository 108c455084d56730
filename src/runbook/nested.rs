//! Parameters that hold more than a value: reads within an action, and the stages of a shift. Owns their rules only.

use serde_json::{Map, Value, json};

use super::builder::Builder;
use super::catalogue::Effect;
use super::node::{Key, Node, NodeValue, known_keys};

/// What stands for an address that is known only in the run.
const ADDRESS: [(&str, &str); 2] = [("host", "127.0.0.1"), ("port", "1")];

/// An assertion as the check that it will be.
fn with_an_address(item: &Node) -> Node {
    let key = |text: &str| Key {
        text: text.to_owned(),
        at: item.at,
    };
    let mut with = match item.get("with").map(|with| &with.value) {
        Some(NodeValue::Map(entries)) => entries.clone(),
        Some(_) | None => Vec::new(),
    };
    with.retain(|(known, _)| ADDRESS.iter().all(|(name, _)| known.text != *name));
    for (name, text) in ADDRESS {
        let value = match text.parse() {
            Ok(number) => NodeValue::Int(number),
            Err(_) => NodeValue::Text {
                text: text.to_owned(),
                plain: true,
            },
        };
        with.push((key(name), Node { at: item.at, value }));
    }
    let mut entries: Vec<(Key, Node)> = match &item.value {
        NodeValue::Map(entries) => entries.clone(),
        NodeValue::Null
        | NodeValue::Bool(_)
        | NodeValue::Int(_)
        | NodeValue::Float(_)
        | NodeValue::Text { .. }
        | NodeValue::List(_) => Vec::new(),
    };
    entries.retain(|(known, _)| known.text != "with");
    let at = item.get("with").map_or(item.at, |with| with.at);
    let value = NodeValue::Map(with);
    entries.push((key("with"), Node { at, value }));
    Node {
        at: item.at,
        value: NodeValue::Map(entries),
    }
}

impl Builder<'_> {
    /// A list of reads, as checks are written.
    pub(super) fn nested_checks(&mut self, node: &Node, what: &str) -> Value {
        let mut reads = Vec::new();
        for item in node.list(what, &mut self.faults) {
            let entries = item.map("a read", &mut self.faults);
            known_keys(entries, &["uses", "on", "with"], "a read", &mut self.faults);
            if let Some((action, spec)) = self.action(item, "a read") {
                if spec.effect != Effect::Read {
                    let message = format!("{} in {what} changes something", spec.uses);
                    self.fault(item.at, message, "name an action that only reads");
                }
                reads.push(json!({ "uses": action.uses, "on": action.on, "with": action.with }));
            }
        }
        Value::Array(reads)
    }

    /// Reads of what an action makes: their address is its endpoint, which nobody can write down before.
    pub(super) fn assertions(&mut self, node: &Node, what: &str) -> Value {
        let mut reads = Vec::new();
        for item in node.list(what, &mut self.faults) {
            let entries = item.map("an assertion", &mut self.faults);
            known_keys(entries, &["uses", "with"], "an assertion", &mut self.faults);
            let named = item.get("uses").and_then(Node::text).unwrap_or_default().to_owned();
            if named.starts_with("sql.") {
                self.later(format!("{named} in {what}"));
                continue;
            }
            if named != "tcp.check" && self.catalogue.find(&named).is_some() {
                let hint = "tcp.check can; SQL comes with the providers of its engines";
                self.fault(item.at, format!("{named} cannot be asked of what was restored"), hint);
                continue;
            }
            let given = item.get("with");
            for key in ["host", "port", "resolve", "expect_refused"] {
                if let Some(value) = given.and_then(|with| with.get(key)) {
                    let hint = "remove it: the endpoint of what was restored is asked";
                    self.fault(value.at, format!("an assertion has no {key}"), hint);
                }
            }
            if let Some((mut action, _)) = self.action(&with_an_address(item), "an assertion") {
                if let Some(with) = action.with.as_object_mut() {
                    for key in ADDRESS.map(|(key, _)| key) {
                        with.remove(key);
                    }
                }
                reads.push(json!({ "uses": action.uses, "with": action.with }));
            }
        }
        Value::Array(reads)
    }

    /// Stages: rising shares in percent, each alone or with its hold.
    pub(super) fn stages(&mut self, node: &Node, what: &str) -> Value {
        let mut stages = Vec::new();
        let mut before = 0;
        for item in node.list(what, &mut self.faults) {
            let (share, hold) = match &item.value {
                NodeValue::Map(entries) => {
                    known_keys(entries, &["share", "hold"], "a stage", &mut self.faults);
                    (item.get("share"), item.get("hold"))
                }
                NodeValue::Null
                | NodeValue::Bool(_)
                | NodeValue::Int(_)
                | NodeValue::Float(_)
                | NodeValue::Text { .. }
                | NodeValue::List(_) => (Some(item), None),
            };
            let Some(share) = share else {
                self.fault(
                    item.at,
                    "a stage has no share".to_owned(),
                    "write { share: 5, hold: 2m }",
                );
                continue;
            };
            let Some(percent) = share.integer("a share in percent", 1, 100, &mut self.faults) else {
                continue;
            };
            if percent <= before {
                let message = format!("the share {percent} does not rise above {before}");
                self.fault(share.at, message, "write rising shares: [5, 25, 50, 100]");
            }
            before = percent;
            let mut stage = Map::new();
            stage.insert("share".to_owned(), json!(percent));
            match hold {
                Some(hold) => {
                    if self.duration(hold, "hold").is_some() {
                        stage.insert("hold".to_owned(), json!(hold.text().unwrap_or_default()));
                    }
                    stages.push(Value::Object(stage));
                }
                None => stages.push(json!(percent)),
            }
        }
        if node.list(what, &mut Vec::new()).is_empty() {
            self.fault(
                node.at,
                "there is no stage".to_owned(),
                "write rising shares: [5, 25, 50, 100]",
            );
        }
        Value::Array(stages)
    }
}
