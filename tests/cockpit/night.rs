//! A night for the cockpit: the pure state machine over the shipped quickstart, with a world that answers as it is told.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use pointsman::engine::facts::{Mode, facts_of};
use pointsman::engine::handle::{BriefedAction, Briefing, Feed, Refused, Update};
use pointsman::frontend::tui::keymap::{context, message};
use pointsman::frontend::tui::model::Row;
use pointsman::frontend::tui::theme::Theme;
use pointsman::frontend::tui::update::update;
use pointsman::frontend::tui::view::view;
use pointsman::frontend::tui::{Action, LabLine, Model, Msg, Session};
use pointsman::projection::summary::NextCommands;
use pointsman::provider::registry::catalogue;
use pointsman::run::command::{Binding, Outcome};
use pointsman::run::event::{CheckResult, Fidelity, OutcomeResult, Role};
use pointsman::run::facts::StepId;
use pointsman::run::proof::Counts;
use pointsman::run::state::Stage;
use pointsman::run::{Command, Effect, RunState, apply, decide, effects};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::{Map, Value, json};

const QUICKSTART: &str = include_str!("../../runbooks/quickstart.yaml");
const POLLED: &str = include_str!("../fixtures/polled.yaml");
const BRANCHES: &str = include_str!("branches.yaml");

pub fn id(step: &str) -> StepId {
    StepId(step.to_owned())
}

/// A night: the state machine, the cockpit, and a world that answers as it is told.
pub struct Night {
    pub model: Model,
    pub state: RunState,
    pub work: Vec<Effect>,
    pub now: DateTime<Utc>,
    pub seq: u64,
    /// What the cockpit asked for besides commands.
    pub asked: Vec<Action>,
    pub refused: Vec<String>,
    /// The state before the first event, and what happened since.
    pub fresh: RunState,
    pub updates: Vec<Arc<Update>>,
}

impl Night {
    /// The shipped quickstart, on the lab.
    pub fn begin() -> Self {
        Self::of(QUICKSTART, "lab")
    }

    /// The same night with a window from 19:00 to 23:00, and the time that a way back needs.
    pub fn begin_in_a_window() -> Self {
        let budget = "    downtime_budget: 10m\n";
        let window = "    window: { opens: 2026-12-05T19:00:00-03:00, closes: 2026-12-05T23:00:00-03:00, \
                      timezone: America/Sao_Paulo }\n    validation: 15m\n";
        Self::of(&QUICKSTART.replace(budget, &format!("{budget}{window}")), "lab")
    }

    /// Two branches side by side, a window, a way forward beyond the point of no return.
    pub fn of_branches(environment: &str) -> Self {
        Self::of(BRANCHES, environment)
    }

    /// A poll, and what uses its answers.
    pub fn of_poll(environment: &str) -> Self {
        Self::of(POLLED, environment)
    }

    fn of(runbook: &str, environment: &str) -> Self {
        let now: DateTime<Utc> = "2026-12-05T22:00:00Z".parse().unwrap();
        let plan = Arc::new(pointsman::runbook::plan(runbook.as_bytes(), environment, &catalogue(), now).unwrap());
        let state = RunState::new(Arc::new(facts_of(&plan, Mode::Real)));
        let session = Session {
            operator: "olga".to_owned(),
            run_id: "20261205-2200-7k2m".to_owned(),
            dry_run: false,
            lab: (environment == "lab").then(|| LabLine {
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
            runbook: Some("runbooks/night.yaml".to_owned()),
            history: Arc::default(),
        };
        let fresh = state.clone();
        let model = Model::new(plan, session, Theme { color: true }, state.clone(), now);
        let mut night = Self {
            model,
            state,
            work: Vec::new(),
            now,
            seq: 0,
            asked: Vec::new(),
            refused: Vec::new(),
            fresh,
            updates: Vec::new(),
        };
        let data = Map::new();
        let operator = "olga".to_owned();
        night.tell(Command::Open { data, operator });
        night.settle();
        night
    }

    pub fn tell(&mut self, command: Command) {
        let result = match decide(&self.state, &command, self.now.timestamp_millis()) {
            Err(refused) => Err(Refused::Rejected(refused.to_string())),
            Ok(events) => {
                for event in events {
                    self.state = apply(self.state.clone(), &event).unwrap();
                    let work = effects(&self.state, &event);
                    self.work.extend(work.into_iter().filter(|work| match work {
                        // They are answered by what they concern.
                        Effect::Watch { .. } | Effect::Unwatch { .. } | Effect::Cancel { .. } => false,
                        Effect::Check { .. }
                        | Effect::Recheck { .. }
                        | Effect::Execute { .. }
                        | Effect::Observe { .. }
                        | Effect::Verify { .. }
                        | Effect::Preflight { .. }
                        | Effect::PrepareUnwind => true,
                    }));
                    self.seq += 1;
                    let update = Update {
                        seq: self.seq,
                        at: self.now,
                        event,
                    };
                    let update = Arc::new(update);
                    self.updates.push(update.clone());
                    self.hear(Msg::Feed(Feed::Event(update)));
                }
                Ok(())
            }
        };
        if let Err(refused) = &result {
            self.refused.push(refused.to_string());
        }
        self.hear(Msg::Told { command, result });
    }

    pub fn hear(&mut self, msg: Msg) {
        self.model.now = self.now;
        for action in update(&mut self.model, msg) {
            match action {
                Action::Tell(command) => {
                    self.tell(command);
                    self.settle();
                }
                other @ (Action::Note(_) | Action::Amend { .. } | Action::CatchUp | Action::Quit { .. }) => {
                    self.asked.push(other)
                }
            }
        }
    }

    pub fn settle(&mut self) {
        loop {
            let before = self.seq;
            self.tell(Command::Advance);
            if self.seq == before {
                return;
            }
        }
    }

    /// Answers the oldest piece of work.
    pub fn answer(&mut self, result: OutcomeResult) {
        assert!(!self.work.is_empty(), "nothing is to be answered");
        self.answer_at(0, result);
    }

    /// Answers the oldest piece of work of a step.
    pub fn answer_of(&mut self, step: &str, result: OutcomeResult) {
        let about = |work: &Effect| match work {
            Effect::Check { step, .. }
            | Effect::Recheck { step, .. }
            | Effect::Execute { step, .. }
            | Effect::Observe { step, .. }
            | Effect::Verify { step, .. }
            | Effect::Watch { step, .. }
            | Effect::Cancel { step, .. } => Some(step.clone()),
            Effect::PrepareUnwind | Effect::Preflight { .. } | Effect::Unwatch { .. } => None,
        };
        let at = self.work.iter().position(|work| about(work) == Some(id(step)));
        self.answer_at(at.unwrap(), result);
    }

    /// Answers whatever `step` asks for until its effect runs.
    pub fn execute(&mut self, step: &str) {
        while !matches!(self.stage(step), Stage::Running) {
            self.answer_of(step, OutcomeResult::Done);
        }
    }

    /// Time passes; what it does by itself follows.
    pub fn wait(&mut self, minutes: i64) {
        self.now += TimeDelta::minutes(minutes);
        self.hear(Msg::Tick(self.now));
        self.settle();
    }

    fn answer_at(&mut self, at: usize, result: OutcomeResult) {
        self.now += TimeDelta::seconds(7);
        let work = self.work.remove(at);
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
                        unverifiable: false,
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
                    fidelity: Fidelity::Executed,
                },
            },
            Effect::Verify { step, attempt } => Command::Verified {
                step,
                attempt,
                results: Vec::new(),
                outputs: Map::new(),
                fault: None,
            },
            Effect::Watch { .. } | Effect::Unwatch { .. } | Effect::Cancel { .. } => return,
            Effect::Preflight { number } => {
                let failed = result == OutcomeResult::Failed;
                let red = failed.then(|| "✘ aws identity: this is account 210987654321".to_owned());
                let amber = "! lab-target Multi-AZ: off".to_owned();
                Command::Preflighted {
                    number,
                    counts: Counts {
                        red: u32::from(failed),
                        amber: 1,
                        green: 14,
                    },
                    words: red.into_iter().chain([amber]).collect(),
                }
            }
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
    pub fn play_until_gate_of(&mut self, step: &str) {
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
    pub fn play_on(&mut self) {
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

    pub fn key(&mut self, code: KeyCode) {
        self.press(code, KeyModifiers::NONE);
    }

    pub fn ctrl(&mut self, char: char) {
        self.press(KeyCode::Char(char), KeyModifiers::CONTROL);
    }

    /// Types an answer and submits it.
    pub fn line(&mut self, text: &str) {
        self.keys(text);
        self.key(KeyCode::Enter);
    }

    /// Selects a step's row.
    pub fn select(&mut self, step: &str) {
        let index = self.state.facts.index(&id(step)).unwrap();
        self.key(KeyCode::Home);
        let rows = self.model.rows();
        let at = rows.iter().position(|row| *row == Row::Step(index)).unwrap();
        for _ in 0..at {
            self.key(KeyCode::Down);
        }
        assert_eq!(self.model.selected, Row::Step(index));
    }

    pub fn status(&self) -> String {
        self.model
            .status
            .as_ref()
            .map_or_else(String::new, |(text, _)| text.clone())
    }

    fn press(&mut self, code: KeyCode, modifiers: KeyModifiers) {
        if let Some(msg) = message(context(&self.model), KeyEvent::new(code, modifiers)) {
            self.hear(msg);
        }
    }

    pub fn keys(&mut self, text: &str) {
        for char in text.chars() {
            self.key(KeyCode::Char(char));
        }
    }

    pub fn stage(&self, step: &str) -> Stage {
        self.state.step(&id(step)).unwrap().stage
    }

    pub fn screen(&mut self, columns: u16, rows: u16) -> String {
        self.hear(Msg::Resized(columns, rows));
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| view(&self.model, frame)).unwrap();
        terminal.backend().to_string()
    }

    /// Snapshots at both sizes.
    pub fn snapshot(&mut self, name: &str) {
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
        changes: Vec::new(),
    }
}
