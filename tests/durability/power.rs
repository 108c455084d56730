//! What a disk may show after the power failed: bytes that were not synced are there, are there in part, are zeros or
//! are gone, and so are entries of folders that were not synced, each for itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::disk::Op;

#[derive(Debug, Clone)]
enum Node {
    Folder {
        now: BTreeMap<String, usize>,
        synced: BTreeMap<String, usize>,
    },
    File {
        bytes: Vec<u8>,
        synced: usize,
    },
}

/// A disk with what is on it and what its caches hold.
#[derive(Debug, Clone)]
pub struct Model {
    root: PathBuf,
    nodes: Vec<Node>,
    last_written: Option<usize>,
}

/// What survives of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survives {
    Everything,
    Nothing,
    /// Entries, and of each file so many bytes.
    Bytes(usize),
    /// Entries, and of each file so many bytes; zeros in the place of the rest.
    Zeroed(usize),
    /// Each entry and each file by a throw of dice.
    Dice(u64),
}

impl Model {
    /// A disk with one empty folder that is durable.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            nodes: vec![empty_folder()],
            last_written: None,
        }
    }

    /// What is in a folder, all of it durable: a machine that was started again.
    pub fn of(root: &Path) -> Self {
        let mut model = Self::new(root);
        model.load(0, root);
        model
    }

    /// The same disk, looked at in another place.
    pub fn moved(&self, root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            ..self.clone()
        }
    }

    fn load(&mut self, at: usize, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let id = self.nodes.len();
            if entry.file_type().unwrap().is_dir() {
                self.nodes.push(empty_folder());
                self.load(id, &entry.path());
            } else {
                let bytes = fs::read(entry.path()).unwrap();
                let synced = bytes.len();
                self.nodes.push(Node::File { bytes, synced });
            }
            let name = entry.file_name().into_string().unwrap();
            let Node::Folder { now, synced } = &mut self.nodes[at] else {
                unreachable!("a folder")
            };
            now.insert(name.clone(), id);
            synced.insert(name, id);
        }
    }

    fn find(&self, path: &Path) -> usize {
        let inside = path.strip_prefix(&self.root).unwrap();
        inside.iter().fold(0, |at, name| match &self.nodes[at] {
            Node::Folder { now, .. } => now[name.to_str().unwrap()],
            Node::File { .. } => unreachable!("{} is below a file", path.display()),
        })
    }

    fn entries(&mut self, path: &Path) -> (&mut BTreeMap<String, usize>, String) {
        let above = self.find(path.parent().unwrap());
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        match &mut self.nodes[above] {
            Node::Folder { now, .. } => (now, name),
            Node::File { .. } => unreachable!("a folder"),
        }
    }

    fn add(&mut self, path: &Path, node: Node) {
        let id = self.nodes.len();
        self.nodes.push(node);
        let (now, name) = self.entries(path);
        assert!(now.insert(name, id).is_none());
    }

    /// What an operation does. Those outside of the root are not watched.
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::MakeFolder(path) => self.add(path, empty_folder()),
            Op::Create(path) => {
                let bytes = Vec::new();
                self.add(path, Node::File { bytes, synced: 0 });
            }
            Op::Write(path, more) => {
                let at = self.find(path);
                if let Node::File { bytes, .. } = &mut self.nodes[at] {
                    bytes.extend_from_slice(more);
                }
                self.last_written = Some(at);
            }
            Op::Sync(path) => {
                let at = self.find(path);
                if let Node::File { bytes, synced } = &mut self.nodes[at] {
                    *synced = bytes.len();
                }
            }
            Op::SyncFolder(path) if path.starts_with(&self.root) => {
                let at = self.find(path);
                if let Node::Folder { now, synced } = &mut self.nodes[at] {
                    synced.clone_from(now);
                }
            }
            Op::SyncFolder(_) => {}
            Op::Remove(path) => {
                let (now, name) = self.entries(path);
                now.remove(&name);
            }
        }
    }

    /// The process was killed in the middle of its last write: so much of what is not synced was taken.
    pub fn cut_last_write(&mut self, taken: usize) {
        let at = self.last_written.unwrap();
        if let Node::File { bytes, synced } = &mut self.nodes[at] {
            bytes.truncate(*synced + taken);
        }
    }

    /// How many bytes of the last written file are not synced.
    pub fn unsynced(&self) -> usize {
        match self.last_written.map(|at| &self.nodes[at]) {
            Some(Node::File { bytes, synced }) => bytes.len() - synced,
            Some(Node::Folder { .. }) | None => 0,
        }
    }

    fn is_clean(&self) -> bool {
        self.nodes.iter().all(|node| match node {
            Node::Folder { now, synced } => now == synced,
            Node::File { bytes, synced } => bytes.len() == *synced,
        })
    }

    /// Everything that may be seen after a power loss now, as far as it is worth a try.
    pub fn outcomes(&self) -> Vec<Survives> {
        if self.is_clean() {
            return vec![Survives::Everything];
        }
        let mut all = vec![Survives::Everything, Survives::Nothing, Survives::Bytes(0)];
        all.extend((1..4).map(Survives::Dice));
        let loose = self.unsynced();
        if loose > 0 {
            let steps = (1..loose).step_by(499).chain([loose - 1]);
            all.extend(steps.map(Survives::Bytes));
            all.extend([0, loose / 2, loose - 1].map(Survives::Zeroed));
        }
        all
    }

    /// Writes down what is seen in an empty folder.
    pub fn show(&self, survives: Survives, to: &Path) {
        let mut dice = Dice(match survives {
            Survives::Dice(seed) => seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.nodes.len() as u64,
            Survives::Everything | Survives::Nothing | Survives::Bytes(_) | Survives::Zeroed(_) => 1,
        });
        self.show_folder(0, survives, &mut dice, to);
    }

    fn show_folder(&self, at: usize, survives: Survives, dice: &mut Dice, to: &Path) {
        let Node::Folder { now, synced } = &self.nodes[at] else {
            unreachable!("a folder")
        };
        let mut names: Vec<(&String, usize)> = Vec::new();
        for (name, id) in now.iter().filter(|(name, id)| synced.get(*name) != Some(id)) {
            if entry_survives(survives, dice) {
                names.push((name, *id));
            }
        }
        for (name, id) in synced {
            let gone = now.get(name) != Some(id);
            if !gone || !entry_survives(survives, dice) {
                names.push((name, *id));
            }
        }
        for (name, id) in names {
            let path = to.join(name);
            match &self.nodes[id] {
                Node::Folder { .. } => {
                    fs::create_dir(&path).unwrap();
                    self.show_folder(id, survives, dice, &path);
                }
                Node::File { bytes, synced } => {
                    let (kept, loose) = bytes.split_at(*synced);
                    fs::write(&path, [kept, &left_of(loose, survives, dice)].concat()).unwrap();
                }
            }
        }
    }
}

fn empty_folder() -> Node {
    Node::Folder {
        now: BTreeMap::new(),
        synced: BTreeMap::new(),
    }
}

fn entry_survives(survives: Survives, dice: &mut Dice) -> bool {
    match survives {
        Survives::Everything | Survives::Bytes(_) | Survives::Zeroed(_) => true,
        Survives::Nothing => false,
        Survives::Dice(_) => dice.throw(2) == 1,
    }
}

fn left_of(loose: &[u8], survives: Survives, dice: &mut Dice) -> Vec<u8> {
    match survives {
        Survives::Everything => loose.to_vec(),
        Survives::Nothing => Vec::new(),
        Survives::Bytes(count) => loose[..count.min(loose.len())].to_vec(),
        Survives::Zeroed(count) => {
            let mut bytes = vec![0; loose.len()];
            let count = count.min(loose.len());
            bytes[..count].copy_from_slice(&loose[..count]);
            bytes
        }
        Survives::Dice(_) => loose[..dice.throw(loose.len() + 1)].to_vec(),
    }
}

/// Numbers that are the same in every run of the test (xorshift).
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}
