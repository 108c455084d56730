//! Random plans under random commands. A case is a list of numbers, so that what fails shrinks to a small plan and few
//! commands.
//!
//! `POINTSMAN_MODEL_CASES=200000 cargo test --release --test run_machine model` runs as many.

use std::sync::Arc;

use pointsman::run::event::Decision;
use pointsman::run::facts::{AtEnd, Facts, Gate, OnExpiry, RequestId, StepEffect, StepFacts, StepId, Undo, Who};
use pointsman::run::poll::is_poll;
use pointsman::run::state::{Phase, Stage};
use pointsman::run::{Command, Effect, apply};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::drafts::{changed, knowing};
use super::night::{Night, PEOPLE, POLLED, answer, both, facts_with, id, open, operator, poll, quorum, vote};
use super::promises::judge;

/// One step in numbers: what it needs (distances back), what it is, how it is undone, its gate, its flags.
type Numbers = (Vec<u8>, u8, u8, u8, u8);

fn plan(numbers: &[Numbers], window: u8) -> Facts {
    let name = |index: usize| format!("s{index}");
    let mut steps: Vec<StepFacts> = Vec::new();
    for (index, (needs, effect, undo, gate, flags)) in numbers.iter().enumerate() {
        let effect = match effect % 6 {
            0..=3 => StepEffect::Mutate,
            4 => StepEffect::Read,
            _ => StepEffect::Human,
        };
        let undo = match (effect, undo % 10) {
            (StepEffect::Read | StepEffect::Human, _) => Undo::Nothing,
            (StepEffect::Mutate, 0..=5) => Undo::Action,
            (StepEffect::Mutate, 6) => Undo::Kept,
            (StepEffect::Mutate, 7 | 8) => Undo::AtClose,
            (StepEffect::Mutate, _) => Undo::Irreversible,
        };
        let gate = match (effect, gate % 8) {
            (StepEffect::Read, 0..=4) => open(),
            (_, 5) if flags & 0x80 == 0x80 => both(),
            (_, 5) => quorum(2),
            (_, 6) => Gate {
                on_expiry: OnExpiry::Escalate(Who::Operator),
                expires_ms: Some(5_000),
                ..quorum(2)
            },
            (StepEffect::Human, 1 | 2) => poll(u32::from(flags % 3) + 1, flags & 1 == 1),
            (_, 7) => quorum(1),
            (_, _) => operator(Some("yes")),
        };
        let fall_forward = flags % 16 == 15;
        let mut wants: Vec<StepId> = Vec::new();
        for distance in needs {
            let back = usize::from(*distance) % 8 + 1;
            let Some(other) = index.checked_sub(back).and_then(|at| steps.get(at)) else {
                continue;
            };
            if !other.fall_forward && !wants.contains(&other.id) {
                wants.push(other.id.clone());
            }
        }
        steps.push(StepFacts {
            id: id(&name(index)),
            needs: wants,
            effect,
            gate,
            undo,
            writes_on_target: effect == StepEffect::Mutate && flags & 0x60 == 0x60,
            rollback_on_failure: flags & 0x18 == 0x18,
            parallel_undo: flags & 1 == 1,
            fall_forward,
            live: flags & 2 == 2,
            verifies: effect != StepEffect::Human || flags & 8 == 8,
            deadline_ms: (flags & 4 == 4).then_some(40_000),
        });
    }
    let at_end = match window % 8 {
        0 => Some(AtEnd::Ask),
        1 => Some(AtEnd::Hold),
        2 => Some(AtEnd::Notify),
        _ => None,
    };
    Facts {
        preflight_ms: (window & 8 == 8).then_some(4_000),
        ..facts_with(steps, at_end.map(|at_end| (60_000, at_end)))
    }
}

fn play(night: &mut Night, choice: u8, luck: u8, pick: u8) {
    let steps = night.state.facts.steps.len();
    let step = night.state.facts.steps[usize::from(pick) % steps].id.clone();
    let (person, role) = PEOPLE[usize::from(pick) % PEOPLE.len()];
    let newest = night.state.requests.len() as u64;
    let request = RequestId(newest.saturating_sub(u64::from(luck % 3)).max(1));
    let someone = || person.to_owned();
    match choice % 44 {
        0..=7 => night.settle(),
        8..=17 => {
            if !night.work.is_empty() {
                let at = usize::from(pick) % night.work.len();
                let work = night.work.remove(at);
                if luck == 9
                    && let Effect::Execute {
                        step, attempt, role, ..
                    } = work.clone()
                {
                    night.tell(Command::Kept {
                        role,
                        step: step.clone(),
                        attempt,
                        kept: serde_json::Value::from(luck),
                    });
                    night.tell(Command::Acked {
                        role,
                        step,
                        attempt,
                        provider_id: "p".to_owned(),
                    });
                }
                night.answer(work, if luck < 7 { 0 } else { luck - 6 });
                night.settle();
            }
        }
        18 | 19 => night.approve_all_if_asked(),
        20 => {
            let phrase = night
                .state
                .requests
                .get(&request)
                .and_then(|request| request.gate.phrase.clone());
            night.tell(vote(request, person, role, phrase));
        }
        21 => {
            let mut cast = vote(request, "ana", "approver", None);
            if let Command::Vote {
                attested_by, phrase, ..
            } = &mut cast
            {
                *attested_by = Some("olga".to_owned());
                *phrase = night
                    .state
                    .requests
                    .get(&request)
                    .and_then(|request| request.gate.phrase.clone());
            }
            night.tell(cast);
        }
        22 => {
            let mut cast = vote(request, person, role, None);
            if let Command::Vote { decision, .. } = &mut cast {
                *decision = Decision::Reject;
            }
            night.tell(cast);
        }
        23 => {
            night.tell(Command::Retry { step });
        }
        24 => {
            night.tell(Command::Skip {
                step,
                person: someone(),
                reason: "it is not needed".to_owned(),
            });
        }
        25 => {
            night.tell(Command::Rollback {
                to: (luck > 4).then_some(step),
                person: someone(),
            });
        }
        26 => {
            night.tell(Command::Hold {
                reason: "wait".to_owned(),
                person: someone(),
                owner: None,
                until_ms: None,
            });
        }
        27 | 28 => {
            night.tell(Command::Release { person: someone() });
        }
        29 => {
            night.work.clear();
            night.watched.clear();
            night.tell(Command::Resume {
                operator: "olga".to_owned(),
                host: "h".to_owned(),
                pid: 2,
                hold: None,
            });
        }
        30 => {
            night.tell(Command::Decide {
                step,
                done: luck > 4,
                person: someone(),
                reason: "seen".to_owned(),
            });
        }
        31 => {
            night.tell(Command::DoneByHand {
                step,
                person: someone(),
                reason: "seen".to_owned(),
            });
        }
        32 => {
            night.tell(Command::BreakGlass {
                request,
                person: "carl".to_owned(),
                role: "break_glass".to_owned(),
                reason: "nobody of the client answers the telephone".to_owned(),
            });
        }
        33 => {
            night.tell(Command::Countersign {
                request,
                person: someone(),
                role: role.to_owned(),
            });
        }
        34 => {
            if let Some(request) = night.watched.first().copied() {
                night.tell(Command::LiveRed {
                    request,
                    detail: "lag".to_owned(),
                });
            }
        }
        35 => {
            night.tell(Command::Cancel {
                step,
                person: someone(),
            });
        }
        36 => {
            night.tell(Command::FallForward {
                step,
                person: someone(),
            });
        }
        37 => {
            night.tell(Command::OfferSeat {
                person: night.state.operator.clone(),
                to: "dora".to_owned(),
            });
            night.tell(Command::TakeSeat {
                person: "dora".to_owned(),
            });
        }
        38 => {
            night.tell(Command::ExtendWindow {
                closes_ms: night.now + 30_000,
                person: someone(),
                reason: "it takes longer".to_owned(),
            });
        }
        41 | 42 => {
            if night.state.hold.is_none() {
                night.tell(Command::Hold {
                    reason: "the runbook is wrong".to_owned(),
                    person: night.state.operator.clone(),
                    owner: None,
                    until_ms: None,
                });
            }
            let name = format!("plan-{}", night.drafts.len());
            let draft = changed(&night.state, &name, luck, pick);
            if night.ask_to_amend(draft) && !pick.is_multiple_of(7) {
                let asked = night.state.requests.keys().next_back().copied().unwrap_or(request);
                let operator = night.state.operator.clone();
                night.tell(vote(asked, &operator, "operator", Some("amend".to_owned())));
            }
        }
        39 | 40 => {
            let decision = match luck {
                0..=4 => Decision::Approve,
                5..=8 => Decision::Abstain,
                _ => Decision::Reject,
            };
            // Half of them by somebody who may.
            let (person, role) = if pick.is_multiple_of(2) {
                let (role, person) = POLLED[usize::from(pick / 2) % POLLED.len()];
                (person, role)
            } else {
                (person, role)
            };
            let open = night.state.open_requests().find(|open| is_poll(&open.gate));
            let asked = open.map_or(request, |open| open.id);
            night.tell(answer(asked, person, role, decision));
        }
        _ => {
            night.now += 1_000 * i64::from(luck);
            if luck == 9 && pick.is_multiple_of(8) {
                night.tell(Command::Stop {
                    reason: "enough".to_owned(),
                    person: someone(),
                });
            }
            if luck == 3 && pick.is_multiple_of(8) {
                night.now -= 6_000;
                night.tell(Command::ClockWentBack);
            }
            if luck == 0 {
                night.tell(Command::Revoke {
                    request,
                    person: someone(),
                });
            }
        }
    }
}

impl Night {
    fn approve_all_if_asked(&mut self) {
        let late = self
            .state
            .open_requests()
            .any(|request| request.expires_ms.is_some_and(|at| self.now >= at));
        if self.state.hold.is_none() && self.state.blocked_by().is_none() && !late {
            self.approve_all();
        }
    }

    /// There is always a way to the end.
    fn play_out(&mut self) {
        for round in 0.. {
            if self.state.is_closed() {
                return;
            }
            assert!(
                round < 3_000,
                "the run does not end: {:?}, {:?}",
                self.state.phase,
                self.state.steps
            );
            self.finish();
        }
    }

    /// A person who wants it to end well does what is asked for; everything goes well from now on.
    fn finish(&mut self) {
        let operator = || self.state.operator.clone();
        let person = operator();
        self.settle();
        if !self.work.is_empty() {
            let work = self.work.remove(0);
            self.answer(work, 0);
            return;
        }
        let doubtful = self
            .state
            .open_effects()
            .find(|(_, _, effect)| effect.needs_person())
            .map(|(step, _, _)| step.clone());
        if let Some(step) = doubtful {
            self.tell(Command::Decide {
                step,
                done: true,
                person,
                reason: "seen".to_owned(),
            });
            return;
        }
        if let Some((step, _)) = self.state.stuck.first().cloned()
            && self.state.hold.is_none()
        {
            let by_hand = Command::DoneByHand {
                step: step.clone(),
                person,
                reason: "seen".to_owned(),
            };
            // Both ways out of it work, always.
            let way = if self.events.len().is_multiple_of(2) {
                by_hand
            } else {
                Command::Retry { step }
            };
            assert!(self.tell(way));
            return;
        }
        if let Some(hold) = self.state.hold.clone() {
            if !self.tell(Command::Release { person: person.clone() }) {
                // Whoever held it: once the window is over, only its extension lets the run go forward.
                assert!(self.state.window_over, "{hold:?}");
                self.tell(Command::ExtendWindow {
                    closes_ms: self.now + 1_000_000,
                    person,
                    reason: "more".to_owned(),
                });
                self.approve_all();
            }
            return;
        }
        let failed = self.state.each().find(|(_, step)| step.stage == Stage::Failed);
        let failed = failed
            .map(|(facts, _)| facts.id.clone())
            .filter(|_| self.state.phase == Phase::Running);
        if let Some(step) = failed {
            assert!(self.tell(Command::Retry { step }));
            return;
        }
        self.approve_all();
    }
}

fn case(numbers: &[Numbers], window: u8, commands: &[(u8, u8, u8)]) {
    let facts = Arc::new(plan(numbers, window));
    let mut night = Night::of(facts.clone());
    for (choice, luck, pick) in commands {
        play(&mut night, *choice, *luck, *pick);
    }
    night.play_out();
    judge(&facts, &night.drafts, &night.events, &night.times);
    torn(&facts, &night, commands.len());
    assert!(
        night.state.open_requests().next().is_none(),
        "closed with an open request"
    );
    let replayed = night
        .events
        .iter()
        .fold(knowing(facts, &night), |state, event| apply(state, event).unwrap());
    assert_eq!(replayed, night.state);
}

/// Whatever a torn batch left of the records: a new process goes on from there, and reaches an end.
fn torn(facts: &Arc<Facts>, night: &Night, luck: usize) {
    let kept = 1 + luck % night.events.len();
    let mut left = Night::new(facts.clone());
    left.state = knowing(facts.clone(), night);
    left.drafts.clone_from(&night.drafts);
    for (event, at) in night.events.iter().zip(&night.times).take(kept) {
        left.state = apply(left.state.clone(), event).unwrap();
        left.events.push(event.clone());
        left.times.push(*at);
        left.now = *at;
    }
    if left.state.is_closed() {
        return;
    }
    let operator = left.state.operator.clone();
    assert!(left.tell(Command::Resume {
        operator,
        host: "h".to_owned(),
        pid: 3,
        hold: None
    }));
    left.play_out();
    judge(facts, &left.drafts, &left.events, &left.times);
}

fn cases() -> u32 {
    std::env::var("POINTSMAN_MODEL_CASES")
        .ok()
        .map_or(1_500, |cases| cases.parse().unwrap())
}

#[test]
fn model_random_commands_over_random_plans_keep_every_promise() {
    let step = || {
        (
            proptest::collection::vec(0u8..8, 0..3),
            0u8..6,
            0u8..10,
            0u8..8,
            any::<u8>(),
        )
    };
    let sizes = prop_oneof![8 => 1usize..8, 3 => 8usize..25, 1 => 25usize..=60];
    let strategy = sizes.prop_flat_map(move |size| {
        (
            proptest::collection::vec(step(), size),
            any::<u8>(),
            proptest::collection::vec((0u8..44, 0u8..10, any::<u8>()), 0..150),
        )
    });
    let config = Config {
        cases: cases(),
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&strategy, |(numbers, window, commands)| {
            case(&numbers, window, &commands);
            Ok(())
        })
        .unwrap();
}
