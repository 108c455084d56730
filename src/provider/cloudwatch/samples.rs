//! Samples of one metric (`GetMetricStatistics`). A sample covers its period and is told at the period's beginning; most
//! come a minute or more after it. Must not judge what they say.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Deserialize;

use crate::provider::action::ActionError;
use crate::provider::aws::AwsTarget;
use crate::provider::aws::query::{Service, ask};

/// So many samples CloudWatch gives in one answer (`GetMetricStatistics`).
const MOST: u32 = 1_440;

/// One metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    pub namespace: String,
    pub name: String,
    pub dimensions: BTreeMap<String, String>,
    /// `Average`, `Sum`, `Minimum`, `Maximum`, `SampleCount`, or a percentile: `p99`.
    pub statistic: String,
    pub period: Duration,
}

/// A sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub value: f64,
    /// When its period began.
    pub at: DateTime<Utc>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(rename = "GetMetricStatisticsResult")]
    result: Found,
}

#[derive(Debug, Deserialize)]
struct Found {
    #[serde(rename = "Datapoints", default)]
    points: Points,
}

#[derive(Debug, Default, Deserialize)]
struct Points {
    #[serde(rename = "member", default)]
    members: Vec<Point>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Point {
    timestamp: DateTime<Utc>,
    average: Option<f64>,
    sum: Option<f64>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    sample_count: Option<f64>,
    extended_statistics: Option<Entries>,
}

#[derive(Debug, Deserialize)]
struct Entries {
    #[serde(default)]
    entry: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    key: String,
    value: f64,
}

impl Metric {
    /// For people: `AWS/DMS CDCLatencyTarget (ReplicationTaskIdentifier erp), Maximum over 60 s`.
    pub fn words(&self) -> String {
        let named: Vec<String> = self
            .dimensions
            .iter()
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        let of = if named.is_empty() {
            String::new()
        } else {
            format!(" ({})", named.join(", "))
        };
        format!(
            "{} {}{of}, {} over {} s",
            self.namespace,
            self.name,
            self.statistic,
            self.period.as_secs()
        )
    }

    fn is_percentile(&self) -> bool {
        self.statistic.starts_with('p')
    }

    fn of(&self, point: &Point) -> Option<f64> {
        match self.statistic.as_str() {
            "Average" => point.average,
            "Sum" => point.sum,
            "Minimum" => point.minimum,
            "Maximum" => point.maximum,
            "SampleCount" => point.sample_count,
            percentile => {
                let entries = point.extended_statistics.as_ref()?;
                entries
                    .entry
                    .iter()
                    .find(|entry| entry.key == percentile)
                    .map(|entry| entry.value)
            }
        }
    }

    /// So far back samples can be asked for in one answer.
    pub fn farthest(&self) -> Duration {
        self.period.saturating_mul(MOST)
    }

    /// The samples whose period began within `back` before now and is over, oldest first. Time runs `speed` times as fast
    /// as nominal.
    pub async fn samples(&self, target: &AwsTarget, back: Duration, speed: f64) -> Result<Vec<Sample>, ActionError> {
        let now = Utc::now();
        let back = back.max(self.period * 2).min(self.farthest());
        let back = TimeDelta::from_std(back).unwrap_or(TimeDelta::days(1));
        let text = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let mut parameters = vec![
            ("Namespace".to_owned(), self.namespace.clone()),
            ("MetricName".to_owned(), self.name.clone()),
            ("StartTime".to_owned(), text(now - back)),
            // It is exclusive, and whole seconds are told.
            ("EndTime".to_owned(), text(now + TimeDelta::seconds(1))),
            ("Period".to_owned(), self.period.as_secs().max(1).to_string()),
        ];
        for (index, (name, value)) in self.dimensions.iter().enumerate() {
            let number = index + 1;
            parameters.push((format!("Dimensions.member.{number}.Name"), name.clone()));
            parameters.push((format!("Dimensions.member.{number}.Value"), value.clone()));
        }
        let which = if self.is_percentile() {
            "ExtendedStatistics.member.1"
        } else {
            "Statistics.member.1"
        };
        parameters.push((which.to_owned(), self.statistic.clone()));
        let answer: Answer = ask(target, Service::CloudWatch, "GetMetricStatistics", &parameters)
            .await?
            .body;
        let points = answer.result.points.members.iter();
        let mut samples: Vec<Sample> = points
            .filter_map(|point| {
                let value = self.of(point)?;
                let at = point.timestamp;
                Some(Sample { value, at })
            })
            .collect();
        // Of a period that still runs there is a part only.
        let period = TimeDelta::from_std(self.period.div_f64(speed.max(1.0))).unwrap_or_default();
        samples.retain(|sample| sample.at + period <= now);
        samples.sort_by_key(|sample| sample.at);
        Ok(samples)
    }
}

/// How old what a sample tells is, in nominal time: since the end of its period.
pub fn age(sample: &Sample, period: Duration, speed: f64) -> Duration {
    let speed = speed.max(1.0);
    let since = (Utc::now() - sample.at).to_std().unwrap_or_default().mul_f64(speed);
    since.saturating_sub(period)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn metric(statistic: &str) -> Metric {
        Metric {
            namespace: "AWS/ApplicationELB".to_owned(),
            name: "TargetResponseTime".to_owned(),
            dimensions: BTreeMap::from([("LoadBalancer".to_owned(), "app/erp/1".to_owned())]),
            statistic: statistic.to_owned(),
            period: Duration::from_secs(60),
        }
    }

    /// The wire form of the API reference (GetMetricStatistics, "Examples").
    #[test]
    fn an_answer_is_read_as_the_api_reference_writes_it() {
        let text = r#"<GetMetricStatisticsResponse xmlns="http://monitoring.amazonaws.com/doc/2010-08-01/">
            <GetMetricStatisticsResult><Datapoints>
              <member><Timestamp>2026-12-05T22:01:00Z</Timestamp><Unit>Seconds</Unit><Average>0.5</Average></member>
              <member><Timestamp>2026-12-05T22:00:00Z</Timestamp><Unit>Seconds</Unit><ExtendedStatistics>
                <entry><key>p99</key><value>2.25</value></entry></ExtendedStatistics></member>
            </Datapoints><Label>TargetResponseTime</Label></GetMetricStatisticsResult>
            <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></GetMetricStatisticsResponse>"#;
        let answer: Answer = quick_xml::de::from_str(text).unwrap();
        let points = &answer.result.points.members;
        assert_eq!(metric("Average").of(&points[0]), Some(0.5));
        assert_eq!(metric("p99").of(&points[1]), Some(2.25));
        assert_eq!(metric("p50").of(&points[1]), None);
        assert_eq!(
            metric("Sum").of(&points[0]),
            None,
            "what was not asked for is not made up"
        );
        let empty = r#"<GetMetricStatisticsResponse><GetMetricStatisticsResult><Datapoints/>
            <Label>x</Label></GetMetricStatisticsResult></GetMetricStatisticsResponse>"#;
        let answer: Answer = quick_xml::de::from_str(empty).unwrap();
        assert!(answer.result.points.members.is_empty());
    }
}
