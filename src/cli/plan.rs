//! `pointsman plan`: what would happen.

use std::path::Path;

use chrono::DateTime;

use crate::projection::escape::visible;
use crate::projection::forecaster::Forecaster;
use crate::projection::samples::History;
use crate::projection::timing_words::{path, verdicts};
use crate::runbook::plan::Plan;
use crate::runbook::render::render;

use super::args::{PlanArgs, TextOrJson};
use super::imports::Imported;
use super::out::Out;
use super::reading::Source;
use super::session::zone;
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
        TextOrJson::Text => out.text(&format!("{}{}", render(&plan), forecast(&plan))),
        TextOrJson::Json => {
            let text = serde_json::to_string_pretty(&plan)
                .map_err(|error| Trouble::failed(format!("the plan cannot be written: {error}")))?;
            out.line(&text);
        }
    }
    Ok(0)
}

/// What the runbook's own `expect` comes to, if the night begins when the window opens. A plan knows no earlier runs.
fn forecast(plan: &Plan) -> String {
    let window = plan.environment.window.as_ref();
    let history = History::default();
    let forecaster = Forecaster {
        plan,
        history: &history,
        speed: 1.0,
    };
    // Without a window no instant is printed, only durations.
    let forecast = forecaster.before(window.map_or(DateTime::UNIX_EPOCH, |window| window.opens));
    let lines = path(&forecast).into_iter().chain(verdicts(plan, &forecast, zone(plan)));
    lines
        .map(|(name, words)| format!("{name:<20}{}\n", visible(&words)))
        .collect()
}
