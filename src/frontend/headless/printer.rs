//! Writes a headless run: one line or one JSON object for each event, progress thinned out. Must not decide anything.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde_json::{Map, Value, json};

use crate::engine::handle::{Briefing, Update};
use crate::projection::escape::visible;
use crate::projection::words::{describe, label, step_in};
use crate::provider::action::Progress;
use crate::run::RunState;
use crate::run::event::Event;
use crate::run::facts::StepId;
use crate::runbook::plan::Plan;

/// Between two progress reports of one step.
const PAUSE: Duration = Duration::from_secs(1);
/// Output lines of one step in one pause; the rest is in the evidence.
const LINES: u32 = 20;
/// So many parts of a step's work are kept between two lines about it.
const TOLD: u32 = 100;

/// How a headless run is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people: a line an event.
    #[default]
    Lines,
    /// For programs: a JSON object an event.
    Json,
}

/// The writer.
pub struct Printer {
    sink: Box<dyn Write + Send>,
    format: Format,
    dry_run: bool,
    zone: Tz,
    /// What steps are called, as far as they were named: a long plan is not searched at every line.
    labels: HashMap<StepId, String>,
    shares: BTreeMap<StepId, Instant>,
    lines: BTreeMap<StepId, (Instant, u32)>,
    /// How many parts of a step's work were kept.
    kept: BTreeMap<StepId, u32>,
}

impl Printer {
    /// A writer into `sink`; times are of `zone`.
    pub fn new(sink: Box<dyn Write + Send>, format: Format, dry_run: bool, zone: Tz) -> Self {
        Self {
            sink,
            format,
            dry_run,
            zone,
            labels: HashMap::new(),
            shares: BTreeMap::new(),
            lines: BTreeMap::new(),
            kept: BTreeMap::new(),
        }
    }

    /// Writes an event; `state` is the state after it.
    pub fn event(&mut self, plan: &Plan, state: &RunState, update: &Update) -> io::Result<()> {
        match self.format {
            Format::Lines => {
                let step = step_in(state, &update.event).cloned();
                let mut text = describe(&update.event);
                if let (Event::EffectKept { .. }, Some(step)) = (&update.event, &step) {
                    // Long work keeps hundreds: the record has them all, and how far it is stands in its progress.
                    let kept = self.kept.entry(step.clone()).or_default();
                    *kept += 1;
                    match *kept {
                        1 => {}
                        kept if kept.is_multiple_of(TOLD) => text = format!("{text} ({kept} so far)"),
                        _ => return Ok(()),
                    }
                }
                self.line(plan, update.at, step.as_ref(), &text)
            }
            Format::Json => {
                let mut object = Map::new();
                object.insert("seq".to_owned(), json!(update.seq));
                object.insert("t".to_owned(), json!(update.at.to_rfc3339()));
                match serde_json::to_value(&update.event) {
                    Ok(Value::Object(fields)) => object.extend(fields),
                    Ok(other) => drop(object.insert("ev".to_owned(), other)),
                    Err(error) => return Err(io::Error::other(error)),
                }
                if self.dry_run {
                    object.insert("dry_run".to_owned(), Value::Bool(true));
                }
                self.object(object)
            }
        }
    }

    /// Writes what the next gate shows.
    pub fn briefing(&mut self, plan: &Plan, at: DateTime<Utc>, briefing: &Briefing) -> io::Result<()> {
        match self.format {
            Format::Lines => {
                for action in &briefing.actions {
                    for text in [&action.summary].into_iter().chain(&action.commands) {
                        self.line(plan, at, Some(&action.step), &format!("| {text}"))?;
                    }
                    for note in &action.notes {
                        self.line(plan, at, Some(&action.step), &format!("| note: {note}"))?;
                    }
                }
                for change in &briefing.changes {
                    self.line(plan, at, None, &format!("| {change}"))?;
                }
                for fault in &briefing.faults {
                    self.line(plan, at, briefing.step.as_ref(), &format!("| not known: {fault}"))?;
                }
                Ok(())
            }
            Format::Json => {
                let body = serde_json::to_value(briefing).map_err(io::Error::other)?;
                self.other(at, "briefing", [("briefing", body)])
            }
        }
    }

    /// Writes progress, unless that step reported a moment ago.
    pub fn progress(
        &mut self,
        plan: &Plan,
        at: DateTime<Utc>,
        now: Instant,
        step: &StepId,
        progress: &Progress,
    ) -> io::Result<()> {
        let (text, fields) = match progress {
            Progress::Line(line) => {
                if !self.line_is_due(step, now) {
                    return Ok(());
                }
                (format!("> {line}"), vec![("line", json!(line))])
            }
            Progress::Share { done, text } | Progress::Board { done, text, .. } => {
                if *done < 1.0 && !self.share_is_due(step, now) {
                    return Ok(());
                }
                let percent = (done.clamp(0.0, 1.0) * 100.0).floor();
                (
                    format!("{percent:.0} % {text}"),
                    vec![("share", json!(done)), ("text", json!(text))],
                )
            }
            Progress::State(state) => {
                if !self.share_is_due(step, now) {
                    return Ok(());
                }
                (state.clone(), vec![("state", json!(state))])
            }
        };
        match self.format {
            Format::Lines => self.line(plan, at, Some(step), &text),
            Format::Json => {
                let named = [("step", json!(step))].into_iter().chain(fields);
                self.other(at, "progress", named)
            }
        }
    }

    /// Writes something that is no event.
    pub fn notice(&mut self, plan: &Plan, at: DateTime<Utc>, text: &str) -> io::Result<()> {
        match self.format {
            Format::Lines => self.line(plan, at, None, text),
            Format::Json => self.other(at, "notice", [("text", json!(text))]),
        }
    }

    /// Writes the last line.
    pub fn ending(&mut self, plan: &Plan, at: DateTime<Utc>, exit: u8, reason: &str) -> io::Result<()> {
        match self.format {
            Format::Lines => self.line(plan, at, None, &format!("exit {exit}: {reason}")),
            Format::Json => self.other(at, "ending", [("exit", json!(exit)), ("reason", json!(reason))]),
        }
    }

    fn share_is_due(&mut self, step: &StepId, now: Instant) -> bool {
        let due = self
            .shares
            .get(step)
            .is_none_or(|last| now.duration_since(*last) >= PAUSE);
        if due {
            self.shares.insert(step.clone(), now);
        }
        due
    }

    fn line_is_due(&mut self, step: &StepId, now: Instant) -> bool {
        let entry = self.lines.entry(step.clone()).or_insert((now, 0));
        if now.duration_since(entry.0) >= PAUSE {
            *entry = (now, 0);
        }
        entry.1 += 1;
        entry.1 <= LINES
    }

    fn label(&mut self, plan: &Plan, step: &StepId) -> &str {
        self.labels.entry(step.clone()).or_insert_with(|| label(plan, step))
    }

    fn line(&mut self, plan: &Plan, at: DateTime<Utc>, step: Option<&StepId>, text: &str) -> io::Result<()> {
        let time = at.with_timezone(&self.zone).format("%H:%M:%S");
        let dry = if self.dry_run { "DRY RUN " } else { "" };
        let about = step.map_or_else(String::new, |step| format!("[{}] ", self.label(plan, step)));
        writeln!(self.sink, "{time} {dry}{}", visible(&format!("{about}{text}")))?;
        self.sink.flush()
    }

    fn other<'a>(
        &mut self,
        at: DateTime<Utc>,
        name: &str,
        fields: impl IntoIterator<Item = (&'a str, Value)>,
    ) -> io::Result<()> {
        let mut object = Map::new();
        object.insert("seq".to_owned(), Value::Null);
        object.insert("t".to_owned(), json!(at.to_rfc3339()));
        object.insert("ev".to_owned(), json!(name));
        object.extend(fields.into_iter().map(|(key, value)| (key.to_owned(), value)));
        if self.dry_run {
            object.insert("dry_run".to_owned(), Value::Bool(true));
        }
        self.object(object)
    }

    fn object(&mut self, object: Map<String, Value>) -> io::Result<()> {
        writeln!(self.sink, "{}", Value::Object(object))?;
        self.sink.flush()
    }
}
