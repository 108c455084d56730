//! What every test of the provider starts from: a host, a listener for reports, and the engine's part.

#[path = "../support/cx.rs"]
mod cx;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use pointsman::provider::action::{Action, ActionError, ActionErrorKind, Cx, Observed, Outcome, Progress, Reporter};
use pointsman::provider::connection::{Connections, Target};
use pointsman::provider::registry::{Request, build};
use pointsman::provider::ssh::target::SshTarget;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::server::Host;
use crate::support::wait_for;

pub const KEY: &str = "pm-key";

/// Remembers what an action reported.
#[derive(Default)]
pub struct Heard {
    pub acked: Mutex<Vec<String>>,
    pub lines: Mutex<Vec<String>>,
    /// Acknowledgements cannot be recorded.
    pub deaf: bool,
    /// Cancelled by the acknowledgement.
    pub cancels: Option<CancellationToken>,
}

#[async_trait]
impl Reporter for Heard {
    async fn ack(&self, provider_id: &str) -> Result<(), ActionError> {
        self.acked.lock().unwrap().push(provider_id.to_owned());
        if let Some(cancel) = &self.cancels {
            cancel.cancel();
        }
        if self.deaf {
            return Err(ActionError::new(ActionErrorKind::InDoubt, "the disk is full"));
        }
        Ok(())
    }

    fn progress(&self, progress: Progress) {
        if let Progress::Line(line) = progress {
            self.lines.lock().unwrap().push(line);
        }
    }
}

pub struct Bench {
    pub host: Host,
    pub heard: Arc<Heard>,
    pub cancel: CancellationToken,
}

impl Drop for Bench {
    fn drop(&mut self) {
        // A test that failed may have left its command.
        if std::thread::panicking() && !self.heard.acked.lock().unwrap().is_empty() {
            let group = rustix::process::Pid::from_raw(i32::try_from(self.group()).unwrap()).unwrap();
            let _gone = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

impl Bench {
    pub fn new() -> Self {
        Self::of(Host::new())
    }

    pub fn of(host: Host) -> Self {
        Self {
            host,
            heard: Arc::default(),
            cancel: CancellationToken::new(),
        }
    }

    pub fn cx(&self) -> Cx {
        cx::cx(KEY, Value::Null, 100.0, &self.cancel, self.heard.clone())
    }

    pub fn reading(&self) -> Cx {
        Cx {
            mutates: false,
            ..self.cx()
        }
    }

    pub fn action(&self, with: Value) -> Box<dyn Action> {
        action(self.host.target(), &with)
    }

    pub fn script(&self, script: &str) -> Box<dyn Action> {
        self.action(json!({ "argv": ["sh", "-c", script] }))
    }

    pub async fn run(&self, with: Value) -> Result<Outcome, ActionError> {
        self.action(with).execute(&self.cx()).await
    }

    /// Begins it in a task of its own, and comes back once it runs.
    pub fn begin(&self, action: Box<dyn Action>, cx: Cx) -> tokio::task::JoinHandle<Result<Outcome, ActionError>> {
        let running = tokio::spawn(async move { action.execute(&cx).await });
        let heard = self.heard.clone();
        self.wait("the acknowledgement", || !heard.acked.lock().unwrap().is_empty());
        running
    }

    pub async fn observe(&self) -> Observed {
        self.script("true").observe(&self.cx()).await.unwrap()
    }

    pub fn look(&self) -> Observed {
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(self.observe()))
    }

    pub fn wait(&self, what: &str, holds: impl FnMut() -> bool) {
        tokio::task::block_in_place(|| wait_for(what, holds));
    }

    /// The process group that was acknowledged.
    pub fn group(&self) -> u32 {
        let acked = self.heard.acked.lock().unwrap();
        acked[0].split(' ').nth(2).unwrap().parse().unwrap()
    }

    /// A pipe that nobody writes to: who reads it waits until the test lets go.
    pub fn pipe(&self) -> PathBuf {
        let path = self.host.path("pipe");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    }

    pub fn let_go(&self) {
        tokio::task::block_in_place(|| fs::write(self.host.path("pipe"), "go\n").unwrap());
    }
}

pub fn action(target: SshTarget, with: &Value) -> Box<dyn Action> {
    let on = ["host".to_owned()];
    let request = Request {
        uses: "ssh.command",
        on: &on,
        with,
    };
    build(&request, &Connections::new().with("host", Target::Ssh(target))).unwrap()
}

/// The words of an error of this kind.
#[track_caller]
pub fn failed<T: std::fmt::Debug>(result: Result<T, ActionError>, kind: ActionErrorKind) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind, kind, "{error:?}");
    error.message
}

#[track_caller]
pub fn done(seen: Observed) -> Outcome {
    match seen {
        Observed::Done(outcome) => outcome,
        other @ (Observed::Unknown { .. }
        | Observed::NotVisible { .. }
        | Observed::NotStarted { .. }
        | Observed::Running { .. }) => {
            panic!("{other:?}")
        }
    }
}

#[track_caller]
pub fn unknown(seen: Observed) -> String {
    match seen {
        Observed::Unknown { detail } => detail,
        other @ (Observed::Done(_)
        | Observed::NotVisible { .. }
        | Observed::NotStarted { .. }
        | Observed::Running { .. }) => panic!("{other:?}"),
    }
}

#[track_caller]
pub fn running(seen: Observed) -> String {
    match seen {
        Observed::Running { detail } => detail,
        other @ (Observed::Done(_)
        | Observed::NotVisible { .. }
        | Observed::NotStarted { .. }
        | Observed::Unknown { .. }) => panic!("{other:?}"),
    }
}

#[track_caller]
pub fn not_started(seen: Observed) -> String {
    match seen {
        Observed::NotStarted { detail } => detail,
        other @ (Observed::Done(_)
        | Observed::NotVisible { .. }
        | Observed::Running { .. }
        | Observed::Unknown { .. }) => panic!("{other:?}"),
    }
}
