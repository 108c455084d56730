//! The power fails after every operation: nothing that anybody was told is lost, what is left can be gone on with,
//! and every blob that a record names is whole.

use std::fs;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use pointsman::journal::disk::{make_folders, new_folder};
use pointsman::journal::pack::Blob;
use pointsman::journal::reader::{read_blob, read_run};
use pointsman::journal::verify::{Require, verify};
use pointsman::journal::{Draft, JournalWriter, Record, Stamp};
use serde_json::{Value, json};

use crate::disk::{Entry, Op, TestDisk};
use crate::power::{Model, Survives};
use crate::stage::{Sat, actor, folds, place, resume, run, run_folder};

const PLAN: &[u8] = b"the plan that the run began with";

#[test]
fn a_power_loss_in_a_whole_run_takes_nothing_that_was_told() {
    let root = place();
    let disk = TestDisk::default();
    assert!(matches!(run(root.path(), &disk), Sat::Ended(0, _)));
    let cuts = every_cut(root.path(), Model::new(root.path()), &[], &disk.entries()).unwrap();
    assert!(cuts > 300, "{cuts}");
}

#[test]
fn a_power_loss_after_a_resume_from_the_middle_of_a_run_takes_nothing_that_was_told() {
    let root = place();
    let disk = TestDisk::default();
    assert!(matches!(run(root.path(), &disk), Sat::Ended(0, _)));
    let entries = disk.entries();
    let mut model = Model::new(root.path());
    for (index, entry) in entries.iter().enumerate() {
        let before = &entries[..=index];
        let Entry::Op(op) = entry else { continue };
        model.apply(op);
        if index % 41 != 0 {
            continue;
        }
        // What the disk shows to the next process; what it did is the world's, and stays.
        let next = place();
        model.show(Survives::Bytes(model.unsynced() / 2), next.path());
        let again = TestDisk::default();
        for entry in before.iter().filter(|entry| matches!(entry, Entry::Effect(..))) {
            again.push(entry.clone());
        }
        let start = Model::of(next.path());
        match resume(next.path(), &again) {
            Sat::Ended(0, _) => {}
            Sat::NeverBegan => assert!(told(before).is_empty()),
            // It was over.
            Sat::Refused(_) => assert!(index + 10 > entries.len()),
            sat @ Sat::Ended(..) => unreachable!("{sat:?} after {index}"),
        }
        every_cut(next.path(), start, before, &again.entries()).unwrap();
    }
}

#[test]
fn a_process_killed_and_a_power_loss_after_its_resume_take_nothing_that_was_told() {
    let (root, entries) = short_run();
    let mut cuts = 0;
    each_state(root.path(), &entries, |model, before| {
        // A killed process leaves everything to the system's caches, and a part of its last write.
        let mut states = vec![model.clone()];
        for part in [1, model.unsynced() / 2] {
            if part < model.unsynced() {
                let mut state = model.clone();
                state.cut_last_write(part);
                states.push(state);
            }
        }
        for state in states {
            let next = place();
            state.show(Survives::Everything, next.path());
            cuts += resumed_and_cut(next.path(), state.moved(next.path()), before);
        }
    });
    assert!(cuts > 2_000, "{cuts}");
}

#[test]
fn a_power_loss_while_the_last_one_is_repaired_takes_nothing_that_was_told() {
    let (root, entries) = short_run();
    let mut cuts = 0;
    each_state(root.path(), &entries, |model, before| {
        let loose = model.unsynced();
        if loose < 2 {
            return;
        }
        for survives in [
            Survives::Bytes(loose / 2),
            Survives::Zeroed(loose / 2),
            Survives::Zeroed(0),
        ] {
            let next = place();
            model.show(survives, next.path());
            cuts += resumed_and_cut(next.path(), Model::of(next.path()), before);
        }
    });
    assert!(cuts > 500, "{cuts}");
}

#[test]
fn a_sync_that_is_left_out_is_found() {
    let (root, entries) = short_run();
    let folder = run_folder(root.path());
    let segment = folder.join("journal/000001.jsonl");
    let needed = |op: &Op| match op {
        Op::Sync(path) => path.parent() == Some(&folder.join("blobs")) || path.ends_with("plan.json"),
        // The run's folder is synced again once it has its folders.
        Op::SyncFolder(path) => path.starts_with(root.path()) && *path != folder,
        Op::MakeFolder(_) | Op::Create(_) | Op::Write(..) | Op::Remove(_) => false,
    };
    let mut left_out = 0;
    for (index, entry) in entries.iter().enumerate() {
        let Entry::Op(op) = entry else { continue };
        let after_write =
            matches!(&entries[index.saturating_sub(1)], Entry::Op(Op::Write(path, _)) if *path == segment);
        let records = after_write && *op == Op::Sync(segment.clone());
        if needed(op) || records {
            let mut without = entries.clone();
            without.remove(index);
            let found = every_cut(root.path(), Model::new(root.path()), &[], &without);
            assert!(found.is_err(), "nobody misses {op:?}");
            left_out += 1;
        }
    }
    assert_eq!(left_out, 12);
}

#[test]
fn the_evidence_of_a_batch_costs_one_write_and_one_sync() {
    let root = place();
    let disk = TestDisk::default();
    let folder = run_folder(root.path());
    fs::create_dir_all(&folder).unwrap();
    let mut writer = JournalWriter::create_on(Box::new(disk.clone()), &folder, "r1", "boot").unwrap();
    let mut store = |pieces: &[&[u8]]| {
        let before = disk.entries().len();
        writer.store(pieces).unwrap();
        let kinds = disk.entries().into_iter().skip(before).map(|entry| match entry {
            Entry::Op(Op::Create(_)) => "create",
            Entry::Op(Op::Write(..)) => "write",
            Entry::Op(Op::Sync(_)) => "sync",
            Entry::Op(Op::SyncFolder(_)) => "sync the folder",
            other => unreachable!("{other:?}"),
        });
        kinds.collect::<Vec<_>>()
    };
    assert_eq!(store(&[]), Vec::<&str>::new());
    assert_eq!(store(&[b"one", b"two"]), ["create", "write", "sync", "sync the folder"]);
    assert_eq!(store(&[b"three", b"four", b"five"]), ["write", "sync"]);
}

#[test]
fn a_resume_that_does_not_sync_what_it_found_is_found() {
    let (root, entries) = short_run();
    let segment = run_folder(root.path()).join("journal/000001.jsonl");
    let is_sync = |entry: &Entry, path: &Path| matches!(entry, Entry::Op(Op::Sync(synced)) if synced == path);
    // Killed between the last write and its sync.
    let last = entries.iter().rposition(|entry| is_sync(entry, &segment)).unwrap();
    let before = &entries[..last];
    let mut model = Model::new(root.path());
    for entry in before {
        if let Entry::Op(op) = entry {
            model.apply(op);
        }
    }
    let next = place();
    model.show(Survives::Everything, next.path());
    let mut later = resumed(next.path(), before);
    let start = model.moved(next.path());
    every_cut(next.path(), start.clone(), before, &later).unwrap();
    let segment = run_folder(next.path()).join("journal/000001.jsonl");
    later.retain(|entry| !is_sync(entry, &segment));
    assert!(every_cut(next.path(), start, before, &later).is_err());
}

fn at(seconds: i64) -> Stamp {
    let start: DateTime<Utc> = "2026-12-05T22:00:00Z".parse().unwrap();
    Stamp {
        t: start + TimeDelta::seconds(seconds),
        mono_ns: u64::try_from(seconds).unwrap() * 1_000_000_000,
    }
}

fn draft(ev: &str, data: Value) -> Draft {
    Draft {
        actor: actor(),
        ev: ev.to_owned(),
        step: None,
        attempt: None,
        data: data.as_object().unwrap().clone(),
        blobs: Vec::new(),
    }
}

/// Appends, and remembers what was told.
fn append(writer: &mut JournalWriter, disk: &TestDisk, drafts: Vec<Draft>, seconds: i64) {
    for record in writer.append(drafts, at(seconds)).unwrap() {
        disk.push(Entry::Told(record.seq));
    }
}

fn shown(writer: &mut JournalWriter) -> Draft {
    let mut draft = draft("note", json!({ "person": "olga" }));
    draft.blobs = writer
        .store(&[b"what was shown at the gate", b"what was said"])
        .unwrap();
    draft
}

/// A run by the writer alone, left open.
fn short_run() -> (tempfile::TempDir, Vec<Entry>) {
    let root = place();
    let disk = TestDisk::default();
    let folder = run_folder(root.path());
    make_folders(&disk, folder.parent().unwrap()).unwrap();
    new_folder(&disk, &folder, &[("plan.json", PLAN)]).unwrap();
    let mut writer = JournalWriter::create_on(Box::new(disk.clone()), &folder, "r1", "boot").unwrap();
    append(&mut writer, &disk, vec![draft("genesis", json!({}))], 0);
    let first = shown(&mut writer);
    append(&mut writer, &disk, vec![first], 1);
    let second = shown(&mut writer);
    append(&mut writer, &disk, vec![second], 1);
    let long = json!({ "person": "olga", "text": "x".repeat(5_000) });
    append(
        &mut writer,
        &disk,
        vec![draft("note", json!({})), draft("note", long)],
        2,
    );
    (root, disk.entries())
}

/// The disk after each operation, with what came before.
fn each_state(root: &Path, entries: &[Entry], mut look: impl FnMut(&Model, &[Entry])) {
    let mut model = Model::new(root);
    for (index, entry) in entries.iter().enumerate() {
        if let Entry::Op(op) = entry {
            model.apply(op);
            look(&model, &entries[..=index]);
        }
    }
}

/// Goes on with what is there, and lets the power fail at every moment of that.
fn resumed_and_cut(root: &Path, start: Model, before: &[Entry]) -> usize {
    let later = resumed(root, before);
    every_cut(root, start, before, &later).unwrap()
}

/// Goes on with what is there.
fn resumed(root: &Path, before: &[Entry]) -> Vec<Entry> {
    let disk = TestDisk::default();
    let folder = run_folder(root);
    match JournalWriter::resume_on(Box::new(disk.clone()), &folder, "boot2", &actor(), at(10)) {
        Ok((mut writer, records)) => {
            for record in records {
                disk.push(Entry::Told(record.seq));
            }
            let note = shown(&mut writer);
            append(&mut writer, &disk, vec![note], 11);
            assert_eq!(read_run(&folder).unwrap().torn, []);
        }
        Err(error) => assert!(told(before).is_empty(), "{error}"),
    }
    disk.entries()
}

fn told(entries: &[Entry]) -> Vec<u64> {
    entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Told(seq) => Some(*seq),
            Entry::Op(_) | Entry::Effect(..) | Entry::Fault(_) => None,
        })
        .collect()
}

/// Lets the power fail at the end of what happened, in every way.
pub fn survives_a_power_loss(root: &Path, entries: &[Entry]) -> Result<(), String> {
    let mut model = Model::new(root);
    for entry in entries {
        if let Entry::Op(op) = entry {
            model.apply(op);
        }
    }
    let whole = read_run(&run_folder(root)).map_or_else(|_| Vec::new(), |chain| chain.records);
    for survives in model.outcomes() {
        let after = place();
        model.show(survives, after.path());
        holds(after.path(), entries, &whole).map_err(|words| format!("{words}; {survives:?}"))?;
    }
    Ok(())
}

/// Lets the power fail after each entry, in every way; gives how many ways there were, or the first that took more
/// than it may.
fn every_cut(root: &Path, mut model: Model, before: &[Entry], entries: &[Entry]) -> Result<usize, String> {
    let mut count = 0;
    let mut past = before.to_vec();
    let whole = read_run(&run_folder(root)).map_or_else(|_| Vec::new(), |chain| chain.records);
    for entry in entries {
        past.push(entry.clone());
        if let Entry::Op(op) = entry {
            model.apply(op);
        }
        for survives in model.outcomes() {
            let after = place();
            model.show(survives, after.path());
            holds(after.path(), &past, &whole)
                .map_err(|words| format!("{words}; {survives:?} after {} entries, the last {entry:?}", past.len()))?;
            count += 1;
        }
    }
    Ok(count)
}

fn holds(root: &Path, past: &[Entry], whole: &[Record]) -> Result<(), String> {
    let folder = run_folder(root);
    let told = told(past);
    let done: Vec<(&String, u32)> = past
        .iter()
        .filter_map(|entry| match entry {
            Entry::Effect(step, attempt) => Some((step, *attempt)),
            Entry::Op(_) | Entry::Told(_) | Entry::Fault(_) => None,
        })
        .collect();
    let chain = match read_run(&folder) {
        Ok(chain) => chain,
        Err(_) if told.is_empty() && done.is_empty() => return Ok(()),
        Err(error) => return Err(format!("the journal is gone: {error}")),
    };
    must(chain.faults.is_empty(), || format!("{:?}", chain.faults))?;
    for seq in told {
        let at = usize::try_from(seq - 1).unwrap();
        let kept = chain.records.get(at);
        must(kept.is_some() && kept == whole.get(at), || {
            format!("record {seq} was told and is lost")
        })?;
    }
    for (step, attempt) in done {
        let intent = |record: &Record| {
            record.ev == "effect.intent" && record.step.as_ref() == Some(step) && record.attempt == Some(attempt)
        };
        must(chain.records.iter().any(intent), || {
            format!("the effect of {step} has no intent")
        })?;
    }
    if chain.records.is_empty() {
        return Ok(());
    }
    let plan = fs::metadata(folder.join("plan.json")).map_or(0, |meta| meta.len());
    must(plan > 0, || "the plan is lost".to_owned())?;
    for about in chain.records.iter().flat_map(|record| &record.blobs) {
        must(matches!(read_blob(&folder, about), Blob::Intact(_)), || {
            format!("blob {} is lost", about.c)
        })?;
    }
    let is_there = |ev: &str| chain.records.iter().any(|record| record.ev == ev);
    must(!is_there("step.checking") || folds(root), || {
        "it cannot be gone on with".to_owned()
    })?;
    if is_there("run.closed") {
        return Ok(());
    }
    let disk = Box::new(TestDisk::default());
    let (mut writer, _) =
        JournalWriter::resume_on(disk, &folder, "boot3", &actor(), at(20)).map_err(|error| error.to_string())?;
    writer.append(vec![draft("note", json!({}))], at(21)).unwrap();
    let verdict = verify(&folder, Require::Chain);
    must(verdict.code == 1, || format!("{verdict:?}"))
}

fn must(holds: bool, words: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(words()) }
}
