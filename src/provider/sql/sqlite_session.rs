//! SQLite as a comparison reads it: row after row, in a thread of its own that waits for whoever takes them.

use async_trait::async_trait;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, InterruptHandle};
use tokio::sync::mpsc;

use crate::provider::action::{ActionError, ActionErrorKind};
use crate::provider::connection::SqliteTarget;

use super::session::{Cells, Ender, Session, Sink};
use super::sqlite::{blocking, failed, reader};

/// Rows that are handed over at a time, and how many such batches may wait.
const BATCH: usize = 256;
const WAITING: usize = 4;

/// A session.
pub struct SqliteSession {
    /// None while a statement has it, and after one that was given up.
    connection: Option<Connection>,
}

/// Opens a session that the engine keeps from writing.
pub async fn session(target: &SqliteTarget) -> Result<SqliteSession, ActionError> {
    let target = target.clone();
    blocking(move || {
        let connection = reader(&target)?;
        Ok(SqliteSession {
            connection: Some(connection),
        })
    })
    .await
}

#[async_trait]
impl Session for SqliteSession {
    async fn each(&mut self, sql: &str, sink: &mut Sink<'_>) -> Result<(), ActionError> {
        let Some(connection) = self.connection.take() else {
            let words = "the session was given up in the middle of a statement";
            return Err(ActionError::new(ActionErrorKind::Transient, words));
        };
        let (sender, mut batches) = mpsc::channel::<Vec<Cells>>(WAITING);
        let sql = sql.to_owned();
        let reading = tokio::task::spawn_blocking(move || {
            let done = read(&connection, &sql, &sender);
            (connection, done)
        });
        let mut taken = Ok(());
        while let Some(batch) = batches.recv().await {
            taken = batch.iter().try_for_each(&mut *sink);
            if taken.is_err() {
                break;
            }
        }
        drop(batches);
        let (connection, done) = reading.await.map_err(|error| {
            ActionError::new(
                ActionErrorKind::Permanent,
                format!("the database's thread ended: {error}"),
            )
        })?;
        self.connection = Some(connection);
        taken.and(done)
    }

    fn ender(&self) -> Box<dyn Ender> {
        Box::new(Interrupt(
            self.connection.as_ref().map(Connection::get_interrupt_handle),
        ))
    }
}

struct Interrupt(Option<InterruptHandle>);

#[async_trait]
impl Ender for Interrupt {
    async fn end(&self) {
        if let Some(handle) = &self.0 {
            handle.interrupt();
        }
    }
}

fn read(connection: &Connection, sql: &str, sender: &mpsc::Sender<Vec<Cells>>) -> Result<(), ActionError> {
    let wrong = |error: rusqlite::Error| failed(&error, "the query");
    let mut statement = connection.prepare(sql).map_err(wrong)?;
    let width = statement.column_count();
    let mut rows = statement.query([]).map_err(wrong)?;
    let mut batch = Vec::with_capacity(BATCH);
    while let Some(row) = rows.next().map_err(wrong)? {
        let mut cells = Cells::default();
        for index in 0..width {
            match row.get_ref(index).map_err(wrong)? {
                ValueRef::Null => cells.null(),
                ValueRef::Integer(number) => cells.push(number.to_string().as_bytes()),
                // The shortest text that is read back as the same number; whole ones are told from integers.
                ValueRef::Real(number) => cells.push(format!("{number:?}").as_bytes()),
                ValueRef::Text(text) => cells.push(text),
                ValueRef::Blob(bytes) => cells.push(data_encoding::HEXLOWER.encode(bytes).as_bytes()),
            }
        }
        batch.push(cells);
        // Nobody takes rows any more: the statement is given up.
        if batch.len() == BATCH && sender.blocking_send(std::mem::take(&mut batch)).is_err() {
            return Ok(());
        }
    }
    let _given_up = sender.blocking_send(batch);
    Ok(())
}
