//! What a stranger finds between the records: approvals of the wrong role, too late, of another plan, by half of those
//! who have to agree, and ways back from what never happened.
#![expect(clippy::unwrap_used, reason = "tests")]

use chrono::{DateTime, TimeDelta, Utc};
use pointsman::journal::verify::{Require, verify};
use pointsman::journal::{Actor, Draft, JournalWriter, Stamp};
use serde_json::{Value, json};

fn draft(ev: &str, step: Option<&str>, data: Value) -> Draft {
    let Value::Object(data) = data else {
        unreachable!("records hold objects")
    };
    Draft {
        actor: Actor {
            id: "olga".to_owned(),
            via: "cockpit".to_owned(),
            uid: 0,
            host: "h".to_owned(),
        },
        ev: ev.to_owned(),
        step: step.map(str::to_owned),
        attempt: step.map(|_| 1),
        data,
        blobs: Vec::new(),
    }
}

/// The SHA-256 of the amended plan's file, and of none.
const PLAN: &str = "64879f7d6b960a01909762d911a32d4582c20010c5641ee90278b644a9e3b525";
const OTHER: &str = "00";

/// When the first record is.
fn start() -> DateTime<Utc> {
    "2026-12-05T22:00:00Z".parse().unwrap()
}

/// Writes a second a record, closes the run, and gives what a stranger finds.
fn found(drafts: Vec<Draft>) -> (u8, String, Vec<String>) {
    found_of(json!({}), drafts)
}

/// The same of a run whose first record says more.
fn found_of(more: Value, drafts: Vec<Draft>) -> (u8, String, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("amendments/0001");
    std::fs::create_dir_all(&kept).unwrap();
    std::fs::write(kept.join("plan.json"), "plan").unwrap();
    let mut writer = JournalWriter::create(folder.path(), "r1", "boot").unwrap();
    let mut first = json!({ "operator": "olga", "rehearsal_digest": "first" });
    first.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let genesis = draft("genesis", None, first);
    let closed = draft("run.closed", None, json!({ "state": "committed", "exit": 0 }));
    let all = std::iter::once(genesis).chain(drafts).chain([closed]);
    for (second, draft) in (0..).zip(all) {
        let stamp = Stamp {
            t: start() + TimeDelta::seconds(second),
            mono_ns: u64::try_from(second).unwrap() * 1_000_000_000,
        };
        writer.append(vec![draft], stamp).unwrap();
    }
    let verdict = verify(folder.path(), Require::Chain);
    (verdict.code, verdict.findings.join("; "), verdict.remarks)
}

fn asked(subject: &str, step: Option<&str>, more: Value) -> Draft {
    let mut data = json!({
        "request": 1, "subject": subject, "min": 1, "roles": ["dba"], "action_digest": "d", "evidence_digest": "",
    });
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    draft("gate.requested", step, data)
}

fn voted(person: &str, role: &str) -> Draft {
    let data = json!({ "request": 1, "decision": "approve", "person": person, "role": role, "assurance": "typed" });
    draft("gate.vote", None, data)
}

fn granted() -> Draft {
    draft("gate.granted", None, json!({ "request": 1 }))
}

fn intent(role: &str) -> Draft {
    let data = json!({ "request": 1, "role": role, "action_digest": "d", "mutates": true });
    draft("effect.intent", Some("flip"), data)
}

fn outcome(role: &str, result: &str) -> Draft {
    draft(
        "effect.outcome",
        Some("flip"),
        json!({ "role": role, "result": result, "detail": "so" }),
    )
}

fn done(more: Value, votes: Vec<Draft>) -> Vec<Draft> {
    let mut drafts = vec![asked("step", Some("flip"), more)];
    drafts.extend(votes);
    drafts.extend([granted(), intent("do"), outcome("do", "done")]);
    drafts
}

#[test]
fn only_the_asked_roles_vote() {
    assert_eq!(found(done(json!({}), vec![voted("dan", "dba")])).0, 0);
    let (code, words, _) = found(done(json!({}), vec![voted("dan", "lead")]));
    assert_eq!(code, 6, "{words}");
    assert!(words.contains("as lead, which it did not ask"), "{words}");
}

#[test]
fn nothing_is_begun_or_approved_after_the_expiry() {
    // The request is at second 1, the vote at 2, the intent at 4.
    let expires = |second: i64| json!({ "expires_ms": (start() + TimeDelta::seconds(second)).timestamp_millis() });
    assert_eq!(found(done(expires(5), vec![voted("dan", "dba")])).0, 0);
    let (code, words, _) = found(done(expires(4), vec![voted("dan", "dba")]));
    assert_eq!(code, 6, "{words}");
    assert!(words.contains("after its approval had expired"), "{words}");
    let (_, words, _) = found(done(expires(2), vec![voted("dan", "dba")]));
    assert!(words.contains("a vote on request 1 after its expiry"), "{words}");
}

#[test]
fn each_of_several_quorums_has_to_agree() {
    let both = || {
        json!({
            "min": 2, "roles": ["dba", "approver"],
            "quorums": [{ "min": 1, "roles": ["dba"] }, { "min": 2, "roles": ["approver"] }],
        })
    };
    let all = vec![voted("dan", "dba"), voted("ana", "approver"), voted("bea", "approver")];
    assert_eq!(found(done(both(), all)).0, 0);
    for votes in [
        vec![voted("ana", "approver"), voted("bea", "approver")],
        vec![voted("dan", "dba"), voted("ana", "approver")],
        vec![voted("dan", "dba"), voted("nora", "dba")],
    ] {
        let (code, words, _) = found(done(both(), votes));
        assert_eq!(code, 6, "{words}");
    }
}

#[test]
fn only_what_happened_is_taken_back() {
    let back = |first: Vec<Draft>| {
        let mut drafts = first;
        drafts.extend([asked("unwind", None, json!({ "request": 2 })), {
            let data =
                json!({ "request": 2, "decision": "approve", "person": "dan", "role": "dba", "assurance": "typed" });
            draft("gate.vote", None, data)
        }]);
        drafts.push(draft("gate.granted", None, json!({ "request": 2 })));
        let undo = json!({ "request": 2, "role": "undo", "action_digest": "d", "mutates": true });
        drafts.push(draft("effect.intent", Some("flip"), undo));
        drafts.push(outcome("undo", "done"));
        found(drafts)
    };
    assert_eq!(back(done(json!({}), vec![voted("dan", "dba")])).0, 0);
    let begun = |result: &str, acked: bool| {
        let mut drafts = vec![
            asked("step", Some("flip"), json!({})),
            voted("dan", "dba"),
            granted(),
            intent("do"),
        ];
        if acked {
            drafts.push(draft(
                "effect.ack",
                Some("flip"),
                json!({ "role": "do", "provider_id": "p" }),
            ));
        }
        drafts.push(outcome("do", result));
        drafts
    };
    assert_eq!(back(begun("failed", true)).0, 0, "it may have happened in part");
    for (what, drafts) in [
        ("never begun", Vec::new()),
        ("failed", begun("failed", false)),
        ("not sent", begun("not_sent", false)),
    ] {
        let (code, words, _) = back(drafts);
        assert_eq!(code, 6, "{what}: {words}");
        assert!(words.contains("to take back what never happened"), "{what}: {words}");
    }
}

#[test]
fn an_amendment_is_what_was_approved_and_outlives_no_approval() {
    let amended = |file: &str| {
        let files = json!({ "amendments/0001/plan.json": file });
        let data = json!({ "request": 1, "plan_file_digest": file, "rehearsal_digest": "second", "files": files });
        draft("run.amended", None, data)
    };
    let approved = || {
        vec![
            asked("amend", None, json!({ "plan": PLAN })),
            voted("dan", "dba"),
            granted(),
        ]
    };
    let mut good = approved();
    good.push(amended(PLAN));
    let (code, words, remarks) = found(good);
    assert_eq!(code, 0, "{words}");
    assert!(
        remarks
            .iter()
            .any(|remark| remark.contains("a rehearsal of the old one proves nothing")),
        "{remarks:?}"
    );
    let mut other = approved();
    other[0] = asked("amend", None, json!({ "plan": OTHER }));
    other.push(amended(PLAN));
    assert!(found(other).1.contains("another file than was approved"));
    let mut twice = approved();
    twice.extend([amended(PLAN), amended(PLAN)]);
    assert!(found(twice).1.contains("the plan was amended without a valid approval"));
    assert_eq!(found(vec![amended(PLAN)]).0, 6);
    let mut alive = approved();
    alive.insert(0, asked("step", Some("flip"), json!({ "request": 7 })));
    alive.push(amended(PLAN));
    assert!(found(alive).1.contains("while request 7 of the old one was alive"));
}

/// A look that is begun at a second of the run, and what it found.
fn looked(begun: i64, red: u32) -> [Draft; 2] {
    let begun_ms = (start() + TimeDelta::seconds(begun)).timestamp_millis();
    let ended = json!({ "number": 1, "begun_ms": begun_ms, "red": red, "amber": 0, "green": 1 });
    [
        draft("preflight.begun", None, json!({ "number": 1, "begun_ms": begun_ms })),
        draft("preflight.ended", None, ended),
    ]
}

#[test]
fn the_first_change_is_proven_by_a_fresh_green_preflight_of_the_process_that_begins_it() {
    let asks = json!({ "preflight_ms": 60_000 });
    let change = || done(json!({}), vec![voted("dan", "dba")]);
    let after = |before: Vec<Draft>| [before, change()].concat();
    let judged = |drafts: Vec<Draft>| {
        let (code, words, _) = found_of(asks.clone(), drafts);
        (code, words)
    };
    assert_eq!(found(change()).0, 0, "a runbook that asks for none needs none");
    assert_eq!(judged(after(looked(1, 0).to_vec())).0, 0);
    for (drafts, words) in [
        (change(), "began without the preflight that the runbook asks for"),
        (after(looked(1, 2).to_vec()), "although its preflight was red"),
        (after(looked(-100, 0).to_vec()), "by a preflight that was too old"),
        (after(looked(100, 0).to_vec()), "by a preflight that was too old"),
    ] {
        let (code, told) = judged(drafts);
        assert_eq!(code, 6, "{told}");
        assert!(told.contains(words), "{told}");
    }
    let resumed = draft("resumed", None, json!({ "operator": "olga", "host": "h", "pid": 1 }));
    let (code, told) = judged(after([looked(1, 0).to_vec(), vec![resumed]].concat()));
    assert_eq!(code, 6, "{told}");
    assert!(
        told.contains("without the preflight"),
        "another process has to look again: {told}"
    );
    let [_, ended] = looked(1, 0);
    let (_, told) = judged(after(vec![ended]));
    assert!(told.contains("ended without having begun"), "{told}");
    // What comes after the first change needs none.
    let again = [
        looked(1, 0).to_vec(),
        change(),
        vec![asked("step", Some("open"), json!({ "request": 2 }))],
    ]
    .concat();
    let second = |ev: &str, data: Value| draft(ev, Some("open"), data);
    let vote = json!({ "request": 2, "decision": "approve", "person": "dan", "role": "dba", "assurance": "typed" });
    let more = vec![
        draft("gate.vote", None, vote),
        draft("gate.granted", None, json!({ "request": 2 })),
        draft("resumed", None, json!({ "operator": "olga", "host": "h", "pid": 2 })),
        second(
            "effect.intent",
            json!({ "request": 2, "role": "do", "action_digest": "d", "mutates": true }),
        ),
        second(
            "effect.outcome",
            json!({ "role": "do", "result": "done", "detail": "so" }),
        ),
    ];
    let (code, told) = judged([again, more].concat());
    assert_eq!(code, 0, "{told}");
}
