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
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pointsman::journal::pack::span;
use pointsman::journal::reader::read_run;

const STEPS: usize = 1_000;
const COMMANDS: usize = 200;
const ROUNDS: usize = 5;

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

/// What the same appends take, each with its sync, and nothing else.
struct Bare {
    /// Those of records alone, as if there were no evidence.
    records: Duration,
    /// Of those of evidence and records in their order: the ones of evidence.
    evidence: Duration,
    /// All of them in their order.
    all: Duration,
}

/// Makes a run's appends again. What is compared is done by turns, batch by batch: a disk is not as fast at every moment.
fn bare(place: &Path, batches: &[Batch]) -> Bare {
    let paths = ["alone.jsonl", "bare.pack", "bare.jsonl"].map(|name| place.join(name));
    let [mut alone, mut pack, mut journal] = paths.each_ref().map(|path| File::create_new(path).unwrap());
    let append = |file: &mut File, bytes: &[u8]| {
        let began = Instant::now();
        file.write_all(bytes).unwrap();
        file.sync_data().unwrap();
        began.elapsed()
    };
    let mut bare = Bare {
        records: Duration::ZERO,
        evidence: Duration::ZERO,
        all: Duration::ZERO,
    };
    for batch in batches {
        bare.records += append(&mut alone, &batch.records);
        if !batch.evidence.is_empty() {
            let took = append(&mut pack, &batch.evidence);
            bare.evidence += took;
            bare.all += took;
        }
        bare.all += append(&mut journal, &batch.records);
    }
    for path in paths {
        fs::remove_file(path).unwrap();
    }
    bare
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
    let (mut to_journal, mut to_all) = (Vec::new(), Vec::new());
    let (mut busy, mut lab) = (Vec::new(), Vec::new());
    let mut syncs = (0, 0);
    for _ in 0..ROUNDS {
        let (start, _) = run(place, 1, NOTHING);
        let before = processor("self", true);
        let (took, folder) = run(place, STEPS, NOTHING);
        busy.push(processor("self", true).saturating_sub(before));
        let took = took.saturating_sub(start);
        let batches = written(&folder);
        let bare = bare(place, &batches);
        syncs.0 = batches.len();
        syncs.1 = batches.iter().filter(|batch| !batch.evidence.is_empty()).count();
        own.push(took);
        to_journal.push(took.as_secs_f64() / bare.records.as_secs_f64());
        to_all.push(took.as_secs_f64() / bare.all.as_secs_f64());
        journal.push(bare.records);
        evidence.push(bare.evidence);
        all.push(bare.all);
        lab.push(lab_alone(place, took));
    }
    let count = |syncs: usize| {
        let steps = f64::from(u32::try_from(STEPS).unwrap());
        format!(", {:.2} syncs", f64::from(u32::try_from(syncs).unwrap()) / steps)
    };
    let row = |name: &str, times: &[Duration], more: &str| {
        let (best, median) = (times.iter().min().unwrap(), median(times.to_vec()));
        println!(
            "  {name:<34} best {:7.3}, median {:7.3} ms a step{more}",
            ms(*best, STEPS),
            ms(median, STEPS)
        );
    };
    println!("{STEPS} steps that do nothing, {ROUNDS} times");
    row("pointsman", &own, "");
    row("bare journal appends + fdatasync", &journal, &count(syncs.0));
    row("bare evidence appends + fdatasync", &evidence, &count(syncs.1));
    row("both in their order", &all, &count(syncs.0 + syncs.1));
    for (name, ratios, bare) in [
        ("the bare journal appends", to_journal, journal),
        ("all bare appends", to_all, all),
    ] {
        let best = own.iter().min().unwrap().as_secs_f64() / bare.iter().min().unwrap().as_secs_f64();
        println!(
            "  ratio to {name}: {:.2} in the median round, {best:.2} of the best of both",
            middle(ratios)
        );
    }
    row(
        "processor time, all threads",
        &busy,
        ", the lab's and the start's included",
    );
    row("processor time of the lab alone", &lab, " in as much time");
}

fn middle(mut ratios: Vec<f64>) -> f64 {
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
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
