//! The table of commands.

use crate::provider::Action;
use crate::provider::connection::{BuildError, Connections};
use crate::provider::registry::Request;
use crate::runbook::catalogue::{ActionSpec, Effect, ParamKind, ParamSpec, Reversibility};

use super::command::Command;

pub const ACTIONS: &[ActionSpec] = &[ActionSpec {
    uses: "shell.command",
    doc: "Runs a program of this host; only exit code 0 is success.",
    effect: Effect::Mutate,
    reversibility: Reversibility::Declared,
    on: &[],
    params: &[
        ParamSpec::new(
            "argv",
            ParamKind::Argv,
            true,
            "program and arguments: [rsync, --archive, …]",
        ),
        ParamSpec::new("cwd", ParamKind::Text, false, "working directory"),
        ParamSpec::new(
            "env",
            ParamKind::TextMap,
            false,
            "variables beside PATH, HOME, LANG and TZ",
        ),
    ],
    results: &["code", "stdout", "stderr"],
    available: true,
}];

/// Makes a command.
pub fn build(request: &Request<'_>, connections: &Connections) -> Result<Box<dyn Action>, BuildError> {
    Ok(Box::new(Command::new(request, connections.attempts().cloned())?))
}
