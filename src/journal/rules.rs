//! The rules between records that a stranger can check: one genesis, no effect without its gate, no intent without
//! its outcome, no gate without its persons. Pure. Knows events by name and field only.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::asked::{Request, number, text, texts};
use super::looks::{Fault, Looks};
use super::record::Record;

/// Every event name that this version knows.
pub const KNOWN: &[&str] = &[
    "genesis",
    "resumed",
    "step.checking",
    "check.result",
    "gate.requested",
    "gate.vote",
    "gate.granted",
    "gate.voided",
    "gate.expired",
    "gate.broken",
    "gate.countersigned",
    "effect.intent",
    "effect.ack",
    "effect.kept",
    "effect.outcome",
    "effect.decided",
    "effect.cancel",
    "step.verifying",
    "step.done",
    "step.failed",
    "step.skipped",
    "deadline.passed",
    "window.closed",
    "window.extended",
    "run.amended",
    "preflight.begun",
    "preflight.ended",
    "preflight.voided",
    "handover.offered",
    "handover.taken",
    "unwind.planned",
    "unwind.prepared",
    "unwind.dropped",
    "unwind.finished",
    "run.held",
    "run.released",
    "run.closed",
    "note",
    "interrupted",
    "checkpoint",
    "segment.seal",
    "clock.backwards",
    "halted",
];

/// What the rules found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Against the form of a journal: no genesis, a false checkpoint, a record after the close.
    pub broken: Vec<String>,
    /// An approval is invalid or missing.
    pub approvals: Vec<String>,
    /// Intents without an outcome.
    pub unresolved: Vec<String>,
    /// Names that this version does not know.
    pub unknown: Vec<String>,
    /// Gates that were passed without their persons.
    pub break_glass: usize,
    /// Worth a look: the clock went back, a second signature is missing.
    pub remarks: Vec<String>,
    /// Approving votes by assurance.
    pub votes: BTreeMap<String, u64>,
    /// The run's close record: state and exit code.
    pub closed: Option<(String, u64)>,
}

/// A second signature that is owed: the record that owes it, who may not give it, when it was.
struct Owed {
    seq: u64,
    what: String,
    /// An attested voter signs; whoever broke the glass does not.
    by: Option<String>,
    not: Option<String>,
    since: DateTime<Utc>,
    signed: Option<DateTime<Utc>>,
}

#[derive(Default)]
struct Reading {
    found: Findings,
    requests: BTreeMap<u64, Request>,
    open: BTreeMap<(String, String), u64>,
    mutates: BTreeMap<(String, String), bool>,
    /// Steps of which something happened, or may have, and was not undone.
    happened: BTreeSet<String>,
    owed: Vec<(u64, Owed)>,
    looks: Looks,
}

/// Applies the rules to a whole chain.
pub fn judge(records: &[Record]) -> Findings {
    let mut reading = Reading::default();
    for (index, record) in records.iter().enumerate() {
        reading.record(record, records.get(..index).unwrap_or_default());
    }
    if records.first().is_some_and(|first| first.ev != "genesis") {
        reading.found.broken.push("the first record is no genesis".to_owned());
    }
    for ((step, role), seq) in &reading.open {
        let mutates = reading
            .mutates
            .get(&(step.clone(), role.clone()))
            .copied()
            .unwrap_or(true);
        let what = if mutates { "effect" } else { "read" };
        reading
            .found
            .unresolved
            .push(format!("{what} of {step} ({role}), record {seq}, has no outcome"));
    }
    for (_, owed) in &reading.owed {
        let due = owed.since + TimeDelta::hours(24);
        match owed.signed {
            Some(signed) if signed <= due => {}
            Some(_) => reading.found.remarks.push(format!(
                "record {}: {} was countersigned after more than 24 hours",
                owed.seq, owed.what
            )),
            None => reading.found.remarks.push(format!(
                "record {}: {} has no second signature (due by {})",
                owed.seq,
                owed.what,
                due.format("%Y-%m-%d %H:%M UTC")
            )),
        }
    }
    reading.found
}

impl Reading {
    fn record(&mut self, record: &Record, past: &[Record]) {
        if let Some(before) = past.last() {
            if record.ev == "genesis" {
                self.found
                    .broken
                    .push(format!("record {}: a second genesis", record.seq));
            }
            let back = before.boot == record.boot && record.mono_ns < before.mono_ns;
            if back || record.t < before.t {
                self.found
                    .remarks
                    .push(format!("record {}: the clock went backwards", record.seq));
            }
        }
        if self.found.closed.is_some()
            && !matches!(
                record.ev.as_str(),
                "note" | "checkpoint" | "clock.backwards" | "gate.countersigned" | "segment.seal" | "halted"
            )
        {
            self.found.broken.push(format!(
                "record {} ({}) comes after the run was closed",
                record.seq, record.ev
            ));
        }
        if !KNOWN.contains(&record.ev.as_str()) {
            self.found
                .unknown
                .push(format!("record {}: event \"{}\"", record.seq, record.ev));
            return;
        }
        match self.looks.hear(record) {
            Some(Fault::Broken(words)) => self.found.broken.push(words),
            Some(Fault::Unproven(words)) => self.found.approvals.push(words),
            None => {}
        }
        match record.ev.as_str() {
            "gate.requested" => self.requested(record),
            "gate.vote" => self.vote(record),
            "gate.granted" => self.granted(record),
            "gate.voided" | "gate.expired" => {
                if let Some(request) = self.requests.get_mut(&number(record, "request")) {
                    request.ended = true;
                }
            }
            "gate.broken" => self.broken(record),
            "gate.countersigned" => self.countersigned(record),
            "step.skipped" => self.allowed(record, "skip", "the step was skipped"),
            "window.extended" => self.allowed(record, "window", "the window was extended"),
            "run.amended" => self.amended(record, past),
            "effect.intent" => self.intent(record),
            "effect.ack" => self.happens(record, text(record, "role") == "do"),
            "effect.outcome" | "effect.decided" => self.outcome(record),
            "checkpoint" => {
                let seq = number(record, "head_seq");
                let at = seq.checked_sub(1).and_then(|at| usize::try_from(at).ok());
                let named = at.and_then(|at| past.get(at)).filter(|named| named.seq == seq);
                if named.map(|named| named.h.as_str()) != Some(text(record, "head_h")) {
                    self.found
                        .broken
                        .push(format!("record {}: the checkpoint names another head", record.seq));
                }
            }
            "run.closed" => {
                self.found.closed = Some((text(record, "state").to_owned(), number(record, "exit")));
            }
            _ => {}
        }
    }

    fn requested(&mut self, record: &Record) {
        let id = number(record, "request");
        let request = Request::of(record);
        if self.requests.insert(id, request).is_some() {
            self.found
                .approvals
                .push(format!("record {}: request {id} was asked twice", record.seq));
        }
    }

    fn vote(&mut self, record: &Record) {
        let id = number(record, "request");
        let person = text(record, "person").to_owned();
        let Some(request) = self.requests.get_mut(&id) else {
            self.found.approvals.push(format!(
                "record {}: a vote on request {id}, which was never asked",
                record.seq
            ));
            return;
        };
        if request.ended || request.granted || request.rejected {
            self.found
                .approvals
                .push(format!("record {}: a vote on request {id} after its end", record.seq));
        }
        if let Some(fault) = request.answered(record, &person) {
            self.found
                .approvals
                .push(format!("record {}: request {id}: {fault}", record.seq));
        }
        let poll = request.answers.is_some();
        if request.is_over(record.t) {
            self.found.approvals.push(format!(
                "record {}: a vote on request {id} after its expiry",
                record.seq
            ));
        }
        let role = text(record, "role");
        if !poll && !request.roles.contains(role) {
            self.found.approvals.push(format!(
                "record {}: {person} voted on request {id} as {role}, which it did not ask",
                record.seq
            ));
        }
        match text(record, "decision") {
            "approve" => {
                let role = text(record, "role").to_owned();
                request.approved_as.insert((person.clone(), role));
                let also = texts(record, "also").into_iter();
                request.approved_as.extend(also.map(|role| (person.clone(), role)));
                if !request.approvers.insert(person.clone()) && !poll {
                    self.found
                        .approvals
                        .push(format!("record {}: {person} approved request {id} twice", record.seq));
                }
                let assurance = text(record, "assurance").to_owned();
                *self.found.votes.entry(assurance).or_default() += 1;
            }
            "abstain" if poll => {}
            _ => request.rejected = true,
        }
        if text(record, "assurance") == "attested" {
            let what = format!("the attested vote of {person} on request {id}");
            self.owed.push((
                id,
                Owed {
                    seq: record.seq,
                    what,
                    by: Some(person),
                    not: None,
                    since: record.t,
                    signed: None,
                },
            ));
        }
    }

    fn granted(&mut self, record: &Record) {
        let id = number(record, "request");
        let Some(request) = self.requests.get_mut(&id) else {
            self.found.approvals.push(format!(
                "record {}: request {id} was granted but never asked",
                record.seq
            ));
            return;
        };
        let persons = request.approvals();
        let enough = request.automatic
            || request.broken
            || (request.min > 0 && persons >= request.min && request.each_quorum_is_met());
        if !enough || request.rejected || request.ended {
            self.found.approvals.push(format!(
                "record {}: request {id} was granted with {persons} of {} approvals{}",
                record.seq,
                request.min,
                if request.rejected || request.ended {
                    ", after its end"
                } else {
                    ""
                }
            ));
        }
        request.granted = true;
    }

    fn broken(&mut self, record: &Record) {
        let id = number(record, "request");
        let person = text(record, "person").to_owned();
        let Some(request) = self.requests.get_mut(&id) else {
            self.found.approvals.push(format!(
                "record {}: the glass was broken for request {id}, which was never asked",
                record.seq
            ));
            return;
        };
        request.broken = true;
        let what = format!("the GLASS BROKEN by {person} for request {id}");
        self.found
            .remarks
            .push(format!("record {}: {what}: {}", record.seq, text(record, "reason")));
        self.found.break_glass += 1;
        self.owed.push((
            id,
            Owed {
                seq: record.seq,
                what,
                by: None,
                not: Some(person),
                since: record.t,
                signed: None,
            },
        ));
    }

    fn countersigned(&mut self, record: &Record) {
        let (id, person) = (number(record, "request"), text(record, "person"));
        let owed = self.owed.iter_mut().find(|(request, owed)| {
            *request == id
                && owed.signed.is_none()
                && owed.by.as_deref().is_none_or(|by| by == person)
                && owed.not.as_deref() != Some(person)
        });
        match owed {
            Some((_, owed)) => owed.signed = Some(record.t),
            None => self.found.approvals.push(format!(
                "record {}: {person} countersigned request {id}, which owed no signature of theirs",
                record.seq
            )),
        }
    }

    /// Something that only a granted request of its own kind allows.
    fn allowed(&mut self, record: &Record, subject: &str, what: &str) {
        let id = number(record, "request");
        let fits = self.requests.get_mut(&id).is_some_and(|request| {
            let first = !std::mem::replace(&mut request.spent, true);
            first && request.subject == subject && request.granted && !request.ended && request.step == record.step
        });
        if !fits {
            self.found
                .approvals
                .push(format!("record {}: {what} without a valid approval", record.seq));
        }
    }

    /// Another plan needs its own approval, and every approval of the old one is dead before it.
    fn amended(&mut self, record: &Record, past: &[Record]) {
        self.allowed(record, "amend", "the plan was amended");
        let request = self.requests.get(&number(record, "request"));
        if request.is_some_and(|request| request.broken || request.automatic) {
            self.found.approvals.push(format!(
                "record {}: the plan was amended without the persons whom that asks",
                record.seq
            ));
        }
        let files = record.data.get("files").and_then(Value::as_object);
        let plan = Value::from(text(record, "plan_file_digest"));
        if !files.is_some_and(|files| files.values().any(|file| *file == plan)) {
            self.found
                .broken
                .push(format!("record {}: it names no file of the amended plan", record.seq));
        }
        let asked = request.map(|request| request.plan.clone());
        if asked.is_some_and(|plan| plan != text(record, "plan_file_digest")) {
            self.found.approvals.push(format!(
                "record {}: the plan was amended with another file than was approved",
                record.seq
            ));
        }
        let alive = self.requests.iter().filter(|(_, request)| {
            let step = request.subject == "step";
            !request.ended && !request.rejected && !request.spent && (!request.granted || step)
        });
        for (id, _) in alive {
            self.found.approvals.push(format!(
                "record {}: the plan was amended while request {id} of the old one was alive",
                record.seq
            ));
        }
        let rehearsed = past
            .iter()
            .rev()
            .find_map(|past| past.data.get("rehearsal_digest")?.as_str());
        if rehearsed.is_some_and(|digest| digest != text(record, "rehearsal_digest")) {
            self.found.remarks.push(format!(
                "record {}: the plan was amended: a rehearsal of the old one proves nothing about it",
                record.seq
            ));
        } else {
            self.found
                .remarks
                .push(format!("record {}: the plan was amended", record.seq));
        }
    }

    fn intent(&mut self, record: &Record) {
        let id = number(record, "request");
        let role = text(record, "role").to_owned();
        let step = record.step.clone().unwrap_or_default();
        let fault = match self.requests.get_mut(&id) {
            None => Some("under a request that was never asked"),
            Some(request) if !request.granted || request.ended => Some("without a valid approval"),
            Some(request) if role == "do" && request.is_over(record.t) => Some("after its approval had expired"),
            Some(_) if role != "do" && !self.happened.contains(&step) => Some("to take back what never happened"),
            Some(request) => {
                let fits = match (request.subject.as_str(), role.as_str()) {
                    ("step", "do") => request.step.as_deref() == Some(step.as_str()) && !request.spent,
                    ("unwind", "undo" | "close") | ("commit", "close") => true,
                    _ => false,
                };
                let same = request.action_digest == text(record, "action_digest");
                request.spent = true;
                if fits && same {
                    None
                } else {
                    Some("under an approval of something else")
                }
            }
        };
        if let Some(fault) = fault {
            self.found.approvals.push(format!(
                "record {}: the effect of {step} ({role}) began {fault}",
                record.seq
            ));
        }
        let mutates = record.data.get("mutates").and_then(Value::as_bool).unwrap_or(true);
        let key = (step, role);
        self.mutates.insert(key.clone(), mutates);
        if self.open.insert(key.clone(), record.seq).is_some() {
            let words = format!("record {}: {} began again without an outcome", record.seq, key.0);
            self.found.unresolved.push(words);
        }
    }

    fn happens(&mut self, record: &Record, whether: bool) {
        if whether {
            self.happened.insert(record.step.clone().unwrap_or_default());
        }
    }

    fn outcome(&mut self, record: &Record) {
        let result = text(record, "result");
        let done = result == "done" || record.ev == "effect.decided" && text(record, "decision") != "not_started";
        match text(record, "role") {
            "do" => self.happens(record, done || result == "in_doubt"),
            "undo" if done => {
                self.happened.remove(record.step.as_deref().unwrap_or_default());
            }
            _ => {}
        }
        let key = (record.step.clone().unwrap_or_default(), text(record, "role").to_owned());
        let settled = record.ev == "effect.decided" || text(record, "result") != "in_doubt";
        if settled {
            // A person may settle an undo by hand after its failure was recorded: nothing is open then.
            self.open.remove(&key);
        }
    }
}
