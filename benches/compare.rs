//! Comparing 2,000,000 rows: MariaDB with MariaDB and with PostgreSQL, equal and with 100 changed and 10 missing rows, by
//! this program, by reladiff (PyPI), and by both engines scanning and hashing every row once, which nobody that hashes in
//! the engines can beat. CPU seconds are those of the tool and of both servers; the runs take turns. Between two MariaDB also
//! by pt-table-sync (Percona Toolkit), where it is installed.
//!
//! `cargo bench --bench compare [-- --rows 2000000] [--rounds 5] [--only maria|postgres] [--no-reladiff]`
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench"
)]

#[path = "../tests/databases/mod.rs"]
mod databases;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use databases::{Database, PASSWORD, Server, USER};
use pointsman::provider::sql::server::Engine;

const RELADIFF: &str = "reladiff[mysql,postgresql]==0.6.0";

/// What one run took.
#[derive(Debug, Clone, Copy, Default)]
struct Took {
    wall: f64,
    cpu: f64,
    peak_kib: u64,
}

fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.next()?;
    arguments.next()
}

fn main() {
    let rows: u64 = argument("--rows").map_or(2_000_000, |text| text.parse().unwrap());
    let rounds: usize = argument("--rounds").map_or(5, |text| text.parse().unwrap());
    let only = argument("--only");
    let reladiff = (!std::env::args().any(|argument| argument == "--no-reladiff"))
        .then(reladiff)
        .flatten();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let buffer = "--innodb-buffer-pool-size=1G";
    let source = Server::mariadb(&[buffer]).unwrap();
    for (name, target) in [
        (
            "MariaDB",
            only.as_deref()
                .is_none_or(|only| only == "maria")
                .then(|| Server::mariadb(&[buffer]).unwrap()),
        ),
        (
            "PostgreSQL",
            only.as_deref()
                .is_none_or(|only| only == "postgres")
                .then(|| Server::postgres(&["shared_buffers=512MB", "max_wal_size=4GB"]).unwrap()),
        ),
    ] {
        let Some(target) = target else { continue };
        pairing(&runtime, name, &source, &target, rows, rounds, reladiff.as_deref());
    }
}

const LABELS: [&str; 7] = [
    "floor",
    "pointsman equal",
    "reladiff equal",
    "pt-table-sync equal",
    "pointsman different",
    "reladiff different",
    "pt-table-sync different",
];

/// Both engines hash all of their rows at once.
fn floor(runtime: &tokio::runtime::Runtime, servers: &[&Server], one: &Database, same: &Database) -> Took {
    // In sessions of its own that are gone afterwards: one that is there may still have to count what it wrote.
    let sessions = runtime.block_on(async {
        (
            Database::open(one.target.clone()).await,
            Database::open(same.target.clone()).await,
        )
    });
    let before = cpu(servers);
    let begun = Instant::now();
    runtime.block_on(async {
        let floor = |base: &Database| hashing(base.target.engine);
        let (one, same) = (&sessions.0, &sessions.1);
        let (here, there) = tokio::join!(one.text(floor(one)), same.text(floor(same)));
        assert_eq!(here, there, "the engines hash the same rows");
    });
    Took {
        wall: begun.elapsed().as_secs_f64(),
        cpu: cpu(servers) - before,
        peak_kib: 0,
    }
}

fn pairing(
    runtime: &tokio::runtime::Runtime,
    name: &str,
    source: &Server,
    target: &Server,
    rows: u64,
    rounds: usize,
    reladiff: Option<&Path>,
) {
    let (one, same, other) = runtime.block_on(async {
        let one = filled(source, rows).await;
        let same = filled(target, rows).await;
        let other = filled(target, rows).await;
        plant(&other, rows).await;
        (one, same, other)
    });
    println!("\nMariaDB ↔ {name}, {rows} rows, medians of {rounds}");
    let mut planted = BTreeSet::new();
    planted.extend((1..=100).map(|at| (at * (rows / 101), "changed".to_owned())));
    planted.extend((1..=10).map(|at| (at * (rows / 11) + 5, "missing".to_owned())));
    let mut took: BTreeMap<&str, Vec<Took>> = BTreeMap::new();
    let synced = reladiff.is_some() && Command::new("pt-table-sync").arg("--version").output().is_ok();
    let servers = [source, target];
    for round in 0..rounds {
        let mut turns: Vec<&str> = LABELS
            .iter()
            .copied()
            .filter(|label| reladiff.is_some() || !label.starts_with("reladiff"))
            .filter(|label| synced && one.target.engine == same.target.engine || !label.starts_with("pt-table-sync"))
            .collect();
        // A machine that was busy is slower for a while: nobody always comes after the same one.
        let turn = (round * 2) % turns.len();
        turns.rotate_left(turn);
        for label in turns {
            let (there, planted) = match label.ends_with("different") {
                true => (&other, planted.clone()),
                false => (&same, BTreeSet::new()),
            };
            let ran = match (label, reladiff) {
                ("floor", _) => floor(runtime, &servers, &one, &same),
                ("reladiff equal" | "reladiff different", Some(program)) => {
                    run(&servers, &mut theirs(program, &one, there)).0
                }
                ("pt-table-sync equal" | "pt-table-sync different", _) => {
                    let (ran, out) = run(&servers, &mut sync(&one, there));
                    assert_eq!(out.is_empty(), planted.is_empty(), "pt-table-sync: {out}");
                    ran
                }
                _ => {
                    let (ran, out) = run(&servers, &mut ours(&one, there));
                    found(&out, label, &planted);
                    ran
                }
            };
            took.entry(label).or_default().push(ran);
        }
    }
    let median = |label: &str, pick: fn(&Took) -> f64| -> Option<f64> {
        let mut all: Vec<f64> = took.get(label)?.iter().map(pick).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied()
    };
    let (floor_cpu, floor_wall) = (
        median("floor", |took| took.cpu).unwrap(),
        median("floor", |took| took.wall).unwrap(),
    );
    println!(
        "{:<22} {:>8} {:>8} {:>10}  of the floor",
        "", "CPU s", "wall s", "peak MiB"
    );
    for label in LABELS {
        let (Some(cpu), Some(wall)) = (median(label, |took| took.cpu), median(label, |took| took.wall)) else {
            continue;
        };
        let peak = median(label, |took| took.peak_kib as f64).unwrap_or(0.0) / 1024.0;
        println!(
            "{label:<22} {cpu:>8.2} {wall:>8.2} {peak:>10.0}  CPU ×{:.2}, wall ×{:.2}",
            cpu / floor_cpu,
            wall / floor_wall
        );
    }
    for what in ["equal", "different"] {
        let of = |tool: &str, pick| median(&format!("{tool} {what}"), pick);
        if let (Some(ours), Some(theirs)) = (of("pointsman", |took| took.cpu), of("reladiff", |took| took.cpu)) {
            let wall = of("reladiff", |took| took.wall).unwrap() / of("pointsman", |took| took.wall).unwrap();
            println!(
                "{what}: ×{:.2} of reladiff's CPU, {wall:.1} × faster by the wall",
                ours / theirs
            );
        }
    }
}

/// A table as validate.md has it: a key, a text with blanks at its end, a decimal, a moment, a text that is often NULL, a flag.
async fn filled(server: &Server, rows: u64) -> Database {
    let base = server.database().await;
    let (moment, series, blanks) = match server.engine {
        Engine::Postgres => (
            "timestamp '2020-01-01' + n * interval '1 second' + (n * 7 % 1000000) * interval '1 microsecond'",
            format!("generate_series(1::bigint, {rows}) n"),
            "repeat(' ', (n % 3)::int)",
        ),
        Engine::Mysql | Engine::Sqlserver => (
            "'2020-01-01' + interval n second + interval (n * 7 % 1000000) microsecond",
            format!("(select cast(seq as signed) n from seq_1_to_{rows}) s"),
            "repeat(' ', n % 3)",
        ),
    };
    let (at, long) = match server.engine {
        Engine::Postgres => ("timestamp(6)", "bigint"),
        Engine::Mysql | Engine::Sqlserver => ("datetime(6)", "bigint"),
    };
    base.run(&format!(
        "create table t(id {long} primary key, name varchar(60) not null, amount decimal(12,2) not null, moment {at} not null, \
         note text, active boolean not null)"
    ))
    .await;
    base.run(&format!(
        "insert into t select n, concat('Grüße ', n * 7919 % 100003, {blanks}), (n * 37 % 1000000) / 100.0, {moment}, \
         case when n % 10 < 3 then null else concat('note ', n * 31 % 7919, ' of the order') end, n % 2 = 0 from {series}"
    ))
    .await;
    match server.engine {
        Engine::Postgres => base.run("vacuum analyze t").await,
        Engine::Mysql | Engine::Sqlserver => base.run("analyze table t").await,
    }
    base
}

async fn plant(base: &Database, rows: u64) {
    let list = |ids: Vec<u64>| ids.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    let changed = list((1..=100).map(|at| at * (rows / 101)).collect());
    let missing = list((1..=10).map(|at| at * (rows / 11) + 5).collect());
    base.run(&format!("update t set amount = amount + 0.01 where id in ({changed})"))
        .await;
    base.run(&format!("delete from t where id in ({missing})")).await;
}

const fn hashing(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres => {
            "select mod(sum(('x'||encode(substr(sha256(convert_to(id::text||','||octet_length(name)||':'||name||','||amount::text||','|| \
             to_char(moment,'YYYY-MM-DD HH24:MI:SS.US')||','||coalesce(octet_length(note)||':'||note,'N')||','||active::int::text, \
             'UTF8')),1,8),'hex'))::bit(64)::bigint) + 18446744073709551616::numeric * 4000000000, 18446744073709551616) from t"
        }
        Engine::Mysql | Engine::Sqlserver => {
            "select mod(sum(cast(conv(left(sha2(concat(id,',',length(name),':',name,',',amount,',',moment,',', \
             ifnull(concat(length(note),':',note),'N'),',',active),256),16),16,10) as unsigned)), 18446744073709551616) from t"
        }
    }
}

fn ours(one: &Database, other: &Database) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
    command
        .args(["compare", &one.url(), &other.url(), "--table", "t", "--format", "json"])
        .env("POINTSMAN_SOURCE_PASSWORD", PASSWORD)
        .env("POINTSMAN_TARGET_PASSWORD", PASSWORD);
    command
}

fn theirs(program: &Path, one: &Database, other: &Database) -> Command {
    let url = |base: &Database| {
        let word = if base.target.engine == Engine::Postgres {
            "postgresql"
        } else {
            "mysql"
        };
        let secret = PASSWORD.replace(' ', "%20");
        format!(
            "{word}://{USER}:{secret}@127.0.0.1:{}/{}",
            base.target.port, base.target.database
        )
    };
    let mut command = Command::new(program);
    command.args([&url(one), "t", &url(other), "t", "-k", "id", "-c", "%", "-j", "4"]);
    command
}

fn sync(one: &Database, other: &Database) -> Command {
    let place = |base: &Database| {
        let target = &base.target;
        format!(
            "h=127.0.0.1,P={},u={USER},p={PASSWORD},D={},t=t,A=utf8mb4",
            target.port, target.database
        )
    };
    let mut command = Command::new("pt-table-sync");
    command.args(["--print", "--no-check-triggers", &place(one), &place(other)]);
    command
}

/// That everything planted was found, and nothing else.
fn found(out: &str, what: &str, planted: &BTreeSet<(u64, String)>) {
    let body: serde_json::Value = serde_json::from_str(out).unwrap_or_else(|error| panic!("{what}: {error}: {out}"));
    let found: BTreeSet<(u64, String)> = body["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| {
            (
                found["key"].as_u64().unwrap(),
                found["kind"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    assert_eq!(&found, planted, "{what}");
    let verdict = if planted.is_empty() { "equal" } else { "different" };
    assert_eq!(body["verdict"], verdict, "{}", body["problems"]);
}

fn run(servers: &[&Server], command: &mut Command) -> (Took, String) {
    let before = cpu(servers) + ticks("/proc/self/stat", &[15, 16]);
    let begun = Instant::now();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    let stdout = child.stdout.take().unwrap();
    let reading = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        BufReader::new(stdout).read_to_end(&mut bytes).unwrap();
        // pt-table-sync prints Latin-1.
        String::from_utf8_lossy(&bytes).into_owned()
    });
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let high = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let high = high.and_then(|line| line.split_whitespace().next()?.parse().ok());
        peak_kib = high.unwrap_or(peak_kib).max(peak_kib);
        std::thread::sleep(Duration::from_millis(10));
    }
    let wall = begun.elapsed().as_secs_f64();
    let cpu = cpu(servers) + ticks("/proc/self/stat", &[15, 16]) - before;
    (Took { wall, cpu, peak_kib }, reading.join().unwrap())
}

/// Seconds that fields of a `stat` add up to.
fn ticks(path: &str, fields: &[usize]) -> f64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let after = text.rsplit_once(')').map_or("", |(_, after)| after);
    let all: Vec<&str> = after.split_whitespace().collect();
    let sum: u64 = fields
        .iter()
        .filter_map(|at| all.get(at - 2)?.parse::<u64>().ok())
        .sum();
    sum as f64 / 100.0
}

/// CPU seconds of servers and of all that they started.
fn cpu(servers: &[&Server]) -> f64 {
    let mut parents = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let text = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = text
            .rsplit_once(')')
            .and_then(|(_, after)| after.split_whitespace().nth(1)?.parse::<u32>().ok());
        parents.insert(pid, parent.unwrap_or(0));
    }
    let mut sum = 0.0;
    for server in servers {
        for pid in parents.keys() {
            let mut at = *pid;
            while at != 0 && at != server.process() {
                at = parents.get(&at).copied().unwrap_or(0);
            }
            if at != 0 {
                // With what ended children took.
                sum += ticks(&format!("/proc/{pid}/stat"), &[13, 14, 15, 16]);
            }
        }
    }
    sum
}

/// reladiff in a folder of the build; nothing where it cannot be installed.
fn reladiff() -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target"),
        PathBuf::from,
    );
    let folder = target.join("reladiff-venv");
    let program = folder.join("bin/reladiff");
    if program.is_file() {
        return Some(program);
    }
    let made = Command::new("python3")
        .args(["-m", "venv"])
        .arg(&folder)
        .status()
        .ok()?;
    let pip = Command::new(folder.join("bin/pip"))
        .args(["install", "--quiet", RELADIFF])
        .status()
        .ok()?;
    (made.success() && pip.success() && program.is_file()).then_some(program)
}
