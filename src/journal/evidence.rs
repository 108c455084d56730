//! Evidence: blobs under the SHA-256 of a salt and their bytes, so that a digest tells nothing about what it stands
//! for. The caller redacts first. Blobs are synced before a record names them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::disk::{Disk, write_new};

/// What a record says of a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlobRef {
    /// SHA-256 of salt and bytes, lower-case hex.
    pub c: String,
    /// Bytes.
    pub n: u64,
}

fn paths(run: &Path, c: &str) -> (PathBuf, PathBuf) {
    let folder = run.join("blobs");
    (folder.join(c), folder.join(format!("{c}.salt")))
}

/// Stores a blob durably. The folder is made with the journal.
pub fn put(disk: &dyn Disk, run: &Path, bytes: &[u8]) -> io::Result<BlobRef> {
    let salt: [u8; 32] = rand::random();
    let c = commitment(&salt, bytes);
    let (blob, side) = paths(run, &c);
    write_new(disk, &side, &salt)?;
    write_new(disk, &blob, bytes)?;
    disk.sync_folder(&run.join("blobs"))?;
    Ok(BlobRef {
        c,
        n: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
    })
}

fn commitment(salt: &[u8], bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::new().chain_update(salt).chain_update(bytes).finalize())
}

/// What became of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blob {
    Intact(Vec<u8>),
    Missing,
    Altered,
}

/// Reads a blob and holds it against what the record says.
pub fn get(run: &Path, about: &BlobRef) -> Blob {
    let plain = about.c.len() == 64 && about.c.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !plain {
        return Blob::Altered;
    }
    let (blob, side) = paths(run, &about.c);
    let is_file = |path: &Path| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file());
    if !is_file(&blob) || !is_file(&side) {
        return Blob::Missing;
    }
    let (Ok(bytes), Ok(salt)) = (fs::read(&blob), fs::read(&side)) else {
        return Blob::Missing;
    };
    let fits = commitment(&salt, &bytes) == about.c && u64::try_from(bytes.len()) == Ok(about.n);
    if fits { Blob::Intact(bytes) } else { Blob::Altered }
}
