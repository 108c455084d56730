//! Looking before the gate, in the instant before the effect, and after it. Only reads.

use serde_json::{Map, Value};

use crate::engine::facts::Mode;
use crate::engine::handle::{BriefedAction, Briefing, Feed};
use crate::provider::action::{ActionError, ActionErrorKind, Cx, Observed, Ready};
use crate::run::Command;
use crate::run::command::Binding;
use crate::run::event::{CheckResult, Role};
use crate::run::facts::{RequestId, StepId};
use crate::runbook::plan::{PlannedAction, PlannedStep};

use super::act::cut;
use super::bind::Bound;
use super::doer::Job;
use super::earlier::{Left, by_peer};

impl Job {
    /// Before-checks, what earlier attempts left, and the action's own look.
    pub async fn check(&self, step: &StepId, attempt: u32) -> (Command, Vec<u8>) {
        let mut results = Vec::new();
        let looked = self.look(step, attempt, &mut results).await;
        let (binding, evidence) = match looked {
            Ok((bound, ready)) => self.brief(step, attempt, &bound, ready, &results),
            Err(error) => {
                let uses = self
                    .planned(step)
                    .map(|planned| planned.action.uses.clone())
                    .unwrap_or_default();
                let index = u32::try_from(results.len()).unwrap_or(u32::MAX);
                let detail = cut(self.setup.redactor.redact(&error.told()));
                results.push(CheckResult {
                    when: "before".to_owned(),
                    index,
                    uses,
                    ok: false,
                    unverifiable: false,
                    detail,
                });
                (None, Vec::new())
            }
        };
        (
            Command::Checked {
                step: step.clone(),
                attempt,
                results,
                binding,
            },
            evidence,
        )
    }

    async fn look(
        &self,
        step: &StepId,
        attempt: u32,
        results: &mut Vec<CheckResult>,
    ) -> Result<(Bound, Ready), ActionError> {
        let planned = self.planned(step)?;
        let unknowable = self.unknowable(step);
        for (index, check) in planned.before.iter().enumerate() {
            let result = self
                .one_check(step, attempt, "before", index, check, unknowable.as_deref())
                .await;
            let ok = result.ok;
            results.push(result);
            if !ok {
                // The first red check decides; the rest would only make people wait.
                return Err(ActionError::new(ActionErrorKind::Permanent, "a check before it failed"));
            }
        }
        if unknowable.is_some() {
            // A look would see a world in which nothing was simulated.
            let bound = self.bind_loosely(step, &planned.action)?;
            return Ok((bound, Ready::default()));
        }
        let bound = self.bind(step, &planned.action)?;
        let left = self.earlier_attempts(step, attempt, &bound).await?;
        let cx = self.context(step, attempt, Role::Do, &bound, None);
        let mut ready = self.patiently(planned.retry, || bound.action.check(&cx)).await?;
        ready.facts.extend(left);
        Ok((bound, ready))
    }

    /// What an earlier attempt may have left is looked at before a new one is asked for; gives what the gate has to say.
    async fn earlier_attempts(&self, step: &StepId, attempt: u32, bound: &Bound) -> Result<Vec<String>, ActionError> {
        let residue = self.errand.state.step(step).is_some_and(|state| state.residue);
        let mut facts = Vec::new();
        if !residue {
            return Ok(facts);
        }
        let refused = |words: String| Err(ActionError::new(ActionErrorKind::Permanent, words));
        for earlier in 1..attempt {
            let Some(known) = self.earlier(step, earlier, Role::Do).await?.pop() else {
                // It ended before its effect was begun.
                continue;
            };
            let cx = self.context(step, earlier, Role::Do, bound, None);
            let cx = Cx {
                intent_at: known.intent_at,
                acked: by_peer(known.acked.clone(), &cx.key),
                ..cx
            };
            match bound.action.observe(&cx).await? {
                Observed::Running { detail } => {
                    return refused(format!("attempt {earlier} is still at work: {detail}"));
                }
                Observed::Done(_) => {
                    let words = "has happened after all; roll it back before you try again";
                    return refused(format!("attempt {earlier} {words}"));
                }
                Observed::NotVisible { detail } if known.left != Left::Nothing => {
                    return refused(format!("attempt {earlier} may still come: {detail}; look again later"));
                }
                Observed::Unknown { detail } if known.left != Left::Nothing => {
                    facts.push(format!("what attempt {earlier} left is not known: {detail}"));
                }
                Observed::NotStarted { detail } if known.left != Left::Nothing && known.acked.is_some() => {
                    facts.push(format!("attempt {earlier} was accepted, and now {detail}"));
                }
                Observed::NotStarted { .. } | Observed::NotVisible { .. } | Observed::Unknown { .. } => {}
            }
        }
        Ok(facts)
    }

    /// Runs one check.
    pub async fn one_check(
        &self,
        step: &StepId,
        attempt: u32,
        when: &str,
        index: usize,
        check: &PlannedAction,
        unknowable: Option<&str>,
    ) -> CheckResult {
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let made = |ok: bool, detail: String| CheckResult {
            when: when.to_owned(),
            index,
            uses: check.uses.clone(),
            ok,
            unverifiable: unknowable.is_some(),
            detail: cut(self.setup.redactor.redact(&detail)),
        };
        if let Some(simulated) = unknowable {
            return made(true, format!("it depends on {simulated}, which was only simulated"));
        }
        let bound = match self.bind(step, check) {
            Ok(bound) => bound,
            Err(error) => return made(false, error.message),
        };
        let cx = self.context(step, attempt, Role::Do, &bound, None);
        let run = bound.action.execute(&cx);
        let outcome = match check.timeout {
            Some(limit) => match tokio::time::timeout(limit.as_duration(), run).await {
                Ok(outcome) => outcome,
                Err(_elapsed) => {
                    let words = format!("no answer within {} s", limit.as_duration().as_secs());
                    Err(ActionError::new(ActionErrorKind::Cancelled, words))
                }
            },
            None => run.await,
        };
        match outcome {
            Ok(outcome) => made(true, outcome.summary),
            Err(error) => made(false, error.told()),
        }
    }

    fn brief(
        &self,
        step: &StepId,
        attempt: u32,
        bound: &Bound,
        ready: Ready,
        results: &[CheckResult],
    ) -> (Option<Binding>, Vec<u8>) {
        let mut action = BriefedAction::new(step.clone(), Role::Do, &bound.uses, bound.action.preview());
        action.notes.extend(ready.facts);
        action.notes.extend(self.skipped_needs(step));
        action.identity = ready.identity.clone();
        let briefing = Briefing {
            step: Some(step.clone()),
            attempt,
            actions: vec![action],
            checks: results.to_vec(),
            lost: None,
            faults: Vec::new(),
            changes: Vec::new(),
        };
        let evidence = self.publish(briefing);
        let binding = Binding {
            action_digest: self.digest(step, attempt, bound, &ready.identity),
            evidence_digest: String::new(),
            identity: ready.identity,
        };
        (Some(binding), evidence)
    }

    /// What the step needs and the run went on without.
    fn skipped_needs(&self, step: &StepId) -> Vec<String> {
        let state = &self.errand.state;
        let needs = state
            .facts
            .step(step)
            .map(|facts| facts.needs.as_slice())
            .unwrap_or_default();
        let skipped = needs.iter().filter_map(|need| {
            let skip = state.step(need)?.skip.as_ref()?;
            Some(format!("it needs {need}, which was SKIPPED: {}", skip.reason))
        });
        skipped.collect()
    }

    /// Shows a briefing and gives its bytes, redacted: what people see is what the journal keeps.
    pub fn publish(&self, mut briefing: Briefing) -> Vec<u8> {
        for action in &mut briefing.actions {
            let lines = action
                .commands
                .iter_mut()
                .chain(&mut action.notes)
                .chain(std::iter::once(&mut action.summary));
            for line in lines {
                *line = self.setup.redactor.redact(line);
            }
        }
        for fault in &mut briefing.faults {
            *fault = self.setup.redactor.redact(fault);
        }
        let evidence = serde_json::to_string_pretty(&briefing).unwrap_or_default();
        let evidence = self.setup.redactor.redact(&evidence).into_bytes();
        let _unheard = self
            .setup
            .handle
            .feed
            .send(Feed::Briefing(std::sync::Arc::new(briefing)));
        evidence
    }

    /// Reads the bound identity again.
    pub async fn recheck(&self, step: &StepId, attempt: u32, request: RequestId) -> Command {
        let action_digest = match self.live_now(step, attempt).await {
            Some(red) => Err(red),
            None => self
                .digest_now(step, attempt)
                .await
                .map_err(|error| cut(self.setup.redactor.redact(&error.told()))),
        };
        Command::Rechecked { request, action_digest }
    }

    async fn digest_now(&self, step: &StepId, attempt: u32) -> Result<String, ActionError> {
        let planned = self.planned(step)?;
        if self.unknowable(step).is_some() {
            let bound = self.bind_loosely(step, &planned.action)?;
            return Ok(self.digest(step, attempt, &bound, &Value::Null));
        }
        let bound = self.bind(step, &planned.action)?;
        let cx = self.context(step, attempt, Role::Do, &bound, None);
        let ready = self.patiently(planned.retry, || bound.action.check(&cx)).await?;
        Ok(self.digest(step, attempt, &bound, &ready.identity))
    }

    /// After-checks and declared outputs.
    pub async fn verify(&self, step: &StepId, attempt: u32) -> Command {
        let mut results = Vec::new();
        let mut fault = None;
        let mut outputs = Map::new();
        match self.planned(step) {
            Err(error) => fault = Some(error.told()),
            Ok(planned) => {
                let simulated = self.simulates(step);
                let unknowable = if simulated {
                    Some("this step".to_owned())
                } else {
                    self.unknowable(step)
                };
                if unknowable.is_none()
                    && let Err(error) = self.proof(planned, step, attempt).await
                {
                    let words = format!("its proof failed: {}", error.told());
                    fault = Some(cut(self.setup.redactor.redact(&words)));
                }
                for (index, check) in planned.after.iter().enumerate() {
                    results.push(
                        self.one_check(step, attempt, "after", index, check, unknowable.as_deref())
                            .await,
                    );
                }
                let known = self
                    .errand
                    .state
                    .step(step)
                    .map(|state| state.result.clone())
                    .unwrap_or_default();
                for name in planned.outputs.keys() {
                    match known.get(name) {
                        Some(value) => {
                            outputs.insert(name.clone(), value.clone());
                        }
                        None => fault = Some(format!("its output {name} is not known")),
                    }
                }
            }
        }
        Command::Verified {
            step: step.clone(),
            attempt,
            results,
            outputs,
            fault,
        }
    }

    /// What the action itself proves of its effect.
    async fn proof(&self, planned: &PlannedStep, step: &StepId, attempt: u32) -> Result<(), ActionError> {
        let bound = self.bind(step, &planned.action)?;
        let cx = self.context(step, attempt, Role::Do, &bound, None);
        self.patiently(planned.retry, || bound.action.prove(&cx)).await
    }

    /// Whether this step is only simulated.
    pub fn simulates(&self, step: &StepId) -> bool {
        self.setup.mode == Mode::DryRun
            && self.planned(step).is_ok_and(|planned| {
                let changes = planned.action.effect == crate::runbook::catalogue::Effect::Mutate;
                // A command that is said to read is run in a dry run only where its author says that, too.
                (changes || planned.action.declared_read) && !planned.action.dry_run_execute
            })
    }

    /// In a dry run: the simulated step that this one depends on, directly or not.
    pub fn unknowable(&self, step: &StepId) -> Option<String> {
        if self.setup.mode != Mode::DryRun {
            return None;
        }
        let facts = &self.errand.state.facts;
        let mut open: Vec<&StepId> = facts
            .index(step)
            .and_then(|at| facts.steps.get(at))?
            .needs
            .iter()
            .collect();
        let mut seen = std::collections::BTreeSet::new();
        while let Some(need) = open.pop() {
            if !seen.insert(need) {
                continue;
            }
            let needed = facts.index(need).and_then(|at| facts.steps.get(at))?;
            if self.simulates(need) {
                return Some(need.0.clone());
            }
            open.extend(&needed.needs);
        }
        None
    }
}
