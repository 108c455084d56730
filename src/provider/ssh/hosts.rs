//! Which keys a host is known by, and whether the key that it shows is one of them. Reads `known_hosts`; never writes it.
//!
//! libssh2 compares names (plain, `[host]:port`, hashed) and keys; it is asked line by line, so that it is known which
//! kinds of keys to ask the host for and which line speaks. Lines with wildcards it does not understand, and certificates
//! of an authority neither: such a host is unknown. A key that is revoked is so for every host.

use std::fs;
use std::io;
use std::path::Path;

use data_encoding::{BASE64, BASE64_NOPAD};
use sha2::{Digest, Sha256};
use ssh2::{CheckResult, KnownHostFileKind, Session};

use super::target::SshTarget;

/// The kinds of host keys, ours first, as `known_hosts` names them and as they are asked for.
const KINDS: &[(&str, &str)] = &[
    ("ssh-ed25519", "ssh-ed25519"),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"),
    ("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"),
    ("ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"),
    ("ssh-rsa", "rsa-sha2-512,rsa-sha2-256"),
];

/// What no line has.
const NO_KEY: &[u8] = b"no key at all";

/// A line that names the host.
struct Line {
    number: usize,
    kind: String,
    text: String,
    /// It names the port too.
    exact: bool,
}

/// What is known of a host.
pub struct Known {
    lines: Vec<Line>,
    /// The numbers of the lines that revoke a key, and the keys.
    revoked: Vec<(usize, Vec<u8>)>,
}

/// A host key, as people compare it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey {
    pub kind: String,
    /// `SHA256:` and the digest, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    line: String,
}

/// What a key that a host shows is to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Known,
    Unknown,
    /// The line with this number has another key.
    Changed {
        line: usize,
    },
    Revoked {
        line: usize,
    },
}

impl HostKey {
    /// From the bytes that a host shows; the first field of them is their kind (RFC 4253, section 6.6).
    pub fn new(bytes: &[u8]) -> Self {
        let kind = bytes
            .split_at_checked(4)
            .and_then(|(length, rest)| {
                let length = u32::from_be_bytes(length.try_into().ok()?);
                rest.get(..usize::try_from(length).ok()?)
            })
            .map(|kind| String::from_utf8_lossy(kind).into_owned())
            .unwrap_or_default();
        Self {
            fingerprint: format!("SHA256:{}", BASE64_NOPAD.encode(&Sha256::digest(bytes))),
            line: format!("{kind} {}", BASE64.encode(bytes)),
            kind,
        }
    }

    /// Its kind and fingerprint.
    pub fn words(&self) -> String {
        format!("{} {}", self.kind, self.fingerprint)
    }

    /// The line for `known_hosts`.
    pub fn line_for(&self, target: &SshTarget) -> String {
        format!("{} {}", exact_name(target), self.line)
    }
}

impl Known {
    /// What the target's file says of it. A file that is not there says nothing.
    pub fn read(session: &Session, target: &SshTarget) -> Result<Self, String> {
        let text = read(&target.known_hosts)
            .map_err(|error| format!("{}: {error}; mend it, then retry", target.known_hosts.display()))?;
        let mut lines = Vec::new();
        let mut revoked = Vec::new();
        for (index, text) in text.lines().enumerate() {
            let (number, text) = (index + 1, text.trim());
            if let Some(rest) = text.strip_prefix("@revoked") {
                let key = rest.split_whitespace().nth(2).map(str::as_bytes);
                let key = key.and_then(|key| BASE64.decode(key).ok()).ok_or_else(|| {
                    let file = target.known_hosts.display();
                    format!("{file}: line {number} revokes a key that cannot be read; mend it, then retry")
                })?;
                revoked.push((number, key));
                continue;
            }
            if text.starts_with(['@', '#']) {
                continue;
            }
            let Some(kind) = text.split_whitespace().nth(1) else {
                continue;
            };
            let exact = check(session, &exact_name(target), text, NO_KEY).is_some();
            if exact || check(session, &target.host.to_lowercase(), text, NO_KEY).is_some() {
                lines.push(Line {
                    number,
                    kind: kind.to_owned(),
                    text: text.to_owned(),
                    exact,
                });
            }
        }
        // A line with the port speaks for that port, and one without only where no line does.
        if lines.iter().any(|line| line.exact) {
            lines.retain(|line| line.exact);
        }
        Ok(Self { lines, revoked })
    }

    /// The kinds of keys to ask the host for: those that it is known by first, or a key that has not changed would look
    /// as if it had.
    pub fn preferred(&self) -> String {
        let known = |kind: &str| self.lines.iter().any(|line| line.kind == kind);
        let (first, rest): (Vec<_>, Vec<_>) = KINDS.iter().partition(|(kind, _)| known(kind));
        let all: Vec<&str> = first.iter().chain(&rest).map(|(_, asked)| *asked).collect();
        all.join(",")
    }

    /// What `key` is to us.
    pub fn judge(&self, session: &Session, target: &SshTarget, key: &[u8]) -> Verdict {
        if let Some((line, _)) = self.revoked.iter().find(|(_, revoked)| revoked == key) {
            return Verdict::Revoked { line: *line };
        }
        let same = |line: &Line| {
            let name = if line.exact {
                exact_name(target)
            } else {
                target.host.to_lowercase()
            };
            check(session, &name, &line.text, key) == Some(true)
        };
        if self.lines.iter().any(same) {
            return Verdict::Known;
        }
        // Another key of the same name may be another port's.
        let exact = self.lines.iter().find(|line| line.exact);
        exact.map_or(Verdict::Unknown, |line| Verdict::Changed { line: line.number })
    }
}

/// The name of a host at its port.
fn exact_name(target: &SshTarget) -> String {
    let host = target.host.to_lowercase();
    match target.port {
        22 => host,
        port => format!("[{host}]:{port}"),
    }
}

fn read(path: &Path) -> io::Result<String> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

/// Whether a line with this name has this key; nothing for a line that does not name it or cannot be read.
fn check(session: &Session, name: &str, line: &str, key: &[u8]) -> Option<bool> {
    let mut known = session.known_hosts().ok()?;
    known.read_str(line, KnownHostFileKind::OpenSSH).ok()?;
    match known.check(name, key) {
        CheckResult::Match => Some(true),
        CheckResult::Mismatch => Some(false),
        CheckResult::NotFound | CheckResult::Failure => None,
    }
}
