//! Metrics: what the newest sample says, and that an old one, none, or an answer that is none proves nothing. On the lab
//! the samples are what its applications really did; on moto somebody put them there.

use std::time::Duration;

use chrono::{SecondsFormat, TimeDelta, Utc};
use pointsman::lab::endpoints::{ACCOUNT, REGION};
use pointsman::lab::{Fault as LabFault, Lab, LabOptions};
use pointsman::provider::action::{ActionErrorKind, Cx};
use pointsman::provider::aws::{AwsTarget, Identity};
use serde_json::{Value, json};

use crate::bench::{Bench, action, fresh};
use crate::proxy::{Fault, Proxy};
use crate::wire::query;

fn of_group(metric: &str, group: &str, more: Value) -> Value {
    let mut with = json!({
        "namespace": "AWS/ApplicationELB",
        "metric": metric,
        "dimensions": { "TargetGroup": format!("targetgroup/{group}") },
        "statistic": "sum",
        "expect": "value < 1",
    });
    with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    with
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_labs_applications_answered_is_told_and_judged() {
    let folder = tempfile::tempdir().unwrap();
    let options = LabOptions {
        speed: 60.0,
        faults: vec![LabFault::TargetUnhealthy],
        writer: false,
    };
    let lab = Lab::start(folder.path(), options).await.unwrap();
    let bench = Bench::lab().await.unwrap();
    let target = AwsTarget::new(REGION, ACCOUNT, Some(lab.endpoints().aws.clone()), Identity::Fake);
    let cx = Cx {
        speed: 60.0,
        ..bench.cx("pm-x", Value::Null)
    };
    let port = lab.endpoints().app_port;
    for _ in 0..3 {
        reqwest::get(format!("http://127.0.0.2:{port}/health")).await.unwrap();
        reqwest::get(format!("http://127.0.0.1:{port}/health")).await.unwrap();
    }
    let metric =
        |metric: &str, group: &str, more: Value| action(&target, "cloudwatch.metric", of_group(metric, group, more));

    // The period that they fall into ends within a nominal minute, and has its sample then.
    let counted = json!({ "expect": "value >= 1", "within": "30m", "every": "6s", "max_age": "30m" });
    let counted = metric("RequestCount", "old", counted).execute(&cx).await.unwrap();
    // They may fall into two periods.
    assert!((1.0..=3.0).contains(&counted.result["value"].as_f64().unwrap()));
    assert_eq!(counted.result["missing"], false);

    let failing = metric("HTTPCode_Target_5XX_Count", "new", json!({ "max_age": "30m" }));
    let error = failing.execute(&cx).await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::Permanent);
    assert!(error.message.contains("; value < 1 is false"), "{error}");

    // The old application never failed: nobody tells of nought.
    let none = metric("HTTPCode_Target_5XX_Count", "old", json!({}));
    let error = none.execute(&cx).await.unwrap_err();
    assert!(error.message.contains("no sample within 180 s"), "{error}");
    let nought = metric("HTTPCode_Target_5XX_Count", "old", json!({ "missing": 0 }));
    let told = nought.execute(&cx).await.unwrap();
    assert_eq!(
        (&told.result["value"], &told.result["missing"]),
        (&json!(0.0), &json!(true))
    );
    let facts = nought.check(&cx).await.unwrap().facts;
    assert!(
        facts[0].contains("NO SAMPLE WITHIN 10800 s"),
        "a name that is wrong looks alike: {facts:?}"
    );
    lab.stop().await;
}

/// Puts a sample into moto, as an agent would (`PutMetricData`).
async fn put(bench: &Bench, namespace: &str, value: f64, minutes_ago: i64) {
    let at = Utc::now() - TimeDelta::minutes(minutes_ago);
    let stamp = at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let value = value.to_string();
    let sample = [
        ("Action", "PutMetricData"),
        ("Version", "2010-08-01"),
        ("Namespace", namespace),
        ("MetricData.member.1.MetricName", "Lag"),
        ("MetricData.member.1.Value", &value),
        ("MetricData.member.1.Timestamp", &stamp),
        ("MetricData.member.1.Dimensions.member.1.Name", "Task"),
        ("MetricData.member.1.Dimensions.member.1.Value", "erp"),
    ];
    query(bench.endpoint(), "monitoring", &sample).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moto_tells_what_was_put_there_and_its_age_counts() {
    let Some(bench) = Bench::moto().await else { return };
    let cx = Cx {
        speed: 1.0,
        ..bench.cx("pm-x", Value::Null)
    };
    let namespace = fresh("Erp");
    let lag = |more: Value| {
        let mut with = json!({
            "namespace": namespace,
            "metric": "Lag",
            "dimensions": { "Task": "erp" },
            "statistic": "maximum",
            "expect": "value < 30",
        });
        with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        bench.action("cloudwatch.metric", with)
    };
    put(&bench, &namespace, 12.5, 40).await;
    let old = lag(json!({})).execute(&cx).await.unwrap_err();
    assert!(old.message.contains("no sample within 180 s"), "{old}");
    let patient = lag(json!({ "max_age": "1h" })).execute(&cx).await.unwrap();
    assert_eq!(patient.result["value"], 12.5);
    let age = patient.result["age_s"].as_u64().unwrap();
    assert!((38 * 60..=41 * 60).contains(&age), "{age}");

    put(&bench, &namespace, 31.0, 1).await;
    let behind = lag(json!({})).execute(&cx).await.unwrap_err();
    assert_eq!(behind.kind, ActionErrorKind::Permanent);
    assert!(behind.message.contains("value 31; value < 30 is false"), "{behind}");
    let fact = lag(json!({})).check(&cx).await.unwrap().facts.remove(0);
    assert_eq!(fact, "now: 31");
    let other = lag(json!({ "dimensions": { "Task": "crm" } }))
        .execute(&cx)
        .await
        .unwrap_err();
    assert!(other.message.contains("no sample"), "{other}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metric_that_cannot_be_read_is_never_a_metric_that_is_well() {
    let bench = Bench::lab().await.unwrap();
    let proxy = Proxy::start(bench.endpoint()).await;
    let mut target = bench.through(&proxy.url());
    target.patience = Duration::from_secs(4);
    let with = of_group("HTTPCode_Target_5XX_Count", "new", json!({ "missing": 0 }));
    let metric = action(&target, "cloudwatch.metric", with);
    let operation = "GetMetricStatistics";
    let denied = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no</Message></Error>\
                  <RequestId>r-1</RequestId></ErrorResponse>";
    for (fault, times, kind, words, requests) in [
        (
            Fault::Answer(403, denied),
            9,
            ActionErrorKind::Permanent,
            "AccessDenied",
            1,
        ),
        (Fault::Answer(500, "oops"), 9, ActionErrorKind::Transient, "500", 3),
        (
            Fault::Garbage("<html>"),
            9,
            ActionErrorKind::Transient,
            "could not be read",
            3,
        ),
        (Fault::ResetAfter, 9, ActionErrorKind::Transient, "connection failed", 3),
        (Fault::Silence, 9, ActionErrorKind::Transient, "", 2),
    ] {
        let before = proxy.count(operation);
        proxy.arm(operation, fault.clone(), times);
        let error = metric.execute(&bench.cx("pm-x", Value::Null)).await.unwrap_err();
        assert_eq!(error.kind, kind, "{fault:?}: {error:?}");
        assert!(error.message.contains(words), "{fault:?}: {error:?}");
        if words == "AccessDenied" {
            assert!(error.request_id.is_some(), "{error:?}");
        }
        let sent = proxy.count(operation) - before;
        assert!(sent >= 1 && sent <= requests, "{fault:?}: {sent} requests");
        proxy.disarm();
    }
    proxy.arm(operation, Fault::Answer(503, "busy"), 1);
    metric.execute(&bench.cx("pm-x", Value::Null)).await.unwrap();
}
