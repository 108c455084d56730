//! The program itself on a disk that fills up: a tiny file system in memory, mounted for the test alone. Where this
//! machine does not allow that (`unshare(1)` and `mount(8)` need rights), a limit on the size of files stands in.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use pointsman::journal::reader::read_run;
use pointsman::journal::verify::{Require, verify};

const STEPS: usize = 24;

/// A runbook without a lab, whose effects are lines of a file on another disk.
fn runbook(folder: &Path) -> String {
    let world = folder.join("world");
    let mut text = String::from(
        "version: 1\nname: filling\ntitle: \"Fills a disk\"\n\
         environments:\n  dress: { kind: rehearsal, auto_approve: true, people: { olga: { name: Olga, org: o, roles: [lead] } } }\n\
         phases:\n  - id: one\n    steps:\n",
    );
    for step in 0..STEPS {
        text.push_str(&format!(
            "      - id: s{step}\n        title: Step {step}\n        uses: shell.command\n        \
             with: {{ argv: [sh, -c, \"echo s{step} >> {}\"] }}\n        rollback: {{ not_needed: it is a test }}\n",
            world.display()
        ));
    }
    let path = folder.join("filling.yaml");
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// Runs the program with its state on a file system of so many KiB; the state is copied out afterwards.
fn on_a_small_disk(folder: &Path, kib: u32) -> Output {
    let script = r#"
        mount -t tmpfs -o "size=${1}k" none "$2/small" || exit 99
        "$3" run "$4" --env dress --as olga --headless --approve-all --state-dir "$2/small/state"
        code=$?
        cp -r "$2/small/state" "$2/state" || exit 98
        exit $code
    "#;
    fs::create_dir(folder.join("small")).unwrap();
    Command::new("unshare")
        .args(["-m", "sh", "-c", script, "sh", &kib.to_string()])
        .arg(folder)
        .arg(env!("CARGO_BIN_EXE_pointsman"))
        .arg(runbook(folder))
        .output()
        .unwrap()
}

/// The same under a limit on the size of each file, in units of 512 bytes or 1 KiB, as the shell has it.
fn under_a_limit(folder: &Path, blocks: u32) -> Output {
    let script = r#"trap '' XFSZ; ulimit -f "$1" && exec "$3" run "$4" --env dress --as olga --headless --approve-all --state-dir "$2/state""#;
    Command::new("sh")
        .args(["-c", script, "sh", &blocks.to_string()])
        .arg(folder)
        .arg(env!("CARGO_BIN_EXE_pointsman"))
        .arg(runbook(folder))
        .output()
        .unwrap()
}

fn may_mount() -> bool {
    Command::new("unshare")
        .args(["-m", "sh", "-c", "mount -t tmpfs -o size=64k none /mnt"])
        .output()
        .is_ok_and(|output| output.status.success())
}

#[test]
fn on_a_full_disk_the_program_ends_with_7_and_does_nothing_more() {
    let mounts = may_mount();
    let (mut sevens, mut acted) = (0, 0);
    for room in (1..40).map(|step| step * 8) {
        let folder = tempfile::tempdir().unwrap();
        let output = if mounts {
            on_a_small_disk(folder.path(), room)
        } else {
            under_a_limit(folder.path(), room)
        };
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = output.status.code();
        let done = fs::read_to_string(folder.path().join("world")).unwrap_or_default();
        if code == Some(0) {
            assert_eq!(done.lines().count(), STEPS);
            continue;
        }
        if code == Some(1) {
            // The journal had room, the command's own note beside it had none: the step failed, nothing was sent.
            intents_cover(folder.path(), &done);
            continue;
        }
        assert_eq!(code, Some(7), "{room}: {words}");
        sevens += 1;
        acted += usize::from(!done.is_empty());
        intents_cover(folder.path(), &done);
    }
    assert!(
        sevens > 3 && acted > 1,
        "{sevens} runs ended with 7, {acted} of them after an effect"
    );
}

/// Every effect has its intent in the journal, and the journal is whole.
fn intents_cover(folder: &Path, done: &str) {
    let Ok(runs) = fs::read_dir(folder.join("state/runs")) else {
        assert_eq!(done, "");
        return;
    };
    let runs: Vec<_> = runs.map(|entry| entry.unwrap().path()).collect();
    if runs.is_empty() {
        assert_eq!(done, "");
        return;
    }
    let chain = read_run(&runs[0]).unwrap();
    assert_eq!(chain.faults, []);
    for step in done.lines() {
        let intent =
            |record: &pointsman::journal::Record| record.ev == "effect.intent" && record.step.as_deref() == Some(step);
        assert!(chain.records.iter().any(intent), "{step} has no intent");
    }
    let code = verify(&runs[0], Require::Chain).code;
    assert!([1, 3].contains(&code), "{code}");
}
