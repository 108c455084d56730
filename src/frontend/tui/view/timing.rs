//! The header's lines of a night that is measured against a window: window, downtime and forecast; the last safe
//! rollback. What does not fit is left out, the least needed first.

use chrono::{DateTime, TimeDelta, Utc};
use ratatui::text::{Line, Span};

use super::header::{done_steps, downtime};
use super::text::bar;
use crate::frontend::tui::model::Model;
use crate::projection::escape::{clip, visible, width};
use crate::projection::forecast::{Forecast, is_timed};
use crate::projection::forecaster::Forecaster;
use crate::projection::timing_words::{end, over, safe, time};
use crate::projection::way_back::Nearness;
use crate::projection::words::clock;

/// Cells of the window's bar.
const CELLS: usize = 12;

/// Both lines; none where nothing is declared that a night is measured against.
pub fn lines(model: &Model, columns: usize) -> Option<Vec<Line<'static>>> {
    if model.session.dry_run || !is_timed(&model.plan) {
        return None;
    }
    let forecaster = Forecaster {
        plan: &model.plan,
        history: &model.session.history,
        speed: model.session.lab.as_ref().map_or(1.0, |lab| lab.speed),
    };
    let forecast = forecaster.during(model.state(), &model.follower.story, model.now);
    Some(vec![
        window(model, &forecast, columns),
        way_back(model, &forecast, columns),
    ])
}

fn window(model: &Model, forecast: &Forecast, columns: usize) -> Line<'static> {
    let zone = model.session.zone;
    let end = end(forecast, zone);
    // Where it is narrow.
    let short_end = end.replace("at least ", "≥").replace("forecast ", "→ ");
    let (down, barred) = (downtime(model, false), downtime(model, true));
    let Some(window) = model.plan.environment.window.as_ref() else {
        return Line::styled(
            fitting(columns, &[vec![barred, end.clone()], vec![down, end]]),
            model.theme.plain(),
        );
    };
    let closes = model.follower.story.timeline.window_closes.unwrap_or(window.closes);
    let name = format!("window {}–{}", time(window.opens, zone), time(closes, zone));
    let rest = closes - model.now;
    let is_over = rest <= TimeDelta::zero();
    let left = if model.now < window.opens {
        format!("opens in {}", clock(window.opens - model.now))
    } else if is_over {
        format!("OVER by {}", clock(-rest))
    } else {
        format!("{} left", clock(rest))
    };
    let cells = window_bar((window.opens, closes), model.now, forecast.p90.finish);
    let full = format!("{name} {left}");
    let plain = if is_over { full.clone() } else { name.clone() };
    let least = if is_over {
        format!("window {left}")
    } else {
        name.clone()
    };
    let text = fitting(
        columns,
        &[
            vec![format!("{full} {cells}"), barred, end.clone()],
            vec![full, down.clone(), end.clone()],
            vec![format!("{name} {cells}"), down.clone(), end.clone()],
            vec![plain, down.clone(), end],
            vec![least, down, short_end],
        ],
    );
    let style = if is_over {
        model.theme.bad()
    } else {
        model.theme.plain()
    };
    Line::styled(text, style)
}

fn way_back(model: &Model, forecast: &Forecast, columns: usize) -> Line<'static> {
    let back = &forecast.way_back;
    let text = visible(&safe(&model.plan, back, model.now, model.session.zone));
    let style = match back.nearness(model.now) {
        Nearness::Far => model.theme.plain(),
        Nearness::Within15 => model.theme.warn(),
        Nearness::Within5 | Nearness::Passed => model.theme.bad(),
    };
    let steps = format!("steps {}/{}", done_steps(model), model.plan.steps.len());
    let (journal, short) = if model.halted.is_some() {
        ("journal ✘ HALTED".to_owned(), "journal ✘ HALTED".to_owned())
    } else {
        let last = model.follower.last;
        (format!("journal ● {last} records"), format!("journal ● {last}"))
    };
    let over = over(&model.plan, forecast).map(|text| visible(&text));
    let over: Vec<String> = over.into_iter().collect();
    let room = columns.saturating_sub(width(&text) + 3);
    let with = |parts: &[&String]| [over.clone(), parts.iter().map(|part| (*part).clone()).collect()].concat();
    let rest = fitting(
        room,
        &[
            with(&[&steps, &journal]),
            with(&[&steps, &short]),
            with(&[&short]),
            vec![steps, short.clone()],
            vec![short],
        ],
    );
    let rest_style = if model.halted.is_some() {
        model.theme.bad()
    } else {
        model.theme.plain()
    };
    Line::from(vec![
        Span::styled(clip(&text, columns), style),
        Span::styled(format!(" │ {rest}"), rest_style),
    ])
}

/// The first of the parts that fits; the last one is cut.
fn fitting(columns: usize, candidates: &[Vec<String>]) -> String {
    let joined = || candidates.iter().map(|parts| parts.join(" │ "));
    let fits = joined().find(|text| width(text) <= columns);
    fits.unwrap_or_else(|| clip(&joined().next_back().unwrap_or_default(), columns))
}

/// The window as a bar: how much of it has passed, and where p90 ends.
fn window_bar((opens, closes): (DateTime<Utc>, DateTime<Utc>), now: DateTime<Utc>, ends: DateTime<Utc>) -> String {
    let whole = (closes - opens).num_seconds().max(1);
    let permille = |at: DateTime<Utc>| (at - opens).num_seconds().saturating_mul(1000) / whole;
    let share = f64::from(i32::try_from(permille(now)).unwrap_or(1000)) / 1000.0;
    let cells = i64::try_from(CELLS).unwrap_or_default();
    let mark = permille(ends).saturating_mul(cells) / 1000;
    bar(share, CELLS)
        .chars()
        .enumerate()
        .map(|(cell, char)| if i64::try_from(cell) == Ok(mark) { '│' } else { char })
        .collect()
}
