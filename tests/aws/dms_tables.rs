//! What DMS says of tables: shown while it is waited for, judged by `dms.validation`, and held against what it could not
//! apply. On the lab, which is the only one here that tells statistics.

use pointsman::lab::Lab;
use pointsman::provider::action::{Action, ActionErrorKind};
use pointsman::provider::aws::AwsTarget;
use pointsman::provider::connection::{Connections, SqliteTarget, Target};
use pointsman::provider::registry::{Request, build};
use serde_json::{Value, json};

use crate::bench::{Bench, Home, action};
use crate::proxy::{Fault, Proxy};

fn lab(bench: &Bench) -> &Lab {
    match &bench.home {
        Home::Lab(lab, _) => lab,
        Home::Peer(_) => panic!("statistics are the lab's"),
    }
}

/// A bench whose task has loaded everything.
pub async fn loaded() -> Bench {
    let bench = Bench::lab().await.unwrap();
    let start = bench.action("dms.start", json!({ "task": bench.names.task }));
    bench.perform(&*start, "pm-start").await.unwrap();
    let caught_up = bench.action("dms.wait_caught_up", json!({ "task": bench.names.task }));
    let done = bench.perform(&*caught_up, "pm-wait").await.unwrap();
    assert!(!done.evidence.is_empty(), "what it said of each table is kept");
    bench
}

fn validation(bench: &Bench, aws: &AwsTarget, more: Value) -> Box<dyn Action> {
    let mut with = json!({ "task": bench.names.task });
    with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    action(aws, "dms.validation", with)
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_shown_while_they_are_waited_for() {
    let bench = loaded().await;
    let proxy = Proxy::start(bench.endpoint()).await;
    let caught_up = json!({ "task": bench.names.task });
    let caught_up = action(&bench.through(&proxy.url()), "dms.wait_caught_up", caught_up);
    let (all, less) = (r#""FullLoadProgressPercent":100"#, r#""FullLoadProgressPercent":40"#);
    let identity = caught_up.check(&bench.cx("pm-x", Value::Null)).await.unwrap().identity;
    proxy.arm("DescribeReplicationTasks", Fault::Rewrite(all, less), 1);
    caught_up.execute(&bench.cx("pm-x", identity)).await.unwrap();
    let told = bench.heard.progress.lock().unwrap().clone();
    let shown = |told: &String| told.starts_with("full load 40 %\n") && told.contains("\nerp.orders: ");
    assert!(told.iter().any(shown), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validation_holds_once_every_table_is_validated() {
    let bench = Bench::lab().await.unwrap();
    let once = validation(&bench, &bench.target, json!({}));
    let error = bench.perform(&*once, "pm-read").await.unwrap_err();
    assert!(error.message.contains("no table of"), "{error:?}");
    let bench = loaded().await;
    let patient = validation(&bench, &bench.target, json!({ "within": "2h", "every": "5s" }));
    let done = bench.perform(&*patient, "pm-read").await.unwrap();
    assert_eq!(done.result["tables"], done.result["validated"]);
    assert_eq!(
        (&done.result["failed"], &done.result["covered"]),
        (&json!(0), &json!(0))
    );
    assert!(
        bench.acked().is_empty() || bench.accepted().len() == 1,
        "a read accepts nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_is_listed_and_what_is_not_compared_has_to_be_covered() {
    let bench = loaded().await;
    let patient = validation(&bench, &bench.target, json!({ "within": "2h", "every": "5s" }));
    let all = bench.perform(&*patient, "pm-read").await.unwrap().result["tables"].clone();
    let saying = async |from: &'static str, to: &'static str, more: Value| {
        let proxy = Proxy::start(bench.endpoint()).await;
        proxy.arm("DescribeTableStatistics", Fault::Rewrite(from, to), 100);
        let check = validation(&bench, &bench.through(&proxy.url()), more);
        bench.perform(&*check, "pm-read").await
    };
    let differs = (r#""ValidationFailedRecords":0"#, r#""ValidationFailedRecords":3"#);
    for more in [json!({}), json!({ "covered": ["orders"] })] {
        let error = saying(differs.0, differs.1, more).await.unwrap_err();
        assert_eq!(error.kind, ActionErrorKind::Permanent, "{error:?}");
        let told = error.message.contains("erp.orders") && error.message.contains("3 rows differ");
        assert!(told, "what differs is covered by nothing: {error:?}");
    }
    let keyless = (
        r#""TableName":"orders","#,
        r#""TableName":"orders","ValidationStateDetails":"none","#,
    );
    // What nobody compares is not good, unless something else compares it.
    let error = saying(r#""Validated""#, r#""No primary key""#, json!({}))
        .await
        .unwrap_err();
    assert!(error.message.contains("erp.orders is \"No primary key\""), "{error:?}");
    let error = saying(r#""Validated""#, r#""Pending records""#, json!({}))
        .await
        .unwrap_err();
    assert!(error.message.contains("tables open"), "{error:?}");
    let done = saying(keyless.0, keyless.1, json!({ "covered": ["erp.orders"] }))
        .await
        .unwrap();
    assert_eq!(done.result["covered"], 1);
    assert_eq!(done.result["tables"], all);
    let error = saying(keyless.0, keyless.1, json!({ "covered": ["erp.ordres"] }))
        .await
        .unwrap_err();
    assert!(error.message.contains("covered: names erp.ordres"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_could_not_be_applied_is_not_drained() {
    let bench = loaded().await;
    let target = lab(&bench).endpoints().target.clone();
    let drained = {
        let connections = Connections::new()
            .with("aws", Target::Aws(bench.target.clone()))
            .with("target", Target::Sqlite(SqliteTarget { path: target.clone() }));
        let request = Request {
            uses: "dms.wait_drained",
            on: &["aws".to_owned(), "target".to_owned()],
            with: &json!({ "task": bench.names.task, "fence": "last" }),
        };
        build(&request, &connections).unwrap_or_else(|error| panic!("{error}"))
    };
    let db = rusqlite::Connection::open(target).unwrap();
    let told = drained
        .check(&bench.cx("pm-x", Value::Null))
        .await
        .unwrap()
        .facts
        .join("; ");
    assert!(told.contains("has no awsdms_apply_exceptions"), "{told}");
    db.execute_batch(
        "create table if not exists pointsman_fence (token text primary key); insert into pointsman_fence (token) values ('last');
         create table awsdms_apply_exceptions (table_name text, error text); insert into awsdms_apply_exceptions values ('orders', 'old')",
    )
    .unwrap();
    let ready = drained.check(&bench.cx("pm-x", Value::Null)).await.unwrap();
    assert_eq!(ready.identity["exceptions"], 1);
    assert!(
        ready.facts.join("; ").contains("could not apply so far: 1"),
        "{:?}",
        ready.facts
    );
    let done = drained
        .execute(&bench.cx("pm-x", ready.identity.clone()))
        .await
        .unwrap();
    assert!(done.summary.starts_with("drained"), "{done:?}");
    db.execute_batch("insert into awsdms_apply_exceptions values ('orders', 'new')")
        .unwrap();
    let error = drained.execute(&bench.cx("pm-x", ready.identity)).await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::Permanent, "{error:?}");
    assert!(
        error.message.contains("could not apply 1 changes since the gate"),
        "{error:?}"
    );
}
