//! DMS: start, stop, resume; on every peer from a task that stands still.

use pointsman::provider::action::{ActionErrorKind, Observed};
use serde_json::{Value, json};

use crate::bench::{Bench, followed, on};

on!(lab: a_task_starts_once_and_stops, a_task_that_nobody_has_is_named, what_is_there_already_is_not_sent);
on!(moto: a_task_starts_once_and_stops, a_task_that_nobody_has_is_named, what_is_there_already_is_not_sent);

async fn a_task_starts_once_and_stops(bench: Bench) {
    let with = json!({ "task": bench.names.task });
    let start = bench.action("dms.start", with.clone());
    let identity = start.check(&bench.cx("pm-start", Value::Null)).await.unwrap().identity;
    let cx = bench.cx("pm-start", identity);
    assert!(matches!(start.observe(&cx).await.unwrap(), Observed::NotStarted { .. }));
    let started = start.execute(&cx).await.unwrap();
    assert_eq!(started.result["status"], "running");
    assert!(started.result["request_id"].is_string(), "{:?}", started.result);
    assert_eq!(bench.acked(), std::slice::from_ref(&bench.names.task));
    assert_eq!(followed(&*start, &cx).await.result["status"], "running");
    let stop = bench.action("dms.stop", with);
    let identity = stop.check(&bench.cx("pm-stop", Value::Null)).await.unwrap().identity;
    let cx = bench.cx("pm-stop", identity);
    assert!(matches!(stop.observe(&cx).await.unwrap(), Observed::NotStarted { .. }));
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
