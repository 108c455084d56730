//! The few operations of a file system that make something durable, behind one trait, so that tests can let each of
//! them fail and can tell what a power loss would leave. Whatever the journal writes goes through here; reading does
//! not.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Advice, fadvise};

/// A file system. Nothing here tries again: what a failed sync left on the disk is not known to anybody.
pub trait Disk: Send {
    /// `mkdir(2)`, for the owner alone.
    fn make_folder(&self, path: &Path) -> io::Result<()>;
    /// A file that must not exist, for the owner alone, to be appended to.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Appended>>;
    /// `fsync(2)` of a folder: its entries.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
    /// `fdatasync(2)` of a file that another process, or a failed write, may have left unsynced; what is read of it
    /// afterwards comes from the disk, as far as the system can be told so.
    fn settle(&self, path: &Path) -> io::Result<()>;
    /// `unlink(2)`.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// A file that is appended to.
pub trait Appended: Send {
    /// One `write(2)`; may be short.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// `fdatasync(2)`.
    fn sync(&mut self) -> io::Result<()>;
}

/// The file system of this machine.
#[derive(Debug, Clone, Copy)]
pub struct Real;

impl Disk for Real {
    fn make_folder(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Appended>> {
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn settle(&self, path: &Path) -> io::Result<()> {
        let file = File::open(path)?;
        file.sync_data()?;
        // After a failed write-back the system may keep pages that never reached the disk, and call them clean.
        Ok(fadvise(&file, 0, None, Advice::DontNeed)?)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

struct RealFile(File);

impl Appended for RealFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// Writes a whole file that must not exist, and syncs it; its folder is synced by the caller. A short write is a fault.
pub fn write_new(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = disk.create(path)?;
    let wrote = file.write(bytes)?;
    if wrote != bytes.len() {
        return Err(io::Error::new(
            io::ErrorKind::WriteZero,
            format!(
                "the write was short: {wrote} of {} bytes; is the disk full?",
                bytes.len()
            ),
        ));
    }
    file.sync()
}

/// Makes a folder, if it is not there, with those above it; each new one is an entry that is synced.
pub fn make_folders(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let (false, Some(above)) = (path.is_dir(), path.parent()) else {
        return Ok(());
    };
    make_folders(disk, above)?;
    match disk.make_folder(path) {
        // Somebody else was faster: the entry may not be synced yet all the same.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made?,
    }
    disk.sync_folder(above)
}

/// Makes a new folder with whole files in it; everything is durable when this returns.
pub fn new_folder(disk: &dyn Disk, path: &Path, files: &[(&str, &[u8])]) -> io::Result<()> {
    disk.make_folder(path)?;
    for (name, bytes) in files {
        write_new(disk, &path.join(name), bytes)?;
    }
    disk.sync_folder(path)?;
    path.parent().map_or(Ok(()), |above| disk.sync_folder(above))
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
