//! MySQL and MariaDB as a comparison reads them: the text protocol, row after row, by packets of our own.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::provider::action::{ActionError, ActionErrorKind};
use crate::provider::sql::server::{Protection, ServerTarget};
use crate::provider::sql::session::{Cells, Ender, Session, Sink, all};
use crate::provider::tls::trust::Trust;

use super::connect::{FRESH, VERSION, connect, in_time, is_maria, settings};
use super::errors::failed;
use super::login::{Login, broken, login, refused};
use super::packets::{Packets, REFUSED, length, unheard, value, wrong};

/// A statement, and the end of a session.
const QUERY: u8 = 0x03;
const QUIT: u8 = 0x01;
/// What an answer begins with.
const DONE: u8 = 0x00;
const FILE: u8 = 0xFB;
const END: u8 = 0xFE;
/// What every column is told with.
const COLUMN: &[u8] = b"\x03def";
/// What ends rows is shorter than a row that begins with the same byte.
const SHORT: usize = 9;
/// SERVER_MORE_RESULTS_EXISTS.
const FURTHER: u16 = 8;
/// So long is waited for a server to take a farewell, or to say why it takes no more.
const MOMENT: Duration = Duration::from_secs(1);

/// A session by packets.
pub struct PacketSession {
    packets: Packets,
    id: u32,
    target: ServerTarget,
    /// An answer that nobody read to its end: what came next would be a part of it.
    within: bool,
}

/// Opens a session that the server keeps from writing.
pub async fn session(target: &ServerTarget) -> Result<PacketSession, ActionError> {
    let trust = match &target.protection {
        Protection::Off => None,
        Protection::Verified { ca } => Some(Trust::new(ca.as_deref(), true).await?),
        Protection::Unverified => Some(Trust::new(None, false).await?),
    };
    let (tls, shown) = match trust {
        None => (None, None),
        Some(trust) => {
            let name = ServerName::try_from(target.host.clone()).map_err(|_bad| {
                let words = format!("{target}: no certificate can be for {:?}; check host:", target.host);
                ActionError::new(ActionErrorKind::Permanent, words)
            })?;
            let (config, shown) = trust.client(&[])?;
            (Some((TlsConnector::from(Arc::new(config)), name)), Some(shown))
        }
    };
    let opened = in_time(target, login(target, tls)).await?;
    let Login { packets, id } = opened.map_err(|error| match shown.and_then(|shown| shown.refusal(&target.host)) {
        Some(words) => ActionError::new(ActionErrorKind::Permanent, format!("{target}: {words}")),
        None => failed(&error, &target.to_string()),
    })?;
    let mut session = PacketSession {
        packets,
        id,
        target: target.clone(),
        within: false,
    };
    in_time(target, session.begin()).await?.map_err(|error| ActionError {
        message: format!("{target}: {}", error.message),
        ..error
    })?;
    Ok(session)
}

impl PacketSession {
    /// Sets the session to what it is to be.
    async fn begin(&mut self) -> Result<(), ActionError> {
        let version = all(self, VERSION).await?.into_iter().flatten().flatten().next();
        let maria = version.as_deref().is_some_and(is_maria);
        if !maria
            && let Err(error) = all(self, FRESH).await
            && self.within
        {
            // Older ones have no such setting, but they say so.
            return Err(error);
        }
        for sql in settings(&self.target.clone(), maria, true) {
            all(self, &sql).await?;
        }
        Ok(())
    }

    /// The answer to a statement, row after row.
    async fn answer(&mut self, sql: &str, sink: &mut Sink<'_>) -> Result<(), ActionError> {
        let lost = |error| failed(&broken(error), "the query");
        let mut body = Vec::with_capacity(sql.len() + 1);
        body.push(QUERY);
        body.extend_from_slice(sql.as_bytes());
        self.within = true;
        if let Err(error) = self.packets.begin(&body).await {
            // A server that takes no more may have said why.
            let said = tokio::time::timeout(MOMENT, self.packets.next()).await;
            return Err(match said {
                Ok(Ok(told)) if told.first() == Some(&REFUSED) => failed(&refused(told), "the query"),
                Ok(_) | Err(_) => lost(error),
            });
        }
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
            Some(&FILE) => return Err(lost(unheard("the server asks for a file of this machine"))),
            Some(_) | None => {
                let mut rest = first;
                let count = length(&mut rest).map_err(lost)?;
                count.ok_or_else(|| lost(wrong("an answer without columns")))?
            }
        };
        for _ in 0..columns {
            let column = self.packets.next().await.map_err(lost)?;
            if !column.starts_with(COLUMN) {
                let column = column.to_vec();
                return Err(self.instead(&column, "a column that is none"));
            }
        }
        let end = self.packets.next().await.map_err(lost)?;
        if end.first() != Some(&END) || end.len() >= SHORT {
            let end = end.to_vec();
            return Err(self.instead(&end, "columns without an end"));
        }
        let mut cells = Cells::default();
        loop {
            let row = self.packets.next().await.map_err(lost)?;
            match row.first() {
                Some(&END) if row.len() < SHORT => {
                    let status = row.get(3..5).and_then(|status| status.try_into().ok());
                    if status.is_none_or(|status| u16::from_le_bytes(status) & FURTHER != 0) {
                        return Err(lost(wrong("an answer that goes on after its end")));
                    }
                    break;
                }
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

    /// What came where something else was due.
    fn instead(&mut self, packet: &[u8], words: &str) -> ActionError {
        if packet.first() != Some(&REFUSED) {
            return failed(&broken(wrong(words)), "the query");
        }
        self.within = false;
        failed(&refused(packet), "the query")
    }
}

impl Drop for PacketSession {
    /// A server that is not told takes a session for lost, and says so in its log.
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if self.within {
            return;
        }
        let mut packets = self.packets.take();
        let mut farewell = Box::pin(async move {
            let _gone = tokio::time::timeout(MOMENT, packets.begin(&[QUIT])).await;
        });
        // Most are said at once, also where the program ends.
        if (&mut farewell).now_or_never().is_none() {
            runtime.spawn(farewell);
        }
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

/// Ends a session's statement by a connection of its own.
pub(super) struct Kill {
    pub(super) id: u32,
    pub(super) target: ServerTarget,
}

impl Kill {
    /// Of a session by the driver.
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
            let killed = other.query_drop(format!("kill query {}", self.id));
            in_time(&self.target, killed)
                .await?
                .map_err(|error| failed(&error, "kill query"))
        };
        if let Err(error) = killing.await {
            tracing::warn!(%error, "mysql could not be asked to end a statement");
        }
    }
}
