//! What comes after an accepted change: INSYNC, every authoritative server, the resolvers, the old TTL; and whether what was
//! meant still stands meanwhile. Follows only; must not send anything that changes something.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::provider::action::{ActionError, ActionErrorKind, Cx, Progress};
use crate::provider::aws::accepted;
use crate::provider::connection::BuildError;

use super::lookup::Asked;
use super::records::{RecordSet, Zone, standing};
use super::servers::{Kind, Server};
use super::verdict::Meant;
use super::watch::Watch;

/// How long INSYNC and the authoritative answer may take.
pub const SETTLE: Duration = Duration::from_secs(10 * 60);
/// How often Route 53 is asked whether a change is INSYNC, and whether the record stands: it takes five requests a second of
/// a whole account.
const BEAT: Duration = Duration::from_secs(4);
/// How often an authoritative server is asked meanwhile, one of them at a time.
const GLANCE: Duration = Duration::from_millis(500);

/// What a step waits for after INSYNC and the authoritative answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Until {
    /// Every resolver gives the new answer.
    pub resolvers: bool,
    /// No cache that keeps to the old TTL gives the old answer.
    pub ttl_passed: bool,
}

impl Until {
    /// From a step's words.
    pub fn parse(words: &[String], resolvers: &[Server]) -> Result<Self, BuildError> {
        let mut until = Self::default();
        for word in words {
            match word.as_str() {
                "authoritative" => {}
                "ttl_passed" => until.ttl_passed = true,
                "resolvers" if resolvers.is_empty() => {
                    let words = "until: resolvers needs resolvers: [address, …]";
                    return Err(BuildError::Parameter(words.to_owned()));
                }
                "resolvers" => until.resolvers = true,
                "drained" => return Err(BuildError::NotAvailable(format!("until: {word}"))),
                other => return Err(BuildError::Parameter(format!("until: {other} is not known"))),
            }
        }
        Ok(until)
    }

    /// For the gate.
    pub fn notes(self) -> Vec<String> {
        let mut notes = vec!["waits for INSYNC, then for the answer of every authoritative server".to_owned()];
        if self.resolvers {
            notes.push("then waits until every resolver gives the new answer".to_owned());
        }
        if self.ttl_passed {
            notes.push("then waits until the old TTL has run out".to_owned());
        }
        notes
    }
}

/// The longest TTL among record sets.
pub fn longest_ttl(sets: &[RecordSet]) -> Duration {
    let ttl = sets.iter().filter_map(|set| set.ttl).max().unwrap_or(0);
    Duration::from_secs(u64::try_from(ttl).unwrap_or(0))
}

/// Nominal time that has passed.
pub fn nominal(begun: Instant, cx: &Cx) -> Duration {
    begun.elapsed().mul_f64(cx.speed.max(1.0))
}

/// Nominal time since a moment of the calendar.
pub fn since(moment: DateTime<Utc>, speed: f64) -> Duration {
    (Utc::now() - moment)
        .to_std()
        .unwrap_or_default()
        .mul_f64(speed.max(1.0))
}

/// Why what was meant is not what everybody gives.
#[derive(Debug)]
pub enum Unsettled {
    /// Something else stands at Route 53 by now: somebody changed it since.
    Foreign(Vec<RecordSet>),
    /// It stands there, and in all the time that it may take not everybody gave it.
    Late(String),
    /// It cannot be followed.
    Lost(ActionError),
}

/// How a record came to be what is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came<'a> {
    /// By this change, which Route 53 accepted.
    By(&'a str),
    /// It was found by reading what became of an effect.
    Found,
    /// It was so already, nothing was sent.
    Already,
}

impl Unsettled {
    /// As a step says it: what was accepted has happened, so nobody calls it failed.
    pub fn of(self, asked: &Asked, came: Came<'_>) -> ActionError {
        let name = &asked.name;
        let kind = match came {
            Came::By(_) | Came::Found => ActionErrorKind::InDoubt,
            Came::Already => ActionErrorKind::Permanent,
        };
        let words = match (self, came) {
            (Self::Foreign(now), Came::By(id)) => format!(
                "{name}: the change {id} was accepted, and then the record was changed by somebody else: now {}; ask them \
                 before anything is changed back",
                standing(&now)
            ),
            (Self::Foreign(now), Came::Found) => format!(
                "{name} was changed by somebody else: now {}; ask them before anything is changed back",
                standing(&now)
            ),
            (Self::Foreign(now), Came::Already) => format!(
                "{name} was changed by somebody else: now {}; nothing was sent, look who changed it",
                standing(&now)
            ),
            (Self::Late(words), Came::By(id)) => {
                format!("{name}: the change {id} was accepted and stands at Route 53, but did not settle: {words}")
            }
            (Self::Late(words), Came::Found) => {
                format!("{name} stands as meant at Route 53, but did not settle: {words}")
            }
            (Self::Late(words), Came::Already) => {
                format!("{name} is so already at Route 53, but did not settle, nothing was sent: {words}")
            }
            (Self::Lost(error), Came::By(_) | Came::Found) => return accepted(error),
            (Self::Lost(error), Came::Already) => return error,
        };
        ActionError::new(kind, words)
    }
}

/// A record that is followed until everybody gives what is meant.
pub struct Followed<'a> {
    pub zone: &'a Zone,
    pub asked: &'a Asked,
    pub meant: Meant<'a>,
}

impl Followed<'_> {
    /// INSYNC, then the new answer from every authoritative server.
    pub async fn in_sync(&self, change: Option<&str>, watch: &mut Watch, cx: &Cx) -> Result<(), Unsettled> {
        if let Some(id) = change {
            self.pending(id, watch, cx).await?;
        }
        self.given_by(Kind::Authority, watch, SETTLE, cx).await
    }

    /// The new answer from every resolver. A cache may keep the old one for its TTL, a silent resolver counts as
    /// disagreeing.
    pub async fn resolved(&self, watch: &mut Watch, cx: &Cx) -> Result<(), Unsettled> {
        let bound = longest_ttl(self.meant.before) + SETTLE;
        self.given_by(Kind::Resolver, watch, bound, cx).await
    }

    /// Route 53 is asked on its beat, and at once where a server gives the new answer: that is sooner known and costs
    /// nobody's quota.
    async fn pending(&self, id: &str, watch: &mut Watch, cx: &Cx) -> Result<(), Unsettled> {
        let begun = Instant::now();
        loop {
            let state = match self.zone.in_sync(id).await {
                Ok(true) => return Ok(()),
                Ok(false) => "PENDING".to_owned(),
                Err(error) if error.kind == ActionErrorKind::Transient => error.message,
                Err(error) => return Err(Unsettled::Lost(error)),
            };
            if nominal(begun, cx) >= SETTLE {
                self.stands().await?;
                return Err(Unsettled::Late(format!("it is {state}; ask Route 53 about {id}")));
            }
            cx.reporter.progress(Progress::State(state));
            let asked = Instant::now();
            if watch.glimpsed {
                // It was seen, and is not everywhere yet: from there only Route 53 knows.
                cx.pause(BEAT).await.map_err(Unsettled::Lost)?;
            }
            while !watch.glimpsed && nominal(asked, cx) < BEAT {
                cx.pause(GLANCE).await.map_err(Unsettled::Lost)?;
                watch.glimpse(self.meant).await;
            }
        }
    }

    /// Everybody of a kind gives it, and it is still what stands at Route 53: what a server gives instead of it may be
    /// what somebody else made of it, and then it never comes.
    async fn given_by(&self, kind: Kind, watch: &mut Watch, bound: Duration, cx: &Cx) -> Result<(), Unsettled> {
        let begun = Instant::now();
        let mut looked = None;
        loop {
            watch.round(self.meant).await;
            watch.tell(cx);
            let (agreed, late) = (watch.agreed_of(kind), nominal(begun, cx) >= bound);
            let due = looked.is_none_or(|looked| nominal(looked, cx) >= BEAT);
            if agreed || late || due {
                let stands = match self.stands().await {
                    // The next look tells.
                    Err(Unsettled::Lost(error)) if error.kind == ActionErrorKind::Transient => Err(error.message),
                    Err(other) => return Err(other),
                    Ok(()) => Ok(()),
                };
                if agreed && stands.is_ok() {
                    return Ok(());
                }
                if late {
                    let words = stands.err().unwrap_or_else(|| watch.words());
                    return Err(Unsettled::Late(format!("{words}; look at the servers named")));
                }
                looked = Some(Instant::now());
            }
            watch.rest(cx).await.map_err(Unsettled::Lost)?;
        }
    }

    /// Waits out what is left of `wait` since a moment, and looks once more where that took time.
    pub async fn waited_out(&self, wait: Duration, from: DateTime<Utc>, cx: &Cx) -> Result<(), Unsettled> {
        let left = wait.saturating_sub(since(from, cx.speed));
        if left.is_zero() {
            return Ok(());
        }
        wait_out(left, cx).await.map_err(Unsettled::Lost)?;
        match self.stands().await {
            // It stood when it settled, and nobody can be asked now.
            Ok(()) | Err(Unsettled::Lost(_)) => Ok(()),
            Err(other) => Err(other),
        }
    }

    /// What is meant stands at Route 53.
    pub async fn stands(&self) -> Result<(), Unsettled> {
        let now = self.zone.read(&self.asked.name, &self.asked.kind).await;
        let now = now.map_err(Unsettled::Lost)?;
        if now == self.meant.now {
            Ok(())
        } else {
            Err(Unsettled::Foreign(now))
        }
    }
}

/// Waits `wait` out.
async fn wait_out(wait: Duration, cx: &Cx) -> Result<(), ActionError> {
    let whole = wait.as_secs_f64();
    let mut left = wait;
    while left > Duration::ZERO {
        let beat = left.min(Duration::from_secs(5));
        let share = 1.0 - left.as_secs_f64() / whole.max(1.0);
        let text = format!("waiting out the old TTL: {} s left", left.as_secs());
        cx.reporter.progress(Progress::Share { done: share, text });
        cx.pause(beat).await?;
        left -= beat;
    }
    Ok(())
}
