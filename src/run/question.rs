//! Questions about a run's state. Must not change it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::amend::Drafts;
use super::event::{Role, Subject};
use super::facts::{Facts, RequestId, StepEffect, StepFacts, StepId, Undo};
use super::proof::Preflight;
use super::shared::Requests;
use super::state::{EffectState, Phase, Request, RequestStatus, RunState, Stage, StepState};

impl RunState {
    /// A run that has not begun.
    pub fn new(facts: Arc<Facts>) -> Self {
        let fresh = Arc::new(StepState::default());
        let steps = std::iter::repeat_n(fresh, facts.steps.len()).collect();
        let window_closes_ms = facts.window.map(|window| window.closes_ms);
        Self {
            facts,
            operator: String::new(),
            operators: BTreeSet::new(),
            phase: Phase::New,
            hold: None,
            steps,
            requests: Requests::default(),
            unwind: None,
            stuck: Vec::new(),
            ticks: 0,
            target_written: false,
            seat_offered: None,
            window_closes_ms,
            window_over: false,
            window_asked: false,
            overdue: BTreeSet::new(),
            preflight: Preflight::default(),
            retired: BTreeMap::new(),
            amended: 0,
            drafts: Drafts::default(),
        }
    }

    /// A step's state.
    pub fn step(&self, id: &StepId) -> Option<&StepState> {
        self.facts
            .index(id)
            .and_then(|index| self.steps.get(index))
            .map(AsRef::as_ref)
    }

    /// Every step with its facts, in the plan's order.
    pub fn each(&self) -> impl Iterator<Item = (&StepFacts, &StepState)> {
        self.facts.steps.iter().zip(self.steps.iter().map(AsRef::as_ref))
    }

    /// The id that the next request gets.
    pub fn next_request(&self) -> RequestId {
        RequestId(self.requests.keys().next_back().map_or(1, |last| last.0 + 1))
    }

    /// Requests that are asked, and approvals of steps that are granted and not consumed: what dies with a process and
    /// with the way forward.
    pub fn pending_approvals(&self) -> Vec<RequestId> {
        self.requests
            .alive()
            .map(AsRef::as_ref)
            .filter(|request: &&Request| match request.status {
                RequestStatus::Open => true,
                RequestStatus::Granted => request.subject == Subject::Step,
                RequestStatus::Rejected | RequestStatus::Voided | RequestStatus::Expired | RequestStatus::Consumed => {
                    false
                }
            })
            .map(|request| request.id)
            .collect()
    }

    /// Requests that wait for votes.
    pub fn open_requests(&self) -> impl Iterator<Item = &Request> {
        self.requests
            .alive()
            .map(AsRef::as_ref)
            .filter(|request| request.status == RequestStatus::Open)
    }

    /// Effects whose outcome is open: step, role, state.
    pub fn open_effects(&self) -> impl Iterator<Item = (&StepId, Role, &EffectState)> {
        // Most steps have none: they are told apart before anything is made of them.
        let any = |step: &StepState| step.act.is_open() || step.undo.is_open() || step.close.is_open();
        self.each()
            .filter(move |(_, step)| any(step))
            .flat_map(|(facts, step)| {
                [
                    (Role::Do, &step.act),
                    (Role::Undo, &step.undo),
                    (Role::Close, &step.close),
                ]
                .into_iter()
                .filter(|(_, effect)| effect.is_open())
                .map(|(role, effect)| (&facts.id, role, effect))
            })
    }

    /// The first step that is at work or asks for something: neither waiting nor settled nor taken back.
    pub fn active(&self) -> Option<usize> {
        self.steps.iter().position(|step| match step.stage {
            Stage::Waiting | Stage::Done | Stage::Skipped | Stage::RolledBack | Stage::Kept => false,
            Stage::Checking
            | Stage::AtGate(_)
            | Stage::Approved(_)
            | Stage::Running
            | Stage::InDoubt
            | Stage::Verifying
            | Stage::Failed
            | Stage::RollingBack
            | Stage::RollbackFailed => true,
        })
    }

    /// Steps that may begin: on the way, waiting, everything they need settled, nobody asked to skip them.
    pub fn ready(&self) -> impl Iterator<Item = usize> {
        self.each()
            .enumerate()
            .filter(|(index, (facts, step))| {
                step.stage == Stage::Waiting
                    && !facts.fall_forward
                    && self.needs_met(*index)
                    && !self.skip_asked(&facts.id)
            })
            .map(|(index, _)| index)
    }

    /// The next step to begin.
    pub fn next_step(&self) -> Option<usize> {
        self.ready().next()
    }

    /// Whether everything that a step needs is settled. A step that was skipped holds nobody up, but what it would have
    /// waited for does: the order of the rest stays.
    pub fn needs_are_met(&self, facts: &StepFacts) -> bool {
        self.facts.index(&facts.id).is_some_and(|index| self.needs_met(index))
    }

    fn needs_met(&self, index: usize) -> bool {
        let needs = |index| self.facts.needs(index).iter().copied();
        let settled = |need: Option<usize>| {
            let step = need.and_then(|need| self.steps.get(need));
            step.is_some_and(|step| step.stage.is_settled())
        };
        // Most steps of a long plan wait for one that waits as well.
        if !needs(index).all(settled) {
            return false;
        }
        let mut open: Vec<Option<usize>> = needs(index).collect();
        let mut seen = BTreeSet::new();
        while let Some(need) = open.pop() {
            let known = need.and_then(|need| Some((need, self.steps.get(need)?, self.facts.steps.get(need)?)));
            let Some((need, step, its)) = known else {
                return false;
            };
            if !step.stage.is_settled() {
                return false;
            }
            // Neither may hide what begins anew before it: a skipped step, nor one whose debt outlives an unwinding.
            let transparent = step.stage == Stage::Skipped || its.undo == Undo::AtClose;
            if transparent && seen.insert(need) {
                open.extend(needs(need));
            }
        }
        true
    }

    /// Whether an open request asks to go on without this step.
    pub fn skip_asked(&self, id: &StepId) -> bool {
        self.open_requests()
            .any(|request| request.subject == Subject::Skip && request.step.as_ref() == Some(id))
    }

    /// What a person has to say something about before anything new begins anywhere: a failed step, an outcome that is
    /// not known. What runs goes on.
    pub fn blocked_by(&self) -> Option<&StepId> {
        self.each()
            .find(|(_, step)| matches!(step.stage, Stage::Failed | Stage::InDoubt))
            .map(|(facts, _)| &facts.id)
            .or_else(|| self.stuck.first().map(|(id, _)| id))
    }

    /// Whether something of the unwinding was begun: from there is no way forward but through its end.
    pub fn is_half_unwound(&self) -> bool {
        let undone = self.unwind.as_ref().is_some_and(|unwind| !unwind.undone.is_empty());
        undone
            || self.steps.iter().any(|step| match step.undo {
                EffectState::InFlight { .. }
                | EffectState::Orphaned { .. }
                | EffectState::InDoubt { .. }
                | EffectState::MaybeHappened => true,
                EffectState::Failed | EffectState::NotSent => step.stage == Stage::RollbackFailed,
                EffectState::None | EffectState::Done => false,
            })
    }

    /// Whether every step on the way is settled and no step asks for anything.
    pub fn all_done(&self) -> bool {
        self.each()
            .all(|(facts, step)| step.stage.is_settled() || (facts.fall_forward && step.stage == Stage::Waiting))
    }

    /// Whether something stands that cannot be undone without losing rows.
    pub fn past_no_return(&self) -> bool {
        self.each()
            .any(|(facts, step)| facts.effect == StepEffect::Mutate && facts.is_no_return() && step.stands())
    }

    /// Closing effects that are still to be done, in the runbook's order.
    pub fn closing_left(&self) -> Vec<StepId> {
        self.each()
            .filter(|(facts, step)| facts.undo == Undo::AtClose && step.stands() && step.close != EffectState::Done)
            .map(|(facts, _)| facts.id.clone())
            .collect()
    }

    /// Whether a person has to decide about an effect in doubt.
    pub fn in_doubt(&self) -> bool {
        self.open_effects().any(|(_, _, effect)| effect.needs_person())
    }

    /// Whether the run is over.
    pub const fn is_closed(&self) -> bool {
        match self.phase {
            Phase::Closed { .. } => true,
            Phase::New | Phase::Running | Phase::Unwinding | Phase::CommitGate(_) | Phase::Closing(_) => false,
        }
    }
}
