//! RDS: modify, promote, failover. Done is what the database says, not what the call answers.

use pointsman::provider::action::{Action, ActionErrorKind, Cx, Observed};
use pointsman::provider::aws::AwsTarget;
use serde_json::{Value, json};

use crate::bench::{Bench, action, followed, fresh, nothing_shows, on};
use crate::proxy::{Fault, Proxy};

on!(lab: backups_that_begin_and_end_say_so, a_replica_that_does_not_follow_is_not_promoted, what_waits_for_a_restart_is_told, settings_change_and_come_back, a_cluster_changes_and_comes_back, what_is_so_already_is_not_sent, a_foreign_value_is_left_alone, what_somebody_set_since_is_not_taken_back, another_database_of_that_name_is_left_alone, only_what_was_changed_is_taken_back, what_cannot_be_changed_is_refused, a_cluster_fails_over, a_replica_is_promoted, an_instance_fails_over);
on!(slow_lab: what_waits_is_told, a_database_that_is_busy_is_refused);
on!(moto: settings_change_and_come_back, a_cluster_changes_and_comes_back, what_is_so_already_is_not_sent, a_foreign_value_is_left_alone, what_somebody_set_since_is_not_taken_back, another_database_of_that_name_is_left_alone, only_what_was_changed_is_taken_back, what_cannot_be_changed_is_refused, a_cluster_fails_over, a_promotion_that_only_says_so_is_not_done, a_failover_that_only_says_so_is_not_done);

fn modify(bench: &Bench, more: Value) -> Value {
    let mut with = json!({ "instance": bench.names.instance });
    with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    with
}

async fn settings_change_and_come_back(bench: Bench) {
    let wanted = json!({ "class": "db.m6g.large", "multi_az": true, "backup_retention": 7 });
    let change = bench.action("rds.modify", modify(&bench, wanted.clone()));
    let ready = change.check(&bench.cx("pm-modify", Value::Null)).await.unwrap();
    let facts = [
        "class: now db.t4g.medium, then db.m6g.large",
        "multi_az: now false, then true",
        "backup_retention: now 1, then 7",
    ];
    assert_eq!(ready.facts, facts);
    let cx = bench.cx("pm-modify", ready.identity);
    nothing_shows(&*change, &cx).await;
    let done = change.execute(&cx).await.unwrap();
    let before = json!({ "class": "db.t4g.medium", "multi_az": false, "backup_retention": 1 });
    assert_eq!(done.result["prior"], before);
    assert!(done.result["request_id"].is_string());
    let now = bench.describe(&bench.names.instance).await;
    for (name, value) in wanted.as_object().unwrap() {
        assert_eq!(&now[name], value);
    }
    assert_eq!(
        followed(&*change, &cx).await.result["prior"],
        before,
        "the way back is known by reading too"
    );
    let back = bench.action("rds.modify", modify(&bench, json!({ "to": done.result["prior"] })));
    bench.perform(&*back, "pm-back").await.unwrap();
    let now = bench.describe(&bench.names.instance).await;
    for (name, value) in before.as_object().unwrap() {
        assert_eq!(&now[name], value);
    }
}

async fn a_cluster_changes_and_comes_back(bench: Bench) {
    let with = |more: Value| {
        let mut with = json!({ "cluster": bench.names.cluster });
        with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        with
    };
    let change = bench.action("rds.modify", with(json!({ "backup_retention": 9 })));
    let done = bench.perform(&*change, "pm-modify").await.unwrap();
    assert_eq!(done.result["prior"], json!({ "backup_retention": 1 }));
    let back = bench.action("rds.modify", with(json!({ "to": done.result["prior"] })));
    let done = bench.perform(&*back, "pm-back").await.unwrap();
    assert_eq!(done.result["backup_retention"], 1);
    // Classes are those of its members.
    let class = bench.action("rds.modify", with(json!({ "class": "db.r6g.xlarge" })));
    let error = class.check(&bench.cx("pm-x", Value::Null)).await.unwrap_err();
    assert!(error.message.contains("no class of its own"), "{error:?}");
}

async fn what_is_so_already_is_not_sent(bench: Bench) {
    let change = bench.action("rds.modify", modify(&bench, json!({ "backup_retention": 1 })));
    let done = bench.perform(&*change, "pm-modify").await.unwrap();
    assert!(done.summary.contains("nothing was sent"), "{}", done.summary);
    assert!(bench.acked().is_empty());
}

async fn a_foreign_value_is_left_alone(bench: Bench) {
    let ours = bench.action("rds.modify", modify(&bench, json!({ "backup_retention": 7 })));
    let identity = ours.check(&bench.cx("pm-ours", Value::Null)).await.unwrap().identity;
    let other = bench.action("rds.modify", modify(&bench, json!({ "backup_retention": 3 })));
    bench.perform(&*other, "pm-other").await.unwrap();
    let (cx, acked) = (bench.cx("pm-ours", identity), bench.acked());
    let seen = ours.observe(&cx).await.unwrap();
    assert!(matches!(seen, Observed::Unknown { .. }), "{seen:?}");
    let error = ours.execute(&cx).await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::Permanent);
    assert!(error.message.contains("backup_retention is 3"), "{error:?}");
    assert_eq!(bench.acked(), acked, "nothing was sent");
}

/// Changes, and gives the way back with what it is told of the way.
async fn changed(bench: &Bench, wanted: Value) -> (Box<dyn Action>, Cx) {
    let change = bench.action("rds.modify", modify(bench, wanted));
    let identity = change.check(&bench.cx("pm-way", Value::Null)).await.unwrap().identity;
    let done = change.execute(&bench.cx("pm-way", identity.clone())).await.unwrap();
    let back = bench.action("rds.modify", modify(bench, json!({ "to": done.result["prior"] })));
    let mut cx = bench.cx("pm-back", Value::Null);
    cx.forward = identity;
    (back, cx)
}

/// A way back that sends nothing: neither look nor doing nor reading takes it for its own.
async fn left_alone(bench: &Bench, back: &dyn Action, cx: &Cx, words: &str) {
    let acked = bench.acked();
    for error in [back.check(cx).await.unwrap_err(), back.execute(cx).await.unwrap_err()] {
        assert_eq!(error.kind, ActionErrorKind::Permanent);
        assert!(error.message.contains(words), "{error:?}");
        assert!(error.message.contains("look who changed it"), "{error:?}");
    }
    let seen = back.observe(cx).await.unwrap();
    assert!(matches!(seen, Observed::Unknown { .. }), "{seen:?}");
    assert_eq!(bench.acked(), acked, "nothing was sent");
}

async fn what_somebody_set_since_is_not_taken_back(bench: Bench) {
    let (back, cx) = changed(&bench, json!({ "class": "db.m6g.large" })).await;
    let other = bench.action("rds.modify", modify(&bench, json!({ "class": "db.m6g.16xlarge" })));
    bench.perform(&*other, "pm-other").await.unwrap();
    left_alone(&bench, &*back, &cx, "is db.m6g.16xlarge, neither as before").await;
    // A way back that names its values has to ask as well.
    let named = bench.action("rds.modify", modify(&bench, json!({ "class": "db.t4g.medium" })));
    left_alone(&bench, &*named, &cx, "is db.m6g.16xlarge, neither as before").await;
    let again = bench.action("rds.modify", modify(&bench, json!({ "class": "db.m6g.large" })));
    bench.perform(&*again, "pm-again").await.unwrap();
    back.check(&cx).await.unwrap();
    back.execute(&cx).await.unwrap();
    assert_eq!(bench.describe(&bench.names.instance).await["class"], "db.t4g.medium");
    let seen = back.observe(&cx).await.unwrap();
    assert!(matches!(seen, Observed::Done(_)), "{seen:?}");
}

async fn another_database_of_that_name_is_left_alone(bench: Bench) {
    let (back, mut cx) = changed(&bench, json!({ "backup_retention": 7 })).await;
    assert!(cx.forward["resource"].is_string(), "{:?}", cx.forward);
    cx.forward["resource"] = json!("db-THEONEBEFORE");
    left_alone(&bench, &*back, &cx, "than the one that was changed (db-THEONEBEFORE)").await;
}

async fn only_what_was_changed_is_taken_back(bench: Bench) {
    let wanted = json!({ "class": "db.m6g.large", "backup_retention": 1 });
    let change = bench.action("rds.modify", modify(&bench, wanted.clone()));
    let identity = change.check(&bench.cx("pm-x", Value::Null)).await.unwrap().identity;
    assert_eq!(identity["prior"], json!({ "class": "db.t4g.medium" }));
    assert_eq!(identity["set"], json!({ "class": "db.m6g.large" }));
    // Somebody else sets it before us: nothing is sent, so nothing is taken back.
    let other = bench.action("rds.modify", modify(&bench, wanted));
    bench.perform(&*other, "pm-other").await.unwrap();
    let acked = bench.acked();
    let done = change.execute(&bench.cx("pm-x", identity.clone())).await.unwrap();
    assert!(done.summary.contains("nothing was sent"), "{}", done.summary);
    assert_eq!(done.result["prior"], json!({}));
    let back = bench.action("rds.modify", modify(&bench, json!({ "to": done.result["prior"] })));
    let mut cx = bench.cx("pm-back", Value::Null);
    cx.forward = identity;
    back.check(&cx).await.unwrap();
    let done = back.execute(&cx).await.unwrap();
    assert!(done.summary.contains("nothing was changed"), "{}", done.summary);
    assert_eq!(bench.acked(), acked, "nothing was sent");
    assert_eq!(bench.describe(&bench.names.instance).await["class"], "db.m6g.large");
}

async fn what_cannot_be_changed_is_refused(bench: Bench) {
    let change = bench.action("rds.modify", modify(&bench, json!({ "backup_retention": 7 })));
    let identity = change.check(&bench.cx("pm-x", Value::Null)).await.unwrap().identity;
    assert_eq!(identity["prior"], json!({ "backup_retention": 1 }));
    for (uses, with) in [
        ("rds.promote_replica", json!({ "instance": bench.names.instance })),
        ("rds.failover", json!({ "instance": bench.names.instance })),
        ("rds.restore_test", json!({ "snapshot": "no-such-snapshot" })),
        ("rds.modify", json!({ "instance": "no-such-db", "backup_retention": 7 })),
    ] {
        let error = bench
            .action(uses, with)
            .check(&bench.cx("pm-x", Value::Null))
            .await
            .unwrap_err();
        assert_eq!(error.kind, ActionErrorKind::Permanent, "{uses}: {error:?}");
    }
}

async fn a_cluster_fails_over(bench: Bench) {
    let failover = bench.action("rds.failover", json!({ "cluster": bench.names.cluster }));
    let identity = failover
        .check(&bench.cx("pm-fail", Value::Null))
        .await
        .unwrap()
        .identity;
    let mut cx = bench.cx("pm-fail", identity);
    nothing_shows(&*failover, &cx).await;
    let done = failover.execute(&cx).await.unwrap();
    assert_ne!(done.result["before"], done.result["primary"]);
    // A writer that fails is replaced as well: without an acknowledgement nobody can tell whose failover it was.
    let seen = failover.observe(&cx).await.unwrap();
    assert!(matches!(seen, Observed::Unknown { .. }), "{seen:?}");
    cx.acked = Some("accepted".to_owned());
    assert_eq!(
        followed(&*failover, &cx).await.result["primary"],
        done.result["primary"]
    );
    // The bound primary is gone: a second one would fail back.
    let error = failover.execute(&cx).await.unwrap_err();
    assert!(error.message.contains("moved"), "{error:?}");
    let back = json!({ "cluster": bench.names.cluster, "to": done.result["before"] });
    let back = bench
        .perform(&*bench.action("rds.failover", back), "pm-back")
        .await
        .unwrap();
    assert_eq!(back.result["primary"], done.result["before"]);
}

/// A world in which RDS says this besides of every instance.
async fn saying(bench: &Bench, words: &'static str) -> (Proxy, AwsTarget) {
    let proxy = Proxy::start(bench.endpoint()).await;
    let target = bench.through(&proxy.url());
    proxy.arm(
        "DescribeDBInstances",
        Fault::Rewrite("<PendingModifiedValues>", words),
        10_000,
    );
    (proxy, target)
}

async fn backups_that_begin_and_end_say_so(bench: Bench) {
    for (days, words) in [(0, "ARE DELETED"), (7, "which deletes those")] {
        let change = bench.action("rds.modify", modify(&bench, json!({ "backup_retention": days })));
        let ready = change.check(&bench.cx("pm-days", Value::Null)).await.unwrap();
        let told = ready.facts.join("; ");
        assert!(told.contains(words) && told.contains("sessions are cut"), "{told}");
        bench.perform(&*change, &fresh("pm-days")).await.unwrap();
    }
}

async fn a_replica_that_does_not_follow_is_not_promoted(bench: Bench) {
    let with = json!({ "instance": bench.names.replica });
    let replica = bench.action("rds.promote_replica", with.clone());
    let told = replica
        .check(&bench.cx("pm-x", Value::Null))
        .await
        .unwrap()
        .facts
        .join("; ");
    assert!(told.contains("NOT KNOWN here"), "{told}");
    let stopped = "<StatusInfos><DBInstanceStatusInfo><StatusType>read replication</StatusType><Normal>false</Normal>\
                   <Status>stopped</Status><Message>by somebody</Message></DBInstanceStatusInfo></StatusInfos>\
                   <PendingModifiedValues>";
    let (proxy, target) = saying(&bench, stopped).await;
    let promote = action(&target, "rds.promote_replica", with);
    let error = promote.check(&bench.cx("pm-x", Value::Null)).await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::Permanent, "{error:?}");
    assert!(error.message.contains("stopped (not normal): by somebody"), "{error:?}");
    // It stopped after the gate.
    let identity = replica.check(&bench.cx("pm-x", Value::Null)).await.unwrap().identity;
    let error = promote.execute(&bench.cx("pm-x", identity)).await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::Permanent, "{error:?}");
    assert_eq!(proxy.count("PromoteReadReplica"), 0);
    let anyway = json!({ "instance": bench.names.replica, "even_if_stopped": true });
    let anyway = action(&target, "rds.promote_replica", anyway);
    let told = anyway
        .check(&bench.cx("pm-x", Value::Null))
        .await
        .unwrap()
        .facts
        .join("; ");
    assert!(told.contains("ITS REPLICATION DOES NOT RUN"), "{told}");
}

async fn what_waits_for_a_restart_is_told(bench: Bench) {
    let waiting = "<DBParameterGroups><DBParameterGroup><DBParameterGroupName>tuned</DBParameterGroupName>\
                   <ParameterApplyStatus>pending-reboot</ParameterApplyStatus></DBParameterGroup></DBParameterGroups>\
                   <PendingModifiedValues>";
    let standby = bench.action("rds.modify", modify(&bench, json!({ "multi_az": true })));
    bench.perform(&*standby, "pm-standby").await.unwrap();
    let (_proxy, target) = saying(&bench, waiting).await;
    for (uses, with, words) in [
        (
            "rds.modify",
            json!({ "instance": bench.names.instance, "class": "db.m6g.large" }),
            "another class restarts it",
        ),
        (
            "rds.modify",
            json!({ "instance": bench.names.instance, "backup_retention": 7 }),
            "this change does not",
        ),
        (
            "rds.failover",
            json!({ "instance": bench.names.instance }),
            "a restart puts them in force",
        ),
    ] {
        let ready = action(&target, uses, with)
            .check(&bench.cx("pm-x", Value::Null))
            .await
            .unwrap();
        let told = ready.facts.join("; ");
        assert!(told.contains("(tuned)") && told.contains(words), "{uses}: {told}");
    }
}

async fn a_replica_is_promoted(bench: Bench) {
    let promote = bench.action("rds.promote_replica", json!({ "instance": bench.names.replica }));
    let identity = promote
        .check(&bench.cx("pm-promote", Value::Null))
        .await
        .unwrap()
        .identity;
    let cx = bench.cx("pm-promote", identity);
    let done = promote.execute(&cx).await.unwrap();
    assert!(done.summary.contains("kept for 1 days"), "{}", done.summary);
    assert_eq!(done.result["was_replica_of"], json!(bench.names.instance));
    assert_eq!(done.result["replica_of"], Value::Null);
    assert_eq!(
        followed(&*promote, &cx).await.result["was_replica_of"],
        json!(bench.names.instance)
    );
    let error = promote.execute(&cx).await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::Permanent);
    assert!(error.message.contains("no replica any more"), "{error:?}");
}

async fn an_instance_fails_over(bench: Bench) {
    let standby = bench.action("rds.modify", modify(&bench, json!({ "multi_az": true })));
    bench.perform(&*standby, "pm-standby").await.unwrap();
    let failover = bench.action("rds.failover", json!({ "instance": bench.names.instance }));
    let ready = failover.check(&bench.cx("pm-fail", Value::Null)).await.unwrap();
    assert_eq!(ready.facts, ["the primary is in us-east-1a", "us-east-1b takes over"]);
    let mut cx = bench.cx("pm-fail", ready.identity);
    let done = failover.execute(&cx).await.unwrap();
    assert_eq!(
        (&done.result["before"], &done.result["primary"]),
        (&json!("us-east-1a"), &json!("us-east-1b"))
    );
    // A zone that fails moves it too: without an acknowledgement nobody can tell whose it was.
    let seen = failover.observe(&cx).await.unwrap();
    assert!(matches!(seen, Observed::Unknown { .. }), "{seen:?}");
    cx.acked = Some("accepted".to_owned());
    assert_eq!(followed(&*failover, &cx).await.result["primary"], "us-east-1b");
}

async fn what_waits_is_told(bench: Bench) {
    let change = bench.action("rds.modify", modify(&bench, json!({ "class": "db.m6g.large" })));
    bench.perform(&*change, "pm-modify").await.unwrap();
    let told = bench.heard.progress.lock().unwrap().clone();
    assert!(
        told.contains(&"modifying, pending: class db.m6g.large".to_owned()),
        "{told:?}"
    );
}

async fn a_database_that_is_busy_is_refused(bench: Bench) {
    let change = bench.action("rds.modify", modify(&bench, json!({ "class": "db.m6g.large" })));
    let identity = change.check(&bench.cx("pm-x", Value::Null)).await.unwrap().identity;
    let client = bench.rds().await;
    let call = client
        .modify_db_instance()
        .db_instance_identifier(&bench.names.instance);
    call.backup_retention_period(3)
        .apply_immediately(true)
        .send()
        .await
        .unwrap();
    // Somebody else's change waits: applying ours at once would apply theirs too.
    for with in [json!({ "class": "db.m6g.large" }), json!({ "multi_az": true })] {
        let change = bench.action("rds.modify", modify(&bench, with));
        let error = change.check(&bench.cx("pm-x", Value::Null)).await.unwrap_err();
        assert_eq!(error.kind, ActionErrorKind::Permanent, "{error:?}");
    }
    let error = change.execute(&bench.cx("pm-x", identity)).await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::Permanent, "{error:?}");
    assert!(bench.acked().is_empty(), "nothing was sent");
}

async fn a_promotion_that_only_says_so_is_not_done(bench: Bench) {
    let promote = bench.action("rds.promote_replica", json!({ "instance": bench.names.replica }));
    let identity = promote
        .check(&bench.cx("pm-promote", Value::Null))
        .await
        .unwrap()
        .identity;
    let mut cx = bench.cx("pm-promote", identity.clone());
    cx.speed = 2_000.0;
    let error = promote.execute(&cx).await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::InDoubt);
    let words = format!("it is still a replica of {}", bench.names.instance);
    assert!(error.message.contains(&words), "{error:?}");
    assert!(error.request_id.is_some());
    assert_eq!(
        bench.accepted(),
        std::slice::from_ref(&bench.names.replica),
        "it was accepted"
    );
    // Nothing can tell whether it comes yet. After an hour it does not come any more.
    nothing_shows(&*promote, &bench.cx("pm-promote", identity)).await;
}

async fn a_failover_that_only_says_so_is_not_done(bench: Bench) {
    let standby = bench.action("rds.modify", modify(&bench, json!({ "multi_az": true })));
    bench.perform(&*standby, "pm-standby").await.unwrap();
    let failover = bench.action("rds.failover", json!({ "instance": bench.names.instance }));
    let identity = failover
        .check(&bench.cx("pm-fail", Value::Null))
        .await
        .unwrap()
        .identity;
    let mut cx = bench.cx("pm-fail", identity);
    cx.speed = 2_000.0;
    let error = failover.execute(&cx).await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::InDoubt);
    assert!(error.message.contains("its primary is us-east-1a"), "{error:?}");
    nothing_shows(&*failover, &cx).await;
}
