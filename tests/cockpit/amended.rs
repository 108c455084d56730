//! Amending the runbook in the cockpit: only in a hold, the path and the reason are asked, what it changes is read before
//! it is approved, and the tree is another one after.

use std::sync::Arc;

use pointsman::engine::amend::{Amendment, amended_with};
use pointsman::engine::facts::Mode;
use pointsman::engine::handle::{Briefing, Feed, Past};
use pointsman::frontend::tui::{Action, Msg};
use pointsman::run::Command;
use pointsman::run::command::Binding;
use pointsman::run::event::Subject;
use pointsman::runbook::amendment::compare;
use serde_json::{Map, Value};

use super::night::Night;

#[test]
fn without_a_hold_a_says_why_it_does_nothing() {
    let mut night = Night::begin();
    night.play_until_gate_of("freeze");
    night.keys("A");
    assert!(night.status().contains("h holds it"), "{}", night.status());
}

#[test]
fn a_changed_runbook_is_asked_for_shown_and_taken() {
    let mut night = Night::begin();
    night.play_until_gate_of("freeze");
    night.keys("h");
    for answer in ["a check is wrong", "", ""] {
        night.line(answer);
    }
    night.keys("A");
    night.snapshot("amend");
    night.line("");
    night.line("the count was wrong");
    let wish = Action::Amend {
        path: "runbooks/night.yaml".to_owned(),
        reason: "the count was wrong".to_owned(),
    };
    assert_eq!(night.asked, [wish]);
    let old = night.model.plan.clone();
    let mut plan = old.as_ref().clone();
    let at = plan.steps.iter().position(|step| step.id == "flip").unwrap();
    let mut added = plan.steps[at - 1].clone();
    added.id = "look_again".to_owned();
    added.title = "Look once more".to_owned();
    plan.steps[at].needs = vec![added.id.clone()];
    plan.steps[at].notes = Some("tell the bridge first".to_owned());
    plan.steps.insert(at, added);
    plan.phases[1].steps.insert(3, "look_again".to_owned());
    let amendment = Amendment {
        plan: Arc::new(plan),
        file_digest: "0123456789abcdef".to_owned(),
        data: Map::new(),
    };
    night.hear(Msg::Feed(Feed::Briefing(Arc::new(Briefing {
        step: None,
        attempt: 0,
        actions: Vec::new(),
        checks: Vec::new(),
        lost: None,
        faults: Vec::new(),
        changes: compare(&old, &amendment.plan).lines,
    }))));
    night.state.learn(Arc::new(amended_with(&old, Mode::Real, &amendment)));
    night.tell(Command::Amend {
        plan: amendment.file_digest.clone(),
        person: "olga".to_owned(),
        reason: "the count was wrong".to_owned(),
        binding: Binding {
            action_digest: String::new(),
            evidence_digest: String::new(),
            identity: Value::Null,
        },
    });
    night.hear(Msg::Amended(Ok(())));
    assert!(
        night.status().contains("a looks at what it changes"),
        "{}",
        night.status()
    );
    night.keys("a");
    night.snapshot("amend_gate");
    night.line("amend");
    assert_eq!(night.state.amended, 1);
    assert_eq!(
        night.asked.pop(),
        Some(Action::CatchUp),
        "another plan has to be asked for"
    );
    night.hear(Msg::History(Box::new(Past {
        plan: amendment.plan,
        state: night.state.clone(),
        updates: night.updates.clone(),
    })));
    assert!(
        night
            .state
            .open_requests()
            .all(|request| request.subject != Subject::Step)
    );
    night.snapshot("amended");
    night.keys("r");
    night.play_until_gate_of("look_again");
}

#[test]
fn what_is_wrong_with_a_changed_runbook_is_all_in_the_output() {
    let mut night = Night::begin();
    night.play_until_gate_of("freeze");
    let lines = ["night.yaml:3:1: error: unknown key", "1 error; nothing was executed"];
    night.hear(Msg::Amended(Err(lines.map(str::to_owned).to_vec())));
    assert!(
        night.status().contains("nothing was amended: 1 error"),
        "{}",
        night.status()
    );
    assert!(night.screen(120, 40).contains("night.yaml:3:1: error: unknown key"));
}
