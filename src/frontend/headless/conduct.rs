//! The loop of a headless run: hears the feed, prints it, and does what the autopilot says. Must not judge by itself.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;

use chrono::Utc;
use chrono_tz::Tz;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio_util::sync::CancellationToken;

use crate::engine::handle::{Feed, Handle, Refused};
use crate::frontend::ending::{Ending, PATIENCE, exit_of_leaving, unanswered};
use crate::frontend::follow::Follower;
use crate::projection::forecast::is_timed;
use crate::projection::samples::History;
use crate::projection::summary::{NextCommands, Summary};
use crate::run::facts::StepId;
use crate::run::{Command, RunState};
use crate::runbook::plan::Plan;

use super::autopilot::{Autopilot, Next};
use super::printer::{Format, Printer};
use super::watch::{RollbackWatch, due};

/// How a headless run behaves.
pub struct HeadlessOptions {
    pub run_id: String,
    pub operator: String,
    pub approve_all: bool,
    pub format: Format,
    pub dry_run: bool,
    /// A scripted rehearsal: when this step is reached, unwind (to that step, or the whole run), once.
    pub roll_back_at: Option<(String, Option<String>)>,
    pub sink: Box<dyn Write + Send>,
    /// The zone of printed times.
    pub zone: Tz,
    /// Listening since before the run began, so that no briefing is missed; none: from now on.
    pub feed: Option<Receiver<Feed>>,
    pub next: NextCommands,
    /// What earlier runs took.
    pub history: Arc<History>,
    /// How often the plan was amended before this sitting.
    pub amended: u32,
    /// How much faster than nominal the run goes; 1 outside the lab.
    pub speed: f64,
}

/// Conducts a run without a person until it ends, cannot go on, or `stop` is cancelled.
pub async fn run(handle: Handle, plan: Arc<Plan>, options: HeadlessOptions, stop: CancellationToken) -> Ending {
    let feed = options.feed.unwrap_or_else(|| handle.listen());
    let script = options.roll_back_at.map(|(at, to)| (StepId(at), to.map(StepId)));
    let mut conductor = Conductor {
        printer: Printer::new(options.sink, options.format, options.dry_run, options.zone),
        watch: (!options.dry_run && is_timed(&plan))
            .then(|| RollbackWatch::new(options.history, options.speed, options.zone)),
        autopilot: Autopilot::new(&options.operator, options.approve_all, script).after(options.amended),
        follower: None,
        run_id: options.run_id,
        next: options.next,
        handle,
        plan,
        feed,
        stop,
    };
    let (exit, mut reason) = match conductor.conduct().await {
        Ok(ended) => ended,
        Err(fault) => conductor.given_up(fault).await,
    };
    if conductor.autopilot.missed_its_rollback() {
        reason.push_str("; the step of the scripted rollback was never reached");
    }
    conductor.ended(exit, reason)
}

/// Why a headless run cannot be conducted any further.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{0}")]
    Refused(#[from] Refused),
    #[error("the output cannot be written: {0}; the run can be resumed")]
    Output(#[from] io::Error),
    #[error("the journal could not be written: {0}; nothing more is executed (exit 7)")]
    Halted(String),
}

struct Conductor {
    printer: Printer,
    /// None where nothing limits the way back.
    watch: Option<RollbackWatch>,
    autopilot: Autopilot,
    follower: Option<Follower>,
    run_id: String,
    next: NextCommands,
    handle: Handle,
    plan: Arc<Plan>,
    feed: Receiver<Feed>,
    stop: CancellationToken,
}

impl Conductor {
    async fn conduct(&mut self) -> Result<(u8, String), Fault> {
        self.catch_up().await?;
        loop {
            if self.drain()? {
                self.catch_up().await?;
            }
            if self.stop.is_cancelled() {
                return self.leave("a signal asked the program to end").await;
            }
            self.warn()?;
            match self.decide() {
                Next::Wait => self.wait().await?,
                Next::Tell(command) => self.tell(command).await?,
                Next::End { .. } => {
                    // What follows an event in the same batch may still be on its way: the history has it.
                    self.catch_up().await?;
                    if let Next::End { exit, reason } = self.decide() {
                        return self.end(exit, reason).await;
                    }
                }
            }
        }
    }

    /// Says once that the last safe rollback has come nearer.
    fn warn(&mut self) -> Result<(), Fault> {
        let now = Utc::now();
        let (Some(watch), Some(follower)) = (&mut self.watch, &self.follower) else {
            return Ok(());
        };
        if let Some(text) = watch.look(&self.plan, &follower.state, &follower.story, now) {
            self.printer.notice(&self.plan, now, &text)?;
        }
        Ok(())
    }

    fn decide(&self) -> Next {
        self.follower
            .as_ref()
            .map_or(Next::Wait, |follower| self.autopilot.next(&follower.state))
    }

    fn state(&self) -> Option<&RunState> {
        self.follower.as_ref().map(|follower| &follower.state)
    }

    async fn catch_up(&mut self) -> Result<(), Fault> {
        let past = self.handle.history().await?;
        self.plan = past.plan.clone();
        let follower = self
            .follower
            .get_or_insert_with(|| Follower::new(&self.plan, RunState::new(past.state.facts.clone())));
        for update in follower.catch_up(past) {
            self.printer.event(&self.plan, &follower.state, &update)?;
        }
        Ok(())
    }

    /// Takes what is there; true if something was lost.
    fn drain(&mut self) -> Result<bool, Fault> {
        loop {
            match self.feed.try_recv() {
                Ok(feed) => {
                    if self.hear(feed)? {
                        return Ok(true);
                    }
                }
                Err(TryRecvError::Empty) => return Ok(false),
                Err(TryRecvError::Lagged(_)) => return Ok(true),
                Err(TryRecvError::Closed) => return Err(Refused::Gone.into()),
            }
        }
    }

    async fn wait(&mut self) -> Result<(), Fault> {
        let heard = tokio::select! {
            () = self.stop.cancelled() => return Ok(()),
            () = due(self.watch.as_ref().and_then(RollbackWatch::next)) => return Ok(()),
            heard = self.feed.recv() => heard,
        };
        let lost = match heard {
            Ok(feed) => self.hear(feed)?,
            Err(RecvError::Lagged(_)) => true,
            Err(RecvError::Closed) => return Err(Refused::Gone.into()),
        };
        if lost { self.catch_up().await } else { Ok(()) }
    }

    /// Takes one entry; true if it does not follow what was heard.
    fn hear(&mut self, feed: Feed) -> Result<bool, Fault> {
        match feed {
            Feed::Event(update) => {
                let Some(follower) = &mut self.follower else {
                    return Ok(true);
                };
                match follower.take(&update) {
                    Ok(true) => self.printer.event(&self.plan, &follower.state, &update)?,
                    Ok(false) => {}
                    Err(_gap) => return Ok(true),
                }
            }
            Feed::Briefing(briefing) => self.printer.briefing(&self.plan, Utc::now(), &briefing)?,
            Feed::Progress { step, progress } => {
                self.printer
                    .progress(&self.plan, Utc::now(), Instant::now(), &step, &progress)?;
            }
            Feed::Notice(text) => self.printer.notice(&self.plan, Utc::now(), &text)?,
            Feed::Halted(reason) => return Err(Fault::Halted(reason)),
        }
        Ok(false)
    }

    async fn tell(&mut self, command: Command) -> Result<(), Fault> {
        match self.handle.tell(command.clone()).await {
            Ok(()) => self.autopilot.told(&command),
            Err(Refused::Rejected(reason)) => {
                self.catch_up().await?;
                let state = self.follower.as_ref().map(|follower| &follower.state);
                self.autopilot.refused(&command, &reason, state);
                self.printer
                    .notice(&self.plan, Utc::now(), &format!("refused: {reason}"))?;
            }
            Err(Refused::Journal(reason)) => return Err(Fault::Halted(reason)),
            Err(Refused::Gone) => return Err(Refused::Gone.into()),
        }
        Ok(())
    }

    async fn end(&mut self, exit: u8, reason: String) -> Result<(u8, String), Fault> {
        if !self.state().is_some_and(RunState::is_closed) {
            self.interrupt(&reason).await?;
        }
        Ok((exit, reason))
    }

    /// Leaves by wish: an effect that the peer has not accepted yet is waited for, so that it is not left in doubt.
    async fn leave(&mut self, reason: &str) -> Result<(u8, String), Fault> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let asked = self.state().and_then(unanswered);
        if let Some((step, _)) = &asked {
            let text = format!(
                "{reason}: the answer of step {step} is waited for, up to {} s",
                PATIENCE.as_secs()
            );
            self.printer.notice(&self.plan, Utc::now(), &text)?;
        }
        loop {
            if self.drain()? {
                self.catch_up().await?;
            }
            // Only what was under way when the wish came up is waited for.
            let waiting = self
                .state()
                .and_then(unanswered)
                .filter(|open| asked.as_ref() == Some(open));
            let Some((step, _)) = waiting else { break };
            let heard = tokio::time::timeout_at(deadline, self.feed.recv()).await;
            match heard {
                Err(_elapsed) => {
                    let text = format!("step {step} has not been answered; its outcome will be looked for on resume");
                    self.printer.notice(&self.plan, Utc::now(), &text)?;
                    break;
                }
                Ok(Ok(feed)) => {
                    if self.hear(feed)? {
                        self.catch_up().await?;
                    }
                }
                Ok(Err(RecvError::Lagged(_))) => self.catch_up().await?,
                Ok(Err(RecvError::Closed)) => return Err(Refused::Gone.into()),
            }
        }
        if self.state().is_some_and(RunState::is_closed) {
            return Ok((self.state().map_or(3, exit_of_leaving), "the run is over".to_owned()));
        }
        self.interrupt(reason).await?;
        Ok((self.state().map_or(3, exit_of_leaving), reason.to_owned()))
    }

    async fn interrupt(&mut self, reason: &str) -> Result<(), Fault> {
        let reason = reason.to_owned();
        match self.handle.tell(Command::Interrupt { reason }).await {
            Ok(()) | Err(Refused::Rejected(_)) => self.catch_up().await,
            Err(Refused::Journal(reason)) => Err(Fault::Halted(reason)),
            Err(Refused::Gone) => Err(Refused::Gone.into()),
        }
    }

    /// After a fault: what can still be said and recorded.
    async fn given_up(&mut self, fault: Fault) -> (u8, String) {
        let reason = fault.to_string();
        let exit = match &fault {
            Fault::Halted(_) | Fault::Refused(Refused::Journal(_)) => 7,
            Fault::Refused(Refused::Gone | Refused::Rejected(_)) => match self.state() {
                Some(state) if state.is_closed() => exit_of_leaving(state),
                Some(_) | None => 1,
            },
            Fault::Output(_) => {
                // Nobody reads any more: the record still says why the process left.
                let told = self.handle.tell(Command::Interrupt { reason: reason.clone() }).await;
                if matches!(told, Err(Refused::Journal(_))) { 7 } else { 3 }
            }
        };
        (exit, reason)
    }

    fn ended(&mut self, exit: u8, reason: String) -> Ending {
        // A sink that broke has been reported by its exit code; there is nowhere else to write to.
        let _broken = self.printer.ending(&self.plan, Utc::now(), exit, &reason);
        let summary = self.follower.as_ref().map(|follower| {
            Summary::new(
                &self.plan,
                &follower.state,
                &follower.story,
                &self.run_id,
                &self.next,
                Utc::now(),
            )
        });
        Ending { exit, reason, summary }
    }
}
