//! Tasks and decisions of people.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Map, json};

use crate::provider::action::{Action, ActionError, Cx, Observed, Outcome, Preview, Ready};
use crate::provider::connection::BuildError;
use crate::provider::registry::Request;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    text: Option<String>,
    question: Option<String>,
    context: Option<String>,
    assignee: Option<String>,
    contact: Option<String>,
    due: Option<String>,
}

/// A task or a decision.
pub struct Manual {
    words: Parameters,
    answer: &'static str,
}

impl Manual {
    /// From its parameters.
    pub fn new(request: &Request<'_>) -> Result<Self, BuildError> {
        let answer = if request.uses == "manual.decision" {
            "go"
        } else {
            "done"
        };
        Ok(Self {
            words: request.parameters()?,
            answer,
        })
    }
}

#[async_trait]
impl Action for Manual {
    fn preview(&self) -> Preview {
        let summary = self
            .words
            .question
            .as_ref()
            .or(self.words.text.as_ref())
            .cloned()
            .unwrap_or_default();
        let notes = [
            ("context", &self.words.context),
            ("assignee", &self.words.assignee),
            ("contact", &self.words.contact),
            ("due", &self.words.due),
        ];
        Preview {
            summary,
            commands: Vec::new(),
            notes: notes
                .iter()
                .filter_map(|(key, value)| value.as_ref().map(|value| format!("{key}: {value}")))
                .collect(),
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        Ok(Ready::default())
    }

    async fn execute(&self, _cx: &Cx) -> Result<Outcome, ActionError> {
        let mut result = Map::new();
        result.insert("answer".to_owned(), json!(self.answer));
        Ok(Outcome {
            summary: format!("answered: {}", self.answer),
            result,
            evidence: Vec::new(),
        })
    }

    async fn observe(&self, _cx: &Cx) -> Result<Observed, ActionError> {
        // What a person did leaves no trace that could be read: the gate asks again.
        Ok(Observed::NotStarted {
            detail: "the answer was not journaled; it is asked again".to_owned(),
        })
    }
}
