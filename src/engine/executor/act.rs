//! Doing an effect, and what its end says about the world: the class of an error decides; a timeout after sending is in
//! doubt, never a failure.

use std::sync::atomic::Ordering;

use serde_json::{Map, Value};

use crate::engine::facts::Mode;
use crate::provider::action::{ActionError, ActionErrorKind, Cx, Outcome as Done};
use crate::run::Command;
use crate::run::command::Outcome;
use crate::run::event::{Fidelity, OutcomeResult, Role};
use crate::run::facts::{RequestId, StepId};
use crate::runbook::catalogue::Effect;
use crate::runbook::expression;
use crate::runbook::plan::PlannedStep;

use super::bind::{Bound, Way, way_back};
use super::doer::Job;

/// The largest declared output that a record keeps, in bytes of JSON.
const LARGEST_OUTPUT: usize = 16 * 1024;
/// All declared outputs of a step, in bytes of JSON: a record is a line of at most 64 KiB.
const LARGEST_OUTPUTS: usize = 40 * 1024;
/// The longest words of a peer that a record keeps, in bytes; evidence has all of them.
pub(super) const LONGEST_DETAIL: usize = 4 * 1024;

/// An action that is ready to be executed or observed.
pub(super) struct Ready<'a> {
    pub way: Way<'a>,
    pub bound: Bound,
    pub cx: Cx,
}

impl Job {
    /// Does the effect of a role.
    pub async fn execute(&self, step: &StepId, attempt: u32, role: Role, request: RequestId) -> (Command, Vec<u8>) {
        let (outcome, evidence) = match self.try_execute(step, attempt, role, request).await {
            Ok(answer) => answer,
            Err(error) => {
                let error = self.truth(step, role, error);
                let text = String::from_utf8_lossy(&blob_of(&error.evidence)).into_owned();
                (
                    self.failed(&error, false),
                    self.setup.redactor.redact(&text).into_bytes(),
                )
            }
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
            Role::Undo | Role::Close => self.take_back(planned, step, role, way, &bound, &cx).await?,
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
    pub(super) fn ready<'a>(
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

    pub(super) fn done(&self, planned: &PlannedStep, done: &Done, observed: bool) -> Outcome {
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

    pub(super) fn captured(&self, done: &Done) -> Vec<u8> {
        let mut bytes = evidence_of(done);
        if bytes.is_empty() && !done.result.is_empty() {
            bytes = serde_json::to_vec_pretty(&done.result).unwrap_or_default();
        }
        let text = String::from_utf8_lossy(&bytes);
        self.setup.redactor.redact(&text).into_bytes()
    }

    pub(super) fn failed(&self, error: &ActionError, observed: bool) -> Outcome {
        let sent = self.sent.load(Ordering::Relaxed);
        let (result, kind) = match error.kind {
            // The poll was ended, not the effect.
            ActionErrorKind::Cancelled if sent => (OutcomeResult::InDoubt, "in_doubt"),
            ActionErrorKind::Transient => (OutcomeResult::Failed, "transient"),
            ActionErrorKind::Permanent => (OutcomeResult::Failed, "permanent"),
            ActionErrorKind::Cancelled => (OutcomeResult::Failed, "cancelled"),
            ActionErrorKind::InDoubt => (OutcomeResult::InDoubt, "in_doubt"),
        };
        Outcome {
            result,
            error_kind: Some(kind.to_owned()),
            detail: cut(self.setup.redactor.redact(&error.told())),
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
    let mut bytes = blob_of(&done.evidence);
    // Evidence of its own stands in for the result, which has the id by which the peer's log knows the request.
    if let (false, Some(id)) = (bytes.is_empty(), done.result.get("request_id").and_then(Value::as_str)) {
        bytes.extend_from_slice(format!("== request id\n{id}\n").as_bytes());
    }
    bytes
}

/// Pieces of evidence as one blob.
fn blob_of(pieces: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, content) in pieces {
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
