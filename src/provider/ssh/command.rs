//! `ssh.command`: a program of another host, approved together with that host's key. Its process group is in the record
//! before it is begun, and how it ended is noted over there, whatever becomes of the connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::Utc;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::provider::action::{
    Action, ActionError, ActionErrorKind, Cx, Observed, Outcome, Preview, Progress, Ready, Reporter, Unseen,
};
use crate::provider::connection::BuildError;
use crate::provider::expectation::Expectation;
use crate::provider::output::Output;
use crate::provider::registry::Request;

use super::errand::{Errand, Followed, Offer, Unshown, follow};
use super::look::{End, Home, Known, judge};
use super::quote::shown;
use super::script::{Asked, Group, Told};
use super::target::SshTarget;

/// What a person should do where nothing else can be known.
const LOOK: &str = "look at what it acts on";
/// Said where a command has ended, but not all of what it started.
const LEFT: &str = "; something that it started still runs";
/// Said where the connection ended, or nobody listened any more, before its output did.
const SHORT: &str = "not all that it printed was heard";
/// How long what was ended may take to say its last.
const LAST: Duration = Duration::from_secs(5);
/// How often what runs over there is looked at where nobody streams it.
const GLANCE: Duration = Duration::from_secs(2);
/// How many looks in a row may fail while something is followed.
const LOOKS: u32 = 8;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    argv: Vec<String>,
    cwd: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    expect: Option<Expectation>,
    unit: Option<String>,
}

/// A command of another host.
pub struct Command {
    with: Parameters,
    env: Vec<String>,
    target: SshTarget,
}

impl Command {
    /// From its parameters.
    pub fn new(request: &Request<'_>, target: SshTarget) -> Result<Self, BuildError> {
        let with: Parameters = request.parameters()?;
        with.faults().map_err(BuildError::Parameter)?;
        let env = with.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Ok(Self { with, env, target })
    }

    fn program(&self) -> &str {
        self.with.argv.first().map_or("", String::as_str)
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            argv: &self.with.argv,
            env: &self.env,
            cwd: self.with.cwd.as_deref().unwrap_or_default(),
        }
    }

    /// A program for the host, to be sent to the host that was approved and to no other.
    fn errand(&self, cx: &Cx, program: impl FnOnce(Told<'_>) -> String) -> Errand {
        let nonce = format!("{:016x}", rand::random::<u64>());
        let told = Told {
            nonce: &nonce,
            key: &cx.key,
        };
        Errand {
            target: self.target.clone(),
            program: program(told),
            approved: self.approved(cx),
            nonce,
        }
    }

    /// The host key that was approved. A way back goes to the host that its way went to.
    fn approved(&self, cx: &Cx) -> Option<String> {
        let there = |bound: &Value| {
            let host = bound.get("host").and_then(Value::as_str) == Some(&self.target.host);
            host && bound.get("port").and_then(Value::as_u64) == Some(u64::from(self.target.port))
        };
        let bound = [&cx.identity, &cx.forward].into_iter().find(|bound| there(bound))?;
        bound.get("host_key").and_then(Value::as_str).map(str::to_owned)
    }

    /// How it ended, as an outcome or as the failure that it is.
    fn verdict(&self, end: &End, output: Output) -> Result<Outcome, ActionError> {
        let program = self.program();
        let signal = signal(end.code);
        let mut result = output.result(Some(end.code));
        result.insert("signal".to_owned(), json!(signal));
        let how = match signal {
            Some(signal) => format!("{} (what a shell says of SIG{signal})", end.code),
            None => end.code.to_string(),
        };
        let left = if end.left { LEFT } else { "" };
        let (holds, expected) = match &self.with.expect {
            Some(expect) => {
                let holds = expect.holds(&result)?;
                (holds, format!("; {} is {holds}", expect.text()))
            }
            None => (end.code == 0, String::new()),
        };
        let short = if output.is_short() {
            format!("; {SHORT}")
        } else {
            String::new()
        };
        let summary = format!("{program} ended with {how} on {}{left}{short}{expected}", self.target);
        if holds {
            return Ok(Outcome {
                summary,
                result,
                evidence: output.evidence(),
            });
        }
        let words = format!("{summary}: {}", output.last_words());
        Err(ActionError::new(ActionErrorKind::Permanent, words))
    }

    /// What following came to.
    fn outcome(&self, cx: &Cx, followed: Followed, output: Output) -> Result<Outcome, ActionError> {
        let program = self.program();
        let (kind, words) = match followed {
            Followed::Ended(end) if !output.is_short() || self.with.expect.is_none() => {
                return self.verdict(&end, output);
            }
            Followed::Ended(end) => (
                if cx.mutates {
                    ActionErrorKind::InDoubt
                } else {
                    ActionErrorKind::Transient
                },
                format!(
                    "{program} ended with {} on {}, but {SHORT}: what is expected of it cannot be judged; look again",
                    end.code, self.target
                ),
            ),
            Followed::Unbegun => (
                ActionErrorKind::Transient,
                format!(
                    "{program} was not begun on {}: the word to begin came too late, or could not be noted there; retry",
                    self.target
                ),
            ),
            Followed::Refused(why) => (
                ActionErrorKind::Permanent,
                format!(
                    "{program} was not begun on {}: {why}; mend that, then retry",
                    self.target
                ),
            ),
            Followed::Lost => (
                ActionErrorKind::InDoubt,
                format!(
                    "{program} on {}: who was to note how it ends is gone; {LOOK}",
                    self.target
                ),
            ),
            Followed::Cut(why) if cx.mutates => (
                ActionErrorKind::InDoubt,
                format!(
                    "the connection to {} was cut while {program} ran: {why}; {LOOK}",
                    self.target
                ),
            ),
            Followed::Cut(why) => (
                ActionErrorKind::Transient,
                format!(
                    "the connection to {} was cut while {program} read: {why}; retry",
                    self.target
                ),
            ),
        };
        Err(ActionError::new(kind, words))
    }

    fn called_off(&self) -> ActionError {
        let words = format!(
            "{} was asked to end before it was begun; nothing was done",
            self.program()
        );
        ActionError::new(ActionErrorKind::Cancelled, words)
    }

    /// Ends it over a session of its own, and says what is known of that.
    async fn end(&self, cx: &Cx, group: &Group) -> String {
        let errand = self.errand(cx, |told| told.end(group));
        let ended = blocking(move || Ok(errand.end())).await.ok().flatten();
        match ended.as_deref() {
            Some("before") => "; it had ended before that".to_owned(),
            Some("KILL") => ", and had to be killed".to_owned(),
            Some(_) => String::new(),
            None => format!(
                ", BUT ITS END IS NOT CONFIRMED: process group {} may still run on {}",
                group.pid, self.target
            ),
        }
    }

    /// What the host has noted of the attempt.
    async fn look(&self, cx: &Cx, reporter: &Arc<dyn Reporter>) -> Result<(Known, Output), ActionError> {
        let errand = self.errand(cx, |told| told.look());
        let reporter = reporter.clone();
        let (words, output) = blocking(move || errand.ask(&reporter)).await?;
        let begun = cx.acked.as_deref().and_then(Home::read);
        let known = judge(self.program(), &words, begun.as_ref(), (cx.intent_at, Utc::now()));
        Ok((known, output))
    }

    /// What is known, as an observation; nothing where it runs and can be followed.
    fn seen(&self, known: Known, output: Output) -> Observed {
        let detail = match known {
            Known::NotStarted(detail) => return Observed::NotStarted { detail },
            Known::Running { detail, follow: _ } => return Observed::Running { detail },
            Known::Unknown(detail) => format!("{detail}; {LOOK}"),
            Known::Ended { end, asked } => {
                let at = end.at.as_ref().map(|at| format!(" (at {at})")).unwrap_or_default();
                match self.verdict(&end, output) {
                    Ok(mut outcome) if !asked => {
                        outcome.summary.push_str(&at);
                        return Observed::Done(outcome);
                    }
                    Ok(outcome) => format!("{}{at} after it was asked to end; {LOOK}", outcome.summary),
                    Err(error) => {
                        let asked = if asked { " after it was asked to end" } else { "" };
                        format!(
                            "{}{at}{asked}; what it did until then is not known: {LOOK}",
                            error.message
                        )
                    }
                }
            }
        };
        Observed::Unknown { detail }
    }
}

impl Parameters {
    fn faults(&self) -> Result<(), String> {
        let program = self.argv.first().map_or("", String::as_str);
        if program.is_empty() {
            return Err("argv names no program".to_owned());
        }
        if program.contains('=') {
            return Err(format!(
                "the program \"{program}\" has a = in its name; write [sh, -c, …]"
            ));
        }
        let words = self.argv.iter().chain(self.env.values()).chain(&self.cwd);
        if words.chain(&self.unit).any(|word| word.contains('\0')) {
            return Err("a word holds a NUL, which no command can be given".to_owned());
        }
        for name in self.env.keys() {
            let good = |char: char| char.is_ascii_alphanumeric() || char == '_';
            if name.is_empty() || !name.chars().all(good) || name.starts_with(|char: char| char.is_ascii_digit()) {
                return Err(format!("\"{name}\" is no variable's name; letters, digits and _ only"));
            }
        }
        let good = |char: char| char.is_ascii_alphanumeric() || ":_.@-".contains(char);
        match &self.unit {
            Some(unit) if unit.is_empty() || unit.starts_with('-') || !unit.chars().all(good) => {
                Err(format!("\"{unit}\" is no unit's name; letters, digits and :_.@- only"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// The signal that a shell means by a code above 128 (POSIX.1-2024, 2.8.2); a program may use such a code itself.
fn signal(code: i32) -> Option<&'static str> {
    let names = [
        (1, "HUP"),
        (2, "INT"),
        (3, "QUIT"),
        (4, "ILL"),
        (6, "ABRT"),
        (8, "FPE"),
        (9, "KILL"),
        (11, "SEGV"),
        (13, "PIPE"),
        (14, "ALRM"),
        (15, "TERM"),
    ];
    names
        .iter()
        .find(|(number, _)| code == 128 + number)
        .map(|(_, name)| *name)
}

/// Does what blocks elsewhere, from now on and not only once it is waited for: what was put off could be done after it was
/// called off.
fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ActionError> + Send + 'static,
) -> impl Future<Output = Result<T, ActionError>> {
    let done = tokio::task::spawn_blocking(work);
    async move {
        done.await.unwrap_or_else(|error| {
            let words = format!("the program's own task broke: {error}; see the diagnostic log");
            Err(ActionError::new(ActionErrorKind::InDoubt, words))
        })
    }
}

/// Follows in a thread of its own; whoever stops waiting for it stops it.
fn following(
    work: impl FnOnce(&CancellationToken, &Arc<dyn Reporter>) -> Result<(Followed, Output), ActionError> + Send + 'static,
    cx: &Cx,
) -> impl Future<Output = Result<(Followed, Output), ActionError>> {
    let stop = CancellationToken::new();
    let stopped = stop.clone().drop_guard();
    let reporter = cx.reporter.clone();
    let followed = blocking(move || work(&stop, &reporter));
    async move {
        let _stopped = stopped;
        followed.await
    }
}

#[async_trait]
impl Action for Command {
    fn preview(&self) -> Preview {
        let mut notes = vec![format!("over SSH by {}", self.target.proof.words())];
        notes.extend(self.with.cwd.iter().map(|cwd| format!("in {cwd}")));
        if !self.env.is_empty() {
            let names: Vec<&str> = self.with.env.keys().map(String::as_str).collect();
            notes.push(format!("with {}", names.join(", ")));
        }
        notes.extend(
            self.with
                .unit
                .iter()
                .map(|unit| format!("as the unit {unit} of systemd")),
        );
        notes.extend(
            self.with
                .expect
                .iter()
                .map(|expect| format!("expects {}", expect.text())),
        );
        Preview {
            summary: format!("runs {} on {}", self.program(), self.target),
            commands: vec![shown(&self.with.argv)],
            notes,
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        let target = self.target.clone();
        let key = blocking(move || Errand::meet(&target)).await?.words();
        let target = &self.target;
        Ok(Ready {
            identity: json!({
                "argv": self.with.argv,
                "host": target.host,
                "port": target.port,
                "user": target.user,
                "host_key": key,
            }),
            facts: vec![format!(
                "{} shows the host key {key}, as {} says",
                target.host,
                target.known_hosts.display()
            )],
        })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let program = self.program();
        let errand = self.errand(cx, |told| match &self.with.unit {
            Some(unit) if cx.mutates => told.begin_unit(self.asked(), unit),
            None if cx.mutates => told.begin(self.asked()),
            Some(_) | None => told.read(self.asked()),
        });
        let offered = blocking(move || errand.offer());
        let offer = tokio::select! {
            offer = offered => offer?,
            () = cx.cancel.cancelled() => return Err(self.called_off()),
        };
        let (talk, group) = match offer {
            Offer::Ready(talk, group) => (talk, group),
            Offer::Exists => {
                let words = format!(
                    "{program} was begun before under this very name on {}; {LOOK}",
                    self.target
                );
                return Err(ActionError::new(ActionErrorKind::InDoubt, words));
            }
        };
        // What the record does not know of is not begun: without the word the other side gives it up.
        cx.reporter.ack(&group.named(&self.target)).await?;
        if cx.cancel.is_cancelled() {
            drop(talk);
            return Err(self.called_off());
        }
        let followed = following(move |stop, reporter| Ok(follow(talk, Some("go"), stop, reporter)), cx);
        tokio::pin!(followed);
        tokio::select! {
            followed = &mut followed => {
                let (followed, output) = followed?;
                self.outcome(cx, followed, output)
            }
            () = cx.cancel.cancelled() => {
                let how = self.end(cx, &group).await;
                // What it printed until then is still shown.
                let _last = tokio::time::timeout(LAST, followed).await;
                let words = format!("{program} was ended on request{how}; what it did until then is not known: {LOOK}");
                Err(ActionError::new(ActionErrorKind::InDoubt, words))
            }
        }
    }

    async fn observe(&self, cx: &Cx) -> Result<Observed, ActionError> {
        if !cx.mutates {
            let detail = format!("a command that reads leaves no mark that could be read; {LOOK}");
            return Ok(Observed::Unknown { detail });
        }
        let (known, output) = self.look(cx, &cx.reporter).await?;
        Ok(self.seen(known, output))
    }

    async fn adopt(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let mut failed = 0;
        let mut unseen = Unseen::default();
        let mut reporter = cx.reporter.clone();
        loop {
            match self.look(cx, &reporter).await {
                Ok((Known::Running { detail, follow: true }, _)) => {
                    failed = 0;
                    unseen = Unseen::default();
                    cx.reporter.progress(Progress::State(detail));
                    let errand = self.errand(cx, |told| told.adopt());
                    let followed = following(move |stop, reporter| errand.adopt(stop, reporter), cx);
                    let followed = tokio::select! {
                        followed = followed => followed,
                        () = cx.cancel.cancelled() => {
                            let words = format!("{} is not followed any more; it was not ended", self.program());
                            return Err(ActionError::new(ActionErrorKind::Cancelled, words));
                        }
                    };
                    // Whether it was asked to end is in the notes alone; what it printed was shown.
                    if matches!(followed, Ok((Followed::Ended(_), _))) {
                        reporter = Arc::new(Unshown);
                        continue;
                    }
                }
                Ok((known, output)) => {
                    failed = 0;
                    match self.seen(known, output) {
                        Observed::Done(outcome) => return Ok(outcome),
                        Observed::Running { detail } => {
                            unseen = Unseen::default();
                            cx.reporter.progress(Progress::State(detail));
                        }
                        Observed::NotVisible { detail } => unseen.still(GLANCE, detail, cx)?,
                        Observed::NotStarted { detail } => unseen.gone(detail)?,
                        Observed::Unknown { detail } => {
                            return Err(ActionError::new(ActionErrorKind::InDoubt, detail));
                        }
                    }
                }
                Err(error) => {
                    failed += 1;
                    if failed >= LOOKS || error.kind != ActionErrorKind::Transient {
                        return Err(ActionError::new(ActionErrorKind::InDoubt, error.message));
                    }
                    cx.reporter.progress(Progress::State(error.message));
                }
            }
            cx.pause(GLANCE).await?;
        }
    }
}
