//! `dns.lookup`: who answers what. Reads only.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Map, json};

use crate::provider::action::{Action, ActionError, ActionErrorKind, Cx, Observed, Outcome, Preview, Ready};
use crate::provider::aws::AwsTarget;
use crate::provider::connection::BuildError;
use crate::provider::expectation::Expectation;
use crate::provider::registry::Request;

use super::lookup::{Answer, Asked};
use super::records::{RecordSet, Zone};
use super::servers::{Kind, Server, authorities, resolvers};
use super::settle::{SETTLE, Until};
use super::spelling;
use super::verdict::Meant;
use super::watch::Watch;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    zone: Option<String>,
    record: String,
    #[serde(rename = "type", default = "address")]
    kind: String,
    expect: Option<Expectation>,
    #[serde(default)]
    resolvers: Vec<String>,
    #[serde(default)]
    until: Vec<String>,
}

pub(super) fn address() -> String {
    "A".to_owned()
}

/// `dns.lookup`.
pub struct Lookup {
    target: AwsTarget,
    with: Parameters,
    resolvers: Vec<Server>,
    until: Until,
}

impl Lookup {
    /// From its parameters.
    pub fn new(request: &Request<'_>, target: AwsTarget) -> Result<Self, BuildError> {
        let with: Parameters = request.parameters()?;
        let resolvers = resolvers(&with.resolvers, &target)?;
        let until = Until::parse(&with.until, &resolvers)?;
        if until.ttl_passed {
            let words = "until: ttl_passed belongs to a change; a lookup knows no old TTL";
            return Err(BuildError::Parameter(words.to_owned()));
        }
        Ok(Self {
            target,
            with,
            resolvers,
            until,
        })
    }

    async fn authorities(&self) -> Result<Vec<Server>, ActionError> {
        let zone = match (&self.with.zone, self.target.dns_server) {
            (Some(zone), None) => Some(Zone::find(&self.target, zone).await?),
            (Some(_) | None, _) => None,
        };
        authorities(&self.target, zone.as_ref()).await
    }

    /// The first authoritative server that answers sets the measure for all others.
    async fn measure(&self, asked: &Asked, servers: &[Server]) -> Result<Answer, ActionError> {
        let mut silent = Vec::new();
        for server in servers {
            match server.ask(asked).await {
                Ok(answer) => return Ok(answer),
                Err(why) => silent.push(format!("{}: {why}", server.label)),
            }
        }
        Err(ActionError::new(ActionErrorKind::Transient, silent.join("; ")))
    }
}

#[async_trait]
impl Action for Lookup {
    fn preview(&self) -> Preview {
        let (record, kind) = (&self.with.record, &self.with.kind);
        let server = self
            .target
            .dns_server
            .map_or_else(|| "the authoritative server".to_owned(), |at| at.to_string());
        let mut commands = vec![format!("dig @{server} {record} {kind}")];
        commands.extend(
            self.resolvers
                .iter()
                .map(|resolver| format!("dig @{} {record} {kind}", resolver.label)),
        );
        let expected = self.with.expect.iter();
        let mut notes: Vec<String> = expected.map(|expect| format!("expects {}", expect.text())).collect();
        if self.until.resolvers {
            notes.push("waits until every resolver gives the authoritative answer".to_owned());
        }
        Preview {
            summary: format!("asks {server} for {record} {kind}"),
            commands,
            notes,
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        let servers = self.authorities().await?;
        let labels: Vec<&str> = servers.iter().map(|server| server.label.as_str()).collect();
        Ok(Ready {
            identity: json!({ "server": labels.join(", ") }),
            facts: Vec::new(),
        })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let asked = Asked {
            name: spelling::name(&self.with.record),
            kind: self.with.kind.clone(),
        };
        let servers = self.authorities().await?;
        let answer = self.measure(&asked, &servers).await?;
        let now: Vec<RecordSet> = if answer.values.is_empty() {
            Vec::new()
        } else {
            vec![RecordSet {
                name: asked.name.clone(),
                kind: asked.kind.clone(),
                set_identifier: None,
                weight: None,
                ttl: Some(i64::from(answer.ttl)),
                values: answer.values.clone(),
                alias: None,
            }]
        };
        let meant = Meant { now: &now, before: &[] };
        let mut watch = Watch::new(asked.clone(), servers, cx.speed);
        watch.also(self.resolvers.iter().cloned());
        watch.round(meant).await;
        watch.tell(cx);
        if self.until.resolvers {
            let held = watch.rows().iter().filter_map(|row| row.left()).max().unwrap_or(0);
            let bound = Duration::from_secs(u64::from(held)) + SETTLE;
            watch.until(Kind::Resolver, meant, bound, cx).await?;
        }
        let mut result = Map::new();
        result.insert("values".to_owned(), json!(answer.values));
        result.insert("ttl".to_owned(), json!(answer.ttl));
        result.insert("authoritative".to_owned(), json!(answer.authoritative));
        let mut outcome = Outcome {
            summary: format!(
                "{} {} = {} (TTL {})",
                self.with.record,
                self.with.kind,
                answer.values.join(", "),
                answer.ttl
            ),
            result,
            evidence: Vec::new(),
        };
        watch.keep(&mut outcome);
        if let Some(expect) = &self.with.expect
            && !expect.holds(&outcome.result)?
        {
            let words = format!("{}; {} does not hold", outcome.summary, expect.text());
            return Err(ActionError::new(ActionErrorKind::Permanent, words));
        }
        Ok(outcome)
    }

    async fn observe(&self, _cx: &Cx) -> Result<Observed, ActionError> {
        Ok(Observed::NotStarted {
            detail: "a read leaves nothing behind".to_owned(),
        })
    }
}
