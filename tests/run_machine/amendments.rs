//! What must hold where a run goes on by another plan. A part of the judge.

use pointsman::run::event::Subject;
use pointsman::run::facts::{Facts, Gate, RequestId, Undo, Who};

use super::Judge;

impl Judge<'_> {
    /// The plan is another one from here.
    pub(super) fn amended(&mut self, request: RequestId, plan: &str) {
        assert!(self.held, "amended without a hold");
        assert!(self.open.is_empty(), "amended while {:?} is under way", self.open);
        for (id, asked) in &mut self.asked {
            if *id == request {
                assert!(asked.subject == Some(Subject::Amend) && asked.granted && !asked.consumed);
                assert_eq!(asked.plan.as_deref(), Some(plan), "another plan than was approved");
                asked.consumed = true;
            } else {
                let dead = asked.over || asked.consumed || asked.granted && asked.subject != Some(Subject::Step);
                assert!(dead, "request {id} outlives the plan that it was about");
            }
        }
        let draft = self.drafts.iter().find(|draft| draft.plan == plan).unwrap();
        let new: &Facts = &draft.facts;
        assert_eq!(new.people, self.facts.people);
        for (old, new) in [(&self.facts.commit, &new.commit), (&self.facts.unwind, &new.unwind)] {
            assert!(persons(new) >= persons(old));
        }
        for facts in &self.facts.steps {
            let step = &self.steps[&facts.id];
            // What stays on purpose, or only read, is gone through again after a partial unwinding: it begins anew.
            let undoable = !matches!(facts.undo, Undo::Kept | Undo::Nothing);
            let begun = step.stands && undoable || step.settled || step.in_doubt;
            match new.step(&facts.id) {
                None => assert!(!begun && persons(&facts.gate) <= 1, "{} is taken out", facts.id),
                Some(new) if begun => assert_eq!(facts, new, "{} has begun and is changed", facts.id),
                Some(new) => {
                    assert!(
                        persons(&new.gate) >= persons(&facts.gate),
                        "{}: a weaker gate",
                        facts.id
                    );
                    assert!(facts.gate.phrase.is_none() || new.gate.phrase.is_some());
                    assert!(!facts.is_no_return() || new.is_no_return(), "{}: a way back", facts.id);
                }
            }
        }
        self.steps.retain(|id, _| new.step(id).is_some());
        for (id, step) in &mut self.steps {
            // What failed, left nothing and is another step now asks nobody any more.
            let another = draft.changed.contains(id);
            step.failed &= step.stands || step.settled || step.in_doubt || !another;
        }
        for step in &new.steps {
            self.steps.entry(step.id.clone()).or_default();
        }
        self.facts = new;
    }
}

/// How many persons a gate asks for at least.
fn persons(gate: &Gate) -> u32 {
    match &gate.who {
        Who::Open { .. } => 0,
        Who::Operator => 1,
        Who::Quorum(quorums) => quorums.iter().map(|quorum| quorum.min).max().unwrap_or(1),
        Who::Poll { quorum, .. } => *quorum,
    }
}
