//! Another plan for a run that is under way: compared with the one that is executed, translated for the state machine,
//! shown before it is asked for. Must not decide whether it is taken: that is the state machine's and the gate's.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::run::amend::Draft;
use crate::run::command::Binding;
use crate::run::facts::StepId;
use crate::run::{Command, RunState, decide, fold};
use crate::runbook::amendment::{Difference, compare};
use crate::runbook::digest::digest;
use crate::runbook::plan::Plan;

use super::facts::{Mode, facts_of};
use super::handle::{Briefing, Refused};

/// A plan that was read and kept in the run's folder.
#[derive(Debug, Clone, PartialEq)]
pub struct Amendment {
    pub plan: Arc<Plan>,
    /// The digest of its file.
    pub file_digest: String,
    /// What its record names: digests and files.
    pub data: Map<String, Value>,
}

/// What asking for an amendment takes.
pub(super) struct Offer {
    pub draft: Arc<Draft>,
    pub briefing: Briefing,
    pub command: Command,
}

/// Compares an amendment with the plan that is executed.
pub(super) fn offer(
    run: &str,
    old: &Plan,
    mode: Mode,
    amendment: &Amendment,
    (person, reason): (&str, &str),
) -> Result<Offer, Refused> {
    let found = compare(old, &amendment.plan);
    if let Some(words) = found.refused.first() {
        let more = found.refused.len() - 1;
        let more = if more == 0 {
            String::new()
        } else {
            format!(" (and {more} more)")
        };
        return Err(Refused::Rejected(format!("{words}{more}")));
    }
    if found.is_empty() {
        return Err(Refused::Rejected(
            "the changed runbook says what the run's plan says already; nothing is amended".to_owned(),
        ));
    }
    let binding = Binding {
        action_digest: digest(&json!({
            "run": run,
            "environment": old.environment.name,
            "kind": old.environment.kind,
            "plan": old.digests.plan,
            "amended": amendment.plan.digests.plan,
            "file": amendment.file_digest,
        })),
        evidence_digest: String::new(),
        identity: json!({ "plan": old.digests.plan, "amended": amendment.plan.digests.plan }),
    };
    Ok(Offer {
        draft: Arc::new(draft(&found, amendment, mode)),
        briefing: Briefing {
            step: None,
            attempt: 0,
            actions: Vec::new(),
            checks: Vec::new(),
            lost: None,
            faults: Vec::new(),
            changes: found.lines,
        },
        command: Command::Amend {
            plan: amendment.file_digest.clone(),
            person: person.to_owned(),
            reason: reason.to_owned(),
            binding,
        },
    })
}

/// Whether a run that is gone on with in a hold would take an amendment's question; nothing is asked or changed.
///
/// # Errors
/// Why not.
pub fn would_be_asked(
    run: &str,
    (old, mode): (&Plan, Mode),
    state: &RunState,
    amendment: &Amendment,
    (person, now_ms): (&str, i64),
) -> Result<(), Refused> {
    let no = |rejected: crate::run::Rejected| Refused::Rejected(rejected.to_string());
    let offer = offer(run, old, mode, amendment, (person, "asked on the way"))?;
    let mut state = state.clone();
    state.learn(offer.draft);
    let resume = Command::Resume {
        operator: person.to_owned(),
        host: String::new(),
        pid: 0,
        hold: Some(String::new()),
    };
    for event in decide(&state, &resume, now_ms).map_err(no)? {
        fold(&mut state, &event).map_err(|illegal| Refused::Rejected(illegal.to_string()))?;
    }
    decide(&state, &offer.command, now_ms).map(drop).map_err(no)
}

/// A plan that the record of a run names as the one that it was amended with.
pub fn amended_with(old: &Plan, mode: Mode, amendment: &Amendment) -> Draft {
    draft(&compare(old, &amendment.plan), amendment, mode)
}

fn draft(found: &Difference, amendment: &Amendment, mode: Mode) -> Draft {
    let ids = |steps: &std::collections::BTreeSet<String>| steps.iter().cloned().map(StepId).collect();
    Draft {
        plan: amendment.file_digest.clone(),
        facts: Arc::new(facts_of(&amendment.plan, mode)),
        changed: ids(&found.changed),
        only_checks: ids(&found.only_checks),
        data: amendment.data.clone(),
    }
}
