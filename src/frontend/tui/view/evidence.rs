//! What a gate shows before it asks, in lines: exact commands, notes, observed identity, checks, votes. Must not
//! shorten a command.

use ratatui::text::Line;
use serde_json::Value;

use crate::engine::handle::{BriefedAction, Briefing};
use crate::frontend::tui::model::Model;
use crate::projection::words::{clock, label, verdict};
use crate::run::event::{CheckResult, Decision, Role};
use crate::run::facts::Who;
use crate::run::gate::{minimum, missing, roles};
use crate::run::poll::is_poll;
use crate::run::state::Request;

use super::poll_table;
use super::text::{hanging, named};

/// Everything of a briefing.
pub fn briefing(model: &Model, briefing: &Briefing, columns: usize) -> Vec<Line<'static>> {
    let theme = model.theme;
    let mut lines = losses(model, briefing, columns);
    if briefing.step.is_none() && !briefing.actions.is_empty() {
        lines.push(Line::styled("Undoes, in this order", theme.strong()));
    }
    for (index, action) in briefing.actions.iter().enumerate() {
        let of_unwinding = briefing.step.is_none();
        if of_unwinding {
            let what = match action.role {
                Role::Do => "do",
                Role::Undo => "undo",
                Role::Close => "close",
            };
            let head = format!("{:>2}. {what} ", index + 1);
            lines.extend(hanging(
                &head,
                &label(&model.plan, &action.step),
                columns,
                theme.strong(),
            ));
        }
        lines.extend(commands(model, action, columns));
    }
    for check in &briefing.checks {
        lines.extend(one_check(model, check, columns));
    }
    lines
}

/// What it costs and what could not be found out: before everything else.
fn losses(model: &Model, briefing: &Briefing, columns: usize) -> Vec<Line<'static>> {
    let theme = model.theme;
    let mut lines = match briefing.lost {
        Some(0) => hanging("rows lost  ", "0 so far", columns, theme.good()),
        Some(rows) => {
            let text = format!("{rows} so far; the summary says the final number");
            hanging("ROWS LOST  ", &text, columns, theme.bad())
        }
        None => Vec::new(),
    };
    for fault in &briefing.faults {
        lines.extend(hanging("not known  ", fault, columns, theme.bad()));
    }
    lines
}

/// One action: its summary, its exact commands, its notes, what it acts on.
pub fn commands(model: &Model, action: &BriefedAction, columns: usize) -> Vec<Line<'static>> {
    let theme = model.theme;
    let head = if action.summary.is_empty() {
        action.uses.clone()
    } else {
        format!("{}: {}", action.uses, action.summary)
    };
    let mut lines = hanging("  ", &head, columns, theme.plain());
    for command in &action.commands {
        lines.extend(hanging("  $ ", command, columns, theme.strong()));
    }
    for note in &action.notes {
        lines.extend(hanging("  ! ", note, columns, theme.plain()));
    }
    if !action.identity.is_null() {
        let text = format!("acts on {}", flat(&action.identity));
        lines.extend(hanging("  ", &text, columns, theme.faint()));
    }
    lines
}

/// A value in one line, without braces where it is an object.
pub fn flat(value: &Value) -> String {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| format!("{name} {}", flat(value)))
            .collect::<Vec<_>>()
            .join(", "),
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => value.to_string(),
    }
}

/// One check with its verdict in a sign and a word.
pub fn one_check(model: &Model, check: &CheckResult, columns: usize) -> Vec<Line<'static>> {
    let (sign, style) = if check.unverifiable {
        ("○", model.theme.faint())
    } else if check.ok {
        ("✔", model.theme.good())
    } else {
        ("✘", model.theme.bad())
    };
    let word = match verdict(check) {
        "passed" => String::new(),
        other => format!("{other}: "),
    };
    let text = format!("{} {}: {word}{}", check.when, check.uses, check.detail);
    hanging(&format!("  {sign} "), &text, columns, style)
}

/// Who has voted and who is missing.
pub fn votes(model: &Model, request: &Request, columns: usize) -> Vec<Line<'static>> {
    let theme = model.theme;
    let mut lines = if is_poll(&request.gate) {
        poll_table::lines(model, request, columns)
    } else {
        approvals(model, request, columns)
    };
    if let Some(broken) = &request.broken {
        let text = format!("GLASS BROKEN by {}: {}", broken.person, broken.reason);
        lines.extend(hanging("  ! ", &text, columns, theme.bad()));
    }
    for signer in &request.countersigned {
        let text = format!("countersigned by {signer}");
        lines.extend(hanging("  ✔ ", &text, columns, theme.good()));
    }
    lines
}

fn approvals(model: &Model, request: &Request, columns: usize) -> Vec<Line<'static>> {
    let theme = model.theme;
    let approved = request
        .votes
        .iter()
        .filter(|vote| vote.decision == Decision::Approve)
        .count();
    let left = request.expires_ms.map_or_else(String::new, |expires| {
        let rest = expires - model.now.timestamp_millis();
        format!(", expires in {}", clock(chrono::TimeDelta::milliseconds(rest)))
    });
    let one = |approved: usize, needed: u32, roles: &[String]| format!("{approved}/{needed} of {}", roles.join(" or "));
    let asked = match &request.gate.who {
        Who::Quorum(quorums) => {
            let each = quorums.iter().map(|quorum| {
                let needed = quorum.min.max(1);
                let found = needed.saturating_sub(missing(model.state(), request, quorum));
                one(usize::try_from(found).unwrap_or(usize::MAX), needed, &quorum.roles)
            });
            each.collect::<Vec<_>>().join(" and ")
        }
        Who::Open { .. } => "nobody is asked".to_owned(),
        Who::Operator | Who::Poll { .. } => one(approved, minimum(&request.gate), &roles(&request.gate)),
    };
    let asked = format!("{asked}{left}");
    let mut lines = named("Approvals", &asked, columns, theme.strong(), theme.plain());
    for vote in &request.votes {
        let (sign, style) = match vote.decision {
            Decision::Approve => ("✔", theme.good()),
            Decision::Reject => ("✘ REJECTED", theme.bad()),
            Decision::Abstain => ("○ abstained", theme.warn()),
        };
        let comment = if vote.comment.is_empty() {
            String::new()
        } else {
            format!(": {}", vote.comment)
        };
        let heard = vote
            .attested_by
            .as_ref()
            .map_or_else(String::new, |by| format!(" (heard, written down by {by})"));
        let text = format!("{} as {}{heard}{comment}", vote.person, vote.role);
        lines.extend(hanging(&format!("  {sign} "), &text, columns, style));
    }
    lines
}
