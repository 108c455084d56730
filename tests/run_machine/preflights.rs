//! A preflight before the first change: asked for once something would change, fresh, green, of this process and plan.

use pointsman::run::event::Role;
use pointsman::run::facts::Facts;
use pointsman::run::proof::{Counts, PREFLIGHT};
use pointsman::run::state::Stage;
use pointsman::run::{Command, Effect, Event};

use super::drafts::draft;
use super::night::{Night, id, roles_of, vote};
use super::states::looking;

const VALID: i64 = 60_000;

/// The look that is under way; nothing else is.
fn look(night: &mut Night) -> u32 {
    match night.work.as_slice() {
        [Effect::Preflight { number }] => {
            let number = *number;
            night.work.clear();
            number
        }
        other => panic!("a look is under way: {other:?}"),
    }
}

fn ended(number: u32, red: u32) -> Command {
    Command::Preflighted {
        number,
        counts: Counts {
            red,
            amber: 1,
            green: 3,
        },
        words: if red > 0 {
            vec!["✘ aws identity: wrong account".to_owned()]
        } else {
            Vec::new()
        },
    }
}

fn found(night: &mut Night, red: u32) {
    let number = look(night);
    assert!(night.tell(ended(number, red)));
    night.settle();
}

/// The check of the first step ends well: its gate is asked.
fn checked(night: &mut Night) {
    let at = night.work.iter().position(|work| matches!(work, Effect::Check { .. }));
    let work = night.work.remove(at.unwrap());
    night.answer(work, 0);
    night.settle();
}

fn stage(night: &Night) -> Stage {
    night.state.step(&id("lower_ttl")).unwrap().stage
}

#[test]
fn nothing_that_changes_is_looked_at_before_a_green_preflight() {
    let mut night = looking(None);
    assert_eq!(stage(&night), Stage::Waiting);
    found(&mut night, 0);
    assert_eq!(stage(&night), Stage::Checking);
    night.play_until("nothing");
    let looks = night
        .events
        .iter()
        .filter(|event| matches!(event, Event::PreflightBegun { .. }));
    assert_eq!(looks.count(), 1, "once a change stands, nobody asks any more");
}

#[test]
fn what_is_red_holds_the_run_and_a_release_looks_again() {
    let mut night = looking(None);
    found(&mut night, 2);
    let hold = night.state.hold.clone().unwrap();
    assert_eq!(hold.person, PREFLIGHT);
    assert!(
        hold.reason.contains("2 red") && hold.reason.contains("wrong account"),
        "{}",
        hold.reason
    );
    assert_eq!(stage(&night), Stage::Waiting);
    assert!(night.tell(Command::Release {
        person: "olga".to_owned()
    }));
    night.settle();
    assert_eq!(stage(&night), Stage::Waiting, "the old answer counts no more");
    found(&mut night, 0);
    assert_eq!(stage(&night), Stage::Checking);
}

#[test]
fn a_proof_is_made_anew_while_the_gate_is_open_and_a_stale_one_voids_the_approval() {
    let mut night = looking(None);
    found(&mut night, 0);
    checked(&mut night);
    let request = night.state.open_requests().next().unwrap().id;
    night.now += VALID / 2;
    night.state.requests.get_mut(&request).unwrap().expires_ms = None;
    night.settle();
    let number = look(&mut night);
    // The look hangs, and the gate is approved meanwhile.
    night.now += VALID / 2;
    assert!(night.tell(vote(request, "olga", "operator", None)));
    let recheck = night.work.remove(0);
    night.answer(recheck, 0);
    assert_eq!(roles_of(&night, Role::Do), Vec::<String>::new());
    let void = night.events.iter().rev().find_map(|event| match event {
        Event::GateVoided { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert!(void.clone().unwrap().contains("older than the 60 s"), "{void:?}");
    // What was begun half the time ago is fresh, and the gate is asked anew.
    assert!(night.tell(ended(number, 0)));
    night.settle();
    assert_eq!(stage(&night), Stage::Checking);
    checked(&mut night);
    assert!(matches!(stage(&night), Stage::AtGate(again) if again != request));
}

#[test]
fn what_turns_red_while_the_gate_is_open_holds_the_run() {
    let mut night = looking(None);
    found(&mut night, 0);
    checked(&mut night);
    let request = night.state.open_requests().next().unwrap().id;
    night.state.requests.get_mut(&request).unwrap().expires_ms = None;
    night.now += VALID / 2;
    night.settle();
    found(&mut night, 1);
    assert_eq!(night.state.hold.as_ref().unwrap().person, PREFLIGHT);
    assert!(
        !night.tell(vote(request, "olga", "operator", None)),
        "nobody approves in a hold"
    );
    assert!(roles_of(&night, Role::Do).is_empty());
    night.tell(Command::Release {
        person: "olga".to_owned(),
    });
    night.settle();
    found(&mut night, 0);
    checked(&mut night);
    assert!(
        matches!(stage(&night), Stage::AtGate(again) if again != request),
        "asked anew"
    );
}

#[test]
fn a_proof_dies_with_the_process_and_with_the_plan_and_a_late_answer_is_not_heard() {
    let mut night = looking(None);
    let late = look(&mut night);
    assert!(night.tell(Command::Resume {
        operator: "olga".to_owned(),
        host: "h".to_owned(),
        pid: 7,
        hold: None
    }));
    night.settle();
    assert!(!night.tell(ended(late, 0)), "of the process that is gone");
    found(&mut night, 0);
    assert_eq!(stage(&night), Stage::Checking);

    night.work.clear();
    assert!(night.tell(Command::Hold {
        reason: "the plan is wrong".to_owned(),
        person: "olga".to_owned(),
        owner: None,
        until_ms: None
    }));
    let old = Facts::clone(&night.state.facts);
    let without = Facts {
        preflight_ms: None,
        ..old.clone()
    };
    assert!(night.ask_to_amend(draft("without", &old, without, None, false)));
    let asked = night.state.requests.keys().next_back().copied().unwrap();
    assert!(night.tell(vote(asked, "olga", "operator", Some("amend".to_owned()))));
    assert_eq!(night.state.preflight.proof, None);
    assert!(night.tell(Command::Release {
        person: "olga".to_owned()
    }));
    night.settle();
    assert_eq!(stage(&night), Stage::Checking, "nobody asks for a proof any more");
}

#[test]
fn a_clock_that_was_set_back_proves_nothing() {
    let mut night = looking(None);
    found(&mut night, 0);
    checked(&mut night);
    night.now -= 6_000;
    assert!(night.tell(Command::ClockWentBack));
    assert_eq!(night.state.preflight.proof, None, "it would live longer than it may");
    night.settle();
    assert_eq!(stage(&night), Stage::Waiting);
    let number = look(&mut night);
    // Nor does what was under way when it happened.
    assert!(night.tell(Command::ClockWentBack));
    assert!(!night.tell(ended(number, 0)));
}

#[test]
fn what_was_seen_before_a_change_was_taken_back_proves_nothing_of_the_next() {
    let mut night = looking(None);
    found(&mut night, 0);
    night.play_until("freeze");
    let to = Some(id("lower_ttl"));
    let person = || "olga".to_owned();
    assert!(night.tell(Command::Rollback { to, person: person() }));
    while night.state.hold.is_none() {
        match night.work.pop() {
            Some(work) => {
                night.answer(work, 0);
            }
            None => night.approve_all(),
        }
        night.settle();
    }
    assert_eq!(night.state.preflight.proof, None);
    assert!(!night.state.needs_proof(), "the first change stands");
    assert!(night.tell(Command::Release { person: person() }));
    night.play_until("nothing");
}
