//! Reads a runbook's file, and plans it or tells every fault. Must not read anything but a plain file or standard input.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use chrono::Utc;

use crate::provider::registry::catalogue;
use crate::runbook::fault::{Fault, any_error, render};
use crate::runbook::plan::Plan;

use super::out::Out;
use super::trouble::Trouble;

/// One byte more than a runbook may have, so that a longer one is seen to be too long.
const ENOUGH: u64 = 1024 * 1024 + 1;

/// A runbook as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file's name as faults show it.
    pub name: String,
    pub bytes: Vec<u8>,
}

impl Source {
    /// Reads a plain file, or standard input for `-`.
    pub fn read(path: &Path) -> Result<Self, Trouble> {
        let name = path.display().to_string();
        if path == Path::new("-") {
            let mut bytes = Vec::new();
            io::stdin()
                .take(ENOUGH)
                .read_to_end(&mut bytes)
                .map_err(|error| Trouble::input(format!("standard input: {error}")))?;
            let name = "<stdin>".to_owned();
            return Ok(Self { name, bytes });
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
        Ok(Self { name, bytes })
    }

    /// Every fault, of one environment or of all.
    pub fn faults(&self, env: Option<&str>) -> Vec<Fault> {
        crate::runbook::check(&self.bytes, env, &catalogue(), Utc::now())
    }

    /// The plan for an environment; faults are printed with their places.
    pub fn plan(&self, env: &str, out: Out) -> Result<Plan, Trouble> {
        crate::runbook::plan(&self.bytes, env, &catalogue(), Utc::now()).map_err(|faults| {
            out.faults(&self.render(&faults));
            refusal(&faults)
        })
    }

    /// Faults for people.
    pub fn render(&self, faults: &[Fault]) -> String {
        render(faults, &self.name, &self.bytes)
    }
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
