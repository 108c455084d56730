//! Reads that an action asks again and again while it is at work, written as checks are. Must not decide what follows from
//! what they say.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;

use super::action::{Action, ActionError, Progress, Reporter};
use super::connection::{BuildError, Connections};
use super::registry::{Request, build};

/// A read as a check writes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    uses: String,
    #[serde(default)]
    on: Vec<String>,
    #[serde(default)]
    with: Value,
}

/// A read that is asked again and again.
pub struct Probe {
    pub uses: String,
    pub action: Box<dyn Action>,
}

/// Makes the reads of a list.
pub fn probes(written: &[Written], connections: &Connections) -> Result<Vec<Probe>, BuildError> {
    let made = written.iter().map(|read| {
        let request = Request {
            uses: &read.uses,
            on: &read.on,
            with: &read.with,
        };
        Ok(Probe {
            uses: read.uses.clone(),
            action: build(&request, connections)?,
        })
    });
    made.collect()
}

/// Hears nothing: what a probe reports of itself is not what its action is at.
pub struct Silent;

#[async_trait]
impl Reporter for Silent {
    async fn ack(&self, _provider_id: &str) -> Result<(), ActionError> {
        Ok(())
    }

    fn progress(&self, _progress: Progress) {}
}
