//! The graph of a plan: needs by default and by name, barriers of phases, cycles, references to outputs. Works on
//! numbers of steps: a plan may have thousands.

use std::collections::{BTreeMap, BTreeSet};

use super::builder::Builder;
use super::expand::Origin;
use super::fault::nearest;
use super::node::Node;
use super::plan::PlannedStep;

/// A step's node and where it comes from.
pub(super) struct Placed<'a> {
    pub node: &'a Node,
    pub origin: Origin,
}

impl Builder<'_> {
    /// Fills in the needs of all steps and checks the graph.
    pub(super) fn graph(&mut self, steps: &mut [PlannedStep], placed: &[Placed<'_>]) {
        let numbers: BTreeMap<String, usize> = steps
            .iter()
            .enumerate()
            .map(|(number, step)| (step.id.clone(), number))
            .collect();
        let mut needs: Vec<Vec<usize>> = Vec::with_capacity(steps.len());
        // What a phase's first steps wait for.
        let mut barrier: Vec<usize> = Vec::new();
        let mut from = 0;
        while let Some(first) = placed.get(from) {
            let phase = first.origin.phase;
            let to = placed
                .iter()
                .skip(from)
                .position(|step| step.origin.phase != phase)
                .map_or(placed.len(), |count| from + count);
            let mut before = Chain::default();
            for (number, place) in placed.iter().enumerate().take(to).skip(from) {
                let forward = steps.get(number).is_some_and(|step| step.fall_forward);
                let default = before.arrive(place, number, forward);
                let mut own = match place.node.get("needs") {
                    Some(node) => self.named_needs(node, place, number, steps, &numbers),
                    None => default,
                };
                // A phase is a barrier: what has no need inside it waits for all of the phase before.
                if !own.iter().any(|need| (from..to).contains(need)) {
                    let known: BTreeSet<usize> = own.iter().copied().collect();
                    own.extend(barrier.iter().filter(|sink| !known.contains(sink)));
                }
                needs.push(own);
            }
            let on_the_way = |number: &usize| steps.get(*number).is_some_and(|step| !step.fall_forward);
            let needed: BTreeSet<usize> = (from..to)
                .filter(on_the_way)
                .filter_map(|number| needs.get(number))
                .flatten()
                .copied()
                .collect();
            let sinks: Vec<usize> = (from..to)
                .filter(on_the_way)
                .filter(|number| !needed.contains(number))
                .collect();
            if !sinks.is_empty() {
                barrier = sinks;
            }
            from = to;
        }
        let ids: Vec<String> = steps.iter().map(|step| step.id.clone()).collect();
        for (step, needs) in steps.iter_mut().zip(&needs) {
            step.needs = needs.iter().filter_map(|need| ids.get(*need).cloned()).collect();
        }
        let order = self.ordered(&needs, &ids, placed);
        self.references_hold(steps, &numbers, &needs, order.as_deref());
    }

    fn named_needs(
        &mut self,
        node: &Node,
        place: &Placed<'_>,
        own: usize,
        steps: &[PlannedStep],
        numbers: &BTreeMap<String, usize>,
    ) -> Vec<usize> {
        let mut needs = Vec::new();
        let mut known = BTreeSet::new();
        let step = steps.get(own);
        let id = step.map_or("", |step| step.id.as_str());
        let forward = step.is_some_and(|step| step.fall_forward);
        for item in node.list("needs", &mut self.faults).to_vec() {
            let Some(need) = item.word("a need", &mut self.faults).map(str::to_owned) else {
                continue;
            };
            for name in self.named(&need, &place.origin) {
                let Some(number) = numbers.get(&name).copied() else {
                    // All copies of a step that could not be read are told once, where it stands.
                    if !self.groups.contains_key(&need) && place.origin.copy == 0 {
                        let ids = numbers.keys().chain(self.groups.keys()).map(String::as_str);
                        let hint = nearest(&need, ids).unwrap_or_else(|| "name a step of this runbook".to_owned());
                        self.fault(item.at, format!("step {id} needs {need}, which does not exist"), &hint);
                    }
                    continue;
                };
                if !forward && steps.get(number).is_some_and(|step| step.fall_forward) {
                    let message = format!("step {id} needs {need}, which is not on the way (fall_forward)");
                    let hint = "only another fall_forward step may need it";
                    if place.origin.copy == 0 {
                        self.fault(item.at, message, hint);
                    }
                    break;
                }
                if known.insert(number) {
                    needs.push(number);
                }
            }
        }
        needs
    }

    /// The steps in an order in which each comes after its needs; a fault where there is none.
    fn ordered(&mut self, needs: &[Vec<usize>], ids: &[String], placed: &[Placed<'_>]) -> Option<Vec<usize>> {
        let mut open: Vec<usize> = needs.iter().map(Vec::len).collect();
        let mut dependants: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
        for (number, needs) in needs.iter().enumerate() {
            for need in needs {
                if let Some(of) = dependants.get_mut(*need) {
                    of.push(number);
                }
            }
        }
        let mut order: Vec<usize> = (0..needs.len())
            .filter(|number| open.get(*number) == Some(&0))
            .collect();
        let mut next = 0;
        while let Some(done) = order.get(next).copied() {
            next += 1;
            for number in dependants.get(done).into_iter().flatten() {
                if let Some(left) = open.get_mut(*number) {
                    *left -= 1;
                    if *left == 0 {
                        order.push(*number);
                    }
                }
            }
        }
        if order.len() == needs.len() {
            return Some(order);
        }
        let is_open = |number: &usize| open.get(*number).is_some_and(|left| *left > 0);
        // Each step that is left needs another one that is left: going on from any comes round.
        let mut path: Vec<usize> = (0..needs.len()).filter(is_open).take(1).collect();
        let cycle = loop {
            let last = path.last().and_then(|last| needs.get(*last));
            let Some(need) = last.and_then(|needs| needs.iter().copied().find(|need| is_open(need))) else {
                break path;
            };
            if let Some(start) = path.iter().position(|step| *step == need) {
                let mut cycle = path.split_off(start);
                cycle.push(need);
                break cycle;
            }
            path.push(need);
        };
        let declared = cycle.iter().filter_map(|number| placed.get(*number)?.node.get("needs"));
        let at = declared.map(|node| node.at).next().unwrap_or_default();
        let names: Vec<&str> = cycle
            .iter()
            .filter_map(|number| ids.get(*number).map(String::as_str))
            .collect();
        self.fault(
            at,
            format!("steps need each other: {}", names.join(" → ")),
            "remove one of these needs",
        );
        None
    }

    /// An output may be used by steps that need the one it comes from, directly or not.
    fn references_hold(
        &mut self,
        steps: &[PlannedStep],
        numbers: &BTreeMap<String, usize>,
        needs: &[Vec<usize>],
        order: Option<&[usize]>,
    ) {
        let references = std::mem::take(&mut self.references);
        let above = match order {
            Some(order) if !references.is_empty() => Some(ancestors(needs, order)),
            Some(_) | None => None,
        };
        for reference in references {
            let number = numbers.get(&reference.step).copied();
            let Some((number, source)) = number.and_then(|number| Some((number, steps.get(number)?))) else {
                let known = numbers.keys().map(String::as_str);
                let hint = nearest(&reference.step, known).unwrap_or_else(|| "name a step of this runbook".to_owned());
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
            let (Some(above), Some(from)) = (&above, numbers.get(&reference.from)) else {
                continue;
            };
            if !own && !above.get(*from).is_some_and(|set| contains(set, number)) {
                let message = format!(
                    "step {} uses an output of {}, which it does not need",
                    reference.from, reference.step
                );
                let hint = if source.fall_forward {
                    "it is not on the way (fall_forward); only another such step may need it".to_owned()
                } else {
                    format!("add needs: [{}]", reference.step)
                };
                self.fault(reference.at, message, &hint);
            }
        }
    }
}

/// The steps before the one that is looked at, within one copy of a phase.
#[derive(Default)]
struct Chain {
    at: Option<Origin>,
    forward: bool,
    /// The copies of the step that is being passed.
    own: Vec<usize>,
    /// Those of the last step before it that is on the way.
    previous: Vec<usize>,
}

impl Chain {
    /// Goes on to a step; gives what it needs by default.
    fn arrive(&mut self, place: &Placed<'_>, number: usize, forward: bool) -> Vec<usize> {
        let origin = &place.origin;
        let same = |at: &Origin| at.chain == origin.chain && at.declared == origin.declared;
        if !self.at.as_ref().is_some_and(same) {
            if self.at.as_ref().is_some_and(|at| at.chain != origin.chain) {
                self.previous.clear();
            } else if !self.forward && !self.own.is_empty() {
                self.previous = std::mem::take(&mut self.own);
            }
            self.own.clear();
            self.at = Some(origin.clone());
            self.forward = forward;
        }
        self.own.push(number);
        self.previous.clone()
    }
}

/// Of each step, the set of those that it needs, directly or not, as bits.
fn ancestors(needs: &[Vec<usize>], order: &[usize]) -> Vec<Vec<u64>> {
    let words = needs.len().div_ceil(64);
    let mut sets: Vec<Vec<u64>> = vec![Vec::new(); needs.len()];
    for number in order {
        let mut set = vec![0u64; words];
        for need in needs.get(*number).into_iter().flatten() {
            for (word, more) in set.iter_mut().zip(sets.get(*need).into_iter().flatten()) {
                *word |= more;
            }
            if let Some(word) = set.get_mut(need / 64) {
                *word |= 1 << (need % 64);
            }
        }
        if let Some(own) = sets.get_mut(*number) {
            *own = set;
        }
    }
    sets
}

fn contains(set: &[u64], number: usize) -> bool {
    set.get(number / 64)
        .is_some_and(|word| word & (1 << (number % 64)) != 0)
}
