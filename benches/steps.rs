//! What a step costs besides what it does: 1,000 steps that do nothing, on the lab, every gate approved, every record
//! durable, beside the bare cost of the same appends and syncs on the same disk in the same run; and 200 commands
//! `/bin/true` beside `ansible-playbook` on the same ones, where it is installed (`pip install ansible-core`; with
//! `ANSIBLE_PYTHON_INTERPRETER` where it does not find its own).
//!
//! `cargo bench --bench steps` prints them. Aims: at most 1.5 × the bare appends, at most six syncs a step, at least
//! 20 × less overhead a step than ansible.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement, not a part of the program"
)]

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

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

/// What a run wrote: the bytes of each batch of its journal, the sizes of its evidence files.
fn written(folder: &Path) -> (Vec<Vec<u8>>, Vec<usize>) {
    let chain = read_run(folder).unwrap();
    let mut batches: Vec<Vec<u8>> = Vec::new();
    let mut last = None;
    let segment = fs::read(folder.join("journal/000001.jsonl")).unwrap();
    for (record, line) in chain.records.iter().zip(segment.split_inclusive(|byte| *byte == b'\n')) {
        // The records of a batch bear one stamp.
        if last == Some(record.mono_ns) {
            batches.last_mut().unwrap().extend_from_slice(line);
        } else {
            batches.push(line.to_vec());
        }
        last = Some(record.mono_ns);
    }
    let blobs = fs::read_dir(folder.join("blobs")).unwrap();
    let sizes = blobs.map(|entry| usize::try_from(entry.unwrap().metadata().unwrap().len()).unwrap());
    (batches, sizes.collect())
}

/// The same appends, each with its sync, and nothing else.
fn bare_appends(place: &Path, batches: &[Vec<u8>]) -> Duration {
    let path = place.join("bare.jsonl");
    let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
    let began = Instant::now();
    for batch in batches {
        file.write_all(batch).unwrap();
        file.sync_data().unwrap();
    }
    let took = began.elapsed();
    fs::remove_file(path).unwrap();
    took
}

/// The same evidence files, each with its sync, a sync of their folder for every second one (a blob and its salt).
fn bare_blobs(place: &Path, sizes: &[usize]) -> Duration {
    let folder = place.join("bare-blobs");
    fs::create_dir(&folder).unwrap();
    let began = Instant::now();
    for (index, size) in sizes.iter().enumerate() {
        let mut file = File::create(folder.join(index.to_string())).unwrap();
        file.write_all(&vec![b'.'; *size]).unwrap();
        file.sync_data().unwrap();
        if index % 2 == 1 {
            File::open(&folder).unwrap().sync_all().unwrap();
        }
    }
    let took = began.elapsed();
    fs::remove_dir_all(folder).unwrap();
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
    let mut own = Vec::new();
    let mut bare = Vec::new();
    let mut blobs = Vec::new();
    let mut syncs = 0;
    for _ in 0..ROUNDS {
        let (start, _) = run(place, 1, NOTHING);
        let (took, folder) = run(place, STEPS, NOTHING);
        let (batches, sizes) = written(&folder);
        syncs = batches.len();
        own.push(took.saturating_sub(start));
        bare.push(bare_appends(place, &batches));
        blobs.push(bare_blobs(place, &sizes));
    }
    let (own, bare, blobs) = (median(own), median(bare), median(blobs));
    println!("{STEPS} steps that do nothing, medians of {ROUNDS}");
    println!("  pointsman                    {:8.3} ms a step", ms(own, STEPS));
    println!(
        "  bare appends + fdatasync     {:8.3} ms a step, {:.2} syncs",
        ms(bare, STEPS),
        f64::from(u32::try_from(syncs).unwrap()) / f64::from(u32::try_from(STEPS).unwrap())
    );
    println!("  bare evidence files + syncs  {:8.3} ms a step", ms(blobs, STEPS));
    println!(
        "  ratio to the bare appends {:.2}, to appends and evidence {:.2}",
        own.as_secs_f64() / bare.as_secs_f64(),
        own.as_secs_f64() / (bare + blobs).as_secs_f64()
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
