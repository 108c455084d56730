//! The promises of the pure state machine, under random commands: it never panics, a replay gives the live state, and
//! no effect is begun without the gate that allowed it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod night;
mod table;

use std::collections::BTreeSet;

use pointsman::run::event::{CloseState, OutcomeResult, Role};
use pointsman::run::facts::{RequestId, StepId};
use pointsman::run::state::{Phase, Stage};
use pointsman::run::{Command, Event, RunState, apply};
use proptest::prelude::*;

use night::*;

#[test]
fn a_good_night_is_committed_and_its_closing_effect_runs_last() {
    let mut night = Night::begin();
    night.play_until("nothing");
    assert_eq!(
        night.state.phase,
        Phase::Closed {
            state: CloseState::Committed,
            exit: 0
        }
    );
    assert_eq!(roles_of(&night, Role::Close), ["lower_ttl"]);
    assert_eq!(roles_of(&night, Role::Undo), Vec::<String>::new());
}

#[test]
fn a_whole_unwinding_goes_in_reverse_and_ends_with_the_closing_effects() {
    let mut night = Night::begin();
    night.play_until("flip");
    assert!(night.tell(Command::Rollback {
        to: None,
        person: "olga".to_owned()
    }));
    night.play_until("nothing");
    assert_eq!(
        night.state.phase,
        Phase::Closed {
            state: CloseState::RolledBack,
            exit: 4
        }
    );
    assert_eq!(roles_of(&night, Role::Undo), ["freeze", "dms_start"]);
    assert_eq!(roles_of(&night, Role::Close), ["lower_ttl"]);
}

#[test]
fn beyond_the_point_of_no_return_the_unwinding_needs_its_quorum() {
    let mut night = Night::begin();
    for _ in 0..60 {
        night.settle();
        if matches!(night.state.phase, Phase::CommitGate(_)) {
            break;
        }
        match night.work.pop() {
            Some(work) => {
                night.answer(work, 0);
            }
            None => night.approve_all(),
        }
    }
    assert!(night.tell(Command::Rollback {
        to: None,
        person: "olga".to_owned()
    }));
    let work = night.work.pop().unwrap();
    night.answer(work, 7);
    let request = night.state.open_requests().next().unwrap().clone();
    assert!(!night.tell(vote(request.id, "olga", "operator", Some("roll back".to_owned()))));
    assert!(night.tell(vote(request.id, "ana", "approver", None)));
    assert!(!night.tell(vote(request.id, "ana", "approver", None)), "one vote each");
    assert!(roles_of(&night, Role::Undo).is_empty());
    night.play_until("nothing");
    assert_eq!(roles_of(&night, Role::Undo), ["flip", "freeze", "dms_start"]);
}

#[test]
fn that_the_target_was_written_outlives_the_undo_of_what_opened_it() {
    let mut night = Night::begin();
    night.play_until("flip");
    assert!(!night.state.target_written);
    while !matches!(night.state.phase, Phase::CommitGate(_)) {
        match night.work.pop() {
            Some(work) => {
                night.answer(work, 0);
            }
            None => night.approve_all(),
        }
        night.settle();
    }
    assert!(night.state.target_written);
    let person = || "olga".to_owned();
    assert!(night.tell(Command::Rollback {
        to: None,
        person: person()
    }));
    while roles_of(&night, Role::Undo).len() < 2 {
        match night.work.pop() {
            Some(work) => {
                night.answer(work, 0);
            }
            None => night.approve_all(),
        }
        night.settle();
    }
    assert_eq!(roles_of(&night, Role::Undo), ["flip", "freeze"]);
    // The process is killed with the flip undone and the rest still to do.
    assert!(night.tell(Command::Resume {
        operator: person(),
        host: "h".to_owned(),
        pid: 8
    }));
    night.settle();
    assert!(!night.state.past_no_return(), "what opened it is undone");
    assert!(night.state.target_written, "its rows are there all the same");
}

#[test]
fn after_a_partial_unwinding_the_run_goes_forward_with_new_attempts() {
    let mut night = Night::begin();
    night.play_until("flip");
    assert!(night.tell(Command::Rollback {
        to: Some(id("dms_start")),
        person: "olga".to_owned()
    }));
    for _ in 0..20 {
        night.settle();
        if night.state.hold.is_some() {
            break;
        }
        match night.work.pop() {
            Some(work) => {
                night.answer(work, 0);
            }
            None => night.approve_all(),
        }
    }
    assert!(night.tell(Command::Release {
        person: "olga".to_owned()
    }));
    night.play_until("nothing");
    assert_eq!(
        night.state.phase,
        Phase::Closed {
            state: CloseState::Committed,
            exit: 0
        }
    );
    assert_eq!(
        roles_of(&night, Role::Do),
        [
            "lower_ttl",
            "snapshot",
            "dms_start",
            "wait",
            "freeze",
            "wait",
            "freeze",
            "flip"
        ]
    );
    assert_eq!(night.state.step(&id("freeze")).unwrap().attempt, 2);
    assert_eq!(night.state.step(&id("dms_start")).unwrap().attempt, 1);
}

#[test]
fn an_expired_request_never_approves() {
    let mut night = Night::begin();
    night.play_until("freeze");
    let request = night.state.open_requests().next().unwrap().id;
    night.now += 10_000;
    assert!(!night.tell(vote(request, "olga", "operator", Some("freeze".to_owned()))));
    night.settle();
    assert!(night.state.hold.is_some());
    assert_eq!(night.state.step(&id("freeze")).unwrap().stage, Stage::Waiting);
}

#[test]
fn approvals_die_with_the_process() {
    let mut night = Night::begin();
    night.play_until("flip");
    let request = night.state.open_requests().next().unwrap().id;
    assert!(night.tell(vote(request, "ana", "approver", None)));
    night.work.clear();
    assert!(night.tell(Command::Resume {
        operator: "olga".to_owned(),
        host: "h".to_owned(),
        pid: 1
    }));
    assert!(!night.tell(vote(request, "bea", "approver", None)));
    night.play_until("flip");
    assert!(night.state.open_requests().next().unwrap().votes.is_empty());
}

#[test]
fn every_event_survives_its_record() {
    let mut night = Night::begin();
    night.play_until("flip");
    night.tell(Command::Rollback {
        to: None,
        person: "olga".to_owned(),
    });
    night.play_until("nothing");
    for event in &night.events {
        let text = serde_json::to_string(event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), *event);
    }
}

/// Checks what must hold of any list of events.
fn promises(events: &[Event]) {
    let mut granted: BTreeSet<RequestId> = BTreeSet::new();
    let mut spent: BTreeSet<RequestId> = BTreeSet::new();
    let mut open: BTreeSet<(StepId, Role)> = BTreeSet::new();
    for event in events {
        match event {
            Event::GateGranted { request } => {
                granted.insert(*request);
            }
            Event::GateVoided { request, .. } | Event::GateExpired { request } => {
                granted.remove(request);
            }
            Event::EffectIntent {
                step, role, request, ..
            } => {
                assert!(
                    granted.contains(request),
                    "{step} begins under a request that was not granted"
                );
                assert!(open.is_empty(), "{step} begins while {open:?} is under way");
                open.insert((step.clone(), *role));
                if *role == Role::Do {
                    assert!(spent.insert(*request), "one approval allowed {step} twice");
                }
            }
            Event::EffectOutcome {
                step,
                role,
                result,
                observed,
                ..
            } => {
                if *result != OutcomeResult::InDoubt || !*observed {
                    assert!(
                        open.contains(&(step.clone(), *role)),
                        "{step} ends without having begun"
                    );
                }
                if *result != OutcomeResult::InDoubt {
                    open.remove(&(step.clone(), *role));
                }
            }
            Event::EffectDecided { step, role, .. } => {
                open.remove(&(step.clone(), *role));
            }
            Event::RunClosed { exit, .. } => {
                assert!(open.is_empty() || *exit == 6 || *exit == 5, "closed with {open:?}")
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_commands_keep_every_promise(choices in proptest::collection::vec((0u8..24, 0u8..6, 0u8..6), 1..250)) {
        let mut night = Night::begin();
        let names = ["lower_ttl", "snapshot", "dms_start", "wait", "freeze", "flip", "unknown"];
        let people = [("olga", "operator"), ("ana", "approver"), ("bea", "approver"), ("eve", "approver")];
        for (choice, luck, pick) in choices {
            let step = id(names[usize::from(pick)]);
            let person = people[usize::from(pick) % people.len()];
            let request = RequestId(night.state.requests.len() as u64);
            match choice {
                0..=7 => night.settle(),
                8..=13 => {
                    if let Some(work) = night.work.pop() {
                        night.answer(work, luck.saturating_sub(2));
                    }
                }
                14 => { night.tell(vote(request, person.0, person.1, Some("freeze".to_owned()))); }
                15 => night.approve_if_allowed(),
                16 => { night.tell(Command::Retry { step }); }
                17 => { night.tell(Command::Rollback { to: (luck > 2).then_some(step), person: "olga".to_owned() }); }
                18 => { night.tell(Command::Hold { reason: "wait".to_owned(), person: "olga".to_owned() }); }
                19 => { night.tell(Command::Release { person: "olga".to_owned() }); }
                20 => {
                    night.work.clear();
                    night.tell(Command::Resume { operator: "olga".to_owned(), host: "h".to_owned(), pid: 2 });
                }
                21 => { night.tell(Command::Decide { step, done: luck > 2, person: "olga".to_owned(), reason: "seen".to_owned() }); }
                22 => { night.tell(Command::DoneByHand { step, person: "olga".to_owned(), reason: "seen".to_owned() }); }
                _ => {
                    night.now += 3_000;
                    if luck == 5 {
                        night.tell(Command::Stop { reason: "enough".to_owned(), person: "olga".to_owned() });
                    }
                }
            }
        }
        promises(&night.events);
        prop_assert!(!night.state.is_closed() || night.state.open_requests().next().is_none());
        let replayed = night.events.iter().fold(RunState::new(facts()), |state, event| apply(state, event).unwrap());
        prop_assert_eq!(replayed, night.state);
    }
}

impl Night {
    fn approve_if_allowed(&mut self) {
        if self.state.hold.is_none() && self.state.open_requests().all(|r| r.votes.is_empty()) {
            let late = self
                .state
                .open_requests()
                .any(|r| r.expires_ms.is_some_and(|at| self.now >= at));
            if !late {
                self.approve_all();
            }
        }
    }
}
