//! The cockpit's loop: one stream of messages in, frames and commands out. Must not hold any state of the run.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use chrono_tz::Tz;
use crossterm::event::{Event as Input, EventStream};
use futures::StreamExt;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::engine::handle::{Amendment, Feed, Handle, Refused};
use crate::frontend::{Ending, HangUps};
use crate::projection::samples::History;
use crate::projection::summary::{NextCommands, Summary};
use crate::run::Command;
use crate::runbook::plan::Plan;

use super::keymap::{context, message};
use super::model::{LabLine, Model, Session};
use super::msg::{Action, Msg};
use super::terminal::Screen;
use super::theme::Theme;
use super::update::update;
use super::view::view;

/// Between two frames, at least.
const FRAME: Duration = Duration::from_millis(16);
/// Feed entries taken in before a frame is drawn.
const BURST: usize = 1000;

/// How a cockpit is set up.
pub struct CockpitOptions {
    pub operator: String,
    pub run_id: String,
    pub dry_run: bool,
    pub lab: Option<LabLine>,
    /// The zone of the clock.
    pub zone: Tz,
    /// False under `NO_COLOR`.
    pub color: bool,
    /// Listening since before the run began, so that no briefing is missed; none: from now on.
    pub feed: Option<Receiver<Feed>>,
    pub next: NextCommands,
    /// What earlier runs took.
    pub history: Arc<History>,
    /// Listening since before the run began.
    pub hang_up: HangUps,
    /// The file that the run was made from, as far as this process knows it.
    pub runbook: Option<String>,
    /// Reads a changed runbook and keeps it in the run's folder.
    pub amender: Arc<Amender>,
}

/// Reads a runbook for the run's environment; what is wrong with it comes in lines for people.
pub type Amender = dyn Fn(&str) -> Result<Amendment, Vec<String>> + Send + Sync;

/// Why there is no cockpit, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum CockpitError {
    /// Standard input or output is no terminal.
    #[error("there is no terminal here; run it in one, or with --headless")]
    NoTerminal,
    /// The terminal was lost; the run was left so that it can be resumed.
    #[error("the terminal cannot be used: {0}; the run can be resumed")]
    Terminal(#[source] io::Error),
    /// The run's engine is gone.
    #[error("{0}")]
    Gone(#[from] Refused),
}

/// Shows the run and takes the operator's commands until the run is over or left.
///
/// # Errors
/// There is no terminal, it was lost, or the run's engine is gone.
pub async fn run(handle: Handle, plan: Arc<Plan>, options: CockpitOptions) -> Result<Ending, CockpitError> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(CockpitError::NoTerminal);
    }
    let feed = options.feed.unwrap_or_else(|| handle.listen());
    let past = handle.history().await?;
    let session = Session {
        operator: options.operator,
        run_id: options.run_id,
        dry_run: options.dry_run,
        lab: options.lab,
        zone: options.zone,
        next: options.next,
        runbook: options.runbook,
        history: options.history,
    };
    let theme = Theme { color: options.color };
    let fresh = crate::run::RunState::new(past.state.facts.clone());
    let mut model = Model::new(plan, session, theme, fresh, Utc::now());
    let _nothing_yet = update(&mut model, Msg::History(Box::new(past)));
    let (replies, answers) = mpsc::unbounded_channel();
    let mut cockpit = Cockpit {
        handle,
        model,
        feed,
        replies,
        answers,
        hang_up: options.hang_up,
        amender: options.amender,
        behind: false,
        lost: false,
    };
    let screen = match Screen::take() {
        Ok(screen) => screen,
        Err(error) => {
            // The record says why the process left; an engine that is gone has said so itself.
            let reason = format!("the terminal cannot be used: {error}");
            let _gone = cockpit.handle.tell(Command::Interrupt { reason }).await;
            return Err(CockpitError::Terminal(error));
        }
    };
    let (exit, reason) = cockpit.conduct(screen).await;
    let model = &cockpit.model;
    let summary = Summary::new(
        &model.plan,
        model.state(),
        &model.follower.story,
        &model.session.run_id,
        &model.session.next,
        Utc::now(),
    );
    Ok(Ending {
        exit,
        reason,
        summary: Some(summary),
    })
}

struct Cockpit {
    handle: Handle,
    model: Model,
    feed: Receiver<Feed>,
    replies: mpsc::UnboundedSender<Msg>,
    answers: mpsc::UnboundedReceiver<Msg>,
    hang_up: HangUps,
    amender: Arc<Amender>,
    /// Something was lost: the history has to be asked before anything else is folded.
    behind: bool,
    /// The terminal is gone.
    lost: bool,
}

impl Cockpit {
    async fn conduct(&mut self, mut screen: Screen) -> (u8, String) {
        let mut keys = EventStream::new();
        let mut beat = tokio::time::interval(Duration::from_secs(1));
        let mut dirty = true;
        let mut drawn = Instant::now();
        loop {
            let msg = tokio::select! {
                () = tokio::time::sleep_until(drawn + FRAME), if dirty && !self.lost => None,
                input = keys.next(), if !self.lost => match input {
                    Some(Ok(input)) => match self.read(input) {
                        Some(msg) => Some(msg),
                        None => continue,
                    },
                    Some(Err(error)) => Some(self.lose(&error.to_string())),
                    None => Some(self.lose("it was closed")),
                },
                heard = self.feed.recv() => Some(self.heard(heard).await),
                Some(answer) = self.answers.recv() => Some(answer),
                reason = self.hang_up.next() => Some(Msg::HangUp(reason.to_owned())),
                _ = beat.tick() => Some(Msg::Tick(Utc::now())),
            };
            let msg = match msg {
                Some(msg) => msg,
                None => {
                    dirty = false;
                    drawn = Instant::now();
                    match self.draw(&mut screen) {
                        Ok(()) => continue,
                        Err(error) => self.lose(&error.to_string()),
                    }
                }
            };
            dirty = true;
            if let Some(ended) = self.take(msg) {
                return ended;
            }
            if let Some(ended) = self.drain().await {
                return ended;
            }
        }
    }

    fn draw(&mut self, screen: &mut Screen) -> io::Result<()> {
        let size = screen.terminal.size()?;
        self.model.size = (size.width, size.height);
        screen.terminal.draw(|frame| view(&self.model, frame)).map(drop)
    }

    /// The terminal is gone: nothing is drawn or read any more, and the run is left in order.
    fn lose(&mut self, why: &str) -> Msg {
        self.lost = true;
        Msg::HangUp(format!("the terminal was lost: {why}"))
    }

    fn read(&self, input: Input) -> Option<Msg> {
        match input {
            Input::Key(key) => message(context(&self.model), key),
            Input::Paste(text) => Some(Msg::Paste(text)),
            Input::Resize(columns, rows) => Some(Msg::Resized(columns, rows)),
            Input::FocusGained | Input::FocusLost | Input::Mouse(_) => None,
        }
    }

    async fn heard(&self, heard: Result<Feed, RecvError>) -> Msg {
        match heard {
            Ok(feed) => Msg::Feed(feed),
            Err(RecvError::Lagged(_)) => match self.handle.history().await {
                Ok(past) => Msg::History(Box::new(past)),
                Err(refused) => Msg::HangUp(refused.to_string()),
            },
            Err(RecvError::Closed) => Msg::HangUp("the run's engine has ended".to_owned()),
        }
    }

    /// Takes what has piled up before the next frame.
    async fn drain(&mut self) -> Option<(u8, String)> {
        for _ in 0..BURST {
            let msg = if std::mem::take(&mut self.behind) {
                self.heard(Err(RecvError::Lagged(0))).await
            } else {
                match self.feed.try_recv() {
                    Ok(feed) => Msg::Feed(feed),
                    Err(TryRecvError::Lagged(_)) => {
                        self.behind = true;
                        continue;
                    }
                    Err(TryRecvError::Empty | TryRecvError::Closed) => return None,
                }
            };
            if let Some(ended) = self.take(msg) {
                return Some(ended);
            }
        }
        None
    }

    /// Updates the model and does what it asks for.
    fn take(&mut self, msg: Msg) -> Option<(u8, String)> {
        self.model.now = Utc::now();
        let mut ended = None;
        for action in update(&mut self.model, msg) {
            match action {
                Action::Tell(command) => self.tell(command),
                Action::Note(text) => self.note(text),
                Action::Amend { path, reason } => self.amend(path, reason),
                Action::CatchUp => self.behind = true,
                Action::Quit { exit, reason } => ended = Some((exit, reason)),
            }
        }
        ended
    }

    fn tell(&self, command: Command) {
        let (handle, replies) = (self.handle.clone(), self.replies.clone());
        tokio::spawn(async move {
            let result = handle.tell(command.clone()).await;
            // A cockpit that has ended needs no answer.
            let _ended = replies.send(Msg::Told { command, result });
        });
    }

    fn amend(&self, path: String, reason: String) {
        let (handle, replies, amender) = (self.handle.clone(), self.replies.clone(), self.amender.clone());
        let person = self.model.session.operator.clone();
        tokio::spawn(async move {
            let read = tokio::task::spawn_blocking(move || amender(&path)).await;
            let result = match read {
                Ok(Ok(amendment)) => handle
                    .amend(amendment, &person, &reason)
                    .await
                    .map_err(|refused| vec![refused.to_string()]),
                Ok(Err(lines)) => Err(lines),
                Err(broken) => Err(vec![broken.to_string()]),
            };
            let _ended = replies.send(Msg::Amended(result));
        });
    }

    fn note(&self, text: String) {
        let (handle, replies) = (self.handle.clone(), self.replies.clone());
        let person = self.model.session.operator.clone();
        tokio::spawn(async move {
            let result = handle.note(&person, &text).await;
            let _ended = replies.send(Msg::Noted { text, result });
        });
    }
}
