//! Forecasts and the way back in words. Must not compute: every number comes from the forecast.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::runbook::plan::{Plan, PlannedStep};

use super::estimate::{Basis, UndoBasis};
use super::forecast::{Course, DeadlineOutlook, DowntimeOutlook, Forecast, Heading, WindowOutlook};
use super::way_back::{Limit, Nearness, Point, Safe, WayBack};
use super::words::{clock, label, span};

/// A time of day in a zone.
pub fn time(at: DateTime<Utc>, zone: Tz) -> String {
    at.with_timezone(&zone).format("%H:%M").to_string()
}

/// A time of day, with its date where it is a day or more away from `from`.
fn when(at: DateTime<Utc>, from: DateTime<Utc>, zone: Tz) -> String {
    if (at - from).abs() < TimeDelta::days(1) {
        time(at, zone)
    } else {
        at.with_timezone(&zone).format("%m-%d %H:%M").to_string()
    }
}

/// When everything is done, short: `forecast 01:21 (p90 01:34)`.
pub fn end(forecast: &Forecast, zone: Tz) -> String {
    match forecast.heading {
        Heading::Over => format!("ended {}", when(forecast.p50.finish, forecast.now, zone)),
        Heading::Back => {
            let bound = if forecast.way_back.at_least() { "at least " } else { "" };
            format!("way back {bound}{}", clock(forecast.way_back.unwinding))
        }
        Heading::Forward if !forecast.is_known() => "forecast unknown".to_owned(),
        Heading::Forward => {
            let bound = if forecast.at_least() { "at least " } else { "" };
            format!(
                "forecast {bound}{} (p90 {})",
                when(forecast.p50.finish, forecast.now, zone),
                when(forecast.p90.finish, forecast.now, zone)
            )
        }
    }
}

/// The last safe rollback, short, with a word where it is near.
pub fn safe(plan: &Plan, way_back: &WayBack, now: DateTime<Utc>, zone: Tz) -> String {
    match &way_back.safe {
        Safe::NothingStands => "last safe rollback: nothing stands".to_owned(),
        Safe::Never(step) => format!("NO WAY BACK: {} cannot be undone", label(plan, step)),
        Safe::NoLimit => "last safe rollback: no limit declared".to_owned(),
        Safe::Until { at, .. } => {
            let left = *at - now;
            let countdown = if left > TimeDelta::zero() {
                format!("in {}", clock(left))
            } else {
                format!("{} ago", clock(-left))
            };
            let near = match way_back.nearness(now) {
                Nearness::Far => "",
                Nearness::Within15 => " SOON",
                Nearness::Within5 => " LAST CALL",
                Nearness::Passed => " PASSED",
            };
            format!(
                "last safe rollback {}{} ({countdown}){near}",
                about(way_back),
                when(*at, now, zone)
            )
        }
    }
}

/// What somebody without a screen is told when the last safe rollback comes nearer; nothing while it is far.
pub fn warning(plan: &Plan, way_back: &WayBack, now: DateTime<Utc>, zone: Tz) -> Option<String> {
    let Safe::Until { limit, .. } = &way_back.safe else {
        return None;
    };
    match way_back.nearness(now) {
        Nearness::Far => None,
        Nearness::Within15 | Nearness::Within5 | Nearness::Passed => Some(format!(
            "{}; {} back takes {}",
            safe(plan, way_back, now, zone),
            limit_word(*limit),
            taking(way_back)
        )),
    }
}

/// Whether the latest safe instant rests on less than measurements.
fn about(way_back: &WayBack) -> &'static str {
    if way_back.at_least() {
        "no later than "
    } else if way_back.is_guess() {
        "about "
    } else {
        ""
    }
}

const fn limit_word(limit: Limit) -> &'static str {
    match limit {
        Limit::WindowEnd => "the window's end sets it, and going",
        Limit::BusinessOpening => "the opening of the business sets it, and going",
        Limit::LogRetention => "the log's retention sets it, and going",
    }
}

/// What sets the limit, as a noun.
pub const fn limit_noun(limit: Limit) -> &'static str {
    match limit {
        Limit::WindowEnd => "window end",
        Limit::BusinessOpening => "business opening",
        Limit::LogRetention => "log retention",
    }
}

/// How long the unwinding takes: `12:00`, `at least 12:00`, `12:00 by guess`.
pub fn taking(way_back: &WayBack) -> String {
    let whole = clock(way_back.unwinding);
    match (way_back.at_least(), way_back.is_guess()) {
        (true, _) => format!("at least {whole}"),
        (false, true) => format!("{whole} by guess"),
        (false, false) => whole,
    }
}

/// The step that runs longer than its estimate, if one does.
pub fn over(plan: &Plan, forecast: &Forecast) -> Option<String> {
    forecast.steps.iter().find_map(|step| match step.course {
        Course::Running { over: Some(by) } => Some(format!(
            "{} is OVER its estimate by {}",
            label(plan, &step.step),
            clock(by)
        )),
        Course::Running { over: None } | Course::Done | Course::Waiting => None,
    })
}

/// Where an estimate comes from, in a word or two.
pub fn basis(basis: Basis) -> String {
    match basis {
        Basis::Earlier(count) => format!("{count} runs"),
        Basis::Planned(0) => "planned".to_owned(),
        Basis::Planned(count) => format!("planned, {count} of 3 runs"),
        Basis::Unknown(0) => "unknown".to_owned(),
        Basis::Unknown(count) => format!("unknown, {count} of 3 runs"),
    }
}

/// Where the estimate of an undo comes from.
pub fn undo_basis(basis: UndoBasis) -> String {
    match basis {
        UndoBasis::Earlier(count) => format!("p90 of {count} runs"),
        UndoBasis::Timeout => "guess: its timeout".to_owned(),
        UndoBasis::Expect => "guess: as long as the step".to_owned(),
        UndoBasis::StepTimeout => "guess: the step's timeout".to_owned(),
        UndoBasis::Unknown => "unknown".to_owned(),
    }
}

/// What a step is planned to take.
pub fn planned(step: &PlannedStep) -> String {
    step.expect.map_or_else(|| "?".to_owned(), |expect| span(expect.0))
}

/// Both quantiles of a time.
fn pair(p50: TimeDelta, p90: TimeDelta) -> String {
    let (p50, p90) = (clock(p50), clock(p90));
    if p50 == p90 { p50 } else { format!("{p50} (p90 {p90})") }
}

/// The length and the steps of the critical path.
pub fn path(forecast: &Forecast) -> Vec<(&'static str, String)> {
    if !forecast.is_known() {
        return vec![("expected", "unknown: no step says what it takes".to_owned())];
    }
    let bound = if forecast.at_least() { "at least " } else { "" };
    let silent = match forecast.silent {
        0 => String::new(),
        1 => "; of 1 step nothing is known".to_owned(),
        count => format!("; of {count} steps nothing is known"),
    };
    let whole = |path: &super::forecast::Path| path.machine + path.human;
    let mut lines = vec![(
        "expected",
        format!(
            "{bound}{}: machine {}, people {}{silent}",
            pair(whole(&forecast.p50), whole(&forecast.p90)),
            pair(forecast.p50.machine, forecast.p90.machine),
            pair(forecast.p50.human, forecast.p90.human),
        ),
    )];
    let ids: Vec<&str> = forecast.p90.steps.iter().map(|step| step.0.as_str()).collect();
    lines.push(("critical path", ids.join(" → ")));
    lines
}

/// Window, downtime and deadlines against the forecast, named.
pub fn verdicts(plan: &Plan, forecast: &Forecast, zone: Tz) -> Vec<(&'static str, String)> {
    let known = forecast.is_known();
    let mut lines = Vec::new();
    if let Some(window) = &forecast.window {
        lines.push(("window", window_words(window, forecast, known, zone)));
    }
    if let Some(downtime) = &forecast.downtime {
        lines.push(("downtime", downtime_words(downtime, known)));
    }
    let deadlines = forecast.deadlines.iter();
    lines.extend(deadlines.map(|deadline| ("deadline", deadline_words(plan, deadline, known, zone))));
    lines
}

fn window_words(window: &WindowOutlook, forecast: &Forecast, known: bool, zone: Tz) -> String {
    let span = format!("{} to {}", time(window.opens, zone), time(window.closes, zone));
    if !known {
        return format!("{span}: unknown");
    }
    format!("{span}: {}", both(window.p50, window.p90, forecast.at_least()))
}

fn downtime_words(downtime: &DowntimeOutlook, known: bool) -> String {
    if !known {
        return "unknown".to_owned();
    }
    let bound = if downtime.at_least { "at least " } else { "" };
    let total = format!("{bound}{}", pair(downtime.total.p50, downtime.total.p90));
    match downtime.budget {
        None => total,
        Some(budget) => {
            let left = |taken: TimeDelta| budget - taken;
            format!(
                "{total} of {} agreed: {}",
                clock(budget),
                both(left(downtime.total.p50), left(downtime.total.p90), downtime.at_least)
            )
        }
    }
}

fn deadline_words(plan: &Plan, deadline: &DeadlineOutlook, known: bool, zone: Tz) -> String {
    let what = format!("{} by {}", label(plan, &deadline.step), time(deadline.at, zone));
    if deadline.done {
        format!("{what}: done, {}", spare(deadline.p50))
    } else if known {
        format!("{what}: {}", both(deadline.p50, deadline.p90, deadline.at_least))
    } else {
        format!("{what}: unknown")
    }
}

fn both(p50: TimeDelta, p90: TimeDelta, at_most: bool) -> String {
    let bound = if at_most { "at most " } else { "" };
    let (p50, p90) = (spare(p50), spare(p90));
    if p50 == p90 {
        format!("{bound}{p50}")
    } else {
        format!("{bound}{p50}, at p90 {p90}")
    }
}

fn spare(margin: TimeDelta) -> String {
    if margin < TimeDelta::zero() {
        format!("MISSED by {}", clock(-margin))
    } else {
        format!("{} to spare", clock(margin))
    }
}

/// The way back after a step of a run that has not begun, in one line.
pub fn point(plan: &Plan, point: &Point, zone: Tz) -> String {
    let way_back = &point.way_back;
    let lost = if way_back.loses_rows { ", loses rows" } else { "" };
    let redo = if way_back.redo > TimeDelta::zero() {
        format!(", doing it again costs {}", clock(way_back.redo))
    } else {
        String::new()
    };
    let until = match &way_back.safe {
        Safe::NothingStands => return "nothing to take back".to_owned(),
        Safe::Never(step) => return format!("NO WAY BACK: {} cannot be undone", label(plan, step)),
        Safe::NoLimit => String::new(),
        Safe::Until { at, limit } => {
            let margin = point.margin.unwrap_or_default();
            let left = if margin < TimeDelta::zero() {
                format!("PASSED {} before the step ends", clock(-margin))
            } else {
                format!("{} after the step ends", clock(margin))
            };
            format!(
                ", safe until {}{}: {left} ({})",
                about(way_back),
                when(*at, *at - margin, zone),
                limit_noun(*limit)
            )
        }
    };
    format!("back in {}{until}{lost}{redo}", taking(way_back))
}
