//! SQL Server as a comparison reads it: one statement a batch, row after row, each value as text. The server does not close
//! the session to writes: only reads, and what opens and closes their transaction, are sent.

use async_trait::async_trait;
use futures::TryStreamExt;
use tiberius::error::Error;

use crate::provider::action::{ActionError, ActionErrorKind};
use crate::provider::sql::reading::reads;
use crate::provider::sql::server::{Engine, ServerTarget};
use crate::provider::sql::session::{Cells, Ender, Session, Sink};

use super::connect::{Connection, connect};
use super::errors::failed;
use super::values::text;

/// Gives a session one state of the database until it ends, where the database allows that. Not where tables are in memory,
/// which a session of this kind may not read.
pub const SNAPSHOT: &str = "if exists (select 1 from sys.databases where name = db_name() and snapshot_isolation_state = 1) \
     and not exists (select 1 from sys.filegroups where type = 'FX') \
     begin set transaction isolation level snapshot; begin transaction; end";

/// What a session of reads is set to and bounded by.
const FRAME: &[&str] = &[
    SNAPSHOT,
    "set transaction isolation level snapshot",
    "set transaction isolation level serializable",
    "set transaction isolation level repeatable read",
    "set transaction isolation level read committed",
    "begin transaction",
    "rollback transaction",
];

/// A session.
pub struct SqlserverSession {
    connection: Connection,
}

/// Opens a session that says it only reads.
pub async fn session(target: &ServerTarget) -> Result<SqlserverSession, ActionError> {
    Ok(SqlserverSession {
        connection: connect(target, true).await?,
    })
}

/// The same on the primary: a secondary, where a listener may send what only reads, may be behind.
pub async fn primary(target: &ServerTarget) -> Result<SqlserverSession, ActionError> {
    Ok(SqlserverSession {
        connection: connect(target, false).await?,
    })
}

#[async_trait]
impl Session for SqlserverSession {
    async fn each(&mut self, sql: &str, sink: &mut Sink<'_>) -> Result<(), ActionError> {
        if !FRAME.iter().any(|frame| frame.eq_ignore_ascii_case(sql.trim())) {
            reads(Engine::Sqlserver, sql)?;
        }
        let wrong = |error: Error| failed(&error, "the query");
        let mut answer = self.connection.client.simple_query(sql).await.map_err(wrong)?;
        let mut cells = Cells::default();
        while let Some(item) = answer.try_next().await.map_err(wrong)? {
            let Some(row) = item.into_row() else { continue };
            cells.clear();
            for (column, data) in row.cells() {
                let shown = text(column.column_type(), data).map_err(|why| {
                    ActionError::new(
                        ActionErrorKind::Permanent,
                        format!("the query: column {} {why}", column.name()),
                    )
                })?;
                cells.push_or_null(shown.as_deref().map(str::as_bytes));
            }
            sink(&cells)?;
        }
        Ok(())
    }

    fn ender(&self) -> Box<dyn Ender> {
        Box::new(self.connection.cut())
    }
}
