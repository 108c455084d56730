//! When each step that is left begins and ends if every step starts as soon as its needs are done. Plain arithmetic over
//! the graph, in offsets from now; must not know where the durations come from.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use crate::runbook::plan::Plan;

/// A plan's graph, by index.
pub(super) struct Graph {
    needs: Vec<Vec<usize>>,
    /// Every step after what it needs.
    order: Vec<usize>,
}

/// What is left of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rest {
    pub machine: TimeDelta,
    pub human: TimeDelta,
}

/// When a step begins and ends, from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub start: TimeDelta,
    pub rest: Rest,
    /// The step that it had to wait for.
    pub after: Option<usize>,
}

impl Slot {
    pub fn finish(&self) -> TimeDelta {
        self.start + self.rest.human + self.rest.machine
    }
}

impl Graph {
    pub fn new(plan: &Plan) -> Self {
        let places: BTreeMap<&str, usize> = plan
            .steps
            .iter()
            .enumerate()
            .map(|(index, step)| (step.id.as_str(), index))
            .collect();
        let needs: Vec<Vec<usize>> = plan
            .steps
            .iter()
            .map(|step| {
                let known = step.needs.iter().filter_map(|need| places.get(need.as_str()));
                known.copied().collect()
            })
            .collect();
        let order = ordered(&needs);
        Self { needs, order }
    }

    /// The step itself and everything that it waits for, directly or not.
    pub fn up_to(&self, index: usize) -> Vec<bool> {
        let mut found = vec![false; self.needs.len()];
        let mut open = vec![index];
        while let Some(index) = open.pop() {
            if let Some(seen) = found.get_mut(index).filter(|seen| !**seen) {
                *seen = true;
                open.extend(self.needs.get(index).into_iter().flatten());
            }
        }
        found
    }

    /// Slots of the steps that are left; none for a step that is done.
    pub fn schedule(&self, rests: &[Option<Rest>]) -> Vec<Option<Slot>> {
        let mut slots: Vec<Option<Slot>> = vec![None; rests.len()];
        for &index in &self.order {
            let Some(rest) = rests.get(index).copied().flatten() else {
                continue;
            };
            let needs = self.needs.get(index).into_iter().flatten();
            let last = needs
                .filter_map(|&need| Some((slots.get(need).copied().flatten()?.finish(), need)))
                .max();
            if let Some(slot) = slots.get_mut(index) {
                *slot = Some(Slot {
                    start: last.map_or_else(TimeDelta::zero, |(finish, _)| finish),
                    rest,
                    after: last.map(|(_, need)| need),
                });
            }
        }
        slots
    }
}

/// The steps that decide when everything is done, first to last: from the last one to finish back along what each had
/// to wait for.
pub(super) fn critical(slots: &[Option<Slot>]) -> Vec<usize> {
    let finishes = slots.iter().enumerate();
    let last = finishes
        .filter_map(|(index, slot)| Some(((*slot)?.finish(), index)))
        .max();
    let mut path = Vec::new();
    let mut at = last.map(|(_, index)| index);
    while let Some(index) = at.filter(|_| path.len() < slots.len()) {
        path.push(index);
        at = slots.get(index).copied().flatten().and_then(|slot| slot.after);
    }
    path.reverse();
    path
}

/// Kahn's order; what a cycle holds (a plan has none) comes last, so that nothing is lost.
fn ordered(needs: &[Vec<usize>]) -> Vec<usize> {
    let mut waits: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut followers = vec![Vec::new(); needs.len()];
    for (index, needs) in needs.iter().enumerate() {
        for &need in needs {
            if let Some(list) = followers.get_mut(need) {
                list.push(index);
            }
        }
    }
    let mut order: Vec<usize> = (0..needs.len()).filter(|&index| waits.get(index) == Some(&0)).collect();
    let mut done = 0;
    while let Some(&index) = order.get(done) {
        done += 1;
        for &follower in followers.get(index).into_iter().flatten() {
            if let Some(left) = waits.get_mut(follower) {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    order.push(follower);
                }
            }
        }
    }
    let cyclic = (0..needs.len()).filter(|&index| waits.get(index).is_some_and(|left| *left > 0));
    order.extend(cyclic.collect::<Vec<_>>());
    order
}
