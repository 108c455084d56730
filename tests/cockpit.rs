//! The cockpit, pane by pane and modal by modal: keys go through the keymap, messages through `update`, the screen is a
//! snapshot at 80×24 and 120×40. The run behind it is the pure state machine over the shipped quickstart; clock and ids
//! are fixed.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use pointsman::engine::facts::{Mode, facts_of};
use pointsman::engine::handle::{BriefedAction, Briefing, Feed, Refused, Update};
use pointsman::frontend::tui::keymap::{context, message};
use pointsman::frontend::tui::theme::Theme;
use pointsman::frontend::tui::update::update;
use pointsman::frontend::tui::view::view;
use pointsman::frontend::tui::{Action, LabLine, Model, Msg, Session};
use pointsman::projection::summary::NextCommands;
use pointsman::provider::action::Progress;
use pointsman::provider::registry::catalogue;
use pointsman::run::command::{Binding, Outcome};
use pointsman::run::event::{CheckResult, OutcomeResult, Role};
use pointsman::run::facts::StepId;
use pointsman::run::state::Stage;
use pointsman::run::{Command, Effect, RunState, apply, decide, effects};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::{Map, Value, json};

const QUICKSTART: &str = include_str!("../runbooks/quickstart.yaml");

fn id(step: &str) -> StepId {
    StepId(step.to_owned())
}

/// A night: the state machine, the cockpit, and a world that answers as it is told.
struct Night {
    model: Model,
    state: RunState,
    work: Vec<Effect>,
    now: DateTime<Utc>,
    seq: u64,
    /// What the cockpit asked for besides commands.
    asked: Vec<Action>,
    refused: Vec<String>,
}

impl Night {
    fn begin() -> Self {
        let now: DateTime<Utc> = "2026-12-05T22:00:00Z".parse().unwrap();
        let plan = Arc::new(pointsman::runbook::plan(QUICKSTART.as_bytes(), "lab", &catalogue(), now).unwrap());
        let state = RunState::new(Arc::new(facts_of(&plan, Mode::Real)));
        let session = Session {
            operator: "olga".to_owned(),
            run_id: "20261205-2200-7k2m".to_owned(),
            dry_run: false,
            lab: Some(LabLine {
                dns: "127.0.0.1:5353".to_owned(),
                aws: "http://127.0.0.1:4566".to_owned(),
                speed: 10.0,
                folder: "/lab".to_owned(),
            }),
            zone: chrono_tz::America::Sao_Paulo,
            next: NextCommands {
                resume: "pointsman resume 20261205-2200-7k2m".to_owned(),
                verify: "pointsman verify 20261205-2200-7k2m --require chain".to_owned(),
                report: "pointsman report 20261205-2200-7k2m".to_owned(),
            },
        };
        let model = Model::new(plan, session, Theme { color: true }, state.clone(), now);
        let mut night = Self {
            model,
            state,
            work: Vec::new(),
            now,
            seq: 0,
            asked: Vec::new(),
            refused: Vec::new(),
        };
        let data = Map::new();
        let operator = "olga".to_owned();
        night.tell(Command::Open { data, operator });
        night.settle();
        night
    }

    fn tell(&mut self, command: Command) {
        let result = match decide(&self.state, &command, self.now.timestamp_millis()) {
            Err(refused) => Err(Refused::Rejected(refused.to_string())),
            Ok(events) => {
                for event in events {
                    self.state = apply(self.state.clone(), &event).unwrap();
                    self.work.extend(effects(&self.state, &event));
                    self.seq += 1;
                    let update = Update {
                        seq: self.seq,
                        at: self.now,
                        event,
                    };
                    self.hear(Msg::Feed(Feed::Event(Arc::new(update))));
                }
                Ok(())
            }
        };
        if let Err(refused) = &result {
            self.refused.push(refused.to_string());
        }
        self.hear(Msg::Told { command, result });
    }

    fn hear(&mut self, msg: Msg) {
        self.model.now = self.now;
        for action in update(&mut self.model, msg) {
            match action {
                Action::Tell(command) => {
                    self.tell(command);
                    self.settle();
                }
                other @ (Action::Note(_) | Action::CatchUp | Action::Quit { .. }) => self.asked.push(other),
            }
        }
    }

    fn settle(&mut self) {
        loop {
            let before = self.seq;
            self.tell(Command::Advance);
            if self.seq == before {
                return;
            }
        }
    }

    /// Answers the oldest piece of work.
    fn answer(&mut self, result: OutcomeResult) {
        assert!(!self.work.is_empty(), "nothing is to be answered");
        self.now += TimeDelta::seconds(7);
        let work = self.work.remove(0);
        let observed = matches!(work, Effect::Observe { .. });
        let command = match work {
            Effect::Check { step, attempt } => {
                self.hear(Msg::Feed(Feed::Briefing(Arc::new(briefing(&step, attempt)))));
                Command::Checked {
                    step,
                    attempt,
                    results: vec![CheckResult {
                        when: "before".to_owned(),
                        index: 0,
                        uses: "sql.assert".to_owned(),
                        ok: true,
                        detail: "value 0; value == 0 is true".to_owned(),
                    }],
                    binding: Some(Binding {
                        action_digest: "d".to_owned(),
                        evidence_digest: "e".to_owned(),
                        identity: Value::Null,
                    }),
                }
            }
            Effect::Recheck { request, .. } => Command::Rechecked {
                request,
                action_digest: Ok("d".to_owned()),
            },
            Effect::Execute {
                step, attempt, role, ..
            }
            | Effect::Observe {
                step, attempt, role, ..
            } => Command::Finished {
                step,
                attempt,
                role,
                outcome: Outcome {
                    result,
                    error_kind: (result != OutcomeResult::Done).then(|| "permanent".to_owned()),
                    detail: match result {
                        OutcomeResult::Done => "so it went".to_owned(),
                        OutcomeResult::Failed => "the source refuses: database is locked".to_owned(),
                        OutcomeResult::InDoubt => "no answer for 30 s".to_owned(),
                        OutcomeResult::NotSent => "it was never sent".to_owned(),
                    },
                    outputs: Map::new(),
                    observed,
                },
            },
            Effect::Verify { step, attempt } => Command::Verified {
                step,
                attempt,
                results: Vec::new(),
                outputs: Map::new(),
                fault: None,
            },
            Effect::PrepareUnwind => {
                let mut shown = briefing(&id("freeze"), 1);
                shown.step = None;
                shown.lost = Some(12);
                self.hear(Msg::Feed(Feed::Briefing(Arc::new(shown))));
                Command::UnwindPrepared {
                    lost: Some(12),
                    action_digest: "u".to_owned(),
                    evidence: None,
                    fault: None,
                }
            }
        };
        self.tell(command);
        self.settle();
    }

    /// Everything goes well, by keys where a gate asks, until `step` waits at its gate.
    fn play_until_gate_of(&mut self, step: &str) {
        for _ in 0..400 {
            let stage = self.state.step(&id(step)).unwrap().stage;
            if matches!(stage, Stage::AtGate(_)) {
                return;
            }
            self.play_on();
        }
        panic!("{step} never reached its gate");
    }

    /// One answer, or one approval by keys.
    fn play_on(&mut self) {
        if !self.work.is_empty() {
            return self.answer(OutcomeResult::Done);
        }
        let phrase = self.state.open_requests().next().unwrap().gate.phrase.clone();
        self.keys("a");
        match phrase {
            Some(phrase) => {
                self.keys(&phrase);
                self.key(KeyCode::Enter);
            }
            None => self.keys("y"),
        }
    }

    fn key(&mut self, code: KeyCode) {
        if let Some(msg) = message(context(&self.model), KeyEvent::new(code, KeyModifiers::NONE)) {
            self.hear(msg);
        }
    }

    fn keys(&mut self, text: &str) {
        for char in text.chars() {
            self.key(KeyCode::Char(char));
        }
    }

    fn stage(&self, step: &str) -> Stage {
        self.state.step(&id(step)).unwrap().stage
    }

    fn screen(&mut self, columns: u16, rows: u16) -> String {
        self.hear(Msg::Resized(columns, rows));
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| view(&self.model, frame)).unwrap();
        terminal.backend().to_string()
    }

    /// Snapshots at both sizes.
    fn snapshot(&mut self, name: &str) {
        for (columns, rows) in [(80, 24), (120, 40)] {
            let screen = self.screen(columns, rows);
            insta::assert_snapshot!(format!("{name}_{columns}x{rows}"), screen);
        }
    }
}

fn briefing(step: &StepId, attempt: u32) -> Briefing {
    Briefing {
        step: Some(step.clone()),
        attempt,
        actions: vec![BriefedAction {
            step: step.clone(),
            role: Role::Do,
            uses: "sql.freeze_writes".to_owned(),
            summary: "refuses every write on source until it is thawed".to_owned(),
            commands: vec!["source: create trigger pointsman_freeze_orders_insert before insert …".to_owned()],
            notes: vec!["3 tables: customers, ledger, orders".to_owned()],
            identity: json!({ "engine": "sqlite", "database": "/lab/source.db" }),
        }],
        checks: Vec::new(),
        lost: None,
        faults: Vec::new(),
    }
}

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
    night.keys("the bridge is down");
    night.key(KeyCode::Enter);
    assert_eq!(night.state.hold.as_ref().unwrap().reason, "the bridge is down");
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
