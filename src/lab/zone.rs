//! The record sets of the lab's zone, and batches of changes against them: all or none, with the refusals of the real
//! service (Route 53 API 2013-04-01, `ChangeResourceRecordSets`). Pure; must not store.

use serde::{Deserialize, Serialize};

use super::endpoints::{ZONE, ZONE_ID};

/// A record set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Set {
    pub name: String,
    pub kind: String,
    pub identifier: Option<String>,
    pub weight: Option<i64>,
    /// In seconds; an alias has none.
    pub ttl: Option<i64>,
    pub values: Vec<String>,
    #[serde(default)]
    pub alias: Option<Alias>,
}

/// Where an alias points.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Alias {
    pub name: String,
    pub zone: String,
    pub evaluate_target_health: bool,
}

/// A change as the wire has it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Change {
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
    alias_target: Option<RawAlias>,
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

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawAlias {
    hosted_zone_id: String,
    #[serde(rename = "DNSName")]
    dns_name: String,
    evaluate_target_health: bool,
}

/// A name as the zone keeps it: lower-case, with its final dot.
pub fn dotted(name: &str) -> String {
    let name = name.to_lowercase();
    if name.ends_with('.') { name } else { format!("{name}.") }
}

/// The record sets whose values a record set answers with: itself, or of an alias its target's.
pub fn pointed_at<'a>(zone: &'a [Set], set: &'a Set) -> Vec<&'a Set> {
    match &set.alias {
        None => vec![set],
        // An alias of an alias is refused, so this ends.
        Some(alias) => zone
            .iter()
            .filter(|other| other.name == alias.name && other.kind == set.kind && other.alias.is_none())
            .collect(),
    }
}

/// All changes or none.
pub fn apply(mut zone: Vec<Set>, changes: &[Change]) -> Result<Vec<Set>, String> {
    for change in changes {
        let raw = &change.resource_record_set;
        let about = format!("name='{}', type='{}'", dotted(&raw.name), raw.kind);
        let set = read(raw, &about)?;
        let same = |known: &Set| known.name == set.name && known.kind == set.kind && known.identifier == set.identifier;
        match change.action.as_str() {
            "CREATE" if zone.iter().any(same) => {
                return Err(format!(
                    "Tried to create resource record set [{about}] but it already exists"
                ));
            }
            "DELETE" => {
                if !zone.iter().any(same) {
                    return Err(format!(
                        "Tried to delete resource record set [{about}] but it was not found"
                    ));
                }
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

fn read(raw: &RawSet, about: &str) -> Result<Set, String> {
    let mut values: Vec<String> = raw
        .resource_records
        .iter()
        .flat_map(|records| records.resource_record.iter().map(|record| record.value.clone()))
        .collect();
    values.sort();
    let alias = raw.alias_target.as_ref().map(|target| Alias {
        name: dotted(&target.dns_name),
        zone: target.hosted_zone_id.clone(),
        evaluate_target_health: target.evaluate_target_health,
    });
    match (&alias, raw.ttl, values.is_empty()) {
        (Some(_), None, true) | (None, Some(_), false) => {}
        (None, None, _) => return Err(format!("Missing field 'TTL' in Change with [{about}]")),
        (None, Some(_), true) => return Err(format!("Missing resource records for [{about}]")),
        (Some(_), _, _) => {
            return Err(format!(
                "Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords]], but found more than one in Change with [{about}]"
            ));
        }
    }
    Ok(Set {
        name: dotted(&raw.name),
        kind: raw.kind.clone(),
        identifier: raw.set_identifier.clone(),
        weight: raw.weight,
        ttl: raw.ttl,
        values,
        alias,
    })
}

fn valid(set: &Set) -> Result<(), String> {
    let about = format!("name='{}', type='{}'", set.name, set.kind);
    if !set.name.ends_with(&format!(".{ZONE}")) && set.name != ZONE {
        return Err(format!(
            "RRSet with DNS name {} is not permitted in zone {ZONE}",
            set.name
        ));
    }
    if set.ttl.is_some_and(|ttl| !(0..=2_147_483_647).contains(&ttl)) {
        return Err(format!("Invalid TTL for [{about}]"));
    }
    if set.weight.is_some_and(|weight| !(0..=255).contains(&weight)) {
        return Err(format!("Invalid weight for [{about}]: must be between 0 and 255"));
    }
    if set.weight.is_some() != set.identifier.is_some() {
        return Err(format!("Weight and SetIdentifier must be given together for [{about}]"));
    }
    let good = set.values.iter().all(|value| match set.kind.as_str() {
        "A" => value.parse::<std::net::Ipv4Addr>().is_ok(),
        "AAAA" => value.parse::<std::net::Ipv6Addr>().is_ok(),
        "TXT" => strings(value).is_some_and(|strings| strings.iter().all(|string| string.len() <= 255)),
        "MX" => value
            .split_once(' ')
            .is_some_and(|(preference, host)| preference.parse::<u16>().is_ok() && !host.trim().is_empty()),
        _ => !value.is_empty(),
    });
    if !good {
        let why = match set.kind.as_str() {
            "A" | "AAAA" => "InvalidIpAddress",
            "TXT" => "CharacterStringTooLong or InvalidCharacterString",
            _ => "UnparseableValue",
        };
        return Err(format!(
            "Invalid Resource Record: FATAL problem: {why} encountered with [{about}]"
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

/// What stands beside each other after the batch.
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
        if let Some(alias) = &set.alias {
            target(zone, set, alias)?;
        }
    }
    Ok(())
}

/// The lab knows one zone, so an alias can only point into it.
fn target(zone: &[Set], set: &Set, alias: &Alias) -> Result<(), String> {
    let wanted = format!(
        "Tried to create an alias that targets {}, type {} in zone {}, but",
        alias.name, set.kind, alias.zone
    );
    if alias.zone != ZONE_ID || !alias.name.ends_with(&format!(".{ZONE}")) {
        return Err(format!(
            "{wanted} the alias target name does not lie within the target zone"
        ));
    }
    if pointed_at(zone, set).is_empty() {
        return Err(format!("{wanted} that target was not found"));
    }
    Ok(())
}

/// The strings of a TXT value: quoted, with `\"`, `\\` and bytes as three octal digits.
pub fn strings(value: &str) -> Option<Vec<Vec<u8>>> {
    let mut strings: Vec<Vec<u8>> = Vec::new();
    let mut inside = false;
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        match (inside, byte) {
            (false, b'"') => {
                strings.push(Vec::new());
                inside = true;
            }
            (false, b' ') => {}
            (false, _) => return None,
            (true, b'"') => inside = false,
            (true, b'\\') => {
                let first = bytes.next()?;
                let octal = match first {
                    b'0'..=b'3' => {
                        let (second, third) = (bytes.next()?, bytes.next()?);
                        [first, second, third].iter().try_fold(0u8, |all, digit| {
                            let digit = digit.checked_sub(b'0').filter(|digit| *digit < 8)?;
                            all.checked_mul(8)?.checked_add(digit)
                        })?
                    }
                    other => other,
                };
                strings.last_mut()?.push(octal);
            }
            (true, byte) => strings.last_mut()?.push(byte),
        }
    }
    (!inside && !strings.is_empty()).then_some(strings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(action: &str, value: &str, ttl: i64) -> Change {
        Change {
            action: action.to_owned(),
            resource_record_set: RawSet {
                name: "erp.lab.test".to_owned(),
                kind: "A".to_owned(),
                set_identifier: None,
                weight: None,
                ttl: Some(ttl),
                resource_records: Some(RawRecords {
                    resource_record: vec![RawRecord {
                        value: value.to_owned(),
                    }],
                }),
                alias_target: None,
            },
        }
    }

    #[test]
    fn a_delete_that_does_not_name_exactly_what_stands_leaves_the_whole_batch_undone() -> Result<(), String> {
        let zone = apply(Vec::new(), &[change("CREATE", "127.0.0.1", 60)])?;
        for (value, ttl) in [("127.0.0.3", 60), ("127.0.0.1", 61)] {
            let batch = [change("DELETE", value, ttl), change("CREATE", "127.0.0.2", 60)];
            let refused = apply(zone.clone(), &batch);
            assert!(refused.is_err_and(|words| words.contains("do not match the current values")));
        }
        let gone = apply(Vec::new(), &[change("DELETE", "127.0.0.1", 60)]);
        assert!(gone.is_err_and(|words| words.contains("was not found")));
        let twice = apply(zone.clone(), &[change("CREATE", "127.0.0.2", 60)]);
        assert!(twice.is_err_and(|words| words.contains("already exists")));
        let swapped = apply(
            zone,
            &[change("DELETE", "127.0.0.1", 60), change("CREATE", "127.0.0.2", 60)],
        )?;
        assert_eq!(
            swapped.first().map(|set| set.values.clone()),
            Some(vec!["127.0.0.2".to_owned()])
        );
        Ok(())
    }

    #[test]
    fn texts_are_read_with_their_escapes() {
        assert_eq!(
            strings("\"a \\\"b\\\\\" \"ex\\344mple\""),
            Some(vec![b"a \"b\\".to_vec(), b"ex\xe4mple".to_vec()])
        );
        for bad in ["", "a", "\"a", "\"a\" b", "\"\\9"] {
            assert_eq!(strings(bad), None, "{bad}");
        }
    }
}
