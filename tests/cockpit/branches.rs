//! Branches side by side and the rare acts of a night: several gates, skipping, asking an effect to end, going forward,
//! handing over, a longer window, holds with an owner and an end, votes that were heard, a broken glass.

use chrono::TimeDelta;
use crossterm::event::KeyCode;
use pointsman::frontend::tui::model::{Modal, Row};
use pointsman::run::event::{OutcomeResult, Subject};
use pointsman::run::state::{RequestStatus, Stage};

use crate::night::{Night, id};

/// Both branches wait at their gates.
fn at_two_gates(environment: &str) -> Night {
    let mut night = Night::of_branches(environment);
    while !matches!(night.stage("orders"), Stage::AtGate(_)) || !matches!(night.stage("accounts"), Stage::AtGate(_)) {
        night.answer(OutcomeResult::Done);
    }
    night
}

/// Both effects run.
fn both_run() -> Night {
    let mut night = at_two_gates("lab");
    night.keys("ay");
    night.keys("a");
    night.line("orders");
    night.execute("accounts");
    night.execute("orders");
    night
}

/// The new side is open, and telling everybody failed.
fn failed_beyond() -> Night {
    let mut night = both_run();
    while night.stage("tell") != Stage::Running {
        if night.work.is_empty() {
            night.play_on();
        } else {
            night.answer(OutcomeResult::Done);
        }
    }
    night.answer_of("tell", OutcomeResult::Failed);
    assert_eq!(night.stage("tell"), Stage::Failed);
    night
}

#[test]
fn several_gates_are_counted_and_answered_one_after_another() {
    let mut night = at_two_gates("lab");
    night.snapshot("two_gates");
    assert_eq!(night.model.selected, Row::Step(1), "the selection goes to what asks");
    night.keys("ay");
    assert_eq!(night.stage("accounts"), Stage::Approved(first(&night, "accounts")));
    assert!(
        night.status().contains("a looks at the next gate: 3 Move the orders"),
        "{}",
        night.status()
    );
    assert_eq!(night.model.selected, Row::Step(2), "and on to the next that asks");
    night.keys("a");
    assert!(matches!(&night.model.modal, Some(Modal::Gate { request, .. }) if *request == first(&night, "orders")));
}

fn first(night: &Night, step: &str) -> pointsman::run::facts::RequestId {
    let mut requests = night.state.requests.values();
    requests.find(|request| request.step == Some(id(step))).unwrap().id
}

#[test]
fn keys_act_on_the_selected_gate_and_tab_goes_to_the_other() {
    let mut night = at_two_gates("lab");
    night.select("orders");
    night.keys("a");
    assert!(matches!(&night.model.modal, Some(Modal::Gate { request, .. }) if *request == first(&night, "orders")));
    night.key(KeyCode::Tab);
    assert!(matches!(&night.model.modal, Some(Modal::Gate { request, .. }) if *request == first(&night, "accounts")));
    night.key(KeyCode::Esc);
    night.select("report");
    night.keys("x");
    assert!(
        matches!(&night.model.modal, Some(Modal::Reject { request, .. }) if *request == first(&night, "accounts")),
        "a row without a gate: the first"
    );
}

#[test]
fn running_effects_are_named_and_one_is_asked_to_end() {
    let mut night = both_run();
    night.snapshot("two_run");
    night.model.follow = false;
    night.model.selected = Row::Phase(0);
    night.keys("c");
    assert!(night.status().contains("select the one to end"), "{}", night.status());
    night.select("orders");
    night.keys("c");
    night.snapshot("cancel");
    night.key(KeyCode::Enter);
    assert!(night.model.modal.is_some(), "Enter confirms nothing");
    night.keys("y");
    assert!(night.status().contains("its outcome tells"), "{}", night.status());
    assert_eq!(night.stage("orders"), Stage::Running, "it promised nothing");
    night.answer_of("orders", OutcomeResult::Failed);
    assert_eq!(night.stage("orders"), Stage::Failed);
    assert_eq!(night.stage("accounts"), Stage::Running);
    night.snapshot("failed_beside");
    night.keys("d");
    night.answer_of("accounts", OutcomeResult::Failed);
    assert!(matches!(&night.model.modal, Some(Modal::Failure { step, .. }) if *step == id("orders")));
    night.key(KeyCode::Tab);
    assert!(matches!(&night.model.modal, Some(Modal::Failure { step, .. }) if *step == id("accounts")));
    night.snapshot("two_failures");
}

#[test]
fn a_step_is_skipped_with_a_reason_and_under_its_own_gate() {
    let mut night = at_two_gates("lab");
    night.select("accounts");
    night.keys("s");
    night.snapshot("skip");
    night.key(KeyCode::Enter);
    assert!(night.model.modal.is_some(), "it needs words");
    night.line("the accounts stay with the old house");
    let asked = night
        .state
        .open_requests()
        .find(|request| request.subject == Subject::Skip)
        .unwrap();
    assert_eq!(asked.step, Some(id("accounts")));
    night.select("accounts");
    night.keys("s");
    assert!(night.status().contains("is asked already"), "{}", night.status());
    night.keys("a");
    night.snapshot("skip_gate");
    night.line("skip accounts");
    assert_eq!(night.stage("accounts"), Stage::Skipped);
    night.select("accounts");
    night.snapshot("skipped_tree");
    night.key(KeyCode::Tab);
    night.snapshot("skipped_step");
    night.key(KeyCode::BackTab);
    night.select("report");
    let screen = night.screen(120, 40);
    assert!(
        screen.contains("It needs 2 Move the accounts, which was SKIPPED"),
        "{screen}"
    );
    night.keys("S");
    let screen = night.screen(120, 40);
    assert!(screen.contains("1 of 7 done, 1 SKIPPED, 0 rolled back"), "{screen}");
    assert!(screen.contains("the accounts stay with the old house"), "{screen}");
}

#[test]
fn a_failure_offers_to_skip_and_beyond_no_return_to_go_forward() {
    let mut night = failed_beyond();
    night.keys("d");
    night.key(KeyCode::Down);
    night.snapshot("failure_skip");
    night.key(KeyCode::Down);
    night.snapshot("failure_forward");
    night.keys("y");
    assert_eq!(night.stage("repair"), Stage::Checking);
    night.answer_of("repair", OutcomeResult::Done);
    assert_eq!(night.model.selected, Row::Step(5), "the failure still asks first");
    night.select("repair");
    night.keys("ay");
    assert!(
        matches!(night.stage("repair"), Stage::Approved(_)),
        "{}",
        night.status()
    );
}

#[test]
fn every_stuck_undo_can_be_decided_about() {
    let mut night = both_run();
    while !night.work.is_empty() {
        night.answer(OutcomeResult::Done);
        if matches!(night.stage("open"), Stage::AtGate(_)) {
            break;
        }
    }
    night.keys("u");
    night.keys("y");
    night.answer(OutcomeResult::Done);
    night.play_on();
    night.answer(OutcomeResult::Failed);
    night.answer(OutcomeResult::Failed);
    assert_eq!(night.state.stuck.len(), 2, "both undos ran side by side");
    night.snapshot("hands_needed");
    night.select("accounts");
    night.keys("d");
    night.snapshot("stuck");
    night.key(KeyCode::Down);
    night.keys("y");
    night.line("deleted by hand, counted 0");
    assert_eq!(night.state.stuck.len(), 1);
    night.keys("d");
    assert!(matches!(&night.model.modal, Some(Modal::Failure { step, .. }) if *step == id("orders")));
    night.keys("y");
    assert!(night.state.stuck.is_empty());
}

#[test]
fn the_seat_is_offered_and_taken_by_typed_ids() {
    let mut night = at_two_gates("lab");
    night.keys("o");
    night.snapshot("offer_seat");
    night.line("bruno");
    night.line("bruno");
    assert!(night.state.seat_offered.is_none(), "the operator confirms");
    night.key(KeyCode::Backspace);
    for _ in 0..5 {
        night.key(KeyCode::Backspace);
    }
    night.line("olga");
    assert_eq!(night.state.seat_offered.as_deref(), Some("bruno"));
    night.keys("o");
    night.snapshot("seat");
    night.keys("y");
    night.line("alice");
    assert_eq!(night.state.operator, "olga", "nobody else takes it");
    for _ in 0..5 {
        night.key(KeyCode::Backspace);
    }
    night.line("bruno");
    assert_eq!(night.state.operator, "bruno");
    assert_eq!(night.model.session.operator, "bruno");
}

#[test]
fn a_hold_has_an_owner_and_an_end_and_says_when_it_is_overdue() {
    let mut night = at_two_gates("lab");
    night.keys("h");
    night.line("the bridge is down");
    night.line("bruno");
    night.line("tomorrow");
    assert!(night.state.hold.is_none(), "that is no time");
    night.key(KeyCode::Esc);
    night.keys("h");
    night.line("the bridge is down");
    night.line("bruno");
    night.snapshot("hold_until");
    night.line("19:10");
    let hold = night.state.hold.clone().unwrap();
    assert_eq!(hold.owner.as_deref(), Some("bruno"));
    let began: chrono::DateTime<chrono::Utc> = "2026-12-05T22:10:00Z".parse().unwrap();
    assert_eq!(hold.until_ms, Some(began.timestamp_millis()));
    night.keys("a");
    assert!(night.model.modal.is_none());
    assert!(night.status().contains("the run is held"), "{}", night.status());
    night.wait(30);
    night.snapshot("held_overdue");
}

#[test]
fn a_window_that_is_over_is_loud_and_is_extended_under_its_gate() {
    let mut night = at_two_gates("lab");
    night.now += TimeDelta::hours(4);
    night.wait(1);
    assert!(night.state.window_over && night.state.hold.is_some());
    night.snapshot("window_over");
    night.keys("w");
    night.line("22:00");
    assert!(matches!(&night.model.modal, Some(Modal::Reason { answers, .. }) if answers.len() == 1));
    night.snapshot("extend");
    night.line("the copy takes longer");
    let asked = night
        .state
        .open_requests()
        .find(|request| request.subject == Subject::Window)
        .unwrap();
    assert!(asked.closes_ms > night.state.window_closes_ms);
    night.keys("w");
    assert!(night.status().contains("asked for already"), "{}", night.status());
    night.model.follow = false;
    night.model.selected = Row::Phase(0);
    night.keys("a");
    night.snapshot("window_gate");
    night.line("extend");
    assert!(!night.state.window_over);
    assert!(!night.screen(80, 24).contains("WINDOW OVER"));
}

#[test]
fn without_a_window_w_says_why_it_does_nothing() {
    let mut night = Night::begin();
    night.keys("w");
    assert!(night.status().contains("no window"), "{}", night.status());
    night.keys("c");
    assert!(night.status().contains("no effect is running"), "{}", night.status());
    night.keys("C");
    assert!(
        night.status().contains("nothing waits for a second signature"),
        "{}",
        night.status()
    );
    night.keys("z");
    assert!(night.status().contains("z does nothing here"), "{}", night.status());
    night.keys("d");
    assert!(night.status().contains("nothing failed"), "{}", night.status());
}

#[test]
fn a_vote_that_was_heard_is_marked_until_its_voter_signs() {
    let mut night = at_two_gates("lab");
    night.select("orders");
    night.keys("a");
    night.ctrl('t');
    night.snapshot("gate_heard");
    night.line("orders");
    let request = night.state.requests[&first(&night, "orders")].clone();
    let vote = request.votes.first().unwrap();
    assert_eq!(vote.attested_by.as_deref(), Some("olga"));
    let voter = vote.person.clone();
    night.select("orders");
    night.snapshot("unsigned");
    night.keys("C");
    night.snapshot("countersign");
    night.line("carl");
    assert!(night.model.modal.is_some(), "nobody else signs");
    for _ in 0..4 {
        night.key(KeyCode::Backspace);
    }
    night.line(&voter);
    assert_eq!(night.state.requests[&request.id].countersigned, [voter]);
    assert!(!night.screen(80, 24).contains("UNSIGNED"));
}

#[test]
fn a_point_of_no_return_takes_no_voice_and_no_broken_glass() {
    let mut night = both_run();
    while !matches!(night.stage("open"), Stage::AtGate(_)) {
        night.answer(OutcomeResult::Done);
    }
    night.keys("a");
    let before = night.model.modal.clone();
    night.ctrl('t');
    assert_eq!(night.model.modal, before);
    assert!(night.status().contains("point of no return"), "{}", night.status());
    night.ctrl('g');
    assert_eq!(night.model.modal, before);
    let footer = night.screen(80, 24);
    assert!(
        !footer.contains("Ctrl-t") && !footer.contains("BREAK GLASS"),
        "{footer}"
    );
}

#[test]
fn a_broken_glass_needs_its_reason_and_stays_red() {
    let mut night = at_two_gates("lab");
    night.keys("a");
    night.ctrl('g');
    night.snapshot("break_glass");
    night.line("too short");
    assert!(matches!(&night.model.modal, Some(Modal::Reason { answers, .. }) if answers.is_empty()));
    night.line(", but nobody of the bridge answers");
    night.snapshot("break_glass_who");
    night.line("alice");
    let request = night.state.requests[&first(&night, "accounts")].clone();
    assert_eq!(request.broken.as_ref().unwrap().person, "alice");
    assert_ne!(request.status, RequestStatus::Open);
    night.select("accounts");
    night.snapshot("glass_broken");
    night.key(KeyCode::Tab);
    night.snapshot("glass_broken_step");
    night.keys("S");
    let screen = night.screen(120, 40);
    assert!(screen.contains("GLASS BROKEN by alice"), "{screen}");
    night.key(KeyCode::Esc);
    night.keys("C");
    night.line("alice");
    assert!(night.model.modal.is_some(), "who broke it does not sign for it");
    for _ in 0..5 {
        night.key(KeyCode::Backspace);
    }
    night.line("bruno");
    assert_eq!(night.state.requests[&request.id].countersigned, ["bruno"]);
    let screen = night.screen(80, 24);
    assert!(
        screen.contains("GLASS BROKEN") && !screen.contains("UNSIGNED"),
        "{screen}"
    );
}

#[test]
fn outside_the_lab_only_its_role_breaks_the_glass() {
    let mut night = at_two_gates("rehearsal");
    night.keys("a");
    night.ctrl('g');
    night.line("nobody of the bridge answers");
    night.line("bruno");
    assert!(night.model.modal.is_some(), "bruno has not the role");
    for _ in 0..5 {
        night.key(KeyCode::Backspace);
    }
    night.line("alice");
    assert!(night.state.requests[&first(&night, "accounts")].broken.is_some());
}

#[test]
fn a_deadline_that_passed_is_loud() {
    let mut night = at_two_gates("lab");
    night.wait(61);
    assert!(night.state.overdue.contains(&id("accounts")));
    night.select("accounts");
    night.snapshot("overdue");
    night.keys(" ");
    let screen = night.screen(80, 24);
    assert!(screen.contains("! 1/7"), "folded, it is not overlooked: {screen}");
    night.keys(" f");
    assert_eq!(night.model.selected, Row::Step(1), "follow goes at once to what asks");
}

#[test]
fn without_colour_every_alarm_stays() {
    let mut night = at_two_gates("lab");
    night.wait(61);
    let colored = night.screen(80, 24);
    night.model.theme = pointsman::frontend::tui::theme::Theme { color: false };
    assert_eq!(colored, night.screen(80, 24));
    assert!(colored.contains("OVERDUE 2"), "{colored}");
}

#[test]
fn a_failed_step_that_is_to_be_skipped_shows_the_way_to_its_gate() {
    let mut night = failed_beyond();
    night.keys("d");
    night.key(KeyCode::Down);
    night.keys("y");
    night.line("they were told by telephone");
    night.snapshot("failed_skip_asked");
    night.keys("d");
    night.key(KeyCode::Down);
    let screen = night.screen(80, 24);
    assert!(screen.contains("skip… (not possible)"), "{screen}");
    night.key(KeyCode::Esc);
    night.keys("a");
    night.line("skip tell");
    assert_eq!(night.stage("tell"), Stage::Skipped);
    assert!(
        night
            .state
            .open_requests()
            .any(|request| request.subject == Subject::Commit),
        "the run goes on to its commit"
    );
}

#[test]
fn the_chosen_line_is_in_sight_under_a_long_reason_and_every_alarm() {
    let mut night = failed_beyond();
    night.now += TimeDelta::hours(5);
    night.wait(1);
    let screen = night.screen(80, 24);
    assert!(screen.contains("✘ FAILED 6 - d decides"), "held, and yet: {screen}");
    let step = std::sync::Arc::make_mut(night.model.follower.state.steps.get_mut(5).unwrap());
    step.reason = Some("the peer said a great deal about it. ".repeat(9));
    night.keys("d");
    for choice in ["retry", "skip…", "go forward", "hold…", "roll back…", "stop the run"] {
        for (columns, rows) in [(80, 24), (60, 16)] {
            let screen = night.screen(columns, rows);
            assert!(
                screen.contains(&format!("▸ {choice}")),
                "{choice} at {columns}×{rows}:\n{screen}"
            );
        }
        night.key(KeyCode::Down);
    }
}

#[test]
fn no_key_means_two_things_in_one_place() {
    use pointsman::frontend::tui::keymap::BINDINGS;
    for (index, one) in BINDINGS.iter().enumerate() {
        for other in BINDINGS.iter().skip(index + 1) {
            let together = one.contexts.iter().any(|context| other.contexts.contains(context));
            let same = one.keys.iter().any(|key| other.keys.contains(key));
            assert!(!(together && same), "{:?} and {:?}", one.act, other.act);
        }
    }
}
