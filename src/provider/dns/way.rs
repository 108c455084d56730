//! How far a shift is, and what is told of it.

use serde_json::{Map, Value, json};

use crate::provider::action::{ActionError, ActionErrorKind, Outcome};

use super::records::{RecordSet, Zone, standing};
use super::sampling::{Tally, percent};
use super::servers::Server;

/// How far a shift is.
pub struct Way<'a> {
    pub zone: &'a Zone,
    pub servers: &'a [Server],
    pub prior: &'a [RecordSet],
    pub standing: Vec<RecordSet>,
    /// Percent; 0 is as before. `None` where somebody else changed the record: it stands at nothing of ours.
    pub reached: Option<u8>,
    pub tallies: Vec<Tally>,
    pub changes: Vec<String>,
    pub requests: u32,
}

impl Way<'_> {
    /// Remembers what stands by now and is not ours.
    pub fn lost_to(&mut self, now: Vec<RecordSet>) {
        self.standing = now;
        self.reached = None;
    }

    /// What is told of it; `stop` says why it ended before the last stage.
    pub fn outcome(&self, to: &[String], stop: Option<&Value>) -> Outcome {
        let (clients, errors) = self.tallies.iter().fold((0u32, 0u32), |(clients, errors), tally| {
            (clients + tally.clients, errors + tally.errors)
        });
        let share = percent(errors, clients);
        let stages: Vec<Value> = self.tallies.iter().map(Tally::json).collect();
        let result: Map<String, Value> = [
            ("prior", json!(self.prior)),
            ("reached", json!(self.reached)),
            ("stages", json!(stages)),
            ("client_error_share", json!(share)),
            ("breach", stop.cloned().unwrap_or(Value::Null)),
            ("changes", json!(self.changes)),
            ("requests", json!(self.requests)),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        let mut summary = stop.map_or_else(|| format!("shifted to {}", to.join(", ")), stopped);
        summary.push_str(&match self.reached {
            Some(reached) => format!("; it stands at {reached} %"),
            None => format!("; it stands as somebody else left it: {}", standing(&self.standing)),
        });
        if clients > 0 {
            summary.push_str(&format!("; client error share {share:.1} % ({errors} of {clients})"));
        }
        let mut text: String = self
            .tallies
            .iter()
            .map(|tally| format!("{}\n", tally.words()))
            .collect();
        text.push_str(&format!("{summary}\n"));
        Outcome {
            summary,
            result,
            evidence: vec![("stages".to_owned(), text.into_bytes())],
        }
    }
}

fn stopped(stop: &Value) -> String {
    let number = |name: &str| stop.get(name).and_then(Value::as_f64);
    let at = number("stage").unwrap_or_default();
    let seen = number("after_s").map_or_else(String::new, |after| format!(" {after:.0} s into its hold"));
    let back = match (number("reverted_to"), number("reverted_after_s")) {
        (Some(to), Some(after)) => format!("reverted to {to} % within {after:.0} s"),
        _ => "left as it is".to_owned(),
    };
    let words = stop.get("words").and_then(Value::as_str).unwrap_or_default();
    format!("STOPPED at {at} %{seen}, {back}: {words}")
}

/// Somebody else changed the record: it is left alone.
pub fn drifted(now: &[RecordSet]) -> ActionError {
    let words = format!(
        "the record was changed by somebody else: now {}; ask them before anything is changed back",
        standing(now)
    );
    ActionError::new(ActionErrorKind::Permanent, words)
}
