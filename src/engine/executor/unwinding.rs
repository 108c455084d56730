//! What the gate of an unwinding shows: every undo in its order, the closing effects, and the rows it would lose.
//! Only reads.

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::engine::handle::{BriefedAction, Briefing};
use crate::provider::action::{Action, ActionError, ActionErrorKind, Cx, Observed, Outcome, Preview, Ready};
use crate::run::Command;
use crate::run::event::Role;
use crate::run::facts::StepId;
use crate::runbook::catalogue::Effect;
use crate::runbook::digest::digest;
use crate::runbook::plan::{Divergence, PlannedAction};

use super::act::cut;
use super::bind::{Bound, way_back};
use super::doer::Job;

/// How long the rows that an undo would lose are counted.
const LONGEST_COUNT: std::time::Duration = std::time::Duration::from_secs(60);

impl Job {
    /// Gathers what the unwinding's gate shows.
    pub async fn prepare_unwind(&self) -> (Command, Vec<u8>) {
        let state = &self.errand.state;
        let Some(unwind) = &state.unwind else {
            let fault = Some("there is no unwinding".to_owned());
            return (
                Command::UnwindPrepared {
                    lost: None,
                    action_digest: String::new(),
                    evidence: None,
                    fault,
                },
                Vec::new(),
            );
        };
        let mut faults = Vec::new();
        let mut actions = Vec::new();
        let mut renderings = Vec::new();
        let mut lost = Some(0);
        let closing = if unwind.to.is_none() {
            state.closing_left()
        } else {
            Vec::new()
        };
        let undos = unwind.steps.iter().map(|step| (step, Role::Undo));
        for (step, role) in undos.chain(closing.iter().map(|step| (step, Role::Close))) {
            match self.preview_of(step, role) {
                Ok((briefed, rendering)) => {
                    actions.push(briefed);
                    renderings.push(rendering);
                }
                Err(error) => {
                    faults.push(format!("{step}: {}", error.told()));
                    renderings.push(json!({ "step": step, "unknown": true }));
                }
            }
            if role == Role::Undo
                && let Ok(planned) = self.planned(step)
                && planned.writes_on_target
            {
                let more = self.lost_so_far(step, planned.divergence.as_ref(), &mut faults).await;
                // What cannot be counted makes the whole unknown.
                lost = lost.zip(more).map(|(lost, more): (u64, u64)| lost.saturating_add(more));
            }
        }
        let fault = (!faults.is_empty()).then(|| cut(self.setup.redactor.redact(&faults.join("; "))));
        let action_digest = digest(&json!({ "run": self.setup.run, "to": unwind.to, "undos": renderings }));
        let briefing = Briefing {
            step: None,
            attempt: 0,
            actions,
            checks: Vec::new(),
            lost,
            faults,
            changes: Vec::new(),
        };
        let evidence = self.publish(briefing);
        (
            Command::UnwindPrepared {
                lost,
                action_digest,
                evidence: None,
                fault,
            },
            evidence,
        )
    }

    async fn lost_so_far(
        &self,
        step: &StepId,
        divergence: Option<&Divergence>,
        faults: &mut Vec<String>,
    ) -> Option<u64> {
        let Some(divergence) = divergence else {
            faults.push(format!(
                "{step} declares no divergence: what would be lost cannot be counted"
            ));
            return None;
        };
        match self.count_lost(step, divergence).await {
            Ok(lost) => Some(lost),
            Err(error) => {
                faults.push(format!("what {step} would lose could not be counted: {}", error.told()));
                None
            }
        }
    }

    fn preview_of(&self, step: &StepId, role: Role) -> Result<(BriefedAction, Value), ActionError> {
        let planned = self.planned(step)?;
        let way = way_back(planned, role)
            .ok_or_else(|| ActionError::new(ActionErrorKind::Permanent, "it declares no way back"))?;
        let bound = self.bind(step, way.action)?;
        let briefed = BriefedAction::new(step.clone(), role, &bound.uses, bound.action.preview());
        Ok((
            briefed,
            json!({ "step": step, "role": role, "action": bound.rendering }),
        ))
    }

    /// The rows that an undo would lose, by the step's own query: one number.
    pub async fn count_lost(&self, step: &StepId, divergence: &Divergence) -> Result<u64, ActionError> {
        let query = PlannedAction {
            uses: "sql.query".to_owned(),
            on: vec![divergence.on.clone()],
            with: json!({ "sql": divergence.sql }),
            effect: Effect::Read,
            timeout: None,
            dry_run_execute: false,
            declared_read: false,
            live: None,
        };
        let bound = self.bind(step, &query)?;
        let cx = self.context(step, 0, Role::Undo, &bound, None);
        // Whoever waits at a gate waits for this.
        let counted = tokio::time::timeout(LONGEST_COUNT, bound.action.execute(&cx)).await;
        let outcome = counted.map_err(|_elapsed| {
            let words = format!(
                "the divergence query gave no answer within {} s",
                LONGEST_COUNT.as_secs()
            );
            ActionError::new(ActionErrorKind::Cancelled, words)
        })??;
        outcome.result.get("value").and_then(Value::as_u64).ok_or_else(|| {
            ActionError::new(
                ActionErrorKind::Permanent,
                "the divergence query did not answer with one number",
            )
        })
    }

    /// An action whose parameters a dry run cannot know: it has a preview and nothing else.
    pub fn bind_loosely(&self, step: &StepId, planned: &PlannedAction) -> Result<Bound, ActionError> {
        if let Ok(bound) = self.bind(step, planned) {
            return Ok(bound);
        }
        let rendering = json!({ "uses": planned.uses, "on": planned.on, "with": planned.with });
        let action = Box::new(Unknowable {
            uses: planned.uses.clone(),
            with: planned.with.to_string(),
        });
        Ok(Bound {
            action,
            uses: planned.uses.clone(),
            mutates: false,
            rendering,
        })
    }
}

/// Stands for an action in a dry run whose parameters come from a simulated step.
struct Unknowable {
    uses: String,
    with: String,
}

impl Unknowable {
    fn refusal(&self) -> ActionError {
        ActionError::new(
            ActionErrorKind::Permanent,
            format!("{} is not executed in a dry run", self.uses),
        )
    }
}

#[async_trait]
impl Action for Unknowable {
    fn preview(&self) -> Preview {
        Preview {
            summary: format!("{} with values that only a real run knows", self.uses),
            commands: vec![format!("{} {}", self.uses, self.with)],
            notes: Vec::new(),
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        Err(self.refusal())
    }

    async fn execute(&self, _cx: &Cx) -> Result<Outcome, ActionError> {
        Err(self.refusal())
    }

    async fn observe(&self, _cx: &Cx) -> Result<Observed, ActionError> {
        Err(self.refusal())
    }
}
