//! `shell.command`: runs in its own process group with an environment by allow-list; output is streamed and capped.
//! A change notes its attempt, so that a child which outlives the program is found again.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{SecondsFormat, Utc};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use serde_json::{Map, json};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::provider::action::{Action, ActionError, ActionErrorKind, Cx, Observed, Outcome, Preview, Ready};
use crate::provider::connection::BuildError;
use crate::provider::output::{Captured, Output};
use crate::provider::registry::Request;

use super::attempt::{Attempt, Attempts, Child, Known};

/// What a child gets of the program's own environment. Credentials are not in it.
const ALLOWED: &[&str] = &["PATH", "HOME", "LANG", "TZ"];
/// How long a group may take to end before it is killed, and its output to come to an end after it.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    argv: Vec<String>,
    cwd: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
}

/// How often a group that was asked to end is looked at.
const GLANCE: Duration = Duration::from_millis(20);
/// Said where a child has ended, but not all of what it started.
const LEFT: &str = "; something that it started still runs";
/// What a person should do where nothing else can be known.
const LOOK: &str = "look at what it acts on";

/// A command.
pub struct Command {
    with: Parameters,
    attempts: Option<Attempts>,
}

impl Command {
    /// From its parameters.
    pub fn new(request: &Request<'_>, attempts: Option<Attempts>) -> Result<Self, BuildError> {
        let with: Parameters = request.parameters()?;
        if with.argv.first().is_none_or(String::is_empty) {
            return Err(BuildError::Parameter("argv names no program".to_owned()));
        }
        Ok(Self { with, attempts })
    }

    fn program(&self) -> &str {
        self.with.argv.first().map_or("", String::as_str)
    }

    /// Where a change notes its attempt; a read leaves nothing that would have to be found again.
    fn attempts(&self, cx: &Cx) -> Option<Attempts> {
        self.attempts.clone().filter(|_| cx.mutates)
    }

    /// The attempt's file and lock, durable before anything is started.
    async fn begin(&self, cx: &Cx) -> Result<Option<Attempt>, ActionError> {
        let Some(attempts) = self.attempts(cx) else {
            return Ok(None);
        };
        let noted = cx.clone();
        let begun = tokio::task::spawn_blocking(move || attempts.begin(&noted)).await;
        let begun = begun.map_err(std::io::Error::other).and_then(|begun| begun);
        begun.map(Some).map_err(|error| {
            let words = format!(
                "{} was not started: its attempt could not be noted in the run's folder: {error}; mend that, then retry",
                self.program()
            );
            ActionError::new(ActionErrorKind::Transient, words)
        })
    }

    fn command(&self) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(self.program());
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

async fn capture(mut stream: impl AsyncRead + Unpin, cx: Cx) -> Captured {
    let mut captured = Captured::default();
    let mut buffer = vec![0u8; 8 * 1024];
    while let Ok(read) = stream.read(&mut buffer).await {
        if read == 0 {
            break;
        }
        captured.take(buffer.get(..read).unwrap_or_default(), &*cx.reporter);
    }
    captured.end(&*cx.reporter);
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
            summary: format!("runs {}", self.program()),
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
        let program = self.program().to_owned();
        let mut attempt = self.begin(cx).await?;
        let mut command = self.command();
        let started = match &mut attempt {
            Some(attempt) => attempt.start(&mut command),
            None => command.spawn(),
        };
        let mut child = started.map_err(|error| {
            ActionError::new(
                ActionErrorKind::Permanent,
                format!("{program} could not be started: {error}"),
            )
        })?;
        let group = child.id();
        let acked = cx.reporter.ack(&format!("pid {}", group.unwrap_or_default())).await;
        let out = child
            .stdout
            .take()
            .map(|stream| tokio::spawn(capture(stream, cx.clone())));
        let err = child
            .stderr
            .take()
            .map(|stream| tokio::spawn(capture(stream, cx.clone())));
        if let Err(error) = acked {
            // What the record does not know of must not go on.
            end(&mut child, group, attempt.as_mut()).await;
            return Err(error);
        }
        let status = tokio::select! {
            status = child.wait() => status.map_err(|error| {
                ActionError::new(ActionErrorKind::InDoubt, format!("{program} could not be waited for: {error}"))
            })?,
            () = cx.cancel.cancelled() => {
                let how = end(&mut child, group, attempt.as_mut()).await;
                let words = format!("{program} was ended on request{how}; what it did until then is not known: {LOOK}");
                return Err(ActionError::new(ActionErrorKind::InDoubt, words));
            }
        };
        let mut left = "";
        if let Some(attempt) = &mut attempt {
            attempt.ended(status);
            if attempt.is_held() {
                left = LEFT;
            }
        }
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
        let output = Output {
            stdout: joined(out).await,
            stderr: joined(err).await,
        };
        if status.success() {
            return Ok(Outcome {
                summary: format!("{program} ended with 0{left}"),
                result: output.result(status.code()),
                evidence: output.evidence(),
            });
        }
        let last = output.last_words();
        let words = format!("{program} ended with {status}{left}: {last}");
        Err(ActionError::new(ActionErrorKind::Permanent, words))
    }

    async fn observe(&self, cx: &Cx) -> Result<Observed, ActionError> {
        let unknown = |detail: String| Ok(Observed::Unknown { detail });
        let Some(attempts) = self.attempts(cx) else {
            return unknown(format!("a command leaves no mark that could be read; {LOOK}"));
        };
        let known = attempts.look(cx).map_err(|error| {
            let words = format!("what was noted of {} cannot be read: {error}; {LOOK}", self.program());
            ActionError::new(ActionErrorKind::InDoubt, words)
        })?;
        seen(self.program(), known)
    }
}

/// What is known of an attempt, as an observation.
fn seen(program: &str, known: Known) -> Result<Observed, ActionError> {
    let who = |child: &Option<Child>| child.as_ref().map_or_else(|| "its process".to_owned(), Child::words);
    let detail = match known {
        Known::Never => {
            return Ok(Observed::NotStarted {
                detail: format!("{program} was never started: no attempt of it was noted"),
            });
        }
        Known::NotStarted { why } => {
            return Ok(Observed::NotStarted {
                detail: format!("{program} could not be started: {why}"),
            });
        }
        Known::Running { child, itself: true } => {
            return Ok(Observed::Running {
                detail: format!(
                    "{program} still runs ({}): it has outlived the program that started it; wait, or end it",
                    who(&child)
                ),
            });
        }
        Known::Running { child, itself: false } => {
            return Ok(Observed::Running {
                detail: format!(
                    "{program} ({}) has ended, but something that it started still runs; wait, or end that",
                    who(&child)
                ),
            });
        }
        Known::Ended {
            code: Some(0),
            asked: false,
            at,
            left,
            ..
        } => {
            let left = if left { LEFT } else { "" };
            let at = at.to_rfc3339_opts(SecondsFormat::Secs, true);
            return Ok(Observed::Done(Outcome {
                summary: format!("{program} ended with 0 at {at}{left}; what it printed was lost with the program"),
                result: Map::from_iter([("code".to_owned(), json!(0))]),
                evidence: Vec::new(),
            }));
        }
        Known::Ended {
            status,
            at,
            asked,
            left,
            code: _,
        } => {
            let left = if left { LEFT } else { "" };
            let asked = if asked { " after it was asked to end" } else { "" };
            let at = at.to_rfc3339_opts(SecondsFormat::Secs, true);
            format!("{program} ended with {status} at {at}{asked}{left}; what it did until then is not known: {LOOK}")
        }
        Known::Gone { child, asked } => {
            let asked = if asked { "; it had been asked to end" } else { "" };
            format!(
                "{program} ({}) runs no more, and nobody saw how it ended{asked}; {LOOK}",
                who(&child)
            )
        }
        Known::Nothing => format!("nothing was noted of {program} in this folder, which proves nothing here; {LOOK}"),
    };
    Ok(Observed::Unknown { detail })
}

/// Asks a child's group to end, then kills it; says how that went. Whatever left the group is not reached, and is told.
async fn end(child: &mut tokio::process::Child, group: Option<u32>, mut attempt: Option<&mut Attempt>) -> String {
    let asked = Utc::now();
    if let Some(attempt) = &mut attempt {
        attempt.asked_to_end();
    }
    signal(group, Signal::TERM);
    let ended = tokio::time::timeout(PATIENCE, all_ended(child, attempt.as_deref())).await;
    // Without a lock nobody knows whether the rest of the group has ended too.
    if ended.is_err() || attempt.is_none() {
        signal(group, Signal::KILL);
    }
    let killed = ended.is_err();
    let status = match ended {
        Ok(status) => status,
        Err(_elapsed) => tokio::time::timeout(PATIENCE, child.wait())
            .await
            .ok()
            .and_then(Result::ok),
    };
    let how = if killed { ", and had to be killed" } else { "" };
    let mut words = match status {
        Some(status) => format!(" ({status}, {} ms later{how})", (Utc::now() - asked).num_milliseconds()),
        None => format!("{how}, and its end was not seen"),
    };
    if let Some(attempt) = attempt {
        if let Some(status) = status {
            attempt.ended(status);
        }
        let gone = async {
            while attempt.is_held() {
                tokio::time::sleep(GLANCE).await;
            }
        };
        if tokio::time::timeout(PATIENCE, gone).await.is_err() {
            words.push_str("; something that it started has left its process group and still runs");
        }
    }
    words
}

/// The child's end, once nothing that it started has the lock any more.
async fn all_ended(child: &mut tokio::process::Child, attempt: Option<&Attempt>) -> Option<std::process::ExitStatus> {
    let status = child.wait().await.ok();
    while attempt.is_some_and(Attempt::is_held) {
        tokio::time::sleep(GLANCE).await;
    }
    status
}

fn signal(group: Option<u32>, signal: Signal) {
    let group = group.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    if let Some(group) = group {
        // A group that is gone already has ended.
        let _gone = kill_process_group(group, signal);
    }
}
