//! What a peer does not show, or does not show yet: nobody says of it that it was not sent, and nobody sends it again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use pointsman::engine::handle::Handle;
use pointsman::provider::action::{Action, ActionError, ActionErrorKind, Cx, Observed, Outcome, Preview, Ready};
use pointsman::run::event::Role;
use pointsman::run::facts::StepId;
use pointsman::run::state::{EffectState, Stage};
use pointsman::run::{Command, Event, RunState};
use serde_json::Value;

use super::ways::{bound, conduct, resize, until};

/// How a peer answers to one thing that is asked of it.
type Answers<T> = Mutex<VecDeque<Result<T, ActionErrorKind>>>;

/// A peer that answers as it is told, and the last answer for ever.
#[derive(Default)]
struct Peer {
    /// It accepts under a name of its own before it answers.
    acks: bool,
    changes: Answers<()>,
    ways_back: Answers<()>,
    looks: Answers<Observed>,
    looks_back: Answers<Observed>,
    sent: Mutex<Vec<String>>,
    sent_back: Mutex<Vec<String>>,
    looked: Mutex<Vec<(String, Option<String>)>>,
}

fn next<T: Clone>(answers: &Answers<T>, last: Result<T, ActionErrorKind>) -> Result<T, ActionError> {
    let mut answers = answers.lock().unwrap();
    let answer = match answers.len() {
        0 => last,
        1 => answers.front().cloned().unwrap(),
        _ => answers.pop_front().unwrap(),
    };
    answer.map_err(|kind| ActionError::new(kind, "said by the peer"))
}

struct Change {
    peer: Arc<Peer>,
    with: Value,
}

impl Change {
    fn is_back(&self) -> bool {
        self.with.get("to").is_some()
    }
}

fn not_visible() -> Observed {
    Observed::NotVisible {
        detail: "it is small".to_owned(),
    }
}

fn unknown() -> Observed {
    Observed::Unknown {
        detail: "it is neither".to_owned(),
    }
}

fn not_started() -> Observed {
    Observed::NotStarted {
        detail: "nothing shows".to_owned(),
    }
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
        let (sent, answers) = match (self.is_back(), self.with.get("class").is_some()) {
            (true, _) => (&self.peer.sent_back, &self.peer.ways_back),
            (false, true) => (&self.peer.sent, &self.peer.changes),
            (false, false) => return Ok(Outcome::default()),
        };
        sent.lock().unwrap().push(cx.key.clone());
        if self.peer.acks {
            cx.reporter.ack("the peer's own name").await?;
        }
        next(answers, Ok(())).map(|()| Outcome::default())
    }

    async fn observe(&self, cx: &Cx) -> Result<Observed, ActionError> {
        let looks = match self.is_back() {
            true => &self.peer.looks_back,
            false => &self.peer.looks,
        };
        // Of what was never sent nothing is known, whatever is said of what was.
        let sent = match self.is_back() {
            true => &self.peer.sent_back,
            false => &self.peer.sent,
        };
        if !sent.lock().unwrap().contains(&cx.key) {
            return Ok(not_started());
        }
        let looked = (cx.key.clone(), cx.acked.clone());
        self.peer.looked.lock().unwrap().push(looked);
        next(looks, Ok(not_started()))
    }
}

fn answers<T>(all: impl IntoIterator<Item = Result<T, ActionErrorKind>>) -> Answers<T> {
    Mutex::new(all.into_iter().collect())
}

fn run<F>(peer: Peer, work: impl FnOnce(Handle) -> F) -> Arc<Peer>
where
    F: Future<Output = ()>,
{
    let peer = Arc::new(peer);
    let there = peer.clone();
    let build = move |_: &str, _: &[String], with: &Value| {
        let (peer, with) = (there.clone(), with.clone());
        Ok(Box::new(Change { peer, with }) as Box<dyn Action>)
    };
    conduct(Arc::new(build), work);
    peer
}

fn id() -> StepId {
    StepId("resize".to_owned())
}

async fn unwind(handle: &Handle) {
    let person = "olga".to_owned();
    handle.tell(Command::Rollback { to: None, person }).await.unwrap();
}

/// Waits until the way back has failed, or nobody knows.
async fn stuck(handle: &Handle) -> RunState {
    let there = |state: &RunState| !state.stuck.is_empty() || resize(state).undo.needs_person();
    until(handle, there).await.state
}

async fn again(handle: &Handle) {
    handle.tell(Command::Retry { step: id() }).await.unwrap();
}

async fn decide(handle: &Handle, done: bool) {
    let decided = Command::Decide {
        step: id(),
        done,
        person: "olga".to_owned(),
        reason: "the console says small".to_owned(),
    };
    handle.tell(decided).await.unwrap();
}

#[test]
fn what_does_not_show_yet_is_looked_for_again_until_it_does() {
    let mut looks: Vec<_> = (0..12).map(|_| Ok(not_visible())).collect();
    looks.push(Ok(Observed::Done(Outcome::default())));
    let peer = Peer {
        changes: answers([Err(ActionErrorKind::InDoubt)]),
        looks: answers(looks),
        ..Peer::default()
    };
    let peer = run(peer, async |handle| {
        let past = until(&handle, |state| {
            matches!(resize(state).stage, Stage::Done | Stage::Failed) || resize(state).act.needs_person()
        })
        .await;
        assert_eq!(
            resize(&past.state).stage,
            Stage::Failed,
            "its output is not known, and it was done"
        );
        assert_eq!(resize(&past.state).act, EffectState::Done);
    });
    assert_eq!(peer.looked.lock().unwrap().len(), 13);
    assert_eq!(peer.sent.lock().unwrap().len(), 1);
}

#[test]
fn what_never_shows_is_for_a_person_and_not_called_unsent() {
    let peer = Peer {
        changes: answers([Err(ActionErrorKind::InDoubt)]),
        looks: answers([Ok(not_visible())]),
        ..Peer::default()
    };
    let peer = run(peer, async |handle| {
        let past = until(&handle, |state| {
            !matches!(resize(state).act, EffectState::None) && {
                let act = &resize(state).act;
                act.needs_person() || *act == EffectState::NotSent
            }
        })
        .await;
        let step = resize(&past.state);
        assert!(step.act.needs_person(), "{:?}", step.act);
        assert!(
            step.reason.as_ref().unwrap().contains("may have been asked for"),
            "{step:?}"
        );
    });
    // Ten minutes, at a pace that slows down to 16 s.
    let looked = peer.looked.lock().unwrap().len();
    assert!((30..60).contains(&looked), "{looked}");
}

#[test]
fn a_way_back_that_may_still_come_is_not_sent_again() {
    for look in [
        Ok(not_visible()),
        Err(ActionErrorKind::Transient),
        Err(ActionErrorKind::Permanent),
    ] {
        let peer = Peer {
            acks: true,
            ways_back: answers([Err(ActionErrorKind::Permanent)]),
            looks_back: answers([look.clone()]),
            ..Peer::default()
        };
        let peer = run(peer, async |handle| {
            until(&handle, |state| resize(state).act == EffectState::Done).await;
            unwind(&handle).await;
            stuck(&handle).await;
            again(&handle).await;
            let state = stuck(&handle).await;
            let step = resize(&state);
            let reason = step.reason.clone().unwrap();
            assert!(reason.contains("try 1 of this way back"), "{reason}");
            assert!(reason.contains("nothing was sent now"), "{reason}");
            assert_eq!(step.undo, EffectState::Failed, "it can be tried again: {step:?}");
        });
        assert_eq!(peer.sent_back.lock().unwrap().len(), 1, "{look:?}");
        let looked = peer.looked.lock().unwrap().clone();
        assert!(
            looked
                .iter()
                .all(|(_, acked)| acked.as_deref() == Some("the peer's own name")),
            "it is known that it was accepted: {looked:?}"
        );
    }
}

#[test]
fn what_nobody_knows_of_a_way_back_is_settled_by_a_person_once() {
    let peer = Peer {
        ways_back: answers([Err(ActionErrorKind::InDoubt), Ok(())]),
        looks_back: answers([Ok(unknown())]),
        ..Peer::default()
    };
    let peer = run(peer, async |handle| {
        until(&handle, |state| resize(state).act == EffectState::Done).await;
        unwind(&handle).await;
        let state = stuck(&handle).await;
        assert!(resize(&state).undo.needs_person(), "{:?}", resize(&state));
        decide(&handle, false).await;
        let state = stuck(&handle).await;
        assert_eq!(resize(&state).undo, EffectState::NotSent);
        again(&handle).await;
        until(&handle, RunState::is_closed).await;
    });
    // The person has said of the first that it did not happen: the peer, which still does not know, is not asked again.
    assert_eq!(peer.sent_back.lock().unwrap().len(), 2);
}

#[test]
fn a_way_back_that_is_under_way_is_followed() {
    let peer = Peer {
        acks: true,
        ways_back: answers([Err(ActionErrorKind::Permanent)]),
        looks_back: answers([
            Ok(Observed::Running {
                detail: "modifying".to_owned(),
            }),
            Ok(not_visible()),
            Ok(not_started()),
            Ok(Observed::Done(Outcome::default())),
        ]),
        ..Peer::default()
    };
    let peer = run(peer, async |handle| {
        until(&handle, |state| resize(state).act == EffectState::Done).await;
        unwind(&handle).await;
        stuck(&handle).await;
        again(&handle).await;
        until(&handle, RunState::is_closed).await;
    });
    assert_eq!(peer.sent_back.lock().unwrap().len(), 1);
}

#[test]
fn an_attempt_that_may_still_come_keeps_another_from_being_asked_for() {
    let peer = Peer {
        acks: true,
        changes: answers([Err(ActionErrorKind::Permanent)]),
        looks: answers([Ok(not_visible())]),
        ..Peer::default()
    };
    let peer = run(peer, async |handle| {
        until(&handle, |state| resize(state).stage == Stage::Failed).await;
        again(&handle).await;
        let past = until(&handle, |state| {
            resize(state).stage == Stage::Failed && resize(state).attempt == 2
        })
        .await;
        let told = past.updates.iter().any(|update| {
            matches!(&update.event, Event::CheckResult { result, .. } if result.detail.contains("attempt 1 may still come"))
        });
        assert!(told, "{:?}", resize(&past.state));
    });
    assert_eq!(peer.sent.lock().unwrap().len(), 1);
}

#[test]
fn what_is_adopted_keeps_the_name_that_the_peer_gave_it() {
    let peer = Peer {
        acks: true,
        changes: answers([Err(ActionErrorKind::InDoubt)]),
        looks: answers([
            Ok(Observed::Running {
                detail: "modifying".to_owned(),
            }),
            Ok(Observed::Done(Outcome::default())),
        ]),
        ..Peer::default()
    };
    run(peer, async |handle| {
        let past = until(&handle, |state| resize(state).act == EffectState::Done).await;
        let names: Vec<&str> = past
            .updates
            .iter()
            .filter_map(|update| match &update.event {
                Event::EffectAck {
                    role: Role::Do,
                    provider_id,
                    ..
                } => Some(provider_id.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(names, ["the peer's own name"]);
    });
}

#[test]
fn an_adoption_is_not_taken_for_the_peers_acknowledgement_by_the_next_process() {
    let peer = Peer {
        changes: answers([Err(ActionErrorKind::InDoubt)]),
        looks: answers([
            Ok(Observed::Running {
                detail: "rebooting, whoever asked for it".to_owned(),
            }),
            Ok(unknown()),
        ]),
        ..Peer::default()
    };
    let peer = run(peer, async |handle| {
        let doubtful = |state: &RunState| resize(state).act.needs_person();
        let past = until(&handle, doubtful).await;
        let acked = |event: &Event| matches!(event, Event::EffectAck { .. });
        assert_eq!(past.updates.iter().filter(|update| acked(&update.event)).count(), 1);
        let resume = Command::Resume {
            operator: "olga".to_owned(),
            host: "h".to_owned(),
            pid: 2,
            hold: None,
        };
        handle.tell(resume).await.unwrap();
        until(&handle, doubtful).await;
    });
    let looked = peer.looked.lock().unwrap();
    assert!(looked.len() > 2, "it was looked at again: {looked:?}");
    assert!(
        looked.iter().all(|(_, acked)| acked.is_none()),
        "no peer said so: {looked:?}"
    );
}
