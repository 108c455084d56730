//! What is seen while a stage is held: the share by resolution, clients and their errors, the analysis, drift. Reads only;
//! must not decide what becomes of the shift.

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::provider::action::{ActionError, ActionErrorKind, Cx, Progress};
use crate::provider::probe::Probe;
use crate::runbook::expression;

use super::lookup::Asked;
use super::records::{RecordSet, Zone};
use super::servers::Server;
use super::settle::nominal;
use super::stages::{Stage, may_be_chance};

/// How often the analysis is asked while a stage is held.
const LOOKS: u32 = 4;
/// So many clients at least tell a share of errors.
const FEWEST: u32 = 10;

/// What a stage is held against.
pub struct Sampler {
    pub analysis: Vec<Probe>,
    pub clients: Vec<Probe>,
    /// Over a client's result: whether the new side answered.
    pub new_if: Option<String>,
    pub samples: u32,
    /// In percent.
    pub max_client_errors: f64,
}

/// Why a stage is not the way to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The new side is not good.
    Breach(String),
    /// Somebody else changed the record to this: it is theirs now.
    Drift(Vec<RecordSet>),
}

/// What was seen of a stage.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tally {
    pub share: u8,
    /// Answers of authoritative servers, and those with the new values.
    pub asked: u32,
    pub new: u32,
    /// What clients did, how often it failed, and how often the new side answered.
    pub clients: u32,
    pub errors: u32,
    pub clients_new: u32,
    last_error: String,
    /// Nominal seconds that it was held.
    pub held_s: f64,
}

/// A part of a whole in percent; 0 of nothing.
pub fn percent(part: u32, whole: u32) -> f64 {
    if whole == 0 {
        0.0
    } else {
        100.0 * f64::from(part) / f64::from(whole)
    }
}

impl Tally {
    /// The share of clients that failed, in percent.
    pub fn error_share(&self) -> f64 {
        percent(self.errors, self.clients)
    }

    /// For people.
    pub fn words(&self) -> String {
        let mut words = format!(
            "{} %: {} of {} resolutions new ({:.1} %)",
            self.share,
            self.new,
            self.asked,
            percent(self.new, self.asked)
        );
        if self.clients > 0 {
            words.push_str(&format!(
                ", {} of {} clients failed (client error share {:.1} %)",
                self.errors,
                self.clients,
                self.error_share()
            ));
        }
        if self.clients_new > 0 {
            words.push_str(&format!(", {} answered by the new side", self.clients_new));
        }
        words
    }

    /// For the result.
    pub fn json(&self) -> Value {
        json!({
            "share": self.share,
            "asked": self.asked,
            "new": self.new,
            "observed": percent(self.new, self.asked),
            "clients": self.clients,
            "client_errors": self.errors,
            "clients_new": self.clients_new,
            "held_s": self.held_s,
        })
    }
}

/// The record whose stage is held.
pub struct Held<'a> {
    pub zone: &'a Zone,
    pub asked: &'a Asked,
    pub servers: &'a [Server],
    pub standing: &'a [RecordSet],
    /// In one spelling, sorted.
    pub new: &'a [String],
}

impl Sampler {
    /// Holds a stage and looks; ends early where it has to stop.
    pub async fn hold(&self, stage: Stage, held: &Held<'_>, cx: &Cx) -> Result<(Tally, Option<Stop>), ActionError> {
        let begun = Instant::now();
        let mut tally = Tally {
            share: stage.share,
            ..Tally::default()
        };
        let every = stage.hold.div_f64(f64::from(self.samples));
        let look = (self.samples / LOOKS).max(1);
        let mut stop = None;
        for sample in 1..=self.samples {
            // By the clock: what the questions cost is part of the hold.
            let due = every.mul_f64(f64::from(sample));
            cx.pause(due.saturating_sub(nominal(begun, cx))).await?;
            self.resolve(sample, held, &mut tally).await;
            self.ask_clients(cx, &mut tally).await?;
            let last = sample == self.samples;
            stop = self.too_many_errors(&tally, last);
            if stop.is_none() && (sample % look == 0 || last) {
                stop = self.analyse(held, cx).await?;
            }
            cx.reporter.progress(Progress::Share {
                done: f64::from(sample) / f64::from(self.samples),
                text: tally.words(),
            });
            if stop.is_some() {
                break;
            }
        }
        tally.held_s = nominal(begun, cx).as_secs_f64();
        if stop.is_none() {
            stop = share_is_off(&tally);
        }
        // What looks bad may be what somebody else made of the record: theirs is not reverted.
        if let Some(Stop::Breach(_)) = stop
            && let Ok(now) = held.zone.read(&held.asked.name, &held.asked.kind).await
            && now != held.standing
        {
            stop = Some(Stop::Drift(now));
        }
        Ok((tally, stop))
    }

    async fn resolve(&self, sample: u32, held: &Held<'_>, tally: &mut Tally) {
        // One after the other: each of them has to serve the weights.
        let turn = usize::try_from(sample).unwrap_or(0) % held.servers.len().max(1);
        let Some(server) = held.servers.get(turn) else { return };
        if let Ok(answer) = server.ask(held.asked).await {
            tally.asked += 1;
            tally.new += u32::from(answer.values == held.new);
        }
    }

    async fn ask_clients(&self, cx: &Cx, tally: &mut Tally) -> Result<(), ActionError> {
        for client in &self.clients {
            let answered = client.action.execute(cx).await;
            match answered {
                Ok(outcome) => {
                    let mut scope = outcome.result.clone();
                    scope.insert("result".to_owned(), Value::Object(outcome.result));
                    let new = self.new_if.as_ref().is_some_and(|predicate| {
                        expression::predicate(predicate, &Value::Object(scope)).unwrap_or(false)
                    });
                    tally.clients_new += u32::from(new);
                }
                Err(error) if error.kind == ActionErrorKind::Cancelled => return Err(error),
                Err(error) => {
                    tally.errors += 1;
                    tally.last_error = error.message;
                }
            }
            tally.clients += 1;
        }
        Ok(())
    }

    fn too_many_errors(&self, tally: &Tally, last: bool) -> Option<Stop> {
        let enough = tally.clients >= FEWEST || (last && tally.clients > 0);
        (enough && tally.error_share() > self.max_client_errors).then(|| {
            Stop::Breach(format!(
                "client error share {:.1} % over {:.1} %: {} of {} failed, the last: {}",
                tally.error_share(),
                self.max_client_errors,
                tally.errors,
                tally.clients,
                tally.last_error
            ))
        })
    }

    async fn analyse(&self, held: &Held<'_>, cx: &Cx) -> Result<Option<Stop>, ActionError> {
        match held.zone.read(&held.asked.name, &held.asked.kind).await {
            Ok(now) if now == held.standing => {}
            Ok(now) => return Ok(Some(Stop::Drift(now))),
            // The next look tells.
            Err(error) if error.kind == ActionErrorKind::Transient => {}
            Err(error) => return Ok(Some(Stop::Breach(error.message))),
        }
        for probe in &self.analysis {
            match probe.action.execute(cx).await {
                Ok(_holds) => {}
                Err(error) if error.kind == ActionErrorKind::Cancelled => return Err(error),
                // What cannot be asked does not say that all is well.
                Err(error) => return Ok(Some(Stop::Breach(format!("{}: {}", probe.uses, error.message)))),
            }
        }
        Ok(None)
    }
}

fn share_is_off(tally: &Tally) -> Option<Stop> {
    if tally.asked == 0 {
        return Some(Stop::Breach("no authoritative server answered".to_owned()));
    }
    (!may_be_chance(tally.new, tally.asked, tally.share)).then(|| {
        Stop::Breach(format!(
            "the observed share is off: {} of {} resolutions are new, {} % was set",
            tally.new, tally.asked, tally.share
        ))
    })
}
