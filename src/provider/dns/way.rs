//! How far a shift is: puts a stage in the place of the one before, and tells of it.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::provider::action::{ActionError, ActionErrorKind, Cx, Outcome, Progress};

use super::lookup::Asked;
use super::records::{RecordSet, Zone, standing};
use super::sampling::{Tally, percent};
use super::servers::Server;
use super::settle::{Followed, Unsettled};
use super::stages::share_of;
use super::verdict::Meant;
use super::watch::Watch;

/// How often a batch is tried that certainly was not applied.
const TRIES: u32 = 5;

/// How far a shift is.
pub struct Way<'a> {
    pub zone: &'a Zone,
    pub asked: &'a Asked,
    pub servers: &'a [Server],
    pub resolvers: &'a [Server],
    pub prior: &'a [RecordSet],
    pub standing: Vec<RecordSet>,
    /// Percent; 0 is as before. `None` where somebody else changed the record: it stands at nothing of ours.
    pub reached: Option<u8>,
    pub tallies: Vec<Tally>,
    pub changes: Vec<String>,
    pub requests: u32,
}

impl Way<'_> {
    /// Puts `meant` in the place of what stands, verified: INSYNC, the authoritative answers, the weights read back.
    pub async fn place(&mut self, meant: Vec<RecordSet>, comment: &str, cx: &Cx) -> Result<(), ActionError> {
        let change = self.swapped(&meant, comment, cx).await?;
        self.standing = meant;
        self.reached = Some(share_of(&self.standing).unwrap_or(0));
        let followed = Followed {
            zone: self.zone,
            asked: self.asked,
            meant: Meant {
                now: &self.standing,
                before: self.prior,
            },
        };
        let mut watch = Watch::new(self.asked.clone(), self.servers.iter().cloned(), cx.speed);
        let settled = followed.in_sync(change.as_deref(), &mut watch, cx).await;
        if settled.is_ok() {
            watch.also(self.resolvers.iter().cloned());
            watch.round(followed.meant).await;
            watch.tell(cx);
        }
        self.requests += watch.requests;
        settled.map_err(|unsettled| self.unsettled(unsettled))
    }

    /// Sends the batch; gives the change, or nothing where its answer was lost and it was found by reading.
    async fn swapped(&mut self, meant: &[RecordSet], comment: &str, cx: &Cx) -> Result<Option<String>, ActionError> {
        let mut wait = Duration::from_secs(2);
        let mut tries = 1;
        loop {
            match self.zone.swap(&self.standing, meant, comment).await {
                Ok(change) => {
                    self.changes.push(change.id.clone());
                    cx.reporter.ack(&change.id).await?;
                    return Ok(Some(change.id));
                }
                Err(error) if error.kind == ActionErrorKind::Transient && tries < TRIES => {
                    cx.reporter.progress(Progress::State(error.message));
                    cx.pause(wait).await?;
                    wait *= 2;
                    tries += 1;
                }
                Err(error) => {
                    let Ok(now) = self.zone.read(&self.asked.name, &self.asked.kind).await else {
                        return Err(error);
                    };
                    if error.kind == ActionErrorKind::InDoubt && now == meant {
                        // The answer was lost, the batch was not.
                        self.changes.push(comment.to_owned());
                        cx.reporter.ack(comment).await?;
                        return Ok(None);
                    }
                    if now == self.standing {
                        return Err(error);
                    }
                    let drifted = drifted(&now);
                    self.lost_to(now);
                    // Where no answer came, ours may have been there before theirs.
                    return Err(ActionError {
                        kind: error.kind,
                        ..drifted
                    });
                }
            }
        }
    }

    /// What was accepted and did not settle stops a shift where it stands; what somebody else made of it is theirs.
    fn unsettled(&mut self, unsettled: Unsettled) -> ActionError {
        match unsettled {
            Unsettled::Foreign(now) => {
                let drifted = drifted(&now);
                self.lost_to(now);
                drifted
            }
            Unsettled::Late(words) => {
                let words = format!(
                    "the change of {} was accepted and stands at Route 53, but did not settle: {words}",
                    self.asked.name
                );
                ActionError::new(ActionErrorKind::Permanent, words)
            }
            Unsettled::Lost(error) => error,
        }
    }

    /// Remembers what stands by now and is not ours.
    pub fn lost_to(&mut self, now: Vec<RecordSet>) {
        self.standing = now;
        self.reached = None;
    }

    /// What is told of it; `stop` says why it ended before the last stage.
    pub fn outcome(&self, to: &[String], stop: Option<&Value>) -> Outcome {
        let (clients, errors) = self.tallies.iter().fold((0u32, 0u32), |(clients, errors), tally| {
            (clients + tally.clients, errors + tally.errors)
        });
        let share = percent(errors, clients);
        let stages: Vec<Value> = self.tallies.iter().map(Tally::json).collect();
        let result: Map<String, Value> = [
            ("prior", json!(self.prior)),
            ("reached", json!(self.reached)),
            ("stages", json!(stages)),
            ("client_error_share", json!(share)),
            ("breach", stop.cloned().unwrap_or(Value::Null)),
            ("changes", json!(self.changes)),
            ("requests", json!(self.requests)),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        let mut summary = stop.map_or_else(|| format!("shifted to {}", to.join(", ")), stopped);
        summary.push_str(&match self.reached {
            Some(reached) => format!("; it stands at {reached} %"),
            None => format!("; it stands as somebody else left it: {}", standing(&self.standing)),
        });
        if clients > 0 {
            summary.push_str(&format!("; client error share {share:.1} % ({errors} of {clients})"));
        }
        let mut text: String = self
            .tallies
            .iter()
            .map(|tally| format!("{}\n", tally.words()))
            .collect();
        text.push_str(&format!("{summary}\n"));
        Outcome {
            summary,
            result,
            evidence: vec![("stages".to_owned(), text.into_bytes())],
        }
    }
}

fn stopped(stop: &Value) -> String {
    let number = |name: &str| stop.get(name).and_then(Value::as_f64);
    let at = number("stage").unwrap_or_default();
    let seen = number("after_s").map_or_else(String::new, |after| format!(" {after:.0} s into its hold"));
    let back = match (number("reverted_to"), number("reverted_after_s")) {
        (Some(to), Some(after)) => format!("reverted to {to} % within {after:.0} s"),
        (Some(to), None) => format!("reverted to {to} %, which not everybody gives yet"),
        (None, _) => "left as it is".to_owned(),
    };
    let words = stop.get("words").and_then(Value::as_str).unwrap_or_default();
    format!("STOPPED at {at} %{seen}, {back}: {words}")
}

/// Somebody else changed the record: it is left alone.
pub fn drifted(now: &[RecordSet]) -> ActionError {
    let words = format!(
        "the record was changed by somebody else: now {}; ask them before anything is changed back",
        standing(now)
    );
    ActionError::new(ActionErrorKind::Permanent, words)
}
