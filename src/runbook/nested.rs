//! Parameters that hold more than a value: reads within an action, and the stages of a shift. Owns their rules only.

use serde_json::{Map, Value, json};

use super::builder::Builder;
use super::catalogue::Effect;
use super::node::{Node, NodeValue, known_keys};

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
