//! `sql.compare` as a step of a night: killed in the middle it goes on where it was, and what differs is evidence.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value as Json;

use crate::databases::{Database, PASSWORD, Server};

const ROWS: u32 = 2_000_000;

struct Night {
    folder: tempfile::TempDir,
    server: Server,
}

impl Night {
    async fn new() -> Option<(Self, Database, Database)> {
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
        let folder = tempfile::tempdir().unwrap();
        let connection = |base: &Database| {
            format!(
                "{{ uses: mysql, host: 127.0.0.1, port: {}, database: {}, user: {}, password: \"${{ secret.word }}\", tls: \"off\" }}",
                base.target.port, base.target.database, base.target.user
            )
        };
        let text = format!(
            "version: 1\nname: prove\nsecrets: {{ word: {{ env: WORD }} }}\nconnections:\n  source: {}\n  target: {}\n\
             environments:\n  dress: {{ kind: rehearsal, auto_approve: true, people: {{ olga: {{ roles: [lead] }} }} }}\n\
             phases:\n  - id: one\n    title: One\n    steps:\n      - id: prove\n        title: Prove\n        \
             uses: sql.compare\n        on: [source, target]\n        with: {{ tables: [t], sessions: 1 }}\n        \
             outputs: {{ rows: result.rows }}\n        gate: {{ none: it reads }}\n",
            connection(&source),
            connection(&target)
        );
        fs::write(folder.path().join("prove.yaml"), text).unwrap();
        Some((Self { folder, server }, source, target))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.folder.path())
            .env("POINTSMAN_STATE_DIR", self.folder.path().join("state"))
            .env("WORD", PASSWORD)
            .stdin(Stdio::null());
        command
    }

    fn run(&self) -> Command {
        let file = self.folder.path().join("prove.yaml").display().to_string();
        let mut command = self.command(&[
            "run",
            &file,
            "--env",
            "dress",
            "--as",
            "olga",
            "--headless",
            "--approve-all",
        ]);
        command.args(["--format", "json"]);
        command
    }

    /// How often the server was asked for what ends at a key.
    fn asked(&self, end: i64) -> usize {
        let log = fs::read(self.server.folder.path().join("data/statements.log")).unwrap();
        let log = String::from_utf8_lossy(&log);
        let ends = |words: &str, end: i64| {
            log.match_indices(&format!("{words} {end}"))
                .filter(|(at, found)| !log[at + found.len()..].starts_with(|next: char| next.is_ascii_digit()))
                .count()
        };
        ends("and", end) + ends("<", end + 1)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_it_goes_on_where_it_was() {
    let Some((night, _source, target)) = Night::new().await else {
        return;
    };
    let mut running = night.run().stdout(Stdio::piped()).spawn().unwrap();
    let mut kept: Vec<Json> = Vec::new();
    let mut run = String::new();
    for line in BufReader::new(running.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let Ok(record) = serde_json::from_str::<Json>(&line) else {
            continue;
        };
        if let Some(id) = record.get("run").and_then(Json::as_str) {
            run = id.to_owned();
        }
        if line.contains("effect.kept") {
            kept.push(record);
        }
        // The first is the small one that finds out who hashes faster.
        if kept.len() == 3 {
            break;
        }
    }
    running.kill().unwrap();
    running.wait().unwrap();
    assert_eq!(kept.len(), 3, "it ended before it was killed");
    let run = if run.is_empty() {
        let listed = night.command(&["runs", "--format", "json"]).output().unwrap();
        let runs: Json = serde_json::from_slice(&listed.stdout).unwrap();
        runs[0]["run"].as_str().unwrap().to_owned()
    } else {
        run
    };
    let range = |record: &Json| {
        let kept = find(record, "kept").unwrap_or_else(|| panic!("{record}"));
        (kept["low"].as_i64().unwrap(), kept["high"].as_i64().unwrap())
    };
    let asked = |high: i64| night.asked(high - 1);
    let before: Vec<(i64, usize)> = kept
        .iter()
        .map(|record| range(record).1)
        .map(|high| (high, asked(high)))
        .collect();
    assert!(before.iter().all(|(_, times)| *times >= 2), "{before:?}");
    let resumed = night
        .command(&[
            "resume",
            &run,
            "--as",
            "olga",
            "--headless",
            "--approve-all",
            "--format",
            "json",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&resumed.stdout);
    assert_eq!(
        resumed.status.code(),
        Some(0),
        "{text}{}",
        String::from_utf8_lossy(&resumed.stderr)
    );
    for (high, times) in before {
        assert_eq!(asked(high), times, "the range below {high} was asked for again");
    }
    assert!(text.contains("EQUAL: 1 table, 2,000,000 rows on both sides"), "{text}");
    let verified = night.command(&["verify", &run, "--require", "chain"]).output().unwrap();
    assert_eq!(
        verified.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&verified.stdout)
    );

    // What somebody has written since is no longer what was compared: everything is asked for again, and it is found.
    target.run("update t set words = 'other' where id = 7").await;
    let ended = night.run().output().unwrap();
    let text = String::from_utf8_lossy(&ended.stdout);
    assert_eq!(ended.status.code(), Some(1), "{text}");
    assert!(text.contains("t changed 7"), "{text}");
}

/// The value under a name, wherever it stands.
fn find<'a>(value: &'a Json, name: &str) -> Option<&'a Json> {
    match value {
        Json::Object(map) => map
            .get(name)
            .or_else(|| map.values().find_map(|inner| find(inner, name))),
        Json::Array(list) => list.iter().find_map(|inner| find(inner, name)),
        _ => None,
    }
}
