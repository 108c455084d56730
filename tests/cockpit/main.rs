//! The cockpit, pane by pane and modal by modal: keys go through the keymap, messages through `update`, the screen is a
//! snapshot at 80×24 and 120×40. The run behind it is the pure state machine over the shipped quickstart; clock and ids
//! are fixed.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod amended;
mod autopilot;
mod branches;
mod night;
mod polls;
mod preflight;

use crossterm::event::KeyCode;
use pointsman::engine::handle::Feed;
use pointsman::frontend::tui::theme::Theme;
use pointsman::frontend::tui::{Action, Msg};
use pointsman::provider::action::Progress;
use pointsman::run::Command;
use pointsman::run::event::{OutcomeResult, Role};
use pointsman::run::state::Stage;

use night::{Night, id};

#[test]
fn the_panes() {
    let mut night = Night::begin();
    night.play_until_gate_of("freeze");
    night.snapshot("tree");
    night.key(KeyCode::Tab);
    night.snapshot("step");
    night.key(KeyCode::Tab);
    night.snapshot("output");
}

#[test]
fn a_window_puts_the_forecast_and_the_last_safe_rollback_into_the_header() {
    let mut night = Night::begin_in_a_window();
    night.play_until_gate_of("freeze");
    night.snapshot("window");
    let header = |night: &mut Night| -> Vec<String> {
        let screen = night.screen(80, 24);
        screen
            .lines()
            .skip(1)
            .take(2)
            .map(|line| line.trim_matches('"').trim_end().to_owned())
            .collect()
    };
    night.play_until_gate_of("flip");
    for (minutes, words) in [
        (200, "PM"),
        (225, "SOON"),
        (235, "LAST CALL"),
        (239, "PASSED"),
        (250, "PASSED"),
    ] {
        night.now = "2026-12-05T22:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap()
            + chrono::TimeDelta::minutes(minutes);
        let lines = header(&mut night);
        assert!(
            lines[0].starts_with("window ") && lines[0].contains("downtime "),
            "{lines:?}"
        );
        assert!(lines[1].starts_with("last safe rollback about "), "{lines:?}");
        assert!(lines.iter().all(|line| !line.contains('…')), "cut: {lines:?}");
        assert_eq!(lines[1].contains(words), words != "PM", "{lines:?}");
        assert_eq!(lines[0].contains("OVER by"), minutes > 240, "{lines:?}");
    }
}

#[test]
fn a_gate_with_a_phrase_is_approved_by_the_phrase_alone() {
    let mut night = Night::begin();
    night.play_until_gate_of("freeze");
    night.keys("a");
    night.snapshot("gate_phrase");
    night.keys("frieze");
    night.key(KeyCode::Enter);
    assert!(
        matches!(night.stage("freeze"), Stage::AtGate(_)),
        "a wrong phrase approves nothing"
    );
    for _ in 0..6 {
        night.key(KeyCode::Backspace);
    }
    night.keys("freeze");
    night.key(KeyCode::Enter);
    assert!(!matches!(night.stage("freeze"), Stage::AtGate(_)));
}

#[test]
fn enter_never_executes_and_approving_is_never_one_key() {
    let mut night = Night::begin();
    night.play_until_gate_of("snapshot");
    for code in [KeyCode::Enter, KeyCode::Char('y'), KeyCode::Char(' '), KeyCode::Tab] {
        night.key(code);
        assert!(matches!(night.stage("snapshot"), Stage::AtGate(_)), "{code:?}");
    }
    night.key(KeyCode::Esc);
    night.keys("a");
    night.key(KeyCode::Enter);
    assert!(
        matches!(night.stage("snapshot"), Stage::AtGate(_)),
        "Enter in the gate's window"
    );
    night.keys("y");
    assert!(!matches!(night.stage("snapshot"), Stage::AtGate(_)));
}

#[test]
fn a_pasted_phrase_with_a_line_feed_does_not_submit_itself() {
    let mut night = Night::begin();
    night.play_until_gate_of("freeze");
    night.keys("a");
    night.hear(Msg::Paste("freeze\n".to_owned()));
    assert!(matches!(night.stage("freeze"), Stage::AtGate(_)));
}

#[test]
fn the_point_of_no_return_says_so_and_needs_two() {
    let mut night = Night::begin();
    night.play_until_gate_of("flip");
    night.keys("a");
    night.snapshot("gate_no_return");
    night.keys("no return");
    night.key(KeyCode::Enter);
    assert!(matches!(night.stage("flip"), Stage::AtGate(_)), "one of two");
    night.play_on();
    assert!(!matches!(night.stage("flip"), Stage::AtGate(_)));
}

#[test]
fn a_gate_is_rejected_with_a_reason_only() {
    let mut night = Night::begin();
    night.play_until_gate_of("freeze");
    night.keys("x");
    night.key(KeyCode::Enter);
    assert!(
        matches!(night.stage("freeze"), Stage::AtGate(_)),
        "a rejection needs words"
    );
    night.keys("not yet");
    night.snapshot("reject");
    night.key(KeyCode::Enter);
    assert!(!matches!(night.stage("freeze"), Stage::AtGate(_)));
}

#[test]
fn a_failure_offers_its_choices() {
    let mut night = Night::begin();
    night.play_until_gate_of("freeze");
    night.play_on();
    night.answer(OutcomeResult::Done);
    night.answer(OutcomeResult::Failed);
    assert_eq!(night.stage("freeze"), Stage::Failed);
    if night.model.modal.is_none() {
        night.keys("d");
    }
    night.snapshot("failure");
    night.keys("y");
    assert_ne!(night.stage("freeze"), Stage::Failed, "the first choice tries again");
}

#[test]
fn a_doubt_asks_a_person_for_words() {
    let mut night = Night::begin();
    night.play_until_gate_of("freeze");
    night.play_on();
    night.answer(OutcomeResult::Done);
    night.answer(OutcomeResult::InDoubt);
    night.answer(OutcomeResult::InDoubt);
    assert_eq!(night.stage("freeze"), Stage::InDoubt);
    if night.model.modal.is_none() {
        night.keys("d");
    }
    night.snapshot("doubt");
    night.keys("y");
    night.key(KeyCode::Enter);
    assert_eq!(night.stage("freeze"), Stage::InDoubt, "a decision needs words");
    night.keys("the triggers are there");
    night.key(KeyCode::Enter);
    assert_ne!(night.stage("freeze"), Stage::InDoubt);
}

#[test]
fn a_rollback_shows_its_order_before_it_is_asked_for_and_its_gate_before_it_is_done() {
    let mut night = Night::begin();
    night.play_until_gate_of("flip");
    night.keys("u");
    night.snapshot("rollback_preview");
    night.keys("y");
    night.answer(OutcomeResult::Done);
    assert!(night.state.unwind.is_some());
    night.keys("a");
    night.snapshot("rollback_gate");
    night.keys("roll back");
    night.key(KeyCode::Enter);
    for _ in 0..200 {
        if night.state.is_closed() {
            break;
        }
        night.play_on();
    }
    assert!(night.state.is_closed());
    assert_eq!(night.stage("freeze"), Stage::RolledBack);
    night.snapshot("rolled_back_summary");
}

#[test]
fn a_hold_and_a_note_take_words_and_reach_the_engine() {
    let mut night = Night::begin();
    night.keys("h");
    night.snapshot("hold");
    night.line("the bridge is down");
    night.line("");
    night.line("");
    let hold = night.state.hold.clone().unwrap();
    assert_eq!(hold.reason, "the bridge is down");
    assert_eq!((hold.owner, hold.until_ms), (None, None), "the operator, open-ended");
    night.snapshot("held");
    night.keys("n");
    night.keys("aha: q and y are letters here");
    night.key(KeyCode::Enter);
    assert_eq!(night.asked, [Action::Note("aha: q and y are letters here".to_owned())]);
    night.keys("r");
    assert!(night.state.hold.is_none());
}

#[test]
fn leaving_asks_and_holding_keeps_the_run() {
    let mut night = Night::begin();
    night.keys("q");
    night.snapshot("leave");
    night.keys("y");
    let quit = night.asked.iter().find_map(|action| match action {
        Action::Quit { exit, .. } => Some(*exit),
        _ => None,
    });
    assert_eq!(quit, Some(3));
    assert!(!night.state.is_closed());
}

#[test]
fn a_run_that_ends_under_a_window_shows_its_summary() {
    let mut night = Night::begin();
    night.play_until_gate_of("flip");
    while !night.state.is_closed() {
        if night.model.modal.is_none() && night.state.open_requests().next().is_none() {
            night.keys("q");
        }
        if night.model.modal.is_some() && night.work.is_empty() {
            night.key(KeyCode::Esc);
        }
        night.play_on();
    }
    assert!(night.screen(80, 24).contains("committed, exit 0"));
    night.keys("q");
    assert!(
        matches!(night.asked.as_slice(), [Action::Quit { exit: 0, .. }]),
        "{:?}",
        night.asked
    );
}

#[test]
fn help_is_made_from_the_keymap() {
    let mut night = Night::begin();
    night.keys("?");
    night.snapshot("help");
    night.key(KeyCode::Esc);
    assert!(night.model.modal.is_none());
}

#[test]
fn progress_and_output_are_shown_never_obeyed() {
    let mut night = Night::begin();
    night.play_until_gate_of("snapshot");
    night.play_on();
    let lines = [
        Progress::Line("\u{1b}]52;c;ZXZpbA==\u{7}\u{1b}[2Jgone\rback \u{202e}txt".to_owned()),
        Progress::Share {
            done: 0.4,
            text: "creating, 40 %".to_owned(),
        },
    ];
    for progress in lines {
        let step = id("snapshot");
        night.hear(Msg::Feed(Feed::Progress { step, progress }));
    }
    night.key(KeyCode::Tab);
    night.key(KeyCode::Tab);
    let screen = night.screen(120, 40);
    assert!(!screen.contains('\u{1b}') && !screen.contains('\u{202e}') && !screen.contains('\u{7}'));
    assert!(screen.contains("\\e]52"), "{screen}");
    night.snapshot("progress");
}

#[test]
fn what_comes_again_and_again_is_counted_in_its_line() {
    let mut night = Night::begin();
    night.play_until_gate_of("dms_start");
    while !matches!(night.stage("caught_up"), Stage::Running) {
        night.play_on();
    }
    let step = id("caught_up");
    for part in 0..3 {
        night.tell(Command::Kept {
            role: Role::Do,
            step: step.clone(),
            attempt: 1,
            kept: part.into(),
        });
    }
    night.key(KeyCode::Tab);
    night.key(KeyCode::Tab);
    let screen = night.screen(120, 40);
    assert!(screen.contains("kept for a resume (×3)"), "{screen}");
    assert_eq!(screen.matches("kept for a resume").count(), 1, "{screen}");
}

#[test]
fn the_parts_of_what_runs_are_live_in_the_steps_pane_and_gone_with_it() {
    let mut night = Night::begin();
    night.play_until_gate_of("dms_start");
    while !matches!(night.stage("caught_up"), Stage::Running) {
        night.play_on();
    }
    for rows in ["12", "7000"] {
        let progress = Progress::Board {
            done: 0.5,
            text: "full load 50 %".to_owned(),
            rows: vec![format!("erp.orders: {rows} rows\u{1b}[2J")],
        };
        let step = id("caught_up");
        night.hear(Msg::Feed(Feed::Progress { step, progress }));
    }
    night.select("caught_up");
    night.key(KeyCode::Tab);
    let screen = night.screen(120, 40);
    assert!(screen.contains("7000 rows") && !screen.contains("12 rows"), "{screen}");
    night.snapshot("live_parts");
    night.answer(OutcomeResult::Done);
    assert!(!night.screen(120, 40).contains("7000 rows"), "it is not live any more");
}

#[test]
fn a_board_shows_its_parts_and_says_how_many_more_there_are() {
    let mut night = Night::begin();
    night.play_until_gate_of("snapshot");
    night.play_on();
    let board = |parts: usize| Progress::Board {
        done: 0.4,
        text: "full load 40 %".to_owned(),
        rows: (1..=parts).map(|n| format!("erp.t{n}: Full load\u{1b}[2J")).collect(),
    };
    for parts in [3, 11] {
        let step = id("snapshot");
        let progress = board(parts);
        night.hear(Msg::Feed(Feed::Progress { step, progress }));
    }
    night.key(KeyCode::Tab);
    night.key(KeyCode::Tab);
    let screen = night.screen(120, 40);
    assert!(!screen.contains('\u{1b}'));
    assert!(
        screen.contains("erp.t8: Full load") && !screen.contains("erp.t9"),
        "{screen}"
    );
    assert!(screen.contains("and 3 more"), "{screen}");
    night.snapshot("board");
}

#[test]
fn a_small_terminal_says_so_and_recovers() {
    let mut night = Night::begin();
    assert!(night.screen(40, 10).contains("terminal too small"));
    assert!(night.screen(60, 16).contains("Go or no go"));
    assert!(night.screen(200, 60).contains("Go or no go"));
}

#[test]
fn without_colour_every_word_stays() {
    let mut night = Night::begin();
    night.play_until_gate_of("freeze");
    let colored = night.screen(120, 40);
    night.model.theme = Theme { color: false };
    assert_eq!(colored, night.screen(120, 40));
}

#[test]
fn a_halted_journal_is_loud() {
    let mut night = Night::begin();
    night.hear(Msg::Feed(Feed::Halted("no space left on device".to_owned())));
    let screen = night.screen(80, 24);
    assert!(screen.contains("no space left on device"), "{screen}");
    night.keys("a");
    assert!(night.model.modal.is_none(), "nothing can be approved any more");
}
