//! What comes after an accepted change: INSYNC, every authoritative server, the resolvers, the old TTL. Follows only; must
//! not send anything that changes something.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::provider::action::{ActionError, ActionErrorKind, Cx, Progress};
use crate::provider::aws::accepted;
use crate::provider::connection::BuildError;

use super::records::{RecordSet, Zone};
use super::servers::{Kind, Server};
use super::verdict::Meant;
use super::watch::Watch;

/// How long INSYNC and the authoritative answer may take.
pub const SETTLE: Duration = Duration::from_secs(10 * 60);
/// How often Route 53 is asked whether a change is INSYNC.
const BEAT: Duration = Duration::from_secs(2);

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
    let ttl = sets.iter().map(|set| set.ttl).max().unwrap_or(0);
    Duration::from_secs(u64::try_from(ttl).unwrap_or(0))
}

/// Nominal time since a moment.
pub fn since(moment: DateTime<Utc>, speed: f64) -> Duration {
    (Utc::now() - moment)
        .to_std()
        .unwrap_or_default()
        .mul_f64(speed.max(1.0))
}

/// INSYNC, then the new answer from every authoritative server.
pub async fn in_sync(
    zone: &Zone,
    change: Option<&str>,
    watch: &mut Watch,
    meant: Meant<'_>,
    cx: &Cx,
) -> Result<(), ActionError> {
    let named = |error: ActionError| if change.is_some() { accepted(error) } else { error };
    if let Some(id) = change {
        let mut waited = Duration::ZERO;
        loop {
            let state = match zone.in_sync(id).await {
                Ok(true) => break,
                Ok(false) => "PENDING".to_owned(),
                Err(error) if error.kind == ActionErrorKind::Transient => error.message,
                Err(error) => return Err(named(error)),
            };
            if waited >= SETTLE {
                let words = format!("the change {id} was made but did not settle: {state}; ask Route 53 about it");
                return Err(ActionError::new(ActionErrorKind::Permanent, words));
            }
            cx.reporter.progress(Progress::State(state));
            cx.pause(BEAT).await?;
            waited += BEAT;
        }
    }
    let settled = watch.until(Kind::Authority, meant, SETTLE, cx).await;
    settled.map_err(|error| match error.kind {
        ActionErrorKind::Permanent => {
            let words = format!("the change was made but did not settle: {}", error.message);
            ActionError {
                message: words,
                ..error
            }
        }
        ActionErrorKind::Transient | ActionErrorKind::InDoubt | ActionErrorKind::Cancelled => error,
    })
}

/// The new answer from every resolver. A cache may keep the old one for its TTL, a silent resolver counts as disagreeing.
pub async fn resolved(watch: &mut Watch, meant: Meant<'_>, cx: &Cx) -> Result<(), ActionError> {
    let bound = longest_ttl(meant.before) + SETTLE;
    watch.until(Kind::Resolver, meant, bound, cx).await
}

/// Waits `wait` out.
pub async fn wait_out(wait: Duration, cx: &Cx) -> Result<(), ActionError> {
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
