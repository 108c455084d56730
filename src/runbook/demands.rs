//! What some actions demand of the step that does them, besides their own parameters. Owns these rules only; what an
//! action's parameters are is its provider's.

use super::builder::Builder;
use super::catalogue::ActionSpec;
use super::expression::has_expression;
use super::node::Node;
use super::plan::{PlannedAction, Rollback};

impl Builder<'_> {
    /// Rules of a step that does an action, as `acting` (the step or what stands for it in the lab) writes it.
    pub(super) fn demands(
        &mut self,
        step: &Node,
        acting: &Node,
        (spec, action): (&ActionSpec, &PlannedAction),
        rollback: &Rollback,
    ) {
        match spec.uses {
            "rds.restore_test" => self.restore_ends(step),
            "rds.modify" => self.backups_stay(acting, action, rollback),
            _ => {}
        }
    }

    /// A snapshot that cannot be restored may not fail either: what is made to be thrown away costs as long as it stands.
    fn restore_ends(&mut self, node: &Node) {
        if node.get("timeout").is_none() {
            let hint = "add timeout: 2h: what was restored is deleted when it has passed";
            self.fault(node.at, "rds.restore_test needs a timeout", hint);
        }
    }

    /// Without automated backups those that were made are deleted, and no inverse brings them back.
    fn backups_stay(&mut self, node: &Node, action: &PlannedAction, rollback: &Rollback) {
        let Some(days) = action.with.get("backup_retention") else {
            return;
        };
        let with = node.get("with");
        let at = with
            .and_then(|with| with.get("backup_retention"))
            .map_or(node.at, |value| value.at);
        if days.as_str().is_some_and(has_expression) {
            let hint = "write the days, or vars: 0 needs another rollback than the rest";
            self.fault(at, "backup_retention has to be known before the run", hint);
        } else if days.as_i64() == Some(0) && !matches!(rollback, Rollback::Irreversible { .. }) {
            let hint = "write rollback: { irreversible: \"why\" }, or keep them for a day";
            let message = "backup_retention 0 deletes the automated backups, and no rollback brings them back";
            self.fault(at, message, hint);
        }
    }
}
