//! A comparison that a condition of the night holds back: nothing is asked meanwhile, it goes on by itself, and what was
//! held for too long is never equal.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use pointsman::provider::action::{ActionError, Cx};
use pointsman::provider::connection::{Connections, Target};
use pointsman::provider::probe::{Silent, Written, probes};
use pointsman::provider::sql::compare::all::{Choice, Manner, compare};
use pointsman::provider::sql::compare::brake::{Brake, Conditions};
use pointsman::provider::sql::compare::ledger::{Entry, Ledger};
use pointsman::provider::sql::compare::meter::Meter;
use pointsman::provider::sql::compare::outcome::{Level, Outcome, Verdict};
use pointsman::provider::sql::compare::wish::Wish;
use pointsman::provider::sql::database::Database as Place;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::databases::{Database, PASSWORD, Server, postgres, url};

const ROWS: u32 = 400_000;

/// A server that notes every statement, with two equal tables and what is measured beside them.
struct Stage {
    server: Server,
    source: Database,
    target: Database,
}

impl Stage {
    async fn new() -> Option<Self> {
        let server = Server::mariadb(&["--general-log=1", "--general-log-file=statements.log"])?;
        let (source, target) = (server.database().await, server.database().await);
        for base in [&source, &target] {
            base.run("create table t(id bigint primary key, words varchar(80))")
                .await;
            base.run(&format!(
                "insert into t select seq, concat('row ', seq) from seq_1_to_{ROWS}"
            ))
            .await;
            base.run("analyze table t").await;
        }
        source.run("create table delay(seconds int)").await;
        source.run("insert into delay values (0)").await;
        Some(Self { server, source, target })
    }

    fn log(&self) -> String {
        let path = self.server.folder.path().join("data/statements.log");
        String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
    }

    /// How often rows were asked for.
    fn asked(&self) -> usize {
        self.log().matches("from `t`").count()
    }

    fn looks(&self) -> usize {
        self.log().matches("select seconds from delay").count()
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !holds(self) {
            assert!(Instant::now() < deadline, "{what}: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn brake(&self, at_most: Duration) -> Arc<Brake> {
        let connections = Connections::new().with("source", Target::Server(self.source.target.clone()));
        let written: Vec<Written> = serde_json::from_value(json!([
            { "uses": "sql.assert", "on": ["source"], "with": { "sql": "select seconds from delay", "expect": "value < 5" } }
        ]))
        .unwrap();
        Arc::new(Brake::new(Conditions {
            reads: Arc::new(probes(&written, &connections).unwrap()),
            at_most,
            cx: cx(),
        }))
    }

    async fn compare(&self, brake: &Arc<Brake>, meter: &Arc<Meter>, ledger: Box<dyn Ledger>) -> Outcome {
        let choice = Choice {
            wishes: vec![Wish::parse("t")],
            patterns: Vec::new(),
            exclude: Vec::new(),
        };
        let manner = Manner {
            level: Level::Rows,
            show_values: false,
            workers: 1,
            hashing: pointsman::provider::sql::compare::work::Hashing::default(),
            cancel: CancellationToken::new(),
            meter: Arc::clone(meter),
            brake: Arc::clone(brake),
            ledger,
        };
        let place = |base: &Database| Place::Server(base.target.clone());
        Box::pin(compare(place(&self.source), place(&self.target), &choice, manner))
            .await
            .unwrap()
    }
}

/// Twenty times as fast as it is meant: it is looked every tenth of a second.
fn cx() -> Cx {
    Cx {
        run: "run".to_owned(),
        step: "step".to_owned(),
        attempt: 1,
        key: "key".to_owned(),
        intent_at: chrono::Utc::now(),
        identity: json!(null),
        forward: json!(null),
        acked: None,
        mutates: false,
        answers: BTreeMap::new(),
        target_written: false,
        cancel: CancellationToken::new(),
        speed: 20.0,
        reporter: Arc::new(Silent),
    }
}

/// After the second range the lag rises, and nothing goes on before that was seen.
struct Rising {
    lag: Database,
    brake: Arc<Brake>,
    kept: AtomicUsize,
}

impl Ledger for Rising {
    fn known(&self) -> Vec<Entry> {
        Vec::new()
    }

    fn keep<'a>(&'a self, _entry: &'a Entry) -> BoxFuture<'a, Result<(), ActionError>> {
        Box::pin(async move {
            if self.kept.fetch_add(1, Ordering::Relaxed) == 1 {
                self.lag.run("update delay set seconds = 9").await;
                let deadline = Instant::now() + Duration::from_secs(60);
                while self.brake.holding().is_none() {
                    assert!(Instant::now() < deadline, "it is not held");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            Ok(())
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_asked_while_it_does_not_hold() {
    let Some(stage) = Stage::new().await else { return };
    let brake = stage.brake(Duration::from_secs(7_200));
    let meter = Arc::new(Meter::default());
    let ledger = Rising {
        lag: Database::open(stage.source.target.clone()).await,
        brake: Arc::clone(&brake),
        kept: AtomicUsize::new(0),
    };
    let comparing = stage.compare(&brake, &meter, Box::new(ledger));
    let watching = async {
        stage.until("it is held", |_| brake.holding().is_some()).await;
        let held = meter.rows();
        let (asked, looks) = (stage.asked(), stage.looks());
        assert!(asked > 0);
        stage
            .until("it is looked again", |stage| stage.looks() >= looks + 5)
            .await;
        assert_eq!(stage.asked(), asked, "rows were asked for while it was held");
        assert!(meter.rows() < u64::from(ROWS) && held > 0);
        let line = brake.told(&meter.line(Duration::from_secs(1)));
        assert!(line.starts_with("HELD since "), "{line}");
        assert!(line.contains("source: value 9; value < 5 is false; "), "{line}");
        stage.source.run("update delay set seconds = 1").await;
    };
    let (outcome, ()) = tokio::join!(comparing, watching);
    assert_eq!(outcome.verdict(), Verdict::Equal, "{}", outcome.json());
    assert_eq!(outcome.rows(), u64::from(ROWS));
    let body = outcome.json();
    assert_eq!(body["held"]["times"], 1, "{body}");
    assert_eq!(body["held"]["over"], false);
    assert!(body["held"]["seconds"].as_f64().unwrap() > 0.0, "{body}");
    assert_eq!(body["held"]["why"], json!(["source: value 9; value < 5 is false"]));
    assert!(outcome.notes.iter().any(|note| note.starts_with("held once")), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_for_too_long_is_unproven() {
    let Some(stage) = Stage::new().await else { return };
    stage.source.run("update delay set seconds = 9").await;
    let brake = stage.brake(Duration::from_secs(20));
    let meter = Arc::new(Meter::default());
    let before = stage.asked();
    let outcome = stage
        .compare(
            &brake,
            &meter,
            Box::new(pointsman::provider::sql::compare::ledger::Forgetful),
        )
        .await;
    assert_eq!(outcome.verdict(), Verdict::Unproven, "{}", outcome.json());
    assert_eq!(stage.asked(), before, "nothing was asked");
    let said = outcome
        .problems
        .iter()
        .any(|words| words.contains("value 9; value < 5 is false"));
    assert!(said, "{:?}", outcome.problems);
    assert_eq!(outcome.json()["held"]["over"], true);
    // A condition that cannot be read does not hold either.
    stage.source.run("drop table delay").await;
    let brake = stage.brake(Duration::from_secs(2));
    let outcome = stage
        .compare(
            &brake,
            &meter,
            Box::new(pointsman::provider::sql::compare::ledger::Forgetful),
        )
        .await;
    assert_eq!(outcome.verdict(), Verdict::Unproven, "{}", outcome.json());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_takes_a_condition() {
    let Some(server) = postgres() else { return };
    let (source, target) = (server.database().await, server.database().await);
    for base in [&source, &target] {
        base.run("create table t(id bigint primary key); insert into t values (1), (2)")
            .await;
    }
    target
        .run("create table delay(seconds int); insert into delay values (9)")
        .await;
    let told = |more: &[&str]| {
        let ended = Command::new(env!("CARGO_BIN_EXE_pointsman"))
            .args(["compare", &url(&source.target), &url(&target.target), "--table", "t"])
            .args(more)
            .env_clear()
            .env("POINTSMAN_SOURCE_PASSWORD", PASSWORD)
            .env("POINTSMAN_TARGET_PASSWORD", PASSWORD)
            .output()
            .unwrap();
        let text = [ended.stdout, ended.stderr].concat();
        (ended.status.code(), String::from_utf8_lossy(&text).into_owned())
    };
    let query = "select seconds from delay";
    let (code, text) = told(&["--while", "target", "value < 10", query]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = told(&["--while", "target", "value < 5", query, "--pause-at-most", "1s"]);
    assert_eq!(code, Some(6), "{text}");
    assert!(text.contains("target: value 9; value < 5 is false"), "{text}");
    assert!(text.contains("compare again when the condition holds"), "{text}");
    for (words, why) in [
        (["replica", "value < 5", query], "no side"),
        (["target", "value <", query], "--while target"),
        (["target", "lag < 5", query], "no lag"),
        (["target", "value < 5", "select nothing from nowhere"], "nowhere"),
        (["target", "value < 5", "delete from delay"], "as a read does"),
    ] {
        let (code, text) = told(&["--while", words[0], words[1], words[2]]);
        assert_eq!(code, Some(2), "{words:?}: {text}");
        assert!(text.contains(why), "{words:?}: {text}");
    }
    let (code, text) = told(&["--while", "target", "value < 10", query, "--pause-at-most", "soon"]);
    assert_eq!(code, Some(2), "{text}");
}
