//! The one writer of a run's journal: a batch is one write and one sync. After any failure it is poisoned for good.

use std::io;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use serde_json::{Map, Value, json};

use super::chain::{Chain, Fault, Segment, Torn, read};
use super::disk::{Appended, Disk, Real, make_folders, refuse_nfs, write_new};
use super::evidence::{self, Pack};
use super::pack::BlobRef;
use super::reader::{names, segments};
use super::record::{Actor, Draft, LONGEST_LINE, NO_PREV, Place, Record, Stamp, render};

/// Records between checkpoints at most.
const CHECKPOINT_RECORDS: u64 = 100;
/// Freed when the disk is full, so that the end can be recorded.
const RESERVE: usize = 64 * 1024;

/// Why the journal could not be written or gone on with.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("{path}: {source}")]
    Io { path: String, source: io::Error },
    #[error("the write was short: {wrote} of {of} bytes")]
    Short { wrote: usize, of: usize },
    #[error("an earlier write failed; nothing more is written")]
    Poisoned,
    #[error("record \"{ev}\" would be {len} bytes; 64 KiB is the limit")]
    TooLarge { ev: String, len: usize },
    #[error("record \"{ev}\" cannot be written: {reason}")]
    Unwritable { ev: String, reason: String },
    #[error("the journal is damaged: {0}; see `pointsman verify`")]
    Damaged(String),
}

/// The writer.
pub struct JournalWriter {
    run: String,
    boot: String,
    folder: PathBuf,
    disk: Box<dyn Disk>,
    file: Box<dyn Appended>,
    /// This sitting's evidence, once there is some.
    pack: Option<Pack>,
    segment: u32,
    seq: u64,
    head: String,
    last: Option<Stamp>,
    checkpoint: (u64, Option<Stamp>),
    poisoned: bool,
    /// A sync of the segment failed: nobody knows how much of it the disk holds.
    unknown: bool,
}

impl JournalWriter {
    /// A new journal in the run's folder, which exists.
    pub fn create(folder: &Path, run: &str, boot: &str) -> Result<Self, JournalError> {
        Self::create_on(Box::new(Real), folder, run, boot)
    }

    /// A new journal on a given disk.
    pub fn create_on(disk: Box<dyn Disk>, folder: &Path, run: &str, boot: &str) -> Result<Self, JournalError> {
        let at = |source| io_at(folder, source);
        refuse_nfs(folder).map_err(at)?;
        make_folders(&*disk, &folder.join("journal")).map_err(at)?;
        make_folders(&*disk, &folder.join("blobs")).map_err(at)?;
        write_new(&*disk, &folder.join("reserve"), &[b'.'; RESERVE]).map_err(at)?;
        disk.sync_folder(folder).map_err(at)?;
        Self::start(disk, folder, run, boot, 1, None)
    }

    /// Goes on with a journal: its chain must be whole; a torn tail is sealed in a new segment.
    pub fn resume(folder: &Path, boot: &str, actor: &Actor, at: Stamp) -> Result<(Self, Vec<Record>), JournalError> {
        Self::resume_on(Box::new(Real), folder, boot, actor, at)
    }

    /// Goes on with a journal on a given disk.
    pub fn resume_on(
        disk: Box<dyn Disk>,
        folder: &Path,
        boot: &str,
        actor: &Actor,
        at: Stamp,
    ) -> Result<(Self, Vec<Record>), JournalError> {
        let io = |source| io_at(folder, source);
        refuse_nfs(folder).map_err(io)?;
        let parts = settled(&*disk, folder).map_err(io)?;
        let Chain {
            mut records,
            faults,
            torn,
            ..
        } = read(&parts);
        if let Some(Fault::Tampered(words) | Fault::Version(words)) = faults.first() {
            return Err(JournalError::Damaged(words.clone()));
        }
        let Some(last) = records.last() else {
            return Err(JournalError::Damaged(
                "it has no complete record: the run never began".to_owned(),
            ));
        };
        make_folders(&*disk, &folder.join("blobs")).map_err(io)?;
        let segment = u32::try_from(parts.len() + 1).unwrap_or(u32::MAX);
        let run = last.run.clone();
        let mut writer = Self::start(disk, folder, &run, boot, segment, Some(last))?;
        records.extend(writer.append(seals(actor, &torn), at)?);
        Ok((writer, records))
    }

    fn start(
        disk: Box<dyn Disk>,
        folder: &Path,
        run: &str,
        boot: &str,
        segment: u32,
        last: Option<&Record>,
    ) -> Result<Self, JournalError> {
        let path = segment_path(folder, segment);
        let file = new_segment(&*disk, &path).map_err(|source| io_at(&path, source))?;
        let seq = last.map_or(0, |record| record.seq);
        let last_stamp = last.map(|record| Stamp {
            t: record.t,
            mono_ns: record.mono_ns,
        });
        Ok(Self {
            run: run.to_owned(),
            boot: boot.to_owned(),
            folder: folder.to_owned(),
            disk,
            file,
            pack: None,
            segment,
            seq,
            head: last.map_or_else(|| NO_PREV.to_owned(), |record| record.h.clone()),
            last: last_stamp,
            checkpoint: (seq, last_stamp),
            poisoned: false,
            unknown: false,
        })
    }

    /// Writes a batch: one write, one sync. Returns what was written, with the records that the journal adds itself.
    pub fn append(&mut self, drafts: Vec<Draft>, at: Stamp) -> Result<Vec<Record>, JournalError> {
        if self.poisoned {
            return Err(JournalError::Poisoned);
        }
        let Some(actor) = drafts.first().map(|draft| draft.actor.clone()) else {
            return Ok(Vec::new());
        };
        let mut bytes = Vec::new();
        let mut records: Vec<Record> = Vec::with_capacity(drafts.len() + 2);
        let (seq, head) = (self.seq, self.head.clone());
        let mut add = |draft: &Draft, records: &mut Vec<Record>| {
            let (seq, prev) = records
                .last()
                .map_or((seq + 1, head.as_str()), |last| (last.seq + 1, last.h.as_str()));
            let place = Place {
                run: &self.run,
                boot: &self.boot,
                seq,
                prev,
                stamp: at,
            };
            let (line, record) = render(draft, &place).map_err(|error| JournalError::Unwritable {
                ev: draft.ev.clone(),
                reason: error.to_string(),
            })?;
            if line.len() > LONGEST_LINE {
                return Err(JournalError::TooLarge {
                    ev: draft.ev.clone(),
                    len: line.len(),
                });
            }
            bytes.extend_from_slice(&line);
            records.push(record);
            Ok(())
        };
        if let Some(by) = self.last.map(|last| last.t - at.t).filter(|by| *by > TimeDelta::zero()) {
            let by_ns = by.num_nanoseconds().unwrap_or(i64::MAX);
            // A seal has to be its segment's first record.
            if drafts.first().is_none_or(|draft| draft.ev != "segment.seal") {
                add(
                    &own(&actor, "clock.backwards", json!({ "by_ns": by_ns.to_string() })),
                    &mut records,
                )?;
            }
        }
        let mut checkpoint = self.checkpoint;
        for draft in &drafts {
            let closing = draft.ev == "run.closed";
            if closing {
                add(&checkpoint_of(&actor, seq, &head, &records), &mut records)?;
            }
            add(draft, &mut records)?;
            let now = records.last().map_or(seq, |record| record.seq);
            let old = checkpoint.1.is_none_or(|then| at.t - then.t >= TimeDelta::minutes(5));
            let due = draft.ev == "gate.granted" || now.saturating_sub(checkpoint.0) >= CHECKPOINT_RECORDS || old;
            if due && !closing && draft.ev != "genesis" && draft.ev != "segment.seal" {
                add(&checkpoint_of(&actor, seq, &head, &records), &mut records)?;
                checkpoint = (now + 1, Some(at));
            }
        }
        self.write(&bytes)?;
        self.checkpoint = checkpoint;
        self.last = Some(at);
        if let Some(last) = records.last() {
            self.seq = last.seq;
            self.head.clone_from(&last.h);
        }
        Ok(records)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), JournalError> {
        // Only success takes this back.
        self.poisoned = true;
        let path = segment_path(&self.folder, self.segment);
        let wrote = self.file.write(bytes).map_err(|source| io_at(&path, source))?;
        if wrote != bytes.len() {
            return Err(JournalError::Short { wrote, of: bytes.len() });
        }
        self.file.sync().map_err(|source| {
            self.unknown = true;
            io_at(&path, source)
        })?;
        self.poisoned = false;
        Ok(())
    }

    /// Stores pieces of evidence, redacted by the caller: one write, one sync; durable when this returns.
    pub fn store(&mut self, pieces: &[&[u8]]) -> Result<Vec<BlobRef>, JournalError> {
        if pieces.is_empty() {
            return Ok(Vec::new());
        }
        if self.poisoned {
            return Err(JournalError::Poisoned);
        }
        // Only success takes this back.
        self.poisoned = true;
        let path = evidence::path(&self.folder, self.segment);
        let stored = self.stored(pieces).map_err(|source| io_at(&path, source))?;
        self.poisoned = false;
        Ok(stored)
    }

    fn stored(&mut self, pieces: &[&[u8]]) -> io::Result<Vec<BlobRef>> {
        let pack = match &mut self.pack {
            Some(pack) => pack,
            none => none.insert(Pack::create(&*self.disk, &self.folder, self.segment)?),
        };
        pack.store(&*self.disk, &self.folder, pieces)
    }

    /// Whether a write failed.
    pub const fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// The last record's number and hash.
    pub fn head(&self) -> (u64, &str) {
        (self.seq, &self.head)
    }

    /// Says in a new segment that the run was halted, as far as the disk allows: best effort by design.
    pub fn halt(&mut self, actor: &Actor, reason: &str, at: Stamp) {
        self.poisoned = true;
        // What fails here fails because the disk is gone; the front end has been told already.
        let _best_effort = self.try_halt(actor, reason, at);
    }

    fn try_halt(&self, actor: &Actor, reason: &str, at: Stamp) -> Result<(), JournalError> {
        if self.unknown {
            // A record that follows what the disk may not hold would break the chain for good.
            return Ok(());
        }
        let reserve = self.folder.join("reserve");
        self.disk.remove(&reserve).map_err(|source| io_at(&reserve, source))?;
        let io = |source| io_at(&self.folder, source);
        let Chain {
            records, faults, torn, ..
        } = read(&settled(&*self.disk, &self.folder).map_err(io)?);
        let Some(last) = records.last().filter(|_| faults.is_empty()) else {
            return Ok(());
        };
        let mut drafts = seals(actor, &torn);
        drafts.push(own(actor, "halted", json!({ "reason": reason })));
        let (mut seq, mut prev, mut bytes) = (last.seq, last.h.clone(), Vec::new());
        for draft in &drafts {
            let place = Place {
                run: &self.run,
                boot: &self.boot,
                seq: seq + 1,
                prev: &prev,
                stamp: at,
            };
            let (line, record) = render(draft, &place).map_err(|error| JournalError::Unwritable {
                ev: draft.ev.clone(),
                reason: error.to_string(),
            })?;
            bytes.extend_from_slice(&line);
            (seq, prev) = (record.seq, record.h);
        }
        let path = segment_path(&self.folder, self.segment + 1);
        let mut next = new_segment(&*self.disk, &path).map_err(io)?;
        next.write(&bytes).map_err(io)?;
        next.sync().map_err(io)
    }
}

/// The segments, as the disk holds them: what a killed process left unsynced is durable before anything follows it.
fn settled(disk: &dyn Disk, folder: &Path) -> io::Result<Vec<Segment>> {
    let journal = folder.join("journal");
    for name in names(folder)? {
        disk.settle(&journal.join(name))?;
    }
    disk.sync_folder(&journal)?;
    segments(folder)
}

fn new_segment(disk: &dyn Disk, path: &Path) -> io::Result<Box<dyn Appended>> {
    let mut file = disk.create(path)?;
    file.sync()?;
    path.parent().map_or(Ok(()), |folder| disk.sync_folder(folder))?;
    Ok(file)
}

/// One seal for each torn tail, in their order.
fn seals(actor: &Actor, torn: &[Torn]) -> Vec<Draft> {
    let data =
        |torn: &Torn| json!({ "segment": torn.segment, "offset": torn.offset, "len": torn.len, "sha256": torn.sha256 });
    torn.iter().map(|torn| own(actor, "segment.seal", data(torn))).collect()
}

fn io_at(path: &Path, source: io::Error) -> JournalError {
    JournalError::Io {
        path: path.display().to_string(),
        source,
    }
}

fn segment_path(folder: &Path, segment: u32) -> PathBuf {
    folder.join("journal").join(format!("{segment:06}.jsonl"))
}

fn own(actor: &Actor, ev: &str, data: Value) -> Draft {
    let data = match data {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    };
    Draft {
        actor: actor.clone(),
        ev: ev.to_owned(),
        step: None,
        attempt: None,
        data,
        blobs: Vec::new(),
    }
}

fn checkpoint_of(actor: &Actor, seq: u64, head: &str, records: &[Record]) -> Draft {
    let (seq, h) = records.last().map_or((seq, head), |last| (last.seq, last.h.as_str()));
    own(actor, "checkpoint", json!({ "head_seq": seq, "head_h": h }))
}
