//! What tests of the whole program share: a state folder of their own, labs in their own processes, the program itself.
//! Everything that is started here is ended when its value is dropped.
#![allow(dead_code, clippy::allow_attributes, reason = "each test file uses its own part")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use pointsman::lab::{Endpoints, Measure, measure};
use pointsman::provider::dns::lookup::{Answer, Asked, ask};
use serde_json::Value;

pub const QUICKSTART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/runbooks/quickstart.yaml");

/// How fast labs of tests run.
pub const SPEED: &str = "100";

/// A folder for one test.
pub struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program with this test's state folder and nothing of the machine's own settings.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("USER", "olga")
            .env("POINTSMAN_STATE_DIR", self.path("state"))
            .stdin(Stdio::null());
        command
    }

    pub fn program(&self, arguments: &[&str]) -> Ended {
        Ended::from(self.command(arguments).output().unwrap())
    }

    /// Runs a runbook headless on a lab, every gate approved; `more` are further options.
    pub fn run_on(&self, lab: &LabProcess, runbook: &str, more: &[&str]) -> Ended {
        let folder = lab.folder.display().to_string();
        let mut arguments = vec!["run", runbook, "--env", "lab", "--headless", "--format", "json"];
        arguments.extend(["--approve-all", "--lab", &folder]);
        arguments.extend(more);
        self.program(&arguments)
    }

    /// The ids of the runs, newest first.
    pub fn runs(&self) -> Vec<String> {
        let listed = self.program(&["runs", "--format", "json"]);
        let list: Vec<Value> = serde_json::from_str(&listed.out).unwrap();
        list.iter().map(|run| run["run"].as_str().unwrap().to_owned()).collect()
    }

    pub fn only_run(&self) -> String {
        let runs = self.runs();
        assert_eq!(runs.len(), 1, "{runs:?}");
        runs.into_iter().next().unwrap()
    }

    pub fn run_folder(&self, run: &str) -> PathBuf {
        self.path("state").join("runs").join(run)
    }

    /// A copy of the quickstart without some steps; needs are by order, so the rest closes up.
    pub fn quickstart_without(&self, name: &str, steps: &[&str]) -> String {
        let text = fs::read_to_string(QUICKSTART).unwrap();
        let mut kept = String::new();
        let mut dropping = false;
        for line in text.lines() {
            if let Some(id) = line.strip_prefix("      - id: ") {
                dropping = steps.contains(&id);
            } else if line.starts_with("  - id: ") {
                dropping = false;
            }
            if !dropping {
                kept.push_str(line);
                kept.push('\n');
            }
        }
        if !kept.contains("downtime: begins") {
            kept = kept.replace("        downtime: ends\n", "");
        }
        let path = self.path(name);
        fs::write(&path, kept).unwrap();
        path.display().to_string()
    }

    /// A lab in a process of its own.
    pub fn lab(&self, name: &str, faults: &[&str]) -> LabProcess {
        LabProcess::start(&self.path(name), faults)
    }
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ended {
    /// Ended with this code, or everything that it said.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self
    }

    /// The JSON objects of a headless run.
    pub fn events(&self) -> Vec<Value> {
        self.out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The events with this name.
    pub fn named(&self, ev: &str) -> Vec<Value> {
        self.events().into_iter().filter(|event| event["ev"] == ev).collect()
    }

    /// Lost writes, as the summary names them.
    pub fn lost(&self) -> u64 {
        self.named("summary")[0]["lab"]["lost"].as_u64().unwrap()
    }
}

/// A lab in a process of its own, ended when dropped.
pub struct LabProcess {
    pub folder: PathBuf,
    child: Child,
}

impl LabProcess {
    pub fn start(folder: &Path, faults: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
        command.arg("lab").arg("--dir").arg(folder).args(["--speed", SPEED]);
        for fault in faults {
            command.args(["--fault", fault]);
        }
        let mut child = command
            .env("POINTSMAN_STATE_DIR", folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Its first lines come once it serves.
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut first)
            .unwrap();
        assert!(first.contains("the lab serves"), "{first}");
        let folder = folder.canonicalize().unwrap();
        let lab = Self { folder, child };
        wait_for("the lab's endpoint", || {
            TcpStream::connect(lab.endpoints().aws.trim_start_matches("http://")).is_ok()
        });
        lab
    }

    pub fn endpoints(&self) -> Endpoints {
        Endpoints::read(&self.folder).unwrap()
    }

    /// Every request that its cloud served.
    pub fn requests(&self) -> Vec<Value> {
        requests(&self.folder)
    }

    pub fn measure(&self) -> Measure {
        measure(&self.folder).unwrap()
    }

    /// What the authoritative server answers for the application.
    pub fn answer(&self) -> Answer {
        let asked = Asked {
            name: "erp.lab.test.".to_owned(),
            kind: "A".to_owned(),
        };
        let server = self.endpoints().dns;
        runtime().block_on(ask(server, &asked)).unwrap()
    }

    /// The replication task's status, asked over the wire.
    pub fn replication(&self) -> String {
        runtime().block_on(async {
            let endpoints = self.endpoints();
            let target = pointsman::provider::aws::AwsTarget::new(
                "us-east-1",
                "000000000000",
                Some(endpoints.aws),
                pointsman::provider::aws::Identity::Fake,
            );
            let client = aws_sdk_databasemigration::Client::new(target.config().await);
            let answer = client.describe_replication_tasks().send().await.unwrap();
            answer.replication_tasks()[0].status().unwrap().to_owned()
        })
    }

    /// Whether the source takes a write, tried and taken back.
    pub fn is_writable(&self) -> bool {
        let mut db = self.source();
        let transaction = db.transaction().unwrap();
        transaction
            .execute("insert into customers values ('probe', 'Probe', 'Nowhere')", [])
            .is_ok()
    }

    pub fn source(&self) -> rusqlite::Connection {
        open(&self.endpoints().source)
    }

    pub fn target(&self) -> rusqlite::Connection {
        open(&self.endpoints().target)
    }
}

impl Drop for LabProcess {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

pub fn open(path: &Path) -> rusqlite::Connection {
    let db = rusqlite::Connection::open(path).unwrap();
    db.busy_timeout(Duration::from_secs(5)).unwrap();
    db
}

pub fn requests(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("requests.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// No idempotency name changed the cloud twice, and no marker was written twice: the judge of "no effect twice".
/// `meant` names what the runbook itself does several times: a task has no name for one stop.
#[track_caller]
pub fn assert_nothing_twice(lab: &LabProcess, meant: &[(&str, u32)]) {
    let mut changed: BTreeMap<String, u32> = BTreeMap::new();
    for request in lab.requests() {
        if request["changed"] == true
            && let Some(name) = request["name"].as_str()
        {
            *changed.entry(name.to_owned()).or_default() += 1;
        }
    }
    for db in [lab.source(), lab.target()] {
        let mut statement = db
            .prepare("select tbl || ' ' || key, count(*) from lab_ledger group by 1")
            .unwrap();
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get::<_, u32>(1)?)))
            .unwrap();
        for row in rows {
            let (key, count): (String, u32) = row.unwrap();
            *changed.entry(key).or_default() += count;
        }
    }
    // A fence row is replicated: once on each side.
    let allowed = |name: &str| match meant.iter().find(|(known, _)| *known == name) {
        Some((_, count)) => *count,
        None if name.starts_with("pointsman_fence") => 2,
        None => 1,
    };
    let twice: Vec<_> = changed.iter().filter(|(name, count)| **count > allowed(name)).collect();
    assert!(twice.is_empty(), "done twice: {twice:?}");
    assert!(!changed.is_empty(), "nothing was changed at all");
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Waits on a condition.
#[track_caller]
pub fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
