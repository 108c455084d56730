//! `pointsman forecast`: will we make the window? From what earlier runs took.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};

use crate::projection::escape::{fit, visible};
use crate::projection::forecast::Forecast;
use crate::projection::forecaster::Forecaster;
use crate::projection::samples::ENOUGH;
use crate::projection::timing_words::{basis, limit_noun, path, planned, point, undo_basis, verdicts};
use crate::projection::way_back::{Point, Safe};
use crate::projection::words::clock;
use crate::runbook::plan::{EnvironmentKind, Plan};

use super::args::{ForecastArgs, TextOrJson};
use super::history::{Gathered, gather};
use super::out::Out;
use super::reading::Source;
use super::session::zone;
use super::store::Store;
use super::trouble::Trouble;

/// Prints a forecast; 1 where p90 does not make it.
pub fn perform(args: &ForecastArgs, store: &Store, out: Out) -> Result<u8, Trouble> {
    let source = Source::read(&args.runbook)?;
    let plan = source.plan(&args.env, out)?;
    let gathered = gather(store, &plan, None);
    // Nominal time, in the lab too: what its speed makes of it is the run's business.
    let forecaster = Forecaster {
        plan: &plan,
        history: &gathered.history,
        speed: 1.0,
    };
    let opens = plan.environment.window.as_ref().map(|window| window.opens);
    // A window that is open already cannot be begun at its opening any more.
    let now = Utc::now();
    let start = args.start.or_else(|| opens.map(|opens| opens.max(now))).unwrap_or(now);
    let forecast = forecaster.before(start);
    let points = forecaster.points(&forecast);
    match args.format {
        TextOrJson::Text => out.text(&text(&plan, &gathered, &forecast, &points, zone(&plan))),
        TextOrJson::Json => {
            let value = json(&plan, &gathered, &forecast, &points);
            let text = serde_json::to_string_pretty(&value)
                .map_err(|error| Trouble::failed(format!("the forecast cannot be written: {error}")))?;
            out.line(&text);
        }
    }
    Ok(match forecast.makes_it() {
        Some(true) | None => 0,
        Some(false) => 1,
    })
}

fn row(cells: [&str; 7]) -> String {
    let widths = [4, 26, 9, 18, 18, 22, 11];
    let cells = cells.iter().zip(widths).map(|(cell, width)| fit(&visible(cell), width));
    cells.collect::<Vec<_>>().join(" ").trim_end().to_owned()
}

fn text(plan: &Plan, gathered: &Gathered, forecast: &Forecast, points: &[Point], zone: Tz) -> String {
    let stamp = |at: DateTime<Utc>| at.with_timezone(&zone).format("%Y-%m-%d %H:%M %Z").to_string();
    let mut lines = vec![format!(
        "{} in {}, begun at {}",
        visible(&plan.title),
        visible(&plan.environment.name),
        stamp(forecast.now)
    )];
    let runs = gathered.history.runs;
    let noun = if runs == 1 { "run" } else { "runs" };
    lines.push(format!(
        "from {runs} earlier {noun}; fewer than {ENOUGH} times of a step are no forecast of it"
    ));
    if plan.environment.kind == EnvironmentKind::Lab {
        lines.push("in nominal time: a lab at speed N takes an Nth of the machine's part".to_owned());
    }
    for (run, reason) in &gathered.remarks {
        lines.push(format!("left out: {}: {}", visible(run), visible(reason)));
    }
    lines.push(String::new());
    lines.push(row([
        "",
        "step",
        "planned",
        "machine p50/p90",
        "people p50/p90",
        "from",
        "p90 end",
    ]));
    for (index, (step, outlook)) in plan.steps.iter().zip(&forecast.steps).enumerate() {
        let mark = if outlook.critical { "*" } else { " " };
        let known = outlook.estimate.is_known();
        let pair = |p50: TimeDelta, p90: TimeDelta| {
            if known {
                format!("{} / {}", clock(p50), clock(p90))
            } else {
                "?".to_owned()
            }
        };
        lines.push(row([
            &format!("{mark}{:>3}", index + 1),
            &step.title,
            &planned(step),
            &pair(outlook.estimate.machine.p50, outlook.estimate.machine.p90),
            &pair(outlook.estimate.human.p50, outlook.estimate.human.p90),
            &basis(outlook.estimate.basis),
            &outlook.p90.with_timezone(&zone).format("%m-%d %H:%M").to_string(),
        ]));
    }
    lines.push("* on the critical path".to_owned());
    lines.push(String::new());
    let named = |name: &str, words: &str| format!("{name:<14} {}", visible(words));
    lines.extend(path(forecast).iter().map(|(name, words)| named(name, words)));
    if forecast.is_known() {
        let bound = if forecast.at_least() { "at least " } else { "" };
        let ends = format!(
            "{bound}{}, p90 {}",
            stamp(forecast.p50.finish),
            stamp(forecast.p90.finish)
        );
        lines.push(named("end", &ends));
    }
    lines.extend(
        verdicts(plan, forecast, zone)
            .iter()
            .map(|(name, words)| named(name, words)),
    );
    lines.push(String::new());
    lines.push("the way back after each step, if the night goes as p90 says".to_owned());
    for shown in points {
        let number = plan.steps.iter().position(|step| step.id == shown.step.0);
        let number = number.map_or_else(String::new, |index| (index + 1).to_string());
        let words = visible(&point(plan, shown, zone));
        lines.push(format!("{number:>4} {} {words}", fit(&visible(&shown.step.0), 20)));
    }
    lines.push(String::new());
    lines.push(verdict(forecast));
    lines.push(String::new());
    lines.join("\n")
}

fn verdict(forecast: &Forecast) -> String {
    match forecast.makes_it() {
        None => "warning: unknown: nothing is known of any step; rehearse the runbook, or write expect:".to_owned(),
        Some(false) => "p90 does NOT make it".to_owned(),
        Some(true) if forecast.at_least() => {
            "warning: p90 makes it as far as is known; of some steps nothing is known".to_owned()
        }
        Some(true) => "p90 makes it".to_owned(),
    }
}

fn ms(delta: TimeDelta) -> i64 {
    delta.num_milliseconds()
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn json(plan: &Plan, gathered: &Gathered, forecast: &Forecast, points: &[Point]) -> Value {
    let steps: Vec<Value> = plan
        .steps
        .iter()
        .zip(&forecast.steps)
        .map(|(step, outlook)| {
            let known = outlook.estimate.is_known();
            let value = |delta: TimeDelta| if known { json!(ms(delta)) } else { Value::Null };
            json!({
                "step": step.id,
                "planned_ms": step.expect.map(|span| span.0),
                "machine_ms": { "p50": value(outlook.estimate.machine.p50), "p90": value(outlook.estimate.machine.p90) },
                "human_ms": { "p50": value(outlook.estimate.human.p50), "p90": value(outlook.estimate.human.p90) },
                "samples": gathered.history.of(step).len(),
                "basis": basis_word(outlook.estimate.basis),
                "critical": outlook.critical,
                "end": { "p50": instant(outlook.p50), "p90": instant(outlook.p90) },
            })
        })
        .collect();
    let path = |path: &crate::projection::forecast::Path| {
        json!({
            "end": forecast.is_known().then(|| instant(path.finish)),
            "machine_ms": ms(path.machine),
            "human_ms": ms(path.human),
            "critical_path": path.steps,
        })
    };
    json!({
        "runbook": plan.name,
        "environment": plan.environment.name,
        "start": instant(forecast.now),
        "runs": gathered.history.runs,
        "left_out": gathered.remarks.iter().map(|(run, reason)| json!({ "run": run, "reason": reason })).collect::<Vec<_>>(),
        "steps": steps,
        "p50": path(&forecast.p50),
        "p90": path(&forecast.p90),
        "at_least": forecast.at_least(),
        "window": forecast.window.map(|window| json!({
            "opens": instant(window.opens),
            "closes": instant(window.closes),
            "margin_ms": { "p50": ms(window.p50), "p90": ms(window.p90) },
        })),
        "downtime": forecast.downtime.map(|downtime| json!({
            "total_ms": { "p50": ms(downtime.total.p50), "p90": ms(downtime.total.p90) },
            "budget_ms": downtime.budget.map(ms),
            "at_least": downtime.at_least,
        })),
        "deadlines": forecast.deadlines.iter().map(|deadline| json!({
            "step": deadline.step,
            "at": instant(deadline.at),
            "slack_ms": { "p50": ms(deadline.p50), "p90": ms(deadline.p90) },
            "at_least": deadline.at_least,
        })).collect::<Vec<_>>(),
        "way_back": points.iter().map(way_back).collect::<Vec<_>>(),
        "makes_it": forecast.makes_it(),
    })
}

const fn basis_word(basis: crate::projection::estimate::Basis) -> &'static str {
    use crate::projection::estimate::Basis;
    match basis {
        Basis::Earlier(_) => "earlier runs",
        Basis::Planned(_) => "planned",
        Basis::Unknown(_) => "unknown",
    }
}

fn way_back(point: &Point) -> Value {
    let way_back = &point.way_back;
    let (state, limit) = match &way_back.safe {
        Safe::NothingStands => ("nothing stands", None),
        Safe::Never(_) => ("no way back", None),
        Safe::NoLimit => ("no limit declared", None),
        Safe::Until { limit, .. } => ("until", Some(limit_noun(*limit))),
    };
    let undos = way_back
        .undos
        .iter()
        .map(|undo| json!({ "step": undo.step, "ms": ms(undo.takes), "from": undo_basis(undo.basis) }));
    json!({
        "after": point.step,
        "state": state,
        "unwinding_ms": ms(way_back.unwinding),
        "at_least": way_back.at_least(),
        "guess": way_back.is_guess(),
        "undos": undos.collect::<Vec<_>>(),
        "redo_ms": ms(way_back.redo),
        "loses_rows": way_back.loses_rows,
        "latest_safe": way_back.latest().map(instant),
        "limit": limit,
        "margin_ms": point.margin.map(ms),
    })
}
