//! `dns.lower_ttl`, `dns.flip`, `dns.restore`: one atomic change, then INSYNC, then the authoritative answer, then the
//! old TTL where it has to run out. What was before is bound by the approval, so that the way back is known even when
//! the answer of the change was lost.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::provider::action::{Action, ActionError, ActionErrorKind, Cx, Observed, Outcome, Preview, Progress, Ready};
use crate::provider::aws::{AwsTarget, accepted};
use crate::provider::connection::BuildError;
use crate::provider::registry::Request;

use super::lookup::{Asked, address, ask, server_of};
use super::records::{RecordSet, Zone, canonical};

/// How long INSYNC and the authoritative answer may take.
const SETTLE: Duration = Duration::from_secs(10 * 60);

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
    wait_ttl: bool,
}

impl Change {
    /// From its parameters.
    pub fn new(request: &Request<'_>, target: AwsTarget) -> Result<Self, BuildError> {
        let with: Parameters = request.parameters()?;
        for word in &with.until {
            match word.as_str() {
                "authoritative" | "ttl_passed" => {}
                "resolvers" | "drained" => return Err(BuildError::NotAvailable(format!("until: {word}"))),
                other => return Err(BuildError::Parameter(format!("until: {other} is not known"))),
            }
        }
        let missing = |name: &str| BuildError::Parameter(format!("{} needs {name}", request.uses));
        let ttl_passed = with.until.iter().any(|word| word == "ttl_passed");
        let (what, wait_ttl) = match (request.uses, with.to) {
            ("dns.lower_ttl", _) => (
                What::LowerTtl(with.ttl.ok_or_else(|| missing("ttl"))?),
                with.wait.unwrap_or(true),
            ),
            ("dns.flip", Some(To::Values(mut values))) => {
                values.sort();
                (What::Flip { values, ttl: with.ttl }, ttl_passed)
            }
            ("dns.restore", Some(To::Sets(sets))) if with.only == Some(Only::Ttl) => {
                (What::RestoreTtl(sets), ttl_passed)
            }
            ("dns.restore", Some(To::Sets(sets))) => (What::Restore(sets), ttl_passed),
            // An empty list of record sets: there was nothing before.
            ("dns.restore", Some(To::Values(values))) if values.is_empty() => (What::Restore(Vec::new()), ttl_passed),
            _ => return Err(missing("to")),
        };
        Ok(Self {
            target,
            zone: with.zone,
            record: canonical(&with.record),
            kind: with.kind,
            what,
            wait_ttl,
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
        let ttl = before.iter().map(|set| set.ttl).max().unwrap_or(0);
        if self.wait_ttl {
            Duration::from_secs(u64::try_from(ttl).unwrap_or(0))
        } else {
            Duration::ZERO
        }
    }

    async fn answers(&self, meant: &[RecordSet]) -> Result<bool, ActionError> {
        let asked = Asked {
            name: self.record.clone(),
            kind: self.kind.clone(),
        };
        let answer = ask(server_of(&self.target)?, &asked).await?;
        let weighted = meant.iter().any(|set| set.weight.is_some());
        Ok(meant.iter().any(|set| {
            let ttl = u32::try_from(set.ttl).is_ok_and(|ttl| ttl == answer.ttl);
            set.values == answer.values && (ttl || weighted)
        }) || (meant.is_empty() && answer.values.is_empty()))
    }

    /// INSYNC, then the authoritative server gives the new answer.
    async fn settle(&self, zone: &Zone, change: Option<&str>, meant: &[RecordSet], cx: &Cx) -> Result<(), ActionError> {
        let beat = Duration::from_secs(2);
        let mut waited = Duration::ZERO;
        loop {
            let synced = match change {
                Some(change) => zone.in_sync(change).await,
                None => Ok(true),
            };
            let state = match synced {
                Ok(true) => match self.answers(meant).await {
                    Ok(true) => return Ok(()),
                    Ok(false) => "INSYNC; the authoritative server still gives another answer".to_owned(),
                    Err(error) if error.kind == ActionErrorKind::Transient => error.message,
                    Err(error) if change.is_some() => return Err(accepted(error)),
                    Err(error) => return Err(error),
                },
                Ok(false) => "PENDING".to_owned(),
                Err(error) if error.kind == ActionErrorKind::Transient => error.message,
                Err(error) if change.is_some() => return Err(accepted(error)),
                Err(error) => return Err(error),
            };
            if waited >= SETTLE {
                let words = format!("{}: the change was made but did not settle: {state}", self.record);
                return Err(ActionError::new(ActionErrorKind::Permanent, words));
            }
            cx.reporter.progress(Progress::State(state));
            cx.pause(beat).await?;
            waited += beat;
        }
    }

    async fn wait_out(&self, wait: Duration, cx: &Cx) -> Result<(), ActionError> {
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
        let mut notes = vec!["waits for INSYNC, then for the authoritative server's answer".to_owned()];
        if self.wait_ttl {
            notes.push("then waits until the old TTL has run out".to_owned());
        }
        let commands = vec![format!("route53:ChangeResourceRecordSets zone {}: {change}", self.zone)];
        Preview {
            summary,
            commands,
            notes,
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        self.target.prove_account().await?;
        // Without one nobody could tell afterwards what is answered.
        server_of(&self.target)?;
        let zone = Zone::find(&self.target, &self.zone).await?;
        let current = zone.read(&self.record, &self.kind).await?;
        let meant = self.meant(&current)?;
        let mut facts: Vec<String> = current.iter().map(|set| format!("now: {}", set.words())).collect();
        if current == meant {
            facts.push("it is so already; nothing will be sent".to_owned());
        }
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
            let now: Vec<String> = current.iter().map(RecordSet::words).collect();
            let words = format!("{} was changed by somebody else: now {}", self.record, now.join("; "));
            return Err(ActionError::new(ActionErrorKind::Permanent, words));
        }
        if current == meant {
            self.settle(&zone, None, &meant, cx).await?;
            return Ok(self.outcome(&prior, &meant, None));
        }
        let change = zone.change(&current, &meant, &cx.key).await?;
        cx.reporter.ack(&change.id).await?;
        let settled = self.settle(&zone, Some(&change.id), &meant, cx).await;
        settled.map_err(|error| ActionError {
            request_id: error.request_id.clone().or_else(|| change.request_id.clone()),
            ..error
        })?;
        self.wait_out(self.to_wait(&current), cx).await?;
        let mut outcome = self.outcome(&prior, &meant, Some(&change.id));
        outcome.result.insert("request_id".to_owned(), json!(change.request_id));
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
                    let now: Vec<String> = current.iter().map(RecordSet::words).collect();
                    Observed::Unknown {
                        detail: format!("the record is neither as before nor as meant: {}", now.join("; ")),
                    }
                }
                Some(_) | None => Observed::NotStarted {
                    detail: "the record is as before".to_owned(),
                },
            });
        }
        let unchanged = bound.as_ref().is_some_and(|prior| *prior == meant);
        if !self.answers(&meant).await? {
            return Ok(Observed::Running {
                detail: "changed; not yet answered by the authoritative server".to_owned(),
            });
        }
        let before = bound.clone().unwrap_or_else(|| meant.clone());
        let nominal = (chrono::Utc::now() - cx.intent_at)
            .to_std()
            .unwrap_or_default()
            .mul_f64(cx.speed.max(1.0));
        let wait = self.to_wait(&before);
        if nominal < wait && !unchanged {
            let left = (wait - nominal).as_secs();
            return Ok(Observed::Running {
                detail: format!("changed; the old TTL runs for {left} s more"),
            });
        }
        let prior = bound.unwrap_or_default();
        let mut outcome = self.outcome(&prior, &meant, None);
        outcome.summary = format!("{} (found by reading)", outcome.summary);
        if prior.is_empty() {
            outcome.result.insert("prior".to_owned(), Value::Null);
        }
        Ok(Observed::Done(outcome))
    }
}
