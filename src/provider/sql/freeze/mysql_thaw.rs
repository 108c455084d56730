//! Letting writes in again on MySQL and MariaDB, as far as they were before the freeze. State-guarded as the freeze is.

use async_trait::async_trait;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use serde_json::{Map, Value, json};

use crate::provider::action::{Action, ActionError, Cx, Observed, Outcome, Preview, Ready};
use crate::provider::connection::BuildError;
use crate::provider::registry::Request;
use crate::provider::sql::mysql::connect::connect;
use crate::provider::sql::mysql::writer::{about, refused};
use crate::provider::sql::server::ServerTarget;

use super::mysql_state::{State, forgotten, place, state, way};
use super::parameters::{Prior, Stand, To, foreign, in_doubt, stand, words};

/// Lets writes in again.
pub struct Thaw {
    on: String,
    target: ServerTarget,
    to: Prior<State>,
}

impl Thaw {
    /// From its parameters.
    pub fn new(request: &Request<'_>, target: ServerTarget) -> Result<Self, BuildError> {
        let with: To<State> = request.parameters()?;
        Ok(Self {
            on: request.on.first().cloned().unwrap_or_default(),
            target,
            to: with.to,
        })
    }

    fn outcome(&self, sent: usize, words: &str) -> Outcome {
        let mut result = Map::new();
        result.insert("thawed".to_owned(), json!(sent));
        let state = super::parameters::words(&self.to.before);
        Outcome {
            summary: format!("{}: {state}, as before the freeze{words}", self.on),
            result,
            evidence: Vec::new(),
        }
    }

    async fn now(&self, session: &mut Conn) -> Result<(Value, State), ActionError> {
        let identity = about(session, &self.target).await?.identity;
        if place(&identity) != self.to.place {
            let words = format!("{} is another server than the one that was frozen", self.on);
            return Err(foreign(&words));
        }
        Ok((identity, state(session).await?))
    }
}

#[async_trait]
impl Action for Thaw {
    fn preview(&self) -> Preview {
        Preview {
            summary: format!(
                "lets writes on the server of {} in again, as far as before the freeze",
                self.on
            ),
            commands: way(&self.to.set, &self.to.before)
                .iter()
                .map(|sql| format!("{}: {sql}", self.on))
                .collect(),
            notes: vec!["what somebody else has set since the freeze is left alone, and told".to_owned()],
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        let mut session = connect(&self.target, true).await?;
        let (identity, now) = self.now(&mut session).await?;
        if let Stand::Foreign(words) = stand(&now, &self.to.set, &self.to.before) {
            return Err(foreign(&words));
        }
        let facts = vec![format!("now {}; then {}", words(&now), words(&self.to.before))];
        Ok(Ready { identity, facts })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let mut session = connect(&self.target, false).await?;
        let (_, now) = self.now(&mut session).await?;
        match stand(&now, &self.to.set, &self.to.before) {
            Stand::Foreign(words) => return Err(foreign(&words)),
            Stand::There => {
                forgotten(&mut session, &self.to).await;
                return Ok(self.outcome(0, "; nothing was sent"));
            }
            Stand::Before | Stand::Partly(_) => {}
        }
        let sets = way(&now, &self.to.before);
        for sql in &sets {
            let done = session.query_drop(format!("/* {} */ {sql}", cx.key)).await;
            done.map_err(|error| {
                let failure = refused(&error, sql);
                match failure.lost {
                    true => in_doubt(format!("{}; it was sent", failure.error.message)),
                    false => failure.error,
                }
            })?;
        }
        cx.reporter.ack(&cx.key).await?;
        let now = state(&mut session).await?;
        if now != self.to.before {
            return Err(in_doubt(format!(
                "it was set and is now {}; look who changed it",
                words(&now)
            )));
        }
        forgotten(&mut session, &self.to).await;
        Ok(self.outcome(sets.len(), ""))
    }

    async fn observe(&self, _cx: &Cx) -> Result<Observed, ActionError> {
        let mut session = connect(&self.target, true).await?;
        let (_, now) = self.now(&mut session).await?;
        Ok(match stand(&now, &self.to.set, &self.to.before) {
            Stand::There => Observed::Done(self.outcome(0, " (found by reading)")),
            Stand::Before => Observed::NotStarted {
                detail: format!("{} as the freeze left it", words(&now)),
            },
            Stand::Partly(words) => Observed::Unknown {
                detail: format!("{words}: a part of it; say that it was not done, and it is done again"),
            },
            Stand::Foreign(detail) => Observed::Unknown { detail },
        })
    }
}
