//! Who asks, and where: nothing starts in another account or region than the connection names.

use pointsman::provider::action::ActionErrorKind;
use pointsman::provider::aws::{AwsTarget, Identity};
use serde_json::{Value, json};

use crate::bench::{Bench, RECORD, action, on};
use crate::proxy::{Fault, Proxy};

on!(lab: nobody_starts_in_another_account, nobody_starts_in_another_region);
on!(moto: nobody_starts_in_another_account, nobody_starts_in_another_region);
on!(ministack: nobody_starts_in_another_account);

/// Every action that could change something, with parameters that fit.
fn changes(bench: &Bench) -> Vec<(&'static str, Value)> {
    let named = |more: Value| {
        let mut with = json!({ "zone": bench.names.zone, "record": RECORD });
        with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        with
    };
    let mut changes = vec![
        ("dns.flip", named(json!({ "to": ["127.0.0.2"] }))),
        ("dns.lower_ttl", named(json!({ "ttl": 60 }))),
        ("dns.restore", named(json!({ "to": [] }))),
    ];
    if bench.names.instance.is_empty() {
        return changes;
    }
    changes.extend([
        ("rds.snapshot", json!({ "instance": bench.names.instance })),
        ("rds.snapshot", json!({ "cluster": bench.names.cluster })),
        (
            "rds.modify",
            json!({ "instance": bench.names.instance, "backup_retention": 7 }),
        ),
        ("rds.failover", json!({ "cluster": bench.names.cluster })),
        ("rds.promote_replica", json!({ "instance": bench.names.replica })),
        ("rds.restore_test", json!({ "snapshot": "pm-none" })),
        ("dms.start", json!({ "task": bench.names.task })),
        ("dms.stop", json!({ "task": bench.names.task })),
    ]);
    changes
}

async fn nobody_starts_in_another_account(bench: Bench) {
    let elsewhere = AwsTarget::new(
        &bench.target.region,
        "999999999999",
        bench.target.endpoint.clone(),
        Identity::Fake,
    );
    for (uses, with) in changes(&bench) {
        let action = action(&elsewhere, uses, with);
        let error = action.check(&bench.cx("pm-x", Value::Null)).await.unwrap_err();
        assert_eq!(error.kind, ActionErrorKind::Permanent, "{uses}");
        let words = format!("the credentials belong to account {}", bench.target.account);
        assert!(error.message.contains(&words), "{uses}: {error:?}");
    }
}

async fn nobody_starts_in_another_region(bench: Bench) {
    let proxy = Proxy::start(bench.endpoint()).await;
    let target = bench.through(&proxy.url());
    // The database says that it lies elsewhere.
    proxy.arm(
        "DescribeDBInstances",
        Fault::Rewrite("rds:us-east-1", "rds:sa-east-1"),
        1,
    );
    let snapshot = action(&target, "rds.snapshot", json!({ "instance": bench.names.instance }));
    let error = snapshot.check(&bench.cx("pm-x", Value::Null)).await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::Permanent);
    assert!(error.message.contains("lies in region sa-east-1"), "{error:?}");
    // So does the task's ARN.
    let task = bench.names.task.replace("us-east-1", "sa-east-1");
    let start = action(&target, "dms.start", json!({ "task": task }));
    let error = start.check(&bench.cx("pm-x", Value::Null)).await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::Permanent);
    assert!(error.message.contains("lies in region sa-east-1"), "{error:?}");
    assert_eq!(proxy.count("DescribeReplicationTasks"), 0, "it was not even looked for");
}
