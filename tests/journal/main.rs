//! The journal's promises: any altered byte, removed or swapped line is found; a torn tail is sealed, never cut; a
//! failed write is the last; stock tools can check the chain.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod evidence;

use std::path::Path;
use std::process::Command;

use chrono::{DateTime, TimeDelta, Utc};
use pointsman::journal::lock::{Holder, LockError};
use pointsman::journal::verify::{Require, verify};
use pointsman::journal::{Actor, Draft, JournalError, JournalWriter, RunLock, Stamp};
use proptest::prelude::*;
use serde_json::{Value, json};

fn actor() -> Actor {
    Actor {
        id: "olga".to_owned(),
        via: "cockpit".to_owned(),
        uid: 1000,
        host: "h".to_owned(),
    }
}

fn at(seconds: i64) -> Stamp {
    let start: DateTime<Utc> = "2026-12-05T22:00:00Z".parse().unwrap();
    Stamp {
        t: start + TimeDelta::seconds(seconds),
        mono_ns: u64::try_from(seconds).unwrap() * 1_000_000_000,
    }
}

fn draft(ev: &str, step: Option<&str>, data: Value) -> Draft {
    let Value::Object(data) = data else {
        panic!("data is an object")
    };
    Draft {
        actor: actor(),
        ev: ev.to_owned(),
        step: step.map(str::to_owned),
        attempt: step.map(|_| 1),
        data,
        blobs: Vec::new(),
    }
}

fn asked(request: u64, step: &str) -> Draft {
    let data = json!({
        "request": request, "subject": "step", "min": 1, "roles": ["operator"], "action_digest": "d", "evidence_digest": "",
    });
    draft("gate.requested", Some(step), data)
}

fn voted(request: u64, person: &str) -> Draft {
    let data = json!({ "request": request, "decision": "approve", "person": person, "role": "operator", "assurance": "typed" });
    draft("gate.vote", None, data)
}

fn granted(request: u64) -> Draft {
    draft("gate.granted", None, json!({ "request": request }))
}

fn intent(request: u64, step: &str) -> Draft {
    let data = json!({ "request": request, "role": "do", "action_digest": "d", "mutates": true });
    draft("effect.intent", Some(step), data)
}

fn outcome(step: &str) -> Draft {
    draft(
        "effect.outcome",
        Some(step),
        json!({ "role": "do", "result": "done", "detail": "größer als 漢字 \u{1f600}" }),
    )
}

/// A small honest run.
fn honest(folder: &Path, close: bool) {
    let mut writer = JournalWriter::create(folder, "r1", "boot").unwrap();
    writer
        .append(vec![draft("genesis", None, json!({ "operator": "olga" }))], at(0))
        .unwrap();
    let mut shown = asked(1, "freeze");
    shown.blobs = writer.store(&[b"what was shown"]).unwrap();
    writer.append(vec![shown], at(1)).unwrap();
    writer.append(vec![voted(1, "olga"), granted(1)], at(2)).unwrap();
    writer.append(vec![intent(1, "freeze")], at(3)).unwrap();
    writer.append(vec![outcome("freeze")], at(4)).unwrap();
    if close {
        writer
            .append(
                vec![draft("run.closed", None, json!({ "state": "committed", "exit": 0 }))],
                at(5),
            )
            .unwrap();
    }
}

fn segment(folder: &Path) -> std::path::PathBuf {
    folder.join("journal/000001.jsonl")
}

fn code(folder: &Path) -> u8 {
    verify(folder, Require::Chain).code
}

#[test]
fn an_honest_closed_chain_is_intact_and_plain_verify_says_unwitnessed() {
    let folder = tempfile::tempdir().unwrap();
    honest(folder.path(), true);
    let verdict = verify(folder.path(), Require::Chain);
    assert_eq!((verdict.code, verdict.findings), (0, Vec::<String>::new()));
    assert_eq!(verify(folder.path(), Require::Witness).code, 1);
    assert_eq!(verify(&folder.path().join("nowhere"), Require::Chain).code, 2);
}

#[test]
fn an_open_run_is_never_zero() {
    let folder = tempfile::tempdir().unwrap();
    honest(folder.path(), false);
    assert_eq!(code(folder.path()), 1);
    std::fs::write(segment(folder.path()), b"").unwrap();
    assert_eq!(code(folder.path()), 4);
}

#[test]
fn removed_and_swapped_lines_and_an_altered_blob_are_found() {
    let folder = tempfile::tempdir().unwrap();
    honest(folder.path(), true);
    let bytes = std::fs::read(segment(folder.path())).unwrap();
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    for skip in 0..lines.len() - 1 {
        let without: Vec<u8> = lines
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != skip)
            .flat_map(|(_, line)| line.to_vec())
            .collect();
        std::fs::write(segment(folder.path()), without).unwrap();
        assert_eq!(code(folder.path()), 4, "line {skip} removed");
        let mut swapped = lines.clone();
        swapped.swap(skip, skip + 1);
        std::fs::write(segment(folder.path()), swapped.concat()).unwrap();
        assert_eq!(code(folder.path()), 4, "lines {skip} and {} swapped", skip + 1);
    }
    std::fs::write(segment(folder.path()), &bytes).unwrap();
    assert_eq!(code(folder.path()), 0);
    std::fs::write(folder.path().join("blobs/000001.pack"), b"another story").unwrap();
    assert_eq!(code(folder.path()), 4);
}

#[test]
fn an_effect_without_its_gate_is_found() {
    for (drafts, expected) in [
        (vec![intent(1, "freeze"), outcome("freeze")], 6),
        (
            vec![asked(1, "freeze"), granted(1), intent(1, "freeze"), outcome("freeze")],
            6,
        ),
        (
            vec![
                asked(1, "other"),
                voted(1, "o"),
                granted(1),
                intent(1, "freeze"),
                outcome("freeze"),
            ],
            6,
        ),
        (
            vec![
                asked(1, "freeze"),
                voted(1, "o"),
                granted(1),
                draft("gate.voided", None, json!({ "request": 1, "reason": "held" })),
                intent(1, "freeze"),
                outcome("freeze"),
            ],
            6,
        ),
        (
            vec![asked(1, "freeze"), voted(1, "o"), granted(1), intent(1, "freeze")],
            7,
        ),
        (
            vec![
                asked(1, "freeze"),
                voted(1, "o"),
                granted(1),
                intent(1, "freeze"),
                outcome("freeze"),
            ],
            0,
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = JournalWriter::create(folder.path(), "r1", "boot").unwrap();
        writer.append(vec![draft("genesis", None, json!({}))], at(0)).unwrap();
        writer.append(drafts, at(1)).unwrap();
        writer
            .append(
                vec![draft("run.closed", None, json!({ "state": "committed", "exit": 0 }))],
                at(2),
            )
            .unwrap();
        let verdict = verify(folder.path(), Require::Chain);
        assert_eq!(verdict.code, expected, "{:?}", verdict.findings);
    }
}

/// A poll of two roles that both have to say go, with these answers: role, person, answer, assurance.
fn polled(answers: &[(&str, &str, &str, &str)]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = JournalWriter::create(folder.path(), "r1", "boot").unwrap();
    let poll = json!({
        "request": 1, "subject": "step", "min": 2, "roles": ["lead", "dba"], "poll": true,
        "action_digest": "d", "evidence_digest": "",
    });
    let mut drafts = vec![
        draft("genesis", None, json!({ "operator": "olga" })),
        draft("gate.requested", Some("ask"), poll),
    ];
    for (role, person, decision, assurance) in answers {
        let vote = json!({
            "request": 1, "decision": decision, "person": person, "role": role, "assurance": assurance, "poll": true,
        });
        drafts.push(draft("gate.vote", None, vote));
    }
    drafts.push(granted(1));
    for (second, draft) in (0..).zip(drafts) {
        writer.append(vec![draft], at(second)).unwrap();
    }
    verify(folder.path(), Require::Chain).findings
}

#[test]
fn a_poll_is_granted_by_the_latest_answers_of_enough_roles() {
    let typed = "typed";
    let good: [&[(&str, &str, &str, &str)]; 3] = [
        &[("lead", "lena", "approve", typed), ("dba", "dan", "approve", typed)],
        &[
            ("lead", "lena", "approve", typed),
            ("lead", "lena", "abstain", typed),
            ("lead", "lena", "approve", typed),
            ("dba", "dan", "approve", typed),
        ],
        &[
            ("lead", "olga", "approve", "persona"),
            ("dba", "olga", "approve", "persona"),
        ],
    ];
    for answers in good {
        let found = polled(answers);
        assert!(!found.iter().any(|fault| fault.contains("request 1")), "{found:?}");
    }
    type Said<'a> = &'a [(&'a str, &'a str, &'a str, &'a str)];
    let bad: [(Said<'_>, &str); 5] = [
        (&[("lead", "lena", "approve", typed)], "granted with 1 of 2"),
        (
            &[
                ("lead", "lena", "approve", typed),
                ("dba", "dan", "approve", typed),
                ("dba", "dan", "abstain", typed),
            ],
            "granted with 1 of 2",
        ),
        (
            &[("lead", "lena", "approve", typed), ("dba", "lena", "approve", typed)],
            "lena answered for two roles",
        ),
        (
            &[
                ("lead", "lena", "approve", typed),
                ("dba", "dan", "approve", typed),
                ("cook", "carl", "approve", typed),
            ],
            "carl answered for cook, which was not asked",
        ),
        (
            &[
                ("lead", "lena", "approve", typed),
                ("dba", "dan", "reject", typed),
                ("dba", "dan", "approve", typed),
            ],
            "after its end",
        ),
    ];
    for (answers, words) in bad {
        let found = polled(answers);
        assert!(found.iter().any(|fault| fault.contains(words)), "{words}: {found:?}");
    }
}

#[test]
fn a_torn_tail_is_sealed_and_the_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    honest(folder.path(), false);
    let whole = std::fs::read(segment(folder.path())).unwrap();
    let last = whole[..whole.len() - 1]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .unwrap()
        + 1;
    let torn = &whole[..last + 40];
    std::fs::write(segment(folder.path()), torn).unwrap();
    assert_eq!(code(folder.path()), 3);
    let (mut writer, records) = JournalWriter::resume(folder.path(), "boot2", &actor(), at(10)).unwrap();
    assert_eq!(records.last().unwrap().ev, "segment.seal");
    writer.append(vec![outcome("freeze")], at(11)).unwrap();
    writer
        .append(
            vec![draft("run.closed", None, json!({ "state": "stopped", "exit": 3 }))],
            at(12),
        )
        .unwrap();
    let verdict = verify(folder.path(), Require::Chain);
    assert_eq!((verdict.code, verdict.sealed.len()), (0, 1), "{:?}", verdict.findings);
    assert_eq!(
        std::fs::read(segment(folder.path())).unwrap(),
        torn,
        "sealed, not truncated"
    );
    std::fs::write(segment(folder.path()), &whole[..last + 41]).unwrap();
    assert_eq!(code(folder.path()), 4, "what was sealed may not change");
}

#[test]
fn a_record_over_the_limit_is_refused_without_harm() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = JournalWriter::create(folder.path(), "r1", "boot").unwrap();
    let huge = draft("genesis", None, json!({ "x": "y".repeat(70_000) }));
    assert!(matches!(
        writer.append(vec![huge], at(0)),
        Err(JournalError::TooLarge { .. })
    ));
    assert!(!writer.is_poisoned());
    writer
        .append(
            vec![draft("genesis", None, json!({ "big": 9_007_199_254_740_993_u64 }))],
            at(0),
        )
        .unwrap();
    let text = std::fs::read_to_string(segment(folder.path())).unwrap();
    assert!(text.contains("\"9007199254740993\""), "integers above 2^53 are strings");
}

#[test]
fn two_executors_cannot_hold_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let me = Holder {
        pid: 4711,
        host: "h".to_owned(),
        boot: "b".to_owned(),
        since: at(0).t,
    };
    let _held = RunLock::acquire(folder.path(), &me).unwrap();
    match RunLock::acquire(folder.path(), &me) {
        Err(LockError::Held(holder)) => assert_eq!(holder.pid, 4711),
        other => panic!("{other:?}"),
    }
}

#[test]
fn stock_tools_verify_the_chain() {
    let folder = tempfile::tempdir().unwrap();
    honest(folder.path(), true);
    let script = r#"
        prev=0000000000000000000000000000000000000000000000000000000000000000
        while IFS= read -r line; do
            h=$(printf '%s' "$line" | sed 's/.*,"h":"\([0-9a-f]*\)"}$/\1/')
            body=$(printf '%s' "$line" | sed 's/,"h":"[0-9a-f]*"}$//')
            [ "$(printf '%s' "$body" | sha256sum | cut -d' ' -f1)" = "$h" ] || exit 1
            case "$body" in *"\"prev\":\"$prev\""*) ;; *) exit 2 ;; esac
            prev=$h
        done < "$1"
    "#;
    let status = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(segment(folder.path()))
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_flipped_bit_is_found(place in any::<prop::sample::Index>(), bit in 0u8..8) {
        let folder = tempfile::tempdir().unwrap();
        honest(folder.path(), true);
        let mut bytes = std::fs::read(segment(folder.path())).unwrap();
        let at = place.index(bytes.len());
        bytes[at] ^= 1 << bit;
        std::fs::write(segment(folder.path()), bytes).unwrap();
        prop_assert_ne!(code(folder.path()), 0);
    }

    #[test]
    fn any_number_survives_its_record(number in any::<f64>().prop_filter("JSON has no others", |number| number.is_finite())) {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = JournalWriter::create(folder.path(), "r", "boot").unwrap();
        let draft = Draft {
            actor: actor(),
            ev: "genesis".to_owned(),
            step: None,
            attempt: None,
            data: json!({ "value": number }).as_object().unwrap().clone(),
            blobs: Vec::new(),
        };
        writer.append(vec![draft], at(0)).unwrap();
        let chain = pointsman::journal::reader::read_run(folder.path()).unwrap();
        prop_assert!(chain.faults.is_empty(), "{number}: {:?}", chain.faults);
        prop_assert_eq!(chain.records[0].data["value"].as_f64(), Some(number));
    }

    #[test]
    fn any_truncation_is_found(place in any::<prop::sample::Index>()) {
        let folder = tempfile::tempdir().unwrap();
        honest(folder.path(), true);
        let bytes = std::fs::read(segment(folder.path())).unwrap();
        let at = place.index(bytes.len());
        std::fs::write(segment(folder.path()), &bytes[..at]).unwrap();
        prop_assert_ne!(code(folder.path()), 0);
    }
}
