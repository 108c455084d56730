//! What is done on the other host, each in a session of its own: begin, follow, look, end. Blocks; says what was heard
//! and judges only whether the connection held.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::provider::action::{ActionError, ActionErrorKind, Progress, Reporter};
use crate::provider::output::Output;

use super::hosts::HostKey;
use super::look::End;
use super::script::Group;
use super::session::open;
use super::talk::{Ended, Flow, Heard, Talk};
use super::target::SshTarget;

/// How long a program may take to say its first words, or all of them where it runs nothing of ours.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the rest of the output is waited for after the end.
const REST: Duration = Duration::from_secs(5);
/// Said where the other side said all that it had to say.
const WENT_AWAY: &str = "the program over there went away";
/// The most that is shown of what was not understood.
const NOISE: usize = 300;

/// A program that is sent to a host.
#[derive(Clone)]
pub struct Errand {
    pub target: SshTarget,
    pub program: String,
    pub nonce: String,
    /// The host key that was approved, where one was.
    pub approved: Option<String>,
}

/// Shows nothing of what is heard.
pub struct Unshown;

#[async_trait]
impl Reporter for Unshown {
    async fn ack(&self, _provider_id: &str) -> Result<(), ActionError> {
        Ok(())
    }

    fn progress(&self, _progress: Progress) {}
}

/// What came of the offer to begin.
pub enum Offer {
    /// It waits for the word.
    Ready(Talk, Group),
    /// An attempt of this very name was begun before.
    Exists,
}

/// How following ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    Ended(End),
    /// The word came too late.
    Unbegun,
    Refused(String),
    /// Whoever was to note the end is gone.
    Lost,
    /// The connection ended before.
    Cut(String),
}

fn error(kind: ActionErrorKind, words: String) -> ActionError {
    ActionError::new(kind, words)
}

impl Errand {
    /// Nothing of it has been begun when this fails: a program only begins a command at the word of `follow`.
    fn send(&self) -> Result<Talk, ActionError> {
        let opened = open(&self.target)?;
        if let Some(approved) = self
            .approved
            .as_ref()
            .filter(|approved| **approved != opened.host_key.words())
        {
            let words = format!(
                "{} shows the host key {} now, and {approved} was approved; look at the host, then ask for a new approval",
                self.target,
                opened.host_key.words()
            );
            return Err(error(ActionErrorKind::Permanent, words));
        }
        Talk::begin(opened, &self.program, &self.nonce).map_err(|why| {
            let words = format!(
                "{}: the host did not take the command: {why}; nothing was begun, retry",
                self.target
            );
            error(ActionErrorKind::Transient, words)
        })
    }

    /// The host key as it is now; the account is shown to be ours.
    pub fn meet(target: &SshTarget) -> Result<HostKey, ActionError> {
        open(target).map(|opened| opened.host_key)
    }

    /// Offers a command.
    pub fn offer(&self) -> Result<Offer, ActionError> {
        let mut talk = self.send()?;
        let mut answer = None;
        let mut noise = Vec::new();
        let heard = talk.listen(Some(PATIENCE), &CancellationToken::new(), &mut |heard| match heard {
            Heard::Said(words) => {
                answer = Some(words.to_owned());
                Flow::Enough
            }
            Heard::Out(bytes) | Heard::Err(bytes) => {
                noise.extend_from_slice(bytes);
                Flow::On
            }
        });
        if let Err(why) = heard {
            let words = format!(
                "{}: the connection was cut before anything was begun: {why}; retry",
                self.target
            );
            return Err(error(ActionErrorKind::Transient, words));
        }
        let answer = answer.unwrap_or_default();
        match answer.split_once(' ').unwrap_or((&answer, "")) {
            ("ready", group) => match Group::read(group) {
                Some(group) => Ok(Offer::Ready(talk, group)),
                None => Err(self.not_understood(group.as_bytes())),
            },
            ("exists", _) => Ok(Offer::Exists),
            ("refused", why) => {
                let words = format!("{} refused: {why}; nothing was begun", self.target);
                Err(error(ActionErrorKind::Permanent, words))
            }
            // It ended before the word could be given.
            ("lost" | "unbegun", _) => {
                let words = format!(
                    "{} could not note the attempt, and nothing was begun; is its disk full, or a word longer than 128 KiB?",
                    self.target
                );
                Err(error(ActionErrorKind::Permanent, words))
            }
            _ => Err(self.not_understood(&noise)),
        }
    }

    fn not_understood(&self, noise: &[u8]) -> ActionError {
        let noise: String = String::from_utf8_lossy(noise).trim().chars().take(NOISE).collect();
        let words = format!(
            "{} did not answer as a POSIX shell does, and nothing was begun: \"{noise}\"; may this account run /bin/sh?",
            self.target
        );
        error(ActionErrorKind::Permanent, words)
    }

    /// Follows what somebody else began.
    pub fn adopt(
        &self,
        stop: &CancellationToken,
        reporter: &Arc<dyn Reporter>,
    ) -> Result<(Followed, Output), ActionError> {
        Ok(follow(self.send()?, None, stop, reporter))
    }

    /// What the program says of itself, and the output that it shows after it.
    pub fn ask(&self, reporter: &Arc<dyn Reporter>) -> Result<(String, Output), ActionError> {
        let mut talk = self.send()?;
        let (mut answer, mut whole) = (None, false);
        let mut output = Output::default();
        let mut listen = |limit| {
            talk.listen(limit, &CancellationToken::new(), &mut |heard| {
                match heard {
                    Heard::Said("drained") => whole = true,
                    Heard::Said(words) => {
                        answer = Some(words.to_owned());
                        return Flow::Enough;
                    }
                    Heard::Out(bytes) if answer.is_some() => output.stdout.take(bytes, &**reporter),
                    Heard::Err(bytes) if answer.is_some() => output.stderr.take(bytes, &**reporter),
                    Heard::Out(_) | Heard::Err(_) => {}
                }
                Flow::On
            })
        };
        let mut heard = listen(Some(PATIENCE));
        if heard == Ok(Ended::Enough) {
            // However much it printed, all of it is digested.
            heard = listen(None);
        }
        let answer = answer.unwrap_or_default();
        if let Some(why) = answer.strip_prefix("refused ") {
            let words = format!("{}: it cannot be looked at: {why}", self.target);
            return Err(error(ActionErrorKind::InDoubt, words));
        }
        match heard {
            Ok(Ended::Silence) if whole => {
                output.end(&**reporter);
                Ok((answer, output))
            }
            Ok(Ended::Silence | Ended::Enough | Ended::Time) | Err(_) => {
                let words = format!("{}: the connection was cut while it was looked at; retry", self.target);
                Err(error(ActionErrorKind::Transient, words))
            }
        }
    }

    /// Ends a process group, and says how that went; nothing where that is not certain.
    pub fn end(&self) -> Option<String> {
        let mut talk = self.send().ok()?;
        let mut answer = None;
        // It takes its own patience twice: for TERM and for KILL.
        let _heard = talk.listen(Some(PATIENCE), &CancellationToken::new(), &mut |heard| match heard {
            Heard::Said(words) => {
                answer = Some(words.to_owned());
                Flow::Enough
            }
            Heard::Out(_) | Heard::Err(_) => Flow::On,
        });
        let answer = answer?;
        answer.strip_prefix("gone ").map(str::to_owned)
    }
}

/// Gives the word, where one is to be given, and takes everything that is heard until the end.
pub fn follow(
    mut talk: Talk,
    word: Option<&str>,
    stop: &CancellationToken,
    reporter: &Arc<dyn Reporter>,
) -> (Followed, Output) {
    let mut output = Output::default();
    if let Some(Err(why)) = word.map(|word| talk.say(word)) {
        return (Followed::Cut(why), output);
    }
    let mut ended = None;
    let mut rest = None;
    let heard = loop {
        let limit = rest.map(|since: Instant| REST.saturating_sub(since.elapsed()));
        let heard = talk.listen(limit, stop, &mut |heard| match heard {
            Heard::Said(words) if ended.is_none() => {
                ended = read_end(words);
                if ended.is_some() { Flow::Enough } else { Flow::On }
            }
            Heard::Said(_) => Flow::On,
            Heard::Out(bytes) => {
                output.stdout.take(bytes, &**reporter);
                Flow::On
            }
            Heard::Err(bytes) => {
                output.stderr.take(bytes, &**reporter);
                Flow::On
            }
        });
        match heard {
            // The end is known; what was written before it may still be under way.
            Ok(Ended::Enough) => rest = Some(Instant::now()),
            Ok(Ended::Silence) => break WENT_AWAY.to_owned(),
            Ok(Ended::Time) => break "nobody listened any more".to_owned(),
            Err(why) => break why,
        }
    };
    output.end(&**reporter);
    if heard != WENT_AWAY {
        output.cut_short();
    }
    (ended.unwrap_or(Followed::Cut(heard)), output)
}

fn read_end(words: &str) -> Option<Followed> {
    match words.split_once(' ').unwrap_or((words, "")) {
        ("ended", rest) => {
            let mut fields = rest.split(' ');
            let code = fields.next()?.parse().ok()?;
            let at = fields.next().filter(|at| *at != "-").map(str::to_owned);
            let left = fields.next() == Some("1");
            Some(Followed::Ended(End { code, at, left }))
        }
        ("unbegun", _) => Some(Followed::Unbegun),
        ("lost", _) => Some(Followed::Lost),
        ("refused", why) => Some(Followed::Refused(why.trim().to_owned())),
        _ => None,
    }
}
