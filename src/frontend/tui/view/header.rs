//! The top lines: where we are, in which environment, how the clocks stand, whether anything is wrong.

use chrono::{DateTime, TimeDelta, Utc};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::frontend::tui::able::answerable;
use crate::frontend::tui::model::Model;
use crate::projection::escape::{clip, fit, visible, width};
use crate::projection::proof::waiting;
use crate::projection::words::{about, clock, environment, label, settled, span};
use crate::run::event::Subject;
use crate::run::facts::StepId;
use crate::run::state::{Hold, Phase, Request, Stage, UnwindStage};

use super::alarms;
use super::alarms::number;
use super::text::bar;
use super::timing;

/// From this many rows on there is room for the lab's addresses.
const ROOMY: u16 = 20;

/// The header's lines.
pub fn lines(model: &Model, columns: usize) -> Vec<Line<'static>> {
    let mut lines = vec![bar_line(model, columns)];
    lines.extend(timing::lines(model, columns).unwrap_or_else(|| vec![clocks(model, columns)]));
    lines.push(standing(model, columns));
    lines.extend(held_because(model, columns));
    lines.extend(alarms::line(model, columns));
    // Where there is little room, what asks a person needs it.
    if let Some(lab) = model.session.lab.as_ref().filter(|_| model.size.1 >= ROOMY) {
        let text = format!(
            "lab: dns {} │ aws {} │ speed ×{} │ {}",
            lab.dns, lab.aws, lab.speed, lab.folder
        );
        lines.push(Line::styled(clip(&visible(&text), columns), model.theme.faint()));
    }
    lines
}

/// The environment, loudly, in words and colour.
fn bar_line(model: &Model, columns: usize) -> Line<'static> {
    let kind = model.plan.environment.kind;
    let dry = if model.session.dry_run { "DRY RUN " } else { "" };
    let name = &model.plan.environment.name;
    let word = environment(kind);
    let named = if name.eq_ignore_ascii_case(word) {
        String::new()
    } else {
        format!(" {name}")
    };
    let badge = visible(&format!(" {dry}{word}{named} "));
    let now = model.now.with_timezone(&model.session.zone).format("%H:%M:%S %Z");
    let right = visible(&format!(
        "{} │ {} │ {now} ",
        model.session.run_id,
        model.state().operator
    ));
    let room = columns.saturating_sub(width(&badge) + width(&right) + 2);
    let title = fit(&visible(&model.plan.title), room);
    let style = model.theme.environment(kind, model.session.dry_run);
    Line::from(vec![
        Span::styled(badge, style),
        Span::styled(format!(" {title} "), model.theme.strong()),
        Span::styled(right, model.theme.plain()),
    ])
}

fn clocks(model: &Model, columns: usize) -> Line<'static> {
    let mut parts = vec![downtime(model, true)];
    parts.extend(window(model));
    parts.push(format!("steps {}/{}", done_steps(model), model.plan.steps.len()));
    let journal = if model.halted.is_some() {
        "journal ✘ HALTED".to_owned()
    } else {
        format!("journal ● {} records", model.follower.last)
    };
    parts.push(journal);
    let style = if model.halted.is_some() {
        model.theme.bad()
    } else {
        model.theme.plain()
    };
    Line::styled(clip(&parts.join(" │ "), columns), style)
}

/// How many steps are done.
pub(super) fn done_steps(model: &Model) -> usize {
    let steps = model.state().steps.iter();
    steps.filter(|step| step.stage == Stage::Done).count()
}

/// The downtime clock, with a bar where there is room for it.
pub(super) fn downtime(model: &Model, with_bar: bool) -> String {
    let clock_of = &model.follower.story.downtime;
    let budget = model.plan.environment.downtime_budget;
    if !clock_of.is_declared() {
        return "downtime not marked".to_owned();
    }
    let agreed = budget.map_or_else(String::new, |budget| format!("/{}", span(budget.0)));
    let Some(taken) = clock_of.so_far(model.now) else {
        return format!("downtime not begun{agreed}");
    };
    let running = if clock_of.is_running() { "▶ " } else { "" };
    let Some(budget) = budget.filter(|budget| budget.0 > 0) else {
        return format!("downtime {running}{}", clock(taken));
    };
    let budget_ms = i64::try_from(budget.0).unwrap_or(i64::MAX);
    let over = if taken.num_milliseconds() > budget_ms {
        " OVER"
    } else {
        ""
    };
    let cells = if with_bar {
        format!(" {}", bar(ratio(taken, budget_ms), 8))
    } else {
        String::new()
    };
    format!("downtime {running}{}{agreed}{cells}{over}", clock(taken))
}

/// Exact enough for eight cells.
fn ratio(taken: TimeDelta, budget_ms: i64) -> f64 {
    let percent = taken.num_milliseconds().saturating_mul(100) / budget_ms.max(1);
    f64::from(i32::try_from(percent).unwrap_or(100)) / 100.0
}

fn window(model: &Model) -> Option<String> {
    let window = model.plan.environment.window.as_ref()?;
    let zone = window
        .timezone
        .as_deref()
        .and_then(|name| name.parse::<chrono_tz::Tz>().ok())
        .unwrap_or(model.session.zone);
    let at = |time: DateTime<Utc>| time.with_timezone(&zone).format("%H:%M").to_string();
    // A window that was extended closes later than the plan says.
    let closes = model
        .state()
        .window_closes_ms
        .and_then(DateTime::from_timestamp_millis)
        .unwrap_or(window.closes);
    let rest = closes - model.now;
    let left = if model.now < window.opens {
        format!("opens in {}", clock(window.opens - model.now))
    } else if rest > TimeDelta::zero() {
        format!("{} left", clock(rest))
    } else {
        format!("OVER by {}", clock(-rest))
    };
    Some(format!("window {}–{} {left}", at(window.opens), at(closes)))
}

/// One line that says what the run waits for, with the key that goes on; what runs beside it comes first.
fn standing(model: &Model, columns: usize) -> Line<'static> {
    let (text, hint, style) = waits_for(model);
    // What only tells what runs has told it.
    let beside = if text.starts_with(RUNS) {
        String::new()
    } else {
        beside(model)
    };
    let text = visible(&format!("{beside}{text}"));
    let room = columns.saturating_sub(width(&hint));
    Line::styled(format!("{}{hint}", clip(&text, room)), style)
}

/// The sign of what runs.
const RUNS: &str = "▶";

fn waits_for(model: &Model) -> (String, String, Style) {
    let state = model.state();
    let theme = model.theme;
    let plain = |text: String, style: Style| (text, String::new(), style);
    if let Some(reason) = &model.halted {
        return plain(format!("✘ THE JOURNAL CANNOT BE WRITTEN: {reason}"), theme.bad());
    }
    if let Some(leaving) = &model.leaving {
        return plain(format!("leaving: {}", leaving.reason), theme.warn());
    }
    let decides = decides(model);
    let doubtful = model.doubtful();
    if !doubtful.is_empty() {
        return (format!("? IN DOUBT: {}", named(model, &doubtful)), decides, theme.bad());
    }
    if !state.stuck.is_empty() {
        let text = format!("✘ HANDS NEEDED: {}", named(model, &model.failed()));
        return (text, decides, theme.bad());
    }
    if let Some(hold) = &state.hold {
        return held(model, hold);
    }
    match state.phase {
        Phase::New => plain("not begun".to_owned(), theme.plain()),
        Phase::Running => running(model),
        Phase::Unwinding => plain(unwinding(model), theme.warn()),
        Phase::CommitGate(request) => plain(
            format!(
                "⏸ every step is {}; request {request} asks to commit - a looks",
                settled(state)
            ),
            theme.warn(),
        ),
        Phase::Closing(_) => plain(
            format!("{RUNS} the commit is approved: closing effects are under way"),
            theme.busy(),
        ),
        Phase::Closed { state, exit } => plain(
            format!(
                "■ the run is over: {} (exit {exit})",
                crate::projection::words::closed(state)
            ),
            theme.strong(),
        ),
    }
}

/// The key that decides; a gate that can be answered all the same is not forgotten.
fn decides(model: &Model) -> String {
    answerable_request(model).map_or_else(
        || " - d decides".to_owned(),
        |request| format!(" - d decides, a looks at request {}", request.id),
    )
}

fn answerable_request(model: &Model) -> Option<&Request> {
    model
        .open_request()
        .filter(|request| answerable(model.state(), request).is_ok())
}

/// Why the run is held, in a line of its own.
fn held_because(model: &Model, columns: usize) -> Option<Line<'static>> {
    let hold = model.state().hold.as_ref().filter(|_| !model.state().is_closed())?;
    let text = clip(&visible(&format!("  because: {}", hold.reason)), columns);
    Some(Line::styled(text, model.theme.warn()))
}

/// Who holds, since when, who sees to it, until when; and whether something can be approved all the same.
fn held(model: &Model, hold: &Hold) -> (String, String, Style) {
    let zone = model.session.zone;
    let at = |time: DateTime<Utc>| time.with_timezone(&zone).format("%H:%M").to_string();
    let since = model.follower.story.timeline.held_since;
    let since = since.map_or_else(String::new, |since| {
        format!(", since {} ({})", at(since), clock(model.now - since))
    });
    let owner = hold
        .owner
        .as_ref()
        .map_or_else(String::new, |owner| format!(", owner {owner}"));
    let until = hold.until_ms.and_then(DateTime::from_timestamp_millis);
    let overdue = until.is_some_and(|until| model.now >= until);
    let until = match until {
        None => ", open-ended".to_owned(),
        Some(until) if overdue => format!(", OVERDUE since {}", at(until)),
        Some(until) => format!(", until {}", at(until)),
    };
    let text = format!("⏸ HELD by {}{until}{owner}{since}", hold.person);
    let failed: Vec<String> = model.failed().iter().map(|step| number(model, step)).collect();
    let hint = match (failed.is_empty(), answerable_request(model)) {
        (false, _) => format!(" │ ✘ FAILED {}{}", failed.join(", "), decides(model)),
        (true, Some(request)) => format!(" - a looks at request {}", request.id),
        (true, None) => String::new(),
    };
    let style = if overdue { model.theme.bad() } else { model.theme.warn() };
    (text, hint, style)
}

/// The first of them in full, the others by number.
fn named(model: &Model, steps: &[StepId]) -> String {
    let [first, rest @ ..] = steps else {
        return String::new();
    };
    let more: Vec<String> = rest.iter().map(|step| number(model, step)).collect();
    if more.is_empty() {
        label(&model.plan, first)
    } else {
        format!("{}; also {}", label(&model.plan, first), more.join(", "))
    }
}

/// What runs while something else is waited for.
fn beside(model: &Model) -> String {
    let running: Vec<String> = model.running().iter().map(|step| number(model, step)).collect();
    if running.is_empty() {
        String::new()
    } else {
        format!("{RUNS} {} │ ", running.join(", "))
    }
}

fn running(model: &Model) -> (String, String, Style) {
    let state = model.state();
    let failed = model.failed();
    if !failed.is_empty() {
        let text = format!("✘ FAILED: {}", named(model, &failed));
        return (text, decides(model), model.theme.bad());
    }
    if let Some(request) = model.open_request() {
        let what = about(&model.plan, request.subject, request.step.as_ref());
        let open: Vec<String> = state.open_requests().map(|request| short(model, request)).collect();
        let text = if open.len() > 1 {
            format!(
                "⏸ {} GATES OPEN: {}; request {}: {what}",
                open.len(),
                open.join(", "),
                request.id
            )
        } else {
            format!("⏸ AT GATE, request {}: {what}", request.id)
        };
        return (text, " - a looks".to_owned(), model.theme.warn());
    }
    let running = model.running();
    if let Some(step) = waiting(state, model.now).filter(|_| running.is_empty()) {
        let text = format!(
            "{RUNS} PREFLIGHT: looking before the first change: {}",
            label(&model.plan, step)
        );
        return (text, String::new(), model.theme.busy());
    }
    let current = running.first().or_else(|| {
        let facts = state.active().and_then(|index| state.facts.steps.get(index));
        facts.map(|facts| &facts.id)
    });
    let text = match (current, running.len()) {
        (None, _) => format!("{RUNS} running"),
        (Some(step), 0 | 1) => {
            let word = state
                .step(step)
                .map_or("", |step| crate::projection::words::stage(step.stage).1);
            format!("{RUNS} {word}: {}", label(&model.plan, step))
        }
        (Some(_), count) => format!("{RUNS} {count} running: {}", named(model, &running)),
    };
    (text, String::new(), model.theme.busy())
}

/// A gate in a word: the number of its step, or what it is about.
fn short(model: &Model, request: &Request) -> String {
    match (request.subject, &request.step) {
        (Subject::Step, Some(step)) => number(model, step),
        (Subject::Skip, Some(step)) => format!("skip {}", number(model, step)),
        (Subject::Window, _) => "window".to_owned(),
        (Subject::Amend, _) => "amend".to_owned(),
        (Subject::Unwind, _) => "roll back".to_owned(),
        (Subject::Commit, _) => "commit".to_owned(),
        (Subject::Step | Subject::Skip, None) => request.id.to_string(),
    }
}

fn unwinding(model: &Model) -> String {
    let Some(unwind) = &model.state().unwind else {
        return "◀ ROLLING BACK".to_owned();
    };
    let scope = unwind.to.as_ref().map_or_else(
        || "the whole run".to_owned(),
        |to| format!("to {}", label(&model.plan, to)),
    );
    let lost = match unwind.lost_at_last.or(unwind.lost) {
        Some(0) | None => String::new(),
        Some(rows) => format!(", {rows} ROWS LOST"),
    };
    let stage = match unwind.stage {
        UnwindStage::Replan => "to be planned anew".to_owned(),
        UnwindStage::Preparing => "gathering what it would do".to_owned(),
        UnwindStage::AtGate(request) => format!("request {request} asks - a looks"),
        UnwindStage::Running(_) => format!("{} left", unwind.steps.len()),
    };
    format!("◀ ROLLING BACK {scope}: {stage}{lost}")
}
