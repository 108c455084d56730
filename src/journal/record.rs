//! One record and its exact bytes: fixed key order, ASCII only, at most 64 KiB a line. Pure.

use std::io;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::pack::BlobRef;

/// The version of the record format.
pub const VERSION: u32 = 1;
/// The longest line, its line feed included.
pub const LONGEST_LINE: usize = 64 * 1024;
/// `prev` of the first record.
pub const NO_PREV: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// How every line of this version begins.
const FIRST_FIELD: &str = "{\"v\":1,";
const HASH_FIELD: &str = ",\"h\":\"";
/// SHA-256 in hex.
const HASH_LENGTH: usize = 64;

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub t: DateTime<Utc>,
    /// Nanoseconds since the machine started.
    pub mono_ns: u64,
}

/// Who acted, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    pub id: String,
    pub via: String,
    pub uid: u32,
    pub host: String,
}

/// What is to be recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    pub actor: Actor,
    pub ev: String,
    pub step: Option<String>,
    pub attempt: Option<u32>,
    pub data: Map<String, Value>,
    pub blobs: Vec<BlobRef>,
}

/// A record as it stands in a journal; its hash is written apart from the rest, whose bytes it is of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    v: u32,
    run: String,
    seq: u64,
    prev: String,
    t: String,
    mono: String,
    boot: String,
    actor: Actor,
    ev: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    data: Map<String, Value>,
    blobs: Vec<BlobRef>,
    #[serde(skip_serializing)]
    h: String,
}

/// A record as it stands in a journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub v: u32,
    pub run: String,
    pub seq: u64,
    pub prev: String,
    pub t: DateTime<Utc>,
    pub mono_ns: u64,
    pub boot: String,
    pub actor: Actor,
    pub ev: String,
    pub step: Option<String>,
    pub attempt: Option<u32>,
    pub data: Map<String, Value>,
    pub blobs: Vec<BlobRef>,
    pub h: String,
}

/// Where a record is to stand.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    pub run: &'a str,
    pub boot: &'a str,
    pub seq: u64,
    pub prev: &'a str,
    pub stamp: Stamp,
}

/// A line that is no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("version {0} is not known to this pointsman")]
    Version(u64),
    #[error("its evidence is in a file for each piece, as a pointsman before this one wrote it")]
    Apart,
    #[error("{0}")]
    Form(String),
    #[error("its hash is not the SHA-256 of its bytes")]
    Hash,
}

/// The line of a draft at its place, line feed included, with its record.
pub fn render(draft: &Draft, place: &Place<'_>) -> Result<(Vec<u8>, Record), serde_json::Error> {
    let t = place.stamp.t;
    let mut data = draft.data.clone();
    data.values_mut().for_each(tame);
    let mut body = Body {
        v: VERSION,
        run: place.run.to_owned(),
        seq: place.seq,
        prev: place.prev.to_owned(),
        t: t.to_rfc3339_opts(SecondsFormat::Nanos, true),
        mono: place.stamp.mono_ns.to_string(),
        boot: place.boot.to_owned(),
        actor: draft.actor.clone(),
        ev: draft.ev.clone(),
        step: draft.step.clone(),
        attempt: draft.attempt,
        data,
        blobs: draft.blobs.clone(),
        h: String::new(),
    };
    let mut line = bare(&body)?;
    body.h = hex_sha256(&line);
    line.extend_from_slice(HASH_FIELD.as_bytes());
    line.extend_from_slice(body.h.as_bytes());
    line.extend_from_slice(b"\"}\n");
    Ok((line, record_of(body, t, place.stamp.mono_ns)))
}

/// The bytes that are hashed: everything before the hash, without the closing brace.
fn bare(body: &Body) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = Vec::with_capacity(1024);
    body.serialize(&mut serde_json::Serializer::with_formatter(&mut line, Ascii))?;
    line.pop();
    Ok(line)
}

/// Reads a line (without its line feed): its hash must fit and its bytes must be exactly what would be written.
pub fn parse(line: &[u8]) -> Result<Record, Malformed> {
    let form = |words: &str| Malformed::Form(words.to_owned());
    let text = std::str::from_utf8(line).map_err(|_not| form("it is not ASCII"))?;
    if !text.starts_with(FIRST_FIELD) {
        return Err(unlike(text));
    }
    // What comes after the hash is as long in every line, so the hash is not searched for.
    let tail = text.len().checked_sub(HASH_FIELD.len() + HASH_LENGTH + 2);
    let (head, tail) = tail
        .and_then(|at| text.split_at_checked(at))
        .ok_or_else(|| form("it is too short"))?;
    let h = tail
        .strip_prefix(HASH_FIELD)
        .and_then(|rest| rest.strip_suffix("\"}"))
        .ok_or_else(|| form("its hash is not its last field"))?;
    if hex_sha256(head.as_bytes()) != h {
        return Err(Malformed::Hash);
    }
    let body: Body = serde_json::from_str(text).map_err(|error| {
        if is_apart(text) {
            Malformed::Apart
        } else {
            Malformed::Form(format!("not a record: {error}"))
        }
    })?;
    let again = bare(&body).map_err(|error| Malformed::Form(error.to_string()))?;
    if again != head.as_bytes() {
        return Err(form("its bytes are not the canonical ones"));
    }
    let t = DateTime::parse_from_rfc3339(&body.t).map_err(|_bad| form("its time is no RFC 3339 time"))?;
    let mono_ns = body
        .mono
        .parse()
        .map_err(|_bad| form("its monotonic time is no number"))?;
    Ok(record_of(body, t.with_timezone(&Utc), mono_ns))
}

/// Whether a line names evidence without its place in a pack.
fn is_apart(text: &str) -> bool {
    let line: Value = serde_json::from_str(text).unwrap_or_default();
    let blobs = line.get("blobs").and_then(Value::as_array);
    blobs
        .into_iter()
        .flatten()
        .any(|about| about.get("c").is_some() && about.get("pack").is_none())
}

/// Why a line is none of this version.
fn unlike(text: &str) -> Malformed {
    match serde_json::from_str::<Value>(text) {
        Err(error) => Malformed::Form(format!("not JSON: {error}")),
        Ok(value) => match value.get("v").and_then(Value::as_u64) {
            Some(version) if version != u64::from(VERSION) => Malformed::Version(version),
            Some(_) => Malformed::Form("its version is not its first field".to_owned()),
            None => Malformed::Form("it has no version".to_owned()),
        },
    }
}

fn record_of(body: Body, t: DateTime<Utc>, mono_ns: u64) -> Record {
    Record {
        v: body.v,
        run: body.run,
        seq: body.seq,
        prev: body.prev,
        t,
        mono_ns,
        boot: body.boot,
        actor: body.actor,
        ev: body.ev,
        step: body.step,
        attempt: body.attempt,
        data: body.data,
        blobs: body.blobs,
        h: body.h,
    }
}

/// Lower-case hex of the SHA-256 of `bytes`.
pub fn hex_sha256(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

/// Integers that a JavaScript reader would round become strings.
fn tame(value: &mut Value) {
    const EXACT: u64 = 1 << 53;
    match value {
        Value::Number(number) => {
            let large =
                number.as_u64().is_some_and(|n| n > EXACT) || number.as_i64().is_some_and(|n| n.unsigned_abs() > EXACT);
            if large {
                *value = Value::String(number.to_string());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(tame),
        Value::Object(map) => map.values_mut().for_each(tame),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// Compact JSON in ASCII.
struct Ascii;

impl serde_json::ser::Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let plain = |byte: &u8| byte.is_ascii() && *byte != 0x7f;
        if fragment.as_bytes().iter().all(plain) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut units = [0u16; 2];
        for ch in fragment.chars() {
            if ch.is_ascii() && ch != '\u{7f}' {
                writer.write_all(&[ch as u8])?;
            } else {
                for unit in ch.encode_utf16(&mut units) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}
