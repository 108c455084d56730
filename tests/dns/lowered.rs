//! A flip is not sent while a cache may hold the record for longer than the lowered TTL.

use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use pointsman::provider::action::ActionErrorKind;
use pointsman::provider::dns::lowered::Lowered;
use serde_json::{Value, json};

use crate::bench::{Bench, fill};
use crate::peers::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_flip_is_refused_until_the_old_ttl_has_passed_or_every_resolver_holds_the_lowered_one() {
    let Some((bench, caches)) = Bench::cached(&[]).await else {
        return;
    };
    let late = caches.unbound.at;
    assert_eq!(fill(late).await.ttl, 300);
    let lower = bench.on_record("dns.lower_ttl", json!({ "ttl": 5, "wait": false }));
    let lowered = bench.perform(&*lower, "pm-lower").await.unwrap().result["lowered"].clone();
    let (old_ttl, ttl) = (lowered["old_ttl"].clone(), lowered["ttl"].clone());
    assert_eq!((old_ttl, ttl), (json!(300), json!(5)));
    let flip = |resolvers: &[String], lowered: &Value| {
        let with = json!({ "to": ["127.0.0.2"], "lowered": lowered, "resolvers": resolvers });
        bench.on_record("dns.flip", with)
    };
    // Nobody listed, a cache that holds the old TTL, one that answers and one that does not.
    let good = Server::unbound(caches.knot.at).await;
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let nobody = nobody.local_addr().unwrap();
    let cases: [(&[String], &str); 3] = [
        (&[], "list resolvers"),
        (&[good.at.to_string(), late.to_string()], "holds 127.0.0.1 for"),
        (&[good.at.to_string(), nobody.to_string()], "does not answer"),
    ];
    let sent = bench.changes();
    for (resolvers, words) in cases {
        let flip = flip(resolvers, &lowered);
        let error = flip.check(&bench.cx("pm-flip", Value::Null)).await.unwrap_err();
        assert_eq!(error.kind, ActionErrorKind::Permanent);
        assert!(error.message.contains(words), "{error}");
        assert!(
            error.message.contains("s left") && error.message.contains("nothing was sent"),
            "{error}"
        );
        // The same in the instant before the effect.
        let error = flip.execute(&bench.cx("pm-flip", Value::Null)).await.unwrap_err();
        assert_eq!(error.kind, ActionErrorKind::Permanent);
    }
    assert_eq!(bench.changes(), sent, "nothing was sent");
    let proven = flip(&[good.at.to_string()], &lowered);
    let facts = proven.check(&bench.cx("pm-flip", Value::Null)).await.unwrap().facts;
    assert!(
        facts.iter().any(|fact| fact.contains("all 1 resolvers hold")),
        "{facts:?}"
    );
    bench.perform(&*proven, "pm-flip").await.unwrap();
    assert_eq!(bench.changes().len(), sent.len() + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_route_53_would_refuse_is_refused_before_it_is_sent() {
    let bench = Bench::lab(200.0, &[]).await;
    for to in [
        json!(["127.0.0.256"]),
        json!(["::1"]),
        json!([]),
        json!(["127.0.0.2", "127.0.0.2"]),
    ] {
        for (uses, more) in [("dns.flip", json!({})), ("dns.shift", json!({ "stages": [5, 100] }))] {
            let mut with = json!({ "to": to });
            with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let action = bench.on_record(uses, with);
            for refused in [
                action.check(&bench.cx("pm-x", Value::Null)).await.map(|_| ()),
                action.execute(&bench.cx("pm-x", Value::Null)).await.map(|_| ()),
            ] {
                let error = refused.unwrap_err();
                assert_eq!(error.kind, ActionErrorKind::Permanent, "{uses} {to}: {error}");
                assert!(
                    error.message.contains("Route 53 would refuse it"),
                    "{uses} {to}: {error}"
                );
            }
        }
    }
    assert_eq!(bench.changes(), Vec::<String>::new(), "nothing was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_ttl_passes_by_the_clock() {
    let bench = Bench::lab(200.0, &[]).await;
    let flip = |seconds: i64| {
        let lowered = Lowered {
            at: Utc::now() - TimeDelta::milliseconds(seconds * 5),
            old_ttl: 300,
            ttl: 10,
            already: false,
        };
        let with = json!({ "to": ["127.0.0.2"], "lowered": lowered });
        bench.on_record("dns.flip", with)
    };
    // 200 times as fast as the night: 5 ms are a second. A minute of slack for a slow machine.
    let error = flip(60).check(&bench.cx("pm-flip", Value::Null)).await.unwrap_err();
    assert!(error.message.contains("s left"), "{error}");
    bench.perform(&*flip(301), "pm-flip").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_lowers_and_waits_may_flip_at_once() {
    let bench = Bench::lab(200.0, &[]).await;
    let lower = bench.on_record("dns.lower_ttl", json!({ "ttl": 10 }));
    let identity = lower.check(&bench.cx("pm-lower", Value::Null)).await.unwrap().identity;
    let cx = bench.cx("pm-lower", identity);
    let lowered = lower.execute(&cx).await.unwrap().result["lowered"].clone();
    let flip = |lowered: &Value| bench.on_record("dns.flip", json!({ "to": ["127.0.0.2"], "lowered": lowered }));
    let bound = flip(&lowered).check(&bench.cx("pm-flip", Value::Null)).await.unwrap();
    // What is found by reading after a crash says the same.
    let found = lower.adopt(&cx).await.unwrap().result["lowered"].clone();
    flip(&found).check(&bench.cx("pm-flip", Value::Null)).await.unwrap();
    flip(&lowered)
        .execute(&bench.cx("pm-flip", bound.identity))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ttl_that_is_low_already_is_waited_out_because_nobody_knows_since_when() {
    let bench = Bench::lab(200.0, &[]).await;
    let lower = |more: Value| bench.on_record("dns.lower_ttl", more);
    bench
        .perform(&*lower(json!({ "ttl": 60, "wait": false })), "pm-first")
        .await
        .unwrap();
    let (sent, begun) = (bench.changes(), Instant::now());
    let again = lower(json!({ "ttl": 60 }));
    let ready = again.check(&bench.cx("pm-lower", Value::Null)).await.unwrap();
    assert!(
        ready.facts.iter().any(|fact| fact.contains("nobody knows since when")),
        "{:?}",
        ready.facts
    );
    let lowered = again.execute(&bench.cx("pm-lower", ready.identity)).await.unwrap();
    // 60 s at 200 times the pace.
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
    assert_eq!(bench.changes(), sent, "nothing was sent");
    let lowered = &lowered.result["lowered"];
    assert_eq!(
        (&lowered["old_ttl"], &lowered["ttl"], &lowered["already"]),
        (&json!(60), &json!(60), &json!(true))
    );
    let flip = bench.on_record("dns.flip", json!({ "to": ["127.0.0.2"], "lowered": lowered }));
    let ready = flip.check(&bench.cx("pm-flip", Value::Null)).await.unwrap();
    assert!(
        ready.facts.iter().any(|fact| fact.contains("nobody knows since when")),
        "{:?}",
        ready.facts
    );
    // Who does not wait there waits here.
    let hasty = lower(json!({ "ttl": 60, "wait": false }));
    let hasty = bench.perform(&*hasty, "pm-hasty").await.unwrap().result["lowered"].clone();
    let now = Lowered {
        at: Utc::now() + TimeDelta::hours(1),
        ..serde_json::from_value(hasty).unwrap()
    };
    let flip = bench.on_record("dns.flip", json!({ "to": ["127.0.0.2"], "lowered": now }));
    let error = flip.check(&bench.cx("pm-flip", Value::Null)).await.unwrap_err();
    assert!(
        error.message.contains("s left") && error.message.contains("nobody knows"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_holds_a_longer_ttl_stands_against_one_that_is_low_already() {
    let Some((bench, caches)) = Bench::cached(&[]).await else {
        return;
    };
    // The cache has the record from before somebody lowered its TTL by hand.
    assert_eq!(fill(caches.unbound.at).await.ttl, 300);
    let by_hand = bench.on_record("dns.lower_ttl", json!({ "ttl": 5, "wait": false }));
    bench.perform(&*by_hand, "pm-by-hand").await.unwrap();
    let long_ago = Lowered {
        at: Utc::now() - TimeDelta::hours(1),
        old_ttl: 5,
        ttl: 5,
        already: true,
    };
    let with = json!({ "to": ["127.0.0.2"], "lowered": long_ago, "resolvers": [caches.unbound.at.to_string()] });
    let error = bench
        .on_record("dns.flip", with)
        .check(&bench.cx("pm-flip", Value::Null))
        .await
        .unwrap_err();
    assert!(
        error.message.contains("lowered not long ago") && error.message.contains("holds 127.0.0.1 for"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_found_after_a_crash_waits_the_old_ttl_from_when_it_is_seen() {
    let bench = Bench::lab(200.0, &[]).await;
    let lower = bench.on_record("dns.lower_ttl", json!({ "ttl": 10 }));
    let identity = lower.check(&bench.cx("pm-lower", Value::Null)).await.unwrap().identity;
    // Somebody sent it and is gone; its intent is older than the old TTL.
    let hasty = bench.on_record("dns.lower_ttl", json!({ "ttl": 10, "wait": false }));
    bench.perform(&*hasty, "pm-lower").await.unwrap();
    let cx = pointsman::provider::action::Cx {
        intent_at: Utc::now() - TimeDelta::hours(1),
        ..bench.cx("pm-lower", identity)
    };
    let seen = lower.observe(&cx).await.unwrap();
    assert!(
        matches!(seen, pointsman::provider::action::Observed::Running { .. }),
        "{seen:?}"
    );
    let (begun, at) = (Instant::now(), Utc::now());
    let found = lower.adopt(&cx).await.unwrap();
    // 300 s at 200 times the pace.
    assert!(begun.elapsed() >= Duration::from_millis(1500), "{:?}", begun.elapsed());
    let lowered: Lowered = serde_json::from_value(found.result["lowered"].clone()).unwrap();
    assert!(lowered.at >= at, "not before it was seen: {lowered:?}");
}
