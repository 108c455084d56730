//! One table: its ranges one after the other, several at a time, and the rows of the ranges that differ.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::provider::action::{ActionError, ActionErrorKind};

use super::brake::Brake;
use super::cursor::{Cursor, PROBE, Range};
use super::dialect::{Ask, Bucket};
use super::kind::TableName;
use super::ledger::{Entry, KEPT, Ledger};
use super::meter::Meter;
use super::narrow::Part;
use super::outcome::{Difference, Level};
use super::pool::{Pair, Pool};
use super::row::Sum;
use super::side::Side;
use super::wish::Question;
use super::work::{Count, Ends, Hashing, Transport};

/// Rows that are listed of a table.
pub const LISTED: usize = 10_000;

/// What all tables of a comparison share.
pub struct Shared {
    pub source: Side,
    pub target: Side,
    pub pool: Pool,
    pub ledger: Box<dyn Ledger>,
    pub cancel: CancellationToken,
    pub meter: Arc<Meter>,
    pub workers: usize,
    pub brake: Arc<Brake>,
    pub hashing: Hashing,
}

impl Shared {
    /// Waits until something may be asked.
    pub async fn free(&self) -> Result<(), ActionError> {
        self.brake.free(&self.cancel).await
    }
}

/// One table.
pub struct TableJob {
    pub shared: Arc<Shared>,
    pub source: TableName,
    pub target: TableName,
    /// As the ledger and people name it.
    pub label: String,
    /// The question and the state that it is asked of, for the ledger.
    pub of: String,
    pub question: Question,
    pub level: Level,
    /// Rows as far as that is known.
    pub estimate: Option<u64>,
    /// Its place among the tables.
    pub place: usize,
    gathered: Mutex<Gathered>,
    pub(super) transports: Mutex<(Transport, Transport)>,
}

/// What was found so far.
#[derive(Debug, Default, Clone)]
pub struct Gathered {
    pub source: Sum,
    pub target: Sum,
    pub chunks: u64,
    pub reused: u64,
    pub unlike: u64,
    pub differences: Vec<Difference>,
    pub cut: Option<String>,
    pub notes: Vec<String>,
    pub problems: Vec<String>,
}

impl Gathered {
    /// Lists rows, as many as are listed of a table.
    fn list(&mut self, differences: Vec<Difference>) {
        self.differences.extend(differences);
        if self.differences.len() > LISTED {
            self.differences.truncate(LISTED);
            let words = format!("only the first {LISTED} rows that differ are listed");
            self.cut.get_or_insert(words);
        }
    }
}

impl TableJob {
    /// For a table.
    pub fn new(
        shared: Arc<Shared>,
        names: (TableName, TableName),
        of: String,
        question: Question,
        level: Level,
    ) -> Self {
        Self {
            label: format!("{}={}", names.0, names.1),
            shared,
            source: names.0,
            target: names.1,
            of,
            question,
            level,
            estimate: None,
            place: 0,
            gathered: Mutex::default(),
            transports: Mutex::new((Transport::Streamed, Transport::Streamed)),
        }
    }

    pub(super) fn gathered(&self) -> std::sync::MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who hashes, on each side.
    pub fn transports(&self) -> (Transport, Transport) {
        *self.transports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compares it, and gives what was found; what could not be compared stands in its problems.
    pub async fn run(self: Arc<Self>) -> Gathered {
        self.begin();
        let done = if self.level == Level::Count {
            self.counted().await
        } else if self.question.ranged {
            Box::pin(Arc::clone(&self).ranged()).await
        } else {
            Box::pin(self.hashed()).await
        };
        if let Err(error) = done {
            self.gathered().problems.push(error.message);
        }
        self.gathered().clone()
    }

    /// The statement that gives the sums of everything, as the result shows it.
    pub fn means(&self) -> Vec<(&'static str, String, String)> {
        let (source, target) = self.transports();
        let bucket = if self.question.ranged {
            Bucket::Step(Range::EVERYTHING)
        } else {
            Bucket::Hash { digits: 4 }
        };
        [(&self.shared.source, source), (&self.shared.target, target)]
            .into_iter()
            .map(|(side, transport)| {
                let ask = self.ask(side.role == "source", "", bucket);
                let pushed = match transport {
                    Transport::Pushed => side.dialect.sums(&ask),
                    Transport::Streamed => None,
                };
                let sql = pushed.unwrap_or_else(|| side.dialect.rows(ask.table, ask.fields, ""));
                let words = format!("{}, {}", side.dialect.name(), transport.words());
                (side.role, words, sql)
            })
            .collect()
    }

    pub(super) fn ask<'a>(&'a self, source: bool, filter: &'a str, bucket: Bucket) -> Ask<'a> {
        Ask {
            table: if source { &self.source } else { &self.target },
            filter,
            fields: if source {
                &self.question.source
            } else {
                &self.question.target
            },
            key: &self.question.make.key,
            bucket,
            own: self.question.filter.as_deref(),
        }
    }

    /// The leading column of the key, as each side quotes it.
    pub(super) fn leading(&self) -> (String, String) {
        let at = self.question.make.key.first().copied().unwrap_or(0);
        let name = |side: &Side, fields: &[super::dialect::Field]| {
            fields
                .get(at)
                .map_or_else(String::new, |field| side.dialect.quote(&field.column.name))
        };
        (
            name(&self.shared.source, &self.question.source),
            name(&self.shared.target, &self.question.target),
        )
    }

    async fn counted(&self) -> Result<(), ActionError> {
        let filter = self.question.filter("");
        let count = |side: &Side, table: &TableName| Count {
            sql: format!(
                "select {} from {}{}",
                side.dialect.count(),
                side.dialect.table(table),
                super::dialect::wanted(&filter)
            ),
        };
        self.shared.free().await?;
        let mut held = self.shared.pool.take().await;
        let (source, target) = (&self.shared.source, &self.shared.target);
        let (one, other) = (count(source, &self.source), count(target, &self.target));
        let cancel = &self.shared.cancel;
        let (rows, there) = tokio::join!(
            source.perform(&mut held.pair.source, &one, cancel),
            target.perform(&mut held.pair.target, &other, cancel)
        );
        let (rows, there) = (rows?, there?);
        let mut gathered = self.gathered();
        gathered.source.rows = rows;
        gathered.target.rows = there;
        gathered.chunks = 1;
        self.shared.meter.add(self.place, rows, 0, &[]);
        Ok(())
    }

    async fn ends(&self, pair: &mut Pair, from: Option<i128>) -> Result<Option<(i128, i128)>, ActionError> {
        self.shared.free().await?;
        let leading = self.leading();
        let ends = |side: &Side, table: &TableName, column: &str| {
            let from = from.map(|from| format!("{column} >= {from}")).unwrap_or_default();
            let filter = self.question.filter(&from);
            let wanted = super::dialect::wanted(&filter);
            Ends {
                sql: format!(
                    "select min({column}), max({column}) from {}{wanted}",
                    side.dialect.table(table)
                ),
            }
        };
        let (source, target) = (&self.shared.source, &self.shared.target);
        let one = ends(source, &self.source, &leading.0);
        let other = ends(target, &self.target, &leading.1);
        let cancel = &self.shared.cancel;
        let (here, there) = tokio::join!(
            source.perform(&mut pair.source, &one, cancel),
            target.perform(&mut pair.target, &other, cancel)
        );
        let ends = [here?, there?].into_iter().flatten();
        Ok(ends.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1))))
    }

    async fn ranged(self: Arc<Self>) -> Result<(), ActionError> {
        let known: Vec<Entry> = self
            .shared
            .ledger
            .known()
            .into_iter()
            .filter(|entry| !self.of.is_empty() && entry.of == self.of)
            .filter(|entry| entry.table == self.label && entry.sums().is_some())
            .collect();
        let (cursor, small) = {
            let mut held = self.shared.pool.take().await;
            let (low, high) = self.ends(&mut held.pair, None).await?.unwrap_or((0, 0));
            let done = known.iter().map(|entry| (entry.low, entry.high)).collect();
            let mut cursor = Cursor::new(low, high, self.estimate, done);
            for entry in &known {
                self.add(entry.clone());
            }
            let small = self.estimate.is_none_or(|rows| rows < 2 * PROBE) && high - low < 1 << 16;
            if !small && let Some(range) = cursor.take(true) {
                let part = self.probe(&range, &mut held.pair).await?;
                cursor.found(&range, part.sums.0.rows.max(part.sums.1.rows));
                self.finished(&range, part).await?;
            }
            (cursor, small)
        };
        let cursor = Arc::new(tokio::sync::Mutex::new(cursor));
        let workers = if small { 1 } else { self.shared.workers };
        // They end with whoever waits for them.
        let mut each = JoinSet::new();
        for _ in 0..workers {
            let (job, cursor) = (Arc::clone(&self), Arc::clone(&cursor));
            each.spawn(async move { job.worker(&cursor).await });
        }
        while let Some(done) = each.join_next().await {
            done.map_err(|error| {
                ActionError::new(
                    ActionErrorKind::Permanent,
                    format!("a worker of the comparison ended: {error}"),
                )
            })??;
        }
        Ok(())
    }

    async fn worker(&self, cursor: &tokio::sync::Mutex<Cursor>) -> Result<(), ActionError> {
        loop {
            if !self.gathered().problems.is_empty() {
                return Ok(());
            }
            let mut held = self.shared.pool.take().await;
            let range = {
                let mut cursor = cursor.lock().await;
                if cursor.sparse {
                    let next = self.ends(&mut held.pair, Some(cursor.next())).await?;
                    cursor.jump(next.map(|(low, _)| low));
                }
                cursor.take(false)
            };
            let Some(range) = range else { return Ok(()) };
            match self.range(range, &mut held.pair).await {
                Ok(part) => {
                    let share = {
                        let mut cursor = cursor.lock().await;
                        cursor.found(&range, part.sums.0.rows.max(part.sums.1.rows));
                        cursor.share()
                    };
                    self.finished(&range, part).await?;
                    self.shared.meter.reached(self.place, share);
                }
                Err(error) => {
                    let words = format!(
                        "keys from {} to {} were not compared: {}",
                        range.low, range.high, error.message
                    );
                    self.gathered().problems.push(words);
                    return Ok(());
                }
            }
        }
    }

    /// Keeps what was found of a range.
    async fn finished(&self, range: &Range, part: Part) -> Result<(), ActionError> {
        let entry = Entry::new(&self.of, &self.label, range, part.sums, part.unlike, part.differences);
        let complete = part.cut.is_none() && (entry.unlike == 0 || self.level == Level::Rows);
        if complete && entry.differences.len() <= KEPT && !self.of.is_empty() {
            self.shared.ledger.keep(&entry).await?;
        }
        if let Some(cut) = part.cut {
            self.gathered().cut.get_or_insert(cut);
        }
        self.add(entry);
        self.gathered().reused -= 1;
        Ok(())
    }

    fn add(&self, entry: Entry) {
        let (source, target) = entry.sums().unwrap_or_default();
        let differences = &entry.differences;
        let meter = &self.shared.meter;
        meter.add(self.place, source.rows, entry.unlike, differences);
        let mut gathered = self.gathered();
        gathered.source.join(source);
        gathered.target.join(target);
        gathered.chunks += 1;
        gathered.reused += 1;
        gathered.unlike += entry.unlike;
        gathered.list(entry.differences);
    }

    /// Compares a table whose key cannot be cut into ranges that mean the same to both engines.
    async fn hashed(&self) -> Result<(), ActionError> {
        self.shared.free().await?;
        let mut held = self.shared.pool.take().await;
        let rows = match self.estimate {
            Some(rows) => rows,
            None => {
                let filter = self.question.filter("");
                let wanted = super::dialect::wanted(&filter);
                let side = &self.shared.source;
                let count = Count {
                    sql: format!(
                        "select {} from {}{wanted}",
                        side.dialect.count(),
                        side.dialect.table(&self.source)
                    ),
                };
                side.perform(&mut held.pair.source, &count, &self.shared.cancel).await?
            }
        };
        self.shared.meter.begin(self.place, Some(rows));
        let begun = Instant::now();
        let part = self.by_hash(("", ""), rows, &mut held.pair).await?;
        tracing::debug!(table = self.label, took = ?begun.elapsed(), "compared by hashed keys");
        self.shared
            .meter
            .add(self.place, part.sums.0.rows, part.unlike, &part.differences);
        let mut gathered = self.gathered();
        gathered.source = part.sums.0;
        gathered.target = part.sums.1;
        gathered.chunks = 1;
        gathered.unlike = part.unlike;
        gathered.cut = part.cut;
        gathered.list(part.differences);
        Ok(())
    }
}
