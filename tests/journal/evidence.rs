//! Evidence in packs: any altered byte is found, erased is told from altered and from missing, what a crash leaves at a
//! pack's end harms nobody, stock tools can hold a piece against its record.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pointsman::journal::pack::Blob;
use pointsman::journal::reader::{read_blob, read_run};
use pointsman::journal::verify::{Require, Verdict, verify};
use pointsman::journal::{BlobRef, JournalWriter};
use proptest::prelude::*;
use serde_json::json;

use super::{actor, asked, at, code, draft, granted, intent, outcome, segment, voted};

const SHOWN: &[u8] = b"what was shown\n{\"c\":\"00\",\"n\":3}\n";
const SAID: &[u8] = "größer als 漢字".as_bytes();

/// A closed run whose first record with evidence names two pieces, another one more.
fn run(folder: &Path) -> Vec<BlobRef> {
    let mut writer = JournalWriter::create(folder, "r1", "boot").unwrap();
    writer.append(vec![draft("genesis", None, json!({}))], at(0)).unwrap();
    let mut blobs = writer.store(&[SHOWN, SAID]).unwrap();
    let mut shown = asked(1, "freeze");
    shown.blobs.clone_from(&blobs);
    writer.append(vec![shown], at(1)).unwrap();
    writer.append(vec![voted(1, "olga"), granted(1)], at(2)).unwrap();
    writer.append(vec![intent(1, "freeze")], at(3)).unwrap();
    let more = writer.store(&[b""]).unwrap();
    let mut ended = outcome("freeze");
    ended.blobs.clone_from(&more);
    writer.append(vec![ended], at(4)).unwrap();
    close(&mut writer, 5);
    blobs.extend(more);
    blobs
}

fn close(writer: &mut JournalWriter, seconds: i64) {
    let closed = draft("run.closed", None, json!({ "state": "committed", "exit": 0 }));
    writer.append(vec![closed], at(seconds)).unwrap();
}

fn pack(folder: &Path) -> PathBuf {
    folder.join("blobs/000001.pack")
}

fn verdict(folder: &Path) -> Verdict {
    verify(folder, Require::Chain)
}

fn place(about: &BlobRef) -> (usize, usize) {
    let at = usize::try_from(about.at).unwrap();
    (at, at + 32 + usize::try_from(about.n).unwrap())
}

#[test]
fn the_evidence_of_a_sitting_is_one_pack_and_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = run(folder.path());
    let names: Vec<_> = fs::read_dir(folder.path().join("blobs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["000001.pack"]);
    let read: Vec<Blob> = blobs.iter().map(|about| read_blob(folder.path(), about)).collect();
    let whole = [SHOWN, SAID, b""].map(|bytes| Blob::Intact(bytes.to_vec()));
    assert_eq!(read, whole);
    let verdict = verdict(folder.path());
    assert_eq!((verdict.code, verdict.blobs), (0, 3), "{verdict:?}");
    assert_eq!(verdict.remarks, Vec::<String>::new());
}

#[test]
fn the_same_bytes_twice_are_two_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = JournalWriter::create(folder.path(), "r1", "boot").unwrap();
    let stored = writer.store(&[SHOWN, SHOWN]).unwrap();
    assert_ne!(
        stored[0].c, stored[1].c,
        "the digest must not tell that they are the same"
    );
    for about in &stored {
        assert_eq!(read_blob(folder.path(), about), Blob::Intact(SHOWN.to_vec()));
    }
}

#[test]
fn erased_altered_and_missing_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = run(folder.path());
    let whole = fs::read(pack(folder.path())).unwrap();
    let look = |bytes: &[u8]| {
        fs::write(pack(folder.path()), bytes).unwrap();
        read_blob(folder.path(), &blobs[0])
    };
    let (from, to) = place(&blobs[0]);
    let mut erased = whole.clone();
    erased[from..to].fill(0);
    assert_eq!(look(&erased), Blob::Erased);
    let verdict_of_erased = verdict(folder.path());
    assert_eq!((verdict_of_erased.code, verdict_of_erased.erased), (4, 1));
    let finding = &verdict_of_erased.findings[0];
    assert!(finding.contains("was erased, and no record says"), "{finding}");
    assert_eq!(verdict_of_erased.findings.len(), 1, "the others are what they were");
    // Zeros in a part of it are no erasure: somebody altered it, or an erasure was cut off.
    let mut partly = whole.clone();
    partly[from..to - 1].fill(0);
    assert_eq!(look(&partly), Blob::Altered);
    let mut without_salt = whole.clone();
    without_salt[from..from + 32].fill(0);
    assert_eq!(look(&without_salt), Blob::Altered);
    assert_eq!(look(&whole[..to]), Blob::Missing);
    assert!(
        verdict(folder.path())
            .findings
            .iter()
            .any(|words| words.contains("is missing"))
    );
    fs::remove_file(pack(folder.path())).unwrap();
    assert_eq!(read_blob(folder.path(), &blobs[0]), Blob::Missing);
    assert_eq!(code(folder.path()), 4);
    std::os::unix::fs::symlink("/dev/zero", pack(folder.path())).unwrap();
    assert_eq!(read_blob(folder.path(), &blobs[0]), Blob::Missing);
    assert_eq!(code(folder.path()), 4);
}

#[test]
fn a_record_cannot_point_out_of_its_pack() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = run(folder.path());
    let lying = |change: fn(&mut BlobRef)| {
        let mut about = blobs[1].clone();
        change(&mut about);
        read_blob(folder.path(), &about)
    };
    assert_eq!(lying(|about| about.at = 0), Blob::Altered);
    assert_eq!(lying(|about| about.at += 1), Blob::Altered);
    assert_eq!(lying(|about| about.at = u64::MAX), Blob::Altered);
    assert_eq!(lying(|about| about.n = u64::MAX), Blob::Altered);
    assert_eq!(lying(|about| about.n = 10_000), Blob::Missing);
    assert_eq!(lying(|about| about.n -= 1), Blob::Altered);
    assert_eq!(lying(|about| about.c = "../../etc/passwd".to_owned()), Blob::Altered);
    assert_eq!(lying(|about| about.pack = 2), Blob::Missing);
}

#[test]
fn what_a_crash_left_in_a_pack_is_said_and_harms_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = JournalWriter::create(folder.path(), "r1", "boot").unwrap();
    writer.append(vec![draft("genesis", None, json!({}))], at(0)).unwrap();
    // A refused order, a recorded one, and one whose record never came to be.
    writer.store(&[b"for a command that was refused"]).unwrap();
    let mut note = draft("note", None, json!({ "person": "olga" }));
    note.blobs = writer.store(&[SAID]).unwrap();
    let first = note.blobs[0].clone();
    writer.append(vec![note], at(1)).unwrap();
    writer.store(&[SHOWN]).unwrap();
    drop(writer);
    let whole = fs::read(pack(folder.path())).unwrap();
    let torn = &whole[..whole.len() - 3];
    fs::write(pack(folder.path()), torn).unwrap();
    let (mut writer, _) = JournalWriter::resume(folder.path(), "boot2", &actor(), at(10)).unwrap();
    let mut note = draft("note", None, json!({ "person": "olga" }));
    note.blobs = writer.store(&[SHOWN]).unwrap();
    let second = note.blobs[0].clone();
    assert_eq!((first.pack, second.pack), (1, 2), "a sitting has a pack of its own");
    writer.append(vec![note], at(11)).unwrap();
    close(&mut writer, 12);
    assert_eq!(fs::read(pack(folder.path())).unwrap(), torn, "nothing is cut off");
    assert_eq!(read_blob(folder.path(), &first), Blob::Intact(SAID.to_vec()));
    assert_eq!(read_blob(folder.path(), &second), Blob::Intact(SHOWN.to_vec()));
    let verdict = verdict(folder.path());
    assert_eq!(verdict.code, 0, "{verdict:?}");
    assert!(
        verdict.remarks[0].contains("1 pieces of evidence are named by no record"),
        "{verdict:?}"
    );
    assert!(
        verdict.remarks[1].contains("bytes of blobs/000001.pack are no whole piece"),
        "{verdict:?}"
    );
}

#[test]
fn evidence_that_nobody_can_have_left_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = JournalWriter::create(folder.path(), "r1", "boot").unwrap();
    writer.append(vec![draft("genesis", None, json!({}))], at(0)).unwrap();
    let refused = writer.store(&[SHOWN]).unwrap();
    let mut note = draft("note", None, json!({ "person": "olga" }));
    note.blobs = writer.store(&[SAID]).unwrap();
    let blobs = note.blobs.clone();
    writer.append(vec![note], at(1)).unwrap();
    close(&mut writer, 2);
    let whole = fs::read(pack(folder.path())).unwrap();
    // Nobody names it, but it was stored whole, or nothing could come after it.
    let mut altered = whole.clone();
    altered[place(&refused[0]).0] ^= 1;
    fs::write(pack(folder.path()), altered).unwrap();
    let found = verdict(folder.path());
    assert_eq!(found.code, 4);
    assert!(
        found.findings.iter().any(|words| words.contains("are no evidence")),
        "{found:?}"
    );
    fs::write(pack(folder.path()), whole).unwrap();
    assert_eq!(code(folder.path()), 0);
    let stray = folder.path().join("blobs").join(&blobs[0].c);
    fs::write(&stray, SHOWN).unwrap();
    let found = verdict(folder.path());
    assert_eq!(found.code, 4);
    assert!(found.findings[0].contains("is no pack of evidence"), "{found:?}");
}

#[test]
fn evidence_in_a_file_for_each_piece_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path());
    let text = fs::read_to_string(segment(folder.path())).unwrap();
    let first = text.lines().find(|line| line.contains("\"pack\":1")).unwrap();
    let (head, tail) = first.split_once(",\"pack\":1").unwrap();
    let tail = tail.split_once('}').unwrap().1;
    let body = format!("{head}}}{}", tail.rsplit_once(",\"h\":").unwrap().0);
    let before: String = text
        .lines()
        .take_while(|line| *line != first)
        .map(|line| format!("{line}\n"))
        .collect();
    let h = pointsman::journal::record::hex_sha256(body.as_bytes());
    fs::write(segment(folder.path()), format!("{before}{body},\"h\":\"{h}\"}}\n")).unwrap();
    let found = verdict(folder.path());
    assert_eq!(found.code, 2, "{found:?}");
    assert!(
        found.findings[0].contains("as a pointsman before this one wrote it"),
        "{found:?}"
    );
    let resumed = JournalWriter::resume(folder.path(), "boot2", &actor(), at(10)).map(drop);
    assert!(resumed.unwrap_err().to_string().contains("before this one wrote it"));
    assert_eq!(read_run(folder.path()).unwrap().records.len(), before.lines().count());
}

/// The commands of the README that check pieces of evidence.
fn stock_commands() -> String {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let mut blocks = readme
        .split("```sh\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    blocks.find(|block| block.contains(".pack")).unwrap().to_owned()
}

fn stock(folder: &Path) -> String {
    let ended = Command::new("sh")
        .args(["-c", &stock_commands()])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(ended.status.success(), "{ended:?}");
    String::from_utf8(ended.stdout).unwrap()
}

#[test]
fn stock_tools_hold_each_piece_against_its_record() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = run(folder.path());
    let line = |about: &BlobRef, word: &str| format!("{} {word}\n", about.c);
    let fits: String = blobs.iter().map(|about| line(about, "fits")).collect();
    assert_eq!(stock(folder.path()), fits);
    let mut bytes = fs::read(pack(folder.path())).unwrap();
    bytes[place(&blobs[1]).1 - 1] ^= 1;
    fs::write(pack(folder.path()), bytes).unwrap();
    let altered = [
        line(&blobs[0], "fits"),
        line(&blobs[1], "DOES NOT FIT"),
        line(&blobs[2], "fits"),
    ];
    assert_eq!(stock(folder.path()), altered.concat());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_flipped_bit_of_a_pack_is_found(place in any::<prop::sample::Index>(), bit in 0u8..8) {
        let folder = tempfile::tempdir().unwrap();
        run(folder.path());
        let mut bytes = fs::read(pack(folder.path())).unwrap();
        let at = place.index(bytes.len());
        bytes[at] ^= 1 << bit;
        fs::write(pack(folder.path()), bytes).unwrap();
        prop_assert_eq!(code(folder.path()), 4);
    }

    #[test]
    fn any_piece_cut_out_or_put_in_is_found(from in any::<prop::sample::Index>(), count in 1usize..80) {
        let folder = tempfile::tempdir().unwrap();
        run(folder.path());
        let whole = fs::read(pack(folder.path())).unwrap();
        let at = from.index(whole.len());
        let without = [&whole[..at], &whole[(at + count).min(whole.len())..]].concat();
        fs::write(pack(folder.path()), without).unwrap();
        prop_assert_eq!(code(folder.path()), 4);
        let with = [&whole[..at], &vec![0; count], &whole[at..]].concat();
        fs::write(pack(folder.path()), with).unwrap();
        prop_assert_eq!(code(folder.path()), 4);
    }
}
