//! When a comparison asks for nothing: as long as a condition of the night does not hold, such as the lag of a replica. It
//! is looked at every few seconds, and what cannot be read does not hold. Must not know what is compared.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::provider::action::{ActionError, ActionErrorKind, Cx};
use crate::provider::probe::Probe;

/// How often it is looked, nominally.
const LOOK: Duration = Duration::from_secs(2);
/// A look without an answer within that time says that it does not hold.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a comparison may be held in all where nothing is said, nominally.
pub const AT_MOST: Duration = Duration::from_secs(30 * 60);
/// Reasons that are remembered.
const REASONS: usize = 10;

/// Conditions without which nothing is asked, and how long that may be.
pub struct Conditions {
    pub reads: Arc<Vec<Probe>>,
    /// In all, nominally.
    pub at_most: Duration,
    pub cx: Cx,
}

/// How it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stand {
    /// Nobody has looked yet.
    Unseen,
    Free,
    Held,
    /// Held for longer than it may be: for good.
    Over,
}

/// What holds it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    pub since: DateTime<Utc>,
    /// Nominally.
    pub took: Duration,
    /// The condition with what was measured.
    pub why: String,
}

/// How long it was held, and why.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Held {
    /// Nominally, in all.
    pub took: Duration,
    pub times: u32,
    /// The first of every stretch.
    pub why: Vec<String>,
    /// It was held for longer than it may be.
    pub over: bool,
}

#[derive(Debug, Default)]
struct Spent {
    held: Held,
    stretch: Option<(Instant, DateTime<Utc>, String)>,
}

/// The brake of a comparison; it never holds where there is no condition.
pub struct Brake {
    conditions: Option<Conditions>,
    stand: watch::Sender<Stand>,
    spent: Mutex<Spent>,
}

impl Default for Brake {
    fn default() -> Self {
        Self {
            conditions: None,
            stand: watch::Sender::new(Stand::Free),
            spent: Mutex::default(),
        }
    }
}

impl Brake {
    /// With conditions; without any it never holds.
    pub fn new(conditions: Conditions) -> Self {
        if conditions.reads.is_empty() {
            return Self::default();
        }
        Self {
            conditions: Some(conditions),
            stand: watch::Sender::new(Stand::Unseen),
            spent: Mutex::default(),
        }
    }

    fn spent(&self) -> MutexGuard<'_, Spent> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for ever.
    pub async fn watch(&self) {
        let Some(conditions) = &self.conditions else {
            return std::future::pending().await;
        };
        loop {
            let why = conditions.look().await;
            let over = self.seen(why, conditions);
            if over {
                return std::future::pending().await;
            }
            tokio::time::sleep(LOOK.div_f64(conditions.speed())).await;
        }
    }

    /// Takes what a look said; whether it is over.
    fn seen(&self, why: Option<String>, conditions: &Conditions) -> bool {
        let mut spent = self.spent();
        let stand = match why {
            None => {
                if let Some((begun, _, _)) = spent.stretch.take() {
                    spent.held.took += conditions.nominal(begun);
                }
                Stand::Free
            }
            Some(why) => {
                match &mut spent.stretch {
                    Some((_, _, before)) => *before = why,
                    None => {
                        spent.held.times += 1;
                        if spent.held.why.len() < REASONS {
                            spent.held.why.push(why.clone());
                        }
                        spent.stretch = Some((Instant::now(), Utc::now(), why));
                    }
                }
                let now = spent.stretch.as_ref().map(|(begun, _, _)| conditions.nominal(*begun));
                if spent.held.took + now.unwrap_or_default() >= conditions.at_most {
                    spent.held.over = true;
                    Stand::Over
                } else {
                    Stand::Held
                }
            }
        };
        drop(spent);
        let over = stand == Stand::Over;
        self.stand.send_replace(stand);
        over
    }

    /// Waits until something may be asked; an error where that has taken too long.
    pub async fn free(&self, cancel: &CancellationToken) -> Result<(), ActionError> {
        let mut stand = self.stand.subscribe();
        let told = tokio::select! {
            () = cancel.cancelled() => None,
            told = stand.wait_for(|stand| matches!(stand, Stand::Free | Stand::Over)) => told.ok().map(|told| told.clone()),
        };
        match told {
            Some(Stand::Free) => Ok(()),
            Some(Stand::Over | Stand::Held | Stand::Unseen) => Err(ActionError::new(
                ActionErrorKind::Permanent,
                "not asked, because the comparison was held for longer than it may be",
            )),
            None => Err(ActionError::new(
                ActionErrorKind::Cancelled,
                "the comparison was cancelled",
            )),
        }
    }

    /// What holds it at the moment.
    pub fn holding(&self) -> Option<Holding> {
        let conditions = self.conditions.as_ref()?;
        let spent = self.spent();
        let (begun, since, why) = spent.stretch.as_ref()?;
        Some(Holding {
            since: *since,
            took: conditions.nominal(*begun),
            why: why.clone(),
        })
    }

    /// What is told of how far it is, with what holds it first, where something does.
    pub fn told(&self, line: &str) -> String {
        match self.holding() {
            None => line.to_owned(),
            Some(holding) => format!(
                "HELD since {} UTC ({} s), {}; {line}",
                holding.since.format("%H:%M:%S"),
                holding.took.as_secs(),
                holding.why
            ),
        }
    }

    /// How long nothing was asked, as the clock has it.
    pub fn idle(&self) -> Duration {
        let speed = self.conditions.as_ref().map_or(1.0, Conditions::speed);
        self.held().took.div_f64(speed)
    }

    /// How long it was held so far.
    pub fn held(&self) -> Held {
        let spent = self.spent();
        let mut held = spent.held.clone();
        if let (Some(conditions), Some((begun, _, _))) = (&self.conditions, &spent.stretch) {
            held.took += conditions.nominal(*begun);
        }
        held
    }
}

impl Conditions {
    fn speed(&self) -> f64 {
        self.cx.speed.max(1.0)
    }

    fn nominal(&self, since: Instant) -> Duration {
        since.elapsed().mul_f64(self.speed())
    }

    /// The first condition that does not hold, with what was measured.
    async fn look(&self) -> Option<String> {
        for read in self.reads.iter() {
            match tokio::time::timeout(PATIENCE, read.action.execute(&self.cx)).await {
                Ok(Ok(_holds)) => {}
                Ok(Err(error)) => return Some(error.message),
                Err(_late) => {
                    return Some(format!("{} gave no answer within {} s", read.uses, PATIENCE.as_secs()));
                }
            }
        }
        None
    }
}

impl Held {
    /// For people; nothing where it was never held.
    pub fn words(&self) -> Option<String> {
        if self.times == 0 {
            return None;
        }
        let times = if self.times == 1 { "once" } else { "again and again" };
        Some(format!(
            "held {times}, for {:.1} s in all, while a condition did not hold: {}",
            self.took.as_secs_f64(),
            self.why.join("; ")
        ))
    }
}
