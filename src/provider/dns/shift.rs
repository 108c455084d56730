//! `dns.shift`: from a simple record to weighted members, then stage by stage, each verified and held before the next; on a
//! breach back by itself. Every batch names exactly what it replaces, so that a change by anybody else in between is
//! refused by Route 53 and left alone.
//!
//! Once the first batch is accepted, a shift that stops is still an effect that happened: its outcome says where it stands
//! and keeps the way back, and its proof fails.

use async_trait::async_trait;
use chrono::Utc;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::provider::action::{Action, ActionError, ActionErrorKind, Cx, Observed, Outcome, Preview, Progress, Ready};
use crate::provider::aws::AwsTarget;
use crate::provider::aws::lag::SHOWN_AT_ONCE;
use crate::provider::connection::{BuildError, Connections};
use crate::provider::probe::{Probe, Written as Read, probes};
use crate::provider::registry::Request;
use crate::provider::span::Within;

use super::left::{Shifted, bound};
use super::lookup::Asked;
use super::reading::address;
use super::records::{RecordSet, Zone, meaning, standing};
use super::refusal::acceptable;
use super::sampling::{Held, Sampler, Stop};
use super::servers::{Server, authorities, resolvers};
use super::settle::{Came, Followed, Unsettled, Until, longest_ttl, nominal};
use super::spelling;
use super::stages::{NEW, Stage, Written, members, share_of, stages};
use super::verdict::Meant;
use super::watch::Watch;
use super::way::{Way, drifted};

/// What becomes of the record on a breach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OnBreach {
    /// It stays at the stage.
    Hold,
    #[default]
    Revert,
}

/// How far back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RevertTo {
    Previous,
    /// The exact record sets from before.
    #[default]
    Start,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    zone: String,
    record: String,
    #[serde(rename = "type", default = "address")]
    kind: String,
    to: Vec<String>,
    ttl: Option<i64>,
    stages: Vec<Written>,
    hold: Option<Within>,
    #[serde(default)]
    analysis: Vec<Read>,
    #[serde(default)]
    clients: Vec<Read>,
    new_if: Option<String>,
    #[serde(default = "one_percent")]
    max_client_errors: f64,
    #[serde(default = "fifty")]
    samples: u32,
    #[serde(default)]
    on_breach: OnBreach,
    #[serde(default)]
    revert_to: RevertTo,
    #[serde(default)]
    resolvers: Vec<String>,
    #[serde(default)]
    until: Vec<String>,
}

const fn one_percent() -> f64 {
    1.0
}

const fn fifty() -> u32 {
    50
}

/// A shift of shares.
pub struct Shift {
    target: AwsTarget,
    zone: String,
    asked: Asked,
    /// Sorted.
    to: Vec<String>,
    ttl: Option<i64>,
    stages: Vec<Stage>,
    sampler: Sampler,
    on_breach: OnBreach,
    revert_to: RevertTo,
    resolvers: Vec<Server>,
    until: Until,
}

impl Shift {
    /// From its parameters.
    pub fn new(request: &Request<'_>, target: AwsTarget, connections: &Connections) -> Result<Self, BuildError> {
        let with: Parameters = request.parameters()?;
        let mut to = with.to;
        to.sort();
        let resolvers = resolvers(&with.resolvers, &target)?;
        Ok(Self {
            zone: with.zone,
            asked: Asked {
                name: spelling::name(&with.record),
                kind: with.kind,
            },
            to,
            ttl: with.ttl,
            stages: stages(&with.stages, with.hold)?,
            sampler: Sampler {
                analysis: probes(&with.analysis, connections)?,
                clients: probes(&with.clients, connections)?,
                new_if: with.new_if,
                samples: with.samples.max(1),
                max_client_errors: with.max_client_errors,
            },
            on_breach: with.on_breach,
            revert_to: with.revert_to,
            until: Until::parse(&with.until, &resolvers)?,
            resolvers,
            target,
        })
    }

    fn last(&self) -> u8 {
        self.stages.last().map_or(0, |stage| stage.share)
    }

    fn at(&self, prior: &[RecordSet], share: u8) -> Result<Vec<RecordSet>, ActionError> {
        members(prior, &self.to, self.ttl, share)
    }

    /// What comes after the last stage: every authoritative server, the resolvers, the old TTL.
    async fn end(
        &self,
        zone: &Zone,
        (now, before): (&[RecordSet], &[RecordSet]),
        came: Came<'_>,
        watch: &mut Watch,
        cx: &Cx,
    ) -> Result<(), ActionError> {
        let followed = Followed {
            zone,
            asked: &self.asked,
            meant: Meant { now, before },
        };
        let settled = async {
            followed.in_sync(None, watch, cx).await?;
            let visible = Utc::now();
            if self.until.resolvers {
                followed.resolved(watch, cx).await?;
            }
            if self.until.ttl_passed {
                followed.waited_out(longest_ttl(before), visible, cx).await?;
            }
            Ok(())
        };
        settled
            .await
            .map_err(|unsettled: Unsettled| unsettled.of(&self.asked, came))
    }

    /// What is told of a shift that was found by reading.
    fn found(&self, zone: &Zone, prior: &[RecordSet], current: Vec<RecordSet>, reached: u8) -> Outcome {
        let way = Way {
            zone,
            asked: &self.asked,
            servers: &[],
            resolvers: &[],
            prior,
            standing: current,
            reached: Some(reached),
            tallies: Vec::new(),
            changes: Vec::new(),
            requests: 0,
        };
        let stop = (reached != self.last())
            .then(|| json!({ "stage": reached, "words": "nobody held or analysed it any more", "reverted_to": null }));
        let mut outcome = way.outcome(&self.to, stop.as_ref());
        outcome.summary = format!("{} (found by reading)", outcome.summary);
        outcome
    }

    /// Stage by stage; gives why it stopped before the last.
    async fn climb(&self, way: &mut Way<'_>, cx: &Cx) -> Result<Option<Value>, ActionError> {
        let new = meaning(&self.asked.kind, &self.to);
        for stage in self
            .stages
            .iter()
            .filter(|stage| stage.share > share_of(way.prior).unwrap_or(0))
        {
            let before = way.standing.clone();
            let meant = self.at(way.prior, stage.share)?;
            let comment = format!("{} at {}", cx.key, stage.share);
            if let Err(error) = way.place(meant, &comment, cx).await {
                return self.stopped(way, *stage, error).map(Some);
            }
            let held = Held {
                zone: way.zone,
                asked: &self.asked,
                servers: way.servers,
                standing: &way.standing,
                new: &new,
            };
            let (tally, stop) = self.sampler.hold(*stage, &held, cx).await?;
            way.requests += tally.asked;
            cx.reporter.progress(Progress::Line(tally.words()));
            let after = tally.held_s;
            way.tallies.push(tally);
            match stop {
                None => {}
                Some(Stop::Drift(now)) => {
                    let words = drifted(&now).message;
                    way.lost_to(now);
                    return Ok(Some(
                        json!({ "stage": stage.share, "words": words, "reverted_to": null }),
                    ));
                }
                Some(Stop::Breach(words)) => {
                    return self.breached(way, (*stage, after, words), before, cx).await.map(Some);
                }
            }
        }
        Ok(None)
    }

    /// An error after something was accepted stops the shift where it stands; before, it is the step's own.
    fn stopped(&self, way: &Way<'_>, stage: Stage, error: ActionError) -> Result<Value, ActionError> {
        match error.kind {
            ActionErrorKind::Permanent | ActionErrorKind::Transient if !way.changes.is_empty() => {
                Ok(json!({ "stage": stage.share, "words": error.message, "reverted_to": null }))
            }
            ActionErrorKind::Permanent
            | ActionErrorKind::Transient
            | ActionErrorKind::InDoubt
            | ActionErrorKind::Cancelled => Err(error),
        }
    }

    async fn breached(
        &self,
        way: &mut Way<'_>,
        (stage, after_s, words): (Stage, f64, String),
        previous: Vec<RecordSet>,
        cx: &Cx,
    ) -> Result<Value, ActionError> {
        let told = |reverted_to: Option<u8>, reverted_after_s: Option<f64>, words: String| {
            json!({
                "stage": stage.share,
                "after_s": after_s,
                "reverted_to": reverted_to,
                "reverted_after_s": reverted_after_s,
                "words": words,
            })
        };
        cx.reporter
            .progress(Progress::Line(format!("BREACH at {} %: {words}", stage.share)));
        if self.on_breach == OnBreach::Hold {
            return Ok(told(None, None, words));
        }
        let begun = Instant::now();
        let back = match self.revert_to {
            RevertTo::Previous => previous,
            RevertTo::Start => way.prior.to_vec(),
        };
        let share = share_of(&back).unwrap_or(0);
        let comment = format!("{} back to {share}", cx.key);
        match way.place(back.clone(), &comment, cx).await {
            Ok(()) => Ok(told(Some(share), Some(nominal(begun, cx).as_secs_f64()), words)),
            Err(error) if matches!(error.kind, ActionErrorKind::InDoubt | ActionErrorKind::Cancelled) => Err(error),
            // It went back, and not everybody gives it yet.
            Err(error) if way.reached == Some(share) && way.standing == back => {
                Ok(told(Some(share), None, format!("{words}; {}", error.message)))
            }
            Err(error) => {
                let words = format!("{words}; IT COULD NOT BE REVERTED: {}", error.message);
                Ok(told(None, None, words))
            }
        }
    }
}

#[async_trait]
impl Action for Shift {
    fn preview(&self) -> Preview {
        let (record, kind) = (&self.asked.name, &self.asked.kind);
        let call = format!("route53:ChangeResourceRecordSets zone {}: {record} {kind}", self.zone);
        let commands = self.stages.iter().enumerate().map(|(index, stage)| {
            let old = 100 - stage.share;
            let what = if index == 0 {
                "DELETE simple, CREATE"
            } else {
                "DELETE and CREATE"
            };
            format!(
                "{call} {what} weights {old}/{} → {}; hold {} s",
                stage.share,
                self.to.join(", "),
                stage.hold.as_secs()
            )
        });
        let mut notes = self.until.notes();
        notes.push("each stage: INSYNC, the weights read back, then held and sampled before the next".to_owned());
        let reads = |probes: &[Probe], what: &str| -> Vec<String> {
            let each = probes
                .iter()
                .map(|probe| format!("{what}: {}", probe.action.preview().summary));
            each.collect()
        };
        notes.extend(reads(&self.sampler.analysis, "analysis"));
        notes.extend(reads(&self.sampler.clients, "clients"));
        notes.push(match (self.on_breach, self.revert_to) {
            (OnBreach::Hold, _) => "on a breach it stays at its stage and the step fails".to_owned(),
            (OnBreach::Revert, RevertTo::Previous) => "on a breach it goes back to the stage before".to_owned(),
            (OnBreach::Revert, RevertTo::Start) => "on a breach it goes back to the record as it was".to_owned(),
        });
        Preview {
            summary: format!(
                "shifts {record} {kind} to {} in {} stages",
                self.to.join(", "),
                self.stages.len()
            ),
            commands: commands.collect(),
            notes,
        }
    }

    async fn check(&self, cx: &Cx) -> Result<Ready, ActionError> {
        self.target.prove_account().await?;
        let zone = Zone::find(&self.target, &self.zone).await?;
        let servers = authorities(&self.target, Some(&zone)).await?;
        let current = zone.read(&self.asked.name, &self.asked.kind).await?;
        let meant = self.at(&current, self.last())?;
        acceptable(&meant)?;
        let mut facts: Vec<String> = current.iter().map(|set| format!("now: {}", set.words())).collect();
        let ttl = longest_ttl(&meant);
        if let Some(short) = self.stages.iter().find(|stage| stage.hold < ttl) {
            facts.push(format!(
                "stage {} % is held for {} s, less than the TTL of {} s: not every client has come over by then",
                short.share,
                short.hold.as_secs(),
                ttl.as_secs()
            ));
        }
        for probe in self.sampler.analysis.iter().chain(&self.sampler.clients) {
            let looked = probe.action.check(cx).await.map_err(|error| ActionError {
                message: format!("{}: {}", probe.uses, error.message),
                ..error
            })?;
            facts.extend(looked.facts);
        }
        let labels: Vec<&str> = servers.iter().map(|server| server.label.as_str()).collect();
        facts.push(format!("authoritative: {}", labels.join(", ")));
        let mut identity = self.target.identity_json();
        if let Some(fields) = identity.as_object_mut() {
            fields.insert("zone".to_owned(), json!(zone.id));
            fields.insert("record".to_owned(), json!(self.asked.name));
            fields.insert("type".to_owned(), json!(self.asked.kind));
            fields.insert("prior".to_owned(), json!(current));
            // What the way back may find.
            let shifted = Shifted {
                to: self.to.clone(),
                ttl: self.ttl,
                shares: self.stages.iter().map(|stage| stage.share).collect(),
            };
            fields.insert("shift".to_owned(), json!(shifted));
        }
        Ok(Ready { identity, facts })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let zone = Zone::find(&self.target, &self.zone).await?;
        let current = zone.read(&self.asked.name, &self.asked.kind).await?;
        let prior = bound(&cx.identity, "prior").unwrap_or_else(|| current.clone());
        if current != prior {
            return Err(drifted(&current));
        }
        let servers = authorities(&self.target, Some(&zone)).await?;
        let mut way = Way {
            zone: &zone,
            asked: &self.asked,
            servers: &servers,
            resolvers: &self.resolvers,
            prior: &prior,
            reached: Some(share_of(&current).unwrap_or(0)),
            standing: current,
            tallies: Vec::new(),
            changes: Vec::new(),
            requests: 0,
        };
        let stop = self.climb(&mut way, cx).await?;
        if stop.is_some() {
            return Ok(way.outcome(&self.to, stop.as_ref()));
        }
        let mut watch = Watch::new(self.asked.clone(), servers.iter().cloned(), cx.speed);
        watch.also(self.resolvers.iter().cloned());
        let came = if way.changes.is_empty() {
            Came::Already
        } else {
            Came::By(&cx.key)
        };
        self.end(&zone, (&way.standing, &prior), came, &mut watch, cx).await?;
        way.requests += watch.requests;
        let mut outcome = way.outcome(&self.to, None);
        watch.keep(&mut outcome);
        outcome.result.insert("requests".to_owned(), json!(way.requests));
        Ok(outcome)
    }

    async fn observe(&self, cx: &Cx) -> Result<Observed, ActionError> {
        let zone = Zone::find(&self.target, &self.zone).await?;
        let current = zone.read(&self.asked.name, &self.asked.kind).await?;
        let Some(prior) = bound(&cx.identity, "prior") else {
            return Ok(Observed::Unknown {
                detail: "what was before is not known".to_owned(),
            });
        };
        if current == prior {
            return Ok(cx.nothing_shows(SHOWN_AT_ONCE, "the record is as before".to_owned()));
        }
        let stage = share_of(&current).filter(|share| self.at(&prior, *share).is_ok_and(|meant| meant == current));
        let Some(reached) = stage else {
            return Ok(Observed::Unknown {
                detail: drifted(&current).message,
            });
        };
        if reached == self.last() && (self.until.resolvers || self.until.ttl_passed) {
            return Ok(Observed::Running {
                detail: format!("it stands at {reached} %, and nobody waited for the caches"),
            });
        }
        Ok(Observed::Done(self.found(&zone, &prior, current, reached)))
    }

    async fn adopt(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let zone = Zone::find(&self.target, &self.zone).await?;
        let current = zone.read(&self.asked.name, &self.asked.kind).await?;
        let prior = bound(&cx.identity, "prior").unwrap_or_default();
        let servers = authorities(&self.target, Some(&zone)).await?;
        let mut watch = Watch::new(self.asked.clone(), servers, cx.speed);
        watch.also(self.resolvers.iter().cloned());
        let last = self.at(&prior, self.last())?;
        self.end(&zone, (&last, &prior), Came::Found, &mut watch, cx).await?;
        let mut outcome = self.found(&zone, &prior, current, self.last());
        watch.keep(&mut outcome);
        Ok(outcome)
    }

    async fn prove(&self, _cx: &Cx) -> Result<(), ActionError> {
        let zone = Zone::find(&self.target, &self.zone).await?;
        let current = zone.read(&self.asked.name, &self.asked.kind).await?;
        let ours = current
            .iter()
            .any(|set| set.set_identifier.as_deref() == Some(NEW) && set.meaning() == meaning(&set.kind, &self.to));
        let at = match (share_of(&current), current.as_slice()) {
            (Some(reached), _) if ours && reached == self.last() => return Ok(()),
            (Some(reached), _) if ours => format!("stands at {reached} % of {} %", self.last()),
            (None, [simple]) if simple.set_identifier.is_none() => format!("stands at 0 % of {} %", self.last()),
            (Some(_) | None, _) => "stands at no stage of this shift".to_owned(),
        };
        let words = format!(
            "{} {at}: {}; its outcome says why; roll it back, or go on without it",
            self.asked.name,
            standing(&current)
        );
        Err(ActionError::new(ActionErrorKind::Permanent, words))
    }
}
