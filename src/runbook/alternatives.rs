//! Parameters that stand instead of each other: a DB instance or a cluster. Owns that rule only.

use super::builder::Builder;
use super::catalogue::ActionSpec;
use super::node::{Key, Node};

impl Builder<'_> {
    /// Of two parameters that stand instead of each other, exactly one has to be there.
    pub(super) fn alternatives(&mut self, node: &Node, spec: &ActionSpec, given: &[(Key, Node)]) {
        let at_of = |name: &str| given.iter().find(|(key, _)| key.text == name).map(|(key, _)| key.at);
        for (index, param) in spec.params.iter().enumerate() {
            let Some(other) = param.instead else { continue };
            if spec.params.iter().take(index).any(|before| before.name == other) {
                // The pair is told of once, at its first.
                continue;
            }
            match (at_of(param.name), at_of(other)) {
                (Some(_), None) | (None, Some(_)) => {}
                (None, None) => {
                    let at = node.get("with").map_or(node.at, |node| node.at);
                    let words = format!("{} needs the parameter {} or {other}", spec.uses, param.name);
                    self.fault(at, words, param.doc);
                }
                (Some(_), Some(at)) => {
                    let words = format!("{} takes either {} or {other}", spec.uses, param.name);
                    self.fault(at, words, "remove one of the two");
                }
            }
        }
    }
}
