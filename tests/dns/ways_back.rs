//! Ways back never overwrite what somebody else made of the record since: what the step left, or what was before it, is put
//! back; anything else is named and stays. By the action alone, and by whole runs on the lab.

use pointsman::provider::action::{Action, ActionErrorKind, Cx, Observed, Outcome};
use pointsman::provider::dns::lookup::{Asked, ask};
use serde_json::{Value, json};

use crate::bench::{Bench, simple};
use crate::shift::shift;
use crate::support::{Ended, LabProcess, Place};

/// Performs a step; gives what its approval bound.
async fn forward(bench: &Bench, action: &dyn Action) -> (Value, Outcome) {
    let identity = action.check(&bench.cx("pm-way", Value::Null)).await.unwrap().identity;
    let done = action.execute(&bench.cx("pm-way", identity.clone())).await.unwrap();
    (identity, done)
}

/// What a way back gets.
fn back(bench: &Bench, forward: &Value) -> Cx {
    Cx {
        forward: forward.clone(),
        ..bench.cx("pm-back", Value::Null)
    }
}

/// Looked at, then done, as the engine does it.
async fn taken_back(bench: &Bench, action: &dyn Action, forward: &Value) -> String {
    let cx = back(bench, forward);
    let looked = action.check(&cx).await.map(|_| ()).map_err(|error| error.message);
    let done = action.execute(&cx).await;
    match (looked, done) {
        (Ok(()), Ok(done)) => done.summary,
        (Err(looked), Err(error)) => {
            assert_eq!(error.kind, ActionErrorKind::Permanent, "{error}");
            assert_eq!(looked, error.message);
            assert!(matches!(action.observe(&cx).await.unwrap(), Observed::Unknown { .. }));
            error.message
        }
        (looked, done) => panic!("the look and the deed differ: {looked:?} {done:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flip_is_taken_back_only_from_where_it_left_the_record() {
    let bench = Bench::lab(200.0, &[]).await;
    let before = bench.standing().await;
    let flip = bench.on_record("dns.flip", json!({ "to": ["127.0.0.2"] }));
    let (bound, done) = forward(&bench, &*flip).await;
    let restore = bench.on_record("dns.restore", json!({ "to": done.result["prior"] }));
    // Somebody else points it elsewhere, or only at another TTL, or takes it away.
    let ours = bench.standing().await;
    for theirs in [
        vec![simple("erp.lab.test.", "A", 300, &["127.0.0.3"])],
        vec![simple("erp.lab.test.", "A", 99, &["127.0.0.2"])],
        Vec::new(),
    ] {
        bench.zone().await.swap(&ours, &theirs, "pm-theirs").await.unwrap();
        let words = taken_back(&bench, &*restore, &bound).await;
        assert!(words.contains("changed by somebody else: now"), "{words}");
        assert!(theirs.iter().all(|set| words.contains(&set.words())), "{words}");
        assert_eq!(bench.standing().await, theirs, "theirs stands");
        bench.zone().await.swap(&theirs, &ours, "pm-ours").await.unwrap();
    }
    // A flip the other way is a way back, too.
    let theirs = [simple("erp.lab.test.", "A", 300, &["127.0.0.3"])];
    bench.zone().await.swap(&ours, &theirs, "pm-theirs").await.unwrap();
    let other_way = bench.on_record("dns.flip", json!({ "to": ["127.0.0.1"] }));
    let words = taken_back(&bench, &*other_way, &bound).await;
    assert!(words.contains("changed by somebody else: now"), "{words}");
    bench.zone().await.swap(&theirs, &ours, "pm-ours").await.unwrap();
    let words = taken_back(&bench, &*restore, &bound).await;
    assert!(words.contains("now erp.lab.test. A TTL 300 → 127.0.0.1"), "{words}");
    assert_eq!(bench.standing().await, before);
    let sent = bench.changes();
    taken_back(&bench, &*restore, &bound).await;
    assert_eq!(bench.changes(), sent, "it is so already");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_found_done_waits_for_what_the_flip_gave_to_caches() {
    let bench = Bench::lab(200.0, &[]).await;
    let flip = bench.on_record("dns.flip", json!({ "to": ["127.0.0.2"] }));
    let (bound, done) = forward(&bench, &*flip).await;
    let with = json!({ "to": done.result["prior"], "until": ["ttl_passed"] });
    let restore = bench.on_record("dns.restore", with);
    let hasty = bench.on_record("dns.restore", json!({ "to": done.result["prior"] }));
    // Sent, and whoever sent it is gone.
    taken_back(&bench, &*hasty, &bound).await;
    let cx = back(&bench, &bound);
    let seen = restore.observe(&cx).await.unwrap();
    assert!(
        matches!(&seen, Observed::Running { detail } if detail.contains("300 s")),
        "{seen:?}"
    );
    let begun = std::time::Instant::now();
    restore.adopt(&cx).await.unwrap();
    // 300 s at 200 times the pace.
    assert!(
        begun.elapsed() >= std::time::Duration::from_millis(1500),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shift_is_taken_back_from_any_of_its_stages_and_from_nowhere_else() {
    let bench = Bench::lab(50.0, &[]).await;
    let before = bench.standing().await;
    let red = json!({
        "on_breach": "hold",
        "analysis": [
            { "uses": "sql.assert", "on": ["target"], "with": { "sql": "select 1", "expect": "value == 2" } },
        ],
    });
    let action = bench.on_record("dns.shift", shift(red));
    let (bound, stopped) = forward(&bench, &*action).await;
    assert_eq!(stopped.result["reached"], 5, "{}", stopped.summary);
    let restore = bench.on_record("dns.restore", json!({ "to": stopped.result["prior"] }));
    let ours = bench.standing().await;
    let mut theirs = ours.clone();
    theirs[0].weight = Some(42);
    bench.zone().await.swap(&ours, &theirs, "pm-theirs").await.unwrap();
    let words = taken_back(&bench, &*restore, &bound).await;
    assert!(
        words.contains("changed by somebody else") && words.contains("weight 42"),
        "{words}"
    );
    bench.zone().await.swap(&theirs, &ours, "pm-ours").await.unwrap();
    taken_back(&bench, &*restore, &bound).await;
    assert_eq!(bench.standing().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ttl_comes_back_on_what_the_run_pointed_at_since_and_not_over_a_foreign_ttl() {
    let bench = Bench::lab(200.0, &[]).await;
    let lower = bench.on_record("dns.lower_ttl", json!({ "ttl": 10, "wait": false }));
    let (bound, done) = forward(&bench, &*lower).await;
    let close = bench.on_record("dns.restore", json!({ "to": done.result["prior"], "only": "ttl" }));
    let flip = bench.on_record("dns.flip", json!({ "to": ["127.0.0.2"] }));
    bench.perform(&*flip, "pm-flip").await.unwrap();
    let ours = bench.standing().await;
    for theirs in [vec![simple("erp.lab.test.", "A", 99, &["127.0.0.2"])], Vec::new()] {
        bench.zone().await.swap(&ours, &theirs, "pm-theirs").await.unwrap();
        let words = taken_back(&bench, &*close, &bound).await;
        assert!(
            words.contains("its TTL is neither as this step left it nor as it was before"),
            "{words}"
        );
        assert_eq!(bench.standing().await, theirs, "theirs stands");
        bench.zone().await.swap(&theirs, &ours, "pm-ours").await.unwrap();
    }
    taken_back(&bench, &*close, &bound).await;
    assert_eq!(
        bench.standing().await,
        [simple("erp.lab.test.", "A", 300, &["127.0.0.2"])]
    );
}

/// A whole run: lower, flip, what somebody else does in between (played by a step that is kept), a last look.
fn night(place: &Place, theirs: &str) -> String {
    let text = format!(
        "version: 1
name: ways-back
connections: {{ aws: {{ uses: aws, region: us-east-1, account: \"000000000000\" }} }}
environments: {{ lab: {{ kind: lab }} }}
phases:
  - id: all
    steps:
      - id: lower_ttl
        uses: dns.lower_ttl
        on: aws
        with: {{ zone: Z0LAB000000001, record: erp.lab.test, ttl: 10 }}
        outputs: {{ prior: result.prior, lowered: result.lowered }}
        rollback: {{ at_close: true }}
      - id: flip
        uses: dns.flip
        on: aws
        with:
          zone: Z0LAB000000001
          record: erp.lab.test
          to: [127.0.0.2]
          lowered: \"${{ steps.lower_ttl.outputs.lowered }}\"
        outputs: {{ prior: result.prior }}
        rollback:
          uses: dns.restore
          on: aws
          with: {{ zone: Z0LAB000000001, record: erp.lab.test, to: \"${{ steps.flip.outputs.prior }}\" }}
{theirs}      - id: last
        uses: dns.lookup
        on: aws
        with: {{ zone: Z0LAB000000001, record: erp.lab.test }}
"
    );
    let path = place.path("night.yaml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn meddling(with: &str) -> String {
    format!(
        "      - id: theirs
        uses: dns.flip
        on: aws
        with: {{ zone: Z0LAB000000001, record: erp.lab.test, {with} }}
        rollback: {{ not_needed: it plays somebody else }}
"
    )
}

fn conducted(theirs: &str, more: &[&str]) -> (Ended, Vec<String>, u32) {
    let place = Place::new();
    let lab = place.lab("lab", &[]);
    let ended = place.run_on(&lab, &night(&place, theirs), more);
    let answer = served(&lab);
    (ended, answer.0, answer.1)
}

/// What the lab's authoritative server gives.
fn served(lab: &LabProcess) -> (Vec<String>, u32) {
    let asked = Asked {
        name: "erp.lab.test.".to_owned(),
        kind: "A".to_owned(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let answer = runtime.block_on(ask(lab.endpoints().dns, &asked)).unwrap();
    (answer.values, answer.ttl)
}

#[test]
fn a_run_that_nobody_meddles_with_comes_back_and_closes() {
    let (ended, values, ttl) = conducted("", &["--roll-back-at", "last"]);
    assert_eq!((values.as_slice(), ttl), (&["127.0.0.1".to_owned()][..], 300));
    ended.expect(4);
    let (ended, values, ttl) = conducted("", &[]);
    assert_eq!((values.as_slice(), ttl), (&["127.0.0.2".to_owned()][..], 300));
    ended.expect(0);
}

#[test]
fn an_unwinding_stops_at_what_somebody_else_made_of_the_record() {
    let (ended, values, ttl) = conducted(&meddling("to: [127.0.0.3]"), &["--roll-back-at", "last"]);
    assert_eq!(
        (values.as_slice(), ttl),
        (&["127.0.0.3".to_owned()][..], 10),
        "theirs stands"
    );
    let undone = ended.named("effect.outcome");
    let undone = undone.iter().find(|event| event["role"] == "undo").unwrap();
    assert_eq!(undone["result"], "failed", "{undone}");
    let words = undone["detail"].as_str().unwrap();
    assert!(
        words.contains("changed by somebody else: now erp.lab.test. A TTL 10 → 127.0.0.3"),
        "{words}"
    );
    ended.expect(5);
}

#[test]
fn a_close_does_not_put_a_ttl_over_what_somebody_else_set() {
    let (ended, values, ttl) = conducted(&meddling("to: [127.0.0.2], ttl: 99"), &[]);
    assert_eq!(
        (values.as_slice(), ttl),
        (&["127.0.0.2".to_owned()][..], 99),
        "theirs stands"
    );
    let closing = ended.named("effect.outcome");
    let closing = closing.iter().find(|event| event["role"] == "close").unwrap();
    assert_eq!(closing["result"], "failed", "{closing}");
    let words = closing["detail"].as_str().unwrap();
    assert!(words.contains("its TTL is neither as this step left it"), "{words}");
    assert_ne!(ended.code, 0, "nobody says that it is closed: {}", ended.out);
}
