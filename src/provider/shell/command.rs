//! `shell.command`: runs in its own process group with an environment by allow-list; output is streamed and capped.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use serde_json::{Map, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::provider::action::{Action, ActionError, ActionErrorKind, Cx, Observed, Outcome, Preview, Progress, Ready};
use crate::provider::connection::BuildError;
use crate::provider::registry::Request;

/// What a child gets of the program's own environment. Credentials are not in it.
const ALLOWED: &[&str] = &["PATH", "HOME", "LANG", "TZ"];
/// The most of a stream that is kept; the rest is counted and digested.
const KEPT: usize = 1024 * 1024;
/// The most of a stream that becomes a result.
const RESULT: usize = 8 * 1024;
/// How long a group may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    argv: Vec<String>,
    cwd: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
}

/// A command.
pub struct Command {
    with: Parameters,
}

impl Command {
    /// From its parameters.
    pub fn new(request: &Request<'_>) -> Result<Self, BuildError> {
        let with: Parameters = request.parameters()?;
        if with.argv.first().is_none_or(String::is_empty) {
            return Err(BuildError::Parameter("argv names no program".to_owned()));
        }
        Ok(Self { with })
    }

    fn command(&self) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(self.with.argv.first().map_or("", String::as_str));
        command
            .args(self.with.argv.iter().skip(1))
            .env_clear()
            .envs(
                ALLOWED
                    .iter()
                    .filter_map(|name| std::env::var_os(name).map(|value| (*name, value))),
            )
            .envs(&self.with.env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        if let Some(cwd) = &self.with.cwd {
            command.current_dir(cwd);
        }
        command
    }
}

/// A stream as far as it is kept.
#[derive(Default)]
struct Captured {
    bytes: Vec<u8>,
    total: u64,
    digest: Sha256,
}

impl Captured {
    fn text(&self, most: usize) -> String {
        let end = self.bytes.len().min(most);
        String::from_utf8_lossy(self.bytes.get(..end).unwrap_or_default()).into_owned()
    }

    fn evidence(self, name: &str) -> (String, Vec<u8>) {
        let mut bytes = self.bytes;
        if u64::try_from(bytes.len()).is_ok_and(|kept| kept < self.total) {
            let digest = data_encoding::HEXLOWER.encode(&self.digest.finalize());
            bytes.extend_from_slice(format!("\n[cut: {} bytes in all, SHA-256 {digest}]\n", self.total).as_bytes());
        }
        (name.to_owned(), bytes)
    }
}

async fn capture(mut stream: impl AsyncRead + Unpin, cx: Cx) -> Captured {
    let mut captured = Captured::default();
    let mut line: Vec<u8> = Vec::new();
    let mut buffer = vec![0u8; 8 * 1024];
    while let Ok(read) = stream.read(&mut buffer).await {
        if read == 0 {
            break;
        }
        let chunk = buffer.get(..read).unwrap_or_default();
        captured.total += u64::try_from(read).unwrap_or(0);
        captured.digest.update(chunk);
        let room = KEPT.saturating_sub(captured.bytes.len()).min(read);
        captured.bytes.extend_from_slice(chunk.get(..room).unwrap_or_default());
        for byte in chunk {
            if *byte == b'\n' || line.len() >= 4096 {
                cx.reporter
                    .progress(Progress::Line(String::from_utf8_lossy(&line).into_owned()));
                line.clear();
            }
            if *byte != b'\n' {
                line.push(*byte);
            }
        }
    }
    if !line.is_empty() {
        cx.reporter
            .progress(Progress::Line(String::from_utf8_lossy(&line).into_owned()));
    }
    captured
}

#[async_trait]
impl Action for Command {
    fn preview(&self) -> Preview {
        let argv: Vec<String> = self
            .with
            .argv
            .iter()
            .map(|word| serde_json::Value::from(word.as_str()).to_string())
            .collect();
        let mut notes = Vec::new();
        if let Some(cwd) = &self.with.cwd {
            notes.push(format!("in {cwd}"));
        }
        if !self.with.env.is_empty() {
            notes.push(format!(
                "with {}",
                self.with.env.keys().cloned().collect::<Vec<_>>().join(", ")
            ));
        }
        Preview {
            summary: format!("runs {}", self.with.argv.first().map_or("", String::as_str)),
            commands: vec![argv.join(" ")],
            notes,
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        Ok(Ready {
            identity: json!({ "argv": self.with.argv }),
            facts: Vec::new(),
        })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let program = self.with.argv.first().cloned().unwrap_or_default();
        let mut child = self.command().spawn().map_err(|error| {
            ActionError::new(
                ActionErrorKind::Permanent,
                format!("{program} could not be started: {error}"),
            )
        })?;
        let pid = child.id();
        cx.reporter.ack(&format!("pid {}", pid.unwrap_or_default())).await?;
        let out = child
            .stdout
            .take()
            .map(|stream| tokio::spawn(capture(stream, cx.clone())));
        let err = child
            .stderr
            .take()
            .map(|stream| tokio::spawn(capture(stream, cx.clone())));
        let status = tokio::select! {
            status = child.wait() => status.map_err(|error| {
                ActionError::new(ActionErrorKind::InDoubt, format!("{program} could not be waited for: {error}"))
            })?,
            () = cx.cancel.cancelled() => {
                end(pid, Signal::TERM);
                if tokio::time::timeout(PATIENCE, child.wait()).await.is_err() {
                    end(pid, Signal::KILL);
                }
                let words = format!("{program} was ended on request; what it did until then is not known");
                return Err(ActionError::new(ActionErrorKind::InDoubt, words));
            }
        };
        let joined = |task: Option<tokio::task::JoinHandle<Captured>>| async move {
            match task {
                Some(task) => tokio::time::timeout(PATIENCE, task)
                    .await
                    .ok()
                    .and_then(Result::ok)
                    .unwrap_or_default(),
                None => Captured::default(),
            }
        };
        let (stdout, stderr) = (joined(out).await, joined(err).await);
        let code = status.code();
        let mut result = Map::new();
        result.insert("code".to_owned(), json!(code));
        result.insert("stdout".to_owned(), json!(stdout.text(RESULT)));
        result.insert("stderr".to_owned(), json!(stderr.text(RESULT)));
        if status.success() {
            let evidence = vec![stdout.evidence("stdout"), stderr.evidence("stderr")];
            return Ok(Outcome {
                summary: format!("{program} ended with 0"),
                result,
                evidence,
            });
        }
        let last = stderr.text(RESULT).lines().last().unwrap_or_default().to_owned();
        let words = format!("{program} ended with {status}: {last}");
        Err(ActionError::new(ActionErrorKind::Permanent, words))
    }

    async fn observe(&self, _cx: &Cx) -> Result<Observed, ActionError> {
        Ok(Observed::Unknown {
            detail: "a command leaves no mark that could be read; look at what it acts on".to_owned(),
        })
    }
}

fn end(pid: Option<u32>, signal: Signal) {
    let group = pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    if let Some(group) = group {
        // A group that is gone already has ended.
        let _gone = kill_process_group(group, signal);
    }
}
