//! The phases of a runbook: its steps in order, read one after the other, and what must hold over all of them.

use super::builder::Builder;
use super::catalogue::Effect;
use super::expand::Unit;
use super::fault::Place;
use super::graph::Placed;
use super::node::Node;
use super::plan::{DowntimeMark, PlannedPhase, PlannedStep};

impl Builder<'_> {
    /// Reads every phase and step, and draws the graph.
    pub(super) fn phases(&mut self, root: &Node) -> (Vec<PlannedPhase>, Vec<PlannedStep>) {
        let Some(all) = root.get("phases") else {
            self.fault(
                root.at,
                "the runbook has no phases",
                "write phases: with at least one step",
            );
            return (Vec::new(), Vec::new());
        };
        let mut phases = Vec::new();
        let mut steps: Vec<PlannedStep> = Vec::new();
        let mut placed: Vec<Placed<'_>> = Vec::new();
        for phase in self.expand(all) {
            let mut own = Vec::new();
            for unit in &phase.units {
                let Some(step) = self.unit(unit, &phase.id) else {
                    continue;
                };
                own.push(step.id.clone());
                steps.push(step);
                placed.push(Placed {
                    node: unit.node,
                    origin: unit.origin.clone(),
                });
            }
            phases.push(PlannedPhase {
                id: phase.id,
                title: phase.title,
                steps: own,
            });
        }
        if steps.is_empty() && self.faults.is_empty() {
            self.fault(all.at, "the runbook has no steps", "write at least one step");
        }
        self.graph(&mut steps, &placed);
        self.downtime_marks(all.at, &steps, &placed);
        self.ways_forward(&steps, &placed);
        (phases, steps)
    }

    /// One step with its loops' variables. What is wrong with every copy is told of the first.
    fn unit(&mut self, unit: &Unit<'_>, phase: &str) -> Option<PlannedStep> {
        let told = self.faults.len();
        self.bind(&unit.bound);
        self.origin.clone_from(&unit.origin);
        let step = self.one_step(unit.node, &unit.id, phase);
        self.unbind(&unit.bound);
        if unit.origin.copy > 0 {
            let new = self.faults.split_off(told);
            for fault in new {
                if !self.faults.iter().any(|known| known.place == fault.place) {
                    self.faults.push(fault);
                }
            }
        }
        step
    }

    fn downtime_marks(&mut self, at: Place, steps: &[PlannedStep], placed: &[Placed<'_>]) {
        use DowntimeMark::{Begins, Ends};
        let repeated = steps
            .iter()
            .zip(placed)
            .find(|(step, place)| step.downtime.is_some() && self.groups.contains_key(&place.origin.declared));
        if let Some((_, place)) = repeated {
            let at = place.node.get("downtime").map_or(at, |node| node.at);
            let message = format!(
                "step {} is repeated: downtime has one begin and one end",
                place.origin.declared
            );
            self.fault(at, message, "mark a step before or after it");
            return;
        }
        let marks: Vec<_> = steps.iter().filter_map(|step| step.downtime).collect();
        let good = matches!(marks.as_slice(), [] | [Begins, Ends]);
        if !good {
            self.fault(
                at,
                "downtime must begin once and end once, in this order",
                "mark one step begins, a later one ends",
            );
        }
        let human_only = steps.iter().all(|step| step.action.effect == Effect::Human);
        if human_only && !steps.is_empty() {
            self.warn(
                at,
                "every step is done by hand",
                "actions can be executed and checked by the tool",
            );
        }
    }

    /// A step that is only offered after the point of no return needs one to be after.
    fn ways_forward(&mut self, steps: &[PlannedStep], placed: &[Placed<'_>]) {
        if steps.iter().any(|step| !step.fall_forward && step.is_no_return()) {
            return;
        }
        for (step, place) in steps.iter().zip(placed) {
            if step.fall_forward && place.origin.copy == 0 {
                let at = place.node.get("fall_forward").map_or(place.node.at, |node| node.at);
                let hint = "a step with writes_on_target: begins or rollback: { irreversible: … } is one";
                let message = format!("step {} is for after a point of no return, and there is none", step.id);
                self.fault(at, message, hint);
            }
        }
    }
}
