//! A change that was applied while its reply was lost: in doubt, never failed, never sent again; found by reading.

use pointsman::provider::action::{ActionErrorKind, Observed};
use serde_json::{Value, json};

use crate::bench::{Bench, RECORD, action, followed, fresh, on};
use crate::proxy::{Fault, Proxy};

on!(lab: a_failover_is_for_a_person, a_reset_after_the_effect_is_in_doubt_and_found, a_cut_reply_is_in_doubt_and_found, a_reply_of_garbage_is_in_doubt_and_found, a_promotion_is_found);
on!(moto: a_failover_is_for_a_person, a_reset_after_the_effect_is_in_doubt_and_found, a_cut_reply_is_in_doubt_and_found, a_reply_of_garbage_is_in_doubt_and_found);

/// Every change whose effect can be told from outside: the action, the operation that does it.
fn changes(bench: &Bench) -> Vec<(&'static str, Value, &'static str)> {
    let names = &bench.names;
    vec![
        (
            "rds.snapshot",
            json!({ "instance": names.instance }),
            "CreateDBSnapshot",
        ),
        (
            "rds.snapshot",
            json!({ "cluster": names.cluster }),
            "CreateDBClusterSnapshot",
        ),
        (
            "rds.modify",
            json!({ "instance": names.instance, "class": "db.m6g.large", "backup_retention": 7 }),
            "ModifyDBInstance",
        ),
        (
            "rds.modify",
            json!({ "cluster": names.cluster, "backup_retention": 7 }),
            "ModifyDBCluster",
        ),
        ("dms.start", json!({ "task": names.task }), "StartReplicationTask"),
        ("dms.stop", json!({ "task": names.task }), "StopReplicationTask"),
        (
            "dns.flip",
            json!({ "zone": names.zone, "record": RECORD, "to": ["127.0.0.2"] }),
            "ChangeResourceRecordSets",
        ),
    ]
}

/// Each change meets the fault once, is in doubt, and is found to have happened.
async fn in_doubt_and_found(bench: &Bench, fault: &Fault) {
    let proxy = Proxy::start(bench.endpoint()).await;
    let target = bench.through(&proxy.url());
    for (uses, with, operation) in changes(bench) {
        let action = action(&target, uses, with);
        let key = fresh("pm-lost");
        let identity = action.check(&bench.cx(&key, Value::Null)).await.unwrap().identity;
        let cx = bench.cx(&key, identity);
        let (before, acked) = (proxy.count(operation), bench.acked());
        proxy.arm(operation, fault.clone(), 1);
        let error = action.execute(&cx).await.unwrap_err();
        assert_eq!(error.kind, ActionErrorKind::InDoubt, "{operation}: {error:?}");
        assert!(error.message.contains("may have happened"), "{operation}: {error:?}");
        assert_eq!(proxy.count(operation) - before, 1, "{operation} was sent once");
        assert_eq!(bench.acked(), acked, "nobody said that it was accepted");
        let found = followed(&*action, &cx).await;
        assert!(!found.summary.is_empty());
        assert_eq!(proxy.count(operation) - before, 1, "looking sends nothing");
    }
}

async fn a_reset_after_the_effect_is_in_doubt_and_found(bench: Bench) {
    in_doubt_and_found(&bench, &Fault::ResetAfter).await;
}

async fn a_cut_reply_is_in_doubt_and_found(bench: Bench) {
    in_doubt_and_found(&bench, &Fault::CutReply).await;
}

async fn a_reply_of_garbage_is_in_doubt_and_found(bench: Bench) {
    in_doubt_and_found(&bench, &Fault::Garbage("<html>Welcome to the hotel's network</html>")).await;
}

/// Whatever moved the writer: what nobody accepted is not called ours.
async fn a_failover_is_for_a_person(bench: Bench) {
    let proxy = Proxy::start(bench.endpoint()).await;
    let failover = json!({ "cluster": bench.names.cluster });
    let failover = action(&bench.through(&proxy.url()), "rds.failover", failover);
    let key = fresh("pm-lost");
    let identity = failover.check(&bench.cx(&key, Value::Null)).await.unwrap().identity;
    let cx = bench.cx(&key, identity);
    proxy.arm("FailoverDBCluster", Fault::ResetAfter, 1);
    let error = failover.execute(&cx).await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::InDoubt, "{error:?}");
    let mut seen = failover.observe(&cx).await.unwrap();
    while let Observed::NotVisible { .. } | Observed::Running { .. } = seen {
        tokio::task::yield_now().await;
        seen = failover.observe(&cx).await.unwrap();
    }
    let Observed::Unknown { detail } = seen else {
        panic!("{seen:?}")
    };
    assert!(detail.contains("something else may have moved it"), "{detail}");
    assert_eq!(proxy.count("FailoverDBCluster"), 1);
}

async fn a_promotion_is_found(bench: Bench) {
    let proxy = Proxy::start(bench.endpoint()).await;
    let promote = json!({ "instance": bench.names.replica });
    let promote = action(&bench.through(&proxy.url()), "rds.promote_replica", promote);
    let identity = promote
        .check(&bench.cx("pm-promote", Value::Null))
        .await
        .unwrap()
        .identity;
    let cx = bench.cx("pm-promote", identity);
    proxy.arm("PromoteReadReplica", Fault::ResetAfter, 1);
    let error = promote.execute(&cx).await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::InDoubt, "{error:?}");
    // It is a replica for a while yet: nobody says that nothing was sent.
    let mut seen = promote.observe(&cx).await.unwrap();
    while let Observed::NotVisible { .. } | Observed::Running { .. } = seen {
        tokio::task::yield_now().await;
        seen = promote.observe(&cx).await.unwrap();
    }
    assert!(matches!(seen, Observed::Done(_)), "{seen:?}");
    assert_eq!(proxy.count("PromoteReadReplica"), 1);
}
