//! Ways back from what was accepted: an effect whose end nobody saw, or that a person decided, is taken back by what its
//! approval bound; and what a peer accepted is never called "not sent".

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use pointsman::engine::executor::{Builder, Probes};
use pointsman::engine::handle::{Handle, Past};
use pointsman::provider::action::{Action, ActionError, ActionErrorKind, Cx, Observed, Outcome, Preview, Ready};
use pointsman::provider::registry::catalogue;
use pointsman::run::event::{Decision, OutcomeResult};
use pointsman::run::facts::StepId;
use pointsman::run::state::{EffectState, Stage, StepState};
use pointsman::run::{Command, Event, RunState};
use serde_json::{Value, json};

const RUNBOOK: &str = r#"
version: 1
name: ways
title: A way and its way back
connections:
  aws: { uses: aws, region: us-east-1, account: "000000000000" }
residency: [us-east-1]
environments:
  sim:
    kind: rehearsal
    approvals: typed
    auto_approve: true
    people: { olga: { roles: [operator] } }
phases:
  - id: all
    title: All
    steps:
      - id: resize
        uses: rds.modify
        on: aws
        with: { instance: db, class: big }
        outputs: { prior: result.prior, request: result.request_id }
        rollback: { uses: rds.modify, on: aws, with: { instance: db, to: "${ steps.resize.outputs.prior }" } }
      - id: last
        uses: rds.describe
        on: aws
        with: { instance: db }
"#;

/// What the approval of the change binds.
pub(super) fn bound() -> Value {
    json!({ "instance": "db", "prior": { "class": "small" }, "set": { "class": "big" } })
}

/// A peer that accepts a change, and then answers with an error of this class.
struct Peer {
    then: ActionErrorKind,
    /// What each way back was asked to do, and what it was told of the way.
    taken_back: Mutex<Vec<(Value, Value)>>,
}

struct Change {
    peer: Arc<Peer>,
    with: Value,
}

#[async_trait]
impl Action for Change {
    fn preview(&self) -> Preview {
        Preview::default()
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        Ok(Ready {
            identity: bound(),
            facts: Vec::new(),
        })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        if let Some(to) = self.with.get("to") {
            let told = (to.clone(), cx.forward.clone());
            self.peer.taken_back.lock().unwrap().push(told);
            return Ok(Outcome::default());
        }
        if self.with.get("class").is_some() {
            assert_eq!(cx.forward, Value::Null, "a way forward takes nothing back");
            cx.reporter.ack("db").await?;
            return Err(ActionError::new(self.peer.then, "and then nobody knows"));
        }
        Ok(Outcome::default())
    }

    async fn observe(&self, _cx: &Cx) -> Result<Observed, ActionError> {
        Ok(Observed::NotStarted {
            detail: "nothing shows".to_owned(),
        })
    }
}

/// A run against `peer`, conducted by `work`.
fn run<F>(then: ActionErrorKind, work: impl FnOnce(Handle) -> F) -> Arc<Peer>
where
    F: Future<Output = ()>,
{
    let peer = Arc::new(Peer {
        then,
        taken_back: Mutex::default(),
    });
    let there = peer.clone();
    let build = move |_: &str, _: &[String], with: &Value| {
        let (peer, with) = (there.clone(), with.clone());
        Ok(Box::new(Change { peer, with }) as Box<dyn Action>)
    };
    conduct(Arc::new(build), work);
    peer
}

/// A run of the two steps with these actions, conducted by `work`, under paused time.
pub(super) fn conduct<F>(build: Arc<Builder>, work: impl FnOnce(Handle) -> F)
where
    F: Future<Output = ()>,
{
    let place = tempfile::tempdir().unwrap();
    let now = "2026-12-05T22:00:00Z".parse().unwrap();
    let plan = Arc::new(pointsman::runbook::plan(RUNBOOK.as_bytes(), "sim", &catalogue(), now).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let nothing: Arc<Probes> = Arc::new(|_| Box::pin(async { Vec::new() }));
        let (handle, running) = super::begin(&plan, place.path(), build, nothing).await;
        work(handle.clone()).await;
        handle.close().await;
        running.await.unwrap();
    });
}

/// Waits until the run is somewhere, granting what is asked.
pub(super) async fn until(handle: &Handle, there: impl Fn(&RunState) -> bool) -> Past {
    for _ in 0..10_000 {
        let past = handle.history().await.unwrap();
        if there(&past.state) {
            return past;
        }
        if let Some(request) = past.state.open_requests().next() {
            let vote = Command::Vote {
                request: request.id,
                person: "olga".to_owned(),
                role: "operator".to_owned(),
                decision: Decision::Approve,
                phrase: request.gate.phrase.clone(),
                comment: String::new(),
                attested_by: None,
            };
            let _refused = handle.tell(vote).await;
        }
        // Time is simulated: it passes once nothing else happens.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it never came there: {:#?}", handle.history().await.unwrap().state);
}

pub(super) fn resize(state: &RunState) -> &StepState {
    state.step(&StepId("resize".to_owned())).unwrap()
}

async fn roll_back(handle: &Handle) {
    let person = "olga".to_owned();
    handle.tell(Command::Rollback { to: None, person }).await.unwrap();
    until(handle, RunState::is_closed).await;
}

#[test]
fn what_was_accepted_is_not_called_unsent() {
    run(ActionErrorKind::InDoubt, async |handle| {
        let past = until(&handle, |state| {
            resize(state).act.needs_person() || resize(state).act == EffectState::NotSent
        })
        .await;
        assert!(resize(&past.state).act.needs_person(), "{:?}", resize(&past.state));
        let unsent = past.updates.iter().any(|update| {
            matches!(
                update.event,
                Event::EffectOutcome {
                    result: OutcomeResult::NotSent,
                    ..
                }
            )
        });
        assert!(!unsent);
    });
}

#[test]
fn what_failed_after_it_was_accepted_is_taken_back_by_what_was_bound() {
    let peer = run(ActionErrorKind::Permanent, async |handle| {
        until(&handle, |state| resize(state).stage == Stage::Failed).await;
        roll_back(&handle).await;
    });
    let back = peer.taken_back.lock().unwrap().clone();
    assert_eq!(back, [(json!({ "class": "small" }), bound())]);
}

#[test]
fn what_a_person_decided_is_taken_back_by_what_was_bound() {
    let peer = run(ActionErrorKind::InDoubt, async |handle| {
        until(&handle, |state| resize(state).act.needs_person()).await;
        let decided = Command::Decide {
            step: StepId("resize".to_owned()),
            done: true,
            person: "olga".to_owned(),
            reason: "the console says big".to_owned(),
        };
        handle.tell(decided).await.unwrap();
        until(&handle, |state| {
            matches!(resize(state).stage, Stage::Done | Stage::Failed)
        })
        .await;
        roll_back(&handle).await;
    });
    let back = peer.taken_back.lock().unwrap().clone();
    assert_eq!(back, [(json!({ "class": "small" }), bound())]);
}
