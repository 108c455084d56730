//! Preflights as a stranger reads them from the records: whether the first change of a run was proven. Pure.

use std::collections::BTreeSet;

use serde_json::Value;

use super::asked::{number, text};
use super::record::Record;

/// What is wrong with a record.
pub(super) enum Fault {
    /// The form of the journal.
    Broken(String),
    /// Something was begun that must not have been.
    Unproven(String),
}

/// The looks of a run, and whether anything that it changed stands.
#[derive(Default)]
pub(super) struct Looks {
    /// How long a proof lasts, in milliseconds; none: no run asks for one.
    valid_ms: Option<i64>,
    /// The number and the beginning of the one that is under way.
    begun: Option<(u64, i64)>,
    /// When the last one was begun that ended, and how much of it was red.
    proof: Option<(i64, u64)>,
    /// Steps whose change is begun and has no outcome.
    open: BTreeSet<String>,
    /// Those of them that their peer acknowledged.
    acked: BTreeSet<String>,
    /// Steps whose change happened, or may have, and was not taken back.
    standing: BTreeSet<String>,
}

impl Looks {
    /// Takes a record in; gives what is wrong with it.
    pub fn hear(&mut self, record: &Record) -> Option<Fault> {
        let begun_ms = || record.data.get("begun_ms").and_then(Value::as_i64).unwrap_or_default();
        match record.ev.as_str() {
            // Each says how the plan has it; a proof is of one process, one plan and one clock.
            "genesis" | "run.amended" => {
                self.valid_ms = record.data.get("preflight_ms").and_then(Value::as_i64);
                self.forget();
            }
            "resumed" | "preflight.voided" | "unwind.finished" => self.forget(),
            "preflight.begun" => self.begun = Some((number(record, "number"), begun_ms())),
            "preflight.ended" => {
                let own = (number(record, "number"), begun_ms());
                if self.begun.take() != Some(own) {
                    return Some(Fault::Broken(format!(
                        "record {}: preflight {} ended without having begun",
                        record.seq, own.0
                    )));
                }
                self.proof = Some((own.1, number(record, "red")));
            }
            "effect.intent" if text(record, "role") == "do" => return self.intent(record),
            "effect.ack" | "effect.outcome" | "effect.decided" => self.became(record),
            _ => {}
        }
        None
    }

    fn forget(&mut self) {
        self.begun = None;
        self.proof = None;
    }

    fn intent(&mut self, record: &Record) -> Option<Fault> {
        if record.data.get("mutates").and_then(Value::as_bool) == Some(false) {
            return None;
        }
        let step = record.step.clone().unwrap_or_default();
        let first = self.open.is_empty() && self.standing.is_empty();
        let unproven = self.unproven(record).filter(|_| first);
        let fault = unproven.map(|why| {
            Fault::Unproven(format!(
                "record {}: the first change, of {step}, began {why}",
                record.seq
            ))
        });
        self.acked.remove(&step);
        self.open.insert(step);
        fault
    }

    fn became(&mut self, record: &Record) {
        let step = record.step.clone().unwrap_or_default();
        let (role, result) = (text(record, "role"), text(record, "result"));
        let by_hand = record.ev == "effect.decided" && text(record, "decision") != "not_started";
        let done = result == "done" || by_hand;
        match (record.ev.as_str(), role) {
            ("effect.ack", "do") => {
                self.acked.insert(step);
            }
            (_, "undo") if done => {
                self.standing.remove(&step);
            }
            (_, "do") if result == "in_doubt" => {}
            ("effect.outcome" | "effect.decided", "do") => {
                // What failed after it was accepted may have happened in part.
                let stands = done || result == "failed" && self.acked.contains(&step);
                if self.open.remove(&step) && stands {
                    self.standing.insert(step);
                }
            }
            _ => {}
        }
    }

    /// Why the first change must not begin with this record.
    fn unproven(&self, record: &Record) -> Option<&'static str> {
        let valid = self.valid_ms?;
        match self.proof {
            None => Some("without the preflight that the runbook asks for"),
            Some((_, red)) if red > 0 => Some("although its preflight was red"),
            Some((begun, _)) => {
                let age = record.t.timestamp_millis().saturating_sub(begun);
                (!(0..valid).contains(&age)).then_some("by a preflight that was too old")
            }
        }
    }
}
