//! Nights in every state that a run and a step can be in, for the table.

use std::sync::Arc;

use pointsman::run::Command;
use pointsman::run::amend::Draft;
use pointsman::run::facts::{AtEnd, Facts, StepEffect, Undo};

use super::drafts::draft;
use super::night::{Night, facts, facts_with, id, operator, quorum, step, vote};

/// Plays on until `freeze` stands as `stage` says, by what its work was answered with.
pub fn frozen(answers: &[u8]) -> Night {
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

/// Before the first change of a plan that asks for a preflight; `luck` answers it.
pub fn looking(luck: Option<u8>) -> Night {
    let facts = Facts {
        preflight_ms: Some(60_000),
        ..Facts::clone(&facts())
    };
    let mut night = Night::of(Arc::new(facts));
    night.settle();
    if let Some(luck) = luck {
        let work = night.work.remove(0);
        night.answer(work, luck);
        night.settle();
    }
    night
}

pub fn at_flip() -> Night {
    let mut night = Night::begin();
    night.play_until("flip");
    night
}

pub fn unwinding(prepared: bool, approved: bool, failing: bool) -> Night {
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

pub fn at_commit(approved: bool, over: bool) -> Night {
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

pub fn held() -> Night {
    let mut night = frozen(&[]);
    assert!(night.tell(Command::Hold {
        reason: "lunch".to_owned(),
        person: "olga".to_owned(),
        owner: None,
        until_ms: None,
    }));
    night
}

/// The same plan, but that more persons approve the flip.
pub fn stricter(old: &Facts) -> Arc<Draft> {
    let mut new = old.clone();
    for step in new.steps.iter_mut().filter(|step| step.id == id("flip")) {
        step.gate = quorum(3);
    }
    draft("plan", old, new, None, false)
}

pub fn amending(approved: bool) -> Night {
    let mut night = held();
    let plan = stricter(&facts());
    assert!(night.ask_to_amend(plan));
    if approved {
        let asked = night.state.open_requests().last().unwrap().id;
        assert!(night.tell(vote(asked, "olga", "operator", Some("amend".to_owned()))));
    }
    night
}

pub fn skip_asked() -> Night {
    let mut night = frozen(&[0, 1]);
    assert!(night.tell(Command::Skip {
        step: id("freeze"),
        person: "olga".to_owned(),
        reason: "the application is off already".to_owned(),
    }));
    night.settle();
    night
}

pub fn skipped() -> Night {
    let mut night = skip_asked();
    night.approve_all();
    night.settle();
    night
}

pub fn retried() -> Night {
    let mut night = frozen(&[0, 1]);
    assert!(night.tell(Command::Retry { step: id("freeze") }));
    night.settle();
    night
}

pub fn partly_unwound() -> Night {
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

pub fn rolled_back() -> Night {
    let mut night = unwinding(true, true, false);
    night.play_until("nothing");
    night
}

pub fn window_over(at_end: AtEnd) -> Night {
    let plan = facts_with(facts().steps.clone(), Some((5_000, at_end)));
    let mut night = Night::of(std::sync::Arc::new(plan));
    night.play_until("freeze");
    night.now = 5_000;
    night.settle();
    night
}

pub fn beyond_no_return() -> Night {
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

pub fn stopped() -> Night {
    let mut night = frozen(&[]);
    assert!(night.tell(Command::Stop {
        reason: "enough".to_owned(),
        person: "olga".to_owned()
    }));
    night
}

pub fn checking() -> Night {
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

pub fn states(new: Night) -> Vec<(&'static str, Night)> {
    vec![
        ("new", new),
        ("a preflight is under way", looking(None)),
        ("run held, the preflight was red", looking(Some(1))),
        ("step checking", checking()),
        ("step at its gate", frozen(&[])),
        ("run held, step at its gate", held()),
        ("run held, an amendment is asked for", amending(false)),
        ("run held, the plan is amended", amending(true)),
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
