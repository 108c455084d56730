//! What a plan binds and what it cannot execute yet.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;

use support::Place;

const SOUND: &str = include_str!("fixtures/sound.yaml");

#[test]
fn what_a_later_version_executes_is_understood_and_refused_by_run() {
    let place = Place::new();
    let text = SOUND.replace(
        "  lab: { kind: lab }\n",
        "  staging:\n    kind: rehearsal\n    approvals: signed\n    connections:\n      \
         source: { uses: sqlite, path: source.db }\n      target: { uses: sqlite, path: target.db }\n",
    );
    let path = place.path("later.yaml");
    fs::write(&path, text).unwrap();
    let file = path.display().to_string();
    place.program(&["check", &file]).expect(0);
    let ended = place
        .program(&["run", &file, "--env", "staging", "--as", "cutover", "--headless"])
        .expect(2);
    assert!(
        ended.err.contains("not available yet: signed approvals"),
        "{}",
        ended.err
    );
    assert!(!place.path("state").exists());
}

#[test]
fn the_plan_has_digests_that_follow_its_steps() {
    let place = Place::new();
    let digests = |text: &str| {
        let path = place.path("plan.yaml");
        fs::write(&path, text).unwrap();
        let file = path.display().to_string();
        let ended = place
            .program(&["plan", &file, "--env", "lab", "--format", "json"])
            .expect(0);
        let plan: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
        let digest = |name: &str| plan["digests"][name].as_str().unwrap().to_owned();
        (digest("plan"), digest("rehearsal"))
    };
    let before = digests(SOUND);
    assert_eq!(
        before,
        digests(&format!("# a comment changes nothing\n{SOUND}")).clone()
    );
    let dated = "kind: lab, window: { opens: 2130-01-01T00:00:00Z, closes: 2130-01-02T00:00:00Z }";
    let moved = digests(&SOUND.replace("kind: lab", dated));
    assert_ne!(before.0, moved.0);
    assert_eq!(before.1, moved.1, "a date does not void a rehearsal");
    let changed = digests(&SOUND.replace("select 1", "select 2"));
    assert_ne!(before.1, changed.1, "a step does");
}
