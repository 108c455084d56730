//! The preflight before the first change: said while it looks, shown at the gate, and what is red in every view.

use pointsman::run::event::OutcomeResult;
use pointsman::run::state::Stage;

use crate::night::Night;

/// Until a look is under way.
fn looking() -> Night {
    let mut night = Night::begin();
    for _ in 0..20 {
        if night.state.preflight.under_way.is_some() {
            return night;
        }
        night.play_on();
    }
    panic!("nobody looks before the first change");
}

#[test]
fn a_look_is_said_and_its_proof_stands_at_the_gate_with_its_age() {
    let mut night = looking();
    night.snapshot("preflight_under_way");
    night.play_until_gate_of("lower_ttl");
    night.wait(7);
    night.keys("a");
    night.snapshot("preflight_at_the_gate");
}

#[test]
fn what_is_red_holds_the_run_and_says_why() {
    let mut night = looking();
    night.answer(OutcomeResult::Failed);
    night.snapshot("preflight_red");
    assert!(matches!(night.stage("lower_ttl"), Stage::Waiting));
    night.keys("r");
    assert!(night.state.preflight.under_way.is_some(), "a release looks again");
}
