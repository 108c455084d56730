//! MySQL and MariaDB as a comparison reads them: the text protocol, row after row.

use async_trait::async_trait;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Value};

use crate::provider::action::{ActionError, ActionErrorKind};
use crate::provider::sql::server::ServerTarget;
use crate::provider::sql::session::{Cells, Ender, Session, Sink};

use super::connect::connect;
use super::errors::failed;

/// A session.
pub struct MysqlSession {
    connection: Conn,
    target: ServerTarget,
}

/// Opens a session that the server keeps from writing.
pub async fn session(target: &ServerTarget) -> Result<MysqlSession, ActionError> {
    Ok(MysqlSession {
        connection: connect(target, true).await?,
        target: target.clone(),
    })
}

#[async_trait]
impl Session for MysqlSession {
    async fn each(&mut self, sql: &str, sink: &mut Sink<'_>) -> Result<(), ActionError> {
        let wrong = |error: Error| failed(&error, "the query");
        let mut answer = self.connection.query_iter(sql).await.map_err(wrong)?;
        let mut cells = Cells::default();
        while let Some(row) = answer.next().await.map_err(wrong)? {
            cells.clear();
            for index in 0..row.len() {
                match row.as_ref(index) {
                    Some(Value::NULL) | None => cells.null(),
                    Some(Value::Bytes(text)) => cells.push(text),
                    // The text protocol has no other.
                    Some(other) => {
                        let words = format!("the query: column {} came as {other:?}, not as text", index + 1);
                        return Err(ActionError::new(ActionErrorKind::Permanent, words));
                    }
                }
            }
            sink(&cells)?;
        }
        Ok(())
    }

    fn ender(&self) -> Box<dyn Ender> {
        Box::new(Kill::of(&self.connection, &self.target))
    }
}

/// Ends a session's statement by a connection of its own.
pub(super) struct Kill {
    pub(super) id: u32,
    pub(super) target: ServerTarget,
}

impl Kill {
    /// Of a session.
    pub(super) fn of(session: &Conn, target: &ServerTarget) -> Self {
        Self {
            id: session.id(),
            target: target.clone(),
        }
    }
}

#[async_trait]
impl Ender for Kill {
    async fn end(&self) {
        let killing = async {
            let mut other = connect(&self.target, true).await?;
            let done = other.query_drop(format!("kill query {}", self.id)).await;
            done.map_err(|error| failed(&error, "kill query"))
        };
        if let Err(error) = killing.await {
            tracing::warn!(%error, "mysql could not be asked to end a statement");
        }
    }
}
