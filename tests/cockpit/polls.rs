//! A poll in the cockpit: its table, who answers, go, no-go and abstaining by keys, heard answers, the help.

use crossterm::event::KeyCode;
use pointsman::frontend::headless::{Autopilot, Next};
use pointsman::frontend::tui::model::Modal;
use pointsman::run::event::{Decision, OutcomeResult};
use pointsman::run::poll::answers;
use pointsman::run::state::Stage;

use crate::night::Night;

fn asked(environment: &str) -> Night {
    let mut night = Night::of_poll(environment);
    while !matches!(night.stage("ready"), Stage::AtGate(_)) {
        night.answer(OutcomeResult::Done);
    }
    night
}

/// The answers that count: role, person, answer.
fn counting(night: &Night) -> Vec<(String, String, Decision)> {
    let request = night.state.requests.values().next().unwrap();
    let all = answers(request).into_iter();
    all.map(|(role, vote)| (role.to_owned(), vote.person.clone(), vote.decision))
        .collect()
}

#[test]
fn roles_answer_one_after_another_in_the_same_window() {
    let mut night = asked("lab");
    night.keys("a");
    night.snapshot("poll");
    night.keys("y");
    assert!(
        night.status().contains("sent: lead answered go for lead"),
        "{}",
        night.status()
    );
    night.keys("y");
    night.snapshot("poll_answered");
    night.keys("yy");
    assert!(matches!(night.stage("ready"), Stage::Approved(_)));
    assert!(night.model.modal.is_none(), "the window closes with the poll");
    let roles: Vec<String> = counting(&night).into_iter().map(|(role, _, _)| role).collect();
    assert_eq!(roles, ["business", "dba", "lead", "network"]);
    while night.stage("ready") != Stage::Done {
        night.answer(OutcomeResult::Done);
    }
    night.keys("S");
    let screen = night.screen(120, 40);
    assert!(
        screen.contains("✔ dba answered go at 1 Is everybody ready? as dba (lab persona)"),
        "{screen}"
    );
    assert_eq!(night.refused, Vec::<String>::new());
}

#[test]
fn a_no_go_asks_why_and_ends_the_run_that_says_so() {
    let mut night = asked("lab");
    night.keys("ay");
    night.keys("x");
    night.key(KeyCode::Enter);
    assert!(night.status().contains("say why"), "{}", night.status());
    night.keys("the copy is still running");
    night.snapshot("poll_no_go");
    night.key(KeyCode::Enter);
    assert!(night.state.is_closed(), "nothing stands, and the runbook says stop");
    night.snapshot("poll_stopped");
}

#[test]
fn keys_do_what_they_say_and_enter_answers_nothing() {
    let mut night = asked("staging");
    for code in [KeyCode::Char('y'), KeyCode::Char('b'), KeyCode::Enter] {
        night.key(code);
        night.key(KeyCode::Esc);
    }
    night.keys("a");
    night.key(KeyCode::Enter);
    assert!(counting(&night).is_empty(), "{:?}", counting(&night));
    night.keys("?");
    let help = night.screen(120, 200);
    for words in [
        "A poll",
        "says no-go for the role",
        "abstains for the role",
        "says go for the role",
    ] {
        assert!(help.contains(words), "{words}: {help}");
    }
    night.key(KeyCode::Esc);
    assert!(
        matches!(night.model.modal, Some(Modal::Gate { .. })),
        "back to the poll"
    );
    // The second offer for the dba is Bea: the list goes role by role.
    night.key(KeyCode::Down);
    night.key(KeyCode::Down);
    night.keys("y");
    assert_eq!(
        counting(&night),
        [("dba".to_owned(), "bea".to_owned(), Decision::Approve)]
    );
}

#[test]
fn who_answers_for_another_role_is_named_and_refused() {
    let mut night = asked("staging");
    night.keys("a");
    night.key(KeyCode::Down);
    night.keys("y");
    assert_eq!(counting(&night)[0].1, "ana", "for the dba");
    for _ in 0..8 {
        night.key(KeyCode::Up);
    }
    for _ in 0..3 {
        night.key(KeyCode::Down);
    }
    let screen = night.screen(80, 24);
    assert!(screen.contains("answers for network: ana"), "{screen}");
    night.snapshot("poll_two_roles");
    night.keys("y");
    assert_eq!(counting(&night).len(), 1);
    assert!(
        night.refused[0].contains("ana answers for dba already"),
        "{:?}",
        night.refused
    );
}

#[test]
fn an_abstention_that_was_heard_is_written_down_and_ends_what_needs_all() {
    let mut night = asked("staging");
    night.keys("a");
    night.key(KeyCode::Down);
    night.ctrl('t');
    night.snapshot("poll_heard");
    night.keys("b");
    let request = night.state.requests.values().next().unwrap();
    assert_eq!(request.votes[0].attested_by.as_deref(), Some("olga"));
    assert_eq!(night.stage("ready"), Stage::Failed, "four of four cannot be reached");
    night.snapshot("poll_unreachable");
}

#[test]
fn a_headless_run_says_go_for_every_role() {
    let mut night = asked("staging");
    let autopilot = Autopilot::new("lena", true, None);
    while let Next::Tell(command) = autopilot.next(&night.state) {
        night.tell(command);
        night.settle();
    }
    assert_eq!(night.refused, Vec::<String>::new());
    assert!(matches!(night.stage("ready"), Stage::Approved(_)));
    assert_eq!(counting(&night).len(), 4);
}
