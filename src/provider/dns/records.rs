//! Record sets of one name and type, and the calls that read and change them (Route 53 API 2013-04-01).

use aws_sdk_route53::Client;
use aws_sdk_route53::operation::RequestId;
use aws_sdk_route53::types::builders::ChangeBatchBuilder;
use aws_sdk_route53::types::{
    AliasTarget, Change, ChangeAction, ChangeBatch, ChangeStatus, ResourceRecord, ResourceRecordSet, RrType,
};
use serde::{Deserialize, Serialize};

use crate::provider::action::{ActionError, ActionErrorKind};
use crate::provider::aws::{AwsTarget, Sent, classify};

use super::refusal::acceptable;
use super::spelling;

/// One record set as it is bound, journaled and put back. Two of them are equal where they mean the same, however they are
/// spelled.
#[derive(Debug, Clone, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordSet {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_identifier: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<i64>,
    /// In seconds; an alias has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<i64>,
    /// As Route 53 lists them, sorted; an alias has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<Alias>,
}

/// Where an alias points (Route 53 API, `AliasTarget`).
#[derive(Debug, Clone, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alias {
    pub name: String,
    /// The hosted zone of the target, which for a load balancer is its own, not the record's.
    pub zone: String,
    pub evaluate_target_health: bool,
}

impl PartialEq for Alias {
    fn eq(&self, other: &Self) -> bool {
        spelling::name(&self.name) == spelling::name(&other.name)
            && self.zone == other.zone
            && self.evaluate_target_health == other.evaluate_target_health
    }
}

impl PartialEq for RecordSet {
    fn eq(&self, other: &Self) -> bool {
        (self.key(), self.ttl, &self.alias) == (other.key(), other.ttl, &other.alias)
            && self.meaning() == other.meaning()
    }
}

impl RecordSet {
    /// What tells it from others of its name.
    fn key(&self) -> (&str, &str, Option<&str>, Option<i64>) {
        (&self.name, &self.kind, self.set_identifier.as_deref(), self.weight)
    }

    /// Its values in one spelling, sorted.
    pub fn meaning(&self) -> Vec<String> {
        meaning(&self.kind, &self.values)
    }

    /// For people.
    pub fn words(&self) -> String {
        let weight = self
            .weight
            .map(|weight| format!(" weight {weight}"))
            .unwrap_or_default();
        let ttl = self.ttl.map(|ttl| format!(" TTL {ttl}")).unwrap_or_default();
        let (kind, to) = match &self.alias {
            Some(alias) => ("alias ", alias.words()),
            None => ("", self.values.join(", ")),
        };
        format!("{} {kind}{}{ttl}{weight} → {to}", self.name, self.kind)
    }
}

impl Alias {
    /// For people.
    pub fn words(&self) -> String {
        let health = match self.evaluate_target_health {
            true => ", if it is healthy",
            false => "",
        };
        format!("{} in zone {}{health}", self.name, self.zone)
    }
}

/// Values in one spelling, sorted.
pub fn meaning(kind: &str, values: &[String]) -> Vec<String> {
    let mut values: Vec<String> = values.iter().map(|value| spelling::canonical(kind, value)).collect();
    values.sort();
    values
}

/// Record sets of one name in their order.
pub fn in_order(mut sets: Vec<RecordSet>) -> Vec<RecordSet> {
    sets.sort_by(|one, other| one.key().cmp(&other.key()));
    sets
}

/// What stands, for people.
pub fn standing(sets: &[RecordSet]) -> String {
    let words: Vec<String> = sets.iter().map(RecordSet::words).collect();
    match words.as_slice() {
        [] => "nothing".to_owned(),
        words => words.join("; "),
    }
}

fn permanent(words: impl Into<String>) -> ActionError {
    ActionError::new(ActionErrorKind::Permanent, words)
}

/// A zone and its client.
pub struct Zone {
    /// Tries again.
    reads: Client,
    /// Never does.
    writes: Client,
    pub id: String,
}

/// A change that Route 53 accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    pub id: String,
    pub request_id: Option<String>,
}

impl Zone {
    /// Finds the zone by id, or by name.
    pub async fn find(target: &AwsTarget, zone: &str) -> Result<Self, ActionError> {
        let reads = Client::new(target.reading().await);
        let writes = Client::new(target.config().await);
        if !zone.contains('.') {
            let id = zone.trim_start_matches("/hostedzone/").to_owned();
            return Ok(Self { reads, writes, id });
        }
        let wanted = spelling::name(zone);
        let found = reads
            .list_hosted_zones_by_name()
            .dns_name(&wanted)
            .send()
            .await
            .map_err(|error| classify(error, "route53:ListHostedZonesByName", Sent::Read))?;
        let mut ids = found
            .hosted_zones()
            .iter()
            .filter(|zone| zone.name() == wanted)
            .map(|zone| zone.id());
        match (ids.next(), ids.next()) {
            (Some(id), None) => {
                let id = id.trim_start_matches("/hostedzone/").to_owned();
                Ok(Self { reads, writes, id })
            }
            (None, _) => Err(permanent(format!(
                "there is no hosted zone {wanted} in this account; check the name"
            ))),
            (Some(_), Some(_)) => Err(permanent(format!(
                "there are several zones {wanted}; write the zone's id"
            ))),
        }
    }

    /// The record sets of a name and type, sorted.
    pub async fn read(&self, name: &str, kind: &str) -> Result<Vec<RecordSet>, ActionError> {
        let wanted = spelling::name(name);
        let answer = self
            .reads
            .list_resource_record_sets()
            .hosted_zone_id(&self.id)
            .start_record_name(&wanted)
            .start_record_type(RrType::from(kind))
            .send()
            .await
            .map_err(|error| classify(error, "route53:ListResourceRecordSets", Sent::Read))?;
        let mut sets = Vec::new();
        for set in answer.resource_record_sets() {
            if spelling::name(set.name()) == wanted && set.r#type().as_str() == kind {
                sets.push(ours(set)?);
            }
        }
        Ok(in_order(sets))
    }

    /// The names of the servers that the zone is delegated to.
    pub async fn name_servers(&self) -> Result<Vec<String>, ActionError> {
        let answer = self
            .reads
            .get_hosted_zone()
            .id(&self.id)
            .send()
            .await
            .map_err(|error| classify(error, "route53:GetHostedZone", Sent::Read))?;
        let mut names = answer
            .delegation_set()
            .map(|set| set.name_servers().to_vec())
            .unwrap_or_default();
        names.sort();
        Ok(names)
    }

    /// Puts `meant` in the place of exactly `current`, in one atomic batch of DELETE and CREATE: Route 53 refuses it where
    /// anybody changed one of these record sets since they were read.
    pub async fn swap(
        &self,
        current: &[RecordSet],
        meant: &[RecordSet],
        comment: &str,
    ) -> Result<Accepted, ActionError> {
        acceptable(meant)?;
        let mut batch = ChangeBatch::builder().comment(comment);
        for old in current.iter().filter(|old| !meant.contains(old)) {
            batch = batch.changes(change(ChangeAction::Delete, old)?);
        }
        for new in meant.iter().filter(|new| !current.contains(new)) {
            batch = batch.changes(change(ChangeAction::Create, new)?);
        }
        self.send(batch).await
    }

    async fn send(&self, batch: ChangeBatchBuilder) -> Result<Accepted, ActionError> {
        let batch = batch.build().map_err(|error| permanent(error.to_string()))?;
        let answer = self
            .writes
            .change_resource_record_sets()
            .hosted_zone_id(&self.id)
            .change_batch(batch)
            .send()
            .await
            .map_err(|error| classify(error, "route53:ChangeResourceRecordSets", Sent::Mutation))?;
        let id = answer
            .change_info()
            .map(|info| info.id().trim_start_matches("/change/"));
        Ok(Accepted {
            id: id.unwrap_or_default().to_owned(),
            request_id: answer.request_id().map(str::to_owned),
        })
    }

    /// Whether a change is INSYNC.
    pub async fn in_sync(&self, change: &str) -> Result<bool, ActionError> {
        let answer = self
            .reads
            .get_change()
            .id(change)
            .send()
            .await
            .map_err(|error| classify(error, "route53:GetChange", Sent::Read))?;
        Ok(answer
            .change_info()
            .is_some_and(|info| *info.status() == ChangeStatus::Insync))
    }
}

fn ours(set: &ResourceRecordSet) -> Result<RecordSet, ActionError> {
    let routed = set.region().is_some()
        || set.geo_location().is_some()
        || set.failover().is_some()
        || set.multi_value_answer().is_some()
        || set.health_check_id().is_some();
    if routed {
        return Err(permanent(format!(
            "{} has a routing policy that could not be put back exactly",
            set.name()
        )));
    }
    let mut values: Vec<String> = set
        .resource_records()
        .iter()
        .map(|record| record.value().to_owned())
        .collect();
    values.sort();
    Ok(RecordSet {
        name: spelling::name(set.name()),
        kind: set.r#type().as_str().to_owned(),
        set_identifier: set.set_identifier().map(str::to_owned),
        weight: set.weight(),
        ttl: set.ttl(),
        values,
        alias: set.alias_target().map(|target| Alias {
            name: spelling::name(target.dns_name()),
            zone: target.hosted_zone_id().to_owned(),
            evaluate_target_health: target.evaluate_target_health(),
        }),
    })
}

fn change(action: ChangeAction, set: &RecordSet) -> Result<Change, ActionError> {
    let mut builder = ResourceRecordSet::builder()
        .name(&set.name)
        .r#type(RrType::from(set.kind.as_str()))
        .set_set_identifier(set.set_identifier.clone())
        .set_weight(set.weight)
        .set_ttl(set.ttl);
    if let Some(alias) = &set.alias {
        let target = AliasTarget::builder()
            .hosted_zone_id(&alias.zone)
            .dns_name(&alias.name)
            .evaluate_target_health(alias.evaluate_target_health)
            .build()
            .map_err(|error| permanent(error.to_string()))?;
        builder = builder.alias_target(target);
    }
    for value in &set.values {
        let record = ResourceRecord::builder()
            .value(value)
            .build()
            .map_err(|error| permanent(error.to_string()))?;
        builder = builder.resource_records(record);
    }
    let set = builder.build().map_err(|error| permanent(error.to_string()))?;
    Change::builder()
        .action(action)
        .resource_record_set(set)
        .build()
        .map_err(|error| permanent(error.to_string()))
}
