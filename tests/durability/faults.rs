//! Every call of the file system fails once, in every way that it can.

use std::path::Path;

use pointsman::engine::handle::Refused;
use pointsman::journal::reader::{never_began, read_run};
use pointsman::journal::verify::{Require, verify};
use pointsman::run::Event;
use pointsman::run::event::OutcomeResult;

use crate::disk::{Entry, Fault, Kind, TestDisk};
use crate::loss::survives_a_power_loss;
use crate::stage::{Sat, place, resume, run, run_folder, started_too_late};

const EFFECTS: [&str; 3] = ["first", "second", "third"];

#[test]
fn a_full_disk_ends_the_run_before_its_next_effect() {
    every_call_fails(Kind::Full);
}

#[test]
fn a_broken_disk_ends_the_run_before_its_next_effect() {
    every_call_fails(Kind::Broken);
}

#[test]
fn a_short_write_ends_the_run_before_its_next_effect() {
    every_call_fails(Kind::Short);
}

#[test]
fn a_failed_sync_ends_the_run_before_its_next_effect() {
    every_call_fails(Kind::SyncKept);
}

#[test]
fn a_failed_sync_that_lost_the_bytes_ends_the_run_before_its_next_effect() {
    every_call_fails(Kind::SyncLost);
}

#[test]
fn an_effect_whose_turn_comes_after_the_end_is_not_begun() {
    let root = place();
    assert!(matches!(run(root.path(), &TestDisk::default()), Sat::Ended(0, _)));
    let disk = TestDisk::default();
    match started_too_late(root.path(), &disk) {
        Event::EffectOutcome { result, detail, .. } => {
            assert_eq!(result, OutcomeResult::Failed, "{detail}");
            assert!(detail.contains("nothing was sent"), "{detail}");
        }
        other => unreachable!("{other:?}"),
    }
    assert!(effects(&disk.entries()).is_empty());
}

#[track_caller]
fn every_call_fails(kind: Kind) {
    for lasting in [false, true] {
        let mut nth = 1;
        while fails(Fault { kind, nth, lasting }) {
            nth += 1;
        }
        assert!(nth > 20, "{kind:?}: only {nth} calls were found to fail");
    }
}

/// One run with one fault; false if the run was over before it came.
#[track_caller]
fn fails(fault: Fault) -> bool {
    let root = place();
    let disk = TestDisk::failing(fault);
    let sat = run(root.path(), &disk);
    let entries = disk.entries();
    let Some(at) = entries.iter().position(|entry| matches!(entry, Entry::Fault(_))) else {
        assert!(matches!(sat, Sat::Ended(0, _)), "{sat:?}");
        assert_eq!(effects(&entries), EFFECTS);
        return false;
    };
    let context = format!("{fault:?} at {:?}: {sat:?}", entries[at]);
    assert!(effects(&entries[at..]).is_empty(), "{context}");
    let began = match &sat {
        Sat::NeverBegan | Sat::Refused(Refused::Journal(_)) => false,
        Sat::Ended(7, Err(Refused::Journal(_))) => true,
        Sat::Ended(..) | Sat::Refused(_) => unreachable!("{context}"),
    };
    let folder = run_folder(root.path());
    if began || !never_began(&folder) {
        holds(&folder, &entries, &context);
    } else {
        assert!(effects(&entries).is_empty(), "{context}");
    }
    assert_eq!(survives_a_power_loss(root.path(), &entries), Ok(()), "{context}");
    goes_on(root.path(), &entries, began, &context);
    true
}

fn effects(entries: &[Entry]) -> Vec<&str> {
    entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Effect(step, _) => Some(step.as_str()),
            Entry::Op(_) | Entry::Told(_) | Entry::Fault(_) => None,
        })
        .collect()
}

/// What was told and what was done is in the journal, and the journal is whole up to the fault.
#[track_caller]
fn holds(folder: &Path, entries: &[Entry], context: &str) {
    let chain = read_run(folder).unwrap();
    assert_eq!(chain.faults, [], "{context}");
    for entry in entries {
        let found = match entry {
            Entry::Told(seq) => chain.records.iter().any(|record| record.seq == *seq),
            Entry::Effect(step, attempt) => chain.records.iter().any(|record| {
                record.ev == "effect.intent" && record.step.as_ref() == Some(step) && record.attempt == Some(*attempt)
            }),
            Entry::Op(_) | Entry::Fault(_) => true,
        };
        assert!(found, "{entry:?} is not in the journal; {context}");
    }
    let verdict = verify(folder, Require::Chain);
    let expected: &[u8] = match (chain.records.is_empty(), chain.torn.is_empty()) {
        (true, _) => &[4],
        (false, false) => &[3],
        // Its close may have reached the disk although nobody could be told.
        (false, true) => &[0, 1],
    };
    assert!(expected.contains(&verdict.code), "{verdict:?}; {context}");
}

/// On a sound disk the run goes on, repeats nothing and comes to its end.
#[track_caller]
fn goes_on(root: &Path, before: &[Entry], began: bool, context: &str) {
    let disk = TestDisk::default();
    for entry in before {
        if let Entry::Effect(..) = entry {
            disk.push(entry.clone());
        }
    }
    let folder = run_folder(root);
    let genesis = read_run(&folder).is_ok_and(|chain| !chain.records.is_empty());
    let sat = resume(root, &disk);
    if !genesis {
        assert!(!began && matches!(sat, Sat::NeverBegan), "{sat:?}; {context}");
        return;
    }
    match sat {
        Sat::Ended(0, _) => {}
        // Its close had reached the disk.
        Sat::Refused(Refused::Rejected(_)) => {}
        Sat::NeverBegan | Sat::Refused(_) | Sat::Ended(..) => unreachable!("{sat:?}; {context}"),
    }
    assert_eq!(effects(&disk.entries()), EFFECTS, "{context}");
    let verdict = verify(&folder, Require::Chain);
    assert_eq!(verdict.code, 0, "{verdict:?}; {context}");
}
