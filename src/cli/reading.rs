//! Reads a runbook's file with what it includes, and plans it or tells every fault. Must not read anything but plain
//! files and standard input.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::provider::registry::catalogue;
use crate::runbook::fault::{Fault, any_error, render};
use crate::runbook::plan::Plan;
use crate::runbook::sources::{ImportedRun, Refusal, Sources};

use super::out::Out;
use super::trouble::Trouble;

/// One byte more than a runbook may have, so that a longer one is seen to be too long.
const ENOUGH: u64 = 1024 * 1024 + 1;
/// The most files that a runbook may include.
const MOST_FILES: usize = 200;

/// A runbook as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// The file's name as faults show it.
    pub name: String,
    pub bytes: Vec<u8>,
    /// What it includes, by the names that it gives.
    pub parts: BTreeMap<String, Result<Vec<u8>, Refusal>>,
    /// What `--import` brought.
    pub imports: BTreeMap<String, ImportedRun>,
}

impl Source {
    /// Reads a plain file, or standard input for `-`, and every file that it includes.
    pub fn read(path: &Path) -> Result<Self, Trouble> {
        let mut source = Self::alone(path)?;
        if path == Path::new("-") {
            for part in crate::runbook::includes(&source.bytes) {
                let refusal = Refusal {
                    message: "a runbook from standard input has no folder to include from".to_owned(),
                    hint: "write it to a file".to_owned(),
                };
                source.parts.insert(part, Err(refusal));
            }
            return Ok(source);
        }
        let folder = match path.parent() {
            Some(parent) if parent != Path::new("") => parent.to_path_buf(),
            Some(_) | None => PathBuf::from("."),
        };
        source.include(&folder);
        Ok(source)
    }

    fn alone(path: &Path) -> Result<Self, Trouble> {
        let name = path.display().to_string();
        let read = |name: String, bytes: Vec<u8>| Self {
            name,
            bytes,
            parts: BTreeMap::new(),
            imports: BTreeMap::new(),
        };
        if path == Path::new("-") {
            let mut bytes = Vec::new();
            io::stdin()
                .take(ENOUGH)
                .read_to_end(&mut bytes)
                .map_err(|error| Trouble::input(format!("standard input: {error}")))?;
            return Ok(read("<stdin>".to_owned(), bytes));
        }
        let located = |words: &str, hint: &str| Trouble::input(format!("{name}:1:1: {words}")).hint(hint);
        let meta = fs::metadata(path).map_err(|error| located(&error.to_string(), "is it the right path?"))?;
        if !meta.is_file() {
            return Err(located(
                "this is not a plain file",
                "a runbook is a plain file; write - to read standard input",
            ));
        }
        if meta.permissions().mode() & 0o002 != 0 {
            return Err(located(
                "everybody on this machine may change this file",
                &format!("take that right away: chmod o-w {name}"),
            ));
        }
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(ENOUGH).read_to_end(&mut bytes))
            .map_err(|error| located(&error.to_string(), "can you read it?"))?;
        Ok(read(name, bytes))
    }

    /// Reads what is included, and what that includes. More than may be included at all is not read: the limits over
    /// everything together are told by `check`.
    fn include(&mut self, folder: &Path) {
        let mut left = ENOUGH.saturating_sub(self.bytes.len() as u64);
        let mut open = crate::runbook::includes(&self.bytes);
        while let Some(name) = open.pop() {
            if self.parts.contains_key(&name) {
                continue;
            }
            let read = if self.parts.len() >= MOST_FILES {
                Err(Refusal {
                    message: format!("the runbook includes more than {MOST_FILES} files"),
                    hint: "join some of them".to_owned(),
                })
            } else {
                part(folder, &name, left)
            };
            if let Ok(bytes) = &read {
                left = left.saturating_sub(bytes.len() as u64);
                open.extend(crate::runbook::includes(bytes));
            }
            self.parts.insert(name, read);
        }
    }

    /// The whole as the runbook's reader takes it.
    pub fn sources(&self) -> Sources<'_> {
        Sources {
            main: &self.bytes,
            parts: self
                .parts
                .iter()
                .map(|(name, part)| (name.as_str(), part.as_ref().map(Vec::as_slice)))
                .collect(),
            imports: self.imports.iter().map(|(name, run)| (name.as_str(), run)).collect(),
        }
    }

    /// Every fault, of one environment or of all.
    pub fn faults(&self, env: Option<&str>) -> Vec<Fault> {
        crate::runbook::check(self.sources(), env, &catalogue(), Utc::now())
    }

    /// The plan for an environment; faults are printed with their places.
    pub fn plan(&self, env: &str, out: Out) -> Result<Plan, Trouble> {
        self.planned(env, Utc::now()).map_err(|faults| {
            out.faults(&self.render(&faults));
            refusal(&faults)
        })
    }

    /// The plan for an environment as it is at `now`, or every fault.
    pub fn planned(&self, env: &str, now: DateTime<Utc>) -> Result<Plan, Vec<Fault>> {
        crate::runbook::plan(self.sources(), env, &catalogue(), now)
    }

    /// Faults for people.
    pub fn render(&self, faults: &[Fault]) -> String {
        render(faults, &self.name, &self.sources())
    }

    /// The name of the file that a fault stands in.
    pub fn file_of(&self, fault: &Fault) -> String {
        let part = self.sources().name(fault.place.file).map(str::to_owned);
        part.unwrap_or_else(|| self.name.clone())
    }
}

/// Reads an included file. Each folder on the way is opened by itself and never through a link, so that nothing outside
/// of the runbook's folder is reached, whoever moves things meanwhile.
fn part(folder: &Path, name: &str, left: u64) -> Result<Vec<u8>, Refusal> {
    let refusal = |words: &str, hint: &str| Refusal {
        message: format!("{name}: {words}"),
        hint: hint.to_owned(),
    };
    let failed = |error: Errno| match error {
        Errno::LOOP | Errno::NOTDIR => refusal("a link or no folder is on the way", "name the file itself"),
        other => {
            let words = io::Error::from(other).to_string();
            refusal(&words, "paths are relative to the runbook's folder")
        }
    };
    let never_waiting = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let mut at = rustix::fs::open(folder, never_waiting | OFlags::DIRECTORY, Mode::empty()).map_err(failed)?;
    let (folders, file) = name.rsplit_once('/').unwrap_or(("", name));
    for step in folders.split('/').filter(|step| !step.is_empty()) {
        let flags = never_waiting | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        at = rustix::fs::openat(&at, step, flags, Mode::empty()).map_err(failed)?;
    }
    let file = rustix::fs::openat(&at, file, never_waiting | OFlags::NOFOLLOW, Mode::empty()).map_err(failed)?;
    let file = File::from(file);
    let io = |error: io::Error| refusal(&error.to_string(), "can you read it?");
    let meta = file.metadata().map_err(io)?;
    if !meta.is_file() {
        return Err(refusal("this is not a plain file", "only plain files can be included"));
    }
    if meta.permissions().mode() & 0o002 != 0 {
        let hint = format!("take that right away: chmod o-w {name}");
        return Err(refusal("everybody on this machine may change this file", &hint));
    }
    let mut bytes = Vec::new();
    file.take(left).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

/// What faults come to.
pub fn refusal(faults: &[Fault]) -> Trouble {
    let errors = faults
        .iter()
        .filter(|fault| any_error(std::slice::from_ref(fault)))
        .count();
    let noun = if errors == 1 { "error" } else { "errors" };
    Trouble::input(format!("{errors} {noun}; nothing was executed"))
}
