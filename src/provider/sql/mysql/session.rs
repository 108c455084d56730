//! MySQL and MariaDB as a comparison reads them: the text protocol, row after row, by packets of our own where the server lets
//! somebody log in that way, else by the driver.

use async_trait::async_trait;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Value};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::provider::action::{ActionError, ActionErrorKind};
use crate::provider::sql::server::{CONNECTING, Protection, ServerTarget};
use crate::provider::sql::session::{Cells, Ender, Session, Sink, all};
use crate::provider::tls::trust::Trust;

use super::connect::{FRESH, VERSION, connect, is_maria, settings};
use super::errors::failed;
use super::login::{Login, broken, login, refused};
use super::packets::{Packets, length, value, wrong};

/// A statement.
const QUERY: u8 = 0x03;
/// What an answer begins with.
const DONE: u8 = 0x00;
const FILE: u8 = 0xFB;
const REFUSED: u8 = 0xFF;
const END: u8 = 0xFE;
/// What ends rows is shorter than a row that begins with the same byte.
const SHORT: usize = 9;

/// A session by the driver.
pub struct DriverSession {
    connection: Conn,
    target: ServerTarget,
}

/// A session by packets.
pub struct PacketSession {
    packets: Packets,
    id: u32,
    target: ServerTarget,
    /// An answer that nobody read to its end: what came next would be a part of it.
    within: bool,
}

/// Opens a session that the server keeps from writing.
pub async fn session(target: &ServerTarget) -> Result<Box<dyn Session>, ActionError> {
    let tls = match &target.protection {
        Protection::Off => None,
        Protection::Verified { ca } => Some(Trust::new(ca.as_deref(), true).await?),
        Protection::Unverified => Some(Trust::new(None, false).await?),
    };
    let name = ServerName::try_from(target.host.clone());
    let (tls, shown) = match (tls, name) {
        (None, _) => (None, None),
        (Some(trust), Ok(name)) => {
            let (config, shown) = trust.client(&[])?;
            (
                Some((TlsConnector::from(std::sync::Arc::new(config)), name)),
                Some(shown),
            )
        }
        // The driver has words for it.
        (Some(_), Err(_)) => return driver(target).await,
    };
    let opened = tokio::time::timeout(CONNECTING, login(target, tls))
        .await
        .map_err(|_elapsed| {
            let words = format!(
                "{target}: no connection within {} s; is it up, and may this machine reach it?",
                CONNECTING.as_secs()
            );
            ActionError::new(ActionErrorKind::Transient, words)
        })?;
    let opened = opened.map_err(|error| match shown.and_then(|shown| shown.refusal(&target.host)) {
        Some(words) => ActionError::new(ActionErrorKind::Permanent, format!("{target}: {words}")),
        None => failed(&error, &target.to_string()),
    })?;
    let Some(Login { packets, id }) = opened else {
        return driver(target).await;
    };
    let mut session = PacketSession {
        packets,
        id,
        target: target.clone(),
        within: false,
    };
    let version = all(&mut session, VERSION).await?.into_iter().flatten().flatten().next();
    let maria = version.as_deref().is_some_and(is_maria);
    if !maria {
        // Older ones have no such setting.
        let _older = all(&mut session, FRESH).await;
    }
    for sql in settings(target, maria, true) {
        all(&mut session, &sql).await?;
    }
    Ok(Box::new(session))
}

async fn driver(target: &ServerTarget) -> Result<Box<dyn Session>, ActionError> {
    Ok(Box::new(DriverSession {
        connection: connect(target, true).await?,
        target: target.clone(),
    }))
}

impl PacketSession {
    /// The answer to a statement, row after row.
    async fn answer(&mut self, sql: &str, sink: &mut Sink<'_>) -> Result<(), ActionError> {
        let lost = |error| failed(&broken(error), "the query");
        let mut body = Vec::with_capacity(sql.len() + 1);
        body.push(QUERY);
        body.extend_from_slice(sql.as_bytes());
        self.within = true;
        self.packets.begin(&body).await.map_err(lost)?;
        let first = self.packets.next().await.map_err(lost)?;
        let columns = match first.first() {
            Some(&REFUSED) => {
                let error = failed(&refused(first), "the query");
                self.within = false;
                return Err(error);
            }
            Some(&DONE) => {
                self.within = false;
                return Ok(());
            }
            Some(&FILE) => return Err(lost(wrong("the server asks for a file of this machine"))),
            Some(_) | None => {
                let mut rest = first;
                let count = length(&mut rest).map_err(lost)?;
                count.ok_or_else(|| lost(wrong("an answer without columns")))?
            }
        };
        for _ in 0..columns {
            self.packets.next().await.map_err(lost)?;
        }
        let end = self.packets.next().await.map_err(lost)?;
        if end.first() != Some(&END) || end.len() >= SHORT {
            return Err(lost(wrong("columns without an end")));
        }
        let mut cells = Cells::default();
        loop {
            let row = self.packets.next().await.map_err(lost)?;
            match row.first() {
                Some(&END) if row.len() < SHORT => break,
                Some(&REFUSED) => {
                    let error = failed(&refused(row), "the query");
                    self.within = false;
                    return Err(error);
                }
                Some(_) | None => {}
            }
            cells.clear();
            let mut rest = row;
            for _ in 0..columns {
                cells.push_or_null(value(&mut rest).map_err(lost)?);
            }
            if !rest.is_empty() {
                return Err(lost(wrong("a row with more than its columns")));
            }
            sink(&cells)?;
        }
        self.within = false;
        Ok(())
    }
}

#[async_trait]
impl Session for PacketSession {
    async fn each(&mut self, sql: &str, sink: &mut Sink<'_>) -> Result<(), ActionError> {
        if self.within {
            let words = "the query: the session was left within an answer; it is not used again";
            return Err(ActionError::new(ActionErrorKind::Transient, words));
        }
        self.answer(sql, sink).await
    }

    fn ender(&self) -> Box<dyn Ender> {
        Box::new(Kill {
            id: self.id,
            target: self.target.clone(),
        })
    }
}

#[async_trait]
impl Session for DriverSession {
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
