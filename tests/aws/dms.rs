//! DMS: start, stop, resume; on every peer from a task that stands still.

use pointsman::provider::action::{Action, ActionErrorKind, Observed};
use pointsman::provider::aws::AwsTarget;
use pointsman::provider::connection::{Connections, SqliteTarget, Target};
use pointsman::provider::registry::{Request, build};
use serde_json::{Value, json};

use crate::bench::{Bench, Home, action, followed, nothing_shows, on};
use crate::proxy::{Fault, Proxy};

on!(lab: a_task_starts_once_and_stops, a_task_that_nobody_has_is_named, what_is_there_already_is_not_sent, a_first_start_empties_no_target, what_is_told_late_is_waited_for, what_left_again_was_started, what_failed_is_stopped);
on!(moto: a_task_starts_once_and_stops, a_task_that_nobody_has_is_named, what_is_there_already_is_not_sent);

async fn a_task_starts_once_and_stops(bench: Bench) {
    let with = json!({ "task": bench.names.task });
    let start = bench.action("dms.start", with.clone());
    let identity = start.check(&bench.cx("pm-start", Value::Null)).await.unwrap().identity;
    let cx = bench.cx("pm-start", identity);
    nothing_shows(&*start, &cx).await;
    let started = start.execute(&cx).await.unwrap();
    assert_eq!(started.result["status"], "running");
    assert!(started.result["request_id"].is_string(), "{:?}", started.result);
    assert_eq!(bench.accepted(), std::slice::from_ref(&bench.names.task));
    assert_eq!(followed(&*start, &cx).await.result["status"], "running");
    let stop = bench.action("dms.stop", with);
    let identity = stop.check(&bench.cx("pm-stop", Value::Null)).await.unwrap().identity;
    let cx = bench.cx("pm-stop", identity);
    nothing_shows(&*stop, &cx).await;
    assert_eq!(stop.execute(&cx).await.unwrap().result["status"], "stopped");
    assert!(matches!(stop.observe(&cx).await.unwrap(), Observed::Done(_)));
}

async fn a_task_that_nobody_has_is_named(bench: Bench) {
    let task = format!("{}-NOT", bench.names.task);
    let start = bench.action("dms.start", json!({ "task": task }));
    let error = start.check(&bench.cx("pm-x", Value::Null)).await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::Permanent);
    assert!(error.message.contains(&task), "{error:?}");
}

async fn what_is_there_already_is_not_sent(bench: Bench) {
    let stop = bench.action("dms.stop", json!({ "task": bench.names.task }));
    let outcome = bench.perform(&*stop, "pm-stop").await.unwrap();
    assert!(outcome.summary.contains("nothing was sent"), "{}", outcome.summary);
    assert!(bench.acked().is_empty());
}

/// `dms.start` with a target whose rows it counts.
fn start_onto(aws: AwsTarget, target: &std::path::Path, task: &str) -> Box<dyn Action> {
    let connections = Connections::new().with("aws", Target::Aws(aws)).with(
        "target",
        Target::Sqlite(SqliteTarget {
            path: target.to_owned(),
        }),
    );
    let request = Request {
        uses: "dms.start",
        on: &["aws".to_owned(), "target".to_owned()],
        with: &json!({ "task": task }),
    };
    build(&request, &connections).unwrap_or_else(|error| panic!("{error}"))
}

async fn a_first_start_empties_no_target(bench: Bench) {
    let Home::Lab(lab, _) = &bench.home else {
        panic!("a task that never ran is the lab's")
    };
    let (target, task) = (&lab.endpoints().target, &bench.names.task);
    let proxy = Proxy::start(bench.endpoint()).await;
    let aws = bench.through(&proxy.url());
    let (blind, counting) = (
        action(&aws, "dms.start", json!({ "task": task })),
        start_onto(aws.clone(), target, task),
    );
    let db = rusqlite::Connection::open(target).unwrap();
    let fill = |sql: &str| db.execute_batch(sql).unwrap();
    fill("create table kept (n integer); insert into kept values (1)");
    let cx = bench.cx("pm-x", Value::Null);
    for preparation in ["TRUNCATE_BEFORE_LOAD", "DROP_AND_CREATE", "SOMETHING_NEW"] {
        let armed = |times| {
            proxy.arm(
                "DescribeReplicationTasks",
                Fault::Rewrite("DO_NOTHING", preparation),
                times,
            )
        };
        armed(2);
        let error = blind.check(&cx).await.unwrap_err();
        assert_eq!(error.kind, ActionErrorKind::Permanent);
        assert!(error.message.contains("no target is named to count them"), "{error:?}");
        let error = counting.check(&cx).await.unwrap_err();
        assert_eq!(error.kind, ActionErrorKind::Permanent);
        assert!(error.message.contains("could take the rows of kept"), "{error:?}");
        assert!(error.message.contains(preparation), "{error:?}");
    }
    proxy.arm(
        "DescribeReplicationTasks",
        Fault::Rewrite("TargetTablePrepMode", "OtherMode"),
        1,
    );
    let error = blind.check(&cx).await.unwrap_err();
    assert!(error.message.contains("nobody knows how"), "{error:?}");
    // An empty target loses nothing, and DO_NOTHING takes nothing.
    blind.check(&cx).await.unwrap();
    counting.check(&cx).await.unwrap();
    // What DMS keeps there for itself is nobody's.
    fill("delete from kept; create table awsdms_status (n integer); insert into awsdms_status values (1)");
    proxy.arm(
        "DescribeReplicationTasks",
        Fault::Rewrite("DO_NOTHING", "TRUNCATE_BEFORE_LOAD"),
        1,
    );
    counting.check(&cx).await.unwrap();
}

async fn what_is_told_late_is_waited_for(bench: Bench) {
    let proxy = Proxy::start(bench.endpoint()).await;
    let start = action(
        &bench.through(&proxy.url()),
        "dms.start",
        json!({ "task": bench.names.task }),
    );
    let identity = start.check(&bench.cx("pm-start", Value::Null)).await.unwrap().identity;
    proxy.arm("DescribeReplicationTasks", Fault::Rewrite("ready", "ready"), 1);
    proxy.arm("DescribeReplicationTasks", Fault::Rewrite("starting", "ready"), 2);
    let started = start.execute(&bench.cx("pm-start", identity)).await.unwrap();
    assert_eq!(started.result["status"], "running");
    assert_eq!(proxy.count("StartReplicationTask"), 1);
}

async fn what_left_again_was_started(bench: Bench) {
    let with = json!({ "task": bench.names.task });
    let start = bench.action("dms.start", with.clone());
    let identity = start.check(&bench.cx("pm-start", Value::Null)).await.unwrap().identity;
    let cx = bench.cx("pm-start", identity);
    start.execute(&cx).await.unwrap();
    bench
        .perform(&*bench.action("dms.stop", with), "pm-stop")
        .await
        .unwrap();
    let seen = start.observe(&cx).await.unwrap();
    let Observed::Unknown { detail } = seen else {
        panic!("it was started: {seen:?}")
    };
    assert!(detail.contains("stopped"), "{detail}");
}

async fn what_failed_is_stopped(bench: Bench) {
    let proxy = Proxy::start(bench.endpoint()).await;
    let stop = action(
        &bench.through(&proxy.url()),
        "dms.stop",
        json!({ "task": bench.names.task }),
    );
    proxy.arm(
        "DescribeReplicationTasks",
        Fault::Rewrite(
            "\"Status\":\"ready\"",
            "\"Status\":\"failed\",\"LastFailureMessage\":\"out of memory\"",
        ),
        2,
    );
    let outcome = bench.perform(&*stop, "pm-stop").await.unwrap();
    assert!(
        outcome.summary.contains("nothing was sent; it failed: out of memory"),
        "{}",
        outcome.summary
    );
}
