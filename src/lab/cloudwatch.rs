//! CloudWatch: `GetMetricStatistics` over what the lab really does, in the Query protocol (API version 2010-08-01). One
//! sample a period; a period is as much shorter as the lab is faster.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};

use super::cloud::Cloud;
use super::endpoints::{MOVER, TASK};
use super::replicator::Tables;
use super::world::LabError;
use super::xml::{Answer, leaf, query, refusal};

const NAMESPACE: &str = "http://monitoring.amazonaws.com/doc/2010-08-01/";
/// So many requests are remembered.
const REMEMBERED: usize = 100_000;

/// Requests that the two applications answered.
#[derive(Debug, Default)]
pub struct Hits(Mutex<VecDeque<Hit>>);

#[derive(Debug, Clone, Copy)]
struct Hit {
    ms: i64,
    side: &'static str,
    ok: bool,
}

impl Hits {
    /// Remembers an answer.
    pub fn note(&self, side: &'static str, ok: bool) {
        let mut hits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if hits.len() == REMEMBERED {
            hits.pop_front();
        }
        let ms = Utc::now().timestamp_millis();
        hits.push_back(Hit { ms, side, ok });
    }

    /// The answers of a side between two moments: all, and those that failed.
    fn count(&self, side: &str, from: i64, to: i64) -> (u32, u32) {
        let hits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let within = hits
            .iter()
            .filter(|hit| hit.side == side && (from..to).contains(&hit.ms));
        within.fold((0, 0), |(all, failed), hit| (all + 1, failed + u32::from(!hit.ok)))
    }
}

/// What is measured.
pub struct Measured<'a> {
    pub cloud: &'a Cloud,
    pub tables: &'a Tables,
    pub hits: &'a Hits,
}

impl Measured<'_> {
    /// Answers an operation.
    pub fn answer(&self, operation: &str, form: &BTreeMap<String, String>) -> Result<Answer, LabError> {
        if operation != "GetMetricStatistics" {
            let words = format!("The lab does not know {operation}");
            return Ok(refusal(400, "InvalidAction", &words));
        }
        let text = |key: &str| form.get(key).map(String::as_str).unwrap_or_default();
        let at = |key: &str| text(key).parse::<DateTime<Utc>>().map(|at| at.timestamp_millis()).ok();
        let (Some(from), Some(to)) = (at("StartTime"), at("EndTime")) else {
            return Ok(refusal(
                400,
                "InvalidParameterValue",
                "StartTime and EndTime are needed",
            ));
        };
        let seconds: u64 = text("Period").parse().unwrap_or(0);
        if seconds < 1 || from >= to {
            return Ok(refusal(400, "InvalidParameterCombination", "Period or times are wrong"));
        }
        let Some(statistic) = form.get("Statistics.member.1") else {
            return Ok(refusal(
                400,
                "InvalidParameterCombination",
                "The lab has no percentiles",
            ));
        };
        let now = Utc::now().timestamp_millis();
        let nominal = Duration::from_secs(seconds);
        let period = self.cloud.scaled_ms(nominal).max(1);
        let mut points = String::new();
        // Only periods that are over have a sample; so many as CloudWatch gives at most.
        let mut begin = (now / period - 1) * period;
        for _ in 0..1_440 {
            if begin < from || begin + period > to.min(now + 1_000) {
                break;
            }
            if let Some(value) = self.value(form, begin, begin + period)? {
                let stamp = DateTime::from_timestamp_millis(begin).unwrap_or_default();
                points.push_str("<member>");
                points.push_str(&leaf("Timestamp", stamp.to_rfc3339_opts(SecondsFormat::Millis, true)));
                points.push_str(&leaf("Unit", "None"));
                points.push_str(&leaf(statistic, value.to_string()));
                points.push_str("</member>");
            }
            begin -= period;
        }
        let result = format!("<Datapoints>{points}</Datapoints>{}", leaf("Label", text("MetricName")));
        Ok(query(operation, NAMESPACE, &result, false))
    }

    /// The value of one period. A count that is nought has no sample, as with the real one.
    fn value(&self, form: &BTreeMap<String, String>, from: i64, to: i64) -> Result<Option<f64>, LabError> {
        let text = |key: &str| form.get(key).map(String::as_str).unwrap_or_default();
        let dimension = |wanted: &str| {
            let named = |number: usize| text(&format!("Dimensions.member.{number}.Name")) == wanted;
            let number = (1..=10).find(|number| named(*number))?;
            form.get(&format!("Dimensions.member.{number}.Value")).cloned()
        };
        match (text("Namespace"), text("MetricName")) {
            ("AWS/DMS", metric) => {
                let task = TASK.rsplit(':').next().map(str::to_owned);
                let ours = dimension("ReplicationTaskIdentifier") == task
                    && dimension("ReplicationInstanceIdentifier").as_deref() == Some(MOVER.0);
                let behind = if ours { self.tables.behind(self.cloud)? } else { None };
                Ok(match metric {
                    // Changes are read as they are made.
                    "CDCLatencySource" => behind.map(|_| 0.0),
                    "CDCLatencyTarget" => behind,
                    _ => None,
                })
            }
            ("AWS/ApplicationELB", metric) => {
                let group = dimension("TargetGroup").unwrap_or_default();
                let side = group.strip_prefix("targetgroup/").unwrap_or(&group);
                let (all, failed) = self.hits.count(side, from, to);
                let count = match metric {
                    "RequestCount" => all,
                    "HTTPCode_Target_5XX_Count" => failed,
                    _ => 0,
                };
                Ok((count > 0).then(|| f64::from(count)))
            }
            _ => Ok(None),
        }
    }
}
