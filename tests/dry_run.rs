//! A dry run of everything that ships, on a lab that notes every request: nothing that could change something is sent,
//! schemas, the record, the replication and the lab's ledger are as before, and a read that would write is refused by the runbook's rules and by
//! the database itself.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::path::PathBuf;

use pointsman::provider::connection::SqliteTarget;
use pointsman::provider::sql::sqlite::reader;
use support::{LabProcess, Place};

fn shipped() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/runbooks");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut runbooks: Vec<PathBuf> = files
        .filter(|path| path.extension().is_some_and(|ending| ending == "yaml"))
        .collect();
    runbooks.sort();
    runbooks
}

/// What the steps of a runbook could have changed in the lab, without what its own writer does meanwhile.
fn world(lab: &LabProcess) -> String {
    let schema = |database: rusqlite::Connection| -> String {
        let sql = "select coalesce(group_concat(sql, ';'), '') from (select sql from sqlite_master order by name)";
        database.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let ledger: i64 = lab
        .source()
        .query_row("select count(*) from lab_ledger", [], |row| row.get(0))
        .unwrap();
    format!(
        "{} | {} | {ledger} | {:?} | {}",
        schema(lab.source()),
        schema(lab.target()),
        lab.answer().values,
        lab.replication()
    )
}

#[test]
fn every_shipped_runbook_runs_dry_without_a_request_that_changes_anything() {
    let runbooks = shipped();
    assert!(runbooks.len() >= 2, "{runbooks:?}");
    for runbook in runbooks {
        let place = Place::new();
        let lab = place.lab("lab", &[]);
        let before = world(&lab);
        let folder = lab.folder.display().to_string();
        let runbook = runbook.display().to_string();
        let ended = place
            .program(&[
                "run",
                &runbook,
                "--env",
                "lab",
                "--headless",
                "--dry-run",
                "--lab",
                &folder,
            ])
            .expect(0);
        assert!(ended.out.contains("simulated"), "{runbook}: {}", ended.out);
        let requests = lab.requests();
        assert!(!requests.is_empty(), "{runbook}: a dry run executes reads");
        let changing: Vec<_> = requests.iter().filter(|request| request["mutating"] != false).collect();
        assert!(changing.is_empty(), "{runbook}: {changing:?}");
        assert_eq!(world(&lab), before, "{runbook}");
        place
            .program(&["verify", &place.only_run(), "--require", "chain"])
            .expect(0);
    }
}

const WRITES: &str = r#"
version: 1
name: writes
title: A read that would write
environments:
  lab: { kind: lab, approvals: typed, people: { carla: { roles: [lead] } } }
phases:
  - id: only
    title: Only
    steps:
      - id: count
        title: Count the customers
        uses: sql.query
        on: source
        with: { sql: "insert into customers values ('nobody', 'Nobody', 'Nowhere') returning key" }
"#;

#[test]
fn a_read_that_would_write_is_refused_dry_and_in_earnest() {
    let place = Place::new();
    let lab = place.lab("lab", &[]);
    let folder = lab.folder.display().to_string();
    let runbook = place.path("writes.yaml");
    fs::write(&runbook, WRITES).unwrap();
    let runbook = runbook.display().to_string();
    for dry in [&["--dry-run"][..], &["--approve-all"]] {
        let mut arguments = vec!["run", &runbook, "--env", "lab", "--headless", "--lab", &folder];
        arguments.extend(dry);
        let ended = place.program(&arguments).expect(1);
        assert!(
            ended.out.contains("the statement would write"),
            "{dry:?}: {}",
            ended.out
        );
        let nobody: i64 = lab
            .source()
            .query_row("select count(*) from customers where key = 'nobody'", [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(nobody, 0, "{dry:?}");
    }
}

/// The session of every read is closed to writes by the database, whoever asks, however the statement is written.
#[test]
fn the_database_itself_refuses_a_write_in_a_session_of_reads() {
    let place = Place::new();
    let lab = place.lab("lab", &[]);
    let target = SqliteTarget {
        path: lab.endpoints().source,
    };
    let session = reader(&target).unwrap();
    for sql in [
        "insert into customers values ('nobody', 'Nobody', 'Nowhere')",
        "delete from orders",
        "update customers set name = 'x'",
        "drop table orders",
        "pragma query_only = 0; delete from orders",
        "pragma writable_schema = 1; delete from sqlite_master",
        "vacuum",
    ] {
        assert!(session.execute_batch(sql).is_err(), "{sql} was taken");
    }
    let nobody = "select count(*) from customers where key = 'nobody' or name = 'x'";
    let changed: i64 = lab.source().query_row(nobody, [], |row| row.get(0)).unwrap();
    assert_eq!(changed, 0);
    let orders: i64 = lab
        .source()
        .query_row("select count(*) from orders", [], |row| row.get(0))
        .unwrap();
    assert!(orders > 0);
}
