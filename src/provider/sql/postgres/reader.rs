//! PostgreSQL: reads in a transaction that the server keeps read-only, one statement each, with a limit of its own and a
//! cancel that reaches the server. Must not send anything that could change something.

use chrono::Utc;
use serde_json::{Value, json};
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Error, Row};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::sync::CancellationToken;

use crate::provider::action::{ActionError, ActionErrorKind};
use crate::provider::sql::about::{About, ahead};
use crate::provider::sql::rows::{KEPT, Rows, exact, float, hex};
use crate::provider::sql::server::{GRACE, ServerTarget};
use crate::provider::sql::session::until_ended;

use super::connect::{connect, failed};
use super::numeric::{Numeric, Uuid};
use super::session::Cancel;

/// A session that reads.
pub struct Reader {
    client: Client,
    tls: Option<MakeRustlsConnect>,
    target: ServerTarget,
}

/// Connects, and closes the session to writes.
pub async fn reader(target: &ServerTarget) -> Result<Reader, ActionError> {
    let (client, tls) = connect(target, true).await?;
    Ok(Reader {
        client,
        tls,
        target: target.clone(),
    })
}

impl Reader {
    /// What the server says of itself.
    pub async fn about(&mut self) -> Result<About, ActionError> {
        let sql = "select current_setting('server_version'), pg_is_in_recovery(), current_database(), \
                   coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false), \
                   clock_timestamp(), \
                   coalesce(inet_server_addr()::text, ''), (select oid from pg_database where datname = current_database()), \
                   extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())::float8";
        let asked = Utc::now();
        let row = self
            .client
            .query_one(sql, &[])
            .await
            .map_err(|error| failed(&error, &self.target.to_string()))?;
        let (version, database, oid): (String, String, u32) = (row.get(0), row.get(2), row.get(6));
        Ok(About {
            product: format!("PostgreSQL {version}"),
            replica: Some(row.get(1)),
            behind_s: row.get(7),
            // A standby is; else it is each session's own.
            read_only: row.get::<_, bool>(1).then_some(true),
            encrypted: row.get(3),
            ahead_s: ahead(row.get(4), asked, Utc::now()),
            identity: json!({
                "engine": "postgres",
                "host": self.target.host,
                "port": self.target.port,
                "address": row.get::<_, String>(5),
                "database": database,
                "oid": oid,
            }),
        })
    }

    /// Whether the server understands a statement; nothing is read.
    pub async fn prepare(&mut self, sql: &str, params: usize) -> Result<(), ActionError> {
        let prepared = self.client.prepare(sql).await;
        let prepared = prepared.map_err(|error| failed(&error, "the query"))?;
        counted(prepared.params().len(), params)
    }

    /// Reads rows; all are counted, the first are kept. A cancel ends the statement on the server too.
    pub async fn rows(&mut self, sql: &str, params: &[Value], cancel: &CancellationToken) -> Result<Rows, ActionError> {
        let ender = Cancel {
            token: self.client.cancel_token(),
            tls: self.tls.clone(),
        };
        let patience = self.target.patience + GRACE;
        until_ended(self.read(sql, params), Box::new(ender), cancel, patience).await
    }

    async fn read(&mut self, sql: &str, params: &[Value]) -> Result<Rows, ActionError> {
        use futures::TryStreamExt;
        let wrong = |error: Error| failed(&error, "the query");
        let reading = self
            .client
            .build_transaction()
            .read_only(true)
            .start()
            .await
            .map_err(wrong)?;
        let statement = reading.prepare(sql).await.map_err(wrong)?;
        counted(statement.params().len(), params.len())?;
        let mut found = Rows {
            columns: statement
                .columns()
                .iter()
                .map(|column| column.name().to_owned())
                .collect(),
            ..Rows::default()
        };
        let bound: Vec<Bound<'_>> = params.iter().map(Bound).collect();
        let rows = reading.query_raw(&statement, bound.iter()).await.map_err(wrong)?;
        tokio::pin!(rows);
        while let Some(row) = rows.try_next().await.map_err(wrong)? {
            found.count += 1;
            if found.kept.len() < KEPT {
                found.kept.push(cells(&row)?);
            }
        }
        Ok(found)
    }
}

fn counted(takes: usize, given: usize) -> Result<(), ActionError> {
    if takes == given {
        return Ok(());
    }
    let words = format!("the query takes {takes} parameters, {given} are given; write $1, $2 and so on, one for each");
    Err(ActionError::new(ActionErrorKind::Permanent, words))
}

/// A scalar, sent as text: the server reads it as the type that it expects.
#[derive(Debug)]
pub(super) struct Bound<'a>(pub(super) &'a Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self, _: &Type, out: &mut bytes::BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        let text = match self.0 {
            Value::Null => return Ok(IsNull::Yes),
            Value::String(text) => text.clone(),
            other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => other.to_string(),
        };
        out.extend_from_slice(text.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

/// A row as JSON. What JSON has no number for is a text; a type that is not known here is named.
fn cells(row: &Row) -> Result<Vec<Value>, ActionError> {
    (0..row.len()).map(|index| cell(row, index)).collect()
}

fn cell(row: &Row, index: usize) -> Result<Value, ActionError> {
    fn of<'a, T: tokio_postgres::types::FromSql<'a>>(
        row: &'a Row,
        index: usize,
        json: impl FnOnce(T) -> Value,
    ) -> Result<Value, Error> {
        Ok(row.try_get::<_, Option<T>>(index)?.map_or(Value::Null, json))
    }
    let column = row.columns().get(index);
    let kind = column.map_or(&Type::TEXT, |column| column.type_());
    let value = match *kind {
        Type::BOOL => of(row, index, Value::Bool),
        Type::INT2 => of(row, index, |value: i16| json!(value)),
        Type::INT4 => of(row, index, |value: i32| json!(value)),
        Type::INT8 => of(row, index, |value: i64| json!(value)),
        Type::OID => of(row, index, |value: u32| json!(value)),
        Type::FLOAT4 => of(row, index, |value: f32| float(f64::from(value))),
        Type::FLOAT8 => of(row, index, float),
        Type::NUMERIC => of(row, index, |value: Numeric| exact(value.0)),
        Type::UUID => of(row, index, |value: Uuid| Value::String(value.0)),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN => of(row, index, Value::String),
        Type::JSON | Type::JSONB => of(row, index, |value: Value| value),
        Type::BYTEA => of(row, index, |value: Vec<u8>| hex(&value)),
        Type::TIMESTAMP => of(row, index, |value: chrono::NaiveDateTime| {
            Value::String(value.format("%Y-%m-%d %H:%M:%S%.6f").to_string())
        }),
        Type::TIMESTAMPTZ => of(row, index, |value: chrono::DateTime<chrono::Utc>| {
            Value::String(value.format("%Y-%m-%d %H:%M:%S%.6fZ").to_string())
        }),
        Type::DATE => of(row, index, |value: chrono::NaiveDate| Value::String(value.to_string())),
        Type::TIME => of(row, index, |value: chrono::NaiveTime| {
            Value::String(value.format("%H:%M:%S%.6f").to_string())
        }),
        _ => {
            let name = column.map_or("?", |column| column.name());
            let words = format!("column {name} is of type {kind}, which cannot be shown; cast it: {name}::text");
            return Err(ActionError::new(ActionErrorKind::Permanent, words));
        }
    };
    value.map_err(|error| failed(&error, "the answer"))
}
