//! A session of reads as a comparison needs it: any statement, its rows as text, one after the other, without holding
//! them. Must not know any engine.

use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::provider::action::{ActionError, ActionErrorKind};

use super::server::CONNECTING;

/// One row's cells as text; the same store is used for row after row.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Cells {
    bytes: Vec<u8>,
    /// Where each cell ends, and whether it is NULL.
    ends: Vec<(usize, bool)>,
}

impl Cells {
    /// Takes the row out.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// The next cell is NULL.
    #[inline]
    pub fn null(&mut self) {
        self.ends.push((self.bytes.len(), true));
    }

    /// The next cell.
    #[inline]
    pub fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push((self.bytes.len(), false));
    }

    /// The next cell, as it is written.
    pub fn with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push((self.bytes.len(), false));
    }

    /// The next cell, where there may be none.
    #[inline]
    pub fn push_or_null(&mut self, text: Option<&[u8]>) {
        match text {
            Some(text) => self.push(text),
            None => self.null(),
        }
    }

    /// How many cells there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no cell.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// A cell; nothing where it is NULL or where there is none.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let (end, null) = *self.ends.get(index)?;
        let begin = index
            .checked_sub(1)
            .and_then(|before| self.ends.get(before))
            .map_or(0, |(end, _)| *end);
        if null { None } else { self.bytes.get(begin..end) }
    }

    /// A cell as a text; what is no UTF-8 is shown as U+FFFD.
    pub fn text(&self, index: usize) -> Option<String> {
        self.get(index).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
}

/// What takes rows.
pub type Sink<'a> = dyn FnMut(&Cells) -> Result<(), ActionError> + Send + 'a;

/// A session of reads. A session whose statement failed or was given up is not used again.
#[async_trait]
pub trait Session: Send {
    /// Executes one statement and hands every row over. The rows that were handed over before an error count for nothing.
    async fn each(&mut self, sql: &str, sink: &mut Sink<'_>) -> Result<(), ActionError>;

    /// Rows in an engine's own transport, as `each` would give them, where it is cheaper for the server; `each` where there
    /// is none.
    async fn bulk(&mut self, sql: &str, sink: &mut Sink<'_>) -> Result<(), ActionError> {
        self.each(sql, sink).await
    }

    /// Ends whatever the session is at, on the server too.
    fn ender(&self) -> Box<dyn Ender>;
}

/// Ends a session's statement from outside.
#[async_trait]
pub trait Ender: Send + Sync {
    /// Asks the server to end it. What comes of it is told by the statement itself.
    async fn end(&self);
}

/// Executes a statement until it ends or is cancelled; what is cancelled is ended on the server.
pub async fn each(
    session: &mut dyn Session,
    sql: &str,
    cancel: &CancellationToken,
    sink: &mut Sink<'_>,
) -> Result<(), ActionError> {
    let ender = session.ender();
    let running = session.each(sql, sink);
    tokio::pin!(running);
    tokio::select! {
        biased;
        done = &mut running => done,
        () = cancel.cancelled() => {
            let _ended = tokio::time::timeout(CONNECTING, ender.end()).await;
            Err(ActionError::new(ActionErrorKind::Cancelled, "the read was cancelled"))
        }
    }
}

/// Waits for a read. A cancel, or the end of our patience, ends it on the server; a server that has gone silent is not
/// waited for.
pub async fn until_ended<T>(
    reading: impl Future<Output = Result<T, ActionError>>,
    ender: Box<dyn Ender>,
    cancel: &CancellationToken,
    patience: Duration,
) -> Result<T, ActionError> {
    tokio::pin!(reading);
    let why = tokio::select! {
        biased;
        done = &mut reading => return done,
        () = cancel.cancelled() => ActionError::new(ActionErrorKind::Cancelled, "the read was cancelled"),
        () = tokio::time::sleep(patience) => {
            let words = format!(
                "the query: no answer within {} s; the connection's timeout says how long a statement may take",
                patience.as_secs_f64()
            );
            ActionError::new(ActionErrorKind::Transient, words)
        }
    };
    let ending = async {
        ender.end().await;
        // Its answer tells that the server heard it.
        let _ended = reading.await;
    };
    let _gone = tokio::time::timeout(CONNECTING, ending).await;
    Err(why)
}

/// All rows of a short answer, as texts.
pub async fn all(session: &mut dyn Session, sql: &str) -> Result<Vec<Vec<Option<String>>>, ActionError> {
    let mut rows = Vec::new();
    session
        .each(sql, &mut |cells| {
            rows.push((0..cells.len()).map(|index| cells.text(index)).collect());
            Ok(())
        })
        .await?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    struct Heard(Arc<AtomicBool>);

    #[async_trait]
    impl Ender for Heard {
        async fn end(&self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_has_gone_silent_is_asked_to_end_and_left() {
        for (cancelled, kind) in [(false, ActionErrorKind::Transient), (true, ActionErrorKind::Cancelled)] {
            let heard = Arc::new(AtomicBool::new(false));
            let cancel = CancellationToken::new();
            if cancelled {
                cancel.cancel();
            }
            let silent = std::future::pending::<Result<(), ActionError>>();
            let ender = Box::new(Heard(Arc::clone(&heard)));
            let error = until_ended(silent, ender, &cancel, Duration::from_secs(60)).await;
            assert_eq!(error.map_err(|error| error.kind), Err(kind));
            assert!(heard.load(Ordering::Relaxed));
        }
    }

    #[test]
    fn cells_tell_nothing_from_empty() {
        let mut cells = Cells::default();
        cells.push(b"a");
        cells.push(b"");
        cells.null();
        cells.push(b"bc");
        let seen: Vec<_> = (0..5).map(|index| cells.get(index)).collect();
        assert_eq!(seen, [Some(&b"a"[..]), Some(&b""[..]), None, Some(&b"bc"[..]), None]);
        cells.clear();
        assert!(cells.is_empty());
    }
}
