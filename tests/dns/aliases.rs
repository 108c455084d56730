//! Aliases of Route 53: flipped to and away from, put back exactly, judged by what their target answers.

use pointsman::lab::endpoints::ZONE_ID;
use pointsman::provider::action::ActionErrorKind;
use pointsman::provider::dns::records::{Alias, RecordSet};
use serde_json::{Value, json};

use crate::bench::{Bench, simple};
use crate::peers::dig_or_nothing;

/// Two targets, and the application's record as an alias of the first.
async fn aliased(bench: &Bench) -> Vec<RecordSet> {
    let zone = bench.zone().await;
    for (name, address) in [("one.lab.test.", "127.0.0.1"), ("two.lab.test.", "127.0.0.2")] {
        zone.swap(&[], &[simple(name, "A", 20, &[address])], "pm-target")
            .await
            .unwrap();
    }
    let alias = RecordSet {
        ttl: None,
        values: Vec::new(),
        alias: Some(Alias {
            name: "one.lab.test.".to_owned(),
            zone: ZONE_ID.to_owned(),
            evaluate_target_health: true,
        }),
        ..bench.standing().await[0].clone()
    };
    zone.swap(&bench.standing().await, std::slice::from_ref(&alias), "pm-alias")
        .await
        .unwrap();
    vec![alias]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_is_flipped_to_another_target_and_comes_back_exactly() {
    let bench = Bench::lab(200.0, &[]).await;
    let before = aliased(&bench).await;
    assert_eq!(bench.standing().await, before);
    let with = json!({ "alias": "Two.lab.test", "alias_zone": ZONE_ID });
    let flip = bench.on_record("dns.flip", with);
    let ready = flip.check(&bench.cx("pm-flip", Value::Null)).await.unwrap();
    assert!(
        ready.facts[0].contains("alias A → one.lab.test. in zone"),
        "{:?}",
        ready.facts
    );
    let flipped = flip.execute(&bench.cx("pm-flip", ready.identity)).await.unwrap();
    let standing = bench.standing().await;
    let alias = standing[0].alias.clone().unwrap();
    assert_eq!(
        (alias.name.as_str(), alias.evaluate_target_health),
        ("two.lab.test.", false)
    );
    assert_eq!(
        flipped.result["servers"][0]["values"],
        json!(["127.0.0.2"]),
        "{}",
        flipped.summary
    );
    let seen = dig_or_nothing(bench.lab.endpoints().dns, "erp.lab.test");
    assert!(seen.is_none_or(|seen| seen == ["127.0.0.2"]), "dig agrees");
    let back = bench.on_record("dns.restore", json!({ "to": flipped.result["prior"] }));
    bench.perform(&*back, "pm-back").await.unwrap();
    assert_eq!(bench.standing().await, before, "evaluate_target_health too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_becomes_an_alias_and_an_alias_a_record() {
    let bench = Bench::lab(200.0, &[]).await;
    let before = aliased(&bench).await;
    let refused = bench.on_record("dns.flip", json!({ "to": ["127.0.0.2"] }));
    let error = refused.check(&bench.cx("pm-x", Value::Null)).await.unwrap_err();
    assert!(error.message.contains("add ttl:"), "{error}");
    let lower = bench.on_record("dns.lower_ttl", json!({ "ttl": 10 }));
    let error = lower.check(&bench.cx("pm-x", Value::Null)).await.unwrap_err();
    assert!(
        error.message.contains("is an alias and has no TTL of its own"),
        "{error}"
    );
    let plain = bench.on_record("dns.flip", json!({ "to": ["127.0.0.2"], "ttl": 30 }));
    let plain = bench.perform(&*plain, "pm-plain").await.unwrap();
    assert_eq!(
        bench.standing().await,
        [simple("erp.lab.test.", "A", 30, &["127.0.0.2"])]
    );
    let alias = bench.on_record("dns.flip", json!({ "alias": "one.lab.test", "alias_zone": ZONE_ID }));
    bench.perform(&*alias, "pm-alias-again").await.unwrap();
    assert!(bench.standing().await[0].alias.is_some());
    let back = bench.on_record("dns.restore", json!({ "to": plain.result["prior"] }));
    bench.perform(&*back, "pm-back").await.unwrap();
    assert_eq!(bench.standing().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_whose_target_route_53_does_not_know_is_refused_and_nothing_is_changed() {
    let bench = Bench::lab(200.0, &[]).await;
    let before = bench.standing().await;
    for (alias, zone) in [("nobody.lab.test", ZONE_ID), ("erp.elsewhere.test", "Z0ELSEWHERE")] {
        let flip = bench.on_record("dns.flip", json!({ "alias": alias, "alias_zone": zone }));
        let error = bench.perform(&*flip, "pm-flip").await.unwrap_err();
        assert_eq!(error.kind, ActionErrorKind::Permanent, "{error}");
        assert!(error.message.contains("InvalidChangeBatch"), "{error}");
    }
    assert_eq!(bench.standing().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_says_what_it_lacks_before_anything_is_asked() {
    let bench = Bench::lab(200.0, &[]).await;
    for (more, words) in [
        (json!({ "alias": "one.lab.test" }), "needs alias_zone"),
        (
            json!({ "alias": "one.lab.test", "alias_zone": ZONE_ID, "ttl": 10 }),
            "an alias has no TTL",
        ),
        (
            json!({ "to": ["127.0.0.2"], "alias_zone": ZONE_ID }),
            "belong to alias:",
        ),
        (json!({}), "needs to or alias"),
    ] {
        let words_of = bench.refused("dns.flip", more);
        assert!(words_of.contains(words), "{words}: {words_of}");
    }
}
