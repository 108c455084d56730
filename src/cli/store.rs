//! Where runs are kept: one folder a run under the state folder. Owns names and files; the journal inside a run's
//! folder belongs to `journal`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rand::RngExt;

use crate::journal::disk::{Disk, Real, make_folders, new_folder, write_new};
use crate::provider::shell::attempt::Attempts;
use crate::runbook::digest::sha256;
use crate::runbook::plan::Plan;

use super::reading::Source;
use super::trouble::Trouble;

/// Where commands note their attempts, in a run's folder; made with it, so that what is missing there never began.
const ATTEMPTS: &str = "attempts";
/// Changed runbooks that somebody asked to go on by.
const AMENDMENTS: &str = "amendments";

/// The state folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    root: PathBuf,
    /// Whether it was named, so that printed commands have to name it too.
    named: bool,
}

/// One run's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder {
    pub id: String,
    pub path: PathBuf,
}

impl Store {
    /// The folder that was named, else the XDG one (XDG Base Directory Specification).
    pub fn at(named: Option<&Path>) -> Result<Self, Trouble> {
        if let Some(root) = named {
            let named = std::env::var_os("POINTSMAN_STATE_DIR").is_none_or(|value| value != *root.as_os_str());
            let root = std::path::absolute(root)
                .map_err(|error| Trouble::input(format!("the state folder {}: {error}", root.display())))?;
            return Ok(Self { root, named });
        }
        let absolute = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let base = absolute("XDG_STATE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
            .ok_or_else(|| Trouble::input("there is no HOME to keep runs in").hint("name a folder with --state-dir"))?;
        Ok(Self {
            root: base.join("pointsman"),
            named: false,
        })
    }

    /// A file or folder in the state folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// ` --state-dir DIR` where a printed command needs it.
    pub fn option(&self) -> String {
        if self.named {
            format!(" --state-dir {}", quoted(&self.root.display().to_string()))
        } else {
            String::new()
        }
    }

    /// Makes the folder of a new run, with its plan, the runbook's bytes and those of what it includes; everything
    /// synced.
    pub fn create(&self, plan: &Plan, source: &Source, now: DateTime<Utc>) -> Result<RunFolder, Trouble> {
        let runs = self.root.join("runs");
        let at = |path: &Path, error: io::Error| match error.kind() {
            // The disk, not the place that was chosen.
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::WriteZero => {
                Trouble::journal(format!("{}: {error}", path.display()))
            }
            _ => Trouble::input(format!("{}: {error}", path.display()))
                .hint("runs are kept there; name another folder with --state-dir"),
        };
        let text = serde_json::to_vec_pretty(plan)
            .map_err(|error| Trouble::failed(format!("the plan cannot be written: {error}")))?;
        // Another process may have made these a moment ago, and have been killed before it synced them.
        make_folders(&Real, &runs)
            .and_then(|()| Real.sync_folder(&self.root))
            .map_err(|error| at(&runs, error))?;
        loop {
            let id = format!("{}-{}", now.format("%Y%m%d-%H%M"), tail());
            let path = runs.join(&id);
            let files = [
                ("plan.json", text.as_slice()),
                ("runbook.yaml", source.bytes.as_slice()),
            ];
            let made = match new_folder(&Real, &path, &files) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made
                    .and_then(|()| make_folders(&Real, &path.join(ATTEMPTS)))
                    .and_then(|()| included(&path, source)),
            };
            return match made {
                Ok(()) => Ok(RunFolder { id, path }),
                Err(error) => {
                    // It never began. A folder that cannot be removed is in nobody's way.
                    let _kept = fs::remove_dir_all(&path);
                    Err(at(&path, error))
                }
            };
        }
    }

    /// The run with this id, or in this folder.
    pub fn find(&self, run: &Path) -> Result<RunFolder, Trouble> {
        let by_id = self.root.join("runs").join(run);
        let is_id = run.components().count() == 1;
        let path = if is_id && by_id.is_dir() {
            by_id
        } else if run.join("journal").is_dir() {
            std::path::absolute(run).map_err(|error| Trouble::input(format!("{}: {error}", run.display())))?
        } else {
            return Err(Trouble::input(format!("there is no run {}", run.display()))
                .hint(format!("list them with: pointsman runs{}", self.option())));
        };
        let id = path
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Ok(RunFolder { id, path })
    }

    /// A run as a command names it: its id, or the path of a folder that is kept elsewhere.
    pub fn word(&self, folder: &RunFolder) -> String {
        if folder.path == self.root.join("runs").join(&folder.id) {
            folder.id.clone()
        } else {
            quoted(&folder.path.display().to_string())
        }
    }

    /// Every run's folder, by id.
    pub fn list(&self) -> Result<Vec<RunFolder>, Trouble> {
        let runs = self.root.join("runs");
        let entries = match fs::read_dir(&runs) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Trouble::failed(format!("{}: {error}", runs.display()))),
        };
        let mut found: Vec<RunFolder> = entries
            .filter_map(Result::ok)
            .filter(|entry| entry.path().join("journal").is_dir())
            .map(|entry| RunFolder {
                id: entry.file_name().to_string_lossy().into_owned(),
                path: entry.path(),
            })
            .collect();
        found.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(found)
    }
}

impl RunFolder {
    /// The files that the run was made with, by their names in its folder, with their SHA-256.
    pub fn files(&self) -> Result<BTreeMap<String, String>, Trouble> {
        self.files_of(&self.path)
    }

    /// The plan, the runbook and what it includes, as they are kept in `root`, which is in the run's folder.
    fn files_of(&self, root: &Path) -> Result<BTreeMap<String, String>, Trouble> {
        let mut found = BTreeMap::new();
        let mut open = vec![root.to_path_buf()];
        while let Some(folder) = open.pop() {
            let at = |error: io::Error| Trouble::failed(format!("{}: {error}", folder.display()));
            for entry in fs::read_dir(&folder).map_err(at)? {
                let path = entry.map_err(at)?.path();
                let Ok(name) = path.strip_prefix(root).map(|name| name.display().to_string()) else {
                    continue;
                };
                let Ok(whole) = path.strip_prefix(&self.path).map(|name| name.display().to_string()) else {
                    continue;
                };
                let inside = name == "included" || name.starts_with("included/");
                if inside && path.is_dir() {
                    open.push(path);
                } else if inside || matches!(name.as_str(), "plan.json" | "runbook.yaml") {
                    found.insert(whole, sha256(&fs::read(&path).map_err(at)?));
                }
            }
        }
        Ok(found)
    }

    /// Keeps a changed runbook with its plan, everything synced; gives the digest of the plan's file, and every file with
    /// its own.
    pub fn keep(&self, plan: &Plan, source: &Source) -> Result<(String, BTreeMap<String, String>), Trouble> {
        let text = serde_json::to_vec_pretty(plan)
            .map_err(|error| Trouble::failed(format!("the plan cannot be written: {error}")))?;
        let amendments = self.path.join(AMENDMENTS);
        let at = |error: io::Error| Trouble::failed(format!("{}: {error}", amendments.display()));
        make_folders(&Real, &amendments)
            .and_then(|()| Real.sync_folder(&self.path))
            .map_err(at)?;
        let files = [
            ("plan.json", text.as_slice()),
            ("runbook.yaml", source.bytes.as_slice()),
        ];
        let mut number = 1;
        let path = loop {
            let path = amendments.join(format!("{number:04}"));
            match new_folder(&Real, &path, &files) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                made => {
                    made.and_then(|()| included(&path, source)).map_err(at)?;
                    break path;
                }
            }
        };
        Ok((sha256(&text), self.files_of(&path)?))
    }

    /// Where the run's commands note their attempts. `original`: this is the folder that the run was made in.
    pub fn attempts(&self, original: bool) -> Attempts {
        let folder = self.path.join(ATTEMPTS);
        let complete = original && folder.is_dir();
        Attempts::new(folder, complete)
    }

    /// The run's own plan and the digest of its file.
    pub fn plan(&self) -> Result<(Plan, String), Trouble> {
        let path = self.path.join("plan.json");
        let bytes = fs::read(&path).map_err(|error| Trouble::input(format!("{}: {error}", path.display())))?;
        let plan = serde_json::from_slice(&bytes).map_err(|error| {
            Trouble::input(format!("{}: {error}", path.display()))
                .hint("was the run made by another version of pointsman? use that one")
        })?;
        Ok((plan, sha256(&bytes)))
    }
}

/// Four letters and digits that are hard to confuse.
fn tail() -> String {
    const LETTERS: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";
    let mut random = rand::rng();
    (0..4)
        .filter_map(|_| LETTERS.get(random.random_range(0..LETTERS.len())))
        .map(|letter| char::from(*letter))
        .collect()
}

/// Keeps the included files of a runbook under `included/` in its run's folder, all synced.
fn included(run: &Path, source: &Source) -> io::Result<()> {
    for (name, bytes) in &source.parts {
        let Ok(bytes) = bytes else { continue };
        let path = run.join("included").join(name);
        if let Some(folder) = path.parent() {
            make_folders(&Real, folder)?;
            write_new(&Real, &path, bytes)?;
            Real.sync_folder(folder)?;
        }
    }
    Ok(())
}

/// A word for a shell.
pub fn quoted(text: &str) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || "/._-+=:@,".contains(char);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}
