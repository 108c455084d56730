//! A replication task as DMS describes it (API 2016-01-01).

use aws_sdk_databasemigration::Client;
use aws_sdk_databasemigration::types::{Filter, TableStatistics};

use crate::provider::action::{ActionError, ActionErrorKind, Ready};
use crate::provider::aws::classify::says;
use crate::provider::aws::{AwsTarget, Sent, classify};

/// What is known of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    pub status: String,
    /// Milliseconds since the epoch of the last start.
    pub started: Option<i64>,
    /// Milliseconds since the epoch of the last stop.
    pub stopped: Option<i64>,
    pub full_load_percent: i32,
    pub tables_errored: i32,
    pub failure: Option<String>,
    pub preparation: Option<String>,
    pub instance_arn: Option<String>,
}

/// The client that changes: what it sends is sent once.
pub async fn writer(target: &AwsTarget) -> Client {
    Client::new(target.config().await)
}

/// The client that reads, and tries again.
pub async fn client(target: &AwsTarget) -> Client {
    Client::new(target.reading().await)
}

/// Reads a task.
pub async fn describe(client: &Client, arn: &str) -> Result<Task, ActionError> {
    let permanent = |words: String| ActionError::new(ActionErrorKind::Permanent, words);
    let filter = Filter::builder()
        .name("replication-task-arn")
        .values(arn)
        .build()
        .map_err(|error| permanent(error.to_string()))?;
    let nobody = || permanent(format!("there is no replication task {arn}; check the ARN"));
    let answer = match client.describe_replication_tasks().filters(filter).send().await {
        Ok(answer) => answer,
        Err(error) if says(&error, "ResourceNotFound") => return Err(nobody()),
        Err(error) => return Err(classify(error, "dms:DescribeReplicationTasks", Sent::Read)),
    };
    let found = answer.replication_tasks().first().ok_or_else(nobody)?;
    let stats = found.replication_task_stats();
    let millis = |at: &aws_smithy_types::DateTime| at.to_millis().ok();
    Ok(Task {
        status: found.status().unwrap_or_default().to_owned(),
        started: found.replication_task_start_date().and_then(millis),
        stopped: stats.and_then(|stats| stats.stop_date()).and_then(millis),
        full_load_percent: stats.map_or(0, |stats| stats.full_load_progress_percent()),
        tables_errored: stats.map_or(0, |stats| stats.tables_errored()),
        failure: found.last_failure_message().map(str::to_owned),
        preparation: found.replication_task_settings().and_then(preparation),
        instance_arn: found.replication_instance_arn().map(str::to_owned),
    })
}

fn preparation(settings: &str) -> Option<String> {
    let settings: serde_json::Value = serde_json::from_str(settings).ok()?;
    settings
        .get("FullLoadSettings")?
        .get("TargetTablePrepMode")?
        .as_str()
        .map(str::to_owned)
}

/// What a read of a task binds, and how the task stands.
pub async fn ready(target: &AwsTarget, arn: &str) -> Result<Ready, ActionError> {
    target.prove_account().await?;
    target.prove_place(arn)?;
    let task = describe(&client(target).await, arn).await?;
    let mut identity = target.identity_json();
    if let Some(fields) = identity.as_object_mut() {
        fields.insert("task".to_owned(), serde_json::json!(arn));
    }
    Ok(Ready {
        identity,
        facts: vec![format!("the task is {}", task.status)],
    })
}

/// The name of the replication instance that a task runs on: CloudWatch calls it by its name, the task by its ARN.
pub async fn instance_name(client: &Client, arn: &str) -> Result<String, ActionError> {
    let permanent = |words: String| ActionError::new(ActionErrorKind::Permanent, words);
    let on = describe(client, arn).await?.instance_arn;
    let on = on.ok_or_else(|| permanent(format!("the task {arn} tells no replication instance; look at it")))?;
    let filter = Filter::builder()
        .name("replication-instance-arn")
        .values(&on)
        .build()
        .map_err(|error| permanent(error.to_string()))?;
    let answer = client
        .describe_replication_instances()
        .filters(filter)
        .send()
        .await
        .map_err(|error| classify(error, "dms:DescribeReplicationInstances", Sent::Read))?;
    let instances = answer.replication_instances().iter();
    let found = instances
        .filter(|instance| instance.replication_instance_arn() == Some(on.as_str()))
        .find_map(|instance| instance.replication_instance_identifier());
    found
        .map(str::to_owned)
        .ok_or_else(|| permanent(format!("there is no replication instance {on}; look at the task")))
}

/// The statistics of every table.
pub async fn statistics(client: &Client, arn: &str) -> Result<Vec<TableStatistics>, ActionError> {
    let mut tables = Vec::new();
    let mut marker: Option<String> = None;
    loop {
        let answer = client
            .describe_table_statistics()
            .replication_task_arn(arn)
            .set_marker(marker)
            .send()
            .await
            .map_err(|error| classify(error, "dms:DescribeTableStatistics", Sent::Read))?;
        tables.extend(answer.table_statistics().iter().cloned());
        marker = answer.marker().map(str::to_owned);
        if marker.as_deref().is_none_or(str::is_empty) {
            return Ok(tables);
        }
    }
}
