//! SQL Server: one statement that reads by its words, in a transaction that is always rolled back. No session of the server
//! is closed to writes: what keeps a read from writing is the reading of its words (`reading.rs`) and the roll back, and
//! best of all a user who may only read.

use chrono::Utc;
use futures::TryStreamExt;
use serde_json::{Value, json};
use tiberius::error::Error;
use tiberius::{QueryStream, Row, ToSql};
use tokio_util::sync::CancellationToken;

use crate::provider::action::{ActionError, ActionErrorKind};
use crate::provider::sql::about::{About, ahead};
use crate::provider::sql::reading::numbered;
use crate::provider::sql::rows::{KEPT, Rows};
use crate::provider::sql::server::{Protection, ServerTarget};
use crate::provider::sql::session::until_ended;

use super::connect::{Connection, connect};
use super::errors::{failed, number};
use super::values::{Bound, declared, json};

/// A session that reads.
pub struct Reader {
    connection: Connection,
    target: ServerTarget,
}

/// Connects. `secondary`: a listener may send it to a secondary, which what belongs to a change must never be read from.
pub async fn reader(target: &ServerTarget, secondary: bool) -> Result<Reader, ActionError> {
    Ok(Reader {
        connection: connect(target, secondary).await?,
        target: target.clone(),
    })
}

impl Reader {
    /// What the server says of itself.
    pub async fn about(&mut self) -> Result<About, ActionError> {
        let named = self.target.to_string();
        let wrong = |error: Error| failed(&error, &named);
        let asked = Utc::now();
        let sql = "select cast(serverproperty('ProductVersion') as nvarchar(128)), \
                   cast(serverproperty('Edition') as nvarchar(128)), cast(serverproperty('ServerName') as nvarchar(256)), \
                   db_name(), cast(db_id() as int), \
                   cast(databasepropertyex(db_name(), 'Updateability') as nvarchar(60)), \
                   convert(nvarchar(27), sysutcdatetime(), 121)";
        let row = self.one(sql).await.map_err(wrong)?;
        let heard = Utc::now();
        let Some(row) = row else {
            return Err(ActionError::new(
                ActionErrorKind::Permanent,
                format!("{named}: it says nothing of itself"),
            ));
        };
        let text = |index: usize| {
            row.try_get::<&str, _>(index)
                .ok()
                .flatten()
                .unwrap_or_default()
                .to_owned()
        };
        let clock = chrono::NaiveDateTime::parse_from_str(&text(6), "%Y-%m-%d %H:%M:%S%.f").map_err(|error| {
            let words = format!("{named}: its clock says {:?}: {error}", text(6));
            ActionError::new(ActionErrorKind::Permanent, words)
        })?;
        let database_id: Option<i32> = row.try_get(4).map_err(wrong)?;
        let identity = json!({
            "engine": "sqlserver",
            "host": self.target.host,
            "port": self.target.port,
            "server": text(2),
            "database": text(3),
            "database_id": database_id,
        });
        Ok(About {
            product: format!("SQL Server {} {}", text(0), text(1)).trim_end().to_owned(),
            replica: self.follows().await?,
            behind_s: None,
            read_only: (!text(5).is_empty()).then(|| text(5) == "READ_ONLY"),
            // Required of the server, else there is no session.
            encrypted: self.target.protection != Protection::Off,
            ahead_s: ahead(clock.and_utc(), asked, heard),
            identity,
        })
    }

    /// Whether the database is an availability group's secondary; nothing where it may not be asked.
    async fn follows(&mut self) -> Result<Option<bool>, ActionError> {
        let sql = "select cast(case sys.fn_hadr_is_primary_replica(db_name()) when 0 then 1 else 0 end as int)";
        match self.one(sql).await {
            Ok(row) => {
                let told: Option<i32> = row.and_then(|row| row.try_get(0).ok().flatten());
                Ok(told.map(|told| told == 1))
            }
            // No right, or no such function.
            Err(error) if number(&error).is_some() => Ok(None),
            Err(error) => Err(failed(&error, &self.target.to_string())),
        }
    }

    async fn one(&mut self, sql: &str) -> Result<Option<Row>, Error> {
        self.connection.client.simple_query(sql).await?.into_row().await
    }

    /// Whether the server understands a statement; nothing is read.
    pub async fn prepare(&mut self, sql: &str, params: &[Value]) -> Result<(), ActionError> {
        counted(sql, params)?;
        let described = self.described(sql, params).await;
        described.map_err(|error| failed(&error, "the query"))
    }

    /// Has the server describe what a statement gives; nothing is executed.
    async fn described(&mut self, sql: &str, params: &[Value]) -> Result<(), Error> {
        let kinds: Vec<String> = params
            .iter()
            .zip(1..)
            .map(|(value, number)| format!("@P{number} {}", declared(value)))
            .collect();
        let kinds = kinds.join(", ");
        let (asking, given): (&str, Vec<&dyn ToSql>) = if params.is_empty() {
            ("exec sys.sp_describe_first_result_set @tsql = @P1", vec![&sql])
        } else {
            (
                "exec sys.sp_describe_first_result_set @tsql = @P1, @params = @P2",
                vec![&sql, &kinds],
            )
        };
        let answer = self.connection.client.query(asking, &given).await?;
        answer.into_results().await.map(drop)
    }

    /// Whether the server understands a change, as far as it can tell without executing it.
    pub async fn understands(&mut self, sql: &str, params: &[Value]) -> Result<(), ActionError> {
        counted(sql, params)?;
        match self.described(sql, params).await {
            Ok(()) => Ok(()),
            // What it gives cannot be told beforehand, which is no fault of it (11501 and following).
            Err(error) if number(&error).is_some_and(|number| (11_501..11_600).contains(&number)) => Ok(()),
            Err(error) => Err(failed(&error, "the statement")),
        }
    }

    /// Reads rows; all are counted, the first are kept. A cancel, or the end of our patience, cuts the session.
    pub async fn rows(&mut self, sql: &str, params: &[Value], cancel: &CancellationToken) -> Result<Rows, ActionError> {
        let ender = self.connection.cut();
        let patience = self.target.patience;
        until_ended(self.read(sql, params), Box::new(ender), cancel, patience).await
    }

    async fn read(&mut self, sql: &str, params: &[Value]) -> Result<Rows, ActionError> {
        counted(sql, params)?;
        let wrong = |error: Error| failed(&error, "the query");
        let client = &mut self.connection.client;
        batch(client.simple_query("begin transaction").await)
            .await
            .map_err(wrong)?;
        let bound: Vec<Bound<'_>> = params.iter().map(Bound).collect();
        let given: Vec<&dyn ToSql> = bound.iter().map(|value| value as &dyn ToSql).collect();
        let found = gathered(client.query(sql, &given).await.map_err(wrong)?).await?;
        batch(client.simple_query("rollback transaction").await)
            .await
            .map_err(wrong)?;
        Ok(found)
    }
}

/// The rows of the first answer; a second one is refused.
async fn gathered(mut answer: QueryStream<'_>) -> Result<Rows, ActionError> {
    let wrong = |error: Error| failed(&error, "the query");
    let columns = answer.columns().await.map_err(wrong)?.unwrap_or_default();
    let mut found = Rows {
        columns: columns.iter().map(|column| column.name().to_owned()).collect(),
        ..Rows::default()
    };
    while let Some(item) = answer.try_next().await.map_err(wrong)? {
        let Some(row) = item.into_row() else { continue };
        if row.result_index() > 0 {
            let words = "the query gives more than one table; write one step for each";
            return Err(ActionError::new(ActionErrorKind::Permanent, words));
        }
        found.count += 1;
        if found.kept.len() < KEPT {
            found.kept.push(cells(&row)?);
        }
    }
    Ok(found)
}

async fn batch(answer: Result<QueryStream<'_>, Error>) -> Result<(), Error> {
    answer?.into_results().await.map(drop)
}

/// Refuses another number of parameters than the statement takes.
pub fn counted(sql: &str, params: &[Value]) -> Result<(), ActionError> {
    let takes = numbered(sql)?;
    if takes == params.len() {
        return Ok(());
    }
    let words = format!(
        "the query takes {takes} parameters, {} are given; write @P1, @P2 and so on, one for each",
        params.len()
    );
    Err(ActionError::new(ActionErrorKind::Permanent, words))
}

fn cells(row: &Row) -> Result<Vec<Value>, ActionError> {
    row.cells()
        .map(|(column, data)| {
            json(column.column_type(), data)
                .map_err(|why| ActionError::new(ActionErrorKind::Permanent, format!("column {} {why}", column.name())))
        })
        .collect()
}
