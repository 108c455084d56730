//! What ships beside the program: every runbook is sound, and the schema is the one that the program prints.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;

use support::{Place, QUICKSTART};

#[test]
fn the_shipped_runbooks_are_sound_and_their_schema_is_current() {
    let place = Place::new();
    place.program(&["check", QUICKSTART]).expect(0);
    let plan = place.program(&["plan", QUICKSTART, "--env", "lab"]).expect(0).out;
    for words in [
        "DOWNTIME BEGINS",
        "POINT OF NO RETURN",
        "2 × approver of client",
        "rollback coverage",
    ] {
        assert!(plan.contains(words), "{words}\n{plan}");
    }
    let printed = place.program(&["schema"]).expect(0).out;
    let committed = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/runbooks/schema.v1.json")).unwrap();
    assert!(
        printed == committed,
        "write it anew: pointsman schema > runbooks/schema.v1.json"
    );
}
