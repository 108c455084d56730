//! The promises of the pure state machine, under random commands: it never panics, a replay gives the live state, and
//! no effect is begun without the gate that allowed it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pointsman::run::command::{Binding, Outcome};
use pointsman::run::event::{CheckResult, CloseState, Decision, OutcomeResult, Role};
use pointsman::run::facts::{Facts, Gate, PersonFacts, RequestId, StepEffect, StepFacts, StepId, Undo, Who};
use pointsman::run::state::{Phase, Stage};
use pointsman::run::{Command, Effect, Event, RunState, apply, decide, effects};
use proptest::prelude::*;
use serde_json::{Map, Value};

fn id(name: &str) -> StepId {
    StepId(name.to_owned())
}

fn operator(phrase: Option<&str>) -> Gate {
    Gate {
        who: Who::Operator,
        expires_ms: Some(10_000),
        phrase: phrase.map(str::to_owned),
        reject_on_expiry: false,
    }
}

fn quorum(min: u32) -> Gate {
    Gate {
        who: Who::Quorum {
            roles: vec!["approver".to_owned()],
            min,
            org: None,
            not_operator: true,
            not: Vec::new(),
        },
        expires_ms: None,
        phrase: None,
        reject_on_expiry: true,
    }
}

fn step(name: &str, needs: &[&str], effect: StepEffect, gate: Gate, undo: Undo) -> StepFacts {
    StepFacts {
        id: id(name),
        needs: needs.iter().map(|need| id(need)).collect(),
        effect,
        gate,
        undo,
        writes_on_target: name == "flip",
        rollback_on_failure: name == "dms_start",
    }
}

/// A night in small: a closing effect, a kept one, two undoable ones, a read with an open gate, a point of no return.
fn facts() -> Arc<Facts> {
    let open = Gate {
        who: Who::Open {
            reason: "it only waits".to_owned(),
        },
        expires_ms: None,
        phrase: None,
        reject_on_expiry: false,
    };
    Arc::new(Facts {
        steps: vec![
            step("lower_ttl", &[], StepEffect::Mutate, operator(None), Undo::AtClose),
            step(
                "snapshot",
                &["lower_ttl"],
                StepEffect::Mutate,
                operator(None),
                Undo::Kept,
            ),
            step(
                "dms_start",
                &["snapshot"],
                StepEffect::Mutate,
                operator(None),
                Undo::Action,
            ),
            step("wait", &["dms_start"], StepEffect::Read, open, Undo::Nothing),
            step(
                "freeze",
                &["wait"],
                StepEffect::Mutate,
                operator(Some("freeze")),
                Undo::Action,
            ),
            step("flip", &["freeze"], StepEffect::Mutate, quorum(2), Undo::Action),
        ],
        unwind: operator(Some("roll back")),
        no_return: quorum(2),
        commit: operator(Some("commit")),
        people: BTreeMap::from([
            (
                "ana".to_owned(),
                PersonFacts {
                    roles: vec!["approver".to_owned()],
                    org: None,
                },
            ),
            (
                "bea".to_owned(),
                PersonFacts {
                    roles: vec!["approver".to_owned()],
                    org: None,
                },
            ),
        ]),
        personas: false,
    })
}

/// A run with a world that answers as it is told.
struct Night {
    state: RunState,
    events: Vec<Event>,
    work: Vec<Effect>,
    now: i64,
}

impl Night {
    fn begin() -> Self {
        let mut night = Self {
            state: RunState::new(facts()),
            events: Vec::new(),
            work: Vec::new(),
            now: 1_000,
        };
        assert!(night.tell(Command::Open {
            data: Map::new(),
            operator: "olga".to_owned()
        }));
        night
    }

    fn tell(&mut self, command: Command) -> bool {
        let Ok(events) = decide(&self.state, &command, self.now) else {
            return false;
        };
        for event in events {
            self.state = apply(self.state.clone(), &event).unwrap();
            self.work.extend(effects(&self.state, &event));
            self.events.push(event);
        }
        true
    }

    fn settle(&mut self) {
        loop {
            let before = self.events.len();
            self.tell(Command::Advance);
            if self.events.len() == before {
                return;
            }
        }
    }

    /// Answers one piece of work; `luck` chooses how it goes (0 well).
    fn answer(&mut self, effect: Effect, luck: u8) -> bool {
        let binding = Binding {
            action_digest: "d".to_owned(),
            evidence_digest: "e".to_owned(),
            identity: Value::Null,
        };
        let check = |ok: bool, when: &str| CheckResult {
            when: when.to_owned(),
            index: 0,
            uses: "sql.assert".to_owned(),
            ok,
            detail: String::new(),
        };
        let command = match effect {
            Effect::Check { step, attempt } => Command::Checked {
                step,
                attempt,
                results: vec![check(luck != 1, "before")],
                binding: (luck != 2).then_some(binding),
            },
            Effect::Recheck { request, .. } => Command::Rechecked {
                request,
                action_digest: match luck {
                    1 => Err("gone".to_owned()),
                    2 => Ok("other".to_owned()),
                    _ => Ok("d".to_owned()),
                },
            },
            Effect::Execute {
                step, attempt, role, ..
            } => Command::Finished {
                step,
                attempt,
                role,
                outcome: outcome(
                    match luck {
                        1 => OutcomeResult::Failed,
                        2 => OutcomeResult::InDoubt,
                        _ => OutcomeResult::Done,
                    },
                    false,
                ),
            },
            Effect::Observe {
                step, attempt, role, ..
            } => Command::Finished {
                step,
                attempt,
                role,
                outcome: outcome(
                    match luck {
                        1 => OutcomeResult::NotSent,
                        2 => OutcomeResult::InDoubt,
                        3 => OutcomeResult::Failed,
                        _ => OutcomeResult::Done,
                    },
                    true,
                ),
            },
            Effect::Verify { step, attempt } => Command::Verified {
                step,
                attempt,
                results: vec![check(luck != 1, "after")],
                outputs: Map::new(),
                fault: (luck == 2).then(|| "no such output".to_owned()),
            },
            Effect::PrepareUnwind => Command::UnwindPrepared {
                lost: Some(u64::from(luck)),
                action_digest: "u".to_owned(),
                evidence: None,
                fault: None,
            },
        };
        self.tell(command)
    }

    fn approve_all(&mut self) {
        let asked: Vec<_> = self.state.open_requests().map(|r| (r.id, r.gate.clone())).collect();
        for (request, gate) in asked {
            let voters: &[(&str, &str)] = match gate.who {
                Who::Operator => &[("olga", "operator")],
                Who::Quorum { .. } => &[("ana", "approver"), ("bea", "approver")],
                Who::Open { .. } => &[],
            };
            for (person, role) in voters {
                let voted = self
                    .state
                    .requests
                    .get(&request)
                    .is_some_and(|r| r.votes.iter().any(|cast| cast.person == *person));
                if voted {
                    continue;
                }
                let command = vote(request, person, role, gate.phrase.clone());
                if let Err(refused) = decide(&self.state, &command, self.now) {
                    panic!("{person} may approve: {refused}");
                }
                assert!(self.tell(command));
            }
        }
    }

    /// Everything goes well until `step` waits at its gate, or to the end.
    fn play_until(&mut self, stop: &str) {
        for _ in 0..200 {
            self.settle();
            let at_stop = self
                .state
                .step(&id(stop))
                .is_some_and(|step| matches!(step.stage, Stage::AtGate(_)));
            if at_stop || self.state.is_closed() {
                return;
            }
            match self.work.pop() {
                Some(work) => {
                    self.answer(work, 0);
                }
                None => self.approve_all(),
            }
        }
        panic!("the run does not end");
    }
}

fn outcome(result: OutcomeResult, observed: bool) -> Outcome {
    Outcome {
        result,
        error_kind: None,
        detail: "so it went".to_owned(),
        outputs: Map::new(),
        observed,
    }
}

fn vote(request: RequestId, person: &str, role: &str, phrase: Option<String>) -> Command {
    Command::Vote {
        request,
        person: person.to_owned(),
        role: role.to_owned(),
        decision: Decision::Approve,
        phrase,
        comment: String::new(),
    }
}

fn roles_of(night: &Night, wanted: Role) -> Vec<String> {
    night
        .events
        .iter()
        .filter_map(|event| match event {
            Event::EffectIntent { step, role, .. } if *role == wanted => Some(step.0.clone()),
            _ => None,
        })
        .collect()
}

#[test]
fn a_good_night_is_committed_and_its_closing_effect_runs_last() {
    let mut night = Night::begin();
    night.play_until("nothing");
    assert_eq!(
        night.state.phase,
        Phase::Closed {
            state: CloseState::Committed,
            exit: 0
        }
    );
    assert_eq!(roles_of(&night, Role::Close), ["lower_ttl"]);
    assert_eq!(roles_of(&night, Role::Undo), Vec::<String>::new());
}

#[test]
fn a_whole_unwinding_goes_in_reverse_and_ends_with_the_closing_effects() {
    let mut night = Night::begin();
    night.play_until("flip");
    assert!(night.tell(Command::Rollback {
        to: None,
        person: "olga".to_owned()
    }));
    night.play_until("nothing");
    assert_eq!(
        night.state.phase,
        Phase::Closed {
            state: CloseState::RolledBack,
            exit: 4
        }
    );
    assert_eq!(roles_of(&night, Role::Undo), ["freeze", "dms_start"]);
    assert_eq!(roles_of(&night, Role::Close), ["lower_ttl"]);
}

#[test]
fn beyond_the_point_of_no_return_the_unwinding_needs_its_quorum() {
    let mut night = Night::begin();
    for _ in 0..60 {
        night.settle();
        if matches!(night.state.phase, Phase::CommitGate(_)) {
            break;
        }
        match night.work.pop() {
            Some(work) => {
                night.answer(work, 0);
            }
            None => night.approve_all(),
        }
    }
    assert!(night.tell(Command::Rollback {
        to: None,
        person: "olga".to_owned()
    }));
    let work = night.work.pop().unwrap();
    night.answer(work, 7);
    let request = night.state.open_requests().next().unwrap().clone();
    assert!(!night.tell(vote(request.id, "olga", "operator", Some("roll back".to_owned()))));
    assert!(night.tell(vote(request.id, "ana", "approver", None)));
    assert!(!night.tell(vote(request.id, "ana", "approver", None)), "one vote each");
    assert!(roles_of(&night, Role::Undo).is_empty());
    night.play_until("nothing");
    assert_eq!(roles_of(&night, Role::Undo), ["flip", "freeze", "dms_start"]);
}

#[test]
fn after_a_partial_unwinding_the_run_goes_forward_with_new_attempts() {
    let mut night = Night::begin();
    night.play_until("flip");
    assert!(night.tell(Command::Rollback {
        to: Some(id("dms_start")),
        person: "olga".to_owned()
    }));
    for _ in 0..20 {
        night.settle();
        if night.state.hold.is_some() {
            break;
        }
        match night.work.pop() {
            Some(work) => {
                night.answer(work, 0);
            }
            None => night.approve_all(),
        }
    }
    assert!(night.tell(Command::Release {
        person: "olga".to_owned()
    }));
    night.play_until("nothing");
    assert_eq!(
        night.state.phase,
        Phase::Closed {
            state: CloseState::Committed,
            exit: 0
        }
    );
    assert_eq!(
        roles_of(&night, Role::Do),
        [
            "lower_ttl",
            "snapshot",
            "dms_start",
            "wait",
            "freeze",
            "wait",
            "freeze",
            "flip"
        ]
    );
    assert_eq!(night.state.step(&id("freeze")).unwrap().attempt, 2);
    assert_eq!(night.state.step(&id("dms_start")).unwrap().attempt, 1);
}

#[test]
fn an_expired_request_never_approves() {
    let mut night = Night::begin();
    night.play_until("freeze");
    let request = night.state.open_requests().next().unwrap().id;
    night.now += 10_000;
    assert!(!night.tell(vote(request, "olga", "operator", Some("freeze".to_owned()))));
    night.settle();
    assert!(night.state.hold.is_some());
    assert_eq!(night.state.step(&id("freeze")).unwrap().stage, Stage::Waiting);
}

#[test]
fn approvals_die_with_the_process() {
    let mut night = Night::begin();
    night.play_until("flip");
    let request = night.state.open_requests().next().unwrap().id;
    assert!(night.tell(vote(request, "ana", "approver", None)));
    night.work.clear();
    assert!(night.tell(Command::Resume {
        operator: "olga".to_owned(),
        host: "h".to_owned(),
        pid: 1
    }));
    assert!(!night.tell(vote(request, "bea", "approver", None)));
    night.play_until("flip");
    assert!(night.state.open_requests().next().unwrap().votes.is_empty());
}

#[test]
fn every_event_survives_its_record() {
    let mut night = Night::begin();
    night.play_until("flip");
    night.tell(Command::Rollback {
        to: None,
        person: "olga".to_owned(),
    });
    night.play_until("nothing");
    for event in &night.events {
        let text = serde_json::to_string(event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), *event);
    }
}

/// Checks what must hold of any list of events.
fn promises(events: &[Event]) {
    let mut granted: BTreeSet<RequestId> = BTreeSet::new();
    let mut spent: BTreeSet<RequestId> = BTreeSet::new();
    let mut open: BTreeSet<(StepId, Role)> = BTreeSet::new();
    for event in events {
        match event {
            Event::GateGranted { request } => {
                granted.insert(*request);
            }
            Event::GateVoided { request, .. } | Event::GateExpired { request } => {
                granted.remove(request);
            }
            Event::EffectIntent {
                step, role, request, ..
            } => {
                assert!(
                    granted.contains(request),
                    "{step} begins under a request that was not granted"
                );
                assert!(open.is_empty(), "{step} begins while {open:?} is under way");
                open.insert((step.clone(), *role));
                if *role == Role::Do {
                    assert!(spent.insert(*request), "one approval allowed {step} twice");
                }
            }
            Event::EffectOutcome {
                step,
                role,
                result,
                observed,
                ..
            } => {
                if *result != OutcomeResult::InDoubt || !*observed {
                    assert!(
                        open.contains(&(step.clone(), *role)),
                        "{step} ends without having begun"
                    );
                }
                if *result != OutcomeResult::InDoubt {
                    open.remove(&(step.clone(), *role));
                }
            }
            Event::EffectDecided { step, role, .. } => {
                open.remove(&(step.clone(), *role));
            }
            Event::RunClosed { exit, .. } => {
                assert!(open.is_empty() || *exit == 6 || *exit == 5, "closed with {open:?}")
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_commands_keep_every_promise(choices in proptest::collection::vec((0u8..24, 0u8..6, 0u8..6), 1..250)) {
        let mut night = Night::begin();
        let names = ["lower_ttl", "snapshot", "dms_start", "wait", "freeze", "flip", "unknown"];
        let people = [("olga", "operator"), ("ana", "approver"), ("bea", "approver"), ("eve", "approver")];
        for (choice, luck, pick) in choices {
            let step = id(names[usize::from(pick)]);
            let person = people[usize::from(pick) % people.len()];
            let request = RequestId(night.state.requests.len() as u64);
            match choice {
                0..=7 => night.settle(),
                8..=13 => {
                    if let Some(work) = night.work.pop() {
                        night.answer(work, luck.saturating_sub(2));
                    }
                }
                14 => { night.tell(vote(request, person.0, person.1, Some("freeze".to_owned()))); }
                15 => night.approve_if_allowed(),
                16 => { night.tell(Command::Retry { step }); }
                17 => { night.tell(Command::Rollback { to: (luck > 2).then_some(step), person: "olga".to_owned() }); }
                18 => { night.tell(Command::Hold { reason: "wait".to_owned(), person: "olga".to_owned() }); }
                19 => { night.tell(Command::Release { person: "olga".to_owned() }); }
                20 => {
                    night.work.clear();
                    night.tell(Command::Resume { operator: "olga".to_owned(), host: "h".to_owned(), pid: 2 });
                }
                21 => { night.tell(Command::Decide { step, done: luck > 2, person: "olga".to_owned(), reason: "seen".to_owned() }); }
                22 => { night.tell(Command::DoneByHand { step, person: "olga".to_owned(), reason: "seen".to_owned() }); }
                _ => {
                    night.now += 3_000;
                    if luck == 5 {
                        night.tell(Command::Stop { reason: "enough".to_owned(), person: "olga".to_owned() });
                    }
                }
            }
        }
        promises(&night.events);
        prop_assert!(!night.state.is_closed() || night.state.open_requests().next().is_none());
        let replayed = night.events.iter().fold(RunState::new(facts()), |state, event| apply(state, event).unwrap());
        prop_assert_eq!(replayed, night.state);
    }
}

impl Night {
    fn approve_if_allowed(&mut self) {
        if self.state.hold.is_none() && self.state.open_requests().all(|r| r.votes.is_empty()) {
            let late = self
                .state
                .open_requests()
                .any(|r| r.expires_ms.is_some_and(|at| self.now >= at));
            if !late {
                self.approve_all();
            }
        }
    }
}
