//! A poll: named roles answer go, no-go or abstain. Asking and counting is the gate's; by the time this is executed it
//! was go.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Map, json};

use crate::provider::action::{Action, ActionError, Cx, Observed, Outcome, Preview, Ready};
use crate::provider::connection::BuildError;
use crate::provider::registry::Request;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    question: String,
    roles: Vec<String>,
    quorum: Option<usize>,
    #[serde(default)]
    deputies: BTreeMap<String, Vec<String>>,
    no_go: Option<String>,
}

/// A poll.
pub struct Poll {
    with: Parameters,
}

impl Poll {
    /// From its parameters.
    pub fn new(request: &Request<'_>) -> Result<Self, BuildError> {
        Ok(Self {
            with: request.parameters()?,
        })
    }
}

#[async_trait]
impl Action for Poll {
    fn preview(&self) -> Preview {
        let all = self.with.roles.len();
        let mut notes = vec![format!(
            "{} of {all} roles have to say go: {}",
            self.with.quorum.unwrap_or(all),
            self.with.roles.join(", ")
        )];
        for (role, persons) in &self.with.deputies {
            notes.push(format!("for {role} may also answer: {}", persons.join(", ")));
        }
        notes.push(match self.with.no_go.as_deref() {
            Some("stop") => "a no-go ends the run, where nothing stands that would have to be taken back".to_owned(),
            Some(_) | None => "after a no-go the operator decides how it goes on".to_owned(),
        });
        Preview {
            summary: self.with.question.clone(),
            commands: Vec::new(),
            notes,
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        Ok(Ready::default())
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let said: Vec<String> = cx
            .answers
            .iter()
            .map(|(role, answer)| format!("{role} {answer}"))
            .collect();
        let summary = if said.is_empty() {
            "go; no role answered".to_owned()
        } else {
            format!("go: {}", said.join(", "))
        };
        let mut result = Map::new();
        result.insert("answers".to_owned(), json!(cx.answers));
        result.insert("go".to_owned(), json!(true));
        Ok(Outcome {
            summary,
            result,
            evidence: Vec::new(),
        })
    }

    async fn observe(&self, _cx: &Cx) -> Result<Observed, ActionError> {
        // Answers die with the process, like approvals: the roles are asked again.
        Ok(Observed::NotStarted {
            detail: "the poll was not journaled as done; it is asked again".to_owned(),
        })
    }
}
