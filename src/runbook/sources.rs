//! What a plan is made of: the runbook's bytes, those of the files that it includes, and what its imports brought. All
//! was read by the caller; here it is only named, counted and digested. Must not touch a file.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::digest::{digest, sha256};

/// An included file that could not be read, or may not be: told where the runbook names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub message: String,
    pub hint: String,
}

/// The verified outputs of an earlier run.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportedRun {
    pub run: String,
    /// The name of the runbook that it executed.
    pub runbook: String,
    /// The hash of its journal's last record.
    pub head: String,
    /// Step → its outputs.
    pub outputs: BTreeMap<String, Map<String, Value>>,
}

/// A runbook with everything that belongs to it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sources<'a> {
    pub main: &'a [u8],
    /// Included files by the name that the runbook gives them.
    pub parts: BTreeMap<&'a str, Result<&'a [u8], &'a Refusal>>,
    /// Earlier runs by the name that `import_run` gives them.
    pub imports: BTreeMap<&'a str, &'a ImportedRun>,
}

impl<'a> From<&'a [u8]> for Sources<'a> {
    /// A runbook that stands alone.
    fn from(main: &'a [u8]) -> Self {
        Self {
            main,
            ..Self::default()
        }
    }
}

impl<'a> Sources<'a> {
    /// The number of an included file, as places give it.
    pub(super) fn file(&self, name: &str) -> Option<u16> {
        let index = self.parts.keys().position(|known| *known == name)?;
        u16::try_from(index + 1).ok()
    }

    /// The name of an included file; none for the runbook itself.
    pub fn name(&self, file: u16) -> Option<&'a str> {
        let index = usize::from(file).checked_sub(1)?;
        self.parts.keys().nth(index).copied()
    }

    /// The bytes of every file by its number; none of one that could not be read.
    pub(super) fn files(&self) -> impl Iterator<Item = &'a [u8]> {
        let parts = self.parts.values().map(|part| part.unwrap_or_default());
        std::iter::once(self.main).chain(parts)
    }

    /// The size of all files together.
    pub(super) fn size(&self) -> usize {
        self.files().map(<[u8]>::len).sum()
    }

    /// SHA-256 of the runbook's bytes; with included files, over the digests of all by their names.
    pub(super) fn digest(&self) -> String {
        let main = sha256(self.main);
        let parts: BTreeMap<&str, String> = self
            .parts
            .iter()
            .filter_map(|(name, part)| part.ok().map(|bytes| (*name, sha256(bytes))))
            .collect();
        if parts.is_empty() {
            return main;
        }
        digest(&json!({ "main": main, "parts": parts }))
    }
}
