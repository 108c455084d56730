//! `pointsman check`: every fault of a runbook at once.

use serde_json::json;

use crate::runbook::fault::{Severity, any_error};

use super::args::{CheckArgs, TextOrJson};
use super::out::Out;
use super::reading::{Source, refusal};
use super::trouble::{Trouble, exit};

/// Checks a runbook.
pub fn perform(args: &CheckArgs, out: Out) -> Result<u8, Trouble> {
    let source = Source::read(&args.runbook)?;
    let faults = source.faults(args.env.as_deref());
    let bad = any_error(&faults);
    match args.format {
        TextOrJson::Json => {
            let list: Vec<_> = faults
                .iter()
                .map(|fault| {
                    json!({
                        "file": source.file_of(fault),
                        "line": fault.place.line,
                        "col": fault.place.col,
                        "severity": match fault.severity { Severity::Error => "error", Severity::Warning => "warning" },
                        "message": fault.message,
                        "hint": fault.hint,
                    })
                })
                .collect();
            out.line(&serde_json::Value::Array(list).to_string());
            return Ok(if bad { exit::INPUT } else { 0 });
        }
        TextOrJson::Text => out.faults(&source.render(&faults)),
    }
    if bad {
        return Err(refusal(&faults));
    }
    let what = args
        .env
        .as_ref()
        .map_or_else(|| "all environments".to_owned(), |env| format!("environment {env}"));
    let warnings = match faults.len() {
        0 => String::new(),
        1 => ", 1 warning".to_owned(),
        count => format!(", {count} warnings"),
    };
    out.line(&format!("{}: no errors in {what}{warnings}", source.name));
    Ok(0)
}
