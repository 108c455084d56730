//! The program itself against a peer, as a rehearsal: connection and credentials as people give them.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::bench::{Bench, Home};
use crate::proxy::{Fault, Proxy};

/// Runs a rehearsal on the peer that goes back before its last step; `account` is what its connection claims.
fn rehearse(folder: &Path, bench: &Bench, endpoint: &str, account: &str) -> Output {
    let runbook = folder.join("rehearsal.yaml");
    let text = format!(
        "version: 1
name: peer
title: A peer
residency: [us-east-1]
environments:
  staging: {{ kind: rehearsal, approvals: typed, auto_approve: true, people: {{ olga: {{ roles: [operator] }} }} }}
connections:
  aws: {{ uses: aws, region: us-east-1, account: \"{account}\", endpoint: \"{}\", timeout: 5s }}
phases:
  - id: prepare
    title: Prepare
    steps:
      - id: look
        title: The database is there
        uses: rds.describe
        on: aws
        with: {{ instance: {instance}, expect: status == 'available' }}
      - id: snapshot
        title: Keep what there is
        uses: rds.snapshot
        on: aws
        with: {{ instance: {instance} }}
        outputs: {{ snapshot: result.snapshot, request: result.request_id }}
        rollback: {{ not_needed: it stays }}
      - id: tried
        title: It can be restored
        uses: rds.restore_test
        on: aws
        with: {{ snapshot: \"${{ steps.snapshot.outputs.snapshot }}\" }}
        timeout: 1h
        rollback: {{ not_needed: it is deleted }}
      - id: resize
        title: Room for the night
        uses: rds.modify
        on: aws
        with: {{ instance: {instance}, class: db.m6g.large }}
        outputs: {{ prior: result.prior }}
        checks: {{ after: [{{ uses: rds.describe, on: aws, with: {{ instance: {instance}, expect: class == 'db.m6g.large' }} }}] }}
        rollback: {{ uses: rds.modify, on: aws, with: {{ instance: {instance}, to: \"${{ steps.resize.outputs.prior }}\" }} }}
      - id: last
        title: Not reached
        uses: rds.describe
        on: aws
        with: {{ instance: {instance} }}
",
        endpoint,
        instance = bench.names.instance,
    );
    std::fs::write(&runbook, text).unwrap();
    Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .args(["run", runbook.to_str().unwrap(), "--env", "staging", "--as", "olga"])
        .args([
            "--headless",
            "--approve-all",
            "--roll-back-at",
            "last",
            "--format",
            "json",
        ])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder)
        .env("USER", "olga")
        .env("POINTSMAN_STATE_DIR", folder.join("state"))
        .env("AWS_ACCESS_KEY_ID", "FAKE")
        .env("AWS_SECRET_ACCESS_KEY", "fake")
        // What the connection says is what counts.
        .env("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        .env("AWS_ENDPOINT_URL_RDS", "http://127.0.0.1:9")
        .env("AWS_REGION", "eu-west-1")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

async fn snapshots(bench: &Bench) -> Vec<String> {
    let answer = bench
        .rds()
        .await
        .describe_db_snapshots()
        .db_instance_identifier(&bench.names.instance);
    let answer = answer.send().await.unwrap();
    let names = answer
        .db_snapshots()
        .iter()
        .map(|one| one.db_snapshot_identifier().unwrap().to_owned());
    names.filter(|name| name.starts_with("pm-")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_acts_on_a_peer_and_goes_back() {
    let Some(bench) = Bench::moto().await else { return };
    assert!(matches!(bench.home, Home::Peer(_)));
    let folder = tempfile::tempdir().unwrap();
    let ended = rehearse(folder.path(), &bench, bench.endpoint(), &bench.target.account);
    let out = String::from_utf8_lossy(&ended.stdout).into_owned();
    let err = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(4), "rolled back: {out}\n{err}");
    assert_eq!(snapshots(&bench).await.len(), 1, "a snapshot stays");
    assert!(out.contains("has class db.m6g.large"), "{out}");
    let now = bench.describe(&bench.names.instance).await;
    assert_eq!(now["class"], "db.t4g.medium", "the class came back");
    // What the peer called its answer is in the record.
    let run = std::fs::read_dir(folder.path().join("state/runs"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let journal = std::fs::read_to_string(run.join("journal/000001.jsonl")).unwrap();
    let kept = journal
        .lines()
        .any(|line| line.contains("\"request\":\"") && line.contains("\"snapshot\":\"pm-"));
    assert!(kept, "{journal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_in_another_account_starts_nothing() {
    let Some(bench) = Bench::moto().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let ended = rehearse(folder.path(), &bench, bench.endpoint(), "999999999999");
    assert_eq!(
        ended.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
    let out = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(out.contains("belong to account 123456789012"), "{out}");
    assert!(snapshots(&bench).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_whose_replies_are_lost_does_everything_once() {
    let Some(bench) = Bench::moto().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(bench.endpoint()).await;
    proxy.arm("CreateDBSnapshot", Fault::ResetAfter, 1);
    proxy.arm("RestoreDBInstanceFromDBSnapshot", Fault::CutReply, 1);
    proxy.arm("DeleteDBInstance", Fault::ResetAfter, 1);
    proxy.arm("ModifyDBInstance", Fault::Garbage("nothing that anybody knows"), 2);
    let (path, url, account) = (folder.path().to_owned(), proxy.url(), bench.target.account.clone());
    let (bench, ended) = tokio::task::spawn_blocking(move || {
        let ended = rehearse(&path, &bench, &url, &account);
        (bench, ended)
    })
    .await
    .unwrap();
    let out = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert_eq!(ended.status.code(), Some(4), "rolled back: {out}");
    assert_eq!(snapshots(&bench).await.len(), 1);
    for (operation, times) in [
        ("CreateDBSnapshot", 1),
        ("RestoreDBInstanceFromDBSnapshot", 1),
        ("DeleteDBInstance", 1),
        // There and back.
        ("ModifyDBInstance", 2),
    ] {
        assert_eq!(proxy.count(operation), times, "{operation}: {out}");
    }
    assert_eq!(bench.describe(&bench.names.instance).await["class"], "db.t4g.medium");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_recorded_with_the_id_of_its_request() {
    let Some(bench) = Bench::moto().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(bench.endpoint()).await;
    let expired = "<ErrorResponse><Error><Code>ExpiredToken</Code><Message>old</Message></Error></ErrorResponse>";
    proxy.arm("CreateDBSnapshot", Fault::Answer(403, expired), 1);
    let (path, url, account) = (folder.path().to_owned(), proxy.url(), bench.target.account.clone());
    let (bench, ended) = tokio::task::spawn_blocking(move || {
        let ended = rehearse(&path, &bench, &url, &account);
        (bench, ended)
    })
    .await
    .unwrap();
    let out = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{out}");
    assert!(
        out.contains("log in again") && out.contains("(request id proxy-said)"),
        "{out}"
    );
    assert!(snapshots(&bench).await.is_empty());
}
