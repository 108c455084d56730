//! The stages of a shift: weights, the members that carry them, and whether an observed share can be chance. Pure.

use std::time::Duration;

use serde::Deserialize;

use crate::provider::action::{ActionError, ActionErrorKind};
use crate::provider::connection::BuildError;
use crate::provider::span::Within;

use super::records::{RecordSet, in_order, meaning};

/// The member with the values from before.
pub const OLD: &str = "pointsman-old";
/// The member with the new values.
pub const NEW: &str = "pointsman-new";
/// How long a stage is held that says nothing else.
const HOLD: Duration = Duration::from_secs(60);
/// What is less likely than this is no chance.
const CHANCE: f64 = 1e-6;

/// A stage as a runbook writes it.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged)]
pub enum Written {
    Share(u8),
    Held { share: u8, hold: Within },
}

/// A stage: the share of the new side in percent, held for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage {
    pub share: u8,
    pub hold: Duration,
}

/// The stages, rising.
pub fn stages(written: &[Written], hold: Option<Within>) -> Result<Vec<Stage>, BuildError> {
    let hold = hold.map_or(HOLD, |hold| hold.0);
    let stages: Vec<Stage> = written
        .iter()
        .map(|stage| match *stage {
            Written::Share(share) => Stage { share, hold },
            Written::Held { share, hold } => Stage { share, hold: hold.0 },
        })
        .collect();
    let rising = stages.iter().zip(stages.iter().skip(1)).all(|(a, b)| a.share < b.share);
    let within = stages.iter().all(|stage| (1..=100).contains(&stage.share));
    if stages.is_empty() || !rising || !within {
        let words = "stages: write rising shares from 1 to 100: [5, 25, 50, 100]";
        return Err(BuildError::Parameter(words.to_owned()));
    }
    Ok(stages)
}

/// The share that our own two members give the new side, where `sets` are those.
pub fn share_of(sets: &[RecordSet]) -> Option<u8> {
    let [one, other] = sets else { return None };
    let weight = |id: &str| {
        let member = [one, other]
            .into_iter()
            .find(|set| set.set_identifier.as_deref() == Some(id));
        member.and_then(|set| set.weight)
    };
    match (weight(OLD), weight(NEW)) {
        (Some(old), Some(new)) if old + new == 100 => u8::try_from(new).ok(),
        _ => None,
    }
}

/// The two members at a share, in the place of `prior`. They share one TTL, as Route 53 wants it.
pub fn members(prior: &[RecordSet], to: &[String], ttl: Option<i64>, share: u8) -> Result<Vec<RecordSet>, ActionError> {
    let permanent = |words: String| ActionError::new(ActionErrorKind::Permanent, words);
    let old = match prior {
        [simple] if simple.set_identifier.is_none() => simple,
        [] => return Err(permanent("the record does not exist; check its name".to_owned())),
        sets if share_of(sets).is_some() => sets
            .iter()
            .find(|set| set.set_identifier.as_deref() == Some(OLD))
            .ok_or_else(|| permanent("the old member is missing; look at the record".to_owned()))?,
        [first, ..] => {
            let words = format!(
                "{} has weights or a routing policy of its own; a shift begins from a simple record",
                first.name
            );
            return Err(permanent(words));
        }
    };
    if old.alias.is_some() {
        let words = format!(
            "{} is an alias; a shift begins from a record with values and a TTL",
            old.name
        );
        return Err(permanent(words));
    }
    if old.meaning() == meaning(&old.kind, to) {
        return Err(permanent(format!(
            "{} has these values already; to: names the new side",
            old.name
        )));
    }
    let member = |id: &str, weight: u8, values: &[String]| RecordSet {
        name: old.name.clone(),
        kind: old.kind.clone(),
        set_identifier: Some(id.to_owned()),
        weight: Some(i64::from(weight)),
        ttl: ttl.or(old.ttl),
        values: values.to_vec(),
        alias: None,
    };
    Ok(in_order(vec![
        member(NEW, share, to),
        member(OLD, 100u8.saturating_sub(share), &old.values),
    ]))
}

/// Whether `hits` of `asked` independent answers can be chance where each is a hit with a chance of `share` percent: the
/// tail of the binomial distribution on that side.
pub fn may_be_chance(hits: u32, asked: u32, share: u8) -> bool {
    let p = f64::from(share) / 100.0;
    if share == 0 || share >= 100 {
        return hits == if share == 0 { 0 } else { asked };
    }
    // Logarithms, because the powers vanish.
    let mut log_choose = 0.0;
    let (mut below, mut above) = (0.0, 0.0);
    for k in 0..=asked {
        if k > 0 {
            log_choose += (f64::from(asked - k + 1) / f64::from(k)).ln();
        }
        let log = f64::from(k).mul_add(p.ln(), f64::from(asked - k) * (1.0 - p).ln()) + log_choose;
        if k <= hits {
            below += log.exp();
        }
        if k >= hits {
            above += log.exp();
        }
    }
    below > CHANCE && above > CHANCE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_has_two_sides_and_certainty_has_none() {
        // Against the tails as R's pbinom gives them: P(X ≥ 20 | 50, 0.05) = 1.6e-13, P(X ≥ 8) = 3.0e-3.
        assert!(!may_be_chance(20, 50, 5));
        assert!(may_be_chance(8, 50, 5));
        assert!(may_be_chance(0, 50, 5));
        // P(X = 0 | 60, 0.25) = 3.2e-8.
        assert!(!may_be_chance(0, 60, 25));
        assert!(may_be_chance(15, 60, 25));
        assert!(may_be_chance(60, 60, 100) && !may_be_chance(59, 60, 100));
    }

    #[test]
    fn members_carry_the_old_and_the_new_under_one_ttl_and_are_known_again() -> Result<(), ActionError> {
        let simple = [RecordSet {
            name: "a.test.".to_owned(),
            kind: "A".to_owned(),
            set_identifier: None,
            weight: None,
            ttl: Some(60),
            values: vec!["1.1.1.1".to_owned()],
            alias: None,
        }];
        let to = ["2.2.2.2".to_owned()];
        let five = members(&simple, &to, None, 5)?;
        assert_eq!(share_of(&five), Some(5));
        assert!(five.iter().all(|set| set.ttl == Some(60)));
        assert_eq!(
            members(&five, &to, None, 25).map(|sets| share_of(&sets)).ok(),
            Some(Some(25))
        );
        assert_eq!(share_of(&simple), None);
        assert!(members(&simple, &simple[0].values, None, 5).is_err());
        let foreign = RecordSet {
            set_identifier: Some("theirs".to_owned()),
            weight: Some(1),
            ..simple[0].clone()
        };
        assert!(members(&[foreign], &to, None, 5).is_err());
        Ok(())
    }
}
