//! What Route 53 would refuse, refused before anything is sent. Pure; knows only what a batch says by itself: what stands
//! beside it in the zone is Route 53's own to judge.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::provider::action::{ActionError, ActionErrorKind};

use super::records::RecordSet;
use super::spelling::{LONGEST_STRING, strings};

/// The largest TTL in seconds (RFC 2181, section 8).
const LONGEST_TTL: i64 = 2_147_483_647;

/// Refuses record sets that Route 53 would refuse: weights, TTLs, values that do not fit their type, simple beside
/// weighted.
pub fn acceptable(sets: &[RecordSet]) -> Result<(), ActionError> {
    let fault = sets.iter().find_map(fault_of).or_else(|| together(sets));
    fault.map_or(Ok(()), |(name, words)| {
        let words = format!("{name}: {words}; Route 53 would refuse it, nothing was sent");
        Err(ActionError::new(ActionErrorKind::Permanent, words))
    })
}

fn fault_of(set: &RecordSet) -> Option<(&str, String)> {
    let fits = |value: &str| match set.kind.as_str() {
        "A" => value.parse::<Ipv4Addr>().is_ok(),
        "AAAA" => value.parse::<Ipv6Addr>().is_ok(),
        "TXT" => strings(value).is_some_and(|strings| strings.iter().all(|string| string.len() <= LONGEST_STRING)),
        "MX" => {
            let mut parts = value.split_whitespace();
            let preference = parts.next().is_some_and(|part| part.parse::<u16>().is_ok());
            preference && parts.next().is_some() && parts.next().is_none()
        }
        _ => !value.is_empty(),
    };
    let meaning = set.meaning();
    let words = if let Some(alias) = &set.alias {
        if set.ttl.is_some() || !set.values.is_empty() {
            "an alias has neither TTL nor values".to_owned()
        } else if alias.zone.is_empty() || alias.name.len() < 2 {
            "an alias names its target and the target's hosted zone".to_owned()
        } else {
            return weighted(set).map(|words| (set.name.as_str(), words));
        }
    } else if set.values.is_empty() {
        "there are no values".to_owned()
    } else if let Some(bad) = set.values.iter().find(|value| !fits(value)) {
        format!("{bad} is no value of type {}", set.kind)
    } else if meaning
        .iter()
        .zip(meaning.iter().skip(1))
        .any(|(one, other)| one == other)
    {
        // They are sorted.
        "a value stands twice".to_owned()
    } else if set.kind == "CNAME" && set.values.len() > 1 {
        "a CNAME has one value".to_owned()
    } else if !set.ttl.is_some_and(|ttl| (0..=LONGEST_TTL).contains(&ttl)) {
        match set.ttl {
            Some(ttl) => format!("{ttl} is no TTL"),
            None => "there is no TTL".to_owned(),
        }
    } else {
        weighted(set)?
    };
    Some((&set.name, words))
}

fn weighted(set: &RecordSet) -> Option<String> {
    let words = if set.weight.is_some_and(|weight| !(0..=255).contains(&weight)) {
        "a weight is from 0 to 255"
    } else if set.weight.is_some() != set.set_identifier.is_some() {
        "a weight and a set identifier belong together"
    } else {
        return None;
    };
    Some(words.to_owned())
}

fn together(sets: &[RecordSet]) -> Option<(&str, String)> {
    let (first, rest) = sets.split_first()?;
    let (mixed, ttls) = (
        rest.iter().any(|set| set.weight.is_some() != first.weight.is_some()),
        rest.iter().any(|set| set.ttl != first.ttl),
    );
    let words = if mixed {
        "a simple record beside weighted ones"
    } else if rest.iter().any(|set| set.set_identifier == first.set_identifier) {
        "a record set stands twice"
    } else if ttls {
        "weighted members share one TTL"
    } else {
        return None;
    };
    Some((&first.name, words.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(values: &[&str]) -> RecordSet {
        RecordSet {
            name: "a.test.".to_owned(),
            kind: "A".to_owned(),
            set_identifier: None,
            weight: None,
            ttl: Some(60),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
            alias: None,
        }
    }

    #[test]
    fn what_route_53_would_refuse_is_refused_with_its_reason() {
        let weighted = |id: &str, weight: i64| RecordSet {
            set_identifier: Some(id.to_owned()),
            weight: Some(weight),
            ..set(&["10.0.0.1"])
        };
        let cases = [
            (vec![set(&[])], "no values"),
            (vec![set(&["10.0.0.256"])], "is no value of type A"),
            (vec![set(&["::1"])], "is no value of type A"),
            (vec![set(&["10.0.0.1", "10.0.0.1"])], "twice"),
            (
                vec![RecordSet {
                    ttl: Some(-1),
                    ..set(&["10.0.0.1"])
                }],
                "is no TTL",
            ),
            (vec![weighted("a", 256)], "from 0 to 255"),
            (
                vec![RecordSet {
                    set_identifier: None,
                    ..weighted("a", 1)
                }],
                "belong together",
            ),
            (vec![set(&["10.0.0.1"]), weighted("a", 1)], "beside weighted"),
            (vec![weighted("a", 1), weighted("a", 2)], "stands twice"),
            (
                vec![
                    weighted("a", 1),
                    RecordSet {
                        ttl: Some(61),
                        ..weighted("b", 1)
                    },
                ],
                "share one TTL",
            ),
        ];
        for (sets, words) in cases {
            let refused = acceptable(&sets).map_err(|error| error.message);
            assert!(
                refused.clone().is_err_and(|said| said.contains(words)),
                "{words}: {refused:?}"
            );
        }
        assert!(acceptable(&[set(&["10.0.0.1"])]).is_ok());
        assert!(acceptable(&[weighted("a", 0), weighted("b", 255)]).is_ok());
        assert!(acceptable(&[]).is_ok());
    }
}
