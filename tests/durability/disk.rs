//! A disk for tests: it does what it is told in a real folder, remembers every operation in order, and fails when asked.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use pointsman::journal::disk::{Appended, Disk};

/// One operation that succeeded, or the bytes of a write as far as it did.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    MakeFolder(PathBuf),
    Create(PathBuf),
    Write(PathBuf, Vec<u8>),
    Sync(PathBuf),
    SyncFolder(PathBuf),
    Remove(PathBuf),
}

/// What happened, in the order in which it did.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    Op(Op),
    /// Somebody was told that the record with this number is durable.
    Told(u64),
    /// An effect took place in the world.
    Effect(String, u32),
    Fault(Op),
}

/// How a disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `ENOSPC` wherever something new needs room.
    Full,
    /// `EIO` wherever something is changed.
    Broken,
    /// A write that takes half.
    Short,
    /// A sync that fails; the bytes are there all the same.
    SyncKept,
    /// A sync that fails; the bytes are gone, as after a failed write-back.
    SyncLost,
}

/// When a disk fails.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    pub kind: Kind,
    /// Which call of those that this kind concerns, from 1.
    pub nth: u32,
    /// Whether every such call after it fails too.
    pub lasting: bool,
}

#[derive(Default)]
struct Inner {
    entries: Vec<Entry>,
    fault: Option<Fault>,
    calls: u32,
    /// What failed to sync: nothing may be done to it any more.
    untouchable: BTreeSet<PathBuf>,
}

/// The disk, and everything that happened on it and around it. Clones are the same disk.
#[derive(Clone, Default)]
pub struct TestDisk(Arc<Mutex<Inner>>);

impl TestDisk {
    pub fn failing(fault: Fault) -> Self {
        let disk = Self::default();
        disk.inner().fault = Some(fault);
        disk
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    pub fn push(&self, entry: Entry) {
        self.inner().entries.push(entry);
    }

    pub fn entries(&self) -> Vec<Entry> {
        self.inner().entries.clone()
    }

    /// Counts the call; tells whether it is to fail, and how.
    fn admit(&self, op: &Op) -> Option<Kind> {
        let mut inner = self.inner();
        let path = match op {
            Op::MakeFolder(path)
            | Op::Create(path)
            | Op::Write(path, _)
            | Op::Sync(path)
            | Op::SyncFolder(path)
            | Op::Remove(path) => path,
        };
        assert!(
            !inner.untouchable.contains(path),
            "touched after its sync failed: {op:?}"
        );
        let fault = inner.fault?;
        let concerned = match (fault.kind, op) {
            (Kind::Full, Op::MakeFolder(_) | Op::Create(_) | Op::Write(..)) => true,
            (Kind::Broken, Op::MakeFolder(_) | Op::Create(_) | Op::Write(..) | Op::Remove(_)) => true,
            (Kind::Short, Op::Write(..)) => true,
            (Kind::SyncKept | Kind::SyncLost, Op::Sync(_) | Op::SyncFolder(_)) => true,
            (Kind::Full | Kind::Broken, Op::Sync(_) | Op::SyncFolder(_)) => false,
            (Kind::Full, Op::Remove(_)) => false,
            (
                Kind::Short | Kind::SyncKept | Kind::SyncLost,
                Op::MakeFolder(_) | Op::Create(_) | Op::Write(..) | Op::Remove(_),
            ) => false,
            (Kind::Short, Op::Sync(_) | Op::SyncFolder(_)) => false,
        };
        if !concerned {
            return None;
        }
        inner.calls += 1;
        if inner.calls < fault.nth || (inner.calls > fault.nth && !fault.lasting) {
            return None;
        }
        if matches!(op, Op::Sync(_) | Op::SyncFolder(_)) {
            let path = path.clone();
            inner.untouchable.insert(path);
        }
        inner.entries.push(Entry::Fault(op.clone()));
        Some(fault.kind)
    }

    fn failed(kind: Kind) -> io::Error {
        match kind {
            Kind::Full => io::Error::from(io::ErrorKind::StorageFull),
            Kind::Broken | Kind::Short | Kind::SyncKept | Kind::SyncLost => io::Error::from_raw_os_error(5),
        }
    }

    fn plain(&self, op: Op, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if let Some(kind) = self.admit(&op) {
            return Err(Self::failed(kind));
        }
        act()?;
        self.push(Entry::Op(op));
        Ok(())
    }
}

impl Disk for TestDisk {
    fn make_folder(&self, path: &Path) -> io::Result<()> {
        self.plain(Op::MakeFolder(path.to_owned()), || fs::create_dir(path))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Appended>> {
        let op = Op::Create(path.to_owned());
        if let Some(kind) = self.admit(&op) {
            return Err(Self::failed(kind));
        }
        let file = OpenOptions::new().append(true).create_new(true).open(path)?;
        self.push(Entry::Op(op));
        Ok(Box::new(TestFile {
            disk: self.clone(),
            path: path.to_owned(),
            file,
            len: 0,
            synced: 0,
        }))
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.plain(Op::SyncFolder(path.to_owned()), || Ok(()))
    }

    fn settle(&self, path: &Path) -> io::Result<()> {
        self.plain(Op::Sync(path.to_owned()), || Ok(()))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.plain(Op::Remove(path.to_owned()), || fs::remove_file(path))
    }
}

struct TestFile {
    disk: TestDisk,
    path: PathBuf,
    file: File,
    len: usize,
    synced: usize,
}

impl Appended for TestFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = match self.disk.admit(&Op::Write(self.path.clone(), Vec::new())) {
            Some(Kind::Short) => &bytes[..bytes.len() / 2],
            Some(kind) => return Err(TestDisk::failed(kind)),
            None => bytes,
        };
        self.file.write_all(taken)?;
        self.len += taken.len();
        self.disk.push(Entry::Op(Op::Write(self.path.clone(), taken.to_vec())));
        Ok(taken.len())
    }

    fn sync(&mut self) -> io::Result<()> {
        if let Some(kind) = self.disk.admit(&Op::Sync(self.path.clone())) {
            if kind == Kind::SyncLost {
                self.file.set_len(u64::try_from(self.synced).unwrap())?;
            }
            return Err(TestDisk::failed(kind));
        }
        self.synced = self.len;
        self.disk.push(Entry::Op(Op::Sync(self.path.clone())));
        Ok(())
    }
}
