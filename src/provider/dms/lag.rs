//! `dms.lag`: how far a replication is behind, by CloudWatch's samples of the task (`CDCLatencySource`,
//! `CDCLatencyTarget`, AWS DMS User Guide, "Monitoring AWS DMS tasks"). A task without young samples is not up to date:
//! nobody knows.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, json};

use crate::provider::action::{Action, ActionError, Cx, Observed, Outcome, Preview, Ready};
use crate::provider::again::{Again, Miss, Question, time, within};
use crate::provider::aws::AwsTarget;
use crate::provider::cloudwatch::samples::{Metric, age};
use crate::provider::connection::BuildError;
use crate::provider::registry::Request;
use crate::provider::span::Within;

use super::task::{client, describe, instance_name, ready};

/// CloudWatch has one sample a minute of a task.
pub const PERIOD: Duration = Duration::from_secs(60);
/// How old the newest may be where nothing is said.
pub const MAX_AGE: Duration = Duration::from_secs(180);
/// How often it is asked: each question costs.
pub const EVERY: Duration = Duration::from_secs(15);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    task: String,
    below: Within,
    max_age: Option<Within>,
    within: Option<Within>,
    every: Option<Within>,
}

/// A bound for the lag of a task.
pub struct Lag {
    aws: AwsTarget,
    task: String,
    below: Duration,
    max_age: Duration,
    again: Again,
}

/// What the newest samples say, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Behind {
    /// Between the last change that the task has read and now.
    pub source: f64,
    /// Between the oldest change that is not yet on the target and now; contains the source's.
    pub target: f64,
    /// How old the older of the two samples is.
    pub age: Duration,
    /// When the period of the older of the two began.
    pub at: DateTime<Utc>,
}

impl Behind {
    /// The larger of the two.
    pub const fn seconds(self) -> f64 {
        self.source.max(self.target)
    }
}

/// Reads the newest samples of a task that runs; else says why there are none. What a task told before it stopped says
/// nothing of what has been made since.
pub async fn behind(
    aws: &AwsTarget,
    (arn, instance): (&str, &str),
    max_age: Duration,
    speed: f64,
) -> Result<Result<Behind, String>, ActionError> {
    let status = describe(&client(aws).await, arn).await?.status;
    if status != "running" {
        return Ok(Err(format!("the task is {status}")));
    }
    let id = arn.rsplit(':').next().unwrap_or(arn).to_owned();
    let dimensions = BTreeMap::from([
        ("ReplicationInstanceIdentifier".to_owned(), instance.to_owned()),
        ("ReplicationTaskIdentifier".to_owned(), id),
    ]);
    let mut newest = Vec::new();
    for name in ["CDCLatencySource", "CDCLatencyTarget"] {
        let metric = Metric {
            namespace: "AWS/DMS".to_owned(),
            name: name.to_owned(),
            dimensions: dimensions.clone(),
            statistic: "Maximum".to_owned(),
            period: PERIOD,
        };
        let samples = metric.samples(aws, max_age + PERIOD * 2, speed).await?;
        let Some(sample) = samples.last() else {
            return Ok(Err(format!("CloudWatch has no {name} within {}", time(max_age))));
        };
        let age = age(sample, PERIOD, speed);
        if age > max_age {
            let age = Duration::from_secs(age.as_secs());
            let words = format!("the newest {name} is {} old, {} is the most", time(age), time(max_age));
            return Ok(Err(words));
        }
        newest.push((sample.value, age, sample.at));
    }
    let [(source, first, one), (target, second, other)] = newest.as_slice() else {
        return Ok(Err("CloudWatch told too few".to_owned()));
    };
    Ok(Ok(Behind {
        source: *source,
        target: *target,
        age: *first.max(second),
        at: *one.min(other),
    }))
}

/// A bound with what it needs of a run.
struct Asking<'a> {
    lag: &'a Lag,
    instance: String,
    speed: f64,
}

impl Lag {
    /// From its parameters.
    pub fn new(request: &Request<'_>, aws: AwsTarget) -> Result<Self, BuildError> {
        let with: Parameters = request.parameters()?;
        Ok(Self {
            task: with.task,
            below: with.below.0,
            max_age: with.max_age.map_or(MAX_AGE, |age| age.0),
            again: Again {
                within: with.within.map(|within| within.0),
                every: Some(with.every.map_or(EVERY, |every| every.0)),
                each: aws.patience,
            },
            aws,
        })
    }

    async fn asking(&self, speed: f64) -> Result<Asking<'_>, ActionError> {
        Ok(Asking {
            lag: self,
            instance: instance_name(&client(&self.aws).await, &self.task).await?,
            speed,
        })
    }

    fn judged(&self, found: Result<Behind, String>) -> Result<Outcome, Miss> {
        let behind = found.map_err(|why| Miss::unmet(format!("the lag is not known: {why}; look at the task")))?;
        let mut result = Map::new();
        result.insert("lag_s".to_owned(), json!(behind.seconds()));
        result.insert("source_s".to_owned(), json!(behind.source));
        result.insert("target_s".to_owned(), json!(behind.target));
        result.insert("age_s".to_owned(), json!(behind.age.as_secs()));
        let holds = behind.seconds() < self.below.as_secs_f64();
        let sign = if holds { "below" } else { "NOT below" };
        let summary = format!(
            "lag {} s (source {} s, target {} s, {} s ago), {sign} {}",
            behind.seconds(),
            behind.source,
            behind.target,
            behind.age.as_secs(),
            time(self.below)
        );
        if !holds {
            return Err(Miss::unmet(summary));
        }
        Ok(Outcome {
            summary,
            result,
            evidence: Vec::new(),
        })
    }
}

#[async_trait]
impl Question for Asking<'_> {
    async fn ask(&self, limit: Duration) -> Result<Outcome, Miss> {
        let lag = self.lag;
        let reading = behind(&lag.aws, (&lag.task, &self.instance), lag.max_age, self.speed);
        let found = within(limit, "CloudWatch", reading).await?;
        lag.judged(found)
    }
}

#[async_trait]
impl Action for Lag {
    fn preview(&self) -> Preview {
        let mut notes = vec![
            format!("expects less than {}", time(self.below)),
            format!("a sample older than {}, or none, proves nothing", time(self.max_age)),
        ];
        notes.extend(
            self.again
                .within
                .map(|within| format!("asks again for up to {}", time(within))),
        );
        Preview {
            summary: "reads how far the replication is behind".to_owned(),
            commands: vec![format!(
                "cloudwatch:GetMetricStatistics AWS/DMS CDCLatencySource, CDCLatencyTarget of {}",
                self.task
            )],
            notes,
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        ready(&self.aws, &self.task).await
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        self.again.until(cx, &self.asking(cx.speed).await?).await
    }

    async fn observe(&self, _cx: &Cx) -> Result<Observed, ActionError> {
        Ok(Observed::NotStarted {
            detail: "a read leaves nothing behind".to_owned(),
        })
    }
}
