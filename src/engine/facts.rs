//! What the state machine needs to know of a plan. A translation, no judgement: ids, order, gates, kinds of undo.

use std::collections::BTreeMap;

use crate::run::facts::{
    AtEnd, Facts, Gate, OnExpiry, PersonFacts, Places, Quorum, StepEffect, StepFacts, StepId, Undo, Who, WindowFacts,
};
use crate::runbook::catalogue::Effect;
use crate::runbook::plan::{
    EnvironmentKind, GateKind, GateSpec, GateTimeout, NoGo, OnFailure, Plan, PlannedStep, Rollback, WindowEnd,
};

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
    let mut steps: Vec<StepFacts> = plan
        .steps
        .iter()
        .map(|step| step_of(plan, step, gate(&step.gate), mode))
        .collect();
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
        extend: match plan
            .environment
            .window
            .as_ref()
            .and_then(|window| window.extend.as_ref())
        {
            Some(spec) => gate(spec),
            None => Gate {
                who: Who::Operator,
                expires_ms: None,
                phrase: Some("extend".to_owned()),
                on_expiry: OnExpiry::Hold,
            },
        },
        amend: amendment(plan),
        window: window_of(plan, mode),
        // A dry run changes nothing that a proof could be needed for.
        preflight_ms: plan.preflight.filter(|_| mode == Mode::Real).map(|span| span.0),
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
        places: Places::default(),
    }
}

/// Who agrees to another plan in the middle of a run: the night's approvers where it is the real one.
fn amendment(plan: &Plan) -> Gate {
    let asked = match plan.environment.kind {
        EnvironmentKind::Production => {
            let approvers = gate_of(plan, &plan.point_of_no_return);
            Gate {
                who: both(&approvers.who, &gate_of(plan, &plan.commit).who),
                ..approvers
            }
        }
        EnvironmentKind::Lab | EnvironmentKind::Rehearsal => Gate {
            who: Who::Operator,
            expires_ms: None,
            phrase: None,
            on_expiry: OnExpiry::Hold,
        },
    };
    Gate {
        phrase: Some("amend".to_owned()),
        ..asked
    }
}

/// The window binds a real run; a dry run is no night.
fn window_of(plan: &Plan, mode: Mode) -> Option<WindowFacts> {
    let window = plan.environment.window.as_ref().filter(|_| mode == Mode::Real)?;
    Some(WindowFacts {
        closes_ms: window.closes.timestamp_millis(),
        at_end: match window.at_end {
            WindowEnd::Ask => AtEnd::Ask,
            WindowEnd::Hold => AtEnd::Hold,
            WindowEnd::Notify => AtEnd::Notify,
        },
    })
}

fn open(reason: &str) -> Gate {
    Gate {
        who: Who::Open {
            reason: reason.to_owned(),
        },
        expires_ms: None,
        phrase: None,
        on_expiry: OnExpiry::Hold,
    }
}

fn gate_of(plan: &Plan, spec: &GateSpec) -> Gate {
    Gate {
        who: who_of(plan, &spec.kind),
        expires_ms: spec.expires.map(|span| span.0),
        phrase: spec.phrase.clone(),
        on_expiry: match (spec.on_timeout, &spec.escalate) {
            (GateTimeout::Reject, _) => OnExpiry::Reject,
            (GateTimeout::Escalate, Some(kind)) => OnExpiry::Escalate(who_of(plan, kind)),
            (GateTimeout::Hold | GateTimeout::Escalate, _) => OnExpiry::Hold,
        },
    }
}

fn who_of(plan: &Plan, kind: &GateKind) -> Who {
    match kind {
        GateKind::Operator => Who::Operator,
        GateKind::Open { reason } => Who::Open { reason: reason.clone() },
        GateKind::Poll {
            roles,
            quorum,
            deputies,
            no_go,
        } => Who::Poll {
            roles: roles.clone(),
            quorum: *quorum,
            deputies: deputies.clone(),
            stops: *no_go == NoGo::Stop,
        },
        GateKind::Quorum {
            roles,
            min,
            org,
            distinct_from,
        } => Who::Quorum(vec![Quorum {
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
        }]),
    }
}

/// A step's own gate and that of the point of no return: both quorums, and the stricter of both in everything else.
fn merged(own: &Gate, no_return: &Gate) -> Gate {
    let who = both(&own.who, &no_return.who);
    Gate {
        who,
        expires_ms: match (own.expires_ms, no_return.expires_ms) {
            (Some(ours), Some(theirs)) => Some(ours.min(theirs)),
            (ours, theirs) => ours.or(theirs),
        },
        phrase: own.phrase.clone().or_else(|| no_return.phrase.clone()),
        // Nobody who would be asked instead takes the place of the other gate's persons.
        on_expiry: match (&own.on_expiry, &no_return.on_expiry) {
            (OnExpiry::Reject, _) | (_, OnExpiry::Reject) => OnExpiry::Reject,
            (OnExpiry::Hold, OnExpiry::Hold) => OnExpiry::Hold,
            (OnExpiry::Escalate(ours), OnExpiry::Hold) => OnExpiry::Escalate(both(ours, &no_return.who)),
            (OnExpiry::Hold, OnExpiry::Escalate(theirs)) => OnExpiry::Escalate(both(&own.who, theirs)),
            (OnExpiry::Escalate(ours), OnExpiry::Escalate(theirs)) => OnExpiry::Escalate(both(ours, theirs)),
        },
    }
}

/// Those whom both ask.
fn both(own: &Who, other: &Who) -> Who {
    match (own, other) {
        (Who::Quorum(ours), Who::Quorum(theirs)) => {
            let others = theirs.iter().filter(|quorum| !ours.contains(quorum));
            Who::Quorum(ours.iter().chain(others).cloned().collect())
        }
        (Who::Quorum(_), Who::Operator | Who::Open { .. } | Who::Poll { .. }) => own.clone(),
        (Who::Operator, Who::Open { .. }) => Who::Operator,
        // A poll is no point of no return: `check` refuses it.
        (Who::Open { .. } | Who::Operator | Who::Poll { .. }, _) => other.clone(),
    }
}

fn step_of(plan: &Plan, step: &PlannedStep, gate: Gate, mode: Mode) -> StepFacts {
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
        parallel_undo: matches!(&step.rollback, Rollback::Action { parallel: true, .. }),
        fall_forward: step.fall_forward,
        // The answer of a person is all that there is of a human step, unless the runbook asks for more.
        verifies: step.action.effect != Effect::Human || !step.after.is_empty() || !step.outputs.is_empty(),
        live: step.before.iter().any(|check| check.live.is_some()),
        // A dry run is no night: nothing in it is late.
        deadline_ms: plan
            .deadline(step)
            .filter(|_| mode == Mode::Real)
            .map(|deadline| deadline.timestamp_millis()),
    }
}
