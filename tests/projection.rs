//! What people are told of a run's times: machine and waiting never add up to more than the run took, whatever became of
//! its attempts.
#![expect(clippy::unwrap_used, reason = "tests")]

use chrono::{DateTime, TimeDelta, Utc};
use pointsman::projection::Story;
use pointsman::provider::registry::catalogue;
use pointsman::run::Event;
use pointsman::run::event::{Fidelity, OutcomeResult, PersonDecision, Role, Subject};
use pointsman::run::facts::{RequestId, StepId};
use serde_json::{Map, Value};

const SOUND: &str = include_str!("fixtures/sound.yaml");

fn at(seconds: i64) -> DateTime<Utc> {
    let start: DateTime<Utc> = "2026-12-05T22:00:00Z".parse().unwrap();
    start + TimeDelta::seconds(seconds)
}

fn asked(step: &StepId, attempt: u32, request: u64) -> Event {
    Event::GateRequested {
        step: Some(step.clone()),
        attempt: Some(attempt),
        request: RequestId(request),
        subject: Subject::Step,
        action_digest: String::new(),
        evidence_digest: String::new(),
        identity: Value::Null,
        requested_ms: 0,
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
    }
}

fn intent(step: &StepId, attempt: u32, request: u64) -> Event {
    Event::EffectIntent {
        step: step.clone(),
        attempt,
        role: Role::Do,
        request: RequestId(request),
        action_digest: String::new(),
        mutates: true,
    }
}

#[test]
fn an_attempt_that_was_decided_about_does_not_go_on_counting() {
    let plan = pointsman::runbook::plan(SOUND.as_bytes(), "lab", &catalogue(), at(0)).unwrap();
    let step = StepId("second".to_owned());
    let mut story = Story::new(&plan);
    let night = [
        (
            0,
            Event::Genesis {
                operator: "olga".to_owned(),
                data: Map::new(),
            },
        ),
        (
            0,
            Event::StepChecking {
                step: step.clone(),
                attempt: 1,
            },
        ),
        (10, asked(&step, 1, 1)),
        (30, Event::GateGranted { request: RequestId(1) }),
        (30, intent(&step, 1, 1)),
        (
            60,
            Event::EffectOutcome {
                step: step.clone(),
                attempt: 1,
                role: Role::Do,
                result: OutcomeResult::InDoubt,
                error_kind: None,
                detail: String::new(),
                outputs: Map::new(),
                observed: true,
                fidelity: Fidelity::Executed,
            },
        ),
        (
            100,
            Event::EffectDecided {
                step: step.clone(),
                attempt: 1,
                role: Role::Do,
                decision: PersonDecision::NotStarted,
                person: "olga".to_owned(),
                reason: "looked".to_owned(),
            },
        ),
        (
            100,
            Event::StepChecking {
                step: step.clone(),
                attempt: 2,
            },
        ),
        (110, asked(&step, 2, 2)),
    ];
    for (seconds, event) in &night {
        story.fold(at(*seconds), event);
    }
    let now = at(200);
    assert_eq!(story.timeline.human(now), TimeDelta::seconds(20 + 90));
    assert_eq!(story.timeline.machine(now), TimeDelta::seconds(80 + 10));
}
