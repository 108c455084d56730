//! `rds.describe`: reads an instance or a cluster. Changes nothing.

use async_trait::async_trait;
use serde::Deserialize;

use crate::provider::action::{Action, ActionError, Cx, Observed, Outcome, Preview, Ready};
use crate::provider::aws::AwsTarget;
use crate::provider::connection::BuildError;
use crate::provider::expectation::Expectation;
use crate::provider::registry::Request;

use super::database::{Rds, Subject, permanent};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    instance: Option<String>,
    cluster: Option<String>,
    expect: Option<Expectation>,
}

/// `rds.describe`.
pub struct Describe {
    target: AwsTarget,
    subject: Subject,
    expect: Option<Expectation>,
}

impl Describe {
    /// From its parameters.
    pub fn new(request: &Request<'_>, target: AwsTarget) -> Result<Self, BuildError> {
        let with: Parameters = request.parameters()?;
        Ok(Self {
            target,
            subject: Subject::new(with.instance.as_deref(), with.cluster.as_deref())?,
            expect: with.expect,
        })
    }
}

#[async_trait]
impl Action for Describe {
    fn preview(&self) -> Preview {
        let call = match self.subject {
            Subject::Instance(_) => "rds:DescribeDBInstances",
            Subject::Cluster(_) => "rds:DescribeDBClusters",
        };
        Preview {
            summary: format!("reads {}", self.subject.words()),
            commands: vec![format!("{call} {}", self.subject.name())],
            notes: self
                .expect
                .iter()
                .map(|expect| format!("expects {}", expect.text()))
                .collect(),
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        self.target.prove_account().await?;
        Ok(Ready {
            identity: self.target.identity_json(),
            facts: Vec::new(),
        })
    }

    async fn execute(&self, _cx: &Cx) -> Result<Outcome, ActionError> {
        let found = Rds::open(&self.target).await.describe(&self.subject).await?;
        let result = found.result();
        let summary = format!("{} is {}", self.subject.name(), found.status);
        if let Some(expect) = &self.expect
            && !expect.holds(&result)?
        {
            return Err(permanent(format!("{summary}; {} does not hold", expect.text())));
        }
        Ok(Outcome {
            summary,
            result,
            evidence: Vec::new(),
        })
    }

    async fn observe(&self, _cx: &Cx) -> Result<Observed, ActionError> {
        Ok(Observed::NotStarted {
            detail: "a read leaves nothing behind".to_owned(),
        })
    }
}
