//! Faults as AWS's own models word them, by a proxy that other people wrote, in front of moto: what the classes are
//! built on is not only what this suite's own proxy says.

use pointsman::provider::action::ActionErrorKind;
use serde_json::{Value, json};

use crate::bench::{Bench, RECORD, action, followed, fresh, nothing_shows};
use crate::peers::{Kind, Peer};

/// The requests that a rule strikes. microburst knows Route 53's change only with a slash at its end, which the SDK
/// does not send; of all calls only the change has a body.
fn struck_by(service: &str, operation: &str) -> Value {
    match service {
        "route53" => json!({ "service": service, "headers": { "content-type": "xml" } }),
        _ => json!({ "service": service, "operation": operation }),
    }
}

/// A change of each protocol: the service, the operation, the action.
fn changes(bench: &Bench) -> [(&'static str, &'static str, &'static str, Value); 3] {
    [
        (
            "rds",
            "CreateDBSnapshot",
            "rds.snapshot",
            json!({ "instance": bench.names.instance }),
        ),
        (
            "route53",
            "ChangeResourceRecordSets",
            "dns.flip",
            json!({ "zone": bench.names.zone, "record": RECORD, "to": ["127.0.0.2"] }),
        ),
        (
            "dms",
            "StartReplicationTask",
            "dms.start",
            json!({ "task": bench.names.task }),
        ),
    ]
}

async fn rules(proxy: &Peer, rules: Value) {
    let url = format!("{}/_microburst/rules", proxy.url());
    let answer = reqwest::Client::new()
        .post(url)
        .body(rules.to_string())
        .send()
        .await
        .unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
}

/// How often a rule struck.
async fn fired(proxy: &Peer) -> usize {
    let url = format!("{}/_microburst/fired", proxy.url());
    let text = reqwest::get(url).await.unwrap().text().await.unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    all.as_array()
        .map_or_else(|| all["fired"].as_array().unwrap().len(), Vec::len)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_models_say_has_the_class_that_it_has() {
    let Some(bench) = Bench::moto().await else { return };
    let Some(proxy) = Peer::start(Kind::Microburst, Some(bench.endpoint())) else {
        return;
    };
    let target = bench.through(&proxy.url());
    let mut struck = 0;
    for (service, operation, uses, with) in changes(&bench) {
        let action = action(&target, uses, with);
        let identity = action.check(&bench.cx("pm-x", Value::Null)).await.unwrap().identity;
        for (fault, kind, words) in [
            (
                json!({ "error": { "code": "ExpiredTokenException", "status": 403 } }),
                ActionErrorKind::Permanent,
                "log in again",
            ),
            (
                json!({ "error": { "code": "AccessDenied", "status": 403 } }),
                ActionErrorKind::Permanent,
                "AccessDenied",
            ),
            (
                json!({ "error": { "code": "ThrottlingException", "status": 400 } }),
                ActionErrorKind::Transient,
                "Throttling",
            ),
            (
                json!({ "error": { "code": "InternalFailure", "status": 500 } }),
                ActionErrorKind::InDoubt,
                "may have happened",
            ),
            (json!({ "reset": true }), ActionErrorKind::InDoubt, "may have happened"),
        ] {
            let mut rule = struck_by(service, operation);
            rule.as_object_mut().unwrap().extend(fault.as_object().unwrap().clone());
            rules(&proxy, json!([rule])).await;
            let cx = bench.cx(&fresh("pm-modelled"), identity.clone());
            let error = action.execute(&cx).await.unwrap_err();
            assert_eq!(error.kind, kind, "{operation} {fault}: {error:?}");
            assert!(error.message.contains(words), "{operation} {fault}: {error:?}");
            struck += 1;
            // The rule would strike again: nothing was sent twice.
            assert_eq!(fired(&proxy).await, struck, "{operation} {fault}");
            nothing_shows(&*action, &cx).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_applied_while_its_reply_broke_off_is_found() {
    let Some(bench) = Bench::moto().await else { return };
    let Some(proxy) = Peer::start(Kind::Microburst, Some(bench.endpoint())) else {
        return;
    };
    let target = bench.through(&proxy.url());
    for (service, operation, uses, with) in changes(&bench) {
        let action = action(&target, uses, with);
        let key = fresh("pm-broken");
        let identity = action.check(&bench.cx(&key, Value::Null)).await.unwrap().identity;
        let cx = bench.cx(&key, identity);
        let mut broken = struck_by(service, operation);
        broken["response"] = json!({ "abort_frac": 0.5 });
        rules(&proxy, json!([broken])).await;
        let error = action.execute(&cx).await.unwrap_err();
        assert_eq!(error.kind, ActionErrorKind::InDoubt, "{operation}: {error:?}");
        followed(&*action, &cx).await;
    }
    assert_eq!(fired(&proxy).await, 3, "each was sent once");
}
