//! Every command in every state: what follows from it, or why it is refused. The table is a snapshot, so that a changed
//! outcome is seen and read.

use std::fmt::Write;

use pointsman::run::command::Binding;
use pointsman::run::event::{Decision, OutcomeResult, Role};
use pointsman::run::facts::{AtEnd, RequestId, StepEffect, StepId, Undo};
use pointsman::run::{Command, Effect, decide};
use serde_json::{Map, Value};

use super::night::{Night, facts, facts_with, id, operator, outcome, step};

/// Plays on until `freeze` stands as `stage` says, by what its work was answered with.
fn frozen(answers: &[u8]) -> Night {
    let mut night = Night::begin();
    night.play_until("freeze");
    if answers.is_empty() {
        return night;
    }
    night.approve_all();
    night.settle();
    for luck in answers {
        let work = night.work.pop().unwrap();
        night.answer(work, *luck);
        night.settle();
    }
    night
}

fn at_flip() -> Night {
    let mut night = Night::begin();
    night.play_until("flip");
    night
}

fn unwinding(prepared: bool, approved: bool, failing: bool) -> Night {
    let mut night = at_flip();
    let person = "olga".to_owned();
    assert!(night.tell(Command::Rollback { to: None, person }));
    night.settle();
    if prepared {
        let work = night.work.pop().unwrap();
        night.answer(work, 0);
        night.settle();
    }
    if approved {
        night.approve_all();
        night.settle();
    }
    if failing {
        let work = night.work.pop().unwrap();
        night.answer(work, 1);
        night.settle();
    }
    night
}

fn at_commit(approved: bool, over: bool) -> Night {
    let mut night = at_flip();
    night.approve_all();
    night.settle();
    while let Some(work) = night.work.pop() {
        night.answer(work, 0);
        night.settle();
    }
    if approved {
        night.approve_all();
        night.settle();
    }
    while over && !night.state.is_closed() {
        let work = night.work.pop().unwrap();
        night.answer(work, 0);
        night.settle();
    }
    night
}

fn held() -> Night {
    let mut night = frozen(&[]);
    assert!(night.tell(Command::Hold {
        reason: "lunch".to_owned(),
        person: "olga".to_owned(),
        owner: None,
        until_ms: None,
    }));
    night
}

fn skip_asked() -> Night {
    let mut night = frozen(&[0, 1]);
    assert!(night.tell(Command::Skip {
        step: id("freeze"),
        person: "olga".to_owned(),
        reason: "the application is off already".to_owned(),
    }));
    night.settle();
    night
}

fn skipped() -> Night {
    let mut night = skip_asked();
    night.approve_all();
    night.settle();
    night
}

fn retried() -> Night {
    let mut night = frozen(&[0, 1]);
    assert!(night.tell(Command::Retry { step: id("freeze") }));
    night.settle();
    night
}

fn partly_unwound() -> Night {
    let mut night = at_flip();
    assert!(night.tell(Command::Rollback {
        to: Some(id("dms_start")),
        person: "olga".to_owned(),
    }));
    while night.state.hold.is_none() {
        match night.work.pop() {
            Some(work) => {
                night.answer(work, 0);
            }
            None => night.approve_all(),
        }
        night.settle();
    }
    night
}

fn rolled_back() -> Night {
    let mut night = unwinding(true, true, false);
    night.play_until("nothing");
    night
}

fn window_over(at_end: AtEnd) -> Night {
    let plan = facts_with(facts().steps.clone(), Some((5_000, at_end)));
    let mut night = Night::of(std::sync::Arc::new(plan));
    night.play_until("freeze");
    night.now = 5_000;
    night.settle();
    night
}

fn beyond_no_return() -> Night {
    let mut steps = facts().steps.clone();
    let mut repair = step("repair", &["wait"], StepEffect::Mutate, operator(None), Undo::Kept);
    repair.fall_forward = true;
    steps.push(repair);
    let mut night = Night::of(std::sync::Arc::new(facts_with(steps, None)));
    night.play_until("flip");
    night.approve_all();
    night.settle();
    for luck in [0, 0, 1] {
        let work = night.work.pop().unwrap();
        night.answer(work, luck);
        night.settle();
    }
    night
}

fn stopped() -> Night {
    let mut night = frozen(&[]);
    assert!(night.tell(Command::Stop {
        reason: "enough".to_owned(),
        person: "olga".to_owned()
    }));
    night
}

fn checking() -> Night {
    let mut night = Night::begin();
    night.play_until("freeze");
    night.tell(Command::Hold {
        reason: "look".to_owned(),
        person: "olga".to_owned(),
        owner: None,
        until_ms: None,
    });
    night.tell(Command::Release {
        person: "olga".to_owned(),
    });
    night.settle();
    night
}

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
        ("interrupt", Command::Interrupt { reason: reason() }),
    ]
}

fn states(new: Night) -> Vec<(&'static str, Night)> {
    vec![
        ("new", new),
        ("step checking", checking()),
        ("step at its gate", frozen(&[])),
        ("run held, step at its gate", held()),
        ("step approved, rechecked", {
            let mut night = frozen(&[]);
            night.approve_all();
            night.settle();
            night
        }),
        ("step running", frozen(&[0])),
        ("step in doubt, being observed", frozen(&[0, 2])),
        ("step in doubt, a person is asked", frozen(&[0, 2, 2])),
        ("step verifying", frozen(&[0, 0])),
        ("step failed, nothing happened", frozen(&[0, 1])),
        ("step failed after its effect", frozen(&[0, 0, 1])),
        ("step failed, tried again", retried()),
        ("step failed, to skip it is asked", skip_asked()),
        ("step skipped", skipped()),
        ("next step at its gate", at_flip()),
        ("beyond the point of no return, its step failed", beyond_no_return()),
        ("the window is over, the operator is asked", window_over(AtEnd::Ask)),
        ("the window is over, the run is held", window_over(AtEnd::Hold)),
        ("the window is over, it is said", window_over(AtEnd::Notify)),
        ("unwinding prepared", unwinding(false, false, false)),
        ("unwinding at its gate", unwinding(true, false, false)),
        ("unwinding, undo running", unwinding(true, true, false)),
        ("unwinding, undo failed", unwinding(true, true, true)),
        ("unwound to a step, held", partly_unwound()),
        ("rolled back", rolled_back()),
        ("commit gate", at_commit(false, false)),
        ("closing", at_commit(true, false)),
        ("committed", at_commit(true, true)),
        ("stopped", stopped()),
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
        for (what, command) in commands(&step, night) {
            let told = match decide(&night.state, &command, night.now) {
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
