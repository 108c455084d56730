//! Between events and the journal's records. An event's name, step and attempt are fields of the record; the rest is
//! its data. Owns no meaning: what an event is belongs to `run`.

use serde_json::{Map, Value};

use crate::journal::{Actor, BlobRef, Draft, Record};
use crate::run::Event;

/// A record that is no event of this version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("record {seq} (\"{ev}\") cannot be read: {reason}; was it written by a newer pointsman?")]
pub struct Unreadable {
    pub seq: u64,
    pub ev: String,
    pub reason: String,
}

/// The draft of an event's record.
pub fn draft(event: &Event, actor: &Actor, blobs: Vec<BlobRef>) -> Result<Draft, serde_json::Error> {
    let Value::Object(mut data) = serde_json::to_value(event)? else {
        return Err(serde::ser::Error::custom("an event is not an object"));
    };
    let ev = take_text(&mut data, "ev").unwrap_or_default();
    let step = take_text(&mut data, "step");
    let attempt = data
        .remove("attempt")
        .and_then(|value| value.as_u64())
        .and_then(|n| u32::try_from(n).ok());
    Ok(Draft {
        actor: actor.clone(),
        ev,
        step,
        attempt,
        data,
        blobs,
    })
}

fn take_text(data: &mut Map<String, Value>, key: &str) -> Option<String> {
    match data.remove(key) {
        Some(Value::String(text)) => Some(text),
        Some(_) | None => None,
    }
}

/// The event of a record; none for records that the journal keeps for itself.
pub fn event(record: &Record) -> Result<Option<Event>, Unreadable> {
    match record.ev.as_str() {
        "checkpoint" | "segment.seal" | "clock.backwards" | "halted" => return Ok(None),
        _ => {}
    }
    let mut data = record.data.clone();
    data.insert("ev".to_owned(), Value::String(record.ev.clone()));
    if let Some(step) = &record.step {
        data.insert("step".to_owned(), Value::String(step.clone()));
    }
    if let Some(attempt) = record.attempt {
        data.insert("attempt".to_owned(), Value::from(attempt));
    }
    serde_json::from_value(Value::Object(data))
        .map(Some)
        .map_err(|error| Unreadable {
            seq: record.seq,
            ev: record.ev.clone(),
            reason: error.to_string(),
        })
}
