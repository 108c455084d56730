//! Linearises everything: one thread owns the state and the journal, takes one order after another, makes the events
//! of each durable, folds them, and only then lets the executor start what they ask for.
//!
//! Architecture invariant: there is no other writer of the journal and no other owner of the state. Once the journal
//! cannot be written, no further order is taken.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{broadcast, mpsc};

use crate::journal::{Actor, BlobRef, JournalError, JournalWriter, Record, Stamp};
use crate::run::event::Role;
use crate::run::facts::StepId;
use crate::run::state::Phase;
use crate::run::{Command, Effect, Event, RunState, decide, effects, fold};
use crate::runbook::plan::Plan;

use super::amend::Amendment;
use super::clock::Clock;
use super::executor::{Errand, Executor};
use super::fitting::smaller;
use super::handle::{Feed, Handle, Order, Past, Refused, Update};
use super::record;

/// How many orders may wait before a sender has to.
const ORDERS: usize = 256;
/// How many feed entries a slow reader may fall behind before it has to catch up from the history.
const FEED: usize = 4096;

/// The channels of a run, made before its executor and dispatcher.
pub struct Channels {
    pub handle: Handle,
    orders: mpsc::Receiver<Order>,
}

impl Channels {
    /// Fresh channels.
    pub fn new() -> Self {
        let (sender, orders) = mpsc::channel(ORDERS);
        let (feed, _) = broadcast::channel(FEED);
        Self {
            handle: Handle { orders: sender, feed },
            orders,
        }
    }
}

impl Default for Channels {
    fn default() -> Self {
        Self::new()
    }
}

/// The owner of a run.
pub struct Dispatcher {
    state: RunState,
    writer: JournalWriter,
    actor: Actor,
    clock: Clock,
    updates: Vec<Arc<Update>>,
    /// When each effect's intent was journaled.
    intents: BTreeMap<(StepId, Role), DateTime<Utc>>,
    feed: broadcast::Sender<Feed>,
    executor: Executor,
    /// Plans that were asked for, by the digests of their files.
    plans: BTreeMap<String, Arc<Plan>>,
    halted: Option<String>,
    /// The latest wall time that was seen.
    latest: Option<DateTime<Utc>>,
}

/// Whether what follows by itself is in the same batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Following {
    All,
    None,
}

/// Why a command left no record.
enum Unwritten {
    Refused(Refused),
    TooLarge(String),
}

impl From<Unwritten> for Refused {
    fn from(why: Unwritten) -> Self {
        match why {
            Unwritten::Refused(refused) => refused,
            Unwritten::TooLarge(words) => Self::Rejected(words),
        }
    }
}

impl Dispatcher {
    /// A dispatcher over `state`, which is the fold of `updates`.
    pub fn new(
        state: RunState,
        updates: Vec<Arc<Update>>,
        writer: JournalWriter,
        actor: Actor,
        clock: Clock,
        executor: Executor,
        channels: &Channels,
    ) -> Self {
        let mut intents = BTreeMap::new();
        for update in &updates {
            note_intent(&mut intents, &update.event, update.at);
        }
        let feed = channels.handle.feed.clone();
        Self {
            state,
            writer,
            actor,
            clock,
            updates,
            intents,
            feed,
            executor,
            plans: BTreeMap::new(),
            halted: None,
            latest: None,
        }
    }

    /// Starts the dispatcher on a thread of its own, so that a slow disk keeps nobody but the run waiting, with the
    /// timer that lets requests expire; returns the front ends' handle.
    pub fn spawn(self, channels: Channels) -> std::io::Result<(Handle, std::thread::JoinHandle<()>)> {
        let handle = channels.handle.clone();
        let runtime = tokio::runtime::Handle::current();
        let thread = std::thread::Builder::new()
            .name("dispatcher".to_owned())
            .spawn(move || runtime.block_on(self.run(channels)))?;
        Ok((handle, thread))
    }

    /// Takes orders until somebody closes it.
    pub async fn run(mut self, channels: Channels) {
        let Channels { handle, mut orders } = channels;
        let ticking = tokio::spawn(async move {
            let mut beat = tokio::time::interval(std::time::Duration::from_millis(500));
            loop {
                beat.tick().await;
                if handle.tell(Command::Advance).await == Err(Refused::Gone) {
                    return;
                }
            }
        });
        while let Some(order) = orders.recv().await {
            match order {
                Order::Tell {
                    command,
                    evidence,
                    reply,
                } => {
                    let answer = self.take(command, &evidence);
                    // Whoever asked may have left; the events are durable all the same.
                    let _left = reply.send(answer);
                }
                Order::Amend {
                    amendment,
                    person,
                    reason,
                    reply,
                } => {
                    let answer = self.amend(*amendment, &person, &reason);
                    let _left = reply.send(answer);
                }
                Order::History { reply } => {
                    let past = Past {
                        plan: self.executor.plan().clone(),
                        state: self.state.clone(),
                        updates: self.updates.clone(),
                    };
                    let _left = reply.send(past);
                }
                Order::Close => break,
            }
        }
        ticking.abort();
        // Nobody is answered any more: who still reports must not wait for it.
        drop(orders);
        self.executor.cancel_all();
        self.executor.ended().await;
    }

    /// Takes a command, and whatever follows from it by itself: one batch, one write, one sync.
    fn take(&mut self, mut command: Command, evidence: &[u8]) -> Result<(), Refused> {
        if let Some(reason) = &self.halted {
            return Err(Refused::Journal(reason.clone()));
        }
        let pieces = Some(evidence).filter(|bytes| !bytes.is_empty());
        let blob = match self.writer.store(pieces.as_slice()) {
            Ok(stored) => stored.into_iter().next(),
            Err(error) => return Err(self.halt(&error.to_string())),
        };
        if let Some(blob) = &blob {
            name_blob(&mut command, blob);
        }
        self.mind_the_clock()?;
        match self.perform(&command, blob.as_ref(), Following::All) {
            Err(Unwritten::TooLarge(words)) => {
                // What follows by itself follows later, in a batch of its own; then in fewer words.
                tracing::warn!(words, "a record was too large");
                let own = self.perform(&command, blob.as_ref(), Following::None);
                let own = match (own, smaller(&command)) {
                    (Err(Unwritten::TooLarge(_)), Some(smaller)) => {
                        self.perform(&smaller, blob.as_ref(), Following::None)
                    }
                    (own, _) => own,
                };
                own.map_err(Refused::from)
            }
            done => done.map_err(Refused::from),
        }
    }

    /// Asks for an amendment: what it changes is shown and kept as the evidence of its gate.
    fn amend(&mut self, amendment: Amendment, person: &str, reason: &str) -> Result<(), Refused> {
        if self.state.is_asked_for(&amendment.file_digest) {
            return Err(Refused::Rejected(
                "this amendment is asked for already; look at its gate".to_owned(),
            ));
        }
        let offer = self.executor.offer(&amendment, (person, reason))?;
        let evidence = serde_json::to_vec(&offer.briefing).map_err(|error| Refused::Rejected(error.to_string()))?;
        self.state.learn(offer.draft);
        self.plans.insert(amendment.file_digest, amendment.plan);
        self.take(offer.command, &evidence)?;
        // Only now: what is refused must not be shown at the gate of what was asked for before.
        let _unheard = self.feed.send(Feed::Briefing(Arc::new(offer.briefing)));
        Ok(())
    }

    /// A clock that was set back would lengthen every approval.
    fn mind_the_clock(&mut self) -> Result<(), Refused> {
        let now = self.clock.now();
        // A second is no set-back: clocks are kept in time by small steps.
        let back = self.latest.is_some_and(|latest| latest - now > TimeDelta::seconds(1));
        if back || self.latest.is_none_or(|latest| now > latest) {
            self.latest = Some(now);
        }
        if back && !self.state.is_closed() && self.state.phase != Phase::New {
            self.perform(&Command::ClockWentBack, None, Following::None)
                .map_err(Refused::from)?;
        }
        Ok(())
    }

    fn perform(&mut self, command: &Command, blob: Option<&BlobRef>, following: Following) -> Result<(), Unwritten> {
        let now = self.clock.now();
        let events = self.decided(command, now, following).map_err(Unwritten::Refused)?;
        if events.is_empty() {
            return Ok(());
        }
        let bearer = bearer(&events);
        let mut drafts = Vec::with_capacity(events.len());
        for (index, event) in events.iter().enumerate() {
            let blobs = blob.filter(|_| index == bearer).cloned().into_iter().collect();
            let draft = record::draft(event, &self.actor, blobs)
                .map_err(|error| Unwritten::Refused(Refused::Rejected(error.to_string())))?;
            drafts.push(draft);
        }
        let stamp = Stamp {
            t: now,
            mono_ns: self.clock.mono_ns(),
        };
        let records = match self.writer.append(drafts, stamp) {
            Ok(records) => records,
            Err(error @ JournalError::TooLarge { .. }) => return Err(Unwritten::TooLarge(error.to_string())),
            Err(error) if !self.writer.is_poisoned() => {
                return Err(Unwritten::Refused(Refused::Rejected(error.to_string())));
            }
            Err(error) => return Err(Unwritten::Refused(self.halt(&error.to_string()))),
        };
        self.fold(&records, now);
        Ok(())
    }

    /// The command's events, and those of whatever is next until nothing is.
    fn decided(&self, command: &Command, now: DateTime<Utc>, following: Following) -> Result<Vec<Event>, Refused> {
        let now_ms = now.timestamp_millis();
        let no = |no: crate::run::Rejected| Refused::Rejected(no.to_string());
        let mut events = decide(&self.state, command, now_ms).map_err(no)?;
        if following == Following::None {
            return Ok(events);
        }
        let mut state = self.state.clone();
        let mut folded = 0;
        loop {
            for event in events.iter().skip(folded) {
                fold(&mut state, event).map_err(|illegal| Refused::Rejected(illegal.to_string()))?;
            }
            folded = events.len();
            if state.is_closed() {
                return Ok(events);
            }
            match decide(&state, &Command::Advance, now_ms) {
                Ok(next) if next.is_empty() => return Ok(events),
                Ok(next) => events.extend(next),
                Err(rejected) => {
                    // What the command decided stands; the timer asks again for what follows.
                    tracing::error!(%rejected, "nothing could follow by itself");
                    return Ok(events);
                }
            }
        }
    }

    /// The records are durable: fold what they say (as a new process would read it), tell everybody, start what is
    /// asked for.
    fn fold(&mut self, records: &[Record], at: DateTime<Utc>) {
        for record in records {
            let event = match record::event(record) {
                Ok(Some(event)) => event,
                Ok(None) => continue,
                Err(unreadable) => {
                    self.halt(&unreadable.to_string());
                    return;
                }
            };
            if let Err(illegal) = fold(&mut self.state, &event) {
                self.halt(&illegal.to_string());
                return;
            }
            note_intent(&mut self.intents, &event, at);
            if let Event::RunAmended { plan_file_digest, .. } = &event
                && let Some(plan) = self.plans.get(plan_file_digest)
            {
                self.executor.go_by(plan.clone());
            }
            let work = effects(&self.state, &event);
            let seq = record.seq;
            let update = Arc::new(Update { seq, at, event });
            self.updates.push(update.clone());
            // Nobody listening is no fault: a run goes on without a front end.
            let _unheard = self.feed.send(Feed::Event(update));
            for effect in work {
                self.start(effect, at);
            }
        }
    }

    fn start(&mut self, effect: Effect, at: DateTime<Utc>) {
        let intent_at = match &effect {
            Effect::Execute { step, role, .. } | Effect::Observe { step, role, .. } => {
                self.intents.get(&(step.clone(), *role)).copied().unwrap_or(at)
            }
            Effect::Check { .. }
            | Effect::Recheck { .. }
            | Effect::Verify { .. }
            | Effect::PrepareUnwind
            | Effect::Preflight { .. }
            | Effect::Watch { .. }
            | Effect::Unwatch { .. }
            | Effect::Cancel { .. } => at,
        };
        self.executor.start(Errand {
            effect,
            intent_at,
            state: self.state.clone(),
        });
    }

    /// No durable record, no effect: loud in every view, and final for this process.
    fn halt(&mut self, reason: &str) -> Refused {
        tracing::error!(reason, "the journal cannot be written");
        self.halted = Some(reason.to_owned());
        self.executor.cancel_all();
        let stamp = Stamp {
            t: self.clock.now(),
            mono_ns: self.clock.mono_ns(),
        };
        self.writer.halt(&self.actor, reason, stamp);
        let _unheard = self.feed.send(Feed::Halted(reason.to_owned()));
        Refused::Journal(reason.to_owned())
    }
}

fn note_intent(intents: &mut BTreeMap<(StepId, Role), DateTime<Utc>>, event: &Event, at: DateTime<Utc>) {
    if let Event::EffectIntent { step, role, .. } = event {
        intents.insert((step.clone(), *role), at);
    }
}

/// Puts the blob's digest where the command names its evidence.
fn name_blob(command: &mut Command, blob: &BlobRef) {
    match command {
        Command::Checked {
            binding: Some(binding), ..
        } => binding.evidence_digest.clone_from(&blob.c),
        Command::Amend { binding, .. } => binding.evidence_digest.clone_from(&blob.c),
        Command::UnwindPrepared { evidence, .. } => *evidence = Some(blob.c.clone()),
        Command::Note { blob: named, .. } => named.clone_from(&blob.c),
        Command::Checked { binding: None, .. }
        | Command::Open { .. }
        | Command::Resume { .. }
        | Command::Advance
        | Command::ClockWentBack
        | Command::Vote { .. }
        | Command::BreakGlass { .. }
        | Command::Countersign { .. }
        | Command::LiveRed { .. }
        | Command::Skip { .. }
        | Command::FallForward { .. }
        | Command::Cancel { .. }
        | Command::ExtendWindow { .. }
        | Command::OfferSeat { .. }
        | Command::TakeSeat { .. }
        | Command::Revoke { .. }
        | Command::Rechecked { .. }
        | Command::Acked { .. }
        | Command::Kept { .. }
        | Command::Finished { .. }
        | Command::Verified { .. }
        | Command::Preflighted { .. }
        | Command::Retry { .. }
        | Command::Decide { .. }
        | Command::DoneByHand { .. }
        | Command::Hold { .. }
        | Command::Release { .. }
        | Command::Rollback { .. }
        | Command::Stop { .. }
        | Command::Interrupt { .. } => {}
    }
}

/// Which event of a batch carries the evidence: the one that it is evidence for.
fn bearer(events: &[Event]) -> usize {
    events
        .iter()
        .position(|event| {
            matches!(
                event,
                Event::GateRequested { .. }
                    | Event::EffectOutcome { .. }
                    | Event::PreflightEnded { .. }
                    | Event::Note { .. }
            )
        })
        .unwrap_or(0)
}
