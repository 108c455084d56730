//! What outlives a kill of the program: a file an attempt, whose lock the child inherits, and in it what is known of the
//! child. Owns those files; must not judge what they mean for the step.
//!
//! The lock (`flock(2)`) belongs to an open file that the child and whatever it starts inherit: it is free when the last
//! of them has ended or has closed it. The program itself gives it up as soon as the child has it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, SecondsFormat, Utc};
use rustix::fs::{FlockOperation, flock};
use rustix::io::{FdFlags, fcntl_setfd};
use serde::{Deserialize, Serialize};

use crate::provider::action::Cx;

/// One child at a time is started: it alone inherits the lock that is open for inheritance.
static STARTING: Mutex<()> = Mutex::new(());

/// The folder of a run's attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempts {
    folder: PathBuf,
    complete: bool,
}

/// What a file says, a line each; a line that a crash cut short says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    /// The child is about to be started.
    Begun { at: DateTime<Utc> },
    /// It was started.
    Started(Child),
    /// It could not be started.
    NotStarted { why: String },
    /// Its process group was asked to end.
    AskedToEnd { at: DateTime<Utc> },
    /// It ended.
    Ended {
        code: Option<i32>,
        status: String,
        at: DateTime<Utc>,
    },
}

/// A child as it can be found again: its process id alone is given out again by the system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat` (`proc_pid_stat(5)`), in clock ticks since the boot.
    pub start_time: Option<u64>,
    /// `/proc/sys/kernel/random/boot_id` (`random(4)`).
    pub boot: Option<String>,
    pub host: String,
    pub since: DateTime<Utc>,
}

/// What is known of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// There is no file, and none is made without one: the child was never started.
    Never,
    /// There is no file, and that proves nothing: this folder does not tell of every attempt.
    Nothing,
    /// The child could not be started.
    NotStarted { why: String },
    /// The lock is held, or the child is alive without it.
    Running {
        child: Option<Child>,
        /// The child itself; else only something that it started.
        itself: bool,
    },
    /// It ended, and the program saw it.
    Ended {
        code: Option<i32>,
        status: String,
        at: DateTime<Utc>,
        /// It had been asked to end before.
        asked: bool,
        /// Something that it started still has the lock.
        left: bool,
    },
    /// Nobody is at it any more, and nobody saw how it ended.
    Gone { child: Option<Child>, asked: bool },
}

impl Attempts {
    /// The attempts in `folder`, which the run was made with. `complete`: it is the very folder that every attempt of
    /// this run was noted in, no copy.
    pub fn new(folder: PathBuf, complete: bool) -> Self {
        Self { folder, complete }
    }

    fn path(&self, cx: &Cx) -> PathBuf {
        self.folder.join(format!("{}-{}-{}.lock", cx.step, cx.attempt, cx.key))
    }

    /// Makes and locks an attempt's file; it is durable when this returns.
    pub fn begin(&self, cx: &Cx) -> io::Result<Attempt> {
        if !self.folder.is_dir() {
            // A run of a version that noted no attempts: what it began is not found here.
            fs::create_dir_all(&self.folder)?;
        }
        let path = self.path(cx);
        let mut notes = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        let lock = File::open(&path)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let words = "something that this very attempt started still runs";
                return Err(io::Error::new(io::ErrorKind::WouldBlock, words));
            }
            Err(error) => return Err(error.into()),
        }
        say(&mut notes, &Said::Begun { at: Utc::now() })?;
        File::open(&self.folder)?.sync_all()?;
        Ok(Attempt {
            lock: Some(lock),
            notes,
            path,
        })
    }

    /// Only reads.
    pub fn look(&self, cx: &Cx) -> io::Result<Known> {
        let path = self.path(cx);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let proves = self.complete && self.folder.is_dir();
                return Ok(if proves { Known::Never } else { Known::Nothing });
            }
            Err(error) => return Err(error),
        };
        let (mut child, mut asked, mut last) = (None, false, None);
        for said in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
            match said {
                Said::Begun { .. } => (child, asked, last) = (None, false, None),
                Said::Started(started) => child = Some(started),
                Said::AskedToEnd { .. } => asked = true,
                said @ (Said::NotStarted { .. } | Said::Ended { .. }) => last = Some(said),
            }
        }
        match last {
            Some(Said::NotStarted { why }) => return Ok(Known::NotStarted { why }),
            Some(Said::Ended { code, status, at }) => {
                return Ok(Known::Ended {
                    code,
                    status,
                    at,
                    asked,
                    left: is_held(&path)?,
                });
            }
            Some(Said::Begun { .. } | Said::Started(_) | Said::AskedToEnd { .. }) | None => {}
        }
        let itself = child.as_ref().is_some_and(Child::is_alive);
        if itself || is_held(&path)? {
            return Ok(Known::Running { child, itself });
        }
        Ok(Known::Gone { child, asked })
    }
}

/// One attempt that is under way.
pub struct Attempt {
    /// Until the child has it.
    lock: Option<File>,
    notes: File,
    path: PathBuf,
}

impl Attempt {
    /// Starts the child, which inherits the lock, and notes who it is.
    pub fn start(&mut self, command: &mut tokio::process::Command) -> io::Result<tokio::process::Child> {
        let started = {
            let _alone = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
            let lock = self.lock.take();
            if let Some(lock) = &lock {
                fcntl_setfd(lock, FdFlags::empty())?;
            }
            command.spawn()
        };
        match &started {
            Ok(child) => {
                let noted = child
                    .id()
                    .map_or(Ok(()), |pid| self.say(&Said::Started(Child::of(pid))));
                if let Err(error) = noted {
                    // It is only less that can be shown of an orphan; the lock tells what decides.
                    tracing::warn!(%error, path = %self.path.display(), "the child could not be noted");
                }
            }
            Err(error) => self.note(&Said::NotStarted { why: error.to_string() }),
        }
        started
    }

    /// The group is about to be asked to end.
    pub fn asked_to_end(&mut self) {
        self.note(&Said::AskedToEnd { at: Utc::now() });
    }

    /// The child ended.
    pub fn ended(&mut self, status: std::process::ExitStatus) {
        self.note(&Said::Ended {
            code: status.code(),
            status: status.to_string(),
            at: Utc::now(),
        });
    }

    /// Whether the child, or something that it started, still has the lock.
    pub fn is_held(&self) -> bool {
        is_held(&self.path).unwrap_or(false)
    }

    /// What cannot be noted is not known after a crash, and a person is asked: never worse than that.
    fn note(&mut self, said: &Said) {
        if let Err(error) = self.say(said) {
            tracing::warn!(%error, path = %self.path.display(), "an attempt could not be noted");
        }
    }

    fn say(&mut self, said: &Said) -> io::Result<()> {
        say(&mut self.notes, said)
    }
}

fn say(notes: &mut File, said: &Said) -> io::Result<()> {
    let line = serde_json::to_string(said).map_err(io::Error::other)?;
    notes.write_all(format!("{line}\n").as_bytes())?;
    notes.sync_all()
}

fn is_held(path: &Path) -> io::Result<bool> {
    match flock(File::open(path)?, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

impl Child {
    fn of(pid: u32) -> Self {
        Self {
            pid,
            start_time: stat(pid).map(|(_, start_time)| start_time),
            boot: boot(),
            host: host(),
            since: Utc::now(),
        }
    }

    /// Whether this very process lives, here and since this boot. A zombie has ended.
    fn is_alive(&self) -> bool {
        let here = self.boot.is_some() && self.boot == boot() && self.host == host();
        here && stat(self.pid)
            .is_some_and(|(state, start_time)| Some(start_time) == self.start_time && !matches!(state, 'Z' | 'X' | 'x'))
    }

    /// For people.
    pub fn words(&self) -> String {
        let since = self.since.to_rfc3339_opts(SecondsFormat::Secs, true);
        let elsewhere = if self.host == host() {
            ""
        } else {
            &format!(" of host {}", self.host)
        };
        let before = if self.boot == boot() {
            ""
        } else {
            ", before the machine was started again"
        };
        format!("process {}{elsewhere}, since {since}{before}", self.pid)
    }
}

/// A process's state and start time.
fn stat(pid: u32) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in brackets that may hold anything.
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

fn boot() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
