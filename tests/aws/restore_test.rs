//! RDS: a restore that is tried and thrown away. In no outcome does anything of it stay, and nothing of others goes.

use pointsman::provider::action::{ActionErrorKind, Observed};
use serde_json::{Value, json};

use crate::bench::{Bench, action, fresh, nothing_shows, on};
use crate::proxy::{Fault, Proxy};

on!(lab: what_was_restored_is_asked_where_it_is, a_snapshot_is_restored_looked_at_and_thrown_away, what_does_not_hold_is_thrown_away_too, what_a_crash_left_is_found_and_thrown_away, an_instance_of_others_is_left_alone, a_lost_answer_leaves_nothing, a_deletion_is_asked_for_again, whatever_ends_the_look_after_a_lost_answer_it_is_in_doubt, what_is_not_listed_yet_is_not_gone);
on!(slow_lab: whoever_ends_it_leaves_nothing, whoever_ends_it_too_early_is_told_what_stands, what_is_being_created_is_deleted_later);
on!(moto: a_snapshot_is_restored_looked_at_and_thrown_away, what_does_not_hold_is_thrown_away_too, what_a_crash_left_is_found_and_thrown_away, an_instance_of_others_is_left_alone, a_lost_answer_leaves_nothing, a_deletion_is_asked_for_again);

async fn snapshot(bench: &Bench) -> String {
    let name = fresh("pm-snap");
    let taken = bench.action("rds.snapshot", json!({ "instance": bench.names.instance }));
    bench.perform(&*taken, &name).await.unwrap();
    name
}

/// Instances whose name begins like ours.
async fn standing(bench: &Bench, prefix: &str) -> Vec<String> {
    let all = bench.rds().await.describe_db_instances().send().await.unwrap();
    let names = all
        .db_instances()
        .iter()
        .map(|one| one.db_instance_identifier().unwrap().to_owned());
    names.filter(|name| name.starts_with(prefix)).collect()
}

/// Restores as `execute` would, under tags that say whose it is.
async fn restored(bench: &Bench, snapshot: &str, name: &str, tags: &[(&str, &str)]) {
    let tags = tags
        .iter()
        .map(|(key, value)| aws_sdk_rds::types::Tag::builder().key(*key).value(*value).build());
    let client = bench.rds().await;
    let call = client
        .restore_db_instance_from_db_snapshot()
        .db_snapshot_identifier(snapshot);
    call.db_instance_identifier(name)
        .set_tags(Some(tags.collect()))
        .send()
        .await
        .unwrap();
}

async fn a_snapshot_is_restored_looked_at_and_thrown_away(bench: Bench) {
    let (snapshot, key) = (snapshot(&bench).await, fresh("pm-test"));
    let expect = "status == 'available' and engine == 'mysql' and storage_gib >= 20";
    let test = bench.action("rds.restore_test", json!({ "snapshot": snapshot, "expect": expect }));
    let done = bench.perform(&*test, &key).await.unwrap();
    assert_eq!(done.result["restored"], json!(snapshot));
    assert_eq!(done.result["status"], "available");
    assert!(done.result["request_id"].is_string());
    assert_eq!(bench.accepted().last(), Some(&key));
    assert!(done.summary.contains("is deleted (request id "), "{done:?}");
    assert_eq!(standing(&bench, &key).await, [""; 0]);
    assert_eq!(
        bench.describe(&bench.names.instance).await["status"],
        "available",
        "its source stands"
    );
}

/// A proxy through which every instance of this name seems to answer at `at`.
async fn answering(bench: &Bench, key: &str, at: std::net::SocketAddr) -> Proxy {
    let proxy = Proxy::start(bench.endpoint()).await;
    let known = bench.describe(&bench.names.instance).await["endpoint"].clone();
    let known = known.as_str().unwrap().replace(&bench.names.instance, key);
    let (host, port) = known.rsplit_once(':').unwrap();
    let leaked = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let old = leaked(format!("<Address>{host}</Address><Port>{port}</Port>"));
    let new = leaked(format!("<Address>{}</Address><Port>{}</Port>", at.ip(), at.port()));
    proxy.arm("DescribeDBInstances", Fault::RewriteIfThere(old, new), 10_000);
    proxy
}

async fn what_was_restored_is_asked_where_it_is(bench: Bench) {
    let snapshot = snapshot(&bench).await;
    let greets = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = greets.local_addr().unwrap();
    let greeting = tokio::spawn(async move {
        loop {
            let (mut stream, _) = greets.accept().await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, b"8.0.42 ready\n")
                .await
                .unwrap();
        }
    });
    for (expect, holds) in [("'8.0' in banner", true), ("'5.7' in banner", false)] {
        let key = fresh("pm-asked");
        let proxy = answering(&bench, &key, at).await;
        let with =
            json!({ "snapshot": snapshot, "assertions": [{ "uses": "tcp.check", "with": { "expect": expect } }] });
        let test = action(&bench.through(&proxy.url()), "rds.restore_test", with);
        assert!(
            test.preview().notes.iter().any(|note| note.contains(expect)),
            "{:?}",
            test.preview()
        );
        let ended = bench.perform(&*test, &key).await;
        if holds {
            let done = ended.unwrap();
            assert!(done.summary.contains(&at.to_string()), "{done:?}");
        } else {
            let error = ended.unwrap_err();
            assert_eq!(error.kind, ActionErrorKind::Permanent, "{error:?}");
            assert!(error.message.contains("tcp.check failed"), "{error:?}");
        }
        assert_eq!(
            standing(&bench, &key).await,
            [""; 0],
            "whatever it said, it is thrown away"
        );
    }
    greeting.abort();
}

async fn what_does_not_hold_is_thrown_away_too(bench: Bench) {
    let (snapshot, key) = (snapshot(&bench).await, fresh("pm-test"));
    let test = bench.action(
        "rds.restore_test",
        json!({ "snapshot": snapshot, "expect": "engine == 'oracle'" }),
    );
    let error = bench.perform(&*test, &key).await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::Permanent, "{error:?}");
    assert!(error.message.contains("engine == 'oracle' does not hold"), "{error:?}");
    assert!(error.message.contains("is deleted"), "{error:?}");
    assert_eq!(standing(&bench, &key).await, [""; 0]);
}

async fn what_a_crash_left_is_found_and_thrown_away(bench: Bench) {
    let (snapshot, first, second) = (snapshot(&bench).await, fresh("pm-test"), fresh("pm-test"));
    let test = bench.action("rds.restore_test", json!({ "snapshot": snapshot }));
    let tags = [
        ("pointsman-key", first.as_str()),
        ("pointsman-run", bench.run.as_str()),
        ("pointsman-step", "step"),
        ("pointsman-purpose", "restore-test"),
    ];
    restored(&bench, &snapshot, &first, &tags).await;
    let seen = test.observe(&bench.cx(&first, Value::Null)).await.unwrap();
    let Observed::Unknown { detail } = seen else {
        panic!("it stands, and nobody asserted anything: {seen:?}");
    };
    assert!(detail.contains(&first), "{detail}");
    // The next attempt has another key, tells of what is left, and deletes it first.
    let ready = test.check(&bench.cx(&second, Value::Null)).await.unwrap();
    assert!(
        ready.facts.iter().any(|fact| fact.contains(&first)),
        "{:?}",
        ready.facts
    );
    bench.perform(&*test, &second).await.unwrap();
    assert_eq!(
        standing(&bench, "pm-test")
            .await
            .iter()
            .filter(|name| [&first, &second].contains(name))
            .count(),
        0
    );
    nothing_shows(&*test, &bench.cx(&first, Value::Null)).await;
}

async fn an_instance_of_others_is_left_alone(bench: Bench) {
    let snapshot = snapshot(&bench).await;
    let test = bench.action("rds.restore_test", json!({ "snapshot": snapshot }));
    let (bare, foreign) = (fresh("pm-test"), fresh("pm-test"));
    restored(&bench, &snapshot, &bare, &[]).await;
    // Of another run of the same runbook.
    let tags = [
        ("pointsman-key", foreign.as_str()),
        ("pointsman-run", "other"),
        ("pointsman-step", "step"),
        ("pointsman-purpose", "restore-test"),
    ];
    restored(&bench, &snapshot, &foreign, &tags).await;
    for key in [&bare, &foreign] {
        let error = test.execute(&bench.cx(key, Value::Null)).await.unwrap_err();
        assert_eq!(error.kind, ActionErrorKind::Permanent, "{error:?}");
        assert!(error.message.contains("not ours"), "{error:?}");
        let seen = test.observe(&bench.cx(key, Value::Null)).await.unwrap();
        assert!(matches!(seen, Observed::Unknown { .. }), "{seen:?}");
    }
    bench.perform(&*test, &fresh("pm-test")).await.unwrap();
    let left = standing(&bench, "pm-test").await;
    assert!(left.contains(&bare) && left.contains(&foreign), "{left:?}");
}

async fn a_lost_answer_leaves_nothing(bench: Bench) {
    let (snapshot, key) = (snapshot(&bench).await, fresh("pm-test"));
    let proxy = Proxy::start(bench.endpoint()).await;
    proxy.arm("RestoreDBInstanceFromDBSnapshot", Fault::ResetAfter, 1);
    let test = action(
        &bench.through(&proxy.url()),
        "rds.restore_test",
        json!({ "snapshot": snapshot }),
    );
    bench.perform(&*test, &key).await.unwrap();
    assert_eq!(proxy.count("RestoreDBInstanceFromDBSnapshot"), 1, "sent once");
    assert_eq!(standing(&bench, &key).await, [""; 0]);
}

async fn a_deletion_is_asked_for_again(bench: Bench) {
    let (snapshot, key) = (snapshot(&bench).await, fresh("pm-test"));
    let proxy = Proxy::start(bench.endpoint()).await;
    let busy = "<ErrorResponse><Error><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>";
    proxy.arm("DeleteDBInstance", Fault::Answer(400, busy), 2);
    proxy.arm("DeleteDBInstance", Fault::ResetAfter, 1);
    let test = action(
        &bench.through(&proxy.url()),
        "rds.restore_test",
        json!({ "snapshot": snapshot }),
    );
    bench.perform(&*test, &key).await.unwrap();
    assert_eq!(proxy.count("DeleteDBInstance"), 3);
    assert_eq!(standing(&bench, &key).await, [""; 0]);
    // What cannot be deleted is named, with what to do.
    let key = fresh("pm-test");
    let denied = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>";
    proxy.arm("DeleteDBInstance", Fault::Answer(403, denied), 1_000);
    let error = bench.perform(&*test, &key).await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::InDoubt);
    let words = format!("--db-instance-identifier {key} --skip-final-snapshot");
    assert!(error.message.contains(&words), "{error:?}");
    assert_eq!(standing(&bench, &key).await, [key]);
}

const THROTTLED: &str =
    "<ErrorResponse><Error><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>";
const DENIED: &str = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>";
const MISSING: &str =
    "<ErrorResponse><Error><Code>DBInstanceNotFound</Code><Message>not found</Message></Error></ErrorResponse>";

/// Ends a test once its instance is heard to be in a state.
async fn ended_at(bench: &Bench, proxy: &Proxy, status: &str) -> (String, pointsman::provider::action::ActionError) {
    let (snapshot, key) = (snapshot(bench).await, fresh("pm-test"));
    let test = action(
        &bench.through(&proxy.url()),
        "rds.restore_test",
        json!({ "snapshot": snapshot }),
    );
    let cx = bench.cx(&key, Value::Null);
    let running = tokio::spawn(async move { test.execute(&cx).await });
    let words = format!("{key}: {status}");
    while !bench.heard.progress.lock().unwrap().contains(&words) {
        tokio::task::yield_now().await;
    }
    bench.cancel.cancel();
    (key, running.await.unwrap().unwrap_err())
}

async fn whoever_ends_it_leaves_nothing(bench: Bench) {
    let proxy = Proxy::start(bench.endpoint()).await;
    // The deletion is not taken at once: it is asked for again.
    proxy.arm("DeleteDBInstance", Fault::Answer(400, THROTTLED), 2);
    let (key, error) = ended_at(&bench, &proxy, "backing-up").await;
    assert_eq!(error.kind, ActionErrorKind::Permanent, "nothing is in doubt: {error:?}");
    assert!(error.message.contains("is being deleted"), "{error:?}");
    assert_eq!(proxy.count("DeleteDBInstance"), 3);
    while !standing(&bench, &key).await.is_empty() {
        tokio::task::yield_now().await;
    }
}

async fn whoever_ends_it_too_early_is_told_what_stands(bench: Bench) {
    let proxy = Proxy::start(bench.endpoint()).await;
    let (key, error) = ended_at(&bench, &proxy, "creating").await;
    assert_eq!(error.kind, ActionErrorKind::InDoubt, "{error:?}");
    assert!(error.message.contains("it is creating"), "{error:?}");
    let words = format!("--db-instance-identifier {key} --skip-final-snapshot");
    assert!(error.message.contains(&words), "{error:?}");
    assert!(proxy.count("DeleteDBInstance") > 1, "it is asked for a little longer");
    assert_eq!(standing(&bench, &key).await, [key]);
}

async fn what_is_being_created_is_deleted_later(bench: Bench) {
    let (snapshot, key) = (snapshot(&bench).await, fresh("pm-test"));
    let proxy = Proxy::start(bench.endpoint()).await;
    let test = action(
        &bench.through(&proxy.url()),
        "rds.restore_test",
        json!({ "snapshot": snapshot }),
    );
    // The list of what is left, then the first look at what comes up, which ends the test early.
    proxy.arm("DescribeDBInstances", Fault::Rewrite("available", "available"), 1);
    proxy.arm("DescribeDBInstances", Fault::Answer(403, DENIED), 1);
    let error = test.execute(&bench.cx(&key, Value::Null)).await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::Permanent, "{error:?}");
    assert!(error.message.contains("is deleted"), "{error:?}");
    assert_eq!(standing(&bench, &key).await, [""; 0]);
}

async fn what_is_not_listed_yet_is_not_gone(bench: Bench) {
    let (snapshot, key) = (snapshot(&bench).await, fresh("pm-test"));
    let proxy = Proxy::start(bench.endpoint()).await;
    let test = action(
        &bench.through(&proxy.url()),
        "rds.restore_test",
        json!({ "snapshot": snapshot }),
    );
    proxy.arm("DescribeDBInstances", Fault::Rewrite("available", "available"), 1);
    proxy.arm("DescribeDBInstances", Fault::Answer(403, DENIED), 1);
    proxy.arm("DescribeDBInstances", Fault::Answer(404, MISSING), 3);
    let error = test.execute(&bench.cx(&key, Value::Null)).await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::Permanent, "{error:?}");
    assert_eq!(standing(&bench, &key).await, [""; 0], "{error:?}");
}

async fn whatever_ends_the_look_after_a_lost_answer_it_is_in_doubt(bench: Bench) {
    let (snapshot, key) = (snapshot(&bench).await, fresh("pm-test"));
    let proxy = Proxy::start(bench.endpoint()).await;
    let test = action(
        &bench.through(&proxy.url()),
        "rds.restore_test",
        json!({ "snapshot": snapshot }),
    );
    proxy.arm("RestoreDBInstanceFromDBSnapshot", Fault::ResetAfter, 1);
    proxy.arm("DescribeDBInstances", Fault::Rewrite("available", "available"), 1);
    proxy.arm("DescribeDBInstances", Fault::Answer(403, DENIED), 1);
    let error = test.execute(&bench.cx(&key, Value::Null)).await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::InDoubt, "{error:?}");
    assert!(error.message.contains(&format!("{key} may stand")), "{error:?}");
    assert_eq!(standing(&bench, &key).await, [key]);
}
