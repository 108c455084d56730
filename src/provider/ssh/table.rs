//! The table of commands of other hosts.

use crate::provider::Action;
use crate::provider::connection::{BuildError, Connections};
use crate::provider::registry::Request;
use crate::runbook::catalogue::{ActionSpec, Effect, ParamKind, ParamSpec, Reversibility};

use super::command::Command;

pub const ACTIONS: &[ActionSpec] = &[ActionSpec {
    uses: "ssh.command",
    doc: "Runs a program of another host; only exit code 0 is success, unless expect: says otherwise.",
    effect: Effect::Mutate,
    reversibility: Reversibility::Declared,
    on: &["ssh"],
    params: &[
        ParamSpec::new(
            "argv",
            ParamKind::Argv,
            true,
            "program and arguments: [rsync, --archive, …]",
        ),
        ParamSpec::new("cwd", ParamKind::Text, false, "working directory over there"),
        ParamSpec::new(
            "env",
            ParamKind::TextMap,
            false,
            "variables beside the account's PATH, HOME, LANG and TZ",
        ),
        ParamSpec::new(
            "expect",
            ParamKind::Predicate,
            false,
            "what makes it a success: code == 0 or code == 24",
        ),
        ParamSpec::new(
            "unit",
            ParamKind::Text,
            false,
            "a name: it runs as this unit of the host's systemd",
        ),
    ],
    results: &["code", "signal", "stdout", "stderr"],
    available: true,
}];

/// Makes a command.
pub fn build(request: &Request<'_>, connections: &Connections) -> Result<Box<dyn Action>, BuildError> {
    Ok(Box::new(Command::new(request, request.ssh(connections)?)?))
}
