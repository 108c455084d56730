//! What goes wrong while databases are compared: it is tried again or told, and never a wrong verdict.

use std::process::Command;
use std::time::{Duration, Instant};

use pointsman::provider::sql::compare::outcome::{Level, Verdict};
use pointsman::provider::sql::compare::wish::Wish;

use crate::databases::PASSWORD;
use crate::stage::{Base, Kind, told};

/// Two equal tables that take a while.
async fn large(one: Kind, other: Kind, rows: u32) -> Option<(Base, Base)> {
    let (source, target) = (Base::new(one).await?, Base::new(other).await?);
    for base in [&source, &target] {
        base.run("create table t(id bigint primary key, words varchar(80))")
            .await;
        let from = match base.kind() {
            Kind::Maria => format!("select seq, concat('row ', seq) from seq_1_to_{rows}"),
            Kind::Postgres => format!("select n, concat('row ', n) from generate_series(1, {rows}) n"),
            Kind::Sqlite | Kind::Sqlserver => panic!("another test's"),
        };
        base.run(&format!("insert into t {from}")).await;
        base.analyze("t").await;
    }
    Some((source, target))
}

/// Fewer than a part is tried.
const CUTS: u32 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_opened_again() {
    let Some((source, target)) = large(Kind::Maria, Kind::Postgres, 300_000).await else {
        return;
    };
    let comparing = told(&source, &target, vec![Wish::parse("t")], Level::Rows);
    // Statements that read the table are ended on both servers, with their sessions.
    let cutting = async {
        let (mut here, mut there) = (0, 0);
        while here < CUTS || there < CUTS {
            let reading = source.text(
                "select group_concat('kill ', id separator ';') from information_schema.processlist \
                 where db = database() and id <> connection_id() and info like '%from `t`%'",
            );
            let reading = reading.await.unwrap_or_default();
            for kill in reading.split(';').filter(|kill| !kill.is_empty()) {
                if here < CUTS {
                    here += u32::from(source.attempt(kill).await);
                }
            }
            if there < CUTS {
                let ended = target.text(
                    "select count(pg_terminate_backend(pid)) from (select pid from pg_stat_activity \
                     where datname = current_database() and pid <> pg_backend_pid() and state = 'active' \
                     and (query like 'copy%' or query like '%sha256%') limit 1) one",
                );
                there += ended.await.map_or(0, |count| count.parse::<u32>().unwrap());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let ended = async {
        let ended = tokio::time::timeout(Duration::from_secs(120), cutting).await;
        assert!(ended.is_ok(), "nothing was read that could be cut");
    };
    let (outcome, ()) = tokio::join!(comparing, ended);
    assert_eq!(outcome.verdict(), Verdict::Equal, "{}", outcome.json());
    assert_eq!(outcome.rows(), 300_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_meanwhile_voids_the_proof() {
    for (one, other) in [(Kind::Maria, Kind::Maria), (Kind::Postgres, Kind::Postgres)] {
        let Some((source, target)) = large(one, other, 200_000).await else {
            return;
        };
        let comparing = told(&source, &target, vec![Wish::parse("t")], Level::Rows);
        // It stays, so that PostgreSQL takes its time to count what it writes.
        let writer = target.session().await;
        let writing = async {
            // Not before the comparison reads rows.
            let reading = match one {
                Kind::Maria => {
                    "select count(*) from information_schema.processlist where db = database() and id <> connection_id() and info like '%from `t`%'"
                }
                _ => {
                    "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and query like '%from \"t\"%'"
                }
            };
            let deadline = Instant::now() + Duration::from_secs(60);
            while Instant::now() < deadline && source.text(reading).await.as_deref() == Some("0") {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // The same row as before: nothing differs, and nothing is proven.
            writer.run("update t set words = 'other' where id = 7").await;
            writer.run("update t set words = 'row 7' where id = 7").await;
        };
        let (outcome, ()) = tokio::join!(comparing, writing);
        assert_eq!(outcome.verdict(), Verdict::Unproven, "{one:?}: {}", outcome.json());
        let said = outcome
            .problems
            .iter()
            .any(|words| words.starts_with("target: somebody wrote"));
        assert!(said, "{:?}", outcome.problems);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_before_is_not_written_meanwhile() {
    let Some((source, target)) = large(Kind::Postgres, Kind::Postgres, 1_000).await else {
        return;
    };
    let Some(elsewhere) = Base::new(Kind::Postgres).await else {
        return;
    };
    elsewhere.run("create table other(n int)").await;
    // Sessions that stay count the last of what they wrote later than that.
    let writers = [source.session().await, target.session().await];
    for writer in &writers {
        writer.run("insert into t values (2000, 'a')").await;
        writer.run("insert into t values (2001, 'b')").await;
    }
    let comparing = told(&source, &target, vec![Wish::parse("t")], Level::Rows);
    let mut comparing = Box::pin(comparing);
    let outcome = loop {
        tokio::select! {
            outcome = &mut comparing => break outcome,
            () = elsewhere.run("insert into other values (1)") => {}
        }
    };
    assert_eq!(outcome.verdict(), Verdict::Equal, "{}", outcome.json());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_waited_for_and_told() {
    let Some((source, target)) = large(Kind::Maria, Kind::Postgres, 1_000).await else {
        return;
    };
    let holder = target.session().await;
    holder.run("begin; lock table t in access exclusive mode").await;
    let ended = tokio::task::spawn_blocking({
        let (here, there) = (source.address(), format!("{}&timeout=1s", target.address()));
        move || {
            Command::new(env!("CARGO_BIN_EXE_pointsman"))
                .args(["compare", &here, &there, "--table", "t"])
                .env("POINTSMAN_SOURCE_PASSWORD", PASSWORD)
                .output()
                .unwrap()
        }
    });
    let ended = ended.await.unwrap();
    holder.run("rollback").await;
    let text = String::from_utf8_lossy(&ended.stdout);
    assert_eq!(ended.status.code(), Some(6), "{text}");
    assert!(text.contains("timeout") && text.contains("tries"), "{text}");
}
