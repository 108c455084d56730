//! What an action is bound to: its resolved parameters, its idempotency key, the digest that an approval covers.

use std::collections::BTreeMap;

use data_encoding::BASE32_NOPAD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::provider::action::{Action, ActionError, ActionErrorKind, Cx};
use crate::run::event::{Decision, Role, Subject};
use crate::run::facts::{RequestId, StepId};
use crate::run::poll;
use crate::run::state::{Request, RequestStatus, Stage};
use crate::runbook::catalogue::Effect;
use crate::runbook::digest::{canonical, digest};
use crate::runbook::expression;
use crate::runbook::plan::{PlannedAction, PlannedStep, Rollback};

use super::doer::Job;
use super::earlier::by_peer;

/// An action with everything resolved.
pub(super) struct Bound {
    pub action: Box<dyn Action>,
    pub uses: String,
    /// Whether the plan counts it as a change.
    pub mutates: bool,
    /// `{uses, on, with}`: what will be done, secrets by name.
    pub rendering: Value,
}

impl Job {
    /// Outputs of the steps that are done (and of `own`, as far as they are known), as far as `with` names them.
    fn outputs(&self, own: &StepId, with: &Value) -> BTreeMap<String, Map<String, Value>> {
        let mut known = BTreeMap::new();
        let text = with.to_string();
        // Most parameters name no step; a long plan has many steps.
        if !text.contains("${") {
            return known;
        }
        let state = &self.errand.state;
        for (facts, step) in state.each().filter(|(facts, _)| text.contains(&facts.id.0)) {
            let mut outputs = if step.stage == Stage::Done || !step.outputs.is_empty() {
                step.outputs.clone()
            } else if facts.id == *own {
                step.result.clone()
            } else {
                continue;
            };
            if step.act.stands() || step.residue {
                self.as_approved(&facts.id, step.attempt, &mut outputs);
            }
            known.insert(facts.id.0.clone(), outputs);
        }
        known
    }

    /// Adds outputs that nobody could take, as the approval bound them: an effect that failed after it was accepted, or
    /// that a person decided, has no result, and what was before it is known all the same.
    fn as_approved(&self, step: &StepId, attempt: u32, outputs: &mut Map<String, Value>) {
        let (Ok(planned), Some(bound)) = (self.planned(step), self.forward(step, attempt)) else {
            return;
        };
        for (name, path) in &planned.outputs {
            if let Some(value) = path.strip_prefix("result.").and_then(|field| bound.get(field)) {
                outputs.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
    }

    /// What the approval bound under which a step's effect was begun last, up to an attempt.
    fn forward(&self, step: &StepId, attempt: u32) -> Option<&Value> {
        let requests = self.errand.state.requests.values().rev().map(AsRef::as_ref);
        let begun = |request: &&Request| {
            request.subject == Subject::Step
                && request.status == RequestStatus::Consumed
                && request.step.as_ref() == Some(step)
                && request.attempt.is_some_and(|of| of <= attempt)
        };
        let mut begun = requests.filter(begun);
        begun.next().map(|request: &Request| &request.identity)
    }

    /// Resolves and builds an action of a step.
    pub fn bind(&self, step: &StepId, planned: &PlannedAction) -> Result<Bound, ActionError> {
        let permanent = |message: String| ActionError::new(ActionErrorKind::Permanent, message);
        let with = expression::resolve(&planned.with, &self.outputs(step, &planned.with))
            .map_err(|error| permanent(format!("step {step}, {}: {error}", planned.uses)))?;
        let action = (self.setup.build)(&planned.uses, &planned.on, &with)
            .map_err(|error| permanent(format!("step {step}, {}: {error}", planned.uses)))?;
        let rendering = json!({ "uses": planned.uses, "on": planned.on, "with": with });
        Ok(Bound {
            action,
            uses: planned.uses.clone(),
            mutates: planned.effect == Effect::Mutate,
            rendering,
        })
    }

    /// The context of an effect.
    pub fn context(&self, step: &StepId, attempt: u32, role: Role, bound: &Bound, request: Option<RequestId>) -> Cx {
        let tries = match role {
            Role::Do => 1,
            Role::Undo | Role::Close => self.ways_back(step),
        };
        self.context_of(step, attempt, role, bound, request, tries)
    }

    /// How often the way back of a step was begun, this time included.
    pub fn ways_back(&self, step: &StepId) -> u32 {
        let tries = self.errand.state.step(step).map_or(0, |step| step.ways_back);
        tries.max(1)
    }

    /// The context of one try of an effect.
    pub fn context_of(
        &self,
        step: &StepId,
        attempt: u32,
        role: Role,
        bound: &Bound,
        request: Option<RequestId>,
        tries: u32,
    ) -> Cx {
        let asked = request.and_then(|id| self.errand.state.requests.get(&id));
        let (identity, answers) = match (role, asked) {
            (Role::Do, Some(request)) => (request.identity.clone(), answers(request)),
            (Role::Do | Role::Undo | Role::Close, _) => (Value::Null, BTreeMap::new()),
        };
        let name = name_of(role, attempt, tries);
        let own = key(&self.setup.run, &step.0, &name, &bound.rendering);
        let forward = match role {
            Role::Do => None,
            Role::Undo | Role::Close => self.forward(step, attempt),
        };
        Cx {
            mutates: bound.mutates,
            target_written: self.errand.state.target_written,
            run: self.setup.run.clone(),
            step: step.0.clone(),
            attempt,
            acked: by_peer(self.acknowledged(step, role), &own),
            key: own,
            intent_at: self.errand.intent_at,
            identity,
            forward: forward.cloned().unwrap_or_default(),
            answers,
            cancel: self.cancel.clone(),
            speed: self.setup.speed,
            reporter: self.reporter(step, attempt, role),
        }
    }

    /// The digest that an approval binds: run, environment, plan, step, attempt, the action as resolved, the identity
    /// as observed.
    pub fn digest(&self, step: &StepId, attempt: u32, bound: &Bound, identity: &Value) -> String {
        let plan = &self.plan;
        digest(&json!({
            "run": self.setup.run,
            "environment": plan.environment.name,
            "kind": plan.environment.kind,
            "plan": plan.digests.plan,
            "step": step,
            "attempt": attempt,
            "action": bound.rendering,
            "identity": identity,
        }))
    }
}

/// What each role answered to a poll; nothing where the gate was none.
fn answers(request: &Request) -> BTreeMap<String, String> {
    let counting = poll::answers(request).into_iter();
    counting
        .filter(|_| poll::is_poll(&request.gate))
        .map(|(role, vote)| {
            let answer = match vote.decision {
                Decision::Approve => "go",
                Decision::Reject => "no_go",
                Decision::Abstain => "abstain",
            };
            (role.to_owned(), answer.to_owned())
        })
        .collect()
}

/// The action of a step in a role, with the checks around it.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub action: &'a PlannedAction,
    pub before: &'a [PlannedAction],
    pub after: &'a [PlannedAction],
}

/// What a step does in a role, if it declares anything for it.
pub(super) fn way_back(step: &PlannedStep, role: Role) -> Option<Way<'_>> {
    match (role, &step.rollback) {
        (Role::Do, _) => Some(Way {
            action: &step.action,
            before: &step.before,
            after: &step.after,
        }),
        (
            Role::Undo,
            Rollback::Action {
                action, before, after, ..
            },
        ) => Some(Way { action, before, after }),
        (Role::Undo, Rollback::Abandon { action, .. }) | (Role::Close, Rollback::AtClose { action }) => Some(Way {
            action,
            before: &[],
            after: &[],
        }),
        (
            Role::Undo | Role::Close,
            Rollback::Nothing
            | Rollback::NotNeeded { .. }
            | Rollback::Irreversible { .. }
            | Rollback::AtClose { .. }
            | Rollback::Action { .. }
            | Rollback::Abandon { .. },
        ) => None,
    }
}

/// An attempt's name in a key. A way back is another effect than the way, even where both say the same (a switch that
/// toggles), and so is one that is tried again.
fn name_of(role: Role, attempt: u32, tries: u32) -> String {
    match role {
        Role::Do => attempt.to_string(),
        Role::Undo => format!("{attempt}/undo/{tries}"),
        Role::Close => format!("{attempt}/close/{tries}"),
    }
}

/// The idempotency key: `pm-` and 26 base32 letters, a valid RDS identifier and Route 53 comment.
pub(super) fn key(run: &str, step: &str, attempt: &str, rendering: &Value) -> String {
    let mut hash = Sha256::new();
    let params = canonical(rendering);
    for part in [run, step, attempt, &params] {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let letters = BASE32_NOPAD.encode(&hash.finalize()).to_lowercase();
    format!("pm-{}", letters.get(..26).unwrap_or(&letters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_has_a_name_of_its_own_each_time() {
        let names = [
            name_of(Role::Do, 1, 1),
            name_of(Role::Undo, 1, 1),
            name_of(Role::Undo, 1, 2),
            name_of(Role::Close, 1, 1),
            name_of(Role::Do, 2, 1),
        ];
        let different: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "{names:?}");
    }

    #[test]
    fn a_key_depends_on_every_part_and_on_where_one_ends() {
        let with = json!({"a": 1, "b": 2});
        let base = key("r", "s", "1", &with);
        assert_eq!(base.len(), 29);
        assert_eq!(
            base,
            key("r", "s", "1", &json!({"b": 2, "a": 1})),
            "the order of keys does not matter"
        );
        for other in [
            key("rs", "", "1", &with),
            key("r", "s", "2", &with),
            key("r", "s", "1", &json!({"a": 1})),
        ] {
            assert_ne!(base, other);
        }
    }
}
