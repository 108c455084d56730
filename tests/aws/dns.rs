//! Route 53: lower, flip, restore, look up; what somebody else changed is left alone.

use pointsman::provider::action::{ActionErrorKind, Observed};
use pointsman::provider::dns::records::Zone;
use pointsman::provider::dns::stages::members;
use serde_json::{Value, json};

use crate::bench::{Bench, RECORD, followed, on};

on!(lab: a_record_goes_over_and_comes_back, a_zone_that_nobody_has_is_named, what_somebody_else_changed_is_left_alone, a_swap_is_one_batch_and_comes_back);
on!(moto: a_record_goes_over_and_comes_back, a_zone_that_nobody_has_is_named, what_somebody_else_changed_is_left_alone);
on!(ministack: a_record_goes_over_and_comes_back, a_zone_that_nobody_has_is_named, what_somebody_else_changed_is_left_alone, a_swap_is_one_batch_and_comes_back, a_change_is_pending_first);

fn with(bench: &Bench, more: Value) -> Value {
    let mut with = json!({ "zone": bench.names.zone, "record": RECORD });
    with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    with
}

async fn answers(bench: &Bench, expect: &str) {
    let lookup = bench.action("dns.lookup", json!({ "record": RECORD, "expect": expect }));
    bench.perform(&*lookup, "pm-look").await.unwrap();
}

async fn a_record_goes_over_and_comes_back(bench: Bench) {
    answers(&bench, "values == ['127.0.0.1'] and ttl == 300 and authoritative").await;
    let lower = bench.action("dns.lower_ttl", with(&bench, json!({ "ttl": 60, "wait": false })));
    let lowered = bench.perform(&*lower, "pm-lower").await.unwrap();
    answers(&bench, "values == ['127.0.0.1'] and ttl == 60").await;
    let flip = bench.action("dns.flip", with(&bench, json!({ "to": ["127.0.0.2"] })));
    let identity = flip.check(&bench.cx("pm-flip", Value::Null)).await.unwrap().identity;
    let cx = bench.cx("pm-flip", identity);
    assert!(matches!(flip.observe(&cx).await.unwrap(), Observed::NotStarted { .. }));
    let flipped = flip.execute(&cx).await.unwrap();
    assert!(flipped.result["request_id"].is_string(), "{:?}", flipped.result);
    assert_eq!(followed(&*flip, &cx).await.result["prior"], flipped.result["prior"]);
    answers(&bench, "values == ['127.0.0.2'] and ttl == 60").await;
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
