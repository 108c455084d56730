//! The engine is killed (SIGKILL) before and after every operation of its journal, between every send and its
//! acknowledgement, and at random; each time it goes on in a new process. A child process is the victim: the real
//! dispatcher, executor and journal over a scripted world whose ledger, on disk, is the judge.
//!
//! - `./tests/run` runs a fixed sample.
//! - `POINTSMAN_CRASH=all cargo test --release --test crash_matrix every` runs every case.
//! - `POINTSMAN_KILLS=10000 cargo test --release --test crash_matrix random` kills so often at random moments.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

mod child;
#[path = "../support/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use pointsman::journal::Record;
use pointsman::journal::reader::read_run;
use pointsman::journal::verify::{Require, verify};
use serde_json::Value;

use child::{Errand, Mode};

/// The runbooks: what they are called, and whether they are unwound on the way.
const RUNBOOKS: &[&str] = &["linear", "parallel", "unwound"];

#[test]
fn child_main() {
    child::main();
}

/// How a child ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Killed,
    Exit(u8),
}

fn start(folder: &Path, errand: &Errand) -> Ended {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_main", "--nocapture", "--test-threads=1"])
        .env("POINTSMAN_VICTIM", errand.to_text(folder))
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    match (output.status.signal(), output.status.code()) {
        (Some(9), _) => Ended::Killed,
        (None, Some(0)) => {
            let exit = fs::read_to_string(folder.join("exit")).unwrap();
            Ended::Exit(exit.parse().unwrap())
        }
        (signal, code) => unreachable!(
            "{errand:?}: signal {signal:?}, code {code:?}\n{}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
    }
}

fn place() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// One case: a run that is killed at each of `kills` in turn, then goes on to its end.
#[derive(Debug, Clone)]
struct Case {
    runbook: &'static str,
    kills: Vec<u32>,
    /// Nothing can be observed afterwards: every open effect has to be asked about.
    blind: bool,
}

/// What cases came to.
#[derive(Default)]
struct Count {
    cases: AtomicU32,
    kills: AtomicU32,
    asked: AtomicU32,
    never_began: AtomicU32,
}

fn survive(case: &Case, count: &Count) {
    let place = place();
    let folder = place.path();
    let mut mode = Mode::Run;
    let mut asked = 0;
    for kill in case.kills.iter().copied().map(Some).chain(std::iter::repeat(None)) {
        let errand = Errand {
            runbook: case.runbook.to_owned(),
            mode,
            kill,
            blind: case.blind,
        };
        let before = open_mutations(folder);
        match start(folder, &errand) {
            Ended::Killed => {
                count.kills.fetch_add(1, Ordering::Relaxed);
            }
            Ended::Exit(0) => break,
            // It was unwound to a step after it went on, and is held there: a person releases it.
            Ended::Exit(3) => assert!(case.runbook == "unwound" && mode != Mode::Run, "{case:?}"),
            Ended::Exit(6) => {
                assert!(case.blind, "{case:?}: in doubt in a world that can be observed");
                assert!(
                    mode == Mode::Decide || !before.is_empty(),
                    "{case:?}: in doubt about nothing"
                );
                asked += 1;
                count.asked.fetch_add(1, Ordering::Relaxed);
                mode = Mode::Decide;
                continue;
            }
            Ended::Exit(exit) => unreachable!("{case:?}: exit {exit}"),
        }
        mode = next(folder);
        if mode == Mode::Run {
            // Killed before its first record was whole: nothing was executed, and there is nothing to go on with.
            assert!(world::entries(&folder.join("ledger")).is_empty(), "{case:?}");
            count.never_began.fetch_add(1, Ordering::Relaxed);
            fs::remove_dir_all(folder.join("run")).unwrap();
            fs::remove_file(folder.join("heard")).ok();
        }
        assert!(asked < 200, "{case:?}: it does not end");
    }
    judge(case, folder);
    count.cases.fetch_add(1, Ordering::Relaxed);
}

fn next(folder: &Path) -> Mode {
    let began = read_run(&folder.join("run")).is_ok_and(|chain| !chain.records.is_empty());
    if began { Mode::Resume } else { Mode::Run }
}

/// Mutations whose intent is recorded and whose outcome is not.
fn open_mutations(folder: &Path) -> BTreeSet<(String, String)> {
    let Ok(chain) = read_run(&folder.join("run")) else {
        return BTreeSet::new();
    };
    let mut open = BTreeSet::new();
    for record in &chain.records {
        let about = (record.step.clone().unwrap_or_default(), text(record, "role").to_owned());
        match record.ev.as_str() {
            "effect.intent" if record.data["mutates"] == Value::Bool(true) => {
                open.insert(about);
            }
            "effect.outcome" if text(record, "result") != "in_doubt" => {
                open.remove(&about);
            }
            "effect.decided" => {
                open.remove(&about);
            }
            _ => {}
        }
    }
    open
}

fn text<'a>(record: &'a Record, key: &str) -> &'a str {
    record.data.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Nothing happened twice, nothing happened without its intent, nothing that was told is lost.
fn judge(case: &Case, folder: &Path) {
    let records = read_run(&folder.join("run")).unwrap().records;
    let known: BTreeMap<u64, &Record> = records.iter().map(|record| (record.seq, record)).collect();
    let heard = fs::read_to_string(folder.join("heard")).unwrap();
    // The last line may have been cut by a kill.
    let lines = heard
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    for event in lines.filter(|event| event["seq"].is_u64()) {
        let kept = known.get(&event["seq"].as_u64().unwrap());
        assert!(
            kept.is_some_and(|record| event["ev"] == record.ev.as_str()),
            "{case:?}: an event that was told is lost: {event}"
        );
    }
    let happened = world::entries(&folder.join("ledger"));
    let keys: BTreeSet<&str> = happened.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(
        keys.len(),
        happened.len(),
        "{case:?}: an effect happened twice: {happened:?}"
    );
    for entry in &happened {
        let role = if entry.sql.starts_with("insert") { "undo" } else { "do" };
        let intended = records.iter().any(|record| {
            record.ev == "effect.intent"
                && record.step.as_deref() == Some(entry.step.as_str())
                && record.attempt == Some(entry.attempt)
                && text(record, "role") == role
        });
        assert!(intended, "{case:?}: {entry:?} happened without its intent");
    }
    assert!(open_mutations(folder).is_empty(), "{case:?}");
    let verdict = verify(&folder.join("run"), Require::Chain);
    assert_eq!(verdict.code, 0, "{case:?}: {verdict:?}");
}

/// How many moments a run has in which it can be killed.
fn moments(runbook: &'static str) -> u32 {
    let place = place();
    let errand = Errand {
        runbook: runbook.to_owned(),
        mode: Mode::Run,
        kill: None,
        blind: false,
    };
    assert_eq!(start(place.path(), &errand), Ended::Exit(0), "{runbook}");
    fs::read_to_string(place.path().join("ticks")).unwrap().parse().unwrap()
}

fn all(cases: &[Case]) -> Count {
    let (next, count) = (AtomicUsize::new(0), Count::default());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::SeqCst)) {
                    survive(case, &count);
                }
            });
        }
    });
    count
}

fn say(what: &str, cases: usize, count: &Count) {
    let load = |number: &AtomicU32| number.load(Ordering::Relaxed);
    assert_eq!(usize::try_from(load(&count.cases)).unwrap(), cases);
    eprintln!(
        "{what}: {cases} cases, {} kills, {} before the first record, {} doubts decided by a person",
        load(&count.kills),
        load(&count.never_began),
        load(&count.asked)
    );
}

#[test]
fn killed_around_every_operation_nothing_is_lost_or_done_twice() {
    let every = std::env::var("POINTSMAN_CRASH").is_ok_and(|all| all == "all");
    let mut cases = Vec::new();
    for runbook in RUNBOOKS {
        let moments = moments(runbook);
        eprintln!("{runbook}: {moments} moments");
        for kill in 1..=moments {
            // Once, and in a world that cannot be observed; twice, the second time soon after it went on.
            let case = |kills: Vec<u32>, blind| Case { runbook, kills, blind };
            cases.push(case(vec![kill], false));
            cases.push(case(vec![kill, 1 + kill % 37], false));
            if kill % 2 == 0 {
                cases.push(case(vec![kill], true));
            }
        }
    }
    let step = if every { 1 } else { 29 };
    let chosen: Vec<Case> = cases.iter().step_by(step).cloned().collect();
    let count = all(&chosen);
    say("around every operation", chosen.len(), &count);
    assert!(!every || chosen.len() >= 1_600, "only {} cases", chosen.len());
}

#[test]
fn killed_at_random_moments_nothing_is_lost_or_done_twice() {
    let kills: u32 = std::env::var("POINTSMAN_KILLS").map_or(30, |kills| kills.parse().unwrap());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut roll = move |sides: u32| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        u32::try_from((state >> 33) % u64::from(sides)).unwrap()
    };
    let mut cases = Vec::new();
    let mut planned = 0;
    while planned < kills {
        let runbook = RUNBOOKS[usize::try_from(roll(3)).unwrap()];
        let kills: Vec<u32> = (0..=roll(4)).map(|_| 1 + roll(300)).collect();
        planned += u32::try_from(kills.len()).unwrap();
        cases.push(Case {
            runbook,
            kills,
            blind: roll(4) == 0,
        });
    }
    let count = all(&cases);
    say("at random", cases.len(), &count);
}
