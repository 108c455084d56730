//! RDS databases and DMS tasks that the steps act on: whether they are there and settled, and what protects them.

use crate::provider::aws::AwsTarget;
use crate::provider::dms::task;
use crate::provider::rds::database::{Rds, Subject};

use super::Wish;
use super::finding::Finding;

/// Looks at the database of an `rds.*` step.
pub async fn look(wish: &Wish<'_>, target: &AwsTarget) -> Vec<Finding> {
    let Ok(subject) = Subject::new(wish.text("instance"), wish.text("cluster")) else {
        return Vec::new();
    };
    let about = subject.name().to_owned();
    let found = match Rds::open(target).await.describe(&subject).await {
        Ok(found) => found,
        Err(error) => return vec![Finding::failed(&about, "there", &error)],
    };
    let version = found.engine_version.as_deref().unwrap_or("of an unknown version");
    let seen = format!("{}, {} {version}", found.status, found.engine);
    let mut findings = vec![if found.is_settled() {
        Finding::green(&about, "there", seen)
    } else {
        let advice = "wait until it is available and no change of it is pending";
        Finding::red(&about, "there", seen, advice)
    }];
    findings.push(match found.settings.multi_az {
        Some(true) => Finding::green(&about, "Multi-AZ", "on"),
        Some(false) => Finding::amber(
            &about,
            "Multi-AZ",
            "off",
            "a failing zone would take it down: rds.modify with multi_az: true, well before the night",
        ),
        None => Finding::amber(&about, "Multi-AZ", "it is not told", "look at it in the console"),
    });
    findings.push(match found.settings.backup_retention {
        Some(days) if days > 0 => Finding::green(&about, "backups", format!("kept {days} days")),
        Some(_) => Finding::amber(
            &about,
            "backups",
            "automatic backups are off",
            "without them there is no way to a point in time: set backup_retention",
        ),
        None => Finding::amber(&about, "backups", "it is not told", "look at them in the console"),
    });
    findings.push(match found.encrypted {
        Some(true) => Finding::green(&about, "encryption at rest", "on"),
        Some(false) => Finding::amber(
            &about,
            "encryption at rest",
            "off",
            "it cannot be turned on later without a copy: does the client's policy allow that?",
        ),
        None => Finding::amber(
            &about,
            "encryption at rest",
            "it is not told",
            "look at it in the console",
        ),
    });
    findings
}

/// Looks at the task of a `dms.*` step.
pub async fn task(wish: &Wish<'_>, target: &AwsTarget) -> Vec<Finding> {
    let Some(arn) = wish.text("task") else {
        return Vec::new();
    };
    let about = arn.rsplit(':').next().unwrap_or(arn).to_owned();
    let client = task::client(target).await;
    let found = match task::describe(&client, arn).await {
        Ok(found) => found,
        Err(error) => return vec![Finding::failed(&about, "replication", &error)],
    };
    let seen = match &found.failure {
        Some(words) => format!("{}: {words}", found.status),
        None => found.status.clone(),
    };
    let advice = "look at the task's log; dms.start begins only a task that is ready or stopped";
    let mut findings = vec![match found.status.as_str() {
        "ready" | "stopped" | "running" | "starting" => Finding::green(&about, "replication", seen),
        "creating" | "modifying" | "testing" | "stopping" => {
            Finding::amber(&about, "replication", seen, "wait until it is ready")
        }
        _ => Finding::red(&about, "replication", seen, advice),
    }];
    findings.push(match found.tables_errored {
        0 => Finding::green(&about, "tables", "none in error"),
        count => Finding::red(&about, "tables", format!("{count} in error"), "reload or exclude them"),
    });
    findings
}
