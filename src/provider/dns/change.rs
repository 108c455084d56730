//! `dns.lower_ttl`, `dns.flip`, `dns.restore`: one atomic change, then INSYNC, then every authoritative answer, then the
//! resolvers and the old TTL where they are waited for. What was before is bound by the approval, so that the way back is
//! known even when the answer of the change was lost.
//!
//! The batch deletes exactly what was read and creates what is meant, so Route 53 refuses it where somebody else changed the
//! record in between (an UPSERT would overwrite that unseen). What Route 53 accepted is never called failed: what goes
//! wrong from there is in doubt and says what stands.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::provider::action::{Action, ActionError, ActionErrorKind, Cx, Observed, Outcome, Preview, Ready};
use crate::provider::aws::AwsTarget;
use crate::provider::aws::lag::SHOWN_AT_ONCE;
use crate::provider::connection::BuildError;
use crate::provider::registry::Request;

use super::intent::{Goal, To, What};
use super::left::{Back, Place, as_left, bound, is_of, stages};
use super::lookup::Asked;
use super::lowered::Lowered;
use super::reading::address;
use super::records::{Alias, RecordSet, Zone, standing};
use super::refusal::acceptable;
use super::servers::{Kind, Server, authorities, resolvers};
use super::settle::{Came, Followed, Unsettled, Until, longest_ttl};
use super::spelling;
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
    alias: Option<String>,
    alias_zone: Option<String>,
    evaluate_target_health: Option<bool>,
    only: Option<Only>,
    lowered: Option<Lowered>,
    #[serde(default)]
    resolvers: Vec<String>,
    #[serde(default)]
    until: Vec<String>,
}

/// The part that is put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Only {
    Ttl,
}

/// A change of one name's record sets.
pub struct Change {
    target: AwsTarget,
    zone: String,
    asked: Asked,
    what: What,
    lowered: Option<Lowered>,
    resolvers: Vec<Server>,
    until: Until,
}

impl Parameters {
    fn what(self, uses: &str) -> Result<What, BuildError> {
        let fault = |words: &str| BuildError::Parameter(format!("{uses}: {words}"));
        match (uses, self.to, self.alias) {
            ("dns.lower_ttl", _, _) => {
                let ttl = self.ttl.ok_or_else(|| fault("needs ttl"))?;
                Ok(What::LowerTtl(ttl))
            }
            ("dns.flip", Some(To::Values(mut values)), None) => {
                if self.alias_zone.is_some() || self.evaluate_target_health.is_some() {
                    return Err(fault("alias_zone and evaluate_target_health belong to alias:"));
                }
                values.sort();
                let to = Goal::Values(values);
                Ok(What::Flip { to, ttl: self.ttl })
            }
            ("dns.flip", None, Some(name)) => {
                if self.ttl.is_some() {
                    return Err(fault("an alias has no TTL; leave ttl out"));
                }
                let zone = self
                    .alias_zone
                    .ok_or_else(|| fault("alias needs alias_zone: the hosted zone of its target"))?;
                let to = Goal::Alias(Alias {
                    name: spelling::name(&name),
                    zone,
                    evaluate_target_health: self.evaluate_target_health.unwrap_or(false),
                });
                Ok(What::Flip { to, ttl: None })
            }
            ("dns.flip", _, _) => Err(fault("needs to or alias")),
            (_, Some(To::Sets(sets)), _) => {
                let sets = sets.into_iter().map(|set| RecordSet {
                    name: spelling::name(&set.name),
                    ..set
                });
                Ok(match self.only {
                    Some(Only::Ttl) => What::RestoreTtl(sets.collect()),
                    None => What::Restore(sets.collect()),
                })
            }
            // An empty list of record sets: there was nothing before.
            (_, Some(To::Values(values)), _) if values.is_empty() => Ok(What::Restore(Vec::new())),
            (_, _, _) => Err(fault("needs to: the output prior of the change")),
        }
    }
}

impl Change {
    /// From its parameters.
    pub fn new(request: &Request<'_>, target: AwsTarget) -> Result<Self, BuildError> {
        let mut with: Parameters = request.parameters()?;
        let resolvers = resolvers(&with.resolvers, &target)?;
        let mut until = Until::parse(&with.until, &resolvers)?;
        if request.uses == "dns.lower_ttl" {
            until.ttl_passed |= with.wait.unwrap_or(true);
        }
        Ok(Self {
            target,
            zone: with.zone.clone(),
            asked: Asked {
                name: spelling::name(&with.record),
                kind: with.kind.clone(),
            },
            lowered: with.lowered.take(),
            what: with.what(request.uses)?,
            resolvers,
            until,
        })
    }

    /// What is meant to be, given what was.
    fn meant(&self, prior: &[RecordSet]) -> Result<Vec<RecordSet>, ActionError> {
        self.what.meant(&self.asked.name, &self.asked.kind, prior)
    }

    async fn read(&self, zone: &Zone) -> Result<Vec<RecordSet>, ActionError> {
        zone.read(&self.asked.name, &self.asked.kind).await
    }

    /// A way back meets the world as the way left it, or nothing is sent.
    fn as_left(&self, zone: &Zone, current: &[RecordSet], cx: &Cx) -> Result<(), ActionError> {
        let place = Place {
            zone: &zone.id,
            name: &self.asked.name,
            kind: &self.asked.kind,
        };
        let target;
        let back = match &self.what {
            What::Restore(sets) => Back::Sets(sets),
            What::RestoreTtl(sets) => Back::Ttl(sets),
            What::LowerTtl(_) | What::Flip { .. } if is_of(place, &cx.forward) => {
                target = self.meant(current)?;
                Back::Sets(&target)
            }
            // No way back, or the way back of something else.
            What::LowerTtl(_) | What::Flip { .. } => return Ok(()),
        };
        as_left(place, current, back, &cx.forward).map_err(|words| ActionError::new(ActionErrorKind::Permanent, words))
    }

    /// What caches may hold from before: what the approval bound; of a way back, what stands or what the way left.
    fn before(&self, current: &[RecordSet], meant: &[RecordSet], cx: &Cx) -> Vec<RecordSet> {
        if let Some(prior) = bound(&cx.identity, "prior") {
            return prior;
        }
        let left: Vec<RecordSet> = stages(&cx.forward).into_iter().flatten().collect();
        if current == meant && !left.is_empty() {
            left
        } else {
            current.to_vec()
        }
    }

    fn outcome(&self, prior: &[RecordSet], meant: &[RecordSet], change: Option<&str>) -> Outcome {
        let mut result = Map::new();
        result.insert("prior".to_owned(), json!(prior));
        result.insert("change_id".to_owned(), json!(change));
        result.insert("ttl".to_owned(), json!(meant.iter().filter_map(|set| set.ttl).max()));
        Outcome {
            summary: format!("now {}", standing(meant)),
            result,
            evidence: Vec::new(),
        }
    }

    async fn watch(&self, zone: &Zone, cx: &Cx) -> Result<Watch, ActionError> {
        let servers = authorities(&self.target, Some(zone)).await?;
        let mut watch = Watch::new(self.asked.clone(), servers, cx.speed);
        watch.also(self.resolvers.iter().cloned());
        Ok(watch)
    }

    /// How long caches may give the old answer from when the new one is visible. Nobody knows of a change that was found by
    /// reading when that was, so it is counted from now, and so it is where the record was so already.
    fn to_wait(&self, before: &[RecordSet], watch: &Watch) -> Duration {
        if self.until.ttl_passed {
            longest_ttl(before).max(watch.longest_given())
        } else {
            Duration::ZERO
        }
    }

    /// What comes after the change: INSYNC, the authoritative servers, the resolvers, the old TTL. Gives when every
    /// authoritative server had it.
    async fn follow(
        &self,
        (zone, came): (&Zone, Came<'_>),
        watch: &mut Watch,
        meant: Meant<'_>,
        cx: &Cx,
    ) -> Result<DateTime<Utc>, ActionError> {
        let record = Followed {
            zone,
            asked: &self.asked,
            meant,
        };
        let followed = async {
            let change = match came {
                Came::By(id) => Some(id),
                Came::Found | Came::Already => None,
            };
            record.in_sync(change, watch, cx).await?;
            let visible = Utc::now();
            if self.until.resolvers {
                record.resolved(watch, cx).await?;
            }
            record
                .waited_out(self.to_wait(meant.before, watch), visible, cx)
                .await?;
            Ok(visible)
        };
        followed
            .await
            .map_err(|unsettled: Unsettled| unsettled.of(&self.asked, came))
    }

    /// A flip is not sent while caches may hold the record for longer than they should.
    async fn lowered_long_ago(&self, current: &[RecordSet], cx: &Cx) -> Result<Option<String>, ActionError> {
        match &self.lowered {
            Some(lowered) => lowered
                .proven(&self.asked, current, &self.resolvers, cx.speed)
                .await
                .map(Some),
            None => Ok(None),
        }
    }

    /// What a flip has to know of it.
    fn tell_lowered(&self, at: DateTime<Utc>, prior: &[RecordSet], outcome: &mut Outcome) {
        if let What::LowerTtl(ttl) = self.what {
            let old_ttl = prior.iter().filter_map(|set| set.ttl).max().unwrap_or(ttl);
            let lowered = Lowered {
                at,
                old_ttl,
                ttl: ttl.min(old_ttl),
                already: old_ttl <= ttl,
            };
            outcome.result.insert("lowered".to_owned(), json!(lowered));
        }
    }

    /// The words of a batch that was refused: for what stands, where that is not what was read.
    async fn refused(&self, zone: &Zone, current: &[RecordSet], error: ActionError) -> ActionError {
        match self.read(zone).await {
            Ok(now) if error.kind == ActionErrorKind::Permanent && now != current => ActionError {
                request_id: error.request_id,
                ..Unsettled::Foreign(now).of(&self.asked, Came::Already)
            },
            Ok(_) | Err(_) => error,
        }
    }
}

#[async_trait]
impl Action for Change {
    fn preview(&self) -> Preview {
        let (summary, change) = self.what.words(&self.asked.name, &self.asked.kind);
        let mut notes = self.until.notes();
        notes.push("Route 53 refuses it where somebody changed the record since it was read".to_owned());
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
        let current = self.read(&zone).await?;
        self.as_left(&zone, &current, cx)?;
        let meant = self.meant(&current)?;
        acceptable(&meant)?;
        let mut facts: Vec<String> = current.iter().map(|set| format!("now: {}", set.words())).collect();
        if current == meant {
            facts.push("it is so already; nothing will be sent".to_owned());
            if let What::LowerTtl(_) = self.what {
                let words = "nobody knows since when the TTL is that low: a cache may hold an older, longer one";
                facts.push(words.to_owned());
            }
        } else {
            facts.extend(self.lowered_long_ago(&current, cx).await?);
        }
        let labels: Vec<&str> = servers.iter().map(|server| server.label.as_str()).collect();
        facts.push(format!("authoritative: {}", labels.join(", ")));
        let mut identity = self.target.identity_json();
        if let Some(fields) = identity.as_object_mut() {
            fields.insert("zone".to_owned(), json!(zone.id));
            fields.insert("record".to_owned(), json!(self.asked.name));
            fields.insert("type".to_owned(), json!(self.asked.kind));
            fields.insert("prior".to_owned(), json!(current));
            fields.insert("meant".to_owned(), json!(meant));
        }
        Ok(Ready { identity, facts })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let zone = Zone::find(&self.target, &self.zone).await?;
        let current = self.read(&zone).await?;
        self.as_left(&zone, &current, cx)?;
        let prior = bound(&cx.identity, "prior").unwrap_or_else(|| current.clone());
        let meant = self.meant(&prior)?;
        if current != prior && current != meant {
            return Err(Unsettled::Foreign(current).of(&self.asked, Came::Already));
        }
        let before = self.before(&current, &meant, cx);
        let judged = Meant {
            now: &meant,
            before: &before,
        };
        let mut watch = self.watch(&zone, cx).await?;
        if current == meant {
            let visible = self.follow((&zone, Came::Already), &mut watch, judged, cx).await?;
            let mut outcome = self.outcome(&prior, &meant, None);
            watch.keep(&mut outcome);
            self.tell_lowered(visible, &prior, &mut outcome);
            return Ok(outcome);
        }
        self.lowered_long_ago(&current, cx).await?;
        if before.iter().chain(&meant).any(|set| set.alias.is_some()) {
            watch.remember().await;
        }
        let change = match zone.swap(&current, &meant, &cx.key).await {
            Ok(change) => change,
            Err(error) => return Err(self.refused(&zone, &current, error).await),
        };
        cx.reporter.ack(&change.id).await?;
        let followed = self.follow((&zone, Came::By(&change.id)), &mut watch, judged, cx).await;
        let visible = followed.map_err(|error| ActionError {
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
        let current = self.read(&zone).await?;
        if let Err(changed) = self.as_left(&zone, &current, cx) {
            return Ok(Observed::Unknown {
                detail: changed.message,
            });
        }
        let bound = bound(&cx.identity, "prior");
        let meant = self.meant(bound.as_deref().unwrap_or(&current))?;
        if current != meant {
            return Ok(match bound {
                Some(prior) if prior != current => {
                    let now = standing(&current);
                    Observed::Unknown {
                        detail: format!("the record is neither as before nor as meant: {now}"),
                    }
                }
                Some(_) | None => cx.nothing_shows(SHOWN_AT_ONCE, "the record is as before".to_owned()),
            });
        }
        let before = self.before(&current, &meant, cx);
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
        let wait = self.to_wait(&before, &watch);
        if !wait.is_zero() {
            return Ok(Observed::Running {
                detail: format!(
                    "changed, nobody knows when that became visible; caches may hold what was before for {} s",
                    wait.as_secs()
                ),
            });
        }
        Ok(Observed::Done(self.found(bound, &meant, &watch, Utc::now())))
    }

    async fn adopt(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let zone = Zone::find(&self.target, &self.zone).await?;
        let current = self.read(&zone).await?;
        let bound = bound(&cx.identity, "prior");
        let meant = self.meant(bound.as_deref().unwrap_or(&current))?;
        if current != meant {
            return Err(Unsettled::Foreign(current).of(&self.asked, Came::Found));
        }
        let before = self.before(&current, &meant, cx);
        let judged = Meant {
            now: &meant,
            before: &before,
        };
        let mut watch = self.watch(&zone, cx).await?;
        let visible = self.follow((&zone, Came::Found), &mut watch, judged, cx).await?;
        Ok(self.found(bound, &meant, &watch, visible))
    }
}

impl Change {
    /// What is told of a change that was found by reading, and was seen on every authoritative server at `visible`.
    fn found(
        &self,
        bound: Option<Vec<RecordSet>>,
        meant: &[RecordSet],
        watch: &Watch,
        visible: DateTime<Utc>,
    ) -> Outcome {
        let prior = bound.unwrap_or_default();
        let mut outcome = self.outcome(&prior, meant, None);
        outcome.summary = format!("{} (found by reading)", outcome.summary);
        watch.keep(&mut outcome);
        self.tell_lowered(visible, &prior, &mut outcome);
        if prior.is_empty() {
            outcome.result.insert("prior".to_owned(), Value::Null);
        }
        outcome
    }
}
