//! What ships beside the program: every runbook is sound, and the schema is the one that the program prints.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;

use support::{Place, QUICKSTART};

#[test]
fn the_recipes_are_sound_and_can_be_planned() {
    let place = Place::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/runbooks/recipes");
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file = path.display().to_string();
        let checked = place.program(&["check", &file]).expect(0).out;
        assert!(checked.contains("no errors in all environments"), "{file}: {checked}");
        let plan = place.program(&["plan", &file, "--env", "staging"]).expect(0).out;
        for words in ["DOWNTIME BEGINS", "DOWNTIME ENDS", "to spare"] {
            assert!(plan.contains(words), "{file}: {words}\n{plan}");
        }
        names.push(path.file_stem().unwrap().to_string_lossy().into_owned());
    }
    names.sort();
    assert_eq!(names, ["alwayson-failover", "mariadb-replica", "postgres-standby"]);
}

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
