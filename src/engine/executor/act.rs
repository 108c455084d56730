//! Doing an effect, and finding out what became of one. The class of an error decides what is said about the world;
//! a timeout after sending is in doubt, never a failure.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::engine::facts::Mode;
use crate::provider::action::{ActionError, ActionErrorKind, Cx, Observed, Outcome as Done};
use crate::run::Command;
use crate::run::command::Outcome;
use crate::run::event::{Fidelity, OutcomeResult, Role};
use crate::run::facts::{RequestId, StepId};
use crate::run::state::EffectState;
use crate::runbook::catalogue::Effect;
use crate::runbook::expression;
use crate::runbook::plan::{PlannedAction, PlannedStep, Retry, Rollback};

use super::bind::{Bound, Way, way_back};
use super::doer::{Job, in_doubt};

/// How long an effect is followed that declares no timeout.
const LONGEST_ADOPTION: Duration = Duration::from_secs(24 * 60 * 60);
/// How often an observation that cannot reach its peer is tried.
const LOOKS: u32 = 8;
/// The largest declared output that a record keeps, in bytes of JSON.
const LARGEST_OUTPUT: usize = 16 * 1024;
/// All declared outputs of a step, in bytes of JSON: a record is a line of at most 64 KiB.
const LARGEST_OUTPUTS: usize = 40 * 1024;
/// The longest words of a peer that a record keeps, in bytes; evidence has all of them.
pub(super) const LONGEST_DETAIL: usize = 4 * 1024;

const NO_RETRY: Retry = Retry {
    max: 0,
    from: crate::runbook::plan::Span(1_000),
    to: crate::runbook::plan::Span(1_000),
};

/// An action that is ready to be executed or observed.
struct Ready<'a> {
    way: Way<'a>,
    bound: Bound,
    cx: Cx,
}

impl Job {
    /// Does the effect of a role.
    pub async fn execute(&self, step: &StepId, attempt: u32, role: Role, request: RequestId) -> (Command, Vec<u8>) {
        let (outcome, evidence) = match self.try_execute(step, attempt, role, request).await {
            Ok(answer) => answer,
            Err(error) => (self.failed(&self.truth(step, role, error), false), Vec::new()),
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

    /// What an error says about the world: a read that was ended has changed nothing, so nothing is in doubt.
    fn truth(&self, step: &StepId, role: Role, error: ActionError) -> ActionError {
        let reads = role == Role::Do && self.planned(step).is_ok_and(|step| step.action.effect == Effect::Read);
        match error.kind {
            ActionErrorKind::InDoubt | ActionErrorKind::Cancelled if reads => {
                // What a read was accepted for is no change that was sent.
                self.sent.store(false, Ordering::Relaxed);
                ActionError {
                    kind: ActionErrorKind::Cancelled,
                    message: format!("{}; the step only reads", error.message),
                    ..error
                }
            }
            ActionErrorKind::InDoubt
            | ActionErrorKind::Cancelled
            | ActionErrorKind::Transient
            | ActionErrorKind::Permanent => error,
        }
    }

    async fn try_execute(
        &self,
        step: &StepId,
        attempt: u32,
        role: Role,
        request: RequestId,
    ) -> Result<(Outcome, Vec<u8>), ActionError> {
        let planned = self.planned(step)?;
        if self.setup.mode == Mode::DryRun && (role != Role::Do || self.simulates(step)) {
            return Ok((simulated(planned, Fidelity::Simulated, "nothing was sent"), Vec::new()));
        }
        if let Some(cause) = self.unknowable(step) {
            let words = format!("not executed: it depends on {cause}, which was only simulated");
            return Ok((simulated(planned, Fidelity::Unverifiable, &words), Vec::new()));
        }
        let Ready { way, bound, cx } = self.ready(planned, step, attempt, role, request)?;
        let done = match role {
            Role::Do => {
                let limit = planned.timeout.map(|span| span.as_duration());
                self.limited(limit, &cx, self.patiently(planned.retry, || bound.action.execute(&cx)))
                    .await?
            }
            Role::Undo | Role::Close => self.take_back(planned, step, (role, request), way, &bound, &cx).await?,
        };
        if role != Role::Do {
            return Ok((
                self.taken_back(step, attempt, planned, way.after, &done).await?,
                self.captured(&done),
            ));
        }
        Ok((self.done(planned, &done, false), self.captured(&done)))
    }

    /// The action of a step in a role, bound, with its context.
    fn ready<'a>(
        &self,
        planned: &'a PlannedStep,
        step: &StepId,
        attempt: u32,
        role: Role,
        request: RequestId,
    ) -> Result<Ready<'a>, ActionError> {
        let way = way_back(planned, role).ok_or_else(|| {
            ActionError::new(
                ActionErrorKind::Permanent,
                format!("step {step} declares no such way back"),
            )
        })?;
        let bound = self.bind(step, way.action)?;
        let cx = self.context(step, attempt, role, &bound, Some(request));
        Ok(Ready { way, bound, cx })
    }

    /// An undo looks first: what a previous try already did is not done again.
    async fn take_back(
        &self,
        planned: &PlannedStep,
        step: &StepId,
        (role, request): (Role, RequestId),
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
        for tries in 1..=self.ways_back(step) {
            let earlier = Cx {
                cancel: cx.cancel.clone(),
                ..self.context_of(step, cx.attempt, role, bound, Some(request), tries)
            };
            match self.look_patiently(bound, &earlier).await {
                Ok(Observed::Done(done)) => return Ok(done),
                Ok(Observed::Running { .. }) => {
                    let followed = bound.action.adopt(&earlier).await;
                    // It was sent: that nobody follows it any more does not end it.
                    return followed.map_err(|error| match error.kind {
                        ActionErrorKind::Permanent | ActionErrorKind::InDoubt => error,
                        ActionErrorKind::Transient | ActionErrorKind::Cancelled => {
                            ActionError::new(ActionErrorKind::InDoubt, error.message)
                        }
                    });
                }
                Ok(Observed::NotStarted { .. } | Observed::Unknown { .. }) | Err(_) => {}
            }
        }
        for (index, check) in way.before.iter().enumerate() {
            let result = self.one_check(step, cx.attempt, "before", index, check, None).await;
            if !result.ok {
                let words = format!("not sent: the check before it failed: {}", result.detail);
                return Err(ActionError::new(ActionErrorKind::Permanent, words));
            }
        }
        self.patiently(retry, || bound.action.check(cx)).await?;
        let limit = way.action.timeout.map(|span| span.as_duration());
        self.limited(limit, cx, self.patiently(retry, || bound.action.execute(cx)))
            .await
    }

    /// After an undo: its checks, and the last count of what it lost.
    async fn taken_back(
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
                        json!(self.setup.redactor.redact(&error.message)),
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

    /// Only reads: what became of an effect that was sent or may have been.
    pub async fn observe(&self, step: &StepId, attempt: u32, role: Role, request: RequestId) -> (Command, Vec<u8>) {
        let (outcome, evidence) = match self.try_observe(step, attempt, role, request).await {
            Ok(answer) => answer,
            Err(error) => (in_doubt(&self.setup.redactor.redact(&error.message), true), Vec::new()),
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
                    detail: format!("{}; when it was last looked at: {running}", error.message),
                },
                Err(error) => Observed::Unknown { detail: error.message },
            },
            seen @ (Observed::Done(_) | Observed::NotStarted { .. } | Observed::Unknown { .. }) => seen,
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
                let mut outcome = self.taken_back(step, attempt, planned, way.after, &done).await?;
                outcome.observed = true;
                (outcome, Vec::new())
            }
            Observed::NotStarted { detail } if bound.mutates && cx.accepted => {
                // The peer took it: what does not show now may still come, or has come and gone.
                let words = format!("it was accepted, and now {detail}; look at the peer's own log");
                (in_doubt(&self.setup.redactor.redact(&words), true), Vec::new())
            }
            Observed::NotStarted { detail } => (plain(OutcomeResult::NotSent, &detail), Vec::new()),
            Observed::Unknown { detail } => (in_doubt(&self.setup.redactor.redact(&detail), true), Vec::new()),
            Observed::Running { detail } => (in_doubt(&detail, true), Vec::new()),
        })
    }

    /// Whether the peer acknowledged the effect of a role, as the journal has it.
    pub(super) fn was_accepted(&self, step: &StepId, role: Role) -> bool {
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
            ) => acked.is_some(),
            Some(
                EffectState::None
                | EffectState::Done
                | EffectState::Failed
                | EffectState::MaybeHappened
                | EffectState::NotSent,
            )
            | None => false,
        }
    }

    /// Follows an effect that runs without us, as long as the step may take; from then on a person decides.
    async fn adopted(&self, planned: &PlannedStep, role: Role, bound: &Bound, cx: &Cx) -> Result<Done, ActionError> {
        // The peer has it: what fails from here may have happened.
        cx.reporter.ack(&cx.key).await?;
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

    /// Observing again while the peer cannot be reached: not knowing yet is not unknown.
    async fn look_patiently(&self, bound: &Bound, cx: &Cx) -> Result<Observed, ActionError> {
        let mut last = None;
        for look in 0..LOOKS {
            match bound.action.observe(cx).await {
                Ok(Observed::Unknown { detail }) => last = Some(Ok(Observed::Unknown { detail })),
                Ok(seen @ (Observed::Done(_) | Observed::NotStarted { .. } | Observed::Running { .. })) => {
                    return Ok(seen);
                }
                Err(error) if error.kind == ActionErrorKind::Transient => last = Some(Err(error)),
                Err(error) => return Err(error),
            }
            if matches!(last, Some(Ok(_))) {
                break;
            }
            cx.pause(Duration::from_secs(1u64 << look.min(4))).await?;
        }
        last.unwrap_or_else(|| {
            Ok(Observed::Unknown {
                detail: "nothing was seen".to_owned(),
            })
        })
    }

    fn done(&self, planned: &PlannedStep, done: &Done, observed: bool) -> Outcome {
        let mut outputs = Map::new();
        let mut detail = cut(self.setup.redactor.redact(&done.summary));
        let mut kept = 0;
        for (name, path) in &planned.outputs {
            match expression::extract(path, &done.result) {
                Ok(value) => {
                    let text = value.to_string();
                    if let Some(secret) = self.setup.redactor.contains_secret(text.as_bytes()) {
                        detail.push_str(&format!("; output {name} holds the secret {secret} and was not kept"));
                    } else if escaped(&text) > LARGEST_OUTPUT {
                        detail.push_str(&format!("; output {name} is larger than 16 KiB and was not kept"));
                    } else if kept + escaped(&text) > LARGEST_OUTPUTS {
                        detail.push_str(&format!(
                            "; output {name} was not kept: all together are larger than 40 KiB"
                        ));
                    } else {
                        kept += escaped(&text);
                        outputs.insert(name.clone(), value);
                    }
                }
                Err(error) => detail.push_str(&format!("; output {name}: {error}")),
            }
        }
        Outcome {
            result: OutcomeResult::Done,
            error_kind: None,
            detail,
            outputs,
            observed,
            fidelity: Fidelity::Executed,
        }
    }

    fn captured(&self, done: &Done) -> Vec<u8> {
        let mut bytes = evidence_of(done);
        if bytes.is_empty() && !done.result.is_empty() {
            bytes = serde_json::to_vec_pretty(&done.result).unwrap_or_default();
        }
        let text = String::from_utf8_lossy(&bytes);
        self.setup.redactor.redact(&text).into_bytes()
    }

    fn failed(&self, error: &ActionError, observed: bool) -> Outcome {
        let sent = self.sent.load(Ordering::Relaxed);
        let (result, kind) = match error.kind {
            // The poll was ended, not the effect.
            ActionErrorKind::Cancelled if sent => (OutcomeResult::InDoubt, "in_doubt"),
            ActionErrorKind::Transient => (OutcomeResult::Failed, "transient"),
            ActionErrorKind::Permanent => (OutcomeResult::Failed, "permanent"),
            ActionErrorKind::Cancelled => (OutcomeResult::Failed, "cancelled"),
            ActionErrorKind::InDoubt => (OutcomeResult::InDoubt, "in_doubt"),
        };
        let request_id = error
            .request_id
            .as_ref()
            .map(|id| format!(" (request id {id})"))
            .unwrap_or_default();
        Outcome {
            result,
            error_kind: Some(kind.to_owned()),
            detail: cut(self.setup.redactor.redact(&format!("{}{request_id}", error.message))),
            outputs: Map::new(),
            observed,
            fidelity: Fidelity::Executed,
        }
    }
}

/// Bytes of a text in a record, where everything outside ASCII is escaped.
fn escaped(text: &str) -> usize {
    let units = |char: char| if char.is_ascii() { 1 } else { 6 * char.len_utf16() };
    text.chars().map(units).sum()
}

/// Words that fit into a record, whatever a peer said.
pub(super) fn cut(mut words: String) -> String {
    if words.len() > LONGEST_DETAIL {
        let mut end = LONGEST_DETAIL;
        while !words.is_char_boundary(end) {
            end -= 1;
        }
        words.truncate(end);
        words.push_str(" … (cut)");
    }
    words
}

fn evidence_of(done: &Done) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, content) in &done.evidence {
        bytes.extend_from_slice(format!("== {name}\n").as_bytes());
        bytes.extend_from_slice(content);
        bytes.push(b'\n');
    }
    bytes
}

/// The outcome of what a dry run does not execute: declared outputs get a marked placeholder.
fn simulated(planned: &PlannedStep, fidelity: Fidelity, detail: &str) -> Outcome {
    let outputs = planned
        .outputs
        .keys()
        .map(|name| {
            (
                name.clone(),
                Value::String(format!("(simulated {}.{name})", planned.id)),
            )
        })
        .collect();
    Outcome {
        result: OutcomeResult::Done,
        error_kind: None,
        detail: detail.to_owned(),
        outputs,
        observed: false,
        fidelity,
    }
}
