//! Amending the plan of a run: what may be changed and what may not, that approvals die, that a replay knows the new
//! plan, and that a point of no return asks both its quorums.

use std::sync::Arc;

use pointsman::run::event::CloseState;
use pointsman::run::facts::{Facts, Quorum, StepEffect, Undo, Who};
use pointsman::run::state::{Phase, RequestStatus, Stage};
use pointsman::run::{Command, Event, RunState, apply};

use super::drafts::draft;
use super::night::{Night, facts, facts_with, id, open, operator, quorum, step, vote};

fn held_at_freeze() -> Night {
    let mut night = Night::begin();
    night.play_until("freeze");
    hold(&mut night);
    night
}

fn hold(night: &mut Night) {
    assert!(night.tell(Command::Hold {
        reason: "the runbook is wrong".to_owned(),
        person: "olga".to_owned(),
        owner: None,
        until_ms: None,
    }));
}

fn with(change: impl FnOnce(&mut Facts)) -> Facts {
    let mut new = Facts::clone(&facts());
    change(&mut new);
    new
}

fn refusal(night: &mut Night, new: Facts, touched: Option<&str>) -> Option<String> {
    let old = night.state.facts.clone();
    let draft = draft("plan", &old, new, touched.map(id), false);
    night.state.learn(draft);
    let command = Command::Amend {
        plan: "plan".to_owned(),
        person: "olga".to_owned(),
        reason: "because".to_owned(),
        binding: pointsman::run::command::Binding {
            action_digest: String::new(),
            evidence_digest: String::new(),
            identity: serde_json::Value::Null,
        },
    };
    pointsman::run::decide(&night.state, &command, night.now)
        .err()
        .map(|refused| refused.to_string())
}

#[test]
fn a_new_step_before_what_has_not_begun_is_taken_and_gone_through() {
    let mut night = held_at_freeze();
    let new = with(|facts| {
        let drain = step("drain", &["wait"], StepEffect::Mutate, operator(None), Undo::Action);
        facts.steps.insert(4, drain);
        facts.steps[5].needs = vec![id("drain")];
        let before = facts.steps[5].gate.clone();
        facts.steps[5].gate = pointsman::run::facts::Gate {
            who: quorum(1).who,
            ..before
        };
    });
    let open_before = night.state.open_requests().next().unwrap().id;
    let draft = draft("plan", &facts(), new, None, false);
    assert!(night.ask_to_amend(draft));
    let asked = night.state.open_requests().last().unwrap().id;
    assert!(
        !night.tell(vote(asked, "ana", "approver", Some("amend".to_owned()))),
        "the operator's gate"
    );
    assert!(!night.tell(vote(asked, "olga", "operator", None)), "a phrase is typed");
    assert_eq!(night.state.amended, 0);
    assert!(night.tell(vote(asked, "olga", "operator", Some("amend".to_owned()))));
    assert_eq!(night.state.amended, 1);
    assert_eq!(
        night.state.requests[&open_before].status,
        RequestStatus::Voided,
        "pending approvals die"
    );
    assert_eq!(
        night.state.step(&id("snapshot")).unwrap().stage,
        Stage::Done,
        "what was done stays done"
    );
    assert_eq!(night.state.step(&id("freeze")).unwrap().stage, Stage::Waiting);
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
    let order = super::roles_of(&night, pointsman::run::event::Role::Do);
    assert_eq!(
        order,
        ["lower_ttl", "snapshot", "dms_start", "wait", "drain", "freeze", "flip"]
    );
}

#[test]
fn a_replay_needs_the_plan_and_then_gives_the_live_state() {
    let mut night = held_at_freeze();
    let draft = draft(
        "plan",
        &facts(),
        with(|facts| facts.steps[5].gate = quorum(3)),
        None,
        false,
    );
    assert!(night.ask_to_amend(draft.clone()));
    let asked = night.state.open_requests().last().unwrap().id;
    assert!(night.tell(vote(asked, "olga", "operator", Some("amend".to_owned()))));
    let replay = |mut state: RunState| {
        night.events.iter().try_fold(state.clone(), |_, event| {
            state = apply(state.clone(), event)?;
            Ok::<_, pointsman::run::Illegal>(state.clone())
        })
    };
    assert!(replay(RunState::new(facts())).is_err(), "the plan is not known");
    let mut knowing = RunState::new(facts());
    knowing.learn(draft);
    assert_eq!(replay(knowing).unwrap(), night.state);
}

#[test]
fn only_a_held_run_that_goes_forward_with_nothing_under_way_is_amended() {
    let new = || with(|facts| facts.steps[5].deadline_ms = Some(9));
    let mut night = Night::begin();
    night.play_until("freeze");
    assert!(refusal(&mut night, new(), None).unwrap().contains("hold it first"));
    night.approve_all();
    night.settle();
    let work = night.work.pop().unwrap();
    night.answer(work, 0);
    hold(&mut night);
    let words = refusal(&mut night, new(), None).unwrap();
    assert!(words.contains("freeze") && words.contains("under way"), "{words}");
    let work = night.work.pop().unwrap();
    night.answer(work, 0);
    assert!(refusal(&mut night, new(), None).unwrap().contains("being verified"));
    let mut unwinding = super::states::unwinding(true, false, false);
    assert!(refusal(&mut unwinding, new(), None).unwrap().contains("rolled back"));
}

#[test]
fn what_has_begun_people_and_gates_stay_as_they_are() {
    let cases: Vec<(Facts, Option<&str>, &str)> = vec![
        (facts().as_ref().clone(), Some("snapshot"), "step snapshot has begun"),
        (with(|facts| drop(facts.steps.remove(1))), None, "has begun"),
        (
            with(|facts| facts.steps[4].needs = Vec::new()),
            Some("dms_start"),
            "step dms_start has begun",
        ),
        (
            with(|facts| facts.steps[4].gate = operator(None)),
            None,
            "weakens that of step freeze",
        ),
        (
            with(|facts| facts.steps[4].gate = open()),
            None,
            "weakens that of step freeze",
        ),
        (
            with(|facts| facts.steps[5].gate = quorum(1)),
            None,
            "weakens that of step flip",
        ),
        (
            with(|facts| drop(facts.steps.remove(5))),
            None,
            "skip it under its own gate",
        ),
        (with(|facts| facts.commit = open()), None, "weakens the commit gate"),
        (
            with(|facts| facts.unwind = operator(None)),
            None,
            "weakens the unwinding gate",
        ),
        (
            with(|facts| facts.no_return = quorum(1)),
            None,
            "weakens the point of no return's gate",
        ),
        (
            with(|facts| {
                facts.people.get_mut("dan").unwrap().roles.push("approver".to_owned());
            }),
            None,
            "must not change the people",
        ),
    ];
    for (new, touched, expected) in cases {
        let words = refusal(&mut held_at_freeze(), new, touched).unwrap_or_else(|| panic!("taken: {expected}"));
        assert!(words.contains(expected), "{words}");
    }
    for (new, touched) in [
        (facts().as_ref().clone(), Some("freeze")),
        (with(|facts| drop(facts.steps.remove(4))), None),
        (with(|facts| facts.steps[5].gate = quorum(3)), None),
        (with(|facts| facts.commit = quorum(2)), None),
    ] {
        let mut fixed = new;
        if fixed.steps.len() == 5 {
            fixed.steps[4].needs = vec![id("wait")];
        }
        // A commit that only asked the operator's phrase still asks for one.
        fixed.commit.phrase = Some("commit".to_owned());
        fixed.commit.expires_ms = Some(10_000);
        assert_eq!(refusal(&mut held_at_freeze(), fixed, touched), None);
    }
}

#[test]
fn the_checks_of_a_step_that_failed_them_can_be_mended() {
    let mut night = super::states::frozen(&[0, 0, 1]);
    assert_eq!(night.state.step(&id("freeze")).unwrap().stage, Stage::Failed);
    hold(&mut night);
    let same = || facts().as_ref().clone();
    assert!(
        refusal(&mut night, same(), Some("freeze"))
            .unwrap()
            .contains("has begun")
    );
    let draft = draft("checks", &facts(), same(), Some(id("freeze")), true);
    assert!(night.ask_to_amend(draft));
    night.approve_all();
    assert_eq!(night.state.amended, 1);
    assert!(night.tell(Command::Release {
        person: "olga".to_owned()
    }));
    assert!(night.tell(Command::Retry { step: id("freeze") }));
    assert!(
        matches!(night.work.last(), Some(pointsman::run::Effect::Verify { .. })),
        "verified again, not done again"
    );
}

#[test]
fn what_changed_between_the_question_and_the_answer_is_seen() {
    let mut night = super::states::frozen(&[0, 1]);
    hold(&mut night);
    let draft = draft("plan", &facts(), facts().as_ref().clone(), Some(id("freeze")), false);
    assert!(night.ask_to_amend(draft));
    let asked = night.state.open_requests().last().unwrap().id;
    assert!(night.tell(Command::Skip {
        step: id("freeze"),
        person: "olga".to_owned(),
        reason: "it is off".to_owned(),
    }));
    let skip = night.state.open_requests().last().unwrap().id;
    assert!(night.tell(vote(skip, "olga", "operator", Some("skip freeze".to_owned()))));
    assert!(
        !night.tell(vote(asked, "olga", "operator", Some("amend".to_owned()))),
        "it was skipped meanwhile"
    );
    assert!(night.tell(Command::Revoke {
        request: asked,
        person: "olga".to_owned()
    }));
    assert_eq!(night.state.amended, 0);
}

#[test]
fn a_release_or_another_question_voids_what_was_asked() {
    let mut night = held_at_freeze();
    let new = |min| with(|facts| facts.steps[5].gate = quorum(min));
    assert!(night.ask_to_amend(draft("three", &facts(), new(3), None, false)));
    let first = night.state.open_requests().last().unwrap().id;
    assert!(night.ask_to_amend(draft("four", &facts(), new(4), None, false)));
    assert_eq!(night.state.requests[&first].status, RequestStatus::Voided);
    let second = night.state.open_requests().last().unwrap().id;
    assert!(night.tell(Command::Release {
        person: "olga".to_owned()
    }));
    assert_eq!(night.state.requests[&second].status, RequestStatus::Voided);
    assert_eq!(night.state.amended, 0);
    assert!(
        !night
            .events
            .iter()
            .any(|event| matches!(event, Event::RunAmended { .. }))
    );
}

#[test]
fn a_point_of_no_return_asks_each_of_its_quorums() {
    let both = Who::Quorum(vec![
        Quorum {
            roles: vec!["dba".to_owned()],
            min: 1,
            org: None,
            not_operator: false,
            not: Vec::new(),
        },
        Quorum {
            roles: vec!["approver".to_owned()],
            min: 2,
            org: None,
            not_operator: true,
            not: Vec::new(),
        },
    ]);
    let mut steps = facts().steps.clone();
    steps[5].gate.who = both;
    let mut night = Night::of(Arc::new(facts_with(steps, None)));
    night.play_until("flip");
    let request = night.state.open_requests().next().unwrap().id;
    let stage = |night: &Night| night.state.step(&id("flip")).unwrap().stage;
    assert!(night.tell(vote(request, "ana", "approver", None)));
    assert!(night.tell(vote(request, "bea", "approver", None)));
    assert_eq!(
        stage(&night),
        Stage::AtGate(request),
        "the step's own quorum has not agreed"
    );
    assert!(
        !night.tell(vote(request, "lena", "lead", None)),
        "nobody asked for that role"
    );
    assert!(
        !night.tell(vote(request, "lena", "dba", None)),
        "lena has not that role"
    );
    assert!(night.tell(vote(request, "dan", "dba", None)));
    assert_eq!(stage(&night), Stage::Approved(request));
}

#[test]
fn a_step_that_was_taken_out_and_comes_back_goes_on_counting() {
    let mut night = held_at_freeze();
    let attempt = night.state.step(&id("freeze")).unwrap().attempt;
    assert_eq!(attempt, 1);
    let without = with(|facts| {
        facts.steps.remove(4);
        facts.steps[4].needs = vec![id("wait")];
    });
    assert!(night.ask_to_amend(draft("without", &facts(), without.clone(), None, false)));
    night.tell_amend();
    assert!(night.state.step(&id("freeze")).is_none());
    assert!(night.ask_to_amend(draft("again", &without, facts().as_ref().clone(), None, false)));
    night.tell_amend();
    assert_eq!(night.state.amended, 2);
    assert_eq!(
        night.state.step(&id("freeze")).unwrap().attempt,
        attempt,
        "an old name is never used again"
    );
    assert!(night.tell(Command::Release {
        person: "olga".to_owned()
    }));
    night.settle();
    assert_eq!(night.state.step(&id("freeze")).unwrap().attempt, attempt + 1);
}

#[test]
fn what_makes_a_gate_besides_its_persons_stays() {
    let no_return = |facts: &mut Facts| facts.steps[5].writes_on_target = false;
    let aside = |facts: &mut Facts| facts.steps[5].fall_forward = true;
    let dead = |facts: &mut Facts| facts.steps[4].live = false;
    for (new, expected) in [
        (with(no_return), "must stay one"),
        (with(aside), "skip it under its own gate"),
        (with(dead), "live checks"),
    ] {
        let words = refusal(&mut held_at_freeze(), new, None).unwrap_or_else(|| panic!("taken: {expected}"));
        assert!(words.contains(expected), "{words}");
    }
    // Nothing is moved before a gate that asks others than the operator.
    let mut steps = facts().steps.clone();
    steps[4].gate = quorum(2);
    let night = || {
        let mut night = Night::of(Arc::new(facts_with(steps.clone(), None)));
        night.play_until("freeze");
        hold(&mut night);
        night
    };
    let mut moved = facts_with(steps.clone(), None);
    moved.steps[5].needs = vec![id("wait")];
    let words = refusal(&mut night(), moved, None).unwrap();
    assert!(words.contains("flip must not come before freeze"), "{words}");
    // And the checks of such a step are not mended by the operator alone.
    let mut failed = Night::of(Arc::new(facts_with(steps.clone(), None)));
    failed.play_until("freeze");
    failed.approve_all();
    failed.settle();
    for luck in [0, 0, 1] {
        let work = failed.work.pop().unwrap();
        failed.answer(work, luck);
        failed.settle();
    }
    assert_eq!(failed.state.step(&id("freeze")).unwrap().stage, Stage::Failed);
    hold(&mut failed);
    let same = facts_with(steps.clone(), None);
    assert!(!failed.ask_to_amend(draft("checks", &same, same.clone(), Some(id("freeze")), true)));
}

#[test]
fn an_amendment_takes_neither_a_voice_nor_a_broken_glass() {
    let mut steps = facts_with(facts().steps.clone(), None);
    steps.amend = quorum(1);
    let mut night = Night::of(Arc::new(steps.clone()));
    night.play_until("freeze");
    hold(&mut night);
    let mut new = steps.clone();
    new.steps[5].gate = quorum(3);
    assert!(night.ask_to_amend(draft("plan", &steps, new, None, false)));
    let asked = night.state.open_requests().last().unwrap().id;
    let mut heard = vote(asked, "ana", "approver", None);
    if let Command::Vote { attested_by, .. } = &mut heard {
        *attested_by = Some("olga".to_owned());
    }
    assert!(!night.tell(heard));
    assert!(!night.tell(Command::BreakGlass {
        request: asked,
        person: "carl".to_owned(),
        role: "break_glass".to_owned(),
        reason: "nobody of the client answers the telephone".to_owned(),
    }));
    assert!(night.tell(vote(asked, "ana", "approver", None)));
    assert_eq!(night.state.amended, 1);
}

#[test]
fn a_vote_counts_in_every_quorum_whose_role_the_person_holds() {
    let mut steps = facts_with(facts().steps.clone(), None);
    steps.people.get_mut("dan").unwrap().roles.push("approver".to_owned());
    steps.steps[5].gate = super::night::both();
    let mut night = Night::of(Arc::new(steps));
    night.play_until("flip");
    let request = night.state.open_requests().next().unwrap().id;
    assert!(night.tell(vote(request, "dan", "dba", None)));
    let also = night.events.iter().rev().find_map(|event| match event {
        Event::GateVote { also, .. } => Some(also.clone()),
        _ => None,
    });
    assert_eq!(also.unwrap(), ["approver"]);
    assert!(!night.tell(vote(request, "dan", "approver", None)), "one vote each");
    assert!(night.tell(vote(request, "ana", "approver", None)));
    assert_eq!(night.state.step(&id("flip")).unwrap().stage, Stage::Approved(request));
}
