//! `pointsman plan`: what would happen.

use std::path::Path;

use crate::runbook::render::render;

use super::args::{PlanArgs, TextOrJson};
use super::imports::Imported;
use super::out::Out;
use super::reading::Source;
use super::store::Store;
use super::trouble::Trouble;

/// Prints a plan. The state folder is only needed for what is imported.
pub fn perform(args: &PlanArgs, state_dir: Option<&Path>, out: Out) -> Result<u8, Trouble> {
    let mut source = Source::read(&args.runbook)?;
    let imported = if args.import.is_empty() {
        Imported::default()
    } else {
        Imported::read(&args.import, &Store::at(state_dir)?)?
    };
    source.imports.clone_from(&imported.runs);
    let plan = source.plan(&args.env, out)?;
    imported.fit(&plan)?;
    match args.format {
        TextOrJson::Text => out.text(&render(&plan)),
        TextOrJson::Json => {
            let text = serde_json::to_string_pretty(&plan)
                .map_err(|error| Trouble::failed(format!("the plan cannot be written: {error}")))?;
            out.line(&text);
        }
    }
    Ok(0)
}
