//! Where a run's folder is, so that a copy of it is told from the folder that the run was made in: a copy has a lock of
//! its own, and may know less than the original. Must not judge who may go on.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// A folder's place, as a run's first record keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub folder: String,
    inode: u64,
    /// When the folder was made, where its file system tells (`statx(2)`). Device numbers are not kept: they change when
    /// a machine starts again.
    born: Option<String>,
}

impl Place {
    /// The place of a folder.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let about = fs::metadata(folder)?;
        let born = about.created().ok().map(DateTime::<Utc>::from);
        Ok(Self {
            folder: folder.canonicalize()?.display().to_string(),
            inode: about.ino(),
            born: born.map(|born| born.to_rfc3339_opts(SecondsFormat::Nanos, true)),
        })
    }

    /// Whether both are the same folder, which may have been moved; where nothing tells when it was made, it may not.
    pub fn is_same(&self, other: &Self) -> bool {
        let born = self.born.is_some() && self.born == other.born;
        self.inode == other.inode && (born || self.folder == other.folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_folder_is_the_same_and_a_copy_is_not() {
        let place = |folder: &str, inode, born: Option<&str>| Place {
            folder: folder.to_owned(),
            inode,
            born: born.map(str::to_owned),
        };
        let made = place("/a", 7, Some("then"));
        assert!(made.is_same(&place("/b", 7, Some("then"))), "moved");
        assert!(!made.is_same(&place("/a", 8, Some("now"))), "put back from a backup");
        assert!(
            !made.is_same(&place("/b", 7, Some("now"))),
            "the same number on another disk"
        );
        assert!(!place("/a", 7, None).is_same(&place("/b", 7, None)), "nobody can tell");
    }
}
