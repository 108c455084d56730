//! The one writer of a run's journal: a batch is one write and one sync. After any failure it is poisoned for good.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use serde_json::{Map, Value, json};

use super::chain::{Chain, Fault};
use super::disk::{Disk, Open, real, refuse_nfs, sync_folder};
use super::evidence::{self, BlobRef};
use super::reader::read_run;
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
    open: Open,
    disk: Box<dyn Disk>,
    segment: u32,
    seq: u64,
    head: String,
    last: Option<Stamp>,
    checkpoint: (u64, Option<Stamp>),
    poisoned: bool,
}

impl JournalWriter {
    /// A new journal in the run's folder, which exists.
    pub fn create(folder: &Path, run: &str, boot: &str) -> Result<Self, JournalError> {
        Self::create_on(folder, run, boot, real())
    }

    /// A new journal on a given disk.
    pub fn create_on(folder: &Path, run: &str, boot: &str, open: Open) -> Result<Self, JournalError> {
        let at = |source| JournalError::Io {
            path: folder.display().to_string(),
            source,
        };
        refuse_nfs(folder).map_err(at)?;
        fs::create_dir_all(folder.join("journal")).map_err(at)?;
        fs::create_dir_all(folder.join("blobs")).map_err(at)?;
        fs::write(folder.join("reserve"), vec![b'.'; RESERVE]).map_err(at)?;
        sync_folder(folder).map_err(at)?;
        Self::start(folder, run, boot, open, 1, 0, NO_PREV.to_owned(), None)
    }

    /// Goes on with a journal: its chain must be whole; a torn tail is sealed in a new segment.
    pub fn resume(folder: &Path, boot: &str, actor: &Actor, at: Stamp) -> Result<(Self, Vec<Record>), JournalError> {
        let io = |source| JournalError::Io {
            path: folder.display().to_string(),
            source,
        };
        refuse_nfs(folder).map_err(io)?;
        let Chain {
            mut records,
            faults,
            torn,
            ..
        } = read_run(folder).map_err(io)?;
        if let Some(Fault::Tampered(words) | Fault::Version(words)) = faults.first() {
            return Err(JournalError::Damaged(words.clone()));
        }
        let Some(last) = records.last() else {
            return Err(JournalError::Damaged(
                "it has no complete record: the run never began".to_owned(),
            ));
        };
        let count = super::reader::segments(folder).map_err(io)?.len();
        let segment = u32::try_from(count + 1).unwrap_or(u32::MAX);
        let (run, seq, head) = (last.run.clone(), last.seq, last.h.clone());
        let stamp = Stamp {
            t: last.t,
            mono_ns: last.mono_ns,
        };
        let mut writer = Self::start(folder, &run, boot, real(), segment, seq, head, Some(stamp))?;
        if let Some(torn) = torn {
            let data =
                json!({ "segment": torn.segment, "offset": torn.offset, "len": torn.len, "sha256": torn.sha256 });
            records.extend(writer.append(vec![own(actor, "segment.seal", data)], at)?);
        }
        Ok((writer, records))
    }

    #[expect(clippy::too_many_arguments, reason = "the two public constructors name them")]
    fn start(
        folder: &Path,
        run: &str,
        boot: &str,
        open: Open,
        segment: u32,
        seq: u64,
        head: String,
        last: Option<Stamp>,
    ) -> Result<Self, JournalError> {
        let path = segment_path(folder, segment);
        let disk = open(&path).map_err(|source| JournalError::Io {
            path: path.display().to_string(),
            source,
        })?;
        Ok(Self {
            run: run.to_owned(),
            boot: boot.to_owned(),
            folder: folder.to_owned(),
            open,
            disk,
            segment,
            seq,
            head,
            last,
            checkpoint: (seq, last),
            poisoned: false,
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
        let path = || segment_path(&self.folder, self.segment).display().to_string();
        let result = match self.disk.write(bytes) {
            Ok(wrote) if wrote == bytes.len() => self
                .disk
                .sync()
                .map_err(|source| JournalError::Io { path: path(), source }),
            Ok(wrote) => Err(JournalError::Short { wrote, of: bytes.len() }),
            Err(source) => Err(JournalError::Io { path: path(), source }),
        };
        if result.is_err() {
            self.poisoned = true;
        }
        result
    }

    /// Stores evidence, redacted by the caller; durable when this returns.
    pub fn put_blob(&mut self, bytes: &[u8]) -> Result<BlobRef, JournalError> {
        if self.poisoned {
            return Err(JournalError::Poisoned);
        }
        evidence::put(&self.folder, bytes).map_err(|source| {
            self.poisoned = true;
            JournalError::Io {
                path: self.folder.join("blobs").display().to_string(),
                source,
            }
        })
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

    fn try_halt(&mut self, actor: &Actor, reason: &str, at: Stamp) -> Result<(), JournalError> {
        let io = |source| JournalError::Io {
            path: "reserve".to_owned(),
            source,
        };
        fs::remove_file(self.folder.join("reserve")).map_err(io)?;
        let Chain {
            records, faults, torn, ..
        } = read_run(&self.folder).map_err(io)?;
        let Some(last) = records.last().filter(|_| faults.is_empty()) else {
            return Ok(());
        };
        let path = segment_path(&self.folder, self.segment + 1);
        let mut next = (self.open)(&path).map_err(io)?;
        let mut drafts = Vec::new();
        if let Some(torn) = torn {
            let data =
                json!({ "segment": torn.segment, "offset": torn.offset, "len": torn.len, "sha256": torn.sha256 });
            drafts.push(own(actor, "segment.seal", data));
        }
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
        next.write(&bytes).map_err(io)?;
        next.sync().map_err(io)
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
