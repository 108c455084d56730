//! Every command in every state: what follows from it, or why it is refused. The table is a snapshot, so that a changed
//! outcome is seen and read.

use std::fmt::Write;

use pointsman::run::command::Binding;
use pointsman::run::event::{Decision, OutcomeResult, Role};
use pointsman::run::facts::{AtEnd, RequestId, StepId};
use pointsman::run::proof::Counts;
use pointsman::run::{Command, Effect, decide};
use serde_json::{Map, Value};

use super::night::{Night, facts, id, outcome};
use super::states::*;

fn commands(step: &StepId, night: &Night) -> Vec<(&'static str, Command)> {
    let person = || "olga".to_owned();
    let reason = || "because".to_owned();
    let attempt = night.state.step(step).map_or(0, |step| step.attempt);
    // The request that is open, else the one that was answered last.
    let last = night.state.requests.keys().last().copied().unwrap_or(RequestId(1));
    let request = night.state.open_requests().next().map_or(last, |request| request.id);
    let phrase = night
        .state
        .requests
        .get(&request)
        .and_then(|request| request.gate.phrase.clone());
    let voter = |decision| Command::Vote {
        request,
        person: "olga".to_owned(),
        role: "operator".to_owned(),
        decision,
        phrase: phrase.clone(),
        comment: String::new(),
        attested_by: None,
    };
    let finished = |role, result| Command::Finished {
        role,
        step: step.clone(),
        attempt,
        outcome: outcome(result, false),
    };
    let step = || step.clone();
    vec![
        (
            "open",
            Command::Open {
                data: Map::new(),
                operator: person(),
            },
        ),
        (
            "resume",
            Command::Resume {
                operator: person(),
                host: "h".to_owned(),
                pid: 7,
                hold: None,
            },
        ),
        ("advance", Command::Advance),
        (
            "checked",
            Command::Checked {
                step: step(),
                attempt,
                results: Vec::new(),
                binding: Some(Binding {
                    action_digest: "d".to_owned(),
                    evidence_digest: "e".to_owned(),
                    identity: Value::Null,
                }),
            },
        ),
        ("approve", voter(Decision::Approve)),
        ("reject", voter(Decision::Reject)),
        ("abstain", voter(Decision::Abstain)),
        (
            "revoke",
            Command::Revoke {
                request,
                person: person(),
            },
        ),
        (
            "rechecked",
            Command::Rechecked {
                request,
                action_digest: Ok("d".to_owned()),
            },
        ),
        (
            "acked",
            Command::Acked {
                role: Role::Do,
                step: step(),
                attempt,
                provider_id: "p".to_owned(),
            },
        ),
        (
            "kept",
            Command::Kept {
                role: Role::Do,
                step: step(),
                attempt,
                kept: serde_json::Value::from(1),
            },
        ),
        ("finished do done", finished(Role::Do, OutcomeResult::Done)),
        ("finished do failed", finished(Role::Do, OutcomeResult::Failed)),
        ("finished undo done", finished(Role::Undo, OutcomeResult::Done)),
        (
            "verified",
            Command::Verified {
                step: step(),
                attempt,
                results: Vec::new(),
                outputs: Map::new(),
                fault: None,
            },
        ),
        ("retry", Command::Retry { step: step() }),
        (
            "skip",
            Command::Skip {
                step: step(),
                person: person(),
                reason: reason(),
            },
        ),
        (
            "fall forward",
            Command::FallForward {
                step: step(),
                person: person(),
            },
        ),
        (
            "cancel",
            Command::Cancel {
                step: step(),
                person: person(),
            },
        ),
        (
            "break glass",
            Command::BreakGlass {
                request,
                person: "carl".to_owned(),
                role: "break_glass".to_owned(),
                reason: "nobody of the client answers the telephone".to_owned(),
            },
        ),
        (
            "countersign",
            Command::Countersign {
                request,
                person: "ana".to_owned(),
                role: "approver".to_owned(),
            },
        ),
        (
            "live red",
            Command::LiveRed {
                request,
                detail: "lag 90 s".to_owned(),
            },
        ),
        (
            "extend window",
            Command::ExtendWindow {
                closes_ms: 99_000,
                person: person(),
                reason: reason(),
            },
        ),
        (
            "amend",
            Command::Amend {
                plan: "plan".to_owned(),
                person: person(),
                reason: reason(),
                binding: Binding {
                    action_digest: "a".to_owned(),
                    evidence_digest: "e".to_owned(),
                    identity: Value::Null,
                },
            },
        ),
        (
            "offer seat",
            Command::OfferSeat {
                person: person(),
                to: "dora".to_owned(),
            },
        ),
        (
            "take seat",
            Command::TakeSeat {
                person: "dora".to_owned(),
            },
        ),
        (
            "decide done",
            Command::Decide {
                step: step(),
                done: true,
                person: person(),
                reason: reason(),
            },
        ),
        (
            "done by hand",
            Command::DoneByHand {
                step: step(),
                person: person(),
                reason: reason(),
            },
        ),
        (
            "hold",
            Command::Hold {
                reason: reason(),
                person: person(),
                owner: Some("ana".to_owned()),
                until_ms: Some(9_000),
            },
        ),
        ("release", Command::Release { person: person() }),
        (
            "rollback",
            Command::Rollback {
                to: None,
                person: person(),
            },
        ),
        (
            "unwind prepared",
            Command::UnwindPrepared {
                lost: Some(0),
                action_digest: "u".to_owned(),
                evidence: None,
                fault: None,
            },
        ),
        (
            "stop",
            Command::Stop {
                reason: reason(),
                person: person(),
            },
        ),
        (
            "note",
            Command::Note {
                person: person(),
                blob: "b".to_owned(),
            },
        ),
        (
            "preflighted",
            Command::Preflighted {
                number: 1,
                counts: Counts::default(),
                words: Vec::new(),
            },
        ),
        ("interrupt", Command::Interrupt { reason: reason() }),
    ]
}

#[test]
fn every_command_in_every_state() {
    let new = Night::new(super::night::facts());
    let states = states(new);
    let mut table = String::new();
    let step = id("freeze");
    for (name, night) in &states {
        writeln!(table, "== {name}").unwrap();
        let mut state = night.state.clone();
        state.learn(stricter(&state.facts));
        for (what, command) in commands(&step, night) {
            let told = match decide(&state, &command, night.now) {
                Ok(events) if events.is_empty() => "nothing".to_owned(),
                Ok(events) => {
                    let names = events.iter().map(|event| {
                        let json = serde_json::to_value(event).unwrap();
                        json["ev"].as_str().unwrap().to_owned()
                    });
                    names.collect::<Vec<_>>().join(", ")
                }
                Err(refused) => format!("refused: {refused}"),
            };
            writeln!(table, "{what:<20} {told}").unwrap();
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn the_states_of_the_table_are_what_they_say() {
    let stage = |night: &Night| format!("{:?}", night.state.step(&id("freeze")).unwrap().stage);
    assert!(stage(&checking()).starts_with("Checking"));
    assert!(stage(&frozen(&[0])).starts_with("Running"));
    assert!(stage(&frozen(&[0, 2, 2])).starts_with("InDoubt"));
    assert!(stage(&frozen(&[0, 0])).starts_with("Verifying"));
    assert!(stage(&frozen(&[0, 1])).starts_with("Failed"));
    let work = |night: &Night| night.work.clone();
    assert!(matches!(
        work(&unwinding(false, false, false)).as_slice(),
        [Effect::PrepareUnwind]
    ));
    assert!(!unwinding(true, true, true).state.stuck.is_empty());
    assert!(at_commit(true, true).state.is_closed());
    assert!(stopped().state.is_closed());
    assert!(stage(&skipped()).starts_with("Skipped"));
    assert!(stage(&rolled_back()).starts_with("RolledBack"));
    assert!(beyond_no_return().state.past_no_return());
    assert!(window_over(AtEnd::Hold).state.window_over);
    // Every stage of a step and every phase of a run stands in the table somewhere.
    let new = Night::new(facts());
    let all = states(new);
    let named = |debug: String| debug.split(['(', ' ', '{']).next().unwrap_or_default().to_owned();
    let stages: std::collections::BTreeSet<String> = all
        .iter()
        .flat_map(|(_, night)| night.state.steps.iter().map(|step| named(format!("{:?}", step.stage))))
        .collect();
    let phases: std::collections::BTreeSet<String> = all
        .iter()
        .map(|(_, night)| named(format!("{:?}", night.state.phase)))
        .collect();
    assert_eq!(
        stages.into_iter().collect::<Vec<_>>(),
        [
            "Approved",
            "AtGate",
            "Checking",
            "Done",
            "Failed",
            "InDoubt",
            "Kept",
            "RollbackFailed",
            "RolledBack",
            "RollingBack",
            "Running",
            "Skipped",
            "Verifying",
            "Waiting"
        ]
    );
    assert_eq!(
        phases.into_iter().collect::<Vec<_>>(),
        ["Closed", "Closing", "CommitGate", "New", "Running", "Unwinding"]
    );
}
