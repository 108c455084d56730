//! The top lines: where we are, in which environment, how the clocks stand, whether anything is wrong.

use chrono::{DateTime, TimeDelta, Utc};
use ratatui::text::{Line, Span};

use crate::frontend::tui::model::Model;
use crate::projection::escape::{clip, fit, visible, width};
use crate::projection::words::{clock, environment, label, span};
use crate::run::state::{Phase, Stage, UnwindStage};

use super::text::bar;
use super::timing;

/// The header's lines.
pub fn lines(model: &Model, columns: usize) -> Vec<Line<'static>> {
    let mut lines = vec![bar_line(model, columns)];
    lines.extend(timing::lines(model, columns).unwrap_or_else(|| vec![clocks(model, columns)]));
    lines.push(standing(model, columns));
    if let Some(lab) = &model.session.lab {
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
    let rest = window.closes - model.now;
    let left = if model.now < window.opens {
        format!("opens in {}", clock(window.opens - model.now))
    } else if rest > TimeDelta::zero() {
        format!("{} left", clock(rest))
    } else {
        format!("OVER by {}", clock(-rest))
    };
    Some(format!("window {}–{} {left}", at(window.opens), at(window.closes)))
}

/// One line that says what the run waits for.
fn standing(model: &Model, columns: usize) -> Line<'static> {
    let state = model.state();
    let theme = model.theme;
    let (text, style) = if let Some(reason) = &model.halted {
        (format!("✘ THE JOURNAL CANNOT BE WRITTEN: {reason}"), theme.bad())
    } else if let Some(leaving) = &model.leaving {
        (format!("leaving: {}", leaving.reason), theme.warn())
    } else if let Some(step) = model.doubtful_step() {
        (
            format!("? IN DOUBT: {} - d decides", label(&model.plan, &step)),
            theme.bad(),
        )
    } else if let Some((step, _)) = state.stuck.first() {
        (
            format!("✘ HANDS NEEDED: {} - d decides", label(&model.plan, step)),
            theme.bad(),
        )
    } else if let Some(hold) = &state.hold {
        (format!("⏸ HELD by {}: {}", hold.person, hold.reason), theme.warn())
    } else {
        match state.phase {
            Phase::New => ("not begun".to_owned(), theme.plain()),
            Phase::Running => running(model),
            Phase::Unwinding => (unwinding(model), theme.warn()),
            Phase::CommitGate(request) => (
                format!("⏸ every step is done; request {request} asks to commit - a looks"),
                theme.warn(),
            ),
            Phase::Closing(_) => (
                "▶ the commit is approved: closing effects are under way".to_owned(),
                theme.busy(),
            ),
            Phase::Closed { state, exit } => (
                format!(
                    "■ the run is over: {} (exit {exit})",
                    crate::projection::words::closed(state)
                ),
                theme.strong(),
            ),
        }
    };
    Line::styled(clip(&visible(&text), columns), style)
}

fn running(model: &Model) -> (String, ratatui::style::Style) {
    let state = model.state();
    if let Some(step) = model.failed_step() {
        return (
            format!("✘ FAILED: {} - d decides", label(&model.plan, &step)),
            model.theme.bad(),
        );
    }
    if let Some(request) = model.open_request() {
        let about = request
            .step
            .as_ref()
            .map_or_else(String::new, |step| format!(": {}", label(&model.plan, step)));
        return (
            format!("⏸ AT GATE, request {}{about} - a looks", request.id),
            model.theme.warn(),
        );
    }
    let current = state.active().and_then(|index| state.facts.steps.get(index));
    let text = current.map_or_else(
        || "▶ running".to_owned(),
        |facts| {
            let word = state
                .step(&facts.id)
                .map_or("", |step| crate::projection::words::stage(step.stage).1);
            format!("▶ {word}: {}", label(&model.plan, &facts.id))
        },
    );
    (text, model.theme.busy())
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
