//! The promises of the pure state machine, under random commands: it never panics, a replay gives the live state, and
//! no effect is begun without the gate that allowed it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod amended;
mod drafts;
mod model;
mod night;
mod polls;
mod preflights;
mod promises;
mod states;
mod table;

use pointsman::run::event::{CloseState, Role};
use pointsman::run::state::{Phase, Stage};
use pointsman::run::{Command, Event};

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
        pid: 8,
        hold: None
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
        pid: 1,
        hold: None
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
