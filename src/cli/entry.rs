//! The program's way in and out: arguments to a verb, its end to an exit code.

use std::process::ExitCode;

use clap::Parser;

use super::args::{Cli, Verb};
use super::out::Out;
use super::store::Store;
use super::trouble::Trouble;
use super::{check, compare, forecast, lab, plan, preflight, report, resume, run, runs, schema, verify};

/// Does what the arguments say.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let out = Out::new(cli.color);
    match perform(cli, out) {
        Ok(exit) => ExitCode::from(exit),
        Err(trouble) => {
            out.trouble(&trouble);
            ExitCode::from(trouble.exit)
        }
    }
}

fn perform(cli: Cli, out: Out) -> Result<u8, Trouble> {
    let store = || Store::at(cli.state_dir.as_deref());
    match cli.verb {
        Verb::Check(args) => check::perform(&args, out),
        Verb::Plan(args) => plan::perform(&args, cli.state_dir.as_deref(), out),
        Verb::Forecast(args) => forecast::perform(&args, &store()?, out),
        Verb::Compare(args) => compare::perform(&args, out),
        Verb::Preflight(args) => preflight::perform(&args, &store()?, out),
        Verb::Schema => schema::perform(out),
        Verb::Run(args) => run::perform(args, &store()?, out),
        Verb::Resume(args) => resume::perform(args, &store()?, out),
        Verb::Runs(args) => runs::perform(&args, &store()?, out),
        Verb::Verify(args) => verify::perform(&args, &store()?, out),
        Verb::Report(args) => report::perform(&args, &store()?, out),
        Verb::Lab(args) => lab::perform(args, &store()?, out),
    }
}
