//! What a headless run does with branches side by side: approves each gate, and does not leave while an effect has no
//! outcome. Over the same night as the cockpit, without its keys.

use std::io::Write;
use std::sync::{Arc, Mutex};

use pointsman::engine::handle::Update;
use pointsman::frontend::headless::{Autopilot, Format, Next, Printer};
use pointsman::run::event::{Decision, Event, OutcomeResult, Role};
use pointsman::run::facts::RequestId;
use pointsman::run::state::Stage;
use pointsman::run::{Command, apply};

use crate::night::{Night, id};

fn begun(approve_all: bool, roll_back_at: Option<&str>) -> (Night, Autopilot) {
    let script = roll_back_at.map(|step| (id(step), None));
    (Night::of_branches("lab"), Autopilot::new("olga", approve_all, script))
}

/// Does what the autopilot says until it waits or ends.
fn follow(night: &mut Night, autopilot: &mut Autopilot) -> Next {
    loop {
        match autopilot.next(&night.state) {
            Next::Tell(command) => {
                night.tell(command.clone());
                night.settle();
                autopilot.told(&command);
            }
            next @ (Next::Wait | Next::End { .. }) => return next,
        }
    }
}

fn is_end(next: &Next, code: u8) -> bool {
    matches!(next, Next::End { exit, .. } if *exit == code)
}

#[test]
fn every_open_gate_is_approved_to_the_end() {
    let (mut night, mut autopilot) = begun(true, None);
    for _ in 0..200 {
        if is_end(&follow(&mut night, &mut autopilot), 0) {
            break;
        }
        night.answer(OutcomeResult::Done);
    }
    assert!(night.state.is_closed());
    assert_eq!(night.refused, Vec::<String>::new());
}

#[test]
fn a_failure_waits_for_what_runs_beside_it() {
    let (mut night, mut autopilot) = begun(true, None);
    while night.stage("accounts") != Stage::Running || night.stage("orders") != Stage::Running {
        follow(&mut night, &mut autopilot);
        let waits = ["accounts", "orders"]
            .into_iter()
            .find(|step| night.stage(step) != Stage::Running);
        match waits {
            Some(step) if night.stage("look") == Stage::Done => night.answer_of(step, OutcomeResult::Done),
            Some(_) | None => night.answer(OutcomeResult::Done),
        }
    }
    night.answer_of("accounts", OutcomeResult::Failed);
    assert_eq!(
        follow(&mut night, &mut autopilot),
        Next::Wait,
        "the other effect has no outcome yet"
    );
    night.answer_of("orders", OutcomeResult::Done);
    assert!(is_end(&follow(&mut night, &mut autopilot), 1));
    assert!(night.state.open_effects().next().is_none());
}

#[test]
fn a_gate_that_nobody_may_answer_ends_the_process_once_nothing_runs() {
    let (mut night, mut autopilot) = begun(false, None);
    while !matches!(night.stage("accounts"), Stage::AtGate(_)) {
        assert_eq!(follow(&mut night, &mut autopilot), Next::Wait);
        night.answer(OutcomeResult::Done);
    }
    assert!(is_end(&follow(&mut night, &mut autopilot), 3));
}

#[test]
fn a_hold_that_nobody_can_release_ends_the_process() {
    let (mut night, mut autopilot) = begun(true, None);
    night.tell(Command::Hold {
        reason: "the bridge is down".to_owned(),
        person: "olga".to_owned(),
        owner: None,
        until_ms: None,
    });
    let next = follow(&mut night, &mut autopilot);
    assert!(is_end(&next, 3), "{next:?}");
}

#[test]
fn a_scripted_rollback_begins_nothing_more_while_it_waits_for_what_runs() {
    let (mut night, mut autopilot) = begun(true, Some("report"));
    for _ in 0..200 {
        let next = follow(&mut night, &mut autopilot);
        if is_end(&next, 4) {
            break;
        }
        let first = night.stage("report") == Stage::Waiting && night.stage("accounts") != Stage::Waiting;
        let accounts_moves = first && night.stage("accounts") != Stage::Done;
        if accounts_moves {
            night.answer_of("accounts", OutcomeResult::Done);
        } else {
            night.answer(OutcomeResult::Done);
        }
    }
    assert!(night.state.is_closed());
    assert_eq!(night.stage("accounts"), Stage::RolledBack);
    assert_eq!(night.stage("open"), Stage::Waiting);
}

/// What was written, shared with the test.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_rare_acts_of_a_night_are_printed_with_the_step_that_they_are_about() {
    let mut night = Night::of_branches("lab");
    while !matches!(night.stage("accounts"), Stage::AtGate(_)) {
        night.answer(OutcomeResult::Done);
    }
    let first = night.state.open_requests().next().unwrap().id;
    let olga = || "olga".to_owned();
    let acts = [
        Command::BreakGlass {
            request: first,
            person: "alice".to_owned(),
            role: "break_glass".to_owned(),
            reason: "nobody of the bridge answers".to_owned(),
        },
        Command::Countersign {
            request: first,
            person: "bruno".to_owned(),
            role: "dba".to_owned(),
        },
        Command::Skip {
            step: id("report"),
            person: olga(),
            reason: "the report can wait".to_owned(),
        },
        Command::ExtendWindow {
            closes_ms: night.state.window_closes_ms.unwrap() + 3_600_000,
            person: olga(),
            reason: "the copy takes longer".to_owned(),
        },
        Command::OfferSeat {
            person: olga(),
            to: "bruno".to_owned(),
        },
        Command::TakeSeat {
            person: "bruno".to_owned(),
        },
        Command::Hold {
            reason: "the bridge is down".to_owned(),
            person: "bruno".to_owned(),
            owner: Some("alice".to_owned()),
            until_ms: Some(night.now.timestamp_millis() + 600_000),
        },
    ];
    for command in acts {
        night.tell(command);
    }
    let asked: Vec<RequestId> = night.state.open_requests().map(|request| request.id).collect();
    for request in asked {
        let open = night.state.requests[&request].clone();
        night.tell(Command::Vote {
            request,
            person: "bruno".to_owned(),
            role: "operator".to_owned(),
            decision: Decision::Approve,
            phrase: open.gate.phrase.clone(),
            comment: String::new(),
            attested_by: None,
        });
    }
    assert_eq!(night.refused, Vec::<String>::new());
    night.wait(300);
    let paper = Paper::default();
    let zone = night.model.session.zone;
    let mut printer = Printer::new(Box::new(paper.clone()), Format::Lines, false, zone);
    let mut state = night.fresh.clone();
    for update in &night.updates {
        state = apply(state, &update.event).unwrap();
        printer.event(&night.model.plan, &state, update).unwrap();
    }
    let written = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
    insta::assert_snapshot!("printed", written);
}

#[test]
fn parts_that_are_kept_are_told_in_hundreds() {
    let night = Night::of_branches("lab");
    let part = Update {
        seq: 1,
        at: night.now,
        event: Event::EffectKept {
            step: id("report"),
            attempt: 1,
            role: Role::Do,
            kept: 7.into(),
        },
    };
    let paper = Paper::default();
    let zone = night.model.session.zone;
    let mut printer = Printer::new(Box::new(paper.clone()), Format::Lines, false, zone);
    for _ in 0..201 {
        printer.event(&night.model.plan, &night.state, &part).unwrap();
    }
    let written = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<&str> = written.lines().collect();
    assert_eq!(lines.len(), 3, "{written}");
    for (line, end) in lines.iter().zip(["for a resume", "(100 so far)", "(200 so far)"]) {
        assert!(line.ends_with(end), "{line}");
    }
}
