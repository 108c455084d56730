//! Preflights as a stranger reads them from the records: whether the first change of a run was proven. Pure.

use serde_json::Value;

use super::asked::number;
use super::record::Record;

/// The looks of a run.
#[derive(Default)]
pub(super) struct Looks {
    /// How long a proof lasts, in milliseconds; none: no run asks for one.
    valid_ms: Option<i64>,
    /// The number and the beginning of the one that is under way.
    begun: Option<(u64, i64)>,
    /// When the last one was begun that ended, and how much of it was red.
    proof: Option<(i64, u64)>,
}

impl Looks {
    /// Takes a record in; gives what is wrong with it.
    pub fn hear(&mut self, record: &Record) -> Option<String> {
        let begun_ms = || record.data.get("begun_ms").and_then(Value::as_i64).unwrap_or_default();
        match record.ev.as_str() {
            // Each says how the plan has it; a proof is of one process and of one plan.
            "genesis" | "run.amended" => {
                self.valid_ms = record.data.get("preflight_ms").and_then(Value::as_i64);
                self.forget();
            }
            "resumed" => self.forget(),
            "preflight.begun" => self.begun = Some((number(record, "number"), begun_ms())),
            "preflight.ended" => {
                let own = (number(record, "number"), begun_ms());
                if self.begun.take() != Some(own) {
                    return Some(format!(
                        "record {}: preflight {} ended without having begun",
                        record.seq, own.0
                    ));
                }
                self.proof = Some((own.1, number(record, "red")));
            }
            _ => {}
        }
        None
    }

    fn forget(&mut self) {
        self.begun = None;
        self.proof = None;
    }

    /// Why the first change must not have begun with this record.
    pub fn unproven(&self, record: &Record) -> Option<&'static str> {
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
