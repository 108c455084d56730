//! What executes one check, and hears what it reports.

#[path = "../support/cx.rs"]
mod cx;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use pointsman::provider::action::{Action, ActionError, ActionErrorKind, Cx, Outcome, Progress, Reporter};
use pointsman::provider::connection::{BuildError, Connections, Headers, HttpTarget, Target};
use pointsman::provider::registry::{Request, build};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Remembers what was seen on the way.
#[derive(Default)]
pub struct Heard {
    pub states: Mutex<Vec<String>>,
    pub told: Notify,
}

#[async_trait]
impl Reporter for Heard {
    async fn ack(&self, provider_id: &str) -> Result<(), ActionError> {
        panic!("a read acknowledges nothing: {provider_id}");
    }

    fn progress(&self, progress: Progress) {
        if let Progress::State(state) = progress {
            self.states.lock().unwrap().push(state);
            self.told.notify_one();
        }
    }
}

#[derive(Default)]
pub struct Bench {
    pub connections: Connections,
    pub heard: Arc<Heard>,
    pub cancel: CancellationToken,
}

impl Bench {
    /// With the connection `app`.
    pub fn app(base: &str, headers: &[(&str, &str)]) -> Self {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let target = HttpTarget {
            base: base.to_owned(),
            headers: Headers::new(headers.collect()),
            ..HttpTarget::default()
        };
        Self {
            connections: Connections::new().with("app", Target::Http(target)),
            ..Self::default()
        }
    }

    /// In a lab.
    pub fn confined(self) -> Self {
        Self {
            connections: self.connections.confined(),
            ..self
        }
    }

    pub fn build(&self, uses: &str, on: &[&str], with: &Value) -> Result<Box<dyn Action>, BuildError> {
        let on: Vec<String> = on.iter().map(|name| (*name).to_owned()).collect();
        build(&Request { uses, on: &on, with }, &self.connections)
    }

    fn cx(&self) -> Cx {
        Cx {
            mutates: false,
            ..cx::cx("pm-n", Value::Null, 1.0, &self.cancel, self.heard.clone())
        }
    }

    pub async fn run(&self, uses: &str, on: &[&str], with: Value) -> Result<Outcome, ActionError> {
        let action = self
            .build(uses, on, &with)
            .unwrap_or_else(|error| panic!("{with}: {error}"));
        action.execute(&self.cx()).await
    }

    /// `http.check` of a URL with more parameters.
    pub async fn http(&self, url: &str, more: Value) -> Result<Outcome, ActionError> {
        let mut with = json!({ "url": url });
        merge(&mut with, more);
        self.run("http.check", &[], with).await
    }

    /// `tcp.check` of a port on 127.0.0.1 with more parameters.
    pub async fn tcp(&self, port: u16, more: Value) -> Result<Outcome, ActionError> {
        let mut with = json!({ "host": "127.0.0.1", "port": port });
        merge(&mut with, more);
        self.run("tcp.check", &[], with).await
    }
}

fn merge(with: &mut Value, more: Value) {
    if let (Some(with), Value::Object(more)) = (with.as_object_mut(), more) {
        with.extend(more);
    }
}

/// The failure's class and words.
pub fn fails(ended: Result<Outcome, ActionError>, kind: ActionErrorKind, words: &[&str]) {
    let error = ended.unwrap_err();
    assert_eq!(error.kind, kind, "{}", error.message);
    for word in words {
        assert!(
            error.message.contains(word),
            "{word:?} is missing in: {}",
            error.message
        );
    }
    // The last part says what to do.
    assert!(error.message.contains("; "), "no hint in: {}", error.message);
}

/// What became evidence under a name, as text.
pub fn evidence(outcome: &Outcome, name: &str) -> String {
    let found = outcome.evidence.iter().find(|(its, _)| its == name);
    String::from_utf8(found.unwrap_or_else(|| panic!("no evidence {name}")).1.clone()).unwrap()
}
