//! RDS: describe and snapshot, of instances and clusters.

use pointsman::provider::action::{ActionErrorKind, Observed};
use serde_json::{Value, json};

use crate::bench::{Bench, followed, fresh, nothing_shows, on};

on!(lab: a_database_is_described, a_database_that_nobody_has_is_named, a_snapshot_is_taken_once_under_our_name, a_name_taken_by_another_is_refused, a_name_taken_by_ourselves_is_adopted, progress_is_told);
on!(moto: a_database_is_described, a_database_that_nobody_has_is_named, a_snapshot_is_taken_once_under_our_name, a_name_taken_by_another_is_refused, a_name_taken_by_ourselves_is_adopted);

fn subjects(bench: &Bench) -> [Value; 2] {
    [
        json!({ "instance": bench.names.instance }),
        json!({ "cluster": bench.names.cluster }),
    ]
}

/// Tags of the snapshot of an instance or a cluster.
async fn tags(bench: &Bench, subject: &Value, name: &str) -> Vec<(String, String)> {
    let client = bench.rds().await;
    let tags = if subject.get("instance").is_some() {
        let answer = client
            .describe_db_snapshots()
            .db_snapshot_identifier(name)
            .send()
            .await
            .unwrap();
        answer.db_snapshots()[0].tag_list().to_vec()
    } else {
        let call = client
            .describe_db_cluster_snapshots()
            .db_cluster_snapshot_identifier(name);
        call.send().await.unwrap().db_cluster_snapshots()[0].tag_list().to_vec()
    };
    let pair = |tag: &aws_sdk_rds::types::Tag| (tag.key().unwrap().to_owned(), tag.value().unwrap().to_owned());
    let mut tags: Vec<_> = tags.iter().map(pair).collect();
    tags.sort();
    tags
}

/// Takes a snapshot as somebody else would, or as ourselves with our tag.
async fn take(bench: &Bench, subject: &Value, name: &str, key: Option<&str>) {
    let client = bench.rds().await;
    let tag = key.map(|key| {
        aws_sdk_rds::types::Tag::builder()
            .key("pointsman-key")
            .value(key)
            .build()
    });
    let tags = Some(tag.into_iter().collect());
    if let Some(instance) = subject.get("instance").and_then(Value::as_str) {
        let call = client.create_db_snapshot().db_instance_identifier(instance);
        call.db_snapshot_identifier(name).set_tags(tags).send().await.unwrap();
    } else {
        let cluster = subject["cluster"].as_str().unwrap();
        let call = client.create_db_cluster_snapshot().db_cluster_identifier(cluster);
        call.db_cluster_snapshot_identifier(name)
            .set_tags(tags)
            .send()
            .await
            .unwrap();
    }
}

async fn a_database_is_described(bench: Bench) {
    let found = bench.describe(&bench.names.instance).await;
    let wanted = json!({
        "status": "available", "engine": "mysql", "class": "db.t4g.medium", "multi_az": false,
        "backup_retention": 1, "storage_gib": 20, "replica_of": null, "pending": false,
    });
    for (name, value) in wanted.as_object().unwrap() {
        assert_eq!(&found[name], value, "{name}: {found:?}");
    }
    assert_eq!(
        bench.describe(&bench.names.replica).await["replica_of"],
        json!(bench.names.instance)
    );
    let cluster =
        json!({ "cluster": bench.names.cluster, "expect": "status == 'available' and engine == 'aurora-mysql'" });
    let cluster = bench
        .perform(&*bench.action("rds.describe", cluster), "pm-read")
        .await
        .unwrap();
    assert!(cluster.result["writer"].is_string(), "{:?}", cluster.result);
    let wrong = json!({ "instance": bench.names.instance, "expect": "multi_az" });
    let error = bench
        .perform(&*bench.action("rds.describe", wrong), "pm-read")
        .await
        .unwrap_err();
    assert!(error.message.contains("multi_az does not hold"), "{error:?}");
}

async fn a_database_that_nobody_has_is_named(bench: Bench) {
    for with in [json!({ "instance": "no-such-db" }), json!({ "cluster": "no-such-db" })] {
        for uses in ["rds.describe", "rds.snapshot"] {
            let error = bench
                .perform(&*bench.action(uses, with.clone()), "pm-x")
                .await
                .unwrap_err();
            assert_eq!(error.kind, ActionErrorKind::Permanent, "{error:?}");
            assert!(error.message.contains("no-such-db"), "{error:?}");
        }
    }
}

async fn a_snapshot_is_taken_once_under_our_name(bench: Bench) {
    for subject in subjects(&bench) {
        let key = fresh("pm-snap");
        let snapshot = bench.action("rds.snapshot", subject.clone());
        let identity = snapshot.check(&bench.cx(&key, Value::Null)).await.unwrap().identity;
        assert_eq!(identity["account"], json!(bench.target.account));
        assert_eq!(identity["region"], json!(bench.target.region));
        assert!(identity["resource"].is_string(), "{identity}");
        let cx = bench.cx(&key, identity);
        nothing_shows(&*snapshot, &cx).await;
        let taken = snapshot.execute(&cx).await.unwrap();
        assert_eq!(taken.result["snapshot"], json!(key));
        assert!(taken.result["request_id"].is_string(), "{:?}", taken.result);
        let ours = [
            ("pointsman-key", key.as_str()),
            ("pointsman-run", bench.run.as_str()),
            ("pointsman-step", "step"),
        ];
        let ours = ours.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(tags(&bench, &subject, &key).await, ours);
        let found = followed(&*snapshot, &cx).await;
        assert_eq!(found.result["snapshot"], taken.result["snapshot"]);
        assert_eq!(found.result["created"], taken.result["created"], "the same one");
    }
}

async fn a_name_taken_by_another_is_refused(bench: Bench) {
    for subject in subjects(&bench) {
        let key = fresh("pm-taken");
        take(&bench, &subject, &key, None).await;
        let snapshot = bench.action("rds.snapshot", subject);
        let acked = bench.acked();
        // The database itself has to be available again.
        let cx = bench.cx(&key, Value::Null);
        let error = snapshot.execute(&cx).await.unwrap_err();
        assert_eq!(error.kind, ActionErrorKind::Permanent, "{error:?}");
        assert!(error.message.contains("not ours"), "{error:?}");
        assert!(error.request_id.is_some());
        assert_eq!(bench.acked(), acked);
        let seen = snapshot.observe(&cx).await.unwrap();
        assert!(matches!(seen, Observed::Unknown { .. }), "{seen:?}");
    }
    // Our tag on a snapshot of something else is not ours either.
    let key = fresh("pm-taken");
    take(&bench, &json!({ "instance": bench.names.replica }), &key, Some(&key)).await;
    let snapshot = bench.action("rds.snapshot", json!({ "instance": bench.names.instance }));
    let error = snapshot.execute(&bench.cx(&key, Value::Null)).await.unwrap_err();
    assert!(error.message.contains("not ours"), "{error:?}");
}

async fn a_name_taken_by_ourselves_is_adopted(bench: Bench) {
    for subject in subjects(&bench) {
        let key = fresh("pm-ours");
        take(&bench, &subject, &key, Some(&key)).await;
        let snapshot = bench.action("rds.snapshot", subject);
        let adopted = snapshot.execute(&bench.cx(&key, Value::Null)).await.unwrap();
        assert_eq!(adopted.result["snapshot"], json!(key));
        assert_eq!(bench.accepted().last(), Some(&key));
    }
}

async fn progress_is_told(bench: Bench) {
    let snapshot = bench.action("rds.snapshot", json!({ "instance": bench.names.instance }));
    bench.perform(&*snapshot, "pm-progress").await.unwrap();
    let told = bench.heard.progress.lock().unwrap().clone();
    assert!(told.iter().any(|words| words.starts_with("creating, ")), "{told:?}");
}
