//! Finding out what became of an effect that was sent or may have been. Only reads: follows what still runs, looks again
//! for what does not show yet, and leaves to a person what nobody can tell.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Map;

use crate::provider::action::{ActionError, ActionErrorKind, Cx, LOOKED_FOR, Observed, Outcome as Done, Progress};
use crate::run::Command;
use crate::run::command::Outcome;
use crate::run::event::{Fidelity, OutcomeResult, Role};
use crate::run::facts::{RequestId, StepId};
use crate::run::state::EffectState;
use crate::runbook::plan::PlannedStep;

use super::act::{Ready, cut};
use super::bind::Bound;
use super::doer::{Job, in_doubt};

/// How long an effect is followed that declares no timeout.
const LONGEST_ADOPTION: Duration = Duration::from_secs(24 * 60 * 60);
/// How often an observation that cannot reach its peer is tried.
const LOOKS: u32 = 8;

impl Job {
    /// Only reads: what became of an effect that was sent or may have been.
    pub async fn observe(&self, step: &StepId, attempt: u32, role: Role, request: RequestId) -> (Command, Vec<u8>) {
        let (outcome, evidence) = match self.try_observe(step, attempt, role, request).await {
            Ok(answer) => answer,
            Err(error) => (in_doubt(&self.setup.redactor.redact(&error.told()), true), Vec::new()),
        };
        (
            Command::Finished {
                role,
                step: step.clone(),
                attempt,
                outcome,
            },
            evidence,
        )
    }

    async fn try_observe(
        &self,
        step: &StepId,
        attempt: u32,
        role: Role,
        request: RequestId,
    ) -> Result<(Outcome, Vec<u8>), ActionError> {
        let planned = self.planned(step)?;
        let Ready { way, bound, cx } = self.ready(planned, step, attempt, role, request)?;
        let seen = match self.look_patiently(&bound, &cx).await? {
            Observed::Running { detail: running } => match self.adopted(planned, role, &bound, &cx).await {
                Ok(done) => Observed::Done(done),
                Err(error) if error.kind == ActionErrorKind::Permanent => {
                    return Ok((self.failed(&error, true), Vec::new()));
                }
                Err(error) if error.kind == ActionErrorKind::Cancelled => Observed::Unknown {
                    detail: format!("{}; when it was last looked at: {running}", error.told()),
                },
                Err(error) => Observed::Unknown { detail: error.told() },
            },
            seen @ (Observed::Done(_)
            | Observed::NotStarted { .. }
            | Observed::NotVisible { .. }
            | Observed::Unknown { .. }) => seen,
        };
        // A way back that was not sent may not have been for the sake of an earlier try, of which nobody could tell.
        let seen = match seen {
            Observed::NotStarted { detail } if role != Role::Do => {
                let earlier = self.earlier_ways_back(step, role, &bound, &cx).await?;
                earlier.map_or(Observed::NotStarted { detail }, Observed::Done)
            }
            seen @ (Observed::Done(_)
            | Observed::NotStarted { .. }
            | Observed::NotVisible { .. }
            | Observed::Running { .. }
            | Observed::Unknown { .. }) => seen,
        };
        let plain = |result, detail: &str| Outcome {
            result,
            error_kind: None,
            detail: cut(self.setup.redactor.redact(detail)),
            outputs: Map::new(),
            observed: true,
            fidelity: Fidelity::Executed,
        };
        Ok(match seen {
            Observed::Done(done) if role == Role::Do => (self.done(planned, &done, true), self.captured(&done)),
            Observed::Done(done) => {
                match self.taken_back(step, attempt, planned, way.after, &done).await {
                    Ok(mut outcome) => {
                        outcome.observed = true;
                        (outcome, Vec::new())
                    }
                    // It was undone; what failed is the check after it.
                    Err(error) if error.kind == ActionErrorKind::Permanent => (self.failed(&error, true), Vec::new()),
                    Err(error) => return Err(error),
                }
            }
            Observed::NotStarted { detail } if bound.mutates && self.acknowledged(step, role).is_some() => {
                // The peer took it: what does not show now may still come, or has come and gone.
                let words = format!("it was accepted, and now {detail}; look at the peer's own log");
                (in_doubt(&self.setup.redactor.redact(&words), true), Vec::new())
            }
            Observed::NotStarted { detail } => (plain(OutcomeResult::NotSent, &detail), Vec::new()),
            Observed::Unknown { detail } => (in_doubt(&self.setup.redactor.redact(&detail), true), Vec::new()),
            Observed::NotVisible { detail } => {
                let words =
                    format!("nothing of it shows yet, and it may have been asked for: {detail}; look again later");
                (in_doubt(&self.setup.redactor.redact(&words), true), Vec::new())
            }
            Observed::Running { detail } => (in_doubt(&self.setup.redactor.redact(&detail), true), Vec::new()),
        })
    }

    /// By what name the peer acknowledged the effect of a role, as the journal has it.
    pub(super) fn acknowledged(&self, step: &StepId, role: Role) -> Option<String> {
        let effect = self.errand.state.step(step).map(|step| match role {
            Role::Do => &step.act,
            Role::Undo => &step.undo,
            Role::Close => &step.close,
        });
        match effect {
            Some(
                EffectState::InFlight { acked, .. }
                | EffectState::Orphaned { acked, .. }
                | EffectState::InDoubt { acked, .. },
            ) => acked.clone(),
            Some(
                EffectState::None
                | EffectState::Done
                | EffectState::Failed
                | EffectState::MaybeHappened
                | EffectState::NotSent,
            )
            | None => None,
        }
    }

    /// Follows an effect that runs without us, as long as the step may take; from then on a person decides.
    async fn adopted(&self, planned: &PlannedStep, role: Role, bound: &Bound, cx: &Cx) -> Result<Done, ActionError> {
        // The peer has it: what fails from here may have happened.
        if self.acknowledged(&StepId(cx.step.clone()), role).is_some() {
            // The record has the peer's own name of it, which says more than ours.
            self.sent.store(true, Ordering::Relaxed);
        } else {
            cx.reporter.ack(&cx.key).await?;
        }
        let limit = planned
            .timeout
            .filter(|_| role == Role::Do)
            .map_or(LONGEST_ADOPTION, |span| span.as_duration());
        let followed = tokio::time::timeout(limit, bound.action.adopt(cx)).await;
        followed.unwrap_or_else(|_elapsed| {
            Err(ActionError::new(
                ActionErrorKind::InDoubt,
                format!("it was still running after {} s", limit.as_secs()),
            ))
        })
    }

    /// Observes again while the peer cannot be reached, and while nothing of the effect shows that may show later: not
    /// knowing yet is not unknown.
    pub(super) async fn look_patiently(&self, bound: &Bound, cx: &Cx) -> Result<Observed, ActionError> {
        let (mut unreached, mut looked) = (0, Duration::ZERO);
        for look in 0_u32.. {
            let pause = Duration::from_secs(1_u64 << look.min(4));
            match bound.action.observe(cx).await {
                Ok(Observed::NotVisible { detail }) => {
                    if looked >= LOOKED_FOR {
                        return Ok(Observed::NotVisible { detail });
                    }
                    unreached = 0;
                    looked += pause;
                    cx.reporter
                        .progress(Progress::State(format!("nothing of it shows yet: {detail}")));
                    if let Err(ended) = cx.pause(pause).await {
                        let words = format!("{}; nothing of it showed yet: {detail}", ended.message);
                        return Ok(Observed::NotVisible { detail: words });
                    }
                }
                Ok(
                    seen @ (Observed::Done(_)
                    | Observed::NotStarted { .. }
                    | Observed::Running { .. }
                    | Observed::Unknown { .. }),
                ) => return Ok(seen),
                Err(error) if error.kind == ActionErrorKind::Transient => {
                    unreached += 1;
                    if unreached >= LOOKS {
                        return Err(error);
                    }
                    cx.pause(pause).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Observed::Unknown {
            detail: "nothing was seen".to_owned(),
        })
    }
}
