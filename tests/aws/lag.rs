//! How far a replication is behind: on the lab by what its replicator really has not copied, on moto by samples that
//! somebody put there. A task without young samples is not up to date.

use chrono::{SecondsFormat, TimeDelta, Utc};
use pointsman::provider::action::{ActionErrorKind, Cx};
use pointsman::provider::dms::task::{client, instance_name};
use serde_json::{Value, json};

use crate::bench::{Bench, Home};
use crate::wire::query;

#[tokio::test(flavor = "multi_thread")]
async fn the_lab_is_up_to_date_while_its_task_runs_and_unknown_when_it_does_not() {
    let bench = Bench::slow_lab().await.unwrap();
    let Home::Lab(lab, _) = &bench.home else {
        panic!("a lab")
    };
    let cx = Cx {
        speed: lab.endpoints().speed,
        ..bench.cx("pm-x", Value::Null)
    };
    let with = json!({ "task": bench.names.task });
    let lag = |more: Value| {
        let mut with = json!({ "task": bench.names.task, "below": "30s" });
        with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        bench.action("dms.lag", with)
    };
    let unknown = lag(json!({})).execute(&cx).await.unwrap_err();
    assert_eq!(unknown.kind, ActionErrorKind::Permanent);
    assert!(unknown.message.contains("the lag is not known"), "{unknown}");

    bench
        .perform(&*bench.action("dms.start", with.clone()), "pm-start")
        .await
        .unwrap();
    bench
        .perform(&*bench.action("dms.wait_caught_up", with.clone()), "pm-wait")
        .await
        .unwrap();
    let patient = json!({ "task": bench.names.task, "lag_below": "30s", "hold": "2m" });
    let waited = bench
        .perform(&*bench.action("dms.wait_caught_up", patient), "pm-lag")
        .await
        .unwrap();
    assert!(waited.summary.contains("caught up"), "{}", waited.summary);
    let told = bench.heard.progress.lock().unwrap().join("\n");
    assert!(told.contains("below 30 s for"), "it was held: {told}");
    let short = lag(json!({ "within": "1h" })).execute(&cx).await.unwrap();
    assert!(short.result["lag_s"].as_f64().unwrap() < 30.0, "{}", short.summary);
    assert!(short.summary.contains("below 30 s"), "{}", short.summary);

    bench
        .perform(&*bench.action("dms.stop", with), "pm-stop")
        .await
        .unwrap();
    let stopped = lag(json!({})).execute(&cx).await.unwrap_err();
    assert!(stopped.message.contains("the lag is not known"), "{stopped}");
}

/// Puts both samples of a task into moto.
async fn put(bench: &Bench, instance: &str, task: &str, (source, target): (&str, &str), minutes_ago: i64) {
    let at = Utc::now() - TimeDelta::minutes(minutes_ago);
    let stamp = at.to_rfc3339_opts(SecondsFormat::Secs, true);
    for (metric, value) in [("CDCLatencySource", source), ("CDCLatencyTarget", target)] {
        let sample = [
            ("Action", "PutMetricData"),
            ("Version", "2010-08-01"),
            ("Namespace", "AWS/DMS"),
            ("MetricData.member.1.MetricName", metric),
            ("MetricData.member.1.Value", value),
            ("MetricData.member.1.Timestamp", &stamp),
            (
                "MetricData.member.1.Dimensions.member.1.Name",
                "ReplicationInstanceIdentifier",
            ),
            ("MetricData.member.1.Dimensions.member.1.Value", instance),
            (
                "MetricData.member.1.Dimensions.member.2.Name",
                "ReplicationTaskIdentifier",
            ),
            ("MetricData.member.1.Dimensions.member.2.Value", task),
        ];
        query(bench.endpoint(), "monitoring", &sample).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn moto_tells_both_sides_and_what_is_old_says_nothing() {
    let Some(bench) = Bench::moto().await else { return };
    let cx = Cx {
        speed: 1.0,
        ..bench.cx("pm-x", Value::Null)
    };
    let arn = &bench.names.task;
    let instance = instance_name(&client(&bench.target).await, arn).await.unwrap();
    let id = arn.rsplit(':').next().unwrap();
    let lag = |below: &str, max_age: &str| {
        bench.action("dms.lag", json!({ "task": arn, "below": below, "max_age": max_age }))
    };
    put(&bench, &instance, id, ("1", "2"), 30).await;
    let stopped = lag("30s", "1h").execute(&cx).await.unwrap_err();
    assert!(
        stopped.message.contains("the task is stopped"),
        "what it told before says nothing: {stopped}"
    );
    bench
        .perform(&*bench.action("dms.start", json!({ "task": arn })), "pm-start")
        .await
        .unwrap();
    let old = lag("30s", "3m").execute(&cx).await.unwrap_err();
    assert!(old.message.contains("the lag is not known"), "{old}");
    assert!(lag("30s", "1h").execute(&cx).await.is_ok());

    put(&bench, &instance, id, ("4", "31"), 1).await;
    let behind = lag("30s", "3m").execute(&cx).await.unwrap_err();
    assert!(behind.message.contains("NOT below 30 s"), "{behind}");
    let near = lag("32s", "3m").execute(&cx).await.unwrap();
    assert_eq!(
        (
            &near.result["source_s"],
            &near.result["target_s"],
            &near.result["lag_s"]
        ),
        (&json!(4.0), &json!(31.0), &json!(31.0))
    );
}
