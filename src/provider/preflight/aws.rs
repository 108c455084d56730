//! An AWS connection before the night: who we are there, whether the clocks agree, how many snapshots are left.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::provider::aws::AwsTarget;

use super::finding::Finding;
use super::{Wish, permissions};

/// AWS refuses signatures that are older than five minutes (Signature Version 4); near that, nothing may be begun.
const REFUSED: i64 = 240;
/// More than this shows a clock that nobody keeps.
const UNKEPT: i64 = 5;

/// Looks at the connection.
pub async fn look(name: &str, target: &AwsTarget, wishes: &[&Wish<'_>]) -> Vec<Finding> {
    let who = "identity";
    let caller = match target.caller().await {
        Ok(caller) => caller,
        Err(error) => return vec![Finding::failed(name, who, &error)],
    };
    let seen = format!("account {} in {}", target.account, target.region);
    let mut findings = vec![Finding::green(name, who, seen)];
    let (clock, quota, permissions) = tokio::join!(
        clock(name, target),
        quota(name, target),
        permissions::look(name, target, &caller, wishes)
    );
    findings.extend([clock, quota]);
    findings.extend(permissions);
    findings
}

/// The server's clock, from the `Date` of any answer (RFC 9110, 6.6.1).
async fn clock(name: &str, target: &AwsTarget) -> Finding {
    let probe = "clock";
    let url = target
        .endpoint
        .clone()
        .unwrap_or_else(|| format!("https://sts.{}.amazonaws.com/", target.region));
    let advice = "keep this machine's clock by NTP (chrony, systemd-timesyncd)";
    let asked = reqwest::Client::builder().timeout(Duration::from_secs(5)).build();
    let answer = match asked {
        Ok(client) => client.head(&url).send().await,
        Err(error) => return Finding::amber(name, probe, format!("it could not be asked: {error}"), advice),
    };
    let now = Utc::now();
    let date = answer.ok().and_then(|answer| {
        let date = answer.headers().get(reqwest::header::DATE)?.to_str().ok()?.to_owned();
        DateTime::parse_from_rfc2822(&date).ok()
    });
    let Some(date) = date else {
        return Finding::amber(name, probe, "the server did not say what time it is", advice);
    };
    let apart = (now - date.with_timezone(&Utc)).num_seconds();
    let seen = format!("{apart} s from the server's");
    if apart.abs() <= UNKEPT {
        Finding::green(name, probe, seen)
    } else if apart.abs() <= REFUSED {
        Finding::amber(name, probe, seen, advice)
    } else {
        Finding::red(name, probe, seen, advice)
    }
}

/// Manual snapshots that are left (`DescribeAccountAttributes`).
async fn quota(name: &str, target: &AwsTarget) -> Finding {
    let probe = "snapshot quota";
    let client = aws_sdk_rds::Client::new(target.reading().await);
    let answer = match client.describe_account_attributes().send().await {
        Ok(answer) => answer,
        Err(_unknown) => {
            let advice = "allow rds:DescribeAccountAttributes, or look at the quota in the console";
            return Finding::amber(name, probe, "it could not be read", advice);
        }
    };
    let quotas = answer.account_quotas();
    let manual = quotas
        .iter()
        .find(|quota| quota.account_quota_name() == Some("ManualSnapshots"));
    let Some((used, max)) = manual.and_then(|quota| Some((quota.used()?, quota.max()?))) else {
        return Finding::amber(name, probe, "it is not told", "look at the quota in the console");
    };
    let seen = format!("{used} of {max} manual snapshots");
    match max - used {
        ..=0 => Finding::red(
            name,
            probe,
            seen,
            "delete snapshots that nobody needs, or have the quota raised",
        ),
        1..=5 => Finding::amber(name, probe, seen, "few are left: delete some, or have the quota raised"),
        _ => Finding::green(name, probe, seen),
    }
}
