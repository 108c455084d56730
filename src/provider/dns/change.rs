//! `dns.lower_ttl`, `dns.flip`, `dns.restore`: one atomic change, then INSYNC, then every authoritative answer, then the
//! resolvers and the old TTL where they are waited for. What was before is bound by the approval, so that the way back is
//! known even when the answer of the change was lost.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::provider::action::{Action, ActionError, ActionErrorKind, Cx, Observed, Outcome, Preview, Ready};
use crate::provider::aws::AwsTarget;
use crate::provider::connection::BuildError;
use crate::provider::registry::Request;

use super::lookup::Asked;
use super::lowered::Lowered;
use super::reading::address;
use super::records::{RecordSet, Zone, canonical, standing};
use super::refusal::acceptable;
use super::servers::{Kind, Server, authorities, resolvers};
use super::settle::{Came, Followed, Unsettled, Until, longest_ttl, since, wait_out};
use super::verdict::{Meant, Verdict};
use super::watch::Watch;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    zone: String,
    record: String,
    #[serde(rename = "type", default = "address")]
    kind: String,
    ttl: Option<i64>,
    wait: Option<bool>,
    to: Option<To>,
    only: Option<Only>,
    lowered: Option<Lowered>,
    #[serde(default)]
    resolvers: Vec<String>,
    #[serde(default)]
    until: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum To {
    Values(Vec<String>),
    Sets(Vec<RecordSet>),
}

/// The part that is put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Only {
    Ttl,
}

enum What {
    LowerTtl(i64),
    Flip {
        values: Vec<String>,
        ttl: Option<i64>,
    },
    Restore(Vec<RecordSet>),
    /// The TTLs of these record sets, on whatever the record points at by now.
    RestoreTtl(Vec<RecordSet>),
}

/// A change of one name's record sets.
pub struct Change {
    target: AwsTarget,
    zone: String,
    record: String,
    kind: String,
    what: What,
    lowered: Option<Lowered>,
    resolvers: Vec<Server>,
    until: Until,
}

impl Change {
    /// From its parameters.
    pub fn new(request: &Request<'_>, target: AwsTarget) -> Result<Self, BuildError> {
        let with: Parameters = request.parameters()?;
        let resolvers = resolvers(&with.resolvers, &target)?;
        let mut until = Until::parse(&with.until, &resolvers)?;
        let missing = |name: &str| BuildError::Parameter(format!("{} needs {name}", request.uses));
        if request.uses == "dns.lower_ttl" {
            until.ttl_passed |= with.wait.unwrap_or(true);
        }
        let what = match (request.uses, with.to) {
            ("dns.lower_ttl", _) => What::LowerTtl(with.ttl.ok_or_else(|| missing("ttl"))?),
            ("dns.flip", Some(To::Values(mut values))) => {
                values.sort();
                What::Flip { values, ttl: with.ttl }
            }
            ("dns.restore", Some(To::Sets(sets))) if with.only == Some(Only::Ttl) => What::RestoreTtl(sets),
            ("dns.restore", Some(To::Sets(sets))) => What::Restore(sets),
            // An empty list of record sets: there was nothing before.
            ("dns.restore", Some(To::Values(values))) if values.is_empty() => What::Restore(Vec::new()),
            _ => return Err(missing("to")),
        };
        Ok(Self {
            target,
            zone: with.zone,
            record: canonical(&with.record),
            kind: with.kind,
            what,
            lowered: with.lowered,
            resolvers,
            until,
        })
    }

    /// What is meant to be, given what was.
    fn meant(&self, prior: &[RecordSet]) -> Result<Vec<RecordSet>, ActionError> {
        let permanent = |words: String| ActionError::new(ActionErrorKind::Permanent, words);
        let none = || {
            permanent(format!(
                "{} {} does not exist; check the record's name",
                self.record, self.kind
            ))
        };
        match &self.what {
            What::LowerTtl(ttl) => {
                if prior.is_empty() {
                    return Err(none());
                }
                // A TTL that is lower already is not raised.
                Ok(prior
                    .iter()
                    .map(|set| RecordSet {
                        ttl: set.ttl.min(*ttl),
                        ..set.clone()
                    })
                    .collect())
            }
            What::Flip { values, ttl } => match prior {
                [set] if set.weight.is_none() => Ok(vec![RecordSet {
                    ttl: ttl.unwrap_or(set.ttl),
                    values: values.clone(),
                    ..set.clone()
                }]),
                [] => Err(none()),
                _ => Err(permanent(format!("{} is weighted; use dns.shift", self.record))),
            },
            What::Restore(sets) => {
                let mut sets = sets.clone();
                sets.sort();
                Ok(sets)
            }
            What::RestoreTtl(sets) => {
                let highest = sets.iter().map(|set| set.ttl).max();
                let before = |set: &RecordSet| {
                    let same = sets.iter().find(|old| old.set_identifier == set.set_identifier);
                    same.map(|old| old.ttl).or(highest).unwrap_or(set.ttl)
                };
                Ok(prior
                    .iter()
                    .map(|set| RecordSet {
                        ttl: before(set),
                        ..set.clone()
                    })
                    .collect())
            }
        }
    }

    fn prior_of(cx: &Cx) -> Option<Vec<RecordSet>> {
        cx.identity
            .get("prior")
            .and_then(|prior| serde_json::from_value(prior.clone()).ok())
    }

    fn outcome(&self, prior: &[RecordSet], meant: &[RecordSet], change: Option<&str>) -> Outcome {
        let mut result = Map::new();
        result.insert("prior".to_owned(), json!(prior));
        result.insert("change_id".to_owned(), json!(change));
        result.insert("ttl".to_owned(), json!(meant.iter().map(|set| set.ttl).max()));
        let now: Vec<String> = meant.iter().map(RecordSet::words).collect();
        Outcome {
            summary: format!("now {}", now.join("; ")),
            result,
            evidence: Vec::new(),
        }
    }

    /// How long the old answer may still be given by caches.
    fn to_wait(&self, before: &[RecordSet]) -> Duration {
        if self.until.ttl_passed {
            longest_ttl(before)
        } else {
            Duration::ZERO
        }
    }

    fn asked(&self) -> Asked {
        Asked {
            name: self.record.clone(),
            kind: self.kind.clone(),
        }
    }

    async fn watch(&self, zone: &Zone, cx: &Cx) -> Result<Watch, ActionError> {
        let servers = authorities(&self.target, Some(zone)).await?;
        let mut watch = Watch::new(self.asked(), servers, cx.speed);
        watch.also(self.resolvers.iter().cloned());
        Ok(watch)
    }

    /// What comes after the change: INSYNC, the authoritative servers, the resolvers, what is left of the old TTL.
    async fn follow(
        &self,
        (zone, came): (&Zone, Came<'_>),
        meant: Meant<'_>,
        begun: Option<DateTime<Utc>>,
        cx: &Cx,
    ) -> Result<(Watch, DateTime<Utc>), ActionError> {
        let asked = self.asked();
        let wait = match (came, begun) {
            (Came::By(_), _) | (_, Some(_)) => self.to_wait(meant.before),
            (Came::Found | Came::Already, None) => Duration::ZERO,
        };
        let followed = async {
            let mut watch = self.watch(zone, cx).await.map_err(Unsettled::Lost)?;
            let record = Followed {
                zone,
                asked: &asked,
                meant,
            };
            let change = match came {
                Came::By(id) => Some(id),
                Came::Found | Came::Already => None,
            };
            record.in_sync(change, &mut watch, cx).await?;
            let visible = Utc::now();
            if self.until.resolvers {
                record.resolved(&mut watch, cx).await?;
            }
            let left = wait.saturating_sub(since(begun.unwrap_or(visible), cx.speed));
            if !left.is_zero() {
                wait_out(left, cx).await.map_err(Unsettled::Lost)?;
                match record.stands().await {
                    // It stood when it settled, and nobody can be asked now.
                    Ok(()) | Err(Unsettled::Lost(_)) => {}
                    Err(other) => return Err(other),
                }
            }
            Ok((watch, visible))
        };
        followed
            .await
            .map_err(|unsettled: Unsettled| unsettled.of(&asked, came))
    }

    /// A flip is not sent while caches may hold the record for longer than they should.
    async fn lowered_long_ago(&self, current: &[RecordSet], cx: &Cx) -> Result<Option<String>, ActionError> {
        match &self.lowered {
            Some(lowered) => lowered
                .proven(&self.asked(), current, &self.resolvers, cx.speed)
                .await
                .map(Some),
            None => Ok(None),
        }
    }

    /// What a flip has to know of it.
    fn tell_lowered(&self, at: DateTime<Utc>, prior: &[RecordSet], outcome: &mut Outcome) {
        if let What::LowerTtl(ttl) = self.what {
            let old_ttl = prior.iter().map(|set| set.ttl).max().unwrap_or(ttl);
            let lowered = Lowered {
                at,
                old_ttl,
                ttl: ttl.min(old_ttl),
            };
            outcome.result.insert("lowered".to_owned(), json!(lowered));
        }
    }
}

#[async_trait]
impl Action for Change {
    fn preview(&self) -> Preview {
        let (summary, change) = match &self.what {
            What::LowerTtl(ttl) => (
                format!("lowers the TTL of {} {} to {ttl} s", self.record, self.kind),
                format!("UPSERT {} {} TTL {ttl}, same values", self.record, self.kind),
            ),
            What::Flip { values, ttl } => (
                format!("points {} {} at {}", self.record, self.kind, values.join(", ")),
                format!(
                    "UPSERT {} {}{} → {}",
                    self.record,
                    self.kind,
                    ttl.map(|ttl| format!(" TTL {ttl}")).unwrap_or_default(),
                    values.join(", ")
                ),
            ),
            What::Restore(sets) => (
                format!("puts {} {} back as it was", self.record, self.kind),
                format!(
                    "UPSERT {}",
                    sets.iter().map(RecordSet::words).collect::<Vec<_>>().join("; ")
                ),
            ),
            What::RestoreTtl(sets) => {
                let ttls: Vec<String> = sets.iter().map(|set| set.ttl.to_string()).collect();
                (
                    format!("puts the TTL of {} {} back", self.record, self.kind),
                    format!(
                        "UPSERT {} {} TTL {}, same values",
                        self.record,
                        self.kind,
                        ttls.join(", ")
                    ),
                )
            }
        };
        let mut notes = self.until.notes();
        if self.lowered.is_some() {
            notes.push("is refused while the old TTL has not passed since it was lowered".to_owned());
        }
        let commands = vec![format!("route53:ChangeResourceRecordSets zone {}: {change}", self.zone)];
        Preview {
            summary,
            commands,
            notes,
        }
    }

    async fn check(&self, cx: &Cx) -> Result<Ready, ActionError> {
        self.target.prove_account().await?;
        let zone = Zone::find(&self.target, &self.zone).await?;
        // Without one nobody could tell afterwards what is answered.
        let servers = authorities(&self.target, Some(&zone)).await?;
        let current = zone.read(&self.record, &self.kind).await?;
        let meant = self.meant(&current)?;
        acceptable(&meant)?;
        let mut facts: Vec<String> = current.iter().map(|set| format!("now: {}", set.words())).collect();
        if current == meant {
            facts.push("it is so already; nothing will be sent".to_owned());
        } else {
            facts.extend(self.lowered_long_ago(&current, cx).await?);
        }
        let labels: Vec<&str> = servers.iter().map(|server| server.label.as_str()).collect();
        facts.push(format!("authoritative: {}", labels.join(", ")));
        let mut identity = self.target.identity_json();
        if let Some(fields) = identity.as_object_mut() {
            fields.insert("zone".to_owned(), json!(zone.id));
            fields.insert("prior".to_owned(), json!(current));
        }
        Ok(Ready { identity, facts })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let zone = Zone::find(&self.target, &self.zone).await?;
        let current = zone.read(&self.record, &self.kind).await?;
        let prior = Self::prior_of(cx).unwrap_or_else(|| current.clone());
        let meant = self.meant(&prior)?;
        if current != prior && current != meant {
            return Err(Unsettled::Foreign(current).of(&self.asked(), Came::Already));
        }
        let judged = Meant {
            now: &meant,
            before: &prior,
        };
        if current == meant {
            let (watch, visible) = self.follow((&zone, Came::Already), judged, None, cx).await?;
            let mut outcome = self.outcome(&prior, &meant, None);
            watch.keep(&mut outcome);
            self.tell_lowered(visible, &prior, &mut outcome);
            return Ok(outcome);
        }
        self.lowered_long_ago(&current, cx).await?;
        let change = zone.change(&current, &meant, &cx.key).await?;
        cx.reporter.ack(&change.id).await?;
        let followed = self.follow((&zone, Came::By(&change.id)), judged, None, cx).await;
        let (watch, visible) = followed.map_err(|error| ActionError {
            request_id: error.request_id.clone().or_else(|| change.request_id.clone()),
            ..error
        })?;
        let mut outcome = self.outcome(&prior, &meant, Some(&change.id));
        outcome.result.insert("request_id".to_owned(), json!(change.request_id));
        watch.keep(&mut outcome);
        self.tell_lowered(visible, &prior, &mut outcome);
        Ok(outcome)
    }

    async fn observe(&self, cx: &Cx) -> Result<Observed, ActionError> {
        let zone = Zone::find(&self.target, &self.zone).await?;
        let current = zone.read(&self.record, &self.kind).await?;
        let bound = Self::prior_of(cx);
        let meant = self.meant(bound.as_deref().unwrap_or(&current))?;
        if current != meant {
            return Ok(match bound {
                Some(prior) if prior != current => {
                    let now = standing(&current);
                    Observed::Unknown {
                        detail: format!("the record is neither as before nor as meant: {now}"),
                    }
                }
                Some(_) | None => Observed::NotStarted {
                    detail: "the record is as before".to_owned(),
                },
            });
        }
        let before = bound.clone().unwrap_or_else(|| meant.clone());
        let mut watch = self.watch(&zone, cx).await?;
        watch
            .round(Meant {
                now: &meant,
                before: &before,
            })
            .await;
        let given = |kind: Kind| {
            let rows = watch.rows().into_iter();
            rows.filter(|row| row.kind == kind)
                .all(|row| row.verdict == Verdict::New)
        };
        if !given(Kind::Authority) || (self.until.resolvers && !given(Kind::Resolver)) {
            return Ok(Observed::Running {
                detail: format!("changed; {}", watch.words()),
            });
        }
        let unchanged = bound.as_ref().is_some_and(|prior| *prior == meant);
        let (nominal, wait) = (since(cx.intent_at, cx.speed), self.to_wait(&before));
        if nominal < wait && !unchanged {
            let left = (wait - nominal).as_secs();
            return Ok(Observed::Running {
                detail: format!("changed; the old TTL runs for {left} s more"),
            });
        }
        Ok(Observed::Done(self.found(bound, &meant, &watch, cx)))
    }

    async fn adopt(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let zone = Zone::find(&self.target, &self.zone).await?;
        let current = zone.read(&self.record, &self.kind).await?;
        let bound = Self::prior_of(cx);
        let before = bound.clone().unwrap_or_else(|| current.clone());
        let meant = self.meant(&before)?;
        if current != meant {
            return Err(Unsettled::Foreign(current).of(&self.asked(), Came::Found));
        }
        let judged = Meant {
            now: &meant,
            before: &before,
        };
        let begun = (before != meant).then_some(cx.intent_at);
        let (watch, _visible) = self.follow((&zone, Came::Found), judged, begun, cx).await?;
        Ok(self.found(bound, &meant, &watch, cx))
    }
}

impl Change {
    /// What is told of a change that was found by reading.
    fn found(&self, bound: Option<Vec<RecordSet>>, meant: &[RecordSet], watch: &Watch, cx: &Cx) -> Outcome {
        let prior = bound.unwrap_or_default();
        let mut outcome = self.outcome(&prior, meant, None);
        outcome.summary = format!("{} (found by reading)", outcome.summary);
        watch.keep(&mut outcome);
        // Nobody knows when it became visible: not before the intent where the TTL was waited out, else only now.
        let at = if self.until.ttl_passed {
            cx.intent_at
        } else {
            Utc::now()
        };
        self.tell_lowered(at, &prior, &mut outcome);
        if prior.is_empty() {
            outcome.result.insert("prior".to_owned(), Value::Null);
        }
        outcome
    }
}
