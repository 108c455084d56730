//! MySQL and MariaDB: reads in a session that the server keeps read-only, one prepared statement each, with a limit of its
//! own and a cancel that reaches the server. Must not send anything that could change something.

use chrono::{NaiveDateTime, Utc};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Params, Row, Value as Cell};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::provider::action::{ActionError, ActionErrorKind};
use crate::provider::sql::about::{About, ahead};
use crate::provider::sql::rows::{KEPT, Rows};
use crate::provider::sql::server::{GRACE, ServerTarget};
use crate::provider::sql::session::until_ended;

use super::connect::{connect, is_maria};
use super::errors::failed;
use super::session::Kill;
use super::values::{bound, cell};

/// A session that reads.
pub struct Reader {
    session: Conn,
    target: ServerTarget,
}

/// Connects, and closes the session to writes.
pub async fn reader(target: &ServerTarget) -> Result<Reader, ActionError> {
    Ok(Reader {
        session: connect(target, true).await?,
        target: target.clone(),
    })
}

impl Reader {
    /// What the server says of itself.
    pub async fn about(&mut self) -> Result<About, ActionError> {
        let named = self.target.to_string();
        let wrong = |error: Error| failed(&error, &named);
        let asked = Utc::now();
        let sql = "select version(), @@global.read_only, date_format(now(6), '%Y-%m-%d %H:%i:%s.%f'), @@hostname, @@server_id, \
                   database()";
        let row: Option<(String, bool, String, String, u64, Option<String>)> =
            self.session.query_first(sql).await.map_err(wrong)?;
        let heard = Utc::now();
        let Some((version, read_only, clock, hostname, server_id, database)) = row else {
            return Err(ActionError::new(
                ActionErrorKind::Permanent,
                format!("{named}: it says nothing of itself"),
            ));
        };
        // The session's zone is UTC.
        let clock = NaiveDateTime::parse_from_str(&clock, "%Y-%m-%d %H:%M:%S%.f").map_err(|error| {
            let words = format!("{named}: its clock says {clock:?}: {error}");
            ActionError::new(ActionErrorKind::Permanent, words)
        })?;
        let maria = is_maria(&version);
        let mut identity = json!({
            "engine": "mysql",
            "host": self.target.host,
            "port": self.target.port,
            "hostname": hostname,
            "server_id": server_id,
            "database": database,
        });
        if !maria {
            let uuid: Option<String> = self.session.query_first("select @@server_uuid").await.map_err(wrong)?;
            if let Some(identity) = identity.as_object_mut() {
                identity.insert("server_uuid".to_owned(), json!(uuid));
            }
        }
        let cipher: Option<(String, String)> = self
            .session
            .query_first("show session status like 'Ssl_cipher'")
            .await
            .map_err(wrong)?;
        let (replica, behind_s) = self.follows().await?;
        let product = if maria { "MariaDB" } else { "MySQL" };
        Ok(About {
            product: format!("{product} {}", version.split('-').next().unwrap_or(&version)),
            replica,
            behind_s,
            read_only: Some(read_only),
            encrypted: cipher.is_some_and(|(_, cipher)| !cipher.is_empty()),
            ahead_s: ahead(clock.and_utc(), asked, heard),
            identity,
        })
    }

    /// Whether it follows another server, and how far it is behind; nothing where it may not be asked.
    async fn follows(&mut self) -> Result<(Option<bool>, Option<f64>), ActionError> {
        // MySQL before 8.0.22 and MariaDB before 10.5.1 know the other word only, and newer MySQL this one only.
        for sql in ["show replica status", "show slave status"] {
            let rows: Result<Vec<Row>, Error> = self.session.query(sql).await;
            match rows {
                Ok(rows) => {
                    let behind = rows.first().and_then(|row| {
                        let column = row.columns_ref().iter().position(|column| {
                            ["Seconds_Behind_Source", "Seconds_Behind_Master"].contains(&column.name_str().as_ref())
                        })?;
                        row.get_opt::<Option<f64>, _>(column)?.ok()?
                    });
                    return Ok((Some(!rows.is_empty()), behind));
                }
                // No such statement.
                Err(Error::Server(told)) if told.code == 1064 => {}
                // No right to ask.
                Err(Error::Server(told)) if [1142, 1227].contains(&told.code) => return Ok((None, None)),
                Err(error) => return Err(failed(&error, &self.target.to_string())),
            }
        }
        Ok((None, None))
    }

    /// Whether the server understands a statement; nothing is read.
    pub async fn prepare(&mut self, sql: &str, params: usize) -> Result<(), ActionError> {
        let prepared = self
            .session
            .prep(sql)
            .await
            .map_err(|error| failed(&error, "the query"))?;
        counted(usize::from(prepared.num_params()), params)
    }

    /// Reads rows; all are counted, the first are kept. A cancel ends the statement on the server too.
    pub async fn rows(&mut self, sql: &str, params: &[Value], cancel: &CancellationToken) -> Result<Rows, ActionError> {
        let ender = Kill::of(&self.session, &self.target);
        let patience = self.target.patience + GRACE;
        until_ended(self.read(sql, params), Box::new(ender), cancel, patience).await
    }

    async fn read(&mut self, sql: &str, params: &[Value]) -> Result<Rows, ActionError> {
        let wrong = |error: Error| failed(&error, "the query");
        // The server prepares one statement only.
        let statement = self.session.prep(sql).await.map_err(wrong)?;
        counted(usize::from(statement.num_params()), params.len())?;
        let columns = statement.columns();
        let mut found = Rows {
            columns: columns.iter().map(|column| column.name_str().into_owned()).collect(),
            ..Rows::default()
        };
        let given = if params.is_empty() {
            Params::Empty
        } else {
            Params::Positional(params.iter().map(bound).collect())
        };
        let mut answer = self.session.exec_iter(&statement, given).await.map_err(wrong)?;
        while let Some(row) = answer.next().await.map_err(wrong)? {
            found.count += 1;
            if found.kept.len() < KEPT {
                found.kept.push(cells(row)?);
            }
        }
        Ok(found)
    }
}

fn counted(takes: usize, given: usize) -> Result<(), ActionError> {
    if takes == given {
        return Ok(());
    }
    let words = format!("the query takes {takes} parameters, {given} are given; write a ? for each");
    Err(ActionError::new(ActionErrorKind::Permanent, words))
}

fn cells(row: Row) -> Result<Vec<Value>, ActionError> {
    let columns = row.columns();
    let values = row.unwrap_raw();
    columns
        .iter()
        .zip(values)
        .map(|(column, value)| cell(column, value.unwrap_or(Cell::NULL)))
        .collect()
}
