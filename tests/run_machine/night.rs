//! A night in small for the pure state machine, with a world that answers as it is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use pointsman::run::command::{Binding, Outcome};
use pointsman::run::event::{CheckResult, Decision, Fidelity, OutcomeResult, Role};
use pointsman::run::facts::{Facts, Gate, PersonFacts, RequestId, StepEffect, StepFacts, StepId, Undo, Who};
use pointsman::run::state::Stage;
use pointsman::run::{Command, Effect, Event, RunState, apply, decide, effects};
use serde_json::{Map, Value};

pub fn id(name: &str) -> StepId {
    StepId(name.to_owned())
}

pub fn operator(phrase: Option<&str>) -> Gate {
    Gate {
        who: Who::Operator,
        expires_ms: Some(10_000),
        phrase: phrase.map(str::to_owned),
        reject_on_expiry: false,
    }
}

pub fn quorum(min: u32) -> Gate {
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

pub fn step(name: &str, needs: &[&str], effect: StepEffect, gate: Gate, undo: Undo) -> StepFacts {
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
pub fn facts() -> Arc<Facts> {
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
        dry_run: false,
    })
}

/// A run with a world that answers as it is told.
pub struct Night {
    pub state: RunState,
    pub events: Vec<Event>,
    pub work: Vec<Effect>,
    pub now: i64,
}

impl Night {
    pub fn begin() -> Self {
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

    pub fn tell(&mut self, command: Command) -> bool {
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

    pub fn settle(&mut self) {
        loop {
            let before = self.events.len();
            self.tell(Command::Advance);
            if self.events.len() == before {
                return;
            }
        }
    }

    /// Answers one piece of work; `luck` chooses how it goes (0 well).
    pub fn answer(&mut self, effect: Effect, luck: u8) -> bool {
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
            unverifiable: false,
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

    pub fn approve_all(&mut self) {
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
    pub fn play_until(&mut self, stop: &str) {
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

pub fn outcome(result: OutcomeResult, observed: bool) -> Outcome {
    Outcome {
        result,
        error_kind: None,
        detail: "so it went".to_owned(),
        outputs: Map::new(),
        observed,
        fidelity: Fidelity::Executed,
    }
}

pub fn vote(request: RequestId, person: &str, role: &str, phrase: Option<String>) -> Command {
    Command::Vote {
        request,
        person: person.to_owned(),
        role: role.to_owned(),
        decision: Decision::Approve,
        phrase,
        comment: String::new(),
    }
}

pub fn roles_of(night: &Night, wanted: Role) -> Vec<String> {
    night
        .events
        .iter()
        .filter_map(|event| match event {
            Event::EffectIntent { step, role, .. } if *role == wanted => Some(step.0.clone()),
            _ => None,
        })
        .collect()
}
