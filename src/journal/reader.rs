//! Reads a run's folder. Follows no symbolic links and opens nothing but plain files.

use std::fs;
use std::io;
use std::path::Path;

use super::chain::{Chain, Segment, read};
use super::evidence::get;
use super::pack::{Blob, BlobRef};

/// The names of the run's segments in order.
pub fn names(run: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(run.join("journal"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !entry.file_type()?.is_file() {
            return Err(io::Error::other(format!(
                "{} is not a plain file",
                entry.path().display()
            )));
        }
        if name.ends_with(".jsonl") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The run's segments in order.
pub fn segments(run: &Path) -> io::Result<Vec<Segment>> {
    let folder = run.join("journal");
    names(run)?
        .into_iter()
        .map(|name| {
            Ok(Segment {
                bytes: fs::read(folder.join(&name))?,
                name,
            })
        })
        .collect()
}

/// Whether nothing was ever written: no process has acted on this run. Not knowing is no yes.
pub fn never_began(run: &Path) -> bool {
    match segments(run) {
        Ok(parts) => parts.iter().all(|part| part.bytes.is_empty()),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// The run's chain.
pub fn read_run(run: &Path) -> io::Result<Chain> {
    Ok(read(&segments(run)?))
}

/// A piece of evidence, held against what its record says.
pub fn read_blob(run: &Path, about: &BlobRef) -> Blob {
    get(run, about)
}
