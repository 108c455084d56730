//! DMS as far as it is called (API 2016-01-01, JSON 1.1, epoch timestamps): one task.

use serde_json::{Value, json};

use super::cloud::{Cloud, DMS_START, DMS_STOP, FULL_LOAD, now_ms};
use super::endpoints::{MOVER, TASK};
use super::replicator::Tables;
use super::world::LabError;
use super::xml::{Answer, json as answer_json};

/// Where the task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Ready,
    Starting,
    Running,
    Stopping,
    Stopped,
}

impl Status {
    const fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }
}

/// The task's status, from the times that are stored.
pub fn status(cloud: &Cloud) -> Result<Status, LabError> {
    let (Some(started), stopped) = (cloud.get("task.started")?, cloud.get("task.stop")?) else {
        return Ok(Status::Ready);
    };
    Ok(match stopped.filter(|stopped| *stopped >= started) {
        Some(stop) if cloud.share(stop, DMS_STOP) < 1.0 => Status::Stopping,
        Some(_) => Status::Stopped,
        None if cloud.share(started, DMS_START) < 1.0 => Status::Starting,
        None => Status::Running,
    })
}

/// The moment at which the task began to run.
pub fn running_since(cloud: &Cloud) -> Result<Option<i64>, LabError> {
    Ok(cloud
        .get("task.started")?
        .map(|started| started + cloud.scaled_ms(DMS_START)))
}

/// How much of the full load is due.
pub fn load_share(cloud: &Cloud) -> Result<f64, LabError> {
    match cloud.get("task.first")? {
        Some(first) => Ok(cloud.share(first + cloud.scaled_ms(DMS_START), FULL_LOAD)),
        None => Ok(0.0),
    }
}

fn fault(status: u16, kind: &str, message: &str) -> Answer {
    answer_json(status, &json!({ "__type": kind, "message": message }), false)
}

/// Answers an operation.
pub fn answer(cloud: &Cloud, tables: &Tables, operation: &str, body: &Value) -> Result<Answer, LabError> {
    let arn = body
        .get("ReplicationTaskArn")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let known = arn == TASK;
    let missing = || {
        fault(
            400,
            "ResourceNotFoundFault",
            &format!("Replication task {arn} not found."),
        )
    };
    match operation {
        "DescribeReplicationTasks" => describe(cloud, tables, body),
        "DescribeReplicationInstances" => Ok(answer_json(
            200,
            &json!({ "ReplicationInstances": [{
                "ReplicationInstanceIdentifier": MOVER.0,
                "ReplicationInstanceArn": MOVER.1,
                "ReplicationInstanceStatus": "available",
            }] }),
            false,
        )),
        "StartReplicationTask" | "StopReplicationTask" | "DescribeTableStatistics" if !known => Ok(missing()),
        "StartReplicationTask" => start(cloud, tables, body),
        "StopReplicationTask" => stop(cloud, tables),
        "DescribeTableStatistics" => Ok(answer_json(
            200,
            &json!({ "ReplicationTaskArn": TASK, "TableStatistics": tables.statistics(cloud)? }),
            false,
        )),
        other => Ok(fault(
            400,
            "UnknownOperationException",
            &format!("The lab does not know {other}"),
        )),
    }
}

fn describe(cloud: &Cloud, tables: &Tables, body: &Value) -> Result<Answer, LabError> {
    let filters = body
        .get("Filters")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let named = filters
        .iter()
        .filter_map(|filter| filter.get("Values").and_then(Value::as_array))
        .flatten()
        .filter_map(Value::as_str)
        .all(|value| value == TASK || value == "lab-erp");
    if !named {
        return Ok(fault(
            400,
            "ResourceNotFoundFault",
            "No Tasks found matching the specified criteria.",
        ));
    }
    Ok(answer_json(
        200,
        &json!({ "ReplicationTasks": [task(cloud, tables)?] }),
        false,
    ))
}

fn seconds(ms: i64) -> Value {
    json!(std::time::Duration::from_millis(u64::try_from(ms).unwrap_or(0)).as_secs_f64())
}

fn task(cloud: &Cloud, tables: &Tables) -> Result<Value, LabError> {
    let status = status(cloud)?;
    let percent = tables.load_percent(cloud)?;
    let mut stats = json!({
        "FullLoadProgressPercent": percent,
        "ElapsedTimeMillis": 0,
        "TablesLoaded": if percent == 100 { 3 } else { 0 },
        "TablesLoading": if percent == 100 { 0 } else { 3 },
        "TablesQueued": 0,
        "TablesErrored": 0,
    });
    let mut task = json!({
        "ReplicationTaskIdentifier": "lab-erp",
        "ReplicationTaskArn": TASK,
        "ReplicationInstanceArn": MOVER.1,
        "MigrationType": "full-load-and-cdc",
        "Status": status.word(),
        "TableMappings": "{\"rules\":[]}",
        "ReplicationTaskSettings": "{\"FullLoadSettings\":{\"TargetTablePrepMode\":\"DO_NOTHING\"},\"ValidationSettings\":{\"EnableValidation\":true}}",
    });
    if let (Some(started), Some(fields)) = (cloud.get("task.started")?, task.as_object_mut()) {
        fields.insert("ReplicationTaskStartDate".to_owned(), seconds(started));
        if let Some(stats) = stats.as_object_mut() {
            stats.insert("StartDate".to_owned(), seconds(started));
        }
    }
    if let (Some(stop), Some(stats)) = (cloud.get("task.stop")?, stats.as_object_mut()) {
        stats.insert("StopDate".to_owned(), seconds(stop));
    }
    if let Some(fields) = task.as_object_mut() {
        fields.insert("ReplicationTaskStats".to_owned(), stats);
    }
    Ok(task)
}

fn start(cloud: &Cloud, tables: &Tables, body: &Value) -> Result<Answer, LabError> {
    let kind = body
        .get("StartReplicationTaskType")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let status = status(cloud)?;
    let refused = match (kind, status) {
        ("start-replication", Status::Ready) | ("resume-processing" | "reload-target", Status::Stopped) => None,
        ("start-replication", Status::Stopped) => {
            Some("START_REPLICATION is not possible for a task that ran before; use RESUME_PROCESSING".to_owned())
        }
        ("resume-processing", Status::Ready) => Some("Test run has never been started, cannot resume".to_owned()),
        _ => Some(format!("Replication task is currently {}, cannot start", status.word())),
    };
    if let Some(words) = refused {
        return Ok(fault(400, "InvalidResourceStateFault", &words));
    }
    let now = now_ms();
    if kind != "resume-processing" {
        cloud.set("task.first", now)?;
    }
    cloud.set("task.started", now)?;
    Ok(answer_json(
        200,
        &json!({ "ReplicationTask": task(cloud, tables)? }),
        true,
    ))
}

fn stop(cloud: &Cloud, tables: &Tables) -> Result<Answer, LabError> {
    match status(cloud)? {
        Status::Running | Status::Starting => {
            cloud.set("task.stop", now_ms())?;
            Ok(answer_json(
                200,
                &json!({ "ReplicationTask": task(cloud, tables)? }),
                true,
            ))
        }
        other @ (Status::Ready | Status::Stopping | Status::Stopped) => {
            let words = format!("Replication task is currently {}, cannot stop", other.word());
            Ok(fault(400, "InvalidResourceStateFault", &words))
        }
    }
}
