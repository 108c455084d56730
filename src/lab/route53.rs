//! Route 53 as far as it is called (API 2013-04-01): one zone, atomic batches, PENDING and INSYNC by stored times.

use quick_xml::de::from_str;
use rusqlite::OptionalExtension;
use serde::{Deserialize, Serialize};

use super::cloud::{Cloud, IN_SYNC, now_ms};
use super::endpoints::{NEW, RECORD, ZONE, ZONE_ID};
use super::fault::Fault;
use super::world::LabError;
use super::xml::{Answer, leaf, ok, refusal};

const NAMESPACE: &str = "https://route53.amazonaws.com/doc/2013-04-01/";

/// A record set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Set {
    pub name: String,
    pub kind: String,
    pub identifier: Option<String>,
    pub weight: Option<i64>,
    pub ttl: i64,
    pub values: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ChangeRequest {
    change_batch: Batch,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Batch {
    #[serde(default)]
    comment: String,
    changes: Changes,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Changes {
    change: Vec<Change>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    action: String,
    resource_record_set: RawSet,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawSet {
    name: String,
    #[serde(rename = "Type")]
    kind: String,
    set_identifier: Option<String>,
    weight: Option<i64>,
    #[serde(rename = "TTL")]
    ttl: Option<i64>,
    resource_records: Option<RawRecords>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawRecords {
    resource_record: Vec<RawRecord>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawRecord {
    value: String,
}

/// The name of a request: the comment of its batch.
pub fn comment(body: &str) -> Option<String> {
    from_str::<ChangeRequest>(body)
        .ok()
        .map(|request| request.change_batch.comment)
}

/// The zone after the last change, whether or not it is INSYNC.
fn latest(cloud: &Cloud) -> Result<Vec<Set>, LabError> {
    let text: String = cloud.with(|db| {
        Ok(
            db.query_row("select zone from changes order by seq desc limit 1", [], |row| {
                row.get(0)
            })?,
        )
    })?;
    Ok(serde_json::from_str(&text)?)
}

/// The zone as it is served: after the last change that is INSYNC.
pub fn served(cloud: &Cloud) -> Result<Vec<Set>, LabError> {
    let before = if cloud.has(Fault::DnsNotInSync) {
        0
    } else {
        now_ms() - cloud.scaled_ms(IN_SYNC)
    };
    let text: String = cloud.with(|db| {
        let sql = "select zone from changes where submitted_ms <= ? order by seq desc limit 1";
        Ok(db.query_row(sql, [before], |row| row.get(0))?)
    })?;
    Ok(serde_json::from_str(&text)?)
}

/// The share of the traffic in percent that DNS sends to the new application.
pub fn new_share(cloud: &Cloud) -> Result<f64, LabError> {
    let sets = served(cloud)?;
    let application: Vec<&Set> = sets.iter().filter(|set| set.name == RECORD).collect();
    let all_zero = application.iter().all(|set| set.weight == Some(0));
    let weight = |set: &Set| if all_zero { 1 } else { set.weight.unwrap_or(1) };
    let whole: i64 = application.iter().map(|set| weight(set)).sum();
    let new = application
        .iter()
        .filter(|set| set.values.iter().any(|value| value == NEW));
    let new: i64 = new.map(|set| weight(set)).sum();
    // Weights are small enough to be exact.
    Ok(100.0 * new as f64 / whole.max(1) as f64)
}

/// Answers a request.
pub fn answer(cloud: &Cloud, method: &str, path: &str, query: &str, body: &str) -> Result<Answer, LabError> {
    let rest = path.trim_start_matches("/2013-04-01/").trim_end_matches('/');
    let parts: Vec<&str> = rest.split('/').collect();
    match (method, parts.as_slice()) {
        ("GET", ["hostedzone" | "hostedzonesbyname"]) => Ok(zones(parts.first().copied().unwrap_or_default())),
        ("GET", ["hostedzone", id]) if *id == ZONE_ID => Ok(ok(
            format!(
                "<GetHostedZoneResponse xmlns=\"{NAMESPACE}\">{}</GetHostedZoneResponse>",
                zone()
            ),
            false,
        )),
        ("GET", ["hostedzone", id, "rrset"]) if *id == ZONE_ID => list(cloud, query),
        ("POST", ["hostedzone", id, "rrset"]) if *id == ZONE_ID => change(cloud, body),
        (_, ["hostedzone", id, ..]) => Ok(refusal(
            404,
            "NoSuchHostedZone",
            &format!("No hosted zone found with ID: {id}"),
        )),
        ("GET", ["change", id]) => get_change(cloud, id),
        _ => Ok(refusal(
            400,
            "InvalidInput",
            &format!("The lab does not know {method} {path}"),
        )),
    }
}

/// The operation's name, for the log.
pub fn operation(method: &str, path: &str) -> (&'static str, bool) {
    match (method, path) {
        ("POST", path) if path.contains("/rrset") => ("ChangeResourceRecordSets", true),
        (_, path) if path.contains("/rrset") => ("ListResourceRecordSets", false),
        (_, path) if path.contains("/change/") => ("GetChange", false),
        (_, path) if path.ends_with("hostedzone") => ("ListHostedZones", false),
        (_, path) if path.contains("hostedzonesbyname") => ("ListHostedZonesByName", false),
        _ => ("GetHostedZone", false),
    }
}

fn zone() -> String {
    format!(
        "<HostedZone>{}{}{}<Config><PrivateZone>false</PrivateZone></Config>{}</HostedZone>",
        leaf("Id", format!("/hostedzone/{ZONE_ID}")),
        leaf("Name", ZONE),
        leaf("CallerReference", "lab"),
        leaf("ResourceRecordSetCount", "3")
    )
}

fn zones(which: &str) -> Answer {
    let name = if which == "hostedzone" {
        "ListHostedZonesResponse"
    } else {
        "ListHostedZonesByNameResponse"
    };
    let tail = "<IsTruncated>false</IsTruncated><MaxItems>100</MaxItems>";
    let marker = if which == "hostedzone" { "<Marker></Marker>" } else { "" };
    ok(
        format!(
            "<{name} xmlns=\"{NAMESPACE}\"><HostedZones>{}</HostedZones>{marker}{tail}</{name}>",
            zone()
        ),
        false,
    )
}

fn standing() -> Vec<Set> {
    let set = |kind: &str, ttl, value: &str| Set {
        name: ZONE.to_owned(),
        kind: kind.to_owned(),
        identifier: None,
        weight: None,
        ttl,
        values: vec![value.to_owned()],
    };
    vec![
        set("NS", 172_800, "ns1.lab.test."),
        set("SOA", 900, "ns1.lab.test. hostmaster.lab.test. 1 7200 900 1209600 60"),
    ]
}

fn list(cloud: &Cloud, query: &str) -> Result<Answer, LabError> {
    let mut name = String::new();
    let mut kind = String::new();
    let mut most = 300usize;
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        match key.as_ref() {
            "name" => name = dotted(&value),
            "type" => kind = value.into_owned(),
            "maxitems" => most = value.parse().unwrap_or(300),
            _ => {}
        }
    }
    let mut sets = latest(cloud)?;
    sets.extend(standing());
    sets.sort();
    let mut matching = sets
        .into_iter()
        .filter(|set| (set.name.as_str(), set.kind.as_str()) >= (name.as_str(), kind.as_str()));
    let page: String = matching.by_ref().take(most).map(|set| xml(&set)).collect();
    let next = matching.next();
    let more = next.as_ref().map_or_else(String::new, |set| {
        format!(
            "{}{}",
            leaf("NextRecordName", &set.name),
            leaf("NextRecordType", &set.kind)
        )
    });
    let body = format!(
        "<ListResourceRecordSetsResponse xmlns=\"{NAMESPACE}\"><ResourceRecordSets>{page}</ResourceRecordSets>{}{more}{}</ListResourceRecordSetsResponse>",
        leaf("IsTruncated", if next.is_some() { "true" } else { "false" }),
        leaf("MaxItems", most.to_string())
    );
    Ok(ok(body, false))
}

fn xml(set: &Set) -> String {
    let records: String = set
        .values
        .iter()
        .map(|value| format!("<ResourceRecord>{}</ResourceRecord>", leaf("Value", value)))
        .collect();
    format!(
        "<ResourceRecordSet>{}{}{}{}{}<ResourceRecords>{records}</ResourceRecords></ResourceRecordSet>",
        leaf("Name", &set.name),
        leaf("Type", &set.kind),
        set.identifier
            .as_ref()
            .map(|id| leaf("SetIdentifier", id))
            .unwrap_or_default(),
        set.weight
            .map(|weight| leaf("Weight", weight.to_string()))
            .unwrap_or_default(),
        leaf("TTL", set.ttl.to_string()),
    )
}

fn dotted(name: &str) -> String {
    let name = name.to_lowercase();
    if name.ends_with('.') { name } else { format!("{name}.") }
}

fn change(cloud: &Cloud, body: &str) -> Result<Answer, LabError> {
    let request: ChangeRequest = match from_str(body) {
        Ok(request) => request,
        Err(error) => {
            return Ok(refusal(
                400,
                "MalformedXML",
                &format!("The XML you provided is not well-formed: {error}"),
            ));
        }
    };
    let current = latest(cloud)?;
    let zone = match apply(current.clone(), &request.change_batch.changes.change) {
        Ok(zone) => zone,
        Err(words) => return Ok(refusal(400, "InvalidChangeBatch", &format!("[{words}]"))),
    };
    let changed = zone != current;
    let text = serde_json::to_string(&zone)?;
    let now = now_ms();
    let id = cloud.with(|db| {
        let seq: i64 = db.query_row("select max(seq) + 1 from changes", [], |row| row.get(0))?;
        let id = format!("C{seq:08}LAB");
        let sql = "insert into changes values (?, ?, ?, ?, ?)";
        db.execute(sql, (seq, &id, &request.change_batch.comment, now, &text))?;
        Ok(id)
    })?;
    let info = info(&id, "PENDING", now);
    let body =
        format!("<ChangeResourceRecordSetsResponse xmlns=\"{NAMESPACE}\">{info}</ChangeResourceRecordSetsResponse>");
    Ok(ok(body, changed))
}

fn info(id: &str, status: &str, submitted: i64) -> String {
    let when = chrono::DateTime::from_timestamp_millis(submitted).unwrap_or_default();
    format!(
        "<ChangeInfo>{}{}{}</ChangeInfo>",
        leaf("Id", format!("/change/{id}")),
        leaf("Status", status),
        leaf("SubmittedAt", when.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
    )
}

fn get_change(cloud: &Cloud, id: &str) -> Result<Answer, LabError> {
    let submitted: Option<i64> = cloud.with(|db| {
        Ok(db
            .query_row("select submitted_ms from changes where id = ?", [id], |row| row.get(0))
            .optional()?)
    })?;
    let Some(submitted) = submitted else {
        return Ok(refusal(
            404,
            "NoSuchChange",
            &format!("Could not find resource with ID: {id}"),
        ));
    };
    let synced = !cloud.has(Fault::DnsNotInSync) && submitted + cloud.scaled_ms(IN_SYNC) <= now_ms();
    let info = info(id, if synced { "INSYNC" } else { "PENDING" }, submitted);
    Ok(ok(
        format!("<GetChangeResponse xmlns=\"{NAMESPACE}\">{info}</GetChangeResponse>"),
        false,
    ))
}

/// All changes or none, with the refusals of the real service.
fn apply(mut zone: Vec<Set>, changes: &[Change]) -> Result<Vec<Set>, String> {
    for change in changes {
        let raw = &change.resource_record_set;
        let mut values: Vec<String> = raw
            .resource_records
            .iter()
            .flat_map(|records| records.resource_record.iter().map(|record| record.value.clone()))
            .collect();
        values.sort();
        let name = dotted(&raw.name);
        let about = format!("name='{name}', type='{}'", raw.kind);
        let Some(ttl) = raw.ttl else {
            return Err(format!("Missing field 'TTL' in Change with [{about}]"));
        };
        let set = Set {
            name,
            kind: raw.kind.clone(),
            identifier: raw.set_identifier.clone(),
            weight: raw.weight,
            ttl,
            values,
        };
        let same = |known: &Set| known.name == set.name && known.kind == set.kind && known.identifier == set.identifier;
        match change.action.as_str() {
            "CREATE" if zone.iter().any(same) => {
                return Err(format!(
                    "Tried to create resource record set [{about}] but it already exists"
                ));
            }
            "DELETE" => {
                if !zone.contains(&set) {
                    return Err(format!(
                        "Tried to delete resource record set [{about}] but the values provided do not match the current values"
                    ));
                }
                zone.retain(|known| *known != set);
            }
            "CREATE" | "UPSERT" => {
                valid(&set)?;
                zone.retain(|known| !same(known));
                zone.push(set);
            }
            other => return Err(format!("Invalid action {other}")),
        }
    }
    zone.sort();
    together(&zone)?;
    Ok(zone)
}

fn valid(set: &Set) -> Result<(), String> {
    let about = format!("name='{}', type='{}'", set.name, set.kind);
    if !set.name.ends_with(&format!(".{ZONE}")) && set.name != ZONE {
        return Err(format!(
            "RRSet with DNS name {} is not permitted in zone {ZONE}",
            set.name
        ));
    }
    if !(0..=2_147_483_647).contains(&set.ttl) {
        return Err(format!("Invalid TTL for [{about}]"));
    }
    if set.weight.is_some_and(|weight| !(0..=255).contains(&weight)) {
        return Err(format!("Invalid weight for [{about}]: must be between 0 and 255"));
    }
    if set.weight.is_some() != set.identifier.is_some() {
        return Err(format!("Weight and SetIdentifier must be given together for [{about}]"));
    }
    if set.values.is_empty() {
        return Err(format!("Missing resource records for [{about}]"));
    }
    let good = set.values.iter().all(|value| match set.kind.as_str() {
        "A" => value.parse::<std::net::Ipv4Addr>().is_ok(),
        "AAAA" => value.parse::<std::net::Ipv6Addr>().is_ok(),
        _ => !value.is_empty(),
    });
    if !good {
        return Err(format!(
            "Invalid Resource Record: FATAL problem: InvalidIpAddress encountered with [{about}]"
        ));
    }
    if set.kind == "CNAME" && (set.name == ZONE || set.values.len() > 1) {
        return Err(format!(
            "RRSet of type CNAME with DNS name {} is not permitted at apex in zone {ZONE}",
            set.name
        ));
    }
    Ok(())
}

fn together(zone: &[Set]) -> Result<(), String> {
    for set in zone {
        let mut others = zone.iter().filter(|other| other.name == set.name && *other != set);
        let cname = others
            .clone()
            .any(|other| (other.kind == "CNAME") != (set.kind == "CNAME"));
        if cname {
            return Err(format!(
                "RRSet of type CNAME with DNS name {} is not permitted beside other records",
                set.name
            ));
        }
        if others.any(|other| other.kind == set.kind && other.identifier.is_some() != set.identifier.is_some()) {
            return Err(format!(
                "RRSet with DNS name {}, type {}, SetIdentifier … cannot be created as a non-weighted set exists with the same name and type",
                set.name, set.kind
            ));
        }
    }
    Ok(())
}
