//! `cloudwatch.metric`: the newest sample of a metric is what is expected. A sample that is too old, or none, proves
//! nothing, unless the author says what none means.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::provider::action::{Action, ActionError, Cx, Observed, Outcome, Preview, Ready};
use crate::provider::again::{Again, Miss, Question, time, within};
use crate::provider::aws::AwsTarget;
use crate::provider::connection::BuildError;
use crate::provider::expectation::Expectation;
use crate::provider::registry::Request;
use crate::provider::span::Within;

use super::samples::{Metric, Sample, age};

/// What one sample covers where nothing is said.
const PERIOD: Duration = Duration::from_secs(60);
/// How often it is asked: samples come once a minute, and each question costs.
const EVERY: Duration = Duration::from_secs(15);
/// How far back it is looked for anything at all, before a gate.
const LONG_AGO: Duration = Duration::from_secs(3 * 60 * 60);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    namespace: String,
    metric: String,
    #[serde(default)]
    dimensions: BTreeMap<String, String>,
    statistic: Option<String>,
    period: Option<Within>,
    max_age: Option<Within>,
    missing: Option<f64>,
    expect: Expectation,
    within: Option<Within>,
    every: Option<Within>,
}

/// A metric and what is expected of it.
pub struct Check {
    target: AwsTarget,
    metric: Metric,
    max_age: Duration,
    missing: Option<f64>,
    expect: Expectation,
    again: Again,
}

/// A check with what it needs of a run.
struct Asking<'a> {
    check: &'a Check,
    speed: f64,
}

impl Check {
    /// From its parameters.
    pub fn new(request: &Request<'_>, target: AwsTarget) -> Result<Self, BuildError> {
        let with: Parameters = request.parameters()?;
        let period = with.period.map_or(PERIOD, |period| period.0);
        let seconds = period.as_secs();
        let known = matches!(seconds, 1 | 5 | 10 | 30) || seconds > 0 && seconds.is_multiple_of(60);
        if !known || period.subsec_nanos() > 0 {
            let words = "period is 1s, 5s, 10s, 30s or whole minutes: CloudWatch has no others";
            return Err(BuildError::Parameter(words.to_owned()));
        }
        let statistic = match with.statistic.as_deref().unwrap_or("average") {
            "average" => "Average",
            "sum" => "Sum",
            "minimum" => "Minimum",
            "maximum" => "Maximum",
            "sample_count" => "SampleCount",
            percentile => percentile,
        };
        let metric = Metric {
            namespace: with.namespace,
            name: with.metric,
            dimensions: with.dimensions,
            statistic: statistic.to_owned(),
            period,
        };
        let max_age = with.max_age.map_or(period * 3, |age| age.0);
        if max_age + period * 2 > metric.farthest() {
            let words = format!(
                "max_age {} is more than 1,438 periods: CloudWatch tells no more at once",
                time(max_age)
            );
            return Err(BuildError::Parameter(words));
        }
        Ok(Self {
            max_age,
            metric,
            missing: with.missing,
            expect: with.expect,
            again: Again {
                within: with.within.map(|within| within.0),
                every: Some(with.every.map_or(EVERY, |every| every.0)),
                each: target.patience,
            },
            target,
        })
    }

    /// The newest sample that is young enough; else why there is none.
    async fn newest(&self, speed: f64) -> Result<Result<Sample, String>, ActionError> {
        let samples = self
            .metric
            .samples(&self.target, self.max_age + self.metric.period * 2, speed)
            .await?;
        let Some(newest) = samples.last() else {
            return Ok(Err(format!("no sample within {}", time(self.max_age))));
        };
        let age = age(newest, self.metric.period, speed);
        Ok(if age <= self.max_age {
            Ok(newest.clone())
        } else {
            let seconds = Duration::from_secs(age.as_secs());
            Err(format!(
                "the newest sample is {} old, {} is the most",
                time(seconds),
                time(self.max_age)
            ))
        })
    }

    fn judged(&self, found: Result<Sample, String>, speed: f64) -> Result<Outcome, Miss> {
        let words = self.metric.words();
        let (value, age_s, none) = match (found, self.missing) {
            (Ok(sample), _) => (
                sample.value,
                Some(age(&sample, self.metric.period, speed).as_secs()),
                None,
            ),
            (Err(none), Some(value)) => (value, None, Some(none)),
            (Err(none), None) => return Err(Miss::unmet(format!("{words}: {none}"))),
        };
        let mut result = Map::new();
        result.insert("value".to_owned(), json!(value));
        result.insert("age_s".to_owned(), json!(age_s));
        result.insert("missing".to_owned(), Value::Bool(none.is_some()));
        let holds = self.expect.holds(&result).map_err(Miss::Never)?;
        let seen = match none {
            Some(none) => format!("{none}, which counts as {value}"),
            None => format!("value {value}"),
        };
        let summary = format!("{words}: {seen}; {} is {holds}", self.expect.text());
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
        let found = within(limit, "CloudWatch", self.check.newest(self.speed)).await?;
        self.check.judged(found, self.speed)
    }
}

#[async_trait]
impl Action for Check {
    fn preview(&self) -> Preview {
        let mut notes = vec![format!("expects {}", self.expect.text())];
        notes.push(match self.missing {
            Some(value) => format!("no sample within {} counts as {value}", time(self.max_age)),
            None => format!("a sample older than {}, or none, proves nothing", time(self.max_age)),
        });
        notes.extend(
            self.again
                .within
                .map(|within| format!("asks again for up to {}", time(within))),
        );
        Preview {
            summary: format!("reads {}", self.metric.words()),
            commands: vec![format!("cloudwatch:GetMetricStatistics {}", self.metric.words())],
            notes,
        }
    }

    async fn check(&self, cx: &Cx) -> Result<Ready, ActionError> {
        self.target.prove_account().await?;
        let back = LONG_AGO.min(self.metric.farthest()).max(self.metric.period * 2);
        let known = self.metric.samples(&self.target, back, cx.speed).await?;
        let fact = match known.last() {
            Some(sample) => format!("now: {}", sample.value),
            // A name that is wrong has no samples either.
            None => format!(
                "NO SAMPLE WITHIN {}: are names and dimensions right? {}",
                time(back),
                self.metric.words()
            ),
        };
        Ok(Ready {
            identity: self.target.identity_json(),
            facts: vec![fact],
        })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let asking = Asking {
            check: self,
            speed: cx.speed,
        };
        self.again.until(cx, &asking).await
    }

    async fn observe(&self, _cx: &Cx) -> Result<Observed, ActionError> {
        Ok(Observed::NotStarted {
            detail: "a read leaves nothing behind".to_owned(),
        })
    }
}
