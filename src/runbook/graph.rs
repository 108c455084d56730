//! The graph of a plan: needs by default and by name, barriers of phases, cycles, references to outputs.

use std::collections::{BTreeMap, BTreeSet};

use super::builder::Builder;
use super::fault::nearest;
use super::node::Node;
use super::plan::{PlannedPhase, PlannedStep};

/// A step's own `needs`, as declared.
pub(super) struct Declared<'a> {
    pub node: Option<&'a Node>,
}

impl Builder<'_> {
    /// Fills in the needs of all steps and checks the graph.
    pub fn graph(&mut self, phases: &[PlannedPhase], steps: &mut [PlannedStep], declared: &[Declared<'_>]) {
        let ids: Vec<String> = steps.iter().map(|step| step.id.clone()).collect();
        let mut before: Vec<String> = Vec::new();
        for phase in phases {
            let mut previous: Option<String> = None;
            for id in &phase.steps {
                let Some(index) = ids.iter().position(|known| known == id) else {
                    continue;
                };
                let needs = match declared.get(index).and_then(|declared| declared.node) {
                    Some(node) => self.named_needs(node, &ids, id, &before),
                    None => previous.iter().cloned().collect(),
                };
                // A phase is a barrier: what has no need inside it waits for all of the phase before.
                let inside = needs.iter().any(|need| phase.steps.contains(need));
                let mut needs = needs;
                if !inside {
                    needs.extend(
                        before
                            .iter()
                            .filter(|sink| !needs.contains(*sink))
                            .cloned()
                            .collect::<Vec<_>>(),
                    );
                }
                if let Some(step) = steps.get_mut(index) {
                    step.needs = needs;
                }
                previous = Some(id.clone());
            }
            let sinks: Vec<String> = phase
                .steps
                .iter()
                .filter(|id| {
                    !steps
                        .iter()
                        .any(|step| phase.steps.contains(&step.id) && step.needs.contains(id))
                })
                .cloned()
                .collect();
            if !sinks.is_empty() {
                before = sinks;
            }
        }
        self.cycles(steps, declared);
        self.references_hold(steps);
    }

    fn named_needs(&mut self, node: &Node, ids: &[String], own: &str, before: &[String]) -> Vec<String> {
        let mut needs = Vec::new();
        for item in node.list("needs", &mut self.faults).to_vec() {
            let Some(need) = item.word("a need", &mut self.faults).map(str::to_owned) else {
                continue;
            };
            if !ids.contains(&need) {
                let hint = nearest(&need, ids.iter().map(String::as_str))
                    .unwrap_or_else(|| "name a step of this runbook".to_owned());
                self.fault(item.at, format!("step {own} needs {need}, which does not exist"), &hint);
            } else if !needs.contains(&need) {
                needs.push(need);
            }
        }
        if needs.is_empty() { before.to_vec() } else { needs }
    }

    fn cycles(&mut self, steps: &[PlannedStep], declared: &[Declared<'_>]) {
        let needs: BTreeMap<&str, &[String]> = steps
            .iter()
            .map(|step| (step.id.as_str(), step.needs.as_slice()))
            .collect();
        let mut settled = BTreeSet::new();
        for (step, declared) in steps.iter().zip(declared) {
            let mut path = Vec::new();
            if let Some(cycle) = walk(&step.id, &needs, &mut path, &mut settled) {
                let at = declared.node.map_or_else(Default::default, |node| node.at);
                self.fault(
                    at,
                    format!("steps need each other: {}", cycle.join(" → ")),
                    "remove one of these needs",
                );
                return;
            }
        }
    }

    /// An output may be used by steps that need the one it comes from, directly or not.
    fn references_hold(&mut self, steps: &[PlannedStep]) {
        let by_id: BTreeMap<&str, &PlannedStep> = steps.iter().map(|step| (step.id.as_str(), step)).collect();
        for reference in std::mem::take(&mut self.references) {
            let Some(source) = by_id.get(reference.step.as_str()) else {
                let hint = nearest(&reference.step, by_id.keys().copied())
                    .unwrap_or_else(|| "name a step of this runbook".to_owned());
                self.fault(reference.at, format!("there is no step {}", reference.step), &hint);
                continue;
            };
            if !source.outputs.contains_key(&reference.output) {
                let hint = nearest(&reference.output, source.outputs.keys().map(String::as_str))
                    .unwrap_or_else(|| format!("declare it there: outputs: {{ {}: result.… }}", reference.output));
                self.fault(
                    reference.at,
                    format!("step {} has no output {}", reference.step, reference.output),
                    &hint,
                );
            }
            let own = reference.step == reference.from && reference.own_allowed;
            if !own && !reaches(&reference.from, &reference.step, &by_id) {
                let message = format!(
                    "step {} uses an output of {}, which it does not need",
                    reference.from, reference.step
                );
                let hint = format!("add needs: [{}]", reference.step);
                self.fault(reference.at, message, &hint);
            }
        }
    }
}

fn reaches(from: &str, to: &str, steps: &BTreeMap<&str, &PlannedStep>) -> bool {
    let mut open = vec![from];
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        for need in steps.get(id).map(|step| step.needs.as_slice()).unwrap_or_default() {
            if need == to {
                return true;
            }
            open.push(need);
        }
    }
    false
}

fn walk<'a>(
    id: &'a str,
    needs: &BTreeMap<&'a str, &'a [String]>,
    path: &mut Vec<&'a str>,
    settled: &mut BTreeSet<&'a str>,
) -> Option<Vec<String>> {
    if settled.contains(id) {
        return None;
    }
    if let Some(start) = path.iter().position(|on| *on == id) {
        let mut cycle: Vec<String> = path.iter().skip(start).map(|id| (*id).to_owned()).collect();
        cycle.push(id.to_owned());
        return Some(cycle);
    }
    path.push(id);
    for need in needs.get(id).copied().unwrap_or_default() {
        if let Some(cycle) = walk(need, needs, path, settled) {
            return Some(cycle);
        }
    }
    path.pop();
    settled.insert(id);
    None
}
