//! PostgreSQL as a comparison reads it: the simple protocol gives every value as text, row after row.

use async_trait::async_trait;
use futures::TryStreamExt;
use tokio_postgres::{CancelToken, Client, Error, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::provider::action::{ActionError, ActionErrorKind};
use crate::provider::sql::server::ServerTarget;
use crate::provider::sql::session::{Cells, Ender, Session, Sink};

use super::connect::{connect, ended, failed};
use super::copy;

/// A session.
pub struct PostgresSession {
    pub(super) client: Client,
    tls: Option<MakeRustlsConnect>,
}

/// Opens a session that the server keeps from writing.
pub async fn session(target: &ServerTarget) -> Result<PostgresSession, ActionError> {
    let (client, tls) = connect(target, true).await?;
    Ok(PostgresSession { client, tls })
}

#[async_trait]
impl Session for PostgresSession {
    async fn each(&mut self, sql: &str, sink: &mut Sink<'_>) -> Result<(), ActionError> {
        let wrong = |error: Error| failed(&error, "the query");
        let answers = self.client.simple_query_raw(sql).await.map_err(wrong)?;
        tokio::pin!(answers);
        let mut cells = Cells::default();
        while let Some(answer) = answers.try_next().await.map_err(wrong)? {
            if let SimpleQueryMessage::Row(row) = answer {
                cells.clear();
                for index in 0..row.len() {
                    cells.push_or_null(row.try_get(index).map_err(wrong)?.map(str::as_bytes));
                }
                sink(&cells)?;
            }
        }
        Ok(())
    }

    async fn bulk(&mut self, sql: &str, sink: &mut Sink<'_>) -> Result<(), ActionError> {
        let wrong = |error: Error| failed(&error, "the query");
        let statement = self.client.prepare(sql).await.map_err(wrong)?;
        let types: Vec<_> = statement
            .columns()
            .iter()
            .map(|column| column.type_().clone())
            .collect();
        if !types.iter().all(copy::reads) {
            return self.each(sql, sink).await;
        }
        let copying = format!("copy ({sql}) to stdout (format binary)");
        let pieces = self.client.copy_out(&copying).await.map_err(wrong)?;
        tokio::pin!(pieces);
        let mut decoder = copy::Decoder::new(types);
        let mut cells = Cells::default();
        while let Some(piece) = pieces.try_next().await.map_err(wrong)? {
            decoder.take(&piece, &mut cells, &mut *sink)?;
        }
        if decoder.is_ended() {
            return Ok(());
        }
        let words = "the query: the rows ended before their end";
        Err(ActionError::new(ActionErrorKind::Transient, words))
    }

    fn ender(&self) -> Box<dyn Ender> {
        Box::new(Cancel {
            token: self.client.cancel_token(),
            tls: self.tls.clone(),
        })
    }
}

/// Ends a session's statement by a connection of its own.
pub(super) struct Cancel {
    pub(super) token: CancelToken,
    pub(super) tls: Option<MakeRustlsConnect>,
}

#[async_trait]
impl Ender for Cancel {
    async fn end(&self) {
        ended(&self.token, self.tls.clone()).await;
    }
}

impl From<copy::Malformed> for ActionError {
    fn from(error: copy::Malformed) -> Self {
        Self::new(ActionErrorKind::Permanent, format!("the query: {error}"))
    }
}
