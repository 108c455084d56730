//! Route 53 as far as it is called (API 2013-04-01): one zone, atomic batches, PENDING and INSYNC by stored times.

use quick_xml::de::from_str;
use rusqlite::{Connection, OptionalExtension};
use serde::Deserialize;

use super::cloud::{Cloud, IN_SYNC, now_ms};
use super::endpoints::{NEW, RECORD, ZONE, ZONE_ID};
use super::fault::Fault;
use super::world::LabError;
use super::xml::{Answer, leaf, ok, refusal};
use super::zone::{Change, Set, apply, dotted, pointed_at};

const NAMESPACE: &str = "https://route53.amazonaws.com/doc/2013-04-01/";

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

/// The name of a request: the comment of its batch.
pub fn comment(body: &str) -> Option<String> {
    from_str::<ChangeRequest>(body)
        .ok()
        .map(|request| request.change_batch.comment)
}

/// The zone after the last change, whether or not it is INSYNC.
fn latest_of(db: &Connection) -> Result<Vec<Set>, LabError> {
    let text: String = db.query_row("select zone from changes order by seq desc limit 1", [], |row| {
        row.get(0)
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
    let new = application.iter().filter(|set| {
        pointed_at(&sets, set)
            .iter()
            .any(|set| set.values.iter().any(|value| value == NEW))
    });
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
        ttl: Some(ttl),
        values: vec![value.to_owned()],
        alias: None,
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
    let mut sets = cloud.with(latest_of)?;
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
    let body = match &set.alias {
        Some(alias) => format!(
            "<AliasTarget>{}{}{}</AliasTarget>",
            leaf("HostedZoneId", &alias.zone),
            leaf("DNSName", &alias.name),
            leaf("EvaluateTargetHealth", alias.evaluate_target_health.to_string())
        ),
        None => format!(
            "{}<ResourceRecords>{records}</ResourceRecords>",
            set.ttl.map(|ttl| leaf("TTL", ttl.to_string())).unwrap_or_default()
        ),
    };
    format!(
        "<ResourceRecordSet>{}{}{}{}{body}</ResourceRecordSet>",
        leaf("Name", &set.name),
        leaf("Type", &set.kind),
        set.identifier
            .as_ref()
            .map(|id| leaf("SetIdentifier", id))
            .unwrap_or_default(),
        set.weight
            .map(|weight| leaf("Weight", weight.to_string()))
            .unwrap_or_default(),
    )
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
    let now = now_ms();
    // Read, judged and written in one: of two batches at once, the second one is judged by what the first one left.
    let applied = cloud.with(|db| {
        let current = latest_of(db)?;
        let zone = match apply(current.clone(), &request.change_batch.changes.change) {
            Ok(zone) => zone,
            Err(words) => return Ok(Err(words)),
        };
        let changed = zone != current;
        let text = serde_json::to_string(&zone)?;
        let seq: i64 = db.query_row("select max(seq) + 1 from changes", [], |row| row.get(0))?;
        let id = format!("C{seq:08}LAB");
        let sql = "insert into changes values (?, ?, ?, ?, ?)";
        db.execute(sql, (seq, &id, &request.change_batch.comment, now, &text))?;
        Ok(Ok((id, changed)))
    })?;
    let (id, changed) = match applied {
        Ok(applied) => applied,
        Err(words) => return Ok(refusal(400, "InvalidChangeBatch", &format!("[{words}]"))),
    };
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
