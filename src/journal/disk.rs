//! The few operations of a file system that the journal relies on, behind a trait so that tests can let them fail.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// A segment that is appended to.
pub trait Disk: Send {
    /// One `write(2)`; may be short.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// `fdatasync(2)`.
    fn sync(&mut self) -> io::Result<()>;
}

/// How a new segment is opened.
pub type Open = Box<dyn Fn(&Path) -> io::Result<Box<dyn Disk>> + Send>;

struct Real(File);

impl Disk for Real {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// Creates a segment on the real file system: synced with its folder and that folder's parent.
pub fn real() -> Open {
    Box::new(|path| {
        let file = OpenOptions::new().append(true).create_new(true).open(path)?;
        file.sync_all()?;
        if let Some(folder) = path.parent() {
            sync_folder(folder)?;
            if let Some(parent) = folder.parent() {
                sync_folder(parent)?;
            }
        }
        Ok(Box::new(Real(file)))
    })
}

/// Syncs a folder's entries.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Refuses a folder on NFS: its locks and its append are not what the journal needs (`statfs(2)`).
pub fn refuse_nfs(folder: &Path) -> io::Result<()> {
    const NFS_SUPER_MAGIC: i128 = 0x6969;
    let about = rustix::fs::statfs(folder)?;
    if i128::from(about.f_type) == NFS_SUPER_MAGIC {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("{} is on NFS; give a local folder with --state-dir", folder.display()),
        ));
    }
    Ok(())
}
