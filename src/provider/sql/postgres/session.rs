//! PostgreSQL as a comparison reads it: the simple protocol gives every value as text, row after row.

use async_trait::async_trait;
use futures::TryStreamExt;
use tokio_postgres::{CancelToken, Client, Error, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::provider::action::ActionError;
use crate::provider::sql::server::ServerTarget;
use crate::provider::sql::session::{Cells, Ender, Session, Sink};

use super::connect::{connect, ended, failed};

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

    fn ender(&self) -> Box<dyn Ender> {
        Box::new(Cancel {
            token: self.client.cancel_token(),
            tls: self.tls.clone(),
        })
    }
}

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
