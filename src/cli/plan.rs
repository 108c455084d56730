//! `pointsman plan`: what would happen.

use crate::runbook::render::render;

use super::args::{PlanArgs, TextOrJson};
use super::out::Out;
use super::reading::Source;
use super::trouble::Trouble;

/// Prints a plan.
pub fn perform(args: &PlanArgs, out: Out) -> Result<u8, Trouble> {
    let source = Source::read(&args.runbook)?;
    let plan = source.plan(&args.env, out)?;
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
