//! Other plans for a run that is under way: what somebody might change in a runbook, allowed or not.

use std::collections::BTreeSet;
use std::sync::Arc;

use pointsman::run::amend::Draft;
use pointsman::run::command::Binding;
use pointsman::run::facts::{Facts, PersonFacts, Places, StepEffect, StepFacts, StepId, Undo};
use pointsman::run::{Command, RunState};
use serde_json::{Map, Value};

use super::night::{Night, id, open, operator, quorum, step, vote};

/// A draft of `facts`; steps differ where their facts do, and where `touched` says so.
pub fn draft(name: &str, old: &Facts, facts: Facts, touched: Option<StepId>, only_checks: bool) -> Arc<Draft> {
    let both = facts.steps.iter().filter_map(|new| Some((old.step(&new.id)?, new)));
    let mut changed: BTreeSet<StepId> = both
        .filter(|(old, new)| old != new)
        .map(|(_, new)| new.id.clone())
        .collect();
    let touched = touched.filter(|step| facts.step(step).is_some());
    let only = touched.iter().filter(|step| only_checks && !changed.contains(*step));
    let only_checks = only.cloned().collect();
    changed.extend(touched);
    Arc::new(Draft {
        plan: name.to_owned(),
        facts: Arc::new(facts),
        changed,
        only_checks,
        data: Map::new(),
    })
}

/// A changed plan, by numbers.
pub fn changed(state: &RunState, name: &str, kind: u8, pick: u8) -> Arc<Draft> {
    let old = &state.facts;
    let mut facts = Facts::clone(old);
    let at = usize::from(pick) % facts.steps.len();
    let mut touched = None;
    match kind % 10 {
        0 => facts.steps[at].gate = quorum(2),
        1 => facts.steps[at].gate = if pick.is_multiple_of(2) { operator(None) } else { open() },
        2 | 3 => {
            let new = format!("a{}", state.amended);
            let need: Vec<String> = vec![facts.steps[at].id.0.clone()];
            let need: Vec<&str> = need.iter().map(String::as_str).collect();
            let added = step(&new, &need, StepEffect::Mutate, operator(Some("yes")), Undo::Action);
            // Sometimes what comes next needs it.
            let aside = facts.steps[at].fall_forward;
            if kind % 10 == 3
                && !aside
                && let Some(next) = facts.steps.get_mut(at + 1)
            {
                next_needs(next, &new);
            }
            if !facts.steps[at].fall_forward && facts.step(&id(&new)).is_none() {
                facts.steps.insert(at + 1, added);
            }
        }
        4 | 5 => {
            if facts.steps.len() > 1 {
                let gone = facts.steps.remove(at);
                for step in &mut facts.steps {
                    if step.needs.contains(&gone.id) {
                        step.needs.retain(|need| *need != gone.id);
                        for need in &gone.needs {
                            if !step.needs.contains(need) {
                                step.needs.push(need.clone());
                            }
                        }
                    }
                }
            }
        }
        6 => touched = Some(facts.steps[at].id.clone()),
        7 => facts.steps[at].deadline_ms = Some(50_000),
        8 => {
            facts.people.insert(
                "mallory".to_owned(),
                PersonFacts {
                    roles: vec!["approver".to_owned()],
                    org: None,
                },
            );
        }
        _ => {
            facts.commit = if pick.is_multiple_of(2) {
                operator(None)
            } else {
                quorum(2)
            }
        }
    }
    // It was asked for steps before it was complete.
    facts.places = Places::default();
    draft(name, old, facts, touched, pick.is_multiple_of(3))
}

fn next_needs(next: &mut StepFacts, new: &str) {
    if !next.fall_forward {
        next.needs.push(id(new));
    }
}

/// A run that has not begun, in a process that has every plan of the night.
pub fn knowing(facts: Arc<Facts>, night: &Night) -> RunState {
    let mut state = RunState::new(facts);
    for draft in &night.drafts {
        state.learn(draft.clone());
    }
    state
}

impl Night {
    /// The operator approves what was asked last.
    pub fn tell_amend(&mut self) {
        let asked = self.state.open_requests().last().unwrap().id;
        assert!(self.tell(vote(asked, "olga", "operator", Some("amend".to_owned()))));
    }

    /// Makes a changed plan known and asks for it.
    pub fn ask_to_amend(&mut self, draft: Arc<Draft>) -> bool {
        let plan = draft.plan.clone();
        self.state.learn(draft.clone());
        self.drafts.push(draft);
        self.tell(Command::Amend {
            plan,
            person: self.state.operator.clone(),
            reason: "the check was wrong".to_owned(),
            binding: Binding {
                action_digest: "a".to_owned(),
                evidence_digest: "e".to_owned(),
                identity: Value::Null,
            },
        })
    }
}
