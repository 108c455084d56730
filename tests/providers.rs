//! Providers against real peers on loopback: what each refuses, what it does once only, what it finds again by looking,
//! and how its errors are classed.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "support/cx.rs"]
mod cx;
mod support;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use pointsman::lab::endpoints::{ACCOUNT, REGION, ZONE_ID};
use pointsman::lab::{Lab, LabOptions};
use pointsman::provider::action::{
    Action, ActionError, ActionErrorKind, Cx, Observed, Outcome, Progress, Ready, Reporter,
};
use pointsman::provider::aws::{AwsTarget, Identity};
use pointsman::provider::connection::{Connections, HttpTarget, SqliteTarget, Target};
use pointsman::provider::registry::{Request, build};
use serde_json::{Value, json};
use support::wait_for;
use tokio_util::sync::CancellationToken;

/// Remembers what an action reported.
#[derive(Default)]
struct Heard {
    acked: Mutex<Vec<String>>,
    lines: Mutex<Vec<String>>,
}

#[async_trait]
impl Reporter for Heard {
    async fn ack(&self, provider_id: &str) -> Result<(), ActionError> {
        self.acked.lock().unwrap().push(provider_id.to_owned());
        Ok(())
    }

    fn progress(&self, progress: Progress) {
        if let Progress::Line(line) = progress {
            self.lines.lock().unwrap().push(line);
        }
    }
}

struct Bench {
    lab: Lab,
    connections: Connections,
    heard: Arc<Heard>,
    cancel: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = LabOptions {
            speed: 100.0,
            writer: false,
            ..LabOptions::default()
        };
        let lab = Lab::start(&folder.path().join("lab"), options).await.unwrap();
        let at = lab.endpoints();
        let sqlite = |path: &PathBuf| Target::Sqlite(SqliteTarget { path: path.clone() });
        let mut aws = AwsTarget::new(REGION, ACCOUNT, Some(at.aws.clone()), Identity::Fake);
        aws.dns_server = Some(at.dns);
        let app = HttpTarget {
            base: format!("http://erp.lab.test:{}", at.app_port),
            resolver: Some(at.dns),
            ..HttpTarget::default()
        };
        let connections = Connections::new()
            .with("source", sqlite(&at.source))
            .with("target", sqlite(&at.target))
            .with("aws", Target::Aws(aws))
            .with("app", Target::Http(app));
        Self {
            lab,
            connections,
            heard: Arc::default(),
            cancel: CancellationToken::new(),
            _folder: folder,
        }
    }

    fn action(&self, uses: &str, on: &[&str], with: Value) -> Box<dyn Action> {
        let on: Vec<String> = on.iter().map(|name| (*name).to_owned()).collect();
        let request = Request {
            uses,
            on: &on,
            with: &with,
        };
        build(&request, &self.connections).unwrap_or_else(|error| panic!("{uses}: {error}"))
    }

    /// What an action gets; `key` is its idempotency key, `identity` what an approval bound.
    fn cx(&self, key: &str, identity: Value) -> Cx {
        cx::cx(key, identity, 100.0, &self.cancel, self.heard.clone())
    }

    /// Looks, as before a gate, then executes under what was bound.
    async fn perform(&self, action: &dyn Action, key: &str) -> Result<Outcome, ActionError> {
        let Ready { identity, .. } = action.check(&self.cx(key, Value::Null)).await?;
        action.execute(&self.cx(key, identity)).await
    }

    fn source(&self) -> rusqlite::Connection {
        support::open(&self.lab.endpoints().source)
    }
}

fn count(db: &rusqlite::Connection, sql: &str) -> i64 {
    db.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_executed_once_under_its_key_and_found_by_its_marker() {
    let bench = Bench::new().await;
    let sql = "update orders set amount = amount + 1 where key = ?";
    let action = bench.action("sql.exec", &["source"], json!({ "sql": sql, "params": ["seed-00000"] }));
    let cx = bench.cx("pm-one", Value::Null);
    assert!(matches!(
        action.observe(&cx).await.unwrap(),
        Observed::NotStarted { .. }
    ));
    let before = count(&bench.source(), "select amount from orders where key = 'seed-00000'");
    for _ in 0..2 {
        let outcome = bench.perform(&*action, "pm-one").await.unwrap();
        assert_eq!(outcome.result["rows"], 1);
    }
    assert_eq!(
        count(&bench.source(), "select amount from orders where key = 'seed-00000'"),
        before + 1
    );
    let Observed::Done(found) = action.observe(&cx).await.unwrap() else {
        panic!("its marker row tells");
    };
    assert_eq!(found.result["rows"], 1, "it gives the result that it would have given");
    bench.perform(&*action, "pm-two").await.unwrap();
    assert_eq!(
        count(&bench.source(), "select amount from orders where key = 'seed-00000'"),
        before + 2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_fails_leaves_nothing() {
    let bench = Bench::new().await;
    let sql = "insert into orders select * from orders limit 1";
    let action = bench.action("sql.exec", &["source"], json!({ "sql": sql }));
    let error = bench.perform(&*action, "pm-one").await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::Permanent);
    let marker = "select count(*) from pointsman_marker";
    assert_eq!(count(&bench.source(), marker), 0);
    let bad = bench.action("sql.exec", &["source"], json!({ "sql": "delete from no_such_table" }));
    let error = bad.check(&bench.cx("pm-two", Value::Null)).await.unwrap_err();
    assert!(error.message.contains("no_such_table"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_cannot_write() {
    let bench = Bench::new().await;
    for sql in [
        "delete from orders",
        "pragma writable_schema = 1; delete from orders",
        "create table x(y)",
    ] {
        let action = bench.action("sql.query", &["source"], json!({ "sql": sql }));
        let refused = bench.perform(&*action, "pm-read").await;
        assert!(refused.is_err(), "{sql}: {refused:?}");
    }
    assert_eq!(count(&bench.source(), "select count(*) from orders"), 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assertion_says_what_it_found_and_what_it_wanted() {
    let bench = Bench::new().await;
    let with = |expect: &str| json!({ "sql": "select count(*) from orders", "expect": expect });
    let right = bench.action("sql.assert", &["source"], with("value == 1000"));
    bench.perform(&*right, "pm-a").await.unwrap();
    let wrong = bench.action("sql.assert", &["source"], with("value == 7"));
    let error = bench.perform(&*wrong, "pm-a").await.unwrap_err();
    assert!(
        error.message.contains("1000") && error.message.contains("value == 7"),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thaw_leaves_what_was_frozen_before() {
    let bench = Bench::new().await;
    let write = "insert into customers values ('x', 'X', 'Y')";
    bench
        .source()
        .execute_batch(
            "create trigger pointsman_freeze_customers_insert before insert on customers
             begin select raise(abort, 'pointsman: writes are frozen'); end",
        )
        .unwrap();
    let freeze = bench.action("sql.freeze_writes", &["source"], json!({ "proof": true }));
    let frozen = bench.perform(&*freeze, "pm-freeze").await.unwrap();
    assert_eq!(bench.heard.acked.lock().unwrap().as_slice(), ["pm-freeze"]);
    let proof = || async { freeze.prove(&bench.cx("pm-freeze", Value::Null)).await };
    proof().await.unwrap();
    // Somebody may write all the same: the proof says so, the freeze and the way back from it stand.
    let open = "drop trigger pointsman_freeze_orders_delete";
    bench.source().execute_batch(open).unwrap();
    let error = proof().await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::Permanent);
    assert!(error.message.contains("a write to orders was not refused"), "{error}");
    bench
        .source()
        .execute_batch(
            "create trigger pointsman_freeze_orders_delete before delete on orders
             begin select raise(abort, 'pointsman: writes are frozen'); end",
        )
        .unwrap();
    let delete = "delete from orders where key = 'seed-00000'";
    assert!(bench.source().execute(delete, []).is_err(), "frozen");
    bench
        .source()
        .execute("insert into pointsman_fence values ('own', 'now')", [])
        .unwrap();
    let thaw = bench.action(
        "sql.thaw_writes",
        &["source"],
        json!({ "to": frozen.result["prior_state"] }),
    );
    bench.perform(&*thaw, "pm-thaw").await.unwrap();
    assert!(
        bench.source().execute(write, []).is_err(),
        "frozen before, frozen after"
    );
    assert_eq!(bench.source().execute(delete, []).unwrap(), 1, "not frozen before");
    let again = thaw.observe(&bench.cx("pm-thaw", Value::Null)).await.unwrap();
    assert!(matches!(again, Observed::Done(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_somebody_else_changed_is_left_alone() {
    let bench = Bench::new().await;
    let flip = |to: &str| {
        let with = json!({ "zone": ZONE_ID, "record": "erp.lab.test", "to": [to] });
        bench.action("dns.flip", &["aws"], with)
    };
    let ours = flip("127.0.0.2");
    let bound = ours.check(&bench.cx("pm-flip", Value::Null)).await.unwrap().identity;
    bench.perform(&*flip("127.0.0.3"), "pm-other").await.unwrap();
    let error = ours.execute(&bench.cx("pm-flip", bound.clone())).await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::Permanent);
    assert!(error.message.contains("changed by somebody else"), "{error:?}");
    let seen = ours.observe(&bench.cx("pm-flip", bound)).await.unwrap();
    assert!(matches!(seen, Observed::Unknown { .. }), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ttl_comes_back_on_whatever_the_record_points_at_by_then() {
    let bench = Bench::new().await;
    let named = json!({ "zone": ZONE_ID, "record": "erp.lab.test" });
    let with = |more: Value| {
        let mut with = named.clone();
        with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        with
    };
    let lower = bench.action("dns.lower_ttl", &["aws"], with(json!({ "ttl": 10, "wait": false })));
    let lowered = bench.perform(&*lower, "pm-lower").await.unwrap();
    let flip = bench.action("dns.flip", &["aws"], with(json!({ "to": ["127.0.0.2"] })));
    bench.perform(&*flip, "pm-flip").await.unwrap();
    let back = with(json!({ "to": lowered.result["prior"], "only": "ttl" }));
    bench
        .perform(&*bench.action("dns.restore", &["aws"], back), "pm-back")
        .await
        .unwrap();
    let expect = "values == ['127.0.0.2'] and ttl == 300 and authoritative";
    let lookup = json!({ "record": "erp.lab.test", "expect": expect });
    bench
        .perform(&*bench.action("dns.lookup", &["aws"], lookup), "pm-look")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_adopted_by_its_tag_and_a_taken_name_is_not() {
    let bench = Bench::new().await;
    let snapshot = bench.action("rds.snapshot", &["aws"], json!({ "instance": "lab-target" }));
    let cx = bench.cx("pm-snapshot", Value::Null);
    let long_since = Cx {
        intent_at: chrono::Utc::now() - chrono::TimeDelta::days(1),
        ..cx.clone()
    };
    assert!(matches!(
        snapshot.observe(&long_since).await.unwrap(),
        Observed::NotStarted { .. }
    ));
    bench.perform(&*snapshot, "pm-snapshot").await.unwrap();
    assert!(matches!(snapshot.observe(&cx).await.unwrap(), Observed::Done(_)));
    // Somebody else's snapshot stands under the name that ours would get.
    let Target::Aws(aws) = bench.connections.at(&["aws".to_owned()], 0).unwrap() else {
        panic!("an AWS connection");
    };
    let client = aws_sdk_rds::Client::new(aws.config().await);
    client
        .create_db_snapshot()
        .db_instance_identifier("lab-target")
        .db_snapshot_identifier("pm-taken")
        .send()
        .await
        .unwrap();
    let error = bench.perform(&*snapshot, "pm-taken").await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::Permanent, "{error:?}");
    let seen = snapshot.observe(&bench.cx("pm-taken", Value::Null)).await.unwrap();
    assert!(!matches!(seen, Observed::Done(_)), "not ours: {seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_acts_in_another_account() {
    let bench = Bench::new().await;
    let endpoint = Some(bench.lab.endpoints().aws.clone());
    let other = AwsTarget::new(REGION, "999999999999", endpoint, Identity::Fake);
    let connections = bench.connections.clone().with("other", Target::Aws(other));
    let on = ["other".to_owned()];
    let cases = [
        ("rds.snapshot", json!({ "instance": "lab-target" })),
        (
            "dns.flip",
            json!({ "zone": ZONE_ID, "record": "erp.lab.test", "to": ["127.0.0.2"] }),
        ),
        ("dms.start", json!({ "task": pointsman::lab::endpoints::TASK })),
    ];
    for (uses, with) in cases {
        let request = Request {
            uses,
            on: &on,
            with: &with,
        };
        let action = build(&request, &connections).unwrap();
        let error = action.check(&bench.cx("pm-x", Value::Null)).await.unwrap_err();
        assert_eq!(error.kind, ActionErrorKind::Permanent);
        assert!(
            error.message.contains("belong to account 000000000000"),
            "{uses}: {error:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_is_transient() {
    let bench = Bench::new().await;
    let mut nowhere = AwsTarget::new(REGION, ACCOUNT, Some("http://127.0.0.1:9".to_owned()), Identity::Fake);
    nowhere.dns_server = Some(bench.lab.endpoints().dns);
    let connections = bench.connections.clone().with("nowhere", Target::Aws(nowhere));
    let (on, with) = (["nowhere".to_owned()], json!({ "instance": "lab-target" }));
    let request = Request {
        uses: "rds.snapshot",
        on: &on,
        with: &with,
    };
    let action = build(&request, &connections).unwrap();
    let error = action.execute(&bench.cx("pm-x", Value::Null)).await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::Transient, "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_check_holds_status_and_body_and_gives_up_in_time() {
    let bench = Bench::new().await;
    let check = |with: Value| bench.action("http.check", &["app"], with);
    let right = check(json!({ "path": "/health", "expect": "json.side == 'old'" }));
    bench.perform(&*right, "pm-h").await.unwrap();
    let wrong = check(json!({ "path": "/health", "expect": "json.side == 'new'", "within": "10s" }));
    let error = bench.perform(&*wrong, "pm-h").await.unwrap_err();
    assert!(error.message.contains("not within 10 s"), "{error:?}");
    let status = check(json!({ "path": "/no-such-page", "status": 200 }));
    assert!(bench.perform(&*status, "pm-h").await.is_err());
    let nobody = bench.action("http.check", &[], json!({ "url": "http://127.0.0.1:9/" }));
    let error = bench.perform(&*nobody, "pm-h").await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::Transient, "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_gets_an_environment_by_allow_list() {
    let bench = Bench::new().await;
    let with = json!({ "argv": ["env"], "env": { "GIVEN": "yes" } });
    let outcome = bench
        .perform(&*bench.action("shell.command", &[], with), "pm-c")
        .await
        .unwrap();
    let printed = outcome.result["stdout"].as_str().unwrap();
    assert!(printed.contains("GIVEN=yes") && printed.contains("PATH="), "{printed}");
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    assert!(
        !printed.contains("CARGO_"),
        "the program's own environment stays its own: {printed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_fails_says_its_last_words_and_a_missing_one_is_named() {
    let bench = Bench::new().await;
    let with = json!({ "argv": ["sh", "-c", "echo first >&2; echo no disk >&2; exit 3"] });
    let error = bench
        .perform(&*bench.action("shell.command", &[], with), "pm-c")
        .await
        .unwrap_err();
    assert!(
        error.message.contains("3") && error.message.contains("no disk"),
        "{error:?}"
    );
    let with = json!({ "argv": ["no-such-program-here"] });
    let error = bench
        .perform(&*bench.action("shell.command", &[], with), "pm-c")
        .await
        .unwrap_err();
    assert!(
        error.message.contains("no-such-program-here could not be started"),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_output_is_cut_counted_and_digested() {
    let bench = Bench::new().await;
    let with = json!({ "argv": ["head", "-c", "3000000", "/dev/zero"] });
    let outcome = bench
        .perform(&*bench.action("shell.command", &[], with), "pm-c")
        .await
        .unwrap();
    let (_, stdout) = outcome.evidence.iter().find(|(name, _)| name == "stdout").unwrap();
    assert!(stdout.len() < 1_100_000, "{}", stdout.len());
    let tail = String::from_utf8_lossy(&stdout[stdout.len() - 120..]).into_owned();
    assert!(tail.contains("[cut: 3000000 bytes in all, SHA-256 "), "{tail}");
    let result = outcome.result["stdout"].as_str().unwrap().len();
    assert!(result <= 8 * 1024, "{result}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_command_takes_its_children_along_and_is_in_doubt() {
    let bench = Bench::new().await;
    let note = tempfile::NamedTempFile::new().unwrap();
    let script = format!("sleep 600 & echo $! > {}; wait", note.path().display());
    let action = bench.action("shell.command", &[], json!({ "argv": ["sh", "-c", script] }));
    let child = || std::fs::read_to_string(note.path()).unwrap().trim().to_owned();
    let cancel = bench.cancel.clone();
    let cx = bench.cx("pm-c", Value::Null);
    let running = tokio::spawn(async move { action.execute(&cx).await });
    tokio::task::block_in_place(|| wait_for("the child", || !child().is_empty()));
    cancel.cancel();
    let error = running.await.unwrap().unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::InDoubt);
    let process = PathBuf::from(format!("/proc/{}", child()));
    tokio::task::block_in_place(|| {
        wait_for("the child's end", || {
            let state = std::fs::read_to_string(process.join("stat")).unwrap_or_default();
            state.is_empty() || state.contains(") Z ")
        });
    });
}
