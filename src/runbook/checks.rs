//! Checks of a runbook: what is asserted before and after a step or an undo, and which go on while a gate is open.

use super::builder::Builder;
use super::catalogue::Effect;
use super::node::{Node, known_keys};
use super::plan::{Live, PlannedAction};

const KEYS: &[&str] = &["uses", "on", "with", "timeout", "live"];

/// Whose checks they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChecksOf {
    Step,
    Rollback,
}

impl Builder<'_> {
    /// Checks before and after.
    pub(super) fn checks(&mut self, node: Option<&Node>, of: ChecksOf) -> (Vec<PlannedAction>, Vec<PlannedAction>) {
        let Some(node) = node else {
            return (Vec::new(), Vec::new());
        };
        let entries = node.map("checks", &mut self.faults);
        known_keys(entries, &["before", "after"], "checks", &mut self.faults);
        // An undo has no gate of its own that could stay open, and what comes after an effect is read once.
        let before = self.check_list(node.get("before"), of == ChecksOf::Step);
        (before, self.check_list(node.get("after"), false))
    }

    fn check_list(&mut self, node: Option<&Node>, may_live: bool) -> Vec<PlannedAction> {
        let Some(node) = node else { return Vec::new() };
        let mut checks = Vec::new();
        for item in node.list("a list of checks", &mut self.faults) {
            let entries = item.map("a check", &mut self.faults);
            known_keys(entries, KEYS, "a check", &mut self.faults);
            let live = match item.get("live") {
                Some(live) if may_live => self.live(live),
                Some(live) => {
                    let hint = "remove live:; only checks before a step go on while its gate is open";
                    self.fault(live.at, "this check is read once", hint);
                    None
                }
                None => None,
            };
            if let Some((mut action, spec)) = self.action(item, "a check") {
                if spec.effect != Effect::Read {
                    self.fault(
                        item.at,
                        format!("{} is no check: it changes something", spec.uses),
                        "checks only read",
                    );
                }
                action.live = live;
                checks.push(action);
            }
        }
        checks
    }

    fn live(&mut self, node: &Node) -> Option<Live> {
        let entries = node.map("live", &mut self.faults);
        if entries.is_empty() {
            return None;
        }
        known_keys(entries, &["max_age", "hysteresis"], "live", &mut self.faults);
        let hysteresis = node
            .get("hysteresis")
            .and_then(|node| node.integer("hysteresis", 1, 20, &mut self.faults))
            .and_then(|number| u32::try_from(number).ok())
            .unwrap_or(1);
        let Some(age) = node.get("max_age") else {
            let hint = "add max_age: 90s: an older sample voids the approval";
            self.fault(node.at, "a live check does not say how old a sample may be", hint);
            return None;
        };
        let max_age = self.duration(age, "max_age")?;
        if max_age.0 == 0 {
            self.fault(age.at, "max_age is 0", "every sample is older than that; write 90s");
        }
        Some(Live { max_age, hysteresis })
    }
}
