//! A small night with two branches, its plan, and a run of it as events with chosen times.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use pointsman::engine::facts::{Mode, facts_of};
use pointsman::projection::Story;
use pointsman::projection::forecast::Forecast;
use pointsman::projection::forecaster::Forecaster;
use pointsman::projection::samples::{History, Unfit};
use pointsman::provider::registry::catalogue;
use pointsman::run::event::{CloseState, Fidelity, OutcomeResult, Role, Subject};
use pointsman::run::facts::{RequestId, StepId};
use pointsman::run::{Event, RunState, apply};
use pointsman::runbook::plan::Plan;
use serde_json::{Map, Value, json};

/// `start` (10 min), then `left` (30) beside `right1` (20) and `right2` (15), then `join` (5): 50 minutes by the right.
pub const NIGHT: &str = r#"version: 1
name: night
title: Night
connections:
  source: { uses: sqlite, path: source.db }
  target: { uses: sqlite, path: target.db }
  aws: { uses: aws, region: sa-east-1, account: "123456789012" }
environments:
  lab: { kind: lab }
  staging:
    kind: rehearsal
    window: { opens: 2096-12-05T22:00:00-03:00, closes: 2096-12-06T02:00:00-03:00, timezone: America/Sao_Paulo, business_opens: 2096-12-06T06:00:00-03:00 }
    downtime_budget: 45m
    people: { olga: { name: Olga, roles: [lead] } }
phases:
  - id: all
    steps:
      - id: start
        uses: dms.start
        on: [aws, target]
        with: { task: "arn:aws:dms:sa-east-1:123456789012:task:T" }
        expect: 10m
        rollback: { uses: dms.stop, on: [aws, target], with: { task: "arn:aws:dms:sa-east-1:123456789012:task:T" }, timeout: 3m }
      - id: left
        uses: sql.exec
        on: source
        with: { sql: delete from a }
        needs: [start]
        expect: 30m
        rollback: { not_needed: it stays }
      - id: right1
        uses: sql.exec
        on: target
        with: { sql: delete from b }
        needs: [start]
        expect: 20m
        rollback: { uses: sql.exec, on: target, with: { sql: insert into b values (1) } }
      - id: right2
        uses: manual.task
        with: { text: call the bridge }
        needs: [right1]
        downtime: begins
        expect: 15m
      - id: join
        uses: sql.exec
        on: target
        with: { sql: delete from c }
        needs: [left, right2]
        downtime: ends
        deadline: "23:30"
        expect: 5m
        rollback: { abandon: { uses: sql.exec, on: target, with: { sql: delete from d }, timeout: 2m }, redo: 3h }
"#;

/// Seconds after the window's opening.
pub fn at(seconds: i64) -> DateTime<Utc> {
    let opens: DateTime<Utc> = "2096-12-06T01:00:00Z".parse().unwrap();
    opens + TimeDelta::seconds(seconds)
}

pub const fn minutes(count: i64) -> TimeDelta {
    TimeDelta::minutes(count)
}

pub fn plan_in(env: &str, pieces: &[(&str, &str)]) -> Plan {
    let mut text = NIGHT.to_owned();
    for (from, to) in pieces {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    pointsman::runbook::plan(text.as_bytes(), env, &catalogue(), at(0)).unwrap()
}

pub fn id(step: &str) -> StepId {
    StepId(step.to_owned())
}

/// A run that is told event by event.
pub struct Run {
    pub plan: Plan,
    pub state: RunState,
    pub story: Story,
    pub events: Vec<(DateTime<Utc>, Event)>,
    request: u64,
}

impl Run {
    pub fn begin(plan: &Plan, data: &Value) -> Self {
        let mut run = Self {
            plan: plan.clone(),
            state: RunState::new(Arc::new(facts_of(plan, Mode::Real))),
            story: Story::new(plan),
            events: Vec::new(),
            request: 0,
        };
        let Value::Object(data) = data.clone() else {
            unreachable!("data is an object")
        };
        let operator = "olga".to_owned();
        run.tell(0, Event::Genesis { operator, data });
        run
    }

    /// A run outside the lab.
    pub fn real(plan: &Plan) -> Self {
        Self::begin(plan, &json!({ "mode": "real", "lab": null }))
    }

    pub fn tell(&mut self, seconds: i64, event: Event) {
        self.story.fold(at(seconds), &event);
        self.state = apply(self.state.clone(), &event).unwrap();
        self.events.push((at(seconds), event));
    }

    pub fn checking(&mut self, seconds: i64, step: &str, attempt: u32) {
        let step = id(step);
        self.tell(seconds, Event::StepChecking { step, attempt });
    }

    pub fn asked(&mut self, seconds: i64, step: &str, attempt: u32) {
        self.request += 1;
        let event = Event::GateRequested {
            step: Some(id(step)),
            attempt: Some(attempt),
            request: RequestId(self.request),
            subject: Subject::Step,
            action_digest: String::new(),
            evidence_digest: String::new(),
            identity: Value::Null,
            requested_ms: at(seconds).timestamp_millis(),
            expires_ms: None,
            min: 1,
            roles: vec!["operator".to_owned()],
            phrase: None,
            auto_reason: None,
            reason: None,
            closes_ms: None,
            plan: None,
            quorums: Vec::new(),
            escalated: false,
            poll: false,
        };
        self.tell(seconds, event);
    }

    /// The operator approves what was asked last.
    pub fn voted(&mut self, seconds: i64, comment: &str) {
        let event = Event::GateVote {
            request: RequestId(self.request),
            decision: pointsman::run::event::Decision::Approve,
            person: "olga".to_owned(),
            role: "operator".to_owned(),
            assurance: pointsman::run::event::Assurance::Typed,
            comment: comment.to_owned(),
            attested_by: None,
            poll: false,
            also: Vec::new(),
        };
        self.tell(seconds, event);
    }

    pub fn begun(&mut self, seconds: i64, step: &str, attempt: u32, role: Role) {
        let request = RequestId(self.request);
        if role == Role::Do {
            self.tell(seconds, Event::GateGranted { request });
        }
        let event = Event::EffectIntent {
            step: id(step),
            attempt,
            role,
            request,
            action_digest: String::new(),
            mutates: true,
        };
        self.tell(seconds, event);
    }

    pub fn outcome(&mut self, seconds: i64, step: &str, attempt: u32, role: Role, result: OutcomeResult) {
        let event = Event::EffectOutcome {
            step: id(step),
            attempt,
            role,
            result,
            error_kind: None,
            detail: String::new(),
            outputs: Map::new(),
            observed: false,
            fidelity: Fidelity::Executed,
        };
        self.tell(seconds, event);
    }

    pub fn finished(&mut self, seconds: i64, step: &str, attempt: u32) {
        self.outcome(seconds, step, attempt, Role::Do, OutcomeResult::Done);
        let verifying = Event::StepVerifying {
            step: id(step),
            attempt,
        };
        self.tell(seconds, verifying);
        let outputs = Map::new();
        let step = id(step);
        self.tell(seconds, Event::StepDone { step, attempt, outputs });
    }

    /// A whole step: asked at once, approved after `human` seconds, done after `machine` more. Gives its end.
    pub fn step(&mut self, from: i64, step: &str, human: i64, machine: i64) -> i64 {
        self.checking(from, step, 1);
        self.asked(from, step, 1);
        self.begun(from + human, step, 1, Role::Do);
        self.finished(from + human + machine, step, 1);
        from + human + machine
    }

    pub fn close(&mut self, seconds: i64) {
        let event = Event::RunClosed {
            state: CloseState::Committed,
            exit: 0,
            reason: String::new(),
        };
        self.tell(seconds, event);
    }

    /// Adds this run to a history for `plan`.
    pub fn teach(&self, history: &mut History, plan: &Plan) -> Result<(), Unfit> {
        let events = self.events.iter().map(|(at, event)| (*at, event));
        history.take(plan, &self.plan, events)
    }

    pub fn forecast(&self, history: &History, seconds: i64) -> Forecast {
        forecaster(&self.plan, history).during(&self.state, &self.story, at(seconds))
    }
}

pub const fn forecaster<'a>(plan: &'a Plan, history: &'a History) -> Forecaster<'a> {
    Forecaster {
        plan,
        history,
        speed: 1.0,
    }
}
