//! The executor: starts a task for each errand, keeps the means to cancel it, and sees to it that every errand is
//! answered, whatever becomes of its task.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::engine::amend::{Amendment, Offer, offer};
use crate::engine::facts::Mode;
use crate::engine::handle::{Feed, Handle, Refused};
use crate::journal::Redactor;
use crate::provider::action::{Action, ActionError, ActionErrorKind, Progress, Reporter};
use crate::run::command::Outcome;
use crate::run::event::{Event, Fidelity, OutcomeResult, Role};
use crate::run::facts::{RequestId, StepId};
use crate::run::{Command, Effect, RunState};
use crate::runbook::plan::{Plan, PlannedStep};

use super::act::cut;
use super::proof::{Probes, failed};

/// How long what was asked to end is waited for when the process leaves: longer than a command's group gets.
const LEAVING: Duration = Duration::from_secs(12);

/// Makes an action from its name, connections and resolved parameters. Given by whoever knows the providers.
pub type Builder = dyn Fn(&str, &[String], &Value) -> Result<Box<dyn Action>, String> + Send + Sync;

/// What an executor is made of.
pub struct Setup {
    pub run: String,
    /// The plan that the run goes by as the executor begins.
    pub plan: Arc<Plan>,
    pub mode: Mode,
    pub build: Arc<Builder>,
    /// What a preflight looks at.
    pub probes: Arc<Probes>,
    pub redactor: Arc<Redactor>,
    /// Scales waits: the lab's speed, else 1.
    pub speed: f64,
    pub handle: Handle,
}

/// One piece of work.
pub struct Errand {
    pub effect: Effect,
    /// When the effect's intent was journaled.
    pub intent_at: DateTime<Utc>,
    pub state: RunState,
}

/// The runner of errands.
pub struct Executor {
    pub(super) setup: Arc<Setup>,
    /// What is executed: the setup's plan, or the last that the run was amended with.
    plan: Arc<Plan>,
    runtime: tokio::runtime::Handle,
    /// Cancels everything that is under way; the only thing shared with the tasks.
    all: CancellationToken,
    /// Every task that is under way.
    tasks: TaskTracker,
    /// Ends one effect by a person's wish.
    effects: HashMap<(StepId, Role), CancellationToken>,
    /// Ends the watch over a request that is over.
    watches: HashMap<RequestId, CancellationToken>,
}

impl Executor {
    /// An executor on the current runtime.
    pub fn new(setup: Setup) -> Self {
        Self {
            plan: setup.plan.clone(),
            setup: Arc::new(setup),
            runtime: tokio::runtime::Handle::current(),
            all: CancellationToken::new(),
            tasks: TaskTracker::new(),
            effects: HashMap::new(),
            watches: HashMap::new(),
        }
    }

    /// The plan that is executed.
    pub const fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// From here another plan is executed. What is under way goes on by the old one.
    pub fn go_by(&mut self, plan: Arc<Plan>) {
        self.plan = plan;
    }

    /// What asking for an amendment takes.
    pub(in crate::engine) fn offer(&self, amendment: &Amendment, words: (&str, &str)) -> Result<Offer, Refused> {
        let mut offer = offer(&self.setup.run, &self.plan, self.setup.mode, amendment, words)?;
        for change in &mut offer.briefing.changes {
            *change = self.setup.redactor.redact(change);
        }
        Ok(offer)
    }

    /// Starts an errand; its answer comes as a command.
    pub fn start(&mut self, errand: Errand) {
        let cancel = self.all.child_token();
        match &errand.effect {
            Effect::Execute { step, role, .. } | Effect::Observe { step, role, .. } => {
                self.effects.insert((step.clone(), *role), cancel.clone());
            }
            Effect::Watch { request, .. } => {
                self.watches.insert(*request, cancel.clone());
            }
            Effect::Unwatch { request } => {
                if let Some(watch) = self.watches.remove(request) {
                    watch.cancel();
                }
                return;
            }
            Effect::Cancel { step, role } => {
                if let Some(effect) = self.effects.get(&(step.clone(), *role)) {
                    effect.cancel();
                }
                return;
            }
            Effect::Check { .. } | Effect::Recheck { .. } | Effect::Verify { .. } => {}
            Effect::PrepareUnwind | Effect::Preflight { .. } => {}
        }
        let fallback = broken(&errand.effect);
        let job = Job {
            setup: self.setup.clone(),
            plan: self.plan.clone(),
            cancel,
            errand,
            sent: Arc::default(),
        };
        let handle = self.setup.handle.clone();
        let work = self.tasks.track_future(async move { job.answer().await });
        let task = self.runtime.spawn(work);
        self.runtime.spawn(async move {
            let answer = match task.await {
                Ok(answer) => answer,
                Err(error) => {
                    tracing::error!(%error, "an executor task broke");
                    fallback.map(|command| (command, Vec::new()))
                }
            };
            let Some((command, evidence)) = answer else { return };
            if let Err(refused) = handle.tell_with(command, evidence).await {
                tracing::info!(%refused, "an answer came too late");
            }
        });
    }

    /// Asks everything under way to end; what was sent stays in doubt.
    pub fn cancel_all(&self) {
        self.all.cancel();
    }

    /// Waits a little for what was asked to end: a command's process group is not left half ended.
    pub async fn ended(&self) {
        self.tasks.close();
        // What does not listen is left; what it sent is looked for on resume.
        let _left = tokio::time::timeout(LEAVING, self.tasks.wait()).await;
    }
}

/// The answer when the task itself broke: never a claim that something happened or did not.
fn broken(effect: &Effect) -> Option<Command> {
    let words = "the program's own task broke; see the diagnostic log";
    Some(match effect {
        Effect::Check { step, attempt } => Command::Checked {
            step: step.clone(),
            attempt: *attempt,
            results: Vec::new(),
            binding: None,
        },
        Effect::Recheck { request, .. } => Command::Rechecked {
            request: *request,
            action_digest: Err(words.to_owned()),
        },
        Effect::Execute {
            step, attempt, role, ..
        } => Command::Finished {
            role: *role,
            step: step.clone(),
            attempt: *attempt,
            outcome: in_doubt(words, false),
        },
        Effect::Observe {
            step, attempt, role, ..
        } => Command::Finished {
            role: *role,
            step: step.clone(),
            attempt: *attempt,
            outcome: in_doubt(words, true),
        },
        Effect::Verify { step, attempt } => Command::Verified {
            step: step.clone(),
            attempt: *attempt,
            results: Vec::new(),
            outputs: Map::new(),
            fault: Some(words.to_owned()),
        },
        Effect::Preflight { number } => failed(*number, words),
        Effect::PrepareUnwind => Command::UnwindPrepared {
            lost: None,
            action_digest: String::new(),
            evidence: None,
            fault: Some(words.to_owned()),
        },
        Effect::Watch { request, .. } => Command::LiveRed {
            request: *request,
            detail: words.to_owned(),
        },
        Effect::Unwatch { .. } | Effect::Cancel { .. } => return None,
    })
}

pub(super) fn in_doubt(detail: &str, observed: bool) -> Outcome {
    let detail = cut(detail.to_owned());
    Outcome {
        result: OutcomeResult::InDoubt,
        error_kind: Some("in_doubt".to_owned()),
        detail,
        outputs: Map::new(),
        observed,
        fidelity: Fidelity::Executed,
    }
}

/// One errand with what it needs.
pub(super) struct Job {
    pub setup: Arc<Setup>,
    pub plan: Arc<Plan>,
    pub cancel: CancellationToken,
    pub errand: Errand,
    /// Set once a peer accepted a mutation: from then on an end on request is in doubt.
    pub sent: Arc<AtomicBool>,
}

impl Job {
    async fn answer(self) -> Option<(Command, Vec<u8>)> {
        Some(match self.errand.effect.clone() {
            Effect::Check { step, attempt } => self.check(&step, attempt).await,
            Effect::Recheck { step, attempt, request } => (self.recheck(&step, attempt, request).await, Vec::new()),
            Effect::Execute {
                step,
                attempt,
                role,
                request,
            } => self.execute(&step, attempt, role, request).await,
            Effect::Observe {
                step,
                attempt,
                role,
                request,
            } => self.observe(&step, attempt, role, request).await,
            Effect::Verify { step, attempt } => (self.verify(&step, attempt).await, Vec::new()),
            Effect::PrepareUnwind => self.prepare_unwind().await,
            Effect::Preflight { number } => self.preflight(number).await?,
            Effect::Watch { step, attempt, request } => (self.watch(&step, attempt, request).await?, Vec::new()),
            Effect::Unwatch { .. } | Effect::Cancel { .. } => return None,
        })
    }

    pub fn planned(&self, step: &StepId) -> Result<&PlannedStep, ActionError> {
        // The facts were made from the plan, in its order.
        let index = self.errand.state.facts.index(step);
        index
            .and_then(|index| self.plan.steps.get(index))
            .filter(|planned| planned.id == step.0)
            .ok_or_else(|| {
                ActionError::new(
                    ActionErrorKind::Permanent,
                    format!("the plan has no step {step}; is it the run's own plan?"),
                )
            })
    }

    pub fn reporter(&self, step: &StepId, attempt: u32, role: Role) -> Arc<dyn Reporter> {
        Arc::new(Line {
            handle: self.setup.handle.clone(),
            redactor: self.setup.redactor.clone(),
            step: step.clone(),
            attempt,
            role,
            sent: self.sent.clone(),
        })
    }
}

/// Carries acknowledgements and progress of one effect.
struct Line {
    handle: Handle,
    redactor: Arc<Redactor>,
    step: StepId,
    attempt: u32,
    role: Role,
    sent: Arc<AtomicBool>,
}

#[async_trait]
impl Reporter for Line {
    async fn ack(&self, provider_id: &str) -> Result<(), ActionError> {
        let command = Command::Acked {
            role: self.role,
            step: self.step.clone(),
            attempt: self.attempt,
            provider_id: cut(self.redactor.redact(provider_id)),
        };
        self.sent.store(true, Ordering::Relaxed);
        self.handle.tell(command).await.map_err(|refused| {
            ActionError::new(
                ActionErrorKind::InDoubt,
                format!("the acknowledgement could not be journaled: {refused}"),
            )
        })
    }

    async fn keep(&self, part: Value) -> Result<(), ActionError> {
        let command = Command::Kept {
            role: self.role,
            step: self.step.clone(),
            attempt: self.attempt,
            kept: part,
        };
        self.handle.tell(command).await.map_err(|refused| {
            let words = format!("what is done could not be journaled: {refused}; resume the run");
            ActionError::new(ActionErrorKind::Permanent, words)
        })
    }

    async fn kept(&self) -> Result<Vec<Value>, ActionError> {
        let past = self.handle.history().await.map_err(|gone| {
            let words = format!("what was done before cannot be read: {gone}; resume the run");
            ActionError::new(ActionErrorKind::Transient, words)
        })?;
        let of_this = past.updates.iter().filter_map(|update| match &update.event {
            Event::EffectKept { step, role, kept, .. } if *step == self.step && *role == self.role => {
                Some(kept.clone())
            }
            _ => None,
        });
        Ok(of_this.collect())
    }

    fn progress(&self, progress: Progress) {
        let progress = match progress {
            Progress::Line(text) => Progress::Line(self.redactor.redact(&text)),
            Progress::Share { done, text } => Progress::Share {
                done,
                text: self.redactor.redact(&text),
            },
            Progress::State(text) => Progress::State(self.redactor.redact(&text)),
            Progress::Board { done, text, rows } => Progress::Board {
                done,
                text: self.redactor.redact(&text),
                rows: rows.iter().map(|row| self.redactor.redact(row)).collect(),
            },
        };
        // Progress is lossy by design.
        let _unheard = self.handle.feed.send(Feed::Progress {
            step: self.step.clone(),
            progress,
        });
    }
}
