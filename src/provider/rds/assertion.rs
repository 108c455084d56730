//! Assertions of `rds.restore_test`: reads that are asked of the endpoint of what was restored, wherever RDS puts it. Owns
//! how an endpoint becomes their address; only what needs no account of the database is asked.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::provider::Action;
use crate::provider::action::{ActionError, ActionErrorKind, Cx, Progress};
use crate::provider::connection::{BuildError, Connections};
use crate::provider::registry::{Request, build};

use super::database::{Database, permanent};

/// The only read so far: SQL comes with the providers of the engines that RDS has.
const KNOWN: &str = "tcp.check";

/// An assertion as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assertion {
    uses: String,
    #[serde(default)]
    with: Map<String, Value>,
}

impl Assertion {
    /// Whether it can be asked at all.
    pub fn prove(&self, connections: &Connections) -> Result<(), BuildError> {
        if self.uses != KNOWN {
            let words = format!("{} cannot be asked of what was restored; use {KNOWN}", self.uses);
            return Err(BuildError::Parameter(words));
        }
        let address = ["host", "port", "resolve", "expect_refused"];
        if let Some(key) = address.into_iter().find(|key| self.with.contains_key(*key)) {
            let words = format!("an assertion has no {key}: the endpoint of what was restored is asked");
            return Err(BuildError::Parameter(words));
        }
        self.at("127.0.0.1", 1, connections).map(|_| ())
    }

    fn at(&self, host: &str, port: u16, connections: &Connections) -> Result<Box<dyn Action>, BuildError> {
        let mut with = self.with.clone();
        with.insert("host".to_owned(), json!(host));
        with.insert("port".to_owned(), json!(port));
        let request = Request {
            uses: &self.uses,
            on: &[],
            with: &Value::Object(with),
        };
        build(&request, connections)
    }

    /// Asks it of what came up; gives what was seen.
    pub async fn holds(&self, found: &Database, connections: &Connections, cx: &Cx) -> Result<String, ActionError> {
        let (host, port) = address(found)?;
        let action = self
            .at(&host, port, connections)
            .map_err(|error| permanent(error.to_string()))?;
        let read = Cx {
            mutates: false,
            ..cx.clone()
        };
        cx.reporter
            .progress(Progress::State(format!("{} of {}", self.uses, found.name)));
        let outcome = action.execute(&read).await;
        // It was read of something that goes away: nothing about it is in doubt.
        outcome
            .map(|outcome| outcome.summary)
            .map_err(|error| match error.kind {
                ActionErrorKind::Cancelled => error,
                ActionErrorKind::Transient | ActionErrorKind::Permanent | ActionErrorKind::InDoubt => ActionError {
                    kind: ActionErrorKind::Permanent,
                    message: format!(
                        "the restored instance came up, and {} failed: {}",
                        self.uses, error.message
                    ),
                    ..error
                },
            })
    }

    /// For the preview.
    pub fn words(&self) -> String {
        match self.with.is_empty() {
            true => format!("asserts {} of its endpoint", self.uses),
            false => format!(
                "asserts {} of its endpoint: {}",
                self.uses,
                Value::Object(self.with.clone())
            ),
        }
    }
}

/// Where what came up answers.
fn address(found: &Database) -> Result<(String, u16), ActionError> {
    let nowhere = || {
        permanent(format!(
            "{} came up and does not say where it answers; look at RDS's events",
            found.name
        ))
    };
    let endpoint = found.endpoint.as_deref().ok_or_else(nowhere)?;
    let (host, port) = endpoint.rsplit_once(':').ok_or_else(nowhere)?;
    Ok((host.to_owned(), port.parse().map_err(|_no_port| nowhere())?))
}
