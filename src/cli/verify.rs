//! `pointsman verify`: what a stranger concludes from a journal.

use crate::journal::verify::{Require, verify};
use crate::projection::escape::visible;

use super::args::{Requirement, TextOrJson, VerifyArgs};
use super::out::Out;
use super::store::Store;
use super::trouble::Trouble;

/// Verifies a run or a journal file; the exit code is the verdict's.
pub fn perform(args: &VerifyArgs, store: &Store, out: Out) -> Result<u8, Trouble> {
    if args.allowed_signers.is_some() {
        return Err(
            Trouble::input("not available yet: --allowed-signers (signed approvals)")
                .hint("typed approvals carry no signature; check the chain with --require chain"),
        );
    }
    let path = if args.run.is_file() {
        args.run.clone()
    } else {
        store.find(&args.run)?.path
    };
    let require = match args.require {
        Requirement::Witness => Require::Witness,
        Requirement::Chain => Require::Chain,
    };
    let verdict = verify(&path, require);
    match args.format {
        TextOrJson::Text => {
            for line in verdict.lines() {
                out.line(&visible(&line));
            }
        }
        TextOrJson::Json => {
            let text = serde_json::to_string_pretty(&verdict)
                .map_err(|error| Trouble::failed(format!("the verdict cannot be written: {error}")))?;
            out.line(&text);
        }
    }
    Ok(verdict.code)
}
