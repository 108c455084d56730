//! A night in small for the pure state machine, with a world that answers as it is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use pointsman::run::amend::Draft;
use pointsman::run::command::{Binding, Outcome};
use pointsman::run::event::{CheckResult, Decision, Fidelity, OutcomeResult, Role};
use pointsman::run::facts::{
    AtEnd, Facts, Gate, OnExpiry, PersonFacts, Places, Quorum, RequestId, StepEffect, StepFacts, StepId, Undo, Who,
    WindowFacts,
};
use pointsman::run::proof::Counts;
use pointsman::run::state::Stage;
use pointsman::run::{Command, Effect, Event, RunState, apply, decide, effects};
use serde_json::{Map, Value};

/// Who may be there, and as what.
pub const PEOPLE: &[(&str, &str)] = &[
    ("olga", "operator"),
    ("dora", "operator"),
    ("ana", "approver"),
    ("bea", "approver"),
    ("dora", "approver"),
    ("eve", "approver"),
    ("lena", "lead"),
    ("dan", "dba"),
    ("carl", "dba"),
    ("nora", "dba"),
    ("nora", "network"),
    ("olga", "network"),
];

pub fn id(name: &str) -> StepId {
    StepId(name.to_owned())
}

pub fn operator(phrase: Option<&str>) -> Gate {
    Gate {
        who: Who::Operator,
        expires_ms: Some(10_000),
        phrase: phrase.map(str::to_owned),
        on_expiry: OnExpiry::Hold,
    }
}

fn approvers(min: u32) -> Quorum {
    Quorum {
        roles: vec!["approver".to_owned()],
        min,
        org: None,
        not_operator: true,
        not: Vec::new(),
    }
}

/// Two quorums, each by itself.
pub fn both() -> Gate {
    let dbas = Quorum {
        roles: vec!["dba".to_owned()],
        not_operator: false,
        ..approvers(1)
    };
    Gate {
        who: Who::Quorum(vec![dbas, approvers(2)]),
        ..quorum(2)
    }
}

pub fn quorum(min: u32) -> Gate {
    Gate {
        who: Who::Quorum(vec![approvers(min)]),
        expires_ms: None,
        phrase: None,
        on_expiry: OnExpiry::Reject,
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
        parallel_undo: false,
        fall_forward: false,
        live: name == "freeze",
        verifies: true,
        deadline_ms: None,
    }
}

/// A night in small: a closing effect, a kept one, two undoable ones, a read with an open gate, a point of no return.
pub fn facts() -> Arc<Facts> {
    Arc::new(facts_with(
        vec![
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
            step("wait", &["dms_start"], StepEffect::Read, open(), Undo::Nothing),
            step(
                "freeze",
                &["wait"],
                StepEffect::Mutate,
                operator(Some("freeze")),
                Undo::Action,
            ),
            step("flip", &["freeze"], StepEffect::Mutate, quorum(2), Undo::Action),
        ],
        None,
    ))
}

/// The roles of every poll here, each with a person of its own; carl may answer for the dba.
pub const POLLED: &[(&str, &str)] = &[("lead", "lena"), ("dba", "dan"), ("network", "nora")];

pub fn poll(quorum: u32, stops: bool) -> Gate {
    Gate {
        who: Who::Poll {
            roles: POLLED.iter().map(|(role, _)| (*role).to_owned()).collect(),
            quorum,
            deputies: BTreeMap::from([("dba".to_owned(), vec!["carl".to_owned()])]),
            stops,
        },
        expires_ms: None,
        phrase: None,
        on_expiry: OnExpiry::Hold,
    }
}

/// A gate that asks nobody.
pub fn open() -> Gate {
    Gate {
        who: Who::Open {
            reason: "it only waits".to_owned(),
        },
        expires_ms: None,
        phrase: None,
        on_expiry: OnExpiry::Hold,
    }
}

/// The people of every night here: olga operates, ana and bea approve, carl may break the glass, dora may take over.
pub fn facts_with(steps: Vec<StepFacts>, window: Option<(i64, AtEnd)>) -> Facts {
    let person = |role: &str| PersonFacts {
        roles: vec![role.to_owned()],
        org: None,
    };
    Facts {
        steps,
        unwind: operator(Some("roll back")),
        no_return: quorum(2),
        commit: operator(Some("commit")),
        extend: quorum(1),
        amend: operator(Some("amend")),
        preflight_ms: None,
        window: window.map(|(closes_ms, at_end)| WindowFacts { closes_ms, at_end }),
        people: BTreeMap::from([
            ("lena".to_owned(), person("lead")),
            ("dan".to_owned(), person("dba")),
            (
                "nora".to_owned(),
                PersonFacts {
                    roles: vec!["network".to_owned(), "dba".to_owned()],
                    org: None,
                },
            ),
            ("ana".to_owned(), person("approver")),
            ("bea".to_owned(), person("approver")),
            ("carl".to_owned(), person("break_glass")),
            ("dora".to_owned(), person("approver")),
        ]),
        personas: false,
        dry_run: false,
        places: Places::default(),
    }
}

/// A run with a world that answers as it is told.
pub struct Night {
    pub state: RunState,
    pub events: Vec<Event>,
    /// When each event was.
    pub times: Vec<i64>,
    pub work: Vec<Effect>,
    /// Requests whose live checks are being read.
    pub watched: Vec<RequestId>,
    pub now: i64,
    /// Plans that were asked for.
    pub drafts: Vec<Arc<Draft>>,
}

impl Night {
    pub fn begin() -> Self {
        Self::of(facts())
    }

    /// A run that has not begun.
    pub fn new(facts: Arc<Facts>) -> Self {
        Self {
            state: RunState::new(facts),
            events: Vec::new(),
            times: Vec::new(),
            work: Vec::new(),
            watched: Vec::new(),
            now: 1_000,
            drafts: Vec::new(),
        }
    }

    pub fn of(facts: Arc<Facts>) -> Self {
        let mut night = Self::new(facts);
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
            for effect in effects(&self.state, &event) {
                match effect {
                    Effect::Watch { request, .. } => self.watched.push(request),
                    Effect::Unwatch { request } => self.watched.retain(|watched| *watched != request),
                    // The world hears it and answers as it likes.
                    Effect::Cancel { .. } => {}
                    Effect::Check { .. }
                    | Effect::Recheck { .. }
                    | Effect::Execute { .. }
                    | Effect::Observe { .. }
                    | Effect::Verify { .. }
                    | Effect::Preflight { .. }
                    | Effect::PrepareUnwind => self.work.push(effect),
                }
            }
            self.events.push(event);
            self.times.push(self.now);
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
            Effect::Preflight { number } => Command::Preflighted {
                number,
                counts: Counts {
                    red: u32::from(luck == 1),
                    amber: u32::from(luck),
                    green: 1,
                },
                words: Vec::new(),
            },
            Effect::PrepareUnwind => Command::UnwindPrepared {
                lost: Some(u64::from(luck)),
                action_digest: "u".to_owned(),
                evidence: None,
                fault: None,
            },
            Effect::Watch { .. } | Effect::Unwatch { .. } | Effect::Cancel { .. } => return false,
        };
        self.tell(command)
    }

    pub fn approve_all(&mut self) {
        let asked: Vec<_> = self.state.open_requests().map(|r| (r.id, r.gate.clone())).collect();
        for (request, gate) in asked {
            let voters: &[(&str, &str)] = match gate.who {
                Who::Operator => &[("olga", "operator"), ("dora", "operator")],
                Who::Quorum(_) => &[
                    ("ana", "approver"),
                    ("bea", "approver"),
                    ("dora", "approver"),
                    ("dan", "dba"),
                ],
                Who::Open { .. } => &[],
                Who::Poll { .. } => &[("lena", "lead"), ("dan", "dba"), ("nora", "network")],
            };
            for (person, role) in voters {
                let operates = self.state.operators.contains(*person);
                let fits = match &gate.who {
                    Who::Operator => *person == self.state.operator,
                    Who::Quorum(quorums) => {
                        !operates && quorums.iter().any(|quorum| quorum.roles.iter().any(|its| its == role))
                    }
                    Who::Open { .. } => false,
                    Who::Poll { .. } => true,
                };
                let open = self.state.open_requests().any(|open| open.id == request);
                if !fits || !open {
                    continue;
                }
                let voted = self.state.requests.get(&request).is_some_and(|r| {
                    let poll = matches!(r.gate.who, Who::Poll { .. });
                    let mut cast = r.votes.iter().rev();
                    match cast.find(|cast| {
                        if poll {
                            cast.role == *role
                        } else {
                            cast.person == *person
                        }
                    }) {
                        // A role that abstained may still say go.
                        Some(last) => !poll || (last.person == *person && last.decision == Decision::Approve),
                        None => false,
                    }
                });
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
        attested_by: None,
    }
}

/// An answer to a poll; a no-go says why.
pub fn answer(request: RequestId, person: &str, role: &str, decision: Decision) -> Command {
    Command::Vote {
        request,
        person: person.to_owned(),
        role: role.to_owned(),
        decision,
        phrase: None,
        comment: match decision {
            Decision::Reject => "the link is down".to_owned(),
            Decision::Approve | Decision::Abstain => String::new(),
        },
        attested_by: None,
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
