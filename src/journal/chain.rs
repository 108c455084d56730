//! The chain over a run's segments: sequence, hashes, torn and sealed tails. Pure: bytes in, findings out.

use std::collections::VecDeque;

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
    /// Torn and not sealed, in their order. More than one where the power failed again while the first was being
    /// sealed.
    pub torn: Vec<Torn>,
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
        if !segment_of(&mut chain, segment) {
            return chain;
        }
    }
    chain
}

fn segment_of(chain: &mut Chain, segment: &Segment) -> bool {
    // A segment begins with the seals of what is torn before it.
    let mut due: VecDeque<Torn> = std::mem::take(&mut chain.torn).into();
    let mut offset = 0;
    let mut rest = segment.bytes.as_slice();
    while !rest.is_empty() {
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            match torn(segment, offset, rest) {
                Ok(torn) => due.push_back(torn),
                Err(fault) => {
                    chain.faults.push(fault);
                    return false;
                }
            }
            break;
        };
        let (line, after) = rest.split_at(end);
        let number = chain.records.len() + 1;
        let record = match parse(line) {
            Ok(record) => record,
            Err(malformed) => {
                let words = format!("{}, byte {offset}, record {number}: {malformed}", segment.name);
                chain.faults.push(match malformed {
                    Malformed::Version(_) | Malformed::Apart => Fault::Version(words),
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
        if let Err(words) = sealing(chain, &record, &mut due) {
            chain.faults.push(Fault::Tampered(format!("{}: {words}", segment.name)));
            return false;
        }
        chain.records.push(record);
        offset += end + 1;
        rest = after.get(1..).unwrap_or_default();
    }
    // An empty segment seals nothing.
    chain.torn = due.into();
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

fn sealing(chain: &mut Chain, record: &Record, due: &mut VecDeque<Torn>) -> Result<(), String> {
    let is_seal = record.ev == "segment.seal";
    match due.pop_front() {
        Some(torn) if is_seal => {
            let number = |key: &str| record.data.get(key).and_then(Value::as_u64);
            let word = |key: &str| record.data.get(key).and_then(Value::as_str);
            let fits = word("segment") == Some(torn.segment.as_str())
                && number("offset") == Some(torn.offset)
                && number("len") == Some(torn.len)
                && word("sha256") == Some(torn.sha256.as_str());
            if !fits {
                return Err("the seal does not fit the torn tail before it".to_owned());
            }
            chain.sealed.push(torn);
            Ok(())
        }
        Some(_) => Err("the torn tail of the segment before was not sealed".to_owned()),
        None if is_seal => Err("a seal where nothing was torn".to_owned()),
        None => Ok(()),
    }
}

/// What is left of a record that was not written to its end. After a power loss a file may be as long as it was to be
/// and hold zeros where the bytes never arrived.
fn torn(segment: &Segment, offset: usize, rest: &[u8]) -> Result<Torn, Fault> {
    if rest.len() > LONGEST_LINE || !matches!(rest.first(), Some(b'{' | 0)) {
        let words = format!("{}, byte {offset}: its end is no torn record", segment.name);
        return Err(Fault::Tampered(words));
    }
    Ok(Torn {
        segment: segment.name.clone(),
        offset: u64::try_from(offset).unwrap_or(u64::MAX),
        len: u64::try_from(rest.len()).unwrap_or(u64::MAX),
        sha256: hex_sha256(rest),
    })
}
