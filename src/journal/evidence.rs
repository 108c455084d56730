//! Evidence on the disk: one pack for each segment of the journal, made with its first piece and only appended to. The
//! caller redacts first. Pieces are durable before a record names them; those of one batch are one write and one sync.
//!
//! Architecture invariant: a pack belongs to one sitting. What a crash leaves half written at its end is named by no
//! record and stays as it is; the next sitting has a segment, and so a pack, of its own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::disk::{Appended, Disk};
use super::pack::{Blob, BlobRef, SALT, Span, judge, length, piece_at, span, write};

/// The pack that is written.
pub struct Pack {
    file: Box<dyn Appended>,
    number: u32,
    len: u64,
    /// Its folder's entry is on the disk.
    entered: bool,
}

impl Pack {
    /// A new pack in the run's folder of blobs, which is made with the journal. It must not be there: a segment is new,
    /// and so is its pack.
    pub fn create(disk: &dyn Disk, run: &Path, number: u32) -> io::Result<Self> {
        Ok(Self {
            file: disk.create(&path(run, number))?,
            number,
            len: 0,
            entered: false,
        })
    }

    /// Stores pieces durably: one write, one sync. After a failure the pack must not be written to again.
    pub fn store(&mut self, disk: &dyn Disk, run: &Path, pieces: &[&[u8]]) -> io::Result<Vec<BlobRef>> {
        let mut batch = Vec::new();
        let mut stored = Vec::with_capacity(pieces.len());
        for bytes in pieces {
            let salt: [u8; SALT] = rand::random();
            let (entry, about) = write(&salt, bytes, self.number, self.len + length(&batch));
            batch.extend_from_slice(&entry);
            stored.push(about);
        }
        let wrote = self.file.write(&batch)?;
        if wrote != batch.len() {
            return Err(io::Error::new(
                io::ErrorKind::WriteZero,
                format!(
                    "the write was short: {wrote} of {} bytes; is the disk full?",
                    batch.len()
                ),
            ));
        }
        self.file.sync()?;
        if !self.entered {
            disk.sync_folder(&run.join("blobs"))?;
            self.entered = true;
        }
        self.len += length(&batch);
        Ok(stored)
    }
}

/// A pack's path.
pub fn path(run: &Path, number: u32) -> PathBuf {
    run.join("blobs").join(name(number))
}

fn name(number: u32) -> String {
    format!("{number:06}.pack")
}

/// Reads a piece and holds it against what the record says. Follows no symbolic link.
pub fn get(run: &Path, about: &BlobRef) -> Blob {
    let path = path(run, about.pack);
    let Some(span) = span(about) else {
        return Blob::Altered;
    };
    let len = match fs::symlink_metadata(&path) {
        Ok(meta) if meta.is_file() => meta.len(),
        Ok(_) | Err(_) => return Blob::Missing,
    };
    if span.to > len {
        return Blob::Missing;
    }
    let Ok(size) = usize::try_from(span.to - span.from) else {
        return Blob::Missing;
    };
    let mut entry = vec![0; size];
    match File::open(&path).and_then(|file| file.read_exact_at(&mut entry, span.from)) {
        Ok(()) => judge(&entry, about),
        Err(_) => Blob::Missing,
    }
}

/// What is in a run's packs besides the pieces that records name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unnamed {
    /// Whole pieces: of orders that were refused, or of a process that ended before their record.
    pub pieces: usize,
    /// A pack's end that is no whole piece: a write that a crash cut off. Its name, and how many bytes.
    pub ends: Vec<(String, u64)>,
    /// What nobody can have left there.
    pub faults: Vec<String>,
}

/// Looks through the packs of a run at what none of `named` covers.
pub fn unnamed(run: &Path, named: &[&BlobRef]) -> io::Result<Unnamed> {
    let mut spans: BTreeMap<u32, Vec<Span>> = BTreeMap::new();
    for about in named {
        spans.entry(about.pack).or_default().extend(span(about));
    }
    let mut found = Unnamed::default();
    for number in numbers(run, &mut found.faults)? {
        let pack = fs::read(path(run, number))?;
        let mut spans = spans.remove(&number).unwrap_or_default();
        spans.sort();
        let mut at = 0;
        for span in &spans {
            // What a record names is judged with its record, whatever is there.
            while at < span.from {
                match piece_at(&pack, number, at).and_then(|about| self::span(&about)) {
                    Some(piece) if piece.to <= span.from => {
                        found.pieces += 1;
                        at = piece.to;
                    }
                    Some(_) | None => {
                        let (name, to) = (name(number), span.from.min(length(&pack)));
                        found
                            .faults
                            .push(format!("bytes {at} to {to} of blobs/{name} are no evidence"));
                        at = span.from;
                    }
                }
            }
            at = at.max(span.to);
        }
        while let Some(piece) = piece_at(&pack, number, at).and_then(|about| self::span(&about)) {
            found.pieces += 1;
            at = piece.to;
        }
        let rest = length(&pack).saturating_sub(at);
        if rest > 0 {
            found.ends.push((name(number), rest));
        }
    }
    Ok(found)
}

/// The numbers of the packs that are there; what is no pack is a fault.
fn numbers(run: &Path, faults: &mut Vec<String>) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    let entries = match fs::read_dir(run.join("blobs")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(numbers),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let number = file.strip_suffix(".pack").and_then(|digits| digits.parse().ok());
        match number.filter(|number| name(*number) == file) {
            Some(number) if entry.file_type()?.is_file() => numbers.push(number),
            Some(_) | None => faults.push(format!("blobs/{file} is no pack of evidence")),
        }
    }
    numbers.sort_unstable();
    faults.sort();
    Ok(numbers)
}
