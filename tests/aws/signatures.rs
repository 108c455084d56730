//! A peer that verifies signatures takes ours, and refuses one that was made with another secret.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use chrono::{SecondsFormat, TimeDelta, Utc};
use serde_json::json;

use crate::peers::{Kind, Peer};
use crate::wire::query;

fn between<'a>(text: &'a str, tag: &str) -> &'a str {
    let (_, rest) = text.split_once(&format!("<{tag}>")).unwrap();
    rest.split_once(&format!("</{tag}>")).unwrap().0
}

/// Runs a rehearsal that only reads a metric.
fn read_as(folder: &Path, url: &str, key: &str, secret: &str) -> Output {
    let runbook = folder.join("metric.yaml");
    let text = format!(
        "version: 1
name: metric
title: A metric
environments:
  staging: {{ kind: rehearsal, approvals: typed, auto_approve: true, people: {{ olga: {{ roles: [operator] }} }} }}
connections:
  aws: {{ uses: aws, region: us-east-1, account: \"123456789012\", endpoint: \"{url}\", timeout: 5s }}
phases:
  - id: look
    title: Look
    steps:
      - id: lag
        title: The lag is short
        uses: cloudwatch.metric
        on: aws
        with: {{ namespace: Erp, metric: Lag, statistic: maximum, expect: value == 7, max_age: 30m }}
"
    );
    std::fs::write(&runbook, text).unwrap();
    Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .args(["run", runbook.to_str().unwrap(), "--env", "staging", "--as", "olga"])
        .args(["--headless", "--approve-all"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder)
        .env("POINTSMAN_STATE_DIR", folder.join("state"))
        .env("AWS_ACCESS_KEY_ID", key)
        .env("AWS_SECRET_ACCESS_KEY", secret)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_verifies_signatures_takes_ours() {
    let Some(peer) = Peer::start(Kind::Moto, None) else {
        return;
    };
    let (url, iam) = (peer.url(), [("Version", "2010-05-08"), ("UserName", "night")]);
    let ask = async |more: &[(&str, &str)]| query(&url, "iam", &[iam.as_slice(), more].concat()).await;
    ask(&[("Action", "CreateUser")]).await;
    let all = json!({ "Effect": "Allow", "Action": "*", "Resource": "*" });
    let policy = json!({ "Version": "2012-10-17", "Statement": [all] }).to_string();
    ask(&[
        ("Action", "PutUserPolicy"),
        ("PolicyName", "night"),
        ("PolicyDocument", &policy),
    ])
    .await;
    let made = ask(&[("Action", "CreateAccessKey")]).await;
    let (key, secret) = (between(&made, "AccessKeyId"), between(&made, "SecretAccessKey"));
    // Of a minute that is over.
    let stamp = (Utc::now() - TimeDelta::minutes(2)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let sample = [
        ("MetricData.member.1.Timestamp", stamp.as_str()),
        ("Action", "PutMetricData"),
        ("Version", "2010-08-01"),
        ("Namespace", "Erp"),
        ("MetricData.member.1.MetricName", "Lag"),
        ("MetricData.member.1.Value", "7"),
    ];
    query(&url, "monitoring", &sample).await;
    // From here on moto verifies who asks, and by what policy.
    let verified = reqwest::Client::new()
        .post(format!("{url}/moto-api/reset-auth"))
        .body("0")
        .send()
        .await
        .unwrap();
    assert!(verified.status().is_success());

    let folder = tempfile::tempdir().unwrap();
    let ended = read_as(folder.path(), &url, key, secret);
    let (out, err) = (
        String::from_utf8_lossy(&ended.stdout),
        String::from_utf8_lossy(&ended.stderr),
    );
    assert_eq!(ended.status.code(), Some(0), "{out}\n{err}");
    assert!(out.contains("value 7"), "{out}");

    let folder = tempfile::tempdir().unwrap();
    let ended = read_as(folder.path(), &url, key, "another secret");
    let out = String::from_utf8_lossy(&ended.stdout);
    assert_eq!(ended.status.code(), Some(1), "{out}");
    // The first call is refused already; moto words it as no service of AWS does.
    assert!(out.contains("sts:GetCallerIdentity") && out.contains("403"), "{out}");
}
