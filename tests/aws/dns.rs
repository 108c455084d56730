//! Route 53: lower, flip, restore, look up; what somebody else changed is left alone.

use std::sync::Arc;

use pointsman::provider::action::{ActionErrorKind, Observed, Outcome};
use pointsman::provider::dns::records::{Alias, RecordSet, Zone};
use pointsman::provider::dns::stages::members;
use serde_json::{Value, json};

use crate::bench::{Bench, RECORD, action, followed, nothing_shows, on};
use crate::proxy::{Fault, Gate, Proxy};

on!(lab: a_record_goes_over, a_record_comes_back, a_zone_that_nobody_has_is_named, what_somebody_else_changed_is_left_alone, a_swap_is_one_batch_and_comes_back, whoever_is_faster_is_not_overwritten, of_many_at_once_one_wins, an_alias_is_put_back_exactly);
on!(moto: a_record_goes_over, a_zone_that_nobody_has_is_named, what_somebody_else_changed_is_left_alone);
on!(ministack: a_record_goes_over, a_record_comes_back, a_zone_that_nobody_has_is_named, what_somebody_else_changed_is_left_alone, a_swap_is_one_batch_and_comes_back, a_change_is_pending_first, whoever_is_faster_is_not_overwritten, of_many_at_once_one_wins, an_alias_is_put_back_exactly);

fn with(bench: &Bench, more: Value) -> Value {
    let mut with = json!({ "zone": bench.names.zone, "record": RECORD });
    with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    with
}

async fn answers(bench: &Bench, expect: &str) {
    let lookup = bench.action("dns.lookup", json!({ "record": RECORD, "expect": expect }));
    bench.perform(&*lookup, "pm-look").await.unwrap();
}

async fn a_record_goes_over(bench: Bench) {
    over(&bench).await;
}

/// Lowered, then flipped: the outcomes of both.
async fn over(bench: &Bench) -> (Outcome, Outcome) {
    answers(bench, "values == ['127.0.0.1'] and ttl == 300 and authoritative").await;
    let lower = bench.action("dns.lower_ttl", with(bench, json!({ "ttl": 60, "wait": false })));
    let lowered = bench.perform(&*lower, "pm-lower").await.unwrap();
    answers(bench, "values == ['127.0.0.1'] and ttl == 60").await;
    let flip = bench.action("dns.flip", with(bench, json!({ "to": ["127.0.0.2"] })));
    let identity = flip.check(&bench.cx("pm-flip", Value::Null)).await.unwrap().identity;
    // A batch whose answer was lost may be on its way for a while; not for ever.
    let cx = bench.cx("pm-flip", identity);
    nothing_shows(&*flip, &cx).await;
    let flipped = flip.execute(&cx).await.unwrap();
    assert!(flipped.result["request_id"].is_string(), "{:?}", flipped.result);
    assert_eq!(followed(&*flip, &cx).await.result["prior"], flipped.result["prior"]);
    answers(bench, "values == ['127.0.0.2'] and ttl == 60").await;
    (lowered, flipped)
}

async fn a_record_comes_back(bench: Bench) {
    let (lowered, flipped) = over(&bench).await;
    let back = with(&bench, json!({ "to": flipped.result["prior"] }));
    bench
        .perform(&*bench.action("dns.restore", back), "pm-back")
        .await
        .unwrap();
    answers(&bench, "values == ['127.0.0.1'] and ttl == 60").await;
    let close = with(&bench, json!({ "to": lowered.result["prior"], "only": "ttl" }));
    bench
        .perform(&*bench.action("dns.restore", close), "pm-close")
        .await
        .unwrap();
    answers(&bench, "values == ['127.0.0.1'] and ttl == 300").await;
}

async fn a_zone_that_nobody_has_is_named(bench: Bench) {
    for zone in ["no.such.zone.", "Z0NOSUCHZONE"] {
        let flip = json!({ "zone": zone, "record": RECORD, "to": ["127.0.0.2"] });
        let flip = bench.action("dns.flip", flip);
        let error = flip.check(&bench.cx("pm-x", Value::Null)).await.unwrap_err();
        assert_eq!(error.kind, ActionErrorKind::Permanent, "{zone}: {error:?}");
    }
}

async fn what_somebody_else_changed_is_left_alone(bench: Bench) {
    let flip = |to: &str| bench.action("dns.flip", with(&bench, json!({ "to": [to] })));
    let ours = flip("127.0.0.2");
    let identity = ours.check(&bench.cx("pm-flip", Value::Null)).await.unwrap().identity;
    bench.perform(&*flip("127.0.0.3"), "pm-other").await.unwrap();
    let before = bench.acked();
    let cx = bench.cx("pm-flip", identity);
    let error = ours.execute(&cx).await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::Permanent);
    assert!(error.message.contains("changed by somebody else"), "{error:?}");
    assert_eq!(bench.acked(), before, "nothing was sent");
    let seen = ours.observe(&cx).await.unwrap();
    assert!(matches!(seen, Observed::Unknown { .. }), "{seen:?}");
}

async fn a_swap_is_one_batch_and_comes_back(bench: Bench) {
    let zone = Zone::find(&bench.target, &bench.names.zone).await.unwrap();
    let read = async || zone.read(RECORD, "A").await.unwrap();
    let simple = read().await;
    let to = ["127.0.0.2".to_owned()];
    let mut standing = simple.clone();
    for share in [5, 25, 100] {
        let meant = members(&simple, &to, Some(60), share).unwrap();
        zone.swap(&standing, &meant, &format!("pm-swap at {share}"))
            .await
            .unwrap();
        standing = read().await;
        assert_eq!(standing, meant);
    }
    // Whoever holds the record for what it was before is refused, and nothing is changed.
    let stale = members(&simple, &to, Some(60), 25).unwrap();
    let error = zone.swap(&stale, &simple, "pm-stale").await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::Permanent, "{error}");
    assert_eq!(read().await, standing);
    zone.swap(&standing, &simple, "pm-swap back").await.unwrap();
    assert_eq!(read().await, simple);
}

async fn a_change_is_pending_first(bench: Bench) {
    let flip = bench.action("dns.flip", with(&bench, json!({ "to": ["127.0.0.2"] })));
    bench.perform(&*flip, "pm-flip").await.unwrap();
    let told = bench.heard.progress.lock().unwrap().clone();
    assert!(told.contains(&"PENDING".to_owned()), "{told:?}");
}

/// Somebody changes the record between the look and the batch.
async fn whoever_is_faster_is_not_overwritten(bench: Bench) {
    let proxy = Proxy::start(bench.endpoint()).await;
    let flip = action(
        &bench.through(&proxy.url()),
        "dns.flip",
        with(&bench, json!({ "to": ["127.0.0.2"] })),
    );
    let identity = flip.check(&bench.cx("pm-flip", Value::Null)).await.unwrap().identity;
    let gate = Arc::new(Gate::default());
    proxy.arm("ChangeResourceRecordSets", Fault::Held(gate.clone()), 1);
    let cx = bench.cx("pm-flip", identity);
    let running = tokio::spawn(async move { flip.execute(&cx).await });
    gate.arrived.notified().await;
    let zone = Zone::find(&bench.target, &bench.names.zone).await.unwrap();
    let current = zone.read(RECORD, "A").await.unwrap();
    let theirs = [RecordSet {
        values: vec!["127.0.0.3".to_owned()],
        ..current[0].clone()
    }];
    zone.swap(&current, &theirs, "pm-theirs").await.unwrap();
    gate.open.notify_one();
    let error = running.await.unwrap().unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::Permanent, "nothing was changed: {error}");
    assert!(error.message.contains("changed by somebody else"), "{error}");
    assert!(error.message.contains(&theirs[0].words()), "{error}");
    assert_eq!(zone.read(RECORD, "A").await.unwrap(), theirs, "theirs stands");
    assert!(bench.acked().is_empty(), "nothing was accepted");
}

async fn an_alias_is_put_back_exactly(bench: Bench) {
    let zone = Zone::find(&bench.target, &bench.names.zone).await.unwrap();
    let target = |name: &str, address: &str| RecordSet {
        name: name.to_owned(),
        kind: "A".to_owned(),
        set_identifier: None,
        weight: None,
        ttl: Some(20),
        values: vec![address.to_owned()],
        alias: None,
    };
    for set in [
        target("one.lab.test.", "127.0.0.1"),
        target("two.lab.test.", "127.0.0.2"),
    ] {
        zone.swap(&[], &[set], "pm-target").await.unwrap();
    }
    let current = zone.read(RECORD, "A").await.unwrap();
    let alias = [RecordSet {
        ttl: None,
        values: Vec::new(),
        alias: Some(Alias {
            name: "one.lab.test.".to_owned(),
            zone: bench.names.zone.clone(),
            evaluate_target_health: true,
        }),
        ..current[0].clone()
    }];
    zone.swap(&current, &alias, "pm-alias").await.unwrap();
    assert_eq!(zone.read(RECORD, "A").await.unwrap(), alias);
    let to = json!({ "alias": "two.lab.test", "alias_zone": bench.names.zone });
    let flip = bench.action("dns.flip", with(&bench, to));
    let flipped = bench.perform(&*flip, "pm-flip").await.unwrap();
    answers(&bench, "values == ['127.0.0.2'] and ttl == 20").await;
    let back = with(&bench, json!({ "to": flipped.result["prior"] }));
    bench
        .perform(&*bench.action("dns.restore", back), "pm-back")
        .await
        .unwrap();
    assert_eq!(zone.read(RECORD, "A").await.unwrap(), alias);
    answers(&bench, "values == ['127.0.0.1']").await;
}

/// All of them read the same record, and each means to replace exactly that.
async fn of_many_at_once_one_wins(bench: Bench) {
    let zone = Zone::find(&bench.target, &bench.names.zone).await.unwrap();
    let current = zone.read(RECORD, "A").await.unwrap();
    let wanted: Vec<[RecordSet; 1]> = (2..10)
        .map(|last| {
            [RecordSet {
                values: vec![format!("127.0.0.{last}")],
                ..current[0].clone()
            }]
        })
        .collect();
    let sent = wanted.iter().map(|wanted| zone.swap(&current, wanted, "pm-race"));
    let answers = futures::future::join_all(sent).await;
    let won: Vec<usize> = (0..answers.len()).filter(|at| answers[*at].is_ok()).collect();
    assert_eq!(won.len(), 1, "{answers:?}");
    for lost in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(lost.kind, ActionErrorKind::Permanent, "{lost}");
    }
    assert_eq!(zone.read(RECORD, "A").await.unwrap(), wanted[won[0]]);
}
