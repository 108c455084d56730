//! Taking back: the undo of a step, or its closing effect. What an earlier try did or may have done is not done again;
//! what it was doing is followed.

use std::time::Duration;

use serde_json::{Map, json};

use crate::provider::action::{ActionError, ActionErrorKind, Cx, Observed, Outcome as Done};
use crate::run::command::Outcome;
use crate::run::event::{Fidelity, OutcomeResult, Role};
use crate::run::facts::StepId;
use crate::runbook::plan::{PlannedAction, PlannedStep, Retry, Rollback};

use super::act::cut;
use super::bind::{Bound, Way};
use super::doer::Job;
use super::earlier::{Earlier, Left, by_peer};

/// What looking at earlier tries may take besides.
const LOOKING: Duration = Duration::from_secs(15 * 60);

const NO_RETRY: Retry = Retry {
    max: 0,
    from: crate::runbook::plan::Span(1_000),
    to: crate::runbook::plan::Span(1_000),
};

/// Follows a way back that runs without us. It was sent: that nobody follows it any more does not end it.
async fn followed(bound: &Bound, cx: &Cx) -> Result<Done, ActionError> {
    let followed = bound.action.adopt(cx).await;
    followed.map_err(|error| match error.kind {
        ActionErrorKind::Permanent | ActionErrorKind::InDoubt => error,
        ActionErrorKind::Transient | ActionErrorKind::Cancelled => ActionError {
            kind: ActionErrorKind::InDoubt,
            ..error
        },
    })
}

impl Job {
    /// What earlier tries of a way back came to: the outcome of one that is done, nothing where none stands in the way,
    /// and otherwise why this one must not be sent.
    pub(super) async fn earlier_ways_back(
        &self,
        step: &StepId,
        role: Role,
        bound: &Bound,
        cx: &Cx,
    ) -> Result<Option<Done>, ActionError> {
        let begun = self.ways_back(step);
        if begun < 2 {
            return Ok(None);
        }
        let tries = self.earlier(step, cx.attempt, role).await?;
        for number in 1..begun {
            let index = usize::try_from(number - 1).unwrap_or(usize::MAX);
            // What the record does not tell of is taken for the worst.
            let known = tries.get(index).cloned().unwrap_or(Earlier {
                intent_at: cx.intent_at,
                acked: None,
                left: Left::Open,
            });
            let earlier = self.context_of(step, cx.attempt, role, bound, None, number);
            let earlier = Cx {
                intent_at: known.intent_at,
                acked: by_peer(known.acked.clone(), &earlier.key),
                cancel: cx.cancel.clone(),
                ..earlier
            };
            let seen = match known.left {
                Left::Open => self.look_patiently(bound, &earlier).await,
                Left::Ended | Left::Nothing => bound.action.observe(&earlier).await,
            };
            let doubt = match (seen, known.left) {
                (Ok(Observed::Done(done)), _) => return Ok(Some(done)),
                (Ok(Observed::Running { .. }), _) => return followed(bound, &earlier).await.map(Some),
                // The record says that it left nothing, or that it has ended, and a person asked for another one.
                (_, Left::Nothing) | (Ok(Observed::NotStarted { .. } | Observed::Unknown { .. }), Left::Ended) => {
                    continue;
                }
                (Ok(Observed::NotStarted { .. }), Left::Open) if known.acked.is_none() => continue,
                (Ok(Observed::NotStarted { detail }), Left::Open) => format!("was accepted, and now {detail}"),
                (Ok(Observed::Unknown { detail }), Left::Open) => format!("may have happened: {detail}"),
                (Ok(Observed::NotVisible { detail }), Left::Ended | Left::Open) => {
                    format!("may still come: {detail}")
                }
                (Err(error), Left::Ended | Left::Open) => {
                    let words = format!("cannot be looked at: {}", error.message);
                    return Err(ActionError {
                        request_id: error.request_id,
                        ..self.barred(number, &words, ActionErrorKind::Transient)
                    });
                }
            };
            let kind = match known.left {
                Left::Open | Left::Nothing => ActionErrorKind::InDoubt,
                // It has ended: nothing is under way, and a later look may tell.
                Left::Ended => ActionErrorKind::Transient,
            };
            return Err(self.barred(number, &doubt, kind));
        }
        Ok(None)
    }

    /// Why another try is not sent.
    fn barred(&self, number: u32, words: &str, kind: ActionErrorKind) -> ActionError {
        let hint = match kind {
            ActionErrorKind::InDoubt => "nothing was sent now; look at what it acts on",
            ActionErrorKind::Transient | ActionErrorKind::Permanent | ActionErrorKind::Cancelled => {
                "nothing was sent now; look again later"
            }
        };
        ActionError::new(kind, format!("try {number} of this way back {words}; {hint}"))
    }

    /// An undo looks first: what a previous try already did is not done again.
    pub(super) async fn take_back(
        &self,
        planned: &PlannedStep,
        step: &StepId,
        role: Role,
        way: Way<'_>,
        bound: &Bound,
        cx: &Cx,
    ) -> Result<Done, ActionError> {
        let retry = match &planned.rollback {
            Rollback::Action { retry, .. } => *retry,
            Rollback::Nothing
            | Rollback::NotNeeded { .. }
            | Rollback::Abandon { .. }
            | Rollback::AtClose { .. }
            | Rollback::Irreversible { .. } => NO_RETRY,
        };
        let limit = way.action.timeout.map(|span| span.as_duration());
        let earlier = self.earlier_ways_back(step, role, bound, cx);
        // What an earlier try does is waited for as long as this one might take.
        let earlier = match limit {
            None => earlier.await?,
            Some(limit) => tokio::time::timeout(limit + LOOKING, earlier)
                .await
                .unwrap_or_else(|_elapsed| {
                    let words = "an earlier try of this way back did not end within its timeout; nothing was sent now";
                    Err(ActionError::new(ActionErrorKind::InDoubt, words))
                })?,
        };
        if let Some(done) = earlier {
            return Ok(done);
        }
        // What this try would do may be so already. It was not sent, so that whatever else is seen is not of it.
        match bound.action.observe(cx).await {
            Ok(Observed::Done(done)) => return Ok(done),
            Ok(Observed::Running { .. }) => return self.limited(limit, cx, followed(bound, cx)).await,
            Ok(Observed::NotStarted { .. } | Observed::NotVisible { .. } | Observed::Unknown { .. }) | Err(_) => {}
        }
        for (index, check) in way.before.iter().enumerate() {
            let result = self.one_check(step, cx.attempt, "before", index, check, None).await;
            if !result.ok {
                let words = format!("not sent: the check before it failed: {}", result.detail);
                return Err(ActionError::new(ActionErrorKind::Permanent, words));
            }
        }
        self.patiently(retry, || bound.action.check(cx)).await?;
        self.limited(limit, cx, self.patiently(retry, || bound.action.execute(cx)))
            .await
    }

    /// After an undo: its checks, and the last count of what it lost.
    pub(super) async fn taken_back(
        &self,
        step: &StepId,
        attempt: u32,
        planned: &PlannedStep,
        after: &[PlannedAction],
        done: &Done,
    ) -> Result<Outcome, ActionError> {
        for (index, check) in after.iter().enumerate() {
            let result = self.one_check(step, attempt, "after", index, check, None).await;
            if !result.ok {
                let words = format!("it was undone, but the check after it failed: {}", result.detail);
                return Err(ActionError::new(ActionErrorKind::Permanent, words));
            }
        }
        let mut outputs = Map::new();
        if let Some(divergence) = &planned.divergence {
            match self.count_lost(step, divergence).await {
                Ok(lost) => {
                    outputs.insert("lost".to_owned(), json!(lost));
                }
                Err(error) => {
                    outputs.insert(
                        "lost_unknown".to_owned(),
                        json!(self.setup.redactor.redact(&error.told())),
                    );
                }
            }
        }
        let detail = cut(self.setup.redactor.redact(&done.summary));
        Ok(Outcome {
            result: OutcomeResult::Done,
            error_kind: None,
            detail,
            outputs,
            observed: false,
            fidelity: Fidelity::Executed,
        })
    }
}
