//! The table of faults: what a network and a service can do to a call, and the class that it has to have. A lost reply
//! after the effect has a file of its own, and so has another account.
//!
//! | fault | a change | a read |
//! |---|---|---|
//! | connection refused, or not made in time | transient | transient |
//! | reset before the request was read | in doubt; reading says not started | tried again |
//! | 400, 403, expired credentials | permanent | permanent |
//! | throttled | transient, sent once | tried again |
//! | 500 | in doubt, sent once | tried again |
//! | silence | in doubt, sent once | transient |
//! | garbage with 200 | in doubt | transient |
//! | refused after it was accepted | in doubt | – |
//! | success that is none | in doubt | – |
//!
//! `fault_table.rs` has every fault of the night with the test that meets it.

use std::time::{Duration, Instant};

use pointsman::provider::action::{ActionError, ActionErrorKind, Cx, Observed};
use pointsman::provider::aws::{AwsTarget, Identity};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};

use crate::bench::{Bench, RECORD, action, fresh, nothing_shows};
use crate::proxy::{Fault, Proxy};

/// An error as RDS, STS and Route 53 send it.
macro_rules! refusal {
    ($code:literal) => {
        concat!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>",
            $code,
            "</Code><Message>said by the proxy</Message></Error><RequestId>proxy-said</RequestId></ErrorResponse>"
        )
    };
}

/// A change of each service and protocol: the action, its operation.
fn changes(bench: &Bench) -> Vec<(&'static str, Value, &'static str)> {
    vec![
        (
            "rds.snapshot",
            json!({ "instance": bench.names.instance }),
            "CreateDBSnapshot",
        ),
        (
            "rds.modify",
            json!({ "instance": bench.names.instance, "backup_retention": 7 }),
            "ModifyDBInstance",
        ),
        (
            "rds.failover",
            json!({ "cluster": bench.names.cluster }),
            "FailoverDBCluster",
        ),
        (
            "rds.promote_replica",
            json!({ "instance": bench.names.replica }),
            "PromoteReadReplica",
        ),
        (
            "dns.flip",
            json!({ "zone": bench.names.zone, "record": RECORD, "to": ["127.0.0.2"] }),
            "ChangeResourceRecordSets",
        ),
        ("dms.start", json!({ "task": bench.names.task }), "StartReplicationTask"),
    ]
}

/// Every change meets a fault that keeps it from the lab; gives the errors. Nothing may have been sent twice, and
/// nothing may have changed.
async fn refused(fault: &Fault, tune: impl Fn(&mut AwsTarget)) -> Vec<(&'static str, ActionError)> {
    let bench = Bench::lab().await.unwrap();
    let proxy = Proxy::start(bench.endpoint()).await;
    let mut target = bench.through(&proxy.url());
    tune(&mut target);
    let mut errors = Vec::new();
    for (uses, with, operation) in changes(&bench) {
        let action = action(&target, uses, with);
        let identity = action.check(&bench.cx("pm-x", Value::Null)).await.unwrap().identity;
        proxy.arm(operation, fault.clone(), 1);
        let error = action.execute(&bench.cx("pm-x", identity)).await.unwrap_err();
        assert_eq!(proxy.count(operation), 1, "{operation} is sent once");
        errors.push((operation, error));
    }
    assert_eq!(bench.changes(), 0);
    assert!(bench.acked().is_empty());
    errors
}

fn all_are(errors: &[(&str, ActionError)], kind: ActionErrorKind, words: &str) {
    assert!(!errors.is_empty());
    for (operation, error) in errors {
        assert_eq!(error.kind, kind, "{operation}: {error:?}");
        assert!(error.message.contains(words), "{operation}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_is_transient() {
    let bench = Bench::lab().await.unwrap();
    // A port that was free a moment ago and that nobody is told of.
    let nobody = TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let target = bench.through(&format!("http://{}", nobody.local_addr().unwrap()));
    for (uses, with, _) in changes(&bench) {
        let error = action(&target, uses, with)
            .execute(&bench.cx("pm-x", Value::Null))
            .await
            .unwrap_err();
        assert_eq!(error.kind, ActionErrorKind::Transient, "{uses}: {error:?}");
    }
    let describe = action(&target, "rds.describe", json!({ "instance": bench.names.instance }));
    let error = describe.execute(&bench.cx("pm-read", Value::Null)).await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::Transient, "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_not_made_in_time_is_transient() {
    let bench = Bench::lab().await.unwrap();
    // A queue that is full: the kernel answers nobody any more.
    let full = TcpSocket::new_v4().unwrap();
    full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = full.listen(1).unwrap();
    let at = full.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(at)).await {
        waiting.push(stream.unwrap());
        assert!(waiting.len() < 100, "the queue does not fill");
    }
    let mut target = bench.through(&format!("http://{at}"));
    target.patience = Duration::from_millis(500);
    let snapshot = action(&target, "rds.snapshot", json!({ "instance": bench.names.instance }));
    let error = snapshot.execute(&bench.cx("pm-x", Value::Null)).await.unwrap_err();
    assert!(matches!(
        error.kind,
        ActionErrorKind::Transient | ActionErrorKind::InDoubt
    ));
    assert_eq!(
        error.kind,
        ActionErrorKind::Transient,
        "nothing can have been sent: {error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_before_the_request_is_in_doubt_and_reading_says_that_nothing_happened() {
    let bench = Bench::lab().await.unwrap();
    let proxy = Proxy::start(bench.endpoint()).await;
    let snapshot = json!({ "instance": bench.names.instance });
    let snapshot = action(&bench.through(&proxy.url()), "rds.snapshot", snapshot);
    let cx = bench.cx("pm-reset", Value::Null);
    proxy.reset(1);
    let error = snapshot.execute(&cx).await.unwrap_err();
    // The connection stood: nobody here can tell how much of the request was read.
    assert_eq!(error.kind, ActionErrorKind::InDoubt, "{error:?}");
    nothing_shows(&*snapshot, &cx).await;
    assert_eq!(bench.changes(), 0);
    // A read is tried again.
    proxy.reset(1);
    let describe = json!({ "instance": bench.names.instance });
    let describe = action(&bench.through(&proxy.url()), "rds.describe", describe);
    describe.execute(&cx).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_permanent_and_tells_the_request() {
    for (status, body, words) in [
        (
            400,
            refusal!("InvalidParameterValue"),
            "InvalidParameterValue: said by the proxy",
        ),
        (403, refusal!("AccessDenied"), "AccessDenied: said by the proxy"),
        (403, refusal!("ExpiredToken"), "log in again"),
        (403, refusal!("InvalidClientTokenId"), "log in again"),
        (
            403,
            "<html>Forbidden by the proxy of the house</html>",
            "(403) says nothing",
        ),
    ] {
        let mut errors = refused(&Fault::Answer(status, body), |_| {}).await;
        // DMS speaks JSON: to it this is a status with words that nobody knows.
        errors.retain(|(operation, _)| *operation != "StartReplicationTask");
        all_are(&errors, ActionErrorKind::Permanent, words);
        for (operation, error) in &errors {
            assert_eq!(error.request_id.as_deref(), Some("proxy-said"), "{operation}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_read_is_permanent_and_not_tried_again() {
    let bench = Bench::lab().await.unwrap();
    for (status, body, words) in [
        (400, refusal!("InvalidParameterValue"), "InvalidParameterValue"),
        (403, refusal!("AccessDenied"), "AccessDenied"),
        (403, refusal!("ExpiredToken"), "log in again"),
    ] {
        let proxy = Proxy::start(bench.endpoint()).await;
        let describe = json!({ "instance": bench.names.instance });
        let describe = action(&bench.through(&proxy.url()), "rds.describe", describe);
        proxy.arm("DescribeDBInstances", Fault::Answer(status, body), 100);
        let error = describe.execute(&bench.cx("pm-read", Value::Null)).await.unwrap_err();
        assert_eq!(error.kind, ActionErrorKind::Permanent, "{error:?}");
        assert!(error.message.contains(words), "{error:?}");
        assert_eq!(error.request_id.as_deref(), Some("proxy-said"));
        assert_eq!(proxy.count("DescribeDBInstances"), 1, "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_dms_is_permanent_too() {
    let expired = r#"{"__type":"ExpiredTokenException","message":"said by the proxy"}"#;
    let mut errors = refused(&Fault::Answer(400, expired), |_| {}).await;
    errors.retain(|(operation, _)| *operation == "StartReplicationTask");
    all_are(&errors, ActionErrorKind::Permanent, "log in again");
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_is_transient_and_a_change_is_not_sent_again() {
    let mut errors = refused(&Fault::Answer(400, refusal!("Throttling")), |_| {}).await;
    errors.retain(|(operation, _)| *operation != "StartReplicationTask");
    all_are(&errors, ActionErrorKind::Transient, "Throttling");
    let slow = r#"{"__type":"ThrottlingException","message":"said by the proxy"}"#;
    let mut errors = refused(&Fault::Answer(400, slow), |_| {}).await;
    errors.retain(|(operation, _)| *operation == "StartReplicationTask");
    all_are(&errors, ActionErrorKind::Transient, "ThrottlingException");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_server_leaves_a_change_in_doubt() {
    for status in [500, 502, 503] {
        let errors = refused(&Fault::Answer(status, "<html>oops</html>"), |_| {}).await;
        all_are(&errors, ActionErrorKind::InDoubt, "may have happened");
    }
    // What it was is found by reading, and then it goes on.
    let bench = Bench::lab().await.unwrap();
    let proxy = Proxy::start(bench.endpoint()).await;
    let snapshot = json!({ "instance": bench.names.instance });
    let snapshot = action(&bench.through(&proxy.url()), "rds.snapshot", snapshot);
    proxy.arm("CreateDBSnapshot", Fault::Answer(500, refusal!("InternalFailure")), 1);
    let cx = bench.cx("pm-500", Value::Null);
    assert_eq!(snapshot.execute(&cx).await.unwrap_err().kind, ActionErrorKind::InDoubt);
    nothing_shows(&*snapshot, &cx).await;
    snapshot.execute(&cx).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_is_tried_again_and_ends_as_transient() {
    let bench = Bench::lab().await.unwrap();
    for fault in [
        Fault::Answer(500, refusal!("InternalFailure")),
        Fault::Answer(400, refusal!("Throttling")),
        Fault::ResetAfter,
    ] {
        let proxy = Proxy::start(bench.endpoint()).await;
        let describe = json!({ "instance": bench.names.instance });
        let describe = action(&bench.through(&proxy.url()), "rds.describe", describe);
        let cx = bench.cx("pm-read", Value::Null);
        proxy.arm("DescribeDBInstances", fault.clone(), 2);
        describe.execute(&cx).await.unwrap();
        assert_eq!(proxy.count("DescribeDBInstances"), 3, "{fault:?}");
        proxy.arm("DescribeDBInstances", fault.clone(), 100);
        let error = describe.execute(&cx).await.unwrap_err();
        assert_eq!(error.kind, ActionErrorKind::Transient, "{fault:?}: {error:?}");
        assert_eq!(proxy.count("DescribeDBInstances"), 6, "{fault:?}");
    }
    let proxy = Proxy::start(bench.endpoint()).await;
    proxy.arm("DescribeDBInstances", Fault::Garbage("no database here"), 1);
    let describe = json!({ "instance": bench.names.instance });
    let describe = action(&bench.through(&proxy.url()), "rds.describe", describe);
    let error = describe.execute(&bench.cx("pm-read", Value::Null)).await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::Transient, "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_ends_after_the_connections_own_time() {
    let bench = Bench::lab().await.unwrap();
    assert_eq!(bench.target.patience, Duration::from_secs(30), "the documented default");
    for (uses, with, operation) in changes(&bench) {
        let proxy = Proxy::start(bench.endpoint()).await;
        let mut target = bench.through(&proxy.url());
        target.patience = Duration::from_secs(1);
        let action = action(&target, uses, with);
        let identity = action.check(&bench.cx("pm-x", Value::Null)).await.unwrap().identity;
        proxy.arm(operation, Fault::Silence, 1);
        let begun = Instant::now();
        let error = action
            .execute(&bench.cx(&fresh("pm-quiet"), identity))
            .await
            .unwrap_err();
        let took = begun.elapsed();
        assert_eq!(error.kind, ActionErrorKind::InDoubt, "{operation}: {error:?}");
        assert!(
            took >= Duration::from_secs(1) && took < Duration::from_secs(10),
            "{operation}: {took:?}"
        );
        assert_eq!(proxy.count(operation), 1, "{operation} is sent once");
    }
    let proxy = Proxy::start(bench.endpoint()).await;
    let mut target = bench.through(&proxy.url());
    target.patience = Duration::from_secs(1);
    proxy.arm("DescribeDBInstances", Fault::Silence, 100);
    let describe = action(&target, "rds.describe", json!({ "instance": bench.names.instance }));
    let error = describe.execute(&bench.cx("pm-read", Value::Null)).await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::Transient, "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_after_it_was_accepted_is_in_doubt() {
    for (uses, read, nth) in [
        ("rds.snapshot", "DescribeDBSnapshots", 0),
        ("rds.modify", "DescribeDBInstances", 1),
        ("rds.failover", "DescribeDBClusters", 1),
        ("rds.promote_replica", "DescribeDBInstances", 1),
        ("dns.flip", "GetChange", 0),
    ] {
        let bench = Bench::lab().await.unwrap();
        let proxy = Proxy::start(bench.endpoint()).await;
        let (_, with, operation) = changes(&bench).into_iter().find(|(known, ..)| *known == uses).unwrap();
        let action = action(&bench.through(&proxy.url()), uses, with);
        let identity = action.check(&bench.cx("pm-x", Value::Null)).await.unwrap().identity;
        // The look before the change still succeeds; the looks after it are refused.
        for _ in 0..nth {
            proxy.arm(read, Fault::Rewrite("available", "available"), 1);
        }
        proxy.arm(read, Fault::Answer(403, refusal!("ExpiredToken")), 1);
        let error = action.execute(&bench.cx("pm-x", identity)).await.unwrap_err();
        assert_eq!(proxy.count(operation), 1);
        assert_eq!(error.kind, ActionErrorKind::InDoubt, "{uses}: {error:?}");
        assert!(error.message.contains("it was accepted"), "{uses}: {error:?}");
        assert_eq!(bench.changes(), 1);
    }
}

/// An empty success, as RDS words it.
macro_rules! success {
    ($operation:literal) => {
        concat!(
            "<",
            $operation,
            "Response xmlns=\"http://rds.amazonaws.com/doc/2014-10-31/\"><",
            $operation,
            "Result/><ResponseMetadata><RequestId>proxy-said</RequestId></ResponseMetadata></",
            $operation,
            "Response>"
        )
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_that_is_none_is_in_doubt() {
    for (uses, operation, body, words) in [
        (
            "rds.promote_replica",
            "PromoteReadReplica",
            success!("PromoteReadReplica"),
            "it is still a replica of",
        ),
        (
            "rds.modify",
            "ModifyDBInstance",
            success!("ModifyDBInstance"),
            "nothing of it shows",
        ),
        (
            "rds.failover",
            "FailoverDBCluster",
            success!("FailoverDBCluster"),
            "its primary is",
        ),
        (
            "rds.snapshot",
            "CreateDBSnapshot",
            success!("CreateDBSnapshot"),
            "was accepted and is not there",
        ),
    ] {
        let bench = Bench::lab().await.unwrap();
        let proxy = Proxy::start(bench.endpoint()).await;
        let (_, with, _) = changes(&bench).into_iter().find(|(known, ..)| *known == uses).unwrap();
        let action = action(&bench.through(&proxy.url()), uses, with);
        let identity = action.check(&bench.cx("pm-none", Value::Null)).await.unwrap().identity;
        proxy.arm(operation, Fault::Answer(200, body), 1);
        let cx = Cx {
            speed: 5_000.0,
            ..bench.cx("pm-none", identity)
        };
        let error = action.execute(&cx).await.unwrap_err();
        assert_eq!(error.kind, ActionErrorKind::InDoubt, "{uses}: {error:?}");
        assert!(error.message.contains(words), "{uses}: {error:?}");
        assert_eq!(proxy.count(operation), 1, "{uses} is sent once");
        assert_eq!(bench.accepted().len(), 1, "{uses} was accepted");
        assert_eq!(bench.changes(), 0, "{uses} did nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_of_the_server_is_in_doubt_whatever_it_is_called() {
    let errors = refused(&Fault::Answer(408, refusal!("RequestTimeout")), |_| {}).await;
    all_are(&errors, ActionErrorKind::InDoubt, "may have happened");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_not_listed_yet_is_waited_for() {
    let bench = Bench::lab().await.unwrap();
    let proxy = Proxy::start(bench.endpoint()).await;
    let snapshot = json!({ "instance": bench.names.instance });
    let snapshot = action(&bench.through(&proxy.url()), "rds.snapshot", snapshot);
    proxy.arm(
        "DescribeDBSnapshots",
        Fault::Answer(404, refusal!("DBSnapshotNotFound")),
        2,
    );
    bench.perform(&*snapshot, "pm-late").await.unwrap();
    assert_eq!(proxy.count("CreateDBSnapshot"), 1);
    // One that failed is no error of the look: a person decides.
    proxy.arm(
        "DescribeDBSnapshots",
        Fault::Rewrite("<Status>available", "<Status>failed"),
        1,
    );
    let seen = snapshot.observe(&bench.cx("pm-late", Value::Null)).await.unwrap();
    let Observed::Unknown { detail } = seen else {
        panic!("{seen:?}")
    };
    assert!(detail.contains("is failed"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_not_there_send_nothing() {
    let bench = Bench::lab().await.unwrap();
    let proxy = Proxy::start(bench.endpoint()).await;
    let mut target = AwsTarget::new(
        &bench.target.region,
        &bench.target.account,
        Some(proxy.url()),
        Identity::Chain,
    );
    // A profile that nobody has: the chain asks nobody on the network.
    target.profile = Some("pointsman-test-nobody".to_owned());
    let snapshot = action(&target, "rds.snapshot", json!({ "instance": bench.names.instance }));
    let error = snapshot.execute(&bench.cx("pm-x", Value::Null)).await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::Permanent, "{error:?}");
    assert!(error.message.contains("was not sent"), "{error:?}");
    assert_eq!(proxy.count("CreateDBSnapshot"), 0);
}
