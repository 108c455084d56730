//! The replicator: copies rows from source to target while the task runs, first the load, then what comes after. Its
//! position is kept on the target in the same transaction as the rows, so that a kill repeats nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::cloud::Cloud;
use super::dms::{Status, load_share, status};
use super::fault::Fault;
use super::seed::open;
use super::world::LabError;

/// Tables with their columns.
const TABLES: &[(&str, &str)] = &[
    ("customers", "key, name, city"),
    ("orders", "key, customer, amount, writer, created_at"),
    ("ledger", "key, order_key, amount, created_at"),
    ("pointsman_fence", "token, written_at"),
];
const BEAT: Duration = Duration::from_millis(100);
/// The row that arrives altered, where that fault is asked for.
const ALTERED: &str = "seed-00100";

/// What of it is altered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Altered {
    Amount,
    /// Whose order it is: a sum does not show it.
    Customer,
}

/// The replicated tables.
#[derive(Debug, Clone)]
pub struct Tables {
    pub source: PathBuf,
    pub target: PathBuf,
}

fn last(db: &Connection, table: &str) -> Result<i64, LabError> {
    Ok(
        db.query_row(&format!("select coalesce(max(rowid), 0) from {table}"), [], |row| {
            row.get(0)
        })?,
    )
}

fn position(target: &Connection, table: &str) -> Result<i64, LabError> {
    let sql = "select coalesce((select last from lab_position where tbl = ?), 0)";
    Ok(target.query_row(sql, [table], |row| row.get(0))?)
}

impl Tables {
    /// Percent of the full load, as DMS tells it.
    pub fn load_percent(&self, cloud: &Cloud) -> Result<i64, LabError> {
        if cloud.get("task.loaded")?.is_some() {
            return Ok(100);
        }
        let percent = (load_share(cloud)? * 100.0).floor().min(99.0);
        let percent = if cloud.has(Fault::ReplicationStalls) {
            percent.min(50.0)
        } else {
            percent
        };
        // Between 0 and 99.
        Ok(percent as i64)
    }

    /// How far the target is behind, in seconds: one for every row that has not arrived. None while nothing is replicated.
    pub fn behind(&self, cloud: &Cloud) -> Result<Option<f64>, LabError> {
        if status(cloud)? != Status::Running || cloud.get("task.loaded")?.is_none() {
            return Ok(None);
        }
        let (source, target) = (open(&self.source)?, open(&self.target)?);
        let mut rows = 0;
        for (table, _) in TABLES {
            rows += (last(&source, table)? - position(&target, table)?).max(0);
        }
        Ok(Some(f64::from(u32::try_from(rows).unwrap_or(u32::MAX))))
    }

    /// `DescribeTableStatistics`.
    pub fn statistics(&self, cloud: &Cloud) -> Result<Vec<Value>, LabError> {
        if cloud.get("task.first")?.is_none() {
            return Ok(Vec::new());
        }
        let (source, target) = (open(&self.source)?, open(&self.target)?);
        let loaded = cloud.get("task.loaded")?.is_some();
        let mut all = Vec::new();
        for (table, _) in TABLES {
            let pos = position(&target, table)?;
            let load = cloud.get(&format!("load.{table}"))?.unwrap_or(pos).min(pos);
            let sql = format!("select count(*) from {table} where rowid > ?");
            let pending: i64 = source.query_row(&sql, [pos], |row| row.get(0))?;
            let failed = i64::from(*table == "orders" && cloud.has(Fault::RowDiffers) && pos > 0);
            let state = match (loaded, pending, failed) {
                (_, _, 1) => "Mismatched records",
                (true, 0, _) => "Validated",
                _ => "Pending records",
            };
            all.push(json!({
                "SchemaName": "erp",
                "TableName": table,
                "Inserts": pos - load,
                "Deletes": 0, "Updates": 0, "Ddls": 0,
                "FullLoadRows": load,
                "FullLoadCondtnlChkFailedRows": 0, "FullLoadErrorRows": 0,
                "TableState": if loaded { "Table completed" } else { "Full load" },
                "ValidationState": state,
                "ValidationPendingRecords": pending,
                "ValidationFailedRecords": failed,
                "ValidationSuspendedRecords": 0,
            }));
        }
        Ok(all)
    }

    /// Copies what is due.
    fn copy(&self, cloud: &Cloud) -> Result<(), LabError> {
        let share = match cloud.has(Fault::ReplicationStalls) {
            true => load_share(cloud)?.min(0.5),
            false => load_share(cloud)?,
        };
        let (source, mut target) = (open(&self.source)?, open(&self.target)?);
        let loaded = cloud.get("task.loaded")?.is_some();
        let altered = match (cloud.has(Fault::RowDiffers), cloud.has(Fault::RowDiffersUnseen)) {
            (true, _) => Some(Altered::Amount),
            (false, true) => Some(Altered::Customer),
            (false, false) => None,
        };
        for (table, columns) in TABLES {
            let end = last(&source, table)?;
            let due = if loaded || share >= 1.0 {
                end
            } else {
                (share * end as f64) as i64
            };
            let from = position(&target, table)?;
            if due > from {
                copy_rows(&source, &mut target, table, columns, (from, due), altered)?;
            }
            if !loaded && share >= 1.0 {
                cloud.set(&format!("load.{table}"), due)?;
            }
        }
        if !loaded && share >= 1.0 {
            cloud.set("task.loaded", super::cloud::now_ms())?;
        }
        Ok(())
    }

    /// Copies while the task runs, until it is asked to end.
    pub async fn run(self, cloud: Arc<Cloud>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(BEAT) => {}
            }
            let (tables, cloud) = (self.clone(), cloud.clone());
            let worked = tokio::task::spawn_blocking(move || match status(&cloud)? {
                Status::Running => tables.copy(&cloud),
                Status::Ready | Status::Starting | Status::Stopping | Status::Stopped => Ok(()),
            })
            .await;
            match worked {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the lab's replicator goes on after a fault"),
                Err(error) => tracing::error!(%error, "the lab's replicator broke"),
            }
        }
    }
}

fn copy_rows(
    source: &Connection,
    target: &mut Connection,
    table: &str,
    columns: &str,
    (from, to): (i64, i64),
    altered: Option<Altered>,
) -> Result<(), LabError> {
    let count = columns.split(',').count();
    let marks = vec!["?"; count].join(", ");
    let mut read = source.prepare(&format!(
        "select {columns} from {table} where rowid > ? and rowid <= ? order by rowid"
    ))?;
    let mut rows = read.query([from, to])?;
    let transaction = target.transaction()?;
    {
        let mut write = transaction.prepare(&format!("insert or replace into {table}({columns}) values ({marks})"))?;
        while let Some(row) = rows.next()? {
            let mut cells: Vec<rusqlite::types::Value> = Vec::with_capacity(count);
            for index in 0..count {
                cells.push(row.get(index)?);
            }
            let is_meant =
                table == "orders" && matches!(cells.first(), Some(rusqlite::types::Value::Text(key)) if key == ALTERED);
            match altered.filter(|_| is_meant) {
                None => {}
                Some(Altered::Amount) => {
                    if let Some(rusqlite::types::Value::Integer(amount)) = cells.get_mut(2) {
                        *amount += 1;
                    }
                }
                Some(Altered::Customer) => {
                    if let Some(customer) = cells.get_mut(1) {
                        *customer = rusqlite::types::Value::Text("c0000".to_owned());
                    }
                }
            }
            write.execute(rusqlite::params_from_iter(cells))?;
        }
    }
    transaction.execute("insert or replace into lab_position values (?, ?)", (table, to))?;
    transaction.commit()?;
    Ok(())
}
