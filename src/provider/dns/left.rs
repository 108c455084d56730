//! Whether the world is still as a step left it: what its way back may find, and what is somebody else's by then. Pure;
//! what was bound when the way was begun is in [`Cx::forward`](crate::provider::action::Cx).
//!
//! A way back accepts what the step left (each stage, of a shift), what was before it (it never happened, or somebody took
//! it back) and what is to be (nothing is left to do). The closing effect of a lowered TTL finds whatever the run pointed
//! the record at since, so only TTLs are looked at: the lowered one or the one from before. The values that stand are kept
//! and named in the batch exactly, so nobody's are overwritten.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::intent::ttl_before;
use super::records::{RecordSet, standing};
use super::stages::members;

/// A record, as an approval binds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    pub zone: &'a str,
    pub name: &'a str,
    pub kind: &'a str,
}

/// What a way back is to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back<'a> {
    /// Exactly these.
    Sets(&'a [RecordSet]),
    /// The TTLs of these.
    Ttl(&'a [RecordSet]),
}

/// Record sets under a name in what was bound.
pub fn bound(of: &Value, name: &str) -> Option<Vec<RecordSet>> {
    serde_json::from_value(of.get(name)?.clone()).ok()
}

/// The stages of a shift as they are bound: short, whatever their number.
#[derive(Debug, Serialize, Deserialize)]
pub struct Shifted {
    pub to: Vec<String>,
    pub ttl: Option<i64>,
    pub shares: Vec<u8>,
}

/// What a step left, one after the other: one change, or the stages of a shift.
pub fn stages(forward: &Value) -> Vec<Vec<RecordSet>> {
    let mut left: Vec<Vec<RecordSet>> = bound(forward, "meant").into_iter().collect();
    let shifted = forward
        .get("shift")
        .and_then(|shift| serde_json::from_value::<Shifted>(shift.clone()).ok());
    if let (Some(shifted), Some(prior)) = (shifted, bound(forward, "prior")) {
        let stages = shifted.shares.iter();
        left.extend(stages.filter_map(|share| members(&prior, &shifted.to, shifted.ttl, *share).ok()));
    }
    left
}

/// Whether what was bound is a change of this record.
pub fn is_of(place: Place<'_>, forward: &Value) -> bool {
    let text = |name: &str| forward.get(name).and_then(Value::as_str);
    let ours = (text("zone"), text("record"), text("type")) == (Some(place.zone), Some(place.name), Some(place.kind));
    ours && !stages(forward).is_empty()
}

/// Refuses, in words, where what stands is not what the step left. `forward` is null of what is no way back.
pub fn as_left(place: Place<'_>, current: &[RecordSet], back: Back<'_>, forward: &Value) -> Result<(), String> {
    if forward.is_null() {
        return Ok(());
    }
    if !is_of(place, forward) {
        return Err(format!(
            "nobody knows what this step made of {} {}; nothing was sent, look at the record and put it back by hand",
            place.name, place.kind
        ));
    }
    let known: Vec<Vec<RecordSet>> = stages(forward).into_iter().chain(bound(forward, "prior")).collect();
    let (accepted, expected) = match back {
        Back::Sets(target) => (
            current == target || known.iter().any(|sets| sets == current),
            "neither as this step left it nor as it was before",
        ),
        Back::Ttl(target) => {
            let ttls: Vec<i64> = known.iter().flatten().filter_map(|set| set.ttl).collect();
            // An alias by now has no TTL that somebody could have changed.
            let fits = |set: &RecordSet| match set.ttl {
                Some(ttl) => ttl_before(set, target) == Some(ttl) || ttls.contains(&ttl),
                None => true,
            };
            (
                !current.is_empty() && current.iter().all(fits),
                "its TTL is neither as this step left it nor as it was before",
            )
        }
    };
    if accepted {
        return Ok(());
    }
    Err(format!(
        "{} was changed by somebody else: now {}, {expected}; nothing was sent, look who changed it",
        place.name,
        standing(current)
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PLACE: Place<'_> = Place {
        zone: "Z1",
        name: "a.test.",
        kind: "A",
    };

    fn set(value: &str, ttl: i64) -> Vec<RecordSet> {
        vec![RecordSet {
            name: "a.test.".to_owned(),
            kind: "A".to_owned(),
            set_identifier: None,
            weight: None,
            ttl: Some(ttl),
            values: vec![value.to_owned()],
            alias: None,
        }]
    }

    fn forward(prior: &[RecordSet], meant: &[RecordSet]) -> Value {
        json!({ "zone": "Z1", "record": "a.test.", "type": "A", "prior": prior, "meant": meant })
    }

    #[test]
    fn a_way_back_meets_what_the_step_left_or_what_was_and_nothing_else() {
        let (old, new) = (set("192.0.2.1", 60), set("192.0.2.2", 60));
        let forward = forward(&old, &new);
        let told = |now: &[RecordSet]| as_left(PLACE, now, Back::Sets(&old), &forward);
        assert_eq!(told(&new), Ok(()));
        assert_eq!(told(&old), Ok(()));
        for theirs in [set("192.0.2.3", 60), set("192.0.2.2", 61), Vec::new()] {
            let words = told(&theirs).err().unwrap_or_default();
            assert!(words.contains("changed by somebody else"), "{theirs:?}: {words}");
            assert!(words.contains(&standing(&theirs)), "{words}");
        }
        // No way back at all: nothing to hold it against.
        assert_eq!(
            as_left(PLACE, &set("192.0.2.3", 60), Back::Sets(&old), &Value::Null),
            Ok(())
        );
    }

    #[test]
    fn every_stage_of_a_shift_is_ours() -> Result<(), crate::provider::action::ActionError> {
        let old = set("192.0.2.1", 60);
        let to = ["192.0.2.2".to_owned()];
        let shift = json!({ "to": to, "ttl": 10, "shares": [5, 100] });
        let forward = json!({ "zone": "Z1", "record": "a.test.", "type": "A", "prior": old, "shift": shift });
        let told = |now: &[RecordSet]| as_left(PLACE, now, Back::Sets(&old), &forward);
        for share in [5, 100] {
            assert_eq!(told(&members(&old, &to, Some(10), share)?), Ok(()));
        }
        for theirs in [
            members(&old, &to, Some(10), 50)?,
            members(&old, &to, Some(60), 5)?,
            set("192.0.2.2", 60),
        ] {
            assert!(told(&theirs).is_err(), "{theirs:?}");
        }
        Ok(())
    }

    #[test]
    fn another_record_is_not_what_the_step_changed() {
        let (old, new) = (set("192.0.2.1", 60), set("192.0.2.2", 60));
        let forward = forward(&old, &new);
        for place in [
            Place { zone: "Z2", ..PLACE },
            Place {
                name: "b.test.",
                ..PLACE
            },
            Place { kind: "AAAA", ..PLACE },
        ] {
            let words = as_left(place, &new, Back::Sets(&old), &forward)
                .err()
                .unwrap_or_default();
            assert!(words.contains("nobody knows"), "{words}");
        }
        let words = as_left(PLACE, &new, Back::Sets(&old), &json!({ "account": "1" }));
        assert!(words.is_err(), "another kind of step");
    }

    #[test]
    fn a_ttl_comes_back_on_new_values_and_not_over_a_foreign_ttl() {
        let (old, lowered) = (set("192.0.2.1", 300), set("192.0.2.1", 60));
        let forward = forward(&old, &lowered);
        let told = |now: &[RecordSet]| as_left(PLACE, now, Back::Ttl(&old), &forward);
        for ours in [set("192.0.2.1", 60), set("192.0.2.2", 60), set("192.0.2.2", 300)] {
            assert_eq!(told(&ours), Ok(()), "{ours:?}");
        }
        for theirs in [set("192.0.2.2", 120), Vec::new()] {
            assert!(told(&theirs).is_err(), "{theirs:?}");
        }
    }
}
