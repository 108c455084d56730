//! Reads of servers in the whole program: checked, planned, looked at before the night, and executed, also in a dry run.

use std::fs;
use std::sync::Arc;

use async_trait::async_trait;
use pointsman::provider::action::{ActionError, Progress, Reporter};
use pointsman::provider::connection::{Connections, Target};
use pointsman::provider::registry::{Request, build};
use pointsman::provider::sql::server::{Engine, Protection, ServerTarget};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::databases;
use crate::support::{Ended, Place};
use crate::{cx, sqlserver};

const NIGHT: &str = r#"version: 1
name: asked
title: Asked
secrets: { word: { env: WORD } }
environments:
  dress:
    kind: rehearsal
    auto_approve: true
    people: { olga: { roles: [lead] } }
    connections:
      db: { uses: ENGINE, host: HOST, port: PORT, database: DATABASE, user: USER, password: "${ secret.word }", tls: TLS }
phases:
  - id: one
    title: One
    steps:
      - id: count
        title: Count
        uses: sql.assert
        on: db
        with: { sql: "select 1 as n where 7 = PARAM", params: [7], expect: rows == 1 and value == 1 }
        gate: { none: it reads }
        outputs: { n: result.value }
      - id: wait
        title: Wait
        uses: sql.wait
        on: db
        with: { sql: "select PARAM as n", params: ["${ steps.count.outputs.n }"], expect: value == 1, within: 1m }
        gate: { none: it reads }
"#;

fn night(target: &ServerTarget) -> String {
    let param = match target.engine {
        Engine::Postgres => "cast($1 as int)",
        Engine::Mysql => "?",
        Engine::Sqlserver => "@P1",
    };
    let tls = match target.protection {
        Protection::Verified { .. } => "verify",
        Protection::Unverified => "unverified",
        Protection::Off => "off",
    };
    NIGHT
        .replace("ENGINE", target.engine.word())
        .replace("HOST", &target.host)
        .replace("PORT", &target.port.to_string())
        .replace("DATABASE", &target.database)
        .replace("USER", &target.user)
        .replace("TLS", tls)
        .replace("PARAM", param)
}

/// Everything that the program does with it.
fn conducted(target: &ServerTarget) {
    let place = Place::new();
    let file = place.path("night.yaml");
    fs::write(&file, night(target)).unwrap();
    let file = file.display().to_string();
    let password = target.password.clone().unwrap();
    let ask = |arguments: &[&str]| {
        let mut words = vec![arguments[0], &file, "--env", "dress"];
        words.extend(&arguments[1..]);
        Ended::from(place.command(&words).env("WORD", &password).output().unwrap())
    };
    let checked = ask(&["check"]).expect(0);
    assert!(!checked.out.contains("not available yet"), "{}", checked.out);
    ask(&["plan"]).expect(0);
    let looked = ask(&["preflight", "--format", "json"]).expect(0);
    assert!(
        looked.out.contains("\"opens\"") && looked.out.contains("\"clock\""),
        "{}",
        looked.out
    );
    let by = ["--as", "olga", "--headless", "--approve-all"];
    let dry = ask(&[&["run"], &by[..], &["--dry-run"]].concat()).expect(0);
    let done = ask(&[&["run"], &by[..]].concat()).expect(0);
    for ended in [&looked, &dry, &done] {
        assert!(!ended.out.contains(&password) && !ended.err.contains(&password));
    }
    let values = format!("{}{}", dry.out, done.out);
    assert!(values.contains("value 1"), "{values}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_reads_from_each_engine() {
    let mut targets = Vec::new();
    let both = databases::both();
    for server in &both {
        targets.push(server.database().await.target);
    }
    let asked = sqlserver::asked();
    targets.extend(asked.iter().map(|asked| asked.target.clone()));
    for target in targets {
        tokio::task::spawn_blocking(move || conducted(&target)).await.unwrap();
    }
}

/// Tells that a wait has looked once.
struct Looked(Notify);

#[async_trait]
impl Reporter for Looked {
    async fn ack(&self, _: &str) -> Result<(), ActionError> {
        Ok(())
    }

    fn progress(&self, _: Progress) {
        self.0.notify_one();
    }
}

#[tokio::test]
async fn a_wait_looks_until_the_server_says_so() {
    for server in databases::both() {
        let database = server.database().await;
        database.run("create table standing(behind int)").await;
        database.run("insert into standing values (9)").await;
        let connections = Connections::new().with("db", Target::Server(database.target.clone()));
        let with =
            json!({ "sql": "select behind from standing", "expect": "value < 2", "within": "10m", "every": "50ms" });
        let on = ["db".to_owned()];
        let request = Request {
            uses: "sql.wait",
            on: &on,
            with: &with,
        };
        let action = build(&request, &connections).unwrap();
        let looked = Arc::new(Looked(Notify::new()));
        let reporter: Arc<dyn Reporter> = looked.clone();
        let cx = cx::cx("pm-x", Value::Null, 1.0, &CancellationToken::new(), reporter);
        let waiting = tokio::spawn(async move { action.execute(&cx).await });
        looked.0.notified().await;
        database.run("update standing set behind = 1").await;
        let outcome = waiting.await.unwrap().unwrap();
        assert_eq!(outcome.result.get("value"), Some(&json!(1)));
    }
}
