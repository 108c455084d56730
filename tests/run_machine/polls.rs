//! Polls: who may answer, what answers come to, what a changed one does, how a poll ends.

use std::sync::Arc;

use pointsman::run::event::{Assurance, CloseState, Decision, Subject};
use pointsman::run::facts::{Facts, RequestId, StepEffect, Undo};
use pointsman::run::poll::{Verdict, answers, verdict};
use pointsman::run::state::{Phase, RequestStatus, Stage};
use pointsman::run::{Command, Event, decide};

use super::night::{Night, answer, facts_with, id, operator, poll, step};

/// A change and then a poll, or the poll alone.
fn facts(quorum: u32, stops: bool, change: bool) -> Facts {
    let mut steps = Vec::new();
    if change {
        steps.push(step("change", &[], StepEffect::Mutate, operator(None), Undo::Action));
    }
    let needs: &[&str] = if change { &["change"] } else { &[] };
    steps.push(step(
        "ask",
        needs,
        StepEffect::Human,
        poll(quorum, stops),
        Undo::Nothing,
    ));
    facts_with(steps, None)
}

fn asked(quorum: u32) -> Night {
    of(facts(quorum, false, false))
}

fn of(facts: Facts) -> Night {
    let mut night = Night::of(Arc::new(facts));
    night.play_until("ask");
    night
}

fn open(night: &Night) -> RequestId {
    night.state.open_requests().next().unwrap().id
}

fn say(night: &mut Night, person: &str, role: &str, decision: Decision) {
    let command = answer(open(night), person, role, decision);
    if let Err(refused) = decide(&night.state, &command, night.now) {
        panic!("{person} may answer for {role}: {refused}");
    }
    assert!(night.tell(command));
    night.settle();
}

fn refusal(night: &Night, person: &str, role: &str, decision: Decision) -> String {
    let command = answer(open(night), person, role, decision);
    decide(&night.state, &command, night.now).unwrap_err().to_string()
}

fn stage(night: &Night) -> Stage {
    night.state.step(&id("ask")).unwrap().stage
}

fn reason(night: &Night) -> String {
    night.state.step(&id("ask")).unwrap().reason.clone().unwrap()
}

#[test]
fn it_is_go_once_every_role_says_go() {
    let mut night = asked(3);
    say(&mut night, "lena", "lead", Decision::Approve);
    say(&mut night, "dan", "dba", Decision::Approve);
    assert!(matches!(stage(&night), Stage::AtGate(_)), "two of three");
    say(&mut night, "nora", "network", Decision::Approve);
    assert!(matches!(stage(&night), Stage::Approved(_)));
    night.play_until("nothing");
    assert!(matches!(
        night.state.phase,
        Phase::Closed {
            state: CloseState::Committed,
            ..
        }
    ));
}

#[test]
fn with_a_smaller_quorum_the_missing_hold_nobody_up() {
    let mut night = asked(2);
    say(&mut night, "lena", "lead", Decision::Approve);
    say(&mut night, "nora", "network", Decision::Abstain);
    assert!(matches!(stage(&night), Stage::AtGate(_)));
    say(&mut night, "dan", "dba", Decision::Approve);
    assert!(matches!(stage(&night), Stage::Approved(_)));
}

#[test]
fn the_latest_answer_of_a_role_counts_and_the_earlier_stays_recorded() {
    let mut night = asked(2);
    say(&mut night, "lena", "lead", Decision::Abstain);
    say(&mut night, "lena", "lead", Decision::Approve);
    let again = refusal(&night, "lena", "lead", Decision::Approve);
    assert!(
        again.contains("already; only another answer changes something"),
        "{again}"
    );
    say(&mut night, "lena", "lead", Decision::Abstain);
    assert!(matches!(stage(&night), Stage::AtGate(_)), "nobody says go now");
    say(&mut night, "dan", "dba", Decision::Approve);
    assert!(matches!(stage(&night), Stage::AtGate(_)), "one of two");
    // Somebody else answers for the same role: that counts from then on.
    say(&mut night, "nora", "dba", Decision::Abstain);
    assert_eq!(
        reason(&night),
        "the poll cannot come to 2 × go any more: abstained dba, lead"
    );
    let request = night.state.requests.values().next().unwrap();
    assert_eq!(request.votes.len(), 5, "every answer is a record");
    let counting: Vec<(&str, &str)> = answers(request)
        .into_iter()
        .map(|(role, vote)| (role, vote.person.as_str()))
        .collect();
    assert_eq!(counting, [("dba", "nora"), ("lead", "lena")]);
}

#[test]
fn one_no_go_ends_it_and_a_retry_polls_anew() {
    let mut night = asked(1);
    let bare = Command::Vote {
        request: open(&night),
        person: "nora".to_owned(),
        role: "network".to_owned(),
        decision: Decision::Reject,
        phrase: None,
        comment: " ".to_owned(),
        attested_by: None,
    };
    assert!(!night.tell(bare), "a no-go says why");
    say(&mut night, "nora", "network", Decision::Reject);
    assert_eq!(stage(&night), Stage::Failed);
    assert_eq!(reason(&night), "no-go of network by nora: the link is down");
    assert!(!night.state.is_closed(), "the operator decides");
    let late = answer(RequestId(1), "lena", "lead", Decision::Approve);
    assert!(!night.tell(late), "it is over");
    assert!(night.tell(Command::Retry { step: id("ask") }));
    night.play_until("ask");
    assert!(answers(night.state.open_requests().next().unwrap()).is_empty());
    night.play_until("nothing");
    assert!(night.state.is_closed());
}

#[test]
fn abstentions_that_leave_too_few_end_it_and_say_so() {
    let mut night = asked(2);
    say(&mut night, "lena", "lead", Decision::Abstain);
    assert!(matches!(stage(&night), Stage::AtGate(_)));
    say(&mut night, "dan", "dba", Decision::Abstain);
    assert_eq!(stage(&night), Stage::Failed);
    assert_eq!(
        reason(&night),
        "the poll cannot come to 2 × go any more: abstained dba, lead"
    );
    let request = night.state.requests.values().next().unwrap();
    assert_eq!(verdict(request), Verdict::Unreachable);
    assert_eq!(request.status, RequestStatus::Voided);
}

#[test]
fn a_role_is_answered_by_its_holders_and_deputies_alone() {
    let mut night = asked(3);
    assert!(refusal(&night, "ana", "dba", Decision::Approve).contains("neither has the role dba nor is its deputy"));
    assert!(refusal(&night, "carl", "lead", Decision::Approve).contains("nor is its deputy"));
    assert!(refusal(&night, "zoe", "dba", Decision::Approve).contains("not among the people"));
    assert!(refusal(&night, "ana", "approver", Decision::Approve).contains("this poll asks lead, dba, network"));
    say(&mut night, "carl", "dba", Decision::Approve);
}

#[test]
fn nobody_answers_for_two_roles_but_the_personas_of_the_lab() {
    let mut night = asked(3);
    say(&mut night, "nora", "dba", Decision::Approve);
    let told = refusal(&night, "nora", "network", Decision::Approve);
    assert!(told.contains("nora answers for dba already"), "{told}");
    // Once somebody else answers for the dba, she is free.
    say(&mut night, "dan", "dba", Decision::Approve);
    say(&mut night, "nora", "network", Decision::Approve);

    let mut lab = facts(3, false, false);
    lab.personas = true;
    let mut night = of(lab);
    for role in ["lead", "dba", "network"] {
        say(&mut night, "olga", role, Decision::Approve);
    }
    assert!(matches!(stage(&night), Stage::Approved(_)));
    let personas = night.events.iter().filter(|event| {
        matches!(
            event,
            Event::GateVote {
                assurance: Assurance::Persona,
                ..
            }
        )
    });
    assert_eq!(personas.count(), 3);
}

#[test]
fn a_voice_on_the_bridge_is_written_down_and_signed_as_often_as_it_answered() {
    let mut night = asked(2);
    let heard = |request, decision| {
        let mut command = answer(request, "nora", "network", decision);
        if let Command::Vote { attested_by, .. } = &mut command {
            *attested_by = Some("olga".to_owned());
        }
        command
    };
    let request = open(&night);
    assert!(night.tell(heard(request, Decision::Abstain)));
    assert!(night.tell(heard(request, Decision::Approve)));
    let sign = || Command::Countersign {
        request,
        person: "nora".to_owned(),
        role: "network".to_owned(),
    };
    assert!(night.tell(sign()));
    assert!(night.tell(sign()), "both answers were heard");
    assert!(!night.tell(sign()));

    // In the lab one person may be heard for two roles.
    let mut lab = facts(3, false, false);
    lab.personas = true;
    let mut night = of(lab);
    let request = open(&night);
    for role in ["dba", "network"] {
        let mut command = answer(request, "nora", role, Decision::Approve);
        if let Command::Vote { attested_by, .. } = &mut command {
            *attested_by = Some("olga".to_owned());
        }
        assert!(night.tell(command));
    }
    for role in ["dba", "network"] {
        let (person, role) = ("nora".to_owned(), role.to_owned());
        assert!(night.tell(Command::Countersign { request, person, role }));
    }
}

#[test]
fn to_go_on_without_a_poll_is_asked_of_the_same_roles() {
    let mut night = asked(2);
    say(&mut night, "nora", "network", Decision::Reject);
    assert!(night.tell(Command::Skip {
        step: id("ask"),
        person: "olga".to_owned(),
        reason: "the link is not needed".to_owned(),
    }));
    let request = night.state.open_requests().next().unwrap();
    assert_eq!((request.subject, request.gate.phrase.as_ref()), (Subject::Skip, None));
    say(&mut night, "lena", "lead", Decision::Approve);
    say(&mut night, "nora", "network", Decision::Reject);
    assert_eq!(stage(&night), Stage::Failed, "a no-go leaves it as it was");
}

#[test]
fn a_no_go_that_stops_ends_the_run_where_nothing_stands() {
    let mut night = of(facts(2, true, false));
    say(&mut night, "nora", "network", Decision::Reject);
    assert_eq!(
        night.state.phase,
        Phase::Closed {
            state: CloseState::Stopped,
            exit: 3
        }
    );
    let Some(Event::RunClosed { reason, .. }) = night.events.last() else {
        panic!("{:?}", night.events.last());
    };
    assert_eq!(
        reason,
        "the poll ask ended the run: no-go of network by nora: the link is down"
    );

    let mut night = of(facts(2, true, true));
    say(&mut night, "nora", "network", Decision::Reject);
    assert!(!night.state.is_closed(), "what stands has to be taken back first");
    assert_eq!(stage(&night), Stage::Failed);

    let mut night = of(facts(3, true, false));
    say(&mut night, "nora", "network", Decision::Abstain);
    assert!(!night.state.is_closed(), "abstaining is no no-go");
    assert_eq!(stage(&night), Stage::Failed);
}

#[test]
fn only_a_poll_takes_an_abstention() {
    let mut night = Night::begin();
    night.play_until("freeze");
    let request = open(&night);
    let told = decide(
        &night.state,
        &answer(request, "olga", "operator", Decision::Abstain),
        night.now,
    );
    assert!(
        told.unwrap_err()
            .to_string()
            .contains("only a poll takes an abstention")
    );
}

#[test]
fn answers_die_with_the_process_and_survive_their_records() {
    let mut night = asked(2);
    say(&mut night, "dan", "dba", Decision::Abstain);
    say(&mut night, "dan", "dba", Decision::Approve);
    for event in &night.events {
        let text = serde_json::to_string(event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), *event);
    }
    night.work.clear();
    assert!(night.tell(Command::Resume {
        operator: "olga".to_owned(),
        host: "h".to_owned(),
        pid: 2,
        hold: None
    }));
    night.play_until("ask");
    assert!(night.state.open_requests().next().unwrap().votes.is_empty());
}

#[test]
fn a_hold_freezes_it_and_a_go_may_be_taken_back() {
    let mut night = asked(1);
    assert!(night.tell(Command::Hold {
        reason: "wait".to_owned(),
        person: "olga".to_owned(),
        owner: None,
        until_ms: None,
    }));
    assert!(refusal(&night, "lena", "lead", Decision::Approve).contains("the run is held"));
    assert!(night.tell(Command::Release {
        person: "olga".to_owned()
    }));
    night.play_until("ask");
    say(&mut night, "lena", "lead", Decision::Approve);
    let Stage::Approved(request) = stage(&night) else {
        panic!("{:?}", stage(&night));
    };
    assert!(night.tell(Command::Revoke {
        request,
        person: "lena".to_owned(),
    }));
    night.work.clear();
    night.play_until("ask");
    let step = night.state.step(&id("ask")).unwrap();
    assert_eq!(
        step.attempt, 3,
        "asked anew after the hold, and after it was taken back"
    );
}
