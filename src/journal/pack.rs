//! A pack: pieces of evidence one after another in one file. A piece is a header line, 32 bytes of salt, the bytes, and
//! a line feed; its commitment is the SHA-256 of salt and bytes as they stand there, so that stock tools can hold one
//! against the other. Pure: bytes in, judgement out.
//!
//! An erased piece has zeros in the place of its salt and its bytes; its header stays. A salt is never zeros, and without
//! it nobody can tell by the commitment what the bytes were.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Random bytes before each piece, so that a digest tells nothing about what it stands for.
pub const SALT: usize = 32;
/// No header is longer: a commitment, and a number of at most 20 digits.
const LONGEST_HEADER: usize = 128;

/// What a record says of a piece of evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlobRef {
    /// SHA-256 of salt and bytes, lower-case hex.
    pub c: String,
    /// Bytes, the salt not counted.
    pub n: u64,
    /// The number of its pack, which is that of the segment whose record names it.
    pub pack: u32,
    /// Where its salt begins in the pack; its bytes follow the salt.
    pub at: u64,
}

/// What a piece's header says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    c: String,
    n: u64,
}

/// What became of a piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blob {
    Intact(Vec<u8>),
    /// Its salt and its bytes were overwritten with zeros, as an erasure does it.
    Erased,
    /// The pack is not there, or ends before it.
    Missing,
    Altered,
}

/// Where a piece stands in its pack, from its header to its line feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    pub from: u64,
    pub to: u64,
}

/// The bytes of a piece as they stand in a pack of `pack` bytes so far, and what a record says of it.
pub fn write(salt: &[u8; SALT], bytes: &[u8], number: u32, pack: u64) -> (Vec<u8>, BlobRef) {
    let n = length(bytes);
    let c = data_encoding::HEXLOWER.encode(&Sha256::new().chain_update(salt).chain_update(bytes).finalize());
    let header = header(&c, n);
    let at = pack + length(header.as_bytes());
    let entry = [header.as_bytes(), salt, bytes, b"\n"].concat();
    let about = BlobRef { c, n, pack: number, at };
    (entry, about)
}

/// Where a piece stands; none if it could not have been written so.
pub fn span(about: &BlobRef) -> Option<Span> {
    let from = about.at.checked_sub(length(header(&about.c, about.n).as_bytes()))?;
    let salt = u64::try_from(SALT).ok()?;
    let to = about.at.checked_add(salt)?.checked_add(about.n)?.checked_add(1)?;
    Some(Span { from, to })
}

/// Holds the bytes of a piece's span against what its record says.
pub fn judge(entry: &[u8], about: &BlobRef) -> Blob {
    let inner = entry
        .strip_prefix(header(&about.c, about.n).as_bytes())
        .and_then(|rest| rest.strip_suffix(b"\n"));
    let Some((inner, bytes)) = inner.and_then(|inner| Some((inner, inner.get(SALT..)?))) else {
        return Blob::Altered;
    };
    if length(bytes) != about.n {
        Blob::Altered
    } else if inner.iter().all(|byte| *byte == 0) {
        Blob::Erased
    } else if data_encoding::HEXLOWER.encode(&Sha256::digest(inner)) == about.c {
        Blob::Intact(bytes.to_vec())
    } else {
        Blob::Altered
    }
}

/// The piece that begins at `from` of a pack's bytes, if a whole one does.
pub fn piece_at(pack: &[u8], number: u32, from: u64) -> Option<BlobRef> {
    let rest = pack.get(usize::try_from(from).ok()?..)?;
    let end = rest
        .iter()
        .take(LONGEST_HEADER)
        .position(|byte| *byte == b'\n')
        .and_then(|end| end.checked_add(1))?;
    let Header { c, n } = serde_json::from_slice(rest.get(..end)?).ok()?;
    let about = BlobRef {
        c,
        n,
        pack: number,
        at: from.checked_add(u64::try_from(end).ok()?)?,
    };
    let span = span(&about).filter(|span| span.from == from && span.to <= length(pack))?;
    match judge(slice(pack, span)?, &about) {
        Blob::Intact(_) | Blob::Erased => Some(about),
        Blob::Missing | Blob::Altered => None,
    }
}

/// The bytes of a span, if the pack has them.
pub fn slice(pack: &[u8], span: Span) -> Option<&[u8]> {
    pack.get(usize::try_from(span.from).ok()?..usize::try_from(span.to).ok()?)
}

/// A length as records count it.
pub fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn header(c: &str, n: u64) -> String {
    format!("{{\"c\":\"{c}\",\"n\":{n}}}\n")
}
