//! DMS whose target is a database server: what is on it is counted before a first start, and the fence row and what DMS could
//! not apply are read there. The task is the lab's, the servers are real.

use std::time::Duration;

use pointsman::provider::action::{Action, ActionErrorKind};
use pointsman::provider::aws::AwsTarget;
use pointsman::provider::connection::{Connections, Target};
use pointsman::provider::registry::{Request, build};
use pointsman::provider::sql::server::{Engine, ServerTarget};
use serde_json::{Value, json};

use crate::bench::Bench;
use crate::databases;
use crate::dms_tables::loaded;
use crate::proxy::{Fault, Proxy};

/// How long a wait may take in all.
const PATIENCE: Duration = Duration::from_secs(120);

fn action(uses: &str, aws: &AwsTarget, target: &ServerTarget, with: Value) -> Box<dyn Action> {
    let connections = Connections::new()
        .with("aws", Target::Aws(aws.clone()))
        .with("target", Target::Server(target.clone()));
    let request = Request {
        uses,
        on: &["aws".to_owned(), "target".to_owned()],
        with: &with,
    };
    build(&request, &connections).unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_empties_no_server() {
    for server in databases::both() {
        let there = server.database().await;
        let bench = Bench::lab().await.unwrap();
        let proxy = Proxy::start(bench.endpoint()).await;
        let with = json!({ "task": bench.names.task });
        let start = action("dms.start", &bench.through(&proxy.url()), &there.target, with);
        let cx = bench.cx("pm-x", Value::Null);
        let prepares = || {
            let fault = Fault::Rewrite("DO_NOTHING", "TRUNCATE_BEFORE_LOAD");
            proxy.arm("DescribeReplicationTasks", fault, 1);
        };
        // A schema that the connection does not name is the task's as well.
        let schema = match there.target.engine {
            Engine::Postgres => "archive".to_owned(),
            Engine::Mysql | Engine::Sqlserver => format!("{}_archive", there.target.database),
        };
        there.run(&format!("create schema {schema}")).await;
        there.run(&format!("create table {schema}.kept (n integer)")).await;
        there.run("create table awsdms_status (n integer)").await;
        there.run("insert into awsdms_status values (1)").await;
        prepares();
        let ready = start.check(&cx).await.unwrap();
        let told = format!("target {schema}.kept: 0 rows");
        assert!(ready.facts.contains(&told), "{:?}", ready.facts);
        there.run(&format!("insert into {schema}.kept values (1)")).await;
        prepares();
        let error = start.check(&cx).await.unwrap_err();
        assert_eq!(error.kind, ActionErrorKind::Permanent);
        assert!(
            error.message.contains(&format!("could take the rows of {schema}.kept")),
            "{error}"
        );
        // Where nothing is taken it is enough to know that there are some.
        for _ in 0..11 {
            let sql = format!("insert into {schema}.kept select n from {schema}.kept");
            there.run(&sql).await;
        }
        let ready = start.check(&cx).await.unwrap();
        let told = format!("target {schema}.kept: 1000 rows or more");
        assert!(ready.facts.contains(&told), "{:?}", ready.facts);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replication_to_a_server_is_drained_once_its_fence_is_there() {
    for server in databases::both() {
        let there = server.database().await;
        let bench = loaded().await;
        let with = json!({ "task": bench.names.task, "fence": "pm-fence" });
        let drained = action("dms.wait_drained", &bench.target, &there.target, with);
        let cx = bench.cx("pm-wait", Value::Null);
        let ready = drained.check(&cx).await.unwrap();
        assert!(
            ready.facts.iter().any(|fact| fact.contains("has noted no change")),
            "{:?}",
            ready.facts
        );
        let cx = bench.cx("pm-wait", ready.identity);
        // The table arrives with the replication, and then its rows: other runs' are not this one's.
        let waiting = drained.execute(&cx);
        let arriving = async {
            let told = |words: &'static str| {
                let heard = &bench.heard;
                async move {
                    while !heard.progress.lock().unwrap().iter().any(|told| told.contains(words)) {
                        tokio::task::yield_now().await;
                    }
                    heard.progress.lock().unwrap().clear();
                }
            };
            told("the fence row is not on the target yet").await;
            there
                .run("create table pointsman_fence(token varchar(200) primary key, written_at varchar(40))")
                .await;
            there.run("insert into pointsman_fence values ('pm-other', '-')").await;
            told("the fence row is not on the target yet").await;
            told("the fence row is not on the target yet").await;
            there.run("insert into pointsman_fence values ('pm-fence', '-')").await;
        };
        let both = async { tokio::join!(waiting, arriving) };
        let (done, ()) = tokio::time::timeout(PATIENCE, both).await.unwrap();
        assert!(done.unwrap().summary.starts_with("drained: "));
        // What could not be applied since the gate is missing there, wherever DMS notes it.
        let control = match there.target.engine {
            Engine::Postgres => {
                there.run("create schema control").await;
                "control"
            }
            Engine::Mysql | Engine::Sqlserver => {
                there.run("create database awsdms_control").await;
                "awsdms_control"
            }
        };
        there
            .run(&format!("create table {control}.awsdms_apply_exceptions (n integer)"))
            .await;
        there
            .run(&format!("insert into {control}.awsdms_apply_exceptions values (1)"))
            .await;
        let error = drained.execute(&cx).await.unwrap_err();
        assert_eq!(error.kind, ActionErrorKind::Permanent);
        assert!(
            error.message.contains("could not apply 1 changes since the gate"),
            "{error}"
        );
        // Who sees them at the gate may go on.
        let ready = drained.check(&cx).await.unwrap();
        assert!(
            ready
                .facts
                .iter()
                .any(|fact| fact.contains("could not apply so far: 1")),
            "{:?}",
            ready.facts
        );
        drained.execute(&bench.cx("pm-wait", ready.identity)).await.unwrap();
    }
}

/// What a server leaves out for somebody is not nothing.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_shown_all_tables_is_told_so() {
    // Of its own: what it has is everybody's there.
    let Some(server) = databases::Server::mariadb(&[]) else {
        return;
    };
    let there = server.database().await;
    let name = &there.target.database;
    for sql in [
        format!(
            "create user '{name}'@'127.0.0.1' identified by '{}'",
            databases::PASSWORD
        ),
        format!("grant select on {name}.* to '{name}'@'127.0.0.1'"),
    ] {
        there.run(&sql).await;
    }
    let mut limited = there.target.clone();
    limited.user.clone_from(name);
    let bench = Bench::lab().await.unwrap();
    let proxy = Proxy::start(bench.endpoint()).await;
    let aws = bench.through(&proxy.url());
    let cx = bench.cx("pm-x", Value::Null);
    let start = action("dms.start", &aws, &limited, json!({ "task": bench.names.task }));
    proxy.arm(
        "DescribeReplicationTasks",
        Fault::Rewrite("DO_NOTHING", "DROP_AND_CREATE"),
        1,
    );
    let error = start.check(&cx).await.unwrap_err();
    assert!(error.message.contains("is not shown all of them"), "{error}");
    // A task that prepares nothing takes nothing.
    start.check(&cx).await.unwrap();
    let with = json!({ "task": bench.names.task, "fence": "pm-fence" });
    let drained = action("dms.wait_drained", &aws, &limited, with);
    let error = drained.check(&cx).await.unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::Permanent);
    assert!(error.message.contains("awsdms_apply_exceptions is not seen"), "{error}");
    there.run("create table awsdms_apply_exceptions (n integer)").await;
    drained.check(&cx).await.unwrap();
}
