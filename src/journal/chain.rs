//! The chain over a run's segments: sequence, hashes, torn and sealed tails. Pure: bytes in, findings out.

use serde_json::Value;

use super::record::{LONGEST_LINE, Malformed, NO_PREV, Record, hex_sha256, parse};

/// One segment's name and bytes.
#[derive(Debug, Clone)]
pub struct Segment {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// An incomplete record at a segment's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    pub segment: String,
    pub offset: u64,
    pub len: u64,
    pub sha256: String,
}

/// What is wrong with a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Bytes were changed, removed, moved or added.
    Tampered(String),
    /// Written by another version.
    Version(String),
}

/// A chain that was read: the records up to the first fault.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    pub records: Vec<Record>,
    pub faults: Vec<Fault>,
    /// Torn and sealed by the segment after.
    pub sealed: Vec<Torn>,
    /// Torn at the very end, not sealed.
    pub torn: Option<Torn>,
}

/// Reads a chain. Segments come in the order of their names.
pub fn read(segments: &[Segment]) -> Chain {
    let mut chain = Chain::default();
    for (index, segment) in segments.iter().enumerate() {
        let expected = format!("{:06}.jsonl", index + 1);
        if segment.name != expected {
            chain.faults.push(Fault::Tampered(format!(
                "segment {expected} is missing: {} is in its place",
                segment.name
            )));
            return chain;
        }
        let open = chain.torn.take();
        if !segment_of(&mut chain, segment, open) {
            return chain;
        }
    }
    chain
}

fn segment_of(chain: &mut Chain, segment: &Segment, open: Option<Torn>) -> bool {
    let mut offset = 0;
    let mut first = true;
    let mut rest = segment.bytes.as_slice();
    while !rest.is_empty() {
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            return tail(chain, segment, offset, rest, first && open.is_some());
        };
        let (line, after) = rest.split_at(end);
        let number = chain.records.len() + 1;
        let record = match parse(line) {
            Ok(record) => record,
            Err(malformed) => {
                let words = format!("{}, byte {offset}, record {number}: {malformed}", segment.name);
                chain.faults.push(match malformed {
                    Malformed::Version(_) => Fault::Version(words),
                    Malformed::Form(_) | Malformed::Hash => Fault::Tampered(words),
                });
                return false;
            }
        };
        if let Err(words) = follows(chain, &record) {
            chain
                .faults
                .push(Fault::Tampered(format!("{}, byte {offset}: {words}", segment.name)));
            return false;
        }
        if let Err(words) = sealing(chain, &record, first, open.as_ref()) {
            chain.faults.push(Fault::Tampered(format!("{}: {words}", segment.name)));
            return false;
        }
        chain.records.push(record);
        first = false;
        offset += end + 1;
        rest = after.get(1..).unwrap_or_default();
    }
    if let Some(torn) = open.filter(|_| first) {
        // An empty segment after a torn one seals nothing.
        chain.torn = Some(torn);
    }
    true
}

fn follows(chain: &Chain, record: &Record) -> Result<(), String> {
    let (seq, prev) = chain
        .records
        .last()
        .map_or((1, NO_PREV), |last| (last.seq + 1, last.h.as_str()));
    if record.seq != seq {
        return Err(format!("record {seq} is missing: {} is in its place", record.seq));
    }
    if record.prev != prev {
        return Err(format!("record {seq} does not follow the one before it"));
    }
    if let Some(first) = chain.records.first()
        && first.run != record.run
    {
        return Err(format!("record {seq} belongs to another run ({})", record.run));
    }
    Ok(())
}

fn sealing(chain: &mut Chain, record: &Record, first: bool, open: Option<&Torn>) -> Result<(), String> {
    let is_seal = record.ev == "segment.seal";
    match open.filter(|_| first) {
        Some(torn) if is_seal => {
            let number = |key: &str| record.data.get(key).and_then(Value::as_u64);
            let fits = number("offset") == Some(torn.offset)
                && number("len") == Some(torn.len)
                && record.data.get("sha256").and_then(Value::as_str) == Some(torn.sha256.as_str());
            if !fits {
                return Err("the seal does not fit the torn tail before it".to_owned());
            }
            chain.sealed.push(torn.clone());
            Ok(())
        }
        Some(_) => Err("the torn tail of the segment before was not sealed".to_owned()),
        None if is_seal => Err("a seal where nothing was torn".to_owned()),
        None => Ok(()),
    }
}

fn tail(chain: &mut Chain, segment: &Segment, offset: usize, rest: &[u8], unsealed: bool) -> bool {
    if unsealed || rest.len() > LONGEST_LINE || !rest.starts_with(b"{") && !b"{".starts_with(rest) {
        chain.faults.push(Fault::Tampered(format!(
            "{}, byte {offset}: its end is no torn record",
            segment.name
        )));
        return false;
    }
    chain.torn = Some(Torn {
        segment: segment.name.clone(),
        offset: u64::try_from(offset).unwrap_or(u64::MAX),
        len: u64::try_from(rest.len()).unwrap_or(u64::MAX),
        sha256: hex_sha256(rest),
    });
    true
}
