//! What a step costs besides what it does: 1,000 steps that do nothing, on the lab, every gate approved, every record
//! durable, beside the bare cost of the same appends and syncs on the same disk in the same run; and 200 commands
//! `/bin/true` beside `ansible-playbook` on the same ones, where it is installed (`pip install ansible-core`; with
//! `ANSIBLE_PYTHON_INTERPRETER` where it does not find its own).
//!
//! The lab runs in the same process and is no part of what a step costs. What it takes alone is measured in as much time
//! and printed beside the rest; nothing is taken off because of it.
//!
//! `cargo bench --bench steps` prints them. Aims: at most 1.5 × the bare appends of the journal, at most six syncs a step,
//! at least 20 × less overhead a step than ansible.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement, not a part of the program"
)]

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pointsman::journal::pack::span;
use pointsman::journal::reader::read_run;

const STEPS: usize = 1_000;
const COMMANDS: usize = 200;
const ROUNDS: usize = 3;

fn runbook(steps: usize, action: &str) -> String {
    let mut text = String::from(
        "version: 1\nname: bench\nenvironments: { lab: { kind: lab } }\nphases:\n  - id: all\n    steps:\n",
    );
    for step in 0..steps {
        writeln!(text, "      - {{ id: s{step}, {action} }}").unwrap();
    }
    text
}

const NOTHING: &str = "uses: manual.decision, with: { question: go }";
const TRUE: &str = "uses: shell.command, with: { argv: [/bin/true] }, rollback: { not_needed: nothing is changed }, \
                    lab: { uses: shell.command, with: { argv: [/bin/true] } }";

/// Runs a runbook on the lab; gives the wall time and the run's folder.
fn run(place: &Path, steps: usize, action: &str) -> (Duration, std::path::PathBuf) {
    let file = place.join(format!("bench-{steps}.yaml"));
    fs::write(&file, runbook(steps, action)).unwrap();
    let state = place.join("state");
    let began = Instant::now();
    let ended = Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .args([
            "run",
            file.to_str().unwrap(),
            "--env",
            "lab",
            "--headless",
            "--approve-all",
            "--speed",
            "1000",
        ])
        .arg("--state-dir")
        .arg(&state)
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .status()
        .unwrap();
    let took = began.elapsed();
    assert!(ended.success(), "{ended}");
    let mut runs: Vec<_> = fs::read_dir(state.join("runs"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .collect();
    runs.sort_by_key(|entry| entry.metadata().unwrap().modified().unwrap());
    let folder = runs.pop().unwrap().path();
    (took, folder)
}

/// What was appended before a sync.
struct Batch {
    /// Bytes of evidence, if there was some.
    evidence: Vec<u8>,
    records: Vec<u8>,
}

/// What a run wrote, batch by batch.
fn written(folder: &Path) -> Vec<Batch> {
    let chain = read_run(folder).unwrap();
    let pack = fs::read(folder.join("blobs/000001.pack")).unwrap();
    let segment = fs::read(folder.join("journal/000001.jsonl")).unwrap();
    let mut batches: Vec<Batch> = Vec::new();
    let mut last = None;
    for (record, line) in chain.records.iter().zip(segment.split_inclusive(|byte| *byte == b'\n')) {
        // The records of a batch bear one stamp.
        if last != Some(record.mono_ns) {
            batches.push(Batch {
                evidence: Vec::new(),
                records: Vec::new(),
            });
        }
        last = Some(record.mono_ns);
        let batch = batches.last_mut().unwrap();
        batch.records.extend_from_slice(line);
        for span in record.blobs.iter().filter_map(span) {
            let place = usize::try_from(span.from).unwrap()..usize::try_from(span.to).unwrap();
            batch.evidence.extend_from_slice(&pack[place]);
        }
    }
    let evidence: usize = batches.iter().map(|batch| batch.evidence.len()).sum();
    assert_eq!(evidence, pack.len(), "evidence that no record names");
    batches
}

/// Which of a run's appends are made again.
#[derive(Clone, Copy, PartialEq)]
enum Which {
    Records,
    Evidence,
    All,
}

/// The same appends, each with its sync, and nothing else; how many there were.
fn bare(place: &Path, batches: &[Batch], which: Which) -> (Duration, usize) {
    let (journal, pack) = (place.join("bare.jsonl"), place.join("bare.pack"));
    let open = |path| OpenOptions::new().create(true).append(true).open(path).unwrap();
    let mut files = [open(&pack), open(&journal)];
    let mut syncs = 0;
    let began = Instant::now();
    for batch in batches {
        let parts: [(&[u8], bool); 2] = [
            (&batch.evidence, which != Which::Records),
            (&batch.records, which != Which::Evidence),
        ];
        for ((bytes, wanted), file) in parts.into_iter().zip(&mut files) {
            if wanted && !bytes.is_empty() {
                file.write_all(bytes).unwrap();
                file.sync_data().unwrap();
                syncs += 1;
            }
        }
    }
    let took = began.elapsed();
    fs::remove_file(journal).unwrap();
    fs::remove_file(pack).unwrap();
    (took, syncs)
}

/// The processor time of a process, or with `ended` of every child of it that has ended (proc(5)).
fn processor(process: &str, ended: bool) -> Duration {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let first = if ended { 13 } else { 11 };
    let ticks: u64 = fields[first..first + 2]
        .iter()
        .map(|field| field.parse::<u64>().unwrap())
        .sum();
    // A tick is a hundredth of a second on every Linux.
    Duration::from_millis(ticks * 10)
}

/// The processor time that the lab takes in `wall` when nobody asks anything of it.
fn lab_alone(place: &Path, wall: Duration) -> Duration {
    let mut lab = Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .args(["lab", "--speed", "1000", "--dir"])
        .arg(place.join("idle"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(lab.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("the lab serves"), "{line}");
    let process = lab.id().to_string();
    let before = processor(&process, false);
    std::thread::sleep(wall);
    let took = processor(&process, false).saturating_sub(before);
    lab.kill().unwrap();
    lab.wait().unwrap();
    took
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn ms(time: Duration, steps: usize) -> f64 {
    time.as_secs_f64() * 1_000.0 / f64::from(u32::try_from(steps).unwrap())
}

fn steps(place: &Path) {
    let (mut own, mut journal, mut evidence, mut all) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut busy, mut lab) = (Vec::new(), Vec::new());
    let mut syncs = (0, 0);
    for _ in 0..ROUNDS {
        let (start, _) = run(place, 1, NOTHING);
        let before = processor("self", true);
        let (took, folder) = run(place, STEPS, NOTHING);
        busy.push(processor("self", true).saturating_sub(before));
        let batches = written(&folder);
        own.push(took.saturating_sub(start));
        let [records, pieces, both] =
            [Which::Records, Which::Evidence, Which::All].map(|which| bare(place, &batches, which));
        syncs = (records.1, pieces.1);
        journal.push(records.0);
        evidence.push(pieces.0);
        all.push(both.0);
        lab.push(lab_alone(place, took));
    }
    let [own, journal, evidence, all, busy, lab] = [own, journal, evidence, all, busy, lab].map(median);
    let each = |count: usize| ms(Duration::from_secs(u64::try_from(count).unwrap()), STEPS) / 1_000.0;
    let row = |name: &str, time: Duration, more: &str| println!("  {name:<36}{:8.3} ms a step{more}", ms(time, STEPS));
    println!("{STEPS} steps that do nothing, medians of {ROUNDS}");
    row("pointsman", own, "");
    row(
        "bare journal appends + fdatasync",
        journal,
        &format!(", {:.2} syncs", each(syncs.0)),
    );
    row(
        "bare evidence appends + fdatasync",
        evidence,
        &format!(", {:.2} syncs", each(syncs.1)),
    );
    row(
        "both in their order",
        all,
        &format!(", {:.2} syncs", each(syncs.0 + syncs.1)),
    );
    println!(
        "  ratio to the bare journal appends {:.2}, to all appends {:.2}",
        own.as_secs_f64() / journal.as_secs_f64(),
        own.as_secs_f64() / all.as_secs_f64()
    );
    row(
        "processor time, all threads",
        busy,
        " (the lab's and the start's included)",
    );
    row(
        "processor time of the lab alone",
        lab,
        &format!(
            " in as much time ({:.0} % of it)",
            lab.as_secs_f64() / busy.as_secs_f64() * 100.0
        ),
    );
}

fn ansible(place: &Path) {
    let bare = {
        let began = Instant::now();
        for _ in 0..COMMANDS {
            assert!(Command::new("/bin/true").status().unwrap().success());
        }
        began.elapsed()
    };
    let (start, _) = run(place, 1, TRUE);
    let (took, _) = run(place, COMMANDS, TRUE);
    let own = took.saturating_sub(start).saturating_sub(bare);
    println!(
        "{COMMANDS} commands /bin/true ({:.2} ms each alone)",
        ms(bare, COMMANDS)
    );
    println!("  pointsman         {:8.3} ms overhead a step", ms(own, COMMANDS));
    let playbook = |tasks: usize| {
        let mut text = String::from("- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks:\n");
        for task in 0..tasks {
            writeln!(text, "    - {{ name: t{task}, command: /bin/true }}").unwrap();
        }
        let file = place.join(format!("play-{tasks}.yaml"));
        fs::write(&file, text).unwrap();
        let began = Instant::now();
        let ended = Command::new("ansible-playbook")
            .args(["-i", "localhost,", file.to_str().unwrap()])
            .output();
        let ended = ended.ok()?;
        let words = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success(), "ansible-playbook failed: {words}");
        Some(began.elapsed())
    };
    // A tenth of the tasks says as much a task: it takes some tenths of a second each.
    let tasks = COMMANDS / 10;
    match (playbook(1), playbook(tasks)) {
        (Some(start), Some(took)) => {
            let theirs = took.saturating_sub(start);
            let each = ms(theirs, tasks - 1) - ms(bare, COMMANDS);
            println!("  ansible-playbook  {each:8.3} ms overhead a task ({tasks} tasks)");
            println!("  ratio {:.1} × less", each / ms(own, COMMANDS));
        }
        (None, _) | (_, None) => println!("  ansible-playbook is not installed: not compared"),
    }
}

fn main() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    steps(place.path());
    ansible(place.path());
}
