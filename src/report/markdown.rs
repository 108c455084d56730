//! A run as Markdown (CommonMark with tables): the summary, each step, each gate with what it showed, the way back,
//! notes, every event, and the verdict on the journal.

use std::fmt::Write;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

use crate::projection::Story;
use crate::projection::escape::visible;
use crate::projection::summary::{NextCommands, Summary};
use crate::projection::words::{
    about, assured, clock, decided, describe, environment, gates, label, rollback, standing, step_in,
};
use crate::run::Event;
use crate::run::event::Role;
use crate::run::facts::RequestId;

use super::source::{Entry, Evidence, Shown, Source};

/// The report.
pub fn render(source: &Source<'_>) -> String {
    let mut out = String::new();
    // Writing into a string cannot fail.
    let _infallible = write_all(source, &mut out);
    out
}

fn write_all(source: &Source<'_>, out: &mut String) -> std::fmt::Result {
    let mut story = Story::new(source.plan);
    for entry in source.entries {
        story.fold(entry.at, &entry.event);
    }
    let summary = Summary::new(
        source.plan,
        source.state,
        &story,
        source.run,
        &NextCommands::default(),
        source.now,
    );
    writeln!(out, "# {}\n", plain(&source.plan.title))?;
    writeln!(out, "{}\n", plain(&summary.headline))?;
    writeln!(out, "```text")?;
    for line in &summary.lines {
        writeln!(out, "{}", visible(line))?;
    }
    writeln!(out, "```\n")?;
    origin(source, out)?;
    steps(source, &story, out)?;
    requests(source, out)?;
    way_back(source, out)?;
    notes(source, out)?;
    events(source, out)?;
    writeln!(out, "## The journal\n\n```text")?;
    for line in source.verdict {
        writeln!(out, "{}", visible(line))?;
    }
    writeln!(out, "```\n")?;
    let zone = if source.zone == chrono_tz::Tz::UTC {
        "UTC".to_owned()
    } else {
        format!("{} and UTC", source.zone.name())
    };
    writeln!(
        out,
        "Records after the last witness can be rewritten by whoever owns the host. Typed approvals name a person who \
         was claimed at the keyboard; they carry no signature.\n\n\
         Times are {zone}. Retention: five years, unless the client's policy says otherwise."
    )
}

/// Where the run came from: its first record.
fn origin(source: &Source<'_>, out: &mut String) -> std::fmt::Result {
    let Some((first, Event::Genesis { operator, data })) = source.entries.first().map(|first| (first, &first.event))
    else {
        return Ok(());
    };
    let environment = &source.plan.environment;
    writeln!(out, "## Origin\n\n| | |\n|---|---|")?;
    let mut row = |name: &str, value: &str| writeln!(out, "| {name} | {} |", plain(value));
    row("run", source.run)?;
    row("begun", &moment(source, first.at))?;
    row("by", &format!("{operator} ({})", first.via))?;
    row(
        "environment",
        &format!("{} ({})", environment.name, self::environment(environment.kind)),
    )?;
    for (key, value) in data {
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        if !["environment", "kind"].contains(&key.as_str()) {
            row(&key.replace('_', " "), &text)?;
        }
    }
    writeln!(out)
}

fn steps(source: &Source<'_>, story: &Story, out: &mut String) -> std::fmt::Result {
    writeln!(out, "## Steps\n")?;
    writeln!(
        out,
        "| step | state | attempts | begun | machine | people | gate | rollback |\n|---|---|---|---|---|---|---|---|"
    )?;
    for (index, (planned, step)) in source.plan.steps.iter().zip(&source.state.steps).enumerate() {
        let times = story.timeline.of(&crate::run::facts::StepId(planned.id.clone()));
        let last = times.and_then(|times| times.last());
        let begun = last.map_or_else(String::new, |attempt| moment(source, attempt.began));
        let machine = last.map_or_else(String::new, |attempt| clock(attempt.machine(source.now)));
        let people = last.map_or_else(String::new, |attempt| clock(attempt.human(source.now)));
        let (sign, word) = standing(source.state, step);
        writeln!(
            out,
            "| {} {} | {sign} {word} | {} | {begun} | {machine} | {people} | {} | {} |",
            index + 1,
            plain(&planned.title),
            step.attempt,
            plain(&gates(source.plan, planned)),
            plain(&rollback(planned).join("; ")),
        )?;
    }
    writeln!(out)
}

/// Each request with its votes and with what was shown.
fn requests(source: &Source<'_>, out: &mut String) -> std::fmt::Result {
    writeln!(out, "## Gates\n")?;
    for entry in source.entries {
        let Event::GateRequested {
            step,
            request,
            subject,
            action_digest,
            evidence_digest,
            auto_reason,
            reason,
            escalated,
            ..
        } = &entry.event
        else {
            continue;
        };
        let what = about(source.plan, *subject, step.as_ref());
        writeln!(out, "### Request {request}: {}\n", plain(&what))?;
        writeln!(out, "- asked {} (record {})", moment(source, entry.at), entry.seq)?;
        if let Some(reason) = auto_reason {
            writeln!(out, "- nobody was asked: {}", plain(reason))?;
        }
        if let Some(reason) = reason {
            writeln!(out, "- asked because: {}", plain(reason))?;
        }
        if *escalated {
            writeln!(out, "- escalated: those who were asked first did not answer in time")?;
        }
        votes(source, *request, out)?;
        writeln!(out, "- action digest `{action_digest}`")?;
        writeln!(out, "- evidence digest `{evidence_digest}`")?;
        shown(entry, out)?;
        writeln!(out)?;
    }
    Ok(())
}

fn votes(source: &Source<'_>, about: RequestId, out: &mut String) -> std::fmt::Result {
    for entry in source.entries {
        if let Some(line) = vote(source, &entry.event, about) {
            let at = moment(source, entry.at);
            writeln!(out, "- {at} {} (record {})", plain(&line), entry.seq)?;
        }
    }
    Ok(())
}

/// What an event says about a request.
fn vote(source: &Source<'_>, event: &Event, about: RequestId) -> Option<String> {
    if let Event::GateVote {
        request,
        decision,
        person,
        role,
        assurance,
        comment,
        attested_by,
        poll,
        also,
    } = event
    {
        let what = decided(*decision, *poll);
        let known = source.plan.environment.people.get(person);
        let org = known.and_then(|person| person.org.as_ref());
        let org = org.map_or_else(String::new, |org| format!(", {org}"));
        let said = if comment.is_empty() {
            String::new()
        } else {
            format!(": {comment}")
        };
        let heard = attested_by
            .as_ref()
            .map_or_else(String::new, |by| format!(", written down by {by}"));
        let roles: Vec<&str> = std::iter::once(role).chain(also).map(String::as_str).collect();
        let role = roles.join(" and ");
        let words = format!(
            "{what} by {person} as {role}{org} ({}{heard}){said}",
            assured(*assurance)
        );
        return (*request == about).then_some(words);
    }
    if let Event::GateVoided { request, reason } = event {
        return (*request == about).then(|| format!("void: {reason}"));
    }
    if let Event::GateBroken { request, .. } | Event::GateCountersigned { request, .. } = event {
        return (*request == about).then(|| describe(event));
    }
    let granted = matches!(event, Event::GateGranted { request } if *request == about);
    let expired = matches!(event, Event::GateExpired { request } if *request == about);
    let words = [(granted, "granted"), (expired, "expired")];
    words
        .into_iter()
        .find(|(holds, _)| *holds)
        .map(|(_, word)| word.to_owned())
}

/// A piece's text, or what became of it.
fn text_of(evidence: &Evidence) -> Result<&str, &'static str> {
    match &evidence.shown {
        Shown::Text(text) => Ok(text),
        Shown::Erased => Err("was erased"),
        Shown::Missing => Err("is missing"),
        Shown::Altered => Err("was altered"),
    }
}

/// What the gate showed: the exact commands, observed facts, checks.
fn shown(entry: &Entry, out: &mut String) -> std::fmt::Result {
    for evidence in &entry.evidence {
        let text = match text_of(evidence) {
            Ok(text) => text,
            Err(gone) => {
                writeln!(out, "- what was shown (blob `{}`) {gone}", evidence.digest)?;
                continue;
            }
        };
        let briefing: Value = serde_json::from_str(text).unwrap_or(Value::Null);
        let list = |value: &Value, key: &str| -> Vec<Value> {
            value.get(key).and_then(Value::as_array).cloned().unwrap_or_default()
        };
        let word = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        writeln!(out, "\n```text")?;
        for action in list(&briefing, "actions") {
            let name = [word(&action, "step"), word(&action, "uses"), word(&action, "summary")].join("  ");
            writeln!(out, "{}", visible(&name))?;
            for (key, mark) in [("commands", "  "), ("notes", "  note: ")] {
                for line in list(&action, key) {
                    writeln!(out, "{mark}{}", visible(line.as_str().unwrap_or_default()))?;
                }
            }
        }
        for check in list(&briefing, "checks") {
            let flag = |key: &str| check.get(key).and_then(Value::as_bool).unwrap_or(false);
            let mark = match (flag("unverifiable"), flag("ok")) {
                (true, _) => "unverifiable",
                (false, true) => "passed",
                (false, false) => "FAILED",
            };
            let line = format!("check {} {mark}: {}", word(&check, "uses"), word(&check, "detail"));
            writeln!(out, "{}", visible(&line))?;
        }
        if let Some(lost) = briefing.get("lost").and_then(Value::as_u64) {
            writeln!(out, "rows that would be lost so far: {lost}")?;
        }
        for change in list(&briefing, "changes") {
            writeln!(out, "{}", visible(change.as_str().unwrap_or_default()))?;
        }
        for fault in list(&briefing, "faults") {
            writeln!(out, "not known: {}", visible(fault.as_str().unwrap_or_default()))?;
        }
        writeln!(out, "```")?;
    }
    Ok(())
}

fn way_back(source: &Source<'_>, out: &mut String) -> std::fmt::Result {
    let is_back = |event: &Event| {
        matches!(
            event,
            Event::UnwindPlanned { .. }
                | Event::UnwindPrepared { .. }
                | Event::UnwindDropped { .. }
                | Event::UnwindFinished { .. }
                | Event::EffectOutcome { role: Role::Undo, .. }
                | Event::EffectDecided { role: Role::Undo, .. }
        )
    };
    let entries: Vec<&Entry> = source.entries.iter().filter(|entry| is_back(&entry.event)).collect();
    writeln!(out, "## Rollback\n")?;
    if entries.is_empty() {
        return writeln!(out, "Nothing was rolled back.\n");
    }
    for entry in entries {
        let about = step_in(source.state, &entry.event).map_or_else(String::new, |step| format!("{step}: "));
        writeln!(
            out,
            "- {} {}{} (record {})",
            moment(source, entry.at),
            plain(&about),
            plain(&describe(&entry.event)),
            entry.seq
        )?;
    }
    writeln!(out)
}

fn notes(source: &Source<'_>, out: &mut String) -> std::fmt::Result {
    let mut any = false;
    for entry in source.entries {
        let Event::Note { person, .. } = &entry.event else {
            continue;
        };
        if !any {
            writeln!(out, "## Notes\n")?;
            any = true;
        }
        let text: Vec<String> = entry
            .evidence
            .iter()
            .map(|evidence| text_of(evidence).map_or_else(|gone| format!("(it {gone})"), str::to_owned))
            .collect();
        writeln!(
            out,
            "- {} {}: {}",
            moment(source, entry.at),
            plain(person),
            plain(&text.join(" "))
        )?;
    }
    if any { writeln!(out) } else { Ok(()) }
}

fn events(source: &Source<'_>, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "## Every event\n\n| record | time | by | step | event |\n|---|---|---|---|---|"
    )?;
    for entry in source.entries {
        let step = step_in(source.state, &entry.event).map_or_else(String::new, |step| label(source.plan, step));
        writeln!(
            out,
            "| {} | {} | {} | {} | {} |",
            entry.seq,
            moment(source, entry.at),
            plain(&entry.actor),
            plain(&step),
            plain(&describe(&entry.event)),
        )?;
    }
    writeln!(out)
}

/// In the runbook's zone and in UTC.
fn moment(source: &Source<'_>, at: DateTime<Utc>) -> String {
    let utc = at.to_rfc3339_opts(SecondsFormat::Millis, true);
    if source.zone == chrono_tz::Tz::UTC {
        return utc;
    }
    let local = at.with_timezone(&source.zone).format("%Y-%m-%d %H:%M:%S %Z");
    format!("{local} ({utc})")
}

/// Text that Markdown takes as it is.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in visible(text).chars() {
        if "\\`*_[]<>#|".contains(char) {
            out.push('\\');
        }
        out.push(char);
    }
    out
}
