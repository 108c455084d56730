//! What the state machine needs to know of a plan. A translation, no judgement: ids, order, gates, kinds of undo.

use std::collections::BTreeMap;

use crate::run::facts::{Facts, Gate, PersonFacts, StepEffect, StepFacts, StepId, Undo, Who};
use crate::runbook::catalogue::Effect;
use crate::runbook::plan::{EnvironmentKind, GateKind, GateSpec, GateTimeout, OnFailure, Plan, PlannedStep, Rollback};

/// How a plan is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Every effect happens.
    Real,
    /// Reads happen, mutations are simulated; no gate asks anybody.
    DryRun,
}

/// The facts of `plan`.
pub fn facts_of(plan: &Plan, mode: Mode) -> Facts {
    let gate = |spec: &GateSpec| match mode {
        Mode::Real => gate_of(plan, spec),
        Mode::DryRun => open("dry run: nothing is changed, nobody is asked"),
    };
    let mut steps: Vec<StepFacts> = plan.steps.iter().map(|step| step_of(step, gate(&step.gate))).collect();
    if mode == Mode::Real {
        for (facts, step) in steps.iter_mut().zip(&plan.steps) {
            if step.is_no_return() {
                facts.gate = merged(&facts.gate, &gate_of(plan, &plan.point_of_no_return));
            }
        }
    }
    Facts {
        steps,
        unwind: gate(&plan.unwind_gate),
        no_return: gate(&plan.point_of_no_return),
        commit: gate(&plan.commit),
        people: plan
            .environment
            .people
            .iter()
            .map(|(id, person)| {
                (
                    id.clone(),
                    PersonFacts {
                        roles: person.roles.clone(),
                        org: person.org.clone(),
                    },
                )
            })
            .collect::<BTreeMap<_, _>>(),
        personas: plan.environment.kind == EnvironmentKind::Lab,
        dry_run: mode == Mode::DryRun,
    }
}

fn open(reason: &str) -> Gate {
    Gate {
        who: Who::Open {
            reason: reason.to_owned(),
        },
        expires_ms: None,
        phrase: None,
        reject_on_expiry: false,
    }
}

fn gate_of(plan: &Plan, spec: &GateSpec) -> Gate {
    let who = match &spec.kind {
        GateKind::Operator => Who::Operator,
        GateKind::Open { reason } => Who::Open { reason: reason.clone() },
        GateKind::Quorum {
            roles,
            min,
            org,
            distinct_from,
        } => Who::Quorum {
            roles: roles.clone(),
            min: *min,
            org: org.clone(),
            not_operator: distinct_from.iter().any(|who| who == "operator"),
            not: distinct_from
                .iter()
                .filter_map(|who| match who.as_str() {
                    "operator" => None,
                    "author" => plan.author.clone(),
                    person => Some(person.to_owned()),
                })
                .collect(),
        },
    };
    Gate {
        who,
        expires_ms: spec.expires.map(|span| span.0),
        phrase: spec.phrase.clone(),
        reject_on_expiry: spec.on_timeout == GateTimeout::Reject,
    }
}

/// A step's own gate under the point of no return: the stricter of both.
fn merged(own: &Gate, no_return: &Gate) -> Gate {
    let who = match (&own.who, &no_return.who) {
        (Who::Quorum { min: ours, .. }, Who::Quorum { min: theirs, .. }) if ours > theirs => own.who.clone(),
        (Who::Quorum { .. }, Who::Operator | Who::Open { .. }) => own.who.clone(),
        (Who::Operator, Who::Open { .. }) => Who::Operator,
        (Who::Open { .. } | Who::Operator | Who::Quorum { .. }, _) => no_return.who.clone(),
    };
    Gate {
        who,
        expires_ms: match (own.expires_ms, no_return.expires_ms) {
            (Some(ours), Some(theirs)) => Some(ours.min(theirs)),
            (ours, theirs) => ours.or(theirs),
        },
        phrase: own.phrase.clone().or_else(|| no_return.phrase.clone()),
        reject_on_expiry: own.reject_on_expiry || no_return.reject_on_expiry,
    }
}

fn step_of(step: &PlannedStep, gate: Gate) -> StepFacts {
    StepFacts {
        id: StepId(step.id.clone()),
        needs: step.needs.iter().cloned().map(StepId).collect(),
        effect: match step.action.effect {
            Effect::Read => StepEffect::Read,
            Effect::Mutate => StepEffect::Mutate,
            Effect::Human => StepEffect::Human,
        },
        gate,
        undo: match &step.rollback {
            Rollback::Nothing => Undo::Nothing,
            Rollback::NotNeeded { .. } => Undo::Kept,
            Rollback::Action { .. } | Rollback::Abandon { .. } => Undo::Action,
            Rollback::AtClose { .. } => Undo::AtClose,
            Rollback::Irreversible { .. } => Undo::Irreversible,
        },
        writes_on_target: step.writes_on_target,
        rollback_on_failure: step.on_failure == OnFailure::Rollback,
    }
}
