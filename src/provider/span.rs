//! Durations among an action's parameters.

use serde::{Deserialize, Deserializer, de::Error};

use crate::runbook::text::duration;

/// A duration written as in a runbook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Within(pub std::time::Duration);

impl<'de> Deserialize<'de> for Within {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        duration(&text)
            .map(|span| Self(span.as_duration()))
            .ok_or_else(|| D::Error::custom(format!("\"{text}\" is no duration; write 90s, 12m or 2h")))
    }
}
