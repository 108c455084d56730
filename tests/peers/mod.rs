//! Independent peers: servers that other people wrote, started on loopback as children of the test. Each ends with the
//! last test that holds it, by its pid, and with this process whatever becomes of it (`serve.py`).
//!
//! They live in a folder of the build that `tests/run` makes. Where it is missing, a test that needs it fails under
//! `tests/run` and in CI, and says elsewhere that it was skipped.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A peer's program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Moto,
    Ministack,
    /// Makes faults as AWS words them, in front of another.
    Microburst,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Moto => "moto",
            Self::Ministack => "ministack",
            Self::Microburst => "microburst",
        }
    }
}

/// A running peer.
pub struct Peer {
    child: Child,
    /// The peer ends with it.
    _stdin: ChildStdin,
    pub port: u16,
    _folder: tempfile::TempDir,
}

/// A peer that tests of this process share, as long as any of them holds it.
type Shared = Mutex<Weak<Peer>>;
static MOTO: Shared = Mutex::new(Weak::new());
static MINISTACK: Shared = Mutex::new(Weak::new());

/// The Python that has the peers, as `tests/run` made it.
fn python() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target"),
        PathBuf::from,
    );
    target.join("peers-venv/bin/python")
}

/// moto, shared; nothing where it cannot be had and need not be.
pub fn moto() -> Option<Arc<Peer>> {
    shared(&MOTO, Kind::Moto)
}

/// ministack, shared; nothing where it cannot be had and need not be.
pub fn ministack() -> Option<Arc<Peer>> {
    shared(&MINISTACK, Kind::Ministack)
}

fn shared(cell: &Shared, kind: Kind) -> Option<Arc<Peer>> {
    let mut running = cell.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(peer) = running.upgrade() {
        return Some(peer);
    }
    let peer = Arc::new(Peer::start(kind, None)?);
    *running = Arc::downgrade(&peer);
    Some(peer)
}

impl Peer {
    /// Starts one of its own, in front of `upstream` where its kind stands in front of another.
    pub fn start(kind: Kind, upstream: Option<&str>) -> Option<Self> {
        let python = python();
        if !python.is_file() {
            let words = format!("{} is not installed in {}", kind.name(), python.display());
            let needed = ["CI", "POINTSMAN_PEERS"]
                .map(std::env::var_os)
                .iter()
                .any(Option::is_some);
            assert!(!needed, "{words}; ./tests/run installs it");
            // Not by a macro: the harness would keep it to itself.
            let mut out = std::io::stderr();
            writeln!(out, "SKIPPED: {words}; ./tests/run installs it").unwrap();
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut child = Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/serve.py"))
            .arg(kind.name())
            .args(upstream)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", folder.path())
            .env("TMPDIR", folder.path())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut first = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut first).unwrap();
        let port = first.trim().parse().unwrap_or_else(|_| {
            let _ended = child.kill();
            let _reaped = child.wait();
            panic!("{} does not start: {}", kind.name(), fs::read_to_string(&log).unwrap());
        });
        Some(Self {
            child,
            _stdin: stdin,
            port,
            _folder: folder,
        })
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
