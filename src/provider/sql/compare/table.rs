//! One table: its ranges one after the other, several at a time, and the rows of the ranges that differ.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, join_all};
use tokio_util::sync::CancellationToken;

use crate::provider::action::{ActionError, ActionErrorKind};

use super::cursor::{Cursor, PROBE, Range};
use super::dialect::{Ask, Bucket};
use super::differences::Make;
use super::kind::TableName;
use super::ledger::{Entry, KEPT, Ledger};
use super::outcome::{Difference, Level};
use super::pool::{Pair, Pool};
use super::row::Sum;
use super::side::Side;
use super::wish::Question;
use super::work::{Count, Ends, Found, Rows, Sums, Transport};

/// Rows of differing buckets that are held at a time.
const HELD: u64 = 32_768;
/// A range of more rows than that in which more than half of the buckets differ is no matter of single rows.
const SYSTEMATIC: u64 = 8_192;
/// Rows that are listed of a table.
pub const LISTED: usize = 10_000;
/// Rows that a bucket of hashed keys aims at.
const IN_A_BUCKET: u64 = 256;

/// What all tables of a comparison share.
pub struct Shared {
    pub source: Side,
    pub target: Side,
    pub pool: Pool,
    pub ledger: Box<dyn Ledger>,
    pub cancel: CancellationToken,
    pub meter: Arc<Meter>,
    pub workers: usize,
}

/// How far it is, for people.
#[derive(Debug, Default)]
pub struct Meter {
    pub rows: AtomicU64,
    pub expected: AtomicU64,
    pub tables: AtomicU64,
    pub tables_done: AtomicU64,
    pub unlike: AtomicU64,
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
    gathered: Mutex<Gathered>,
    transports: Mutex<(Transport, Transport)>,
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

/// What was found of a range.
#[derive(Default)]
struct Part {
    sums: (Sum, Sum),
    unlike: u64,
    differences: Vec<Difference>,
    cut: Option<String>,
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
            gathered: Mutex::default(),
            transports: Mutex::new((Transport::Streamed, Transport::Streamed)),
        }
    }

    fn gathered(&self) -> std::sync::MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who hashes, on each side.
    pub fn transports(&self) -> (Transport, Transport) {
        *self.transports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compares it, and gives what was found; what could not be compared stands in its problems.
    pub async fn run(self: Arc<Self>) -> Gathered {
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
            Bucket::Step { low: 0, step: 1 }
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

    fn ask<'a>(&'a self, source: bool, filter: &'a str, bucket: Bucket) -> Ask<'a> {
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
        }
    }

    /// The leading column of the key, as each side quotes it.
    fn leading(&self) -> (String, String) {
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
                "select count(*) from {}{}",
                side.dialect.table(table),
                super::dialect::wanted(&filter)
            ),
        };
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
        self.shared.meter.rows.fetch_add(rows, Ordering::Relaxed);
        Ok(())
    }

    async fn ends(&self, pair: &mut Pair, from: Option<i128>) -> Result<Option<(i128, i128)>, ActionError> {
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
            .filter(|entry| entry.of == self.of && entry.table == self.label && entry.sums().is_some())
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
        let each = (0..workers).map(|_| {
            let (job, cursor) = (Arc::clone(&self), Arc::clone(&cursor));
            tokio::spawn(async move { job.worker(&cursor).await })
        });
        for done in join_all(each).await {
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
                    cursor
                        .lock()
                        .await
                        .found(&range, part.sums.0.rows.max(part.sums.1.rows));
                    self.finished(&range, part).await?;
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
        if complete && entry.differences.len() <= KEPT {
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
        self.shared.meter.rows.fetch_add(source.rows, Ordering::Relaxed);
        self.shared.meter.unlike.fetch_add(entry.unlike, Ordering::Relaxed);
        let mut gathered = self.gathered();
        gathered.source.join(source);
        gathered.target.join(target);
        gathered.chunks += 1;
        gathered.reused += 1;
        gathered.unlike += entry.unlike;
        gathered.differences.extend(entry.differences);
        if gathered.differences.len() > LISTED {
            gathered.differences.truncate(LISTED);
            gathered
                .cut
                .get_or_insert(format!("only the first {LISTED} rows that differ are listed"));
        }
    }

    /// Sums of both sides at once.
    async fn sums(
        &self,
        filters: (&str, &str),
        bucket: Bucket,
        transports: (Transport, Transport),
        pair: &mut Pair,
    ) -> Result<(BTreeMap<i64, Sum>, BTreeMap<i64, Sum>), ActionError> {
        let (source, target) = (&self.shared.source, &self.shared.target);
        let sums = |side: &Side, filter, transport| Sums {
            dialect: side.dialect,
            ask: self.ask(side.role == "source", filter, bucket),
            transport,
        };
        let one = sums(source, filters.0, transports.0);
        let other = sums(target, filters.1, transports.1);
        let cancel = &self.shared.cancel;
        let (here, there) = tokio::join!(
            source.perform(&mut pair.source, &one, cancel),
            target.perform(&mut pair.target, &other, cancel)
        );
        Ok((here?, there?))
    }

    /// Finds out who hashes faster on each side, and that both ways say the same.
    async fn probe(&self, range: &Range, pair: &mut Pair) -> Result<Part, ActionError> {
        let leading = self.leading();
        let filters = (
            self.question.filter(&range.filter(&leading.0)),
            self.question.filter(&range.filter(&leading.1)),
        );
        let bucket = Bucket::Step {
            low: range.low,
            step: range.step(),
        };
        let (source, target) = (&self.shared.source, &self.shared.target);
        let one = self.faster(source, &filters.0, bucket, &mut pair.source).await?;
        let other = self.faster(target, &filters.1, bucket, &mut pair.target).await?;
        *self.transports.lock().unwrap_or_else(PoisonError::into_inner) = (one, other);
        self.range(*range, pair).await
    }

    async fn faster(
        &self,
        side: &Side,
        filter: &str,
        bucket: Bucket,
        slot: &mut Option<Box<dyn crate::provider::sql::session::Session>>,
    ) -> Result<Transport, ActionError> {
        let ask = self.ask(side.role == "source", filter, bucket);
        if side.dialect.sums(&ask).is_none() {
            return Ok(Transport::Streamed);
        }
        let mut sums = Sums {
            dialect: side.dialect,
            ask,
            transport: Transport::Streamed,
        };
        let cancel = &self.shared.cancel;
        let begun = Instant::now();
        let here = side.perform(slot, &sums, cancel).await?;
        let streamed = begun.elapsed();
        sums.transport = Transport::Pushed;
        let begun = Instant::now();
        let note = |words: String| self.gathered().notes.push(words);
        match side.perform(slot, &sums, cancel).await {
            Ok(there) if there == here => {
                let pushed = begun.elapsed();
                Ok(if pushed < streamed {
                    Transport::Pushed
                } else {
                    Transport::Streamed
                })
            }
            Ok(_) => {
                note(format!(
                    "{}: the server's own hashes are not those of the rows that it sends; its rows are read instead",
                    side.role
                ));
                Ok(Transport::Streamed)
            }
            Err(error) if error.kind == ActionErrorKind::Cancelled => Err(error),
            Err(error) => {
                note(format!(
                    "{}: the server cannot hash its rows; they are read instead",
                    error.message
                ));
                Ok(Transport::Streamed)
            }
        }
    }

    /// Compares a range, and names the rows that differ in it.
    fn range<'a>(&'a self, range: Range, pair: &'a mut Pair) -> BoxFuture<'a, Result<Part, ActionError>> {
        Box::pin(async move {
            let leading = self.leading();
            let filters = (
                self.question.filter(&range.filter(&leading.0)),
                self.question.filter(&range.filter(&leading.1)),
            );
            let bucket = Bucket::Step {
                low: range.low,
                step: range.step(),
            };
            let (here, there) = self
                .sums((&filters.0, &filters.1), bucket, self.transports(), pair)
                .await?;
            let (mut part, unlike) = compared(&here, &there);
            if unlike.is_empty() || !Question::names_rows(self.level) {
                return Ok(part);
            }
            let total = here.keys().chain(there.keys()).collect::<HashSet<_>>().len();
            let mut unlike = unlike.as_slice();
            let rows = part.sums.0.rows.max(part.sums.1.rows);
            if rows > SYSTEMATIC && unlike.len() * 2 > total {
                part.cut = Some(format!(
                    "most rows differ ({} of {total} parts of the keys from {} on): a mapping, a time zone or a collation rather \
                     than single rows; only a sample is listed",
                    unlike.len(),
                    range.low
                ));
                unlike = unlike.get(..1).unwrap_or_default();
            }
            let mut group: Vec<Range> = Vec::new();
            let mut held = 0;
            for (at, rows) in unlike {
                let bucket = range.bucket(*at);
                if *rows > HELD {
                    let inner = if bucket.high - bucket.low > 1 && !bucket.first && !bucket.last {
                        self.range(bucket, pair).await?
                    } else {
                        self.by_hash((&bucket.filter(&leading.0), &bucket.filter(&leading.1)), *rows, pair)
                            .await?
                    };
                    part.differences.extend(inner.differences);
                    part.cut = part.cut.or(inner.cut);
                    continue;
                }
                if held + rows > HELD || group.len() == 64 {
                    part.differences.extend(self.rows(&group, pair).await?);
                    group.clear();
                    held = 0;
                }
                group.push(bucket);
                held += rows;
            }
            if !group.is_empty() {
                part.differences.extend(self.rows(&group, pair).await?);
            }
            Ok(part)
        })
    }

    /// The rows of ranges that differ.
    async fn rows(&self, ranges: &[Range], pair: &mut Pair) -> Result<Vec<Difference>, ActionError> {
        let leading = self.leading();
        let filters = (
            self.question.ranges(ranges, &leading.0),
            self.question.ranges(ranges, &leading.1),
        );
        let bucket = Bucket::Step { low: 0, step: 1 };
        self.listed((&filters.0, &filters.1), bucket, None, pair).await
    }

    async fn listed(
        &self,
        filters: (&str, &str),
        bucket: Bucket,
        buckets: Option<HashSet<i64>>,
        pair: &mut Pair,
    ) -> Result<Vec<Difference>, ActionError> {
        let (source, target) = (&self.shared.source, &self.shared.target);
        let rows = |side: &Side, filter, buckets| Rows {
            dialect: side.dialect,
            ask: self.ask(side.role == "source", filter, bucket),
            buckets,
        };
        let one = rows(source, filters.0, buckets.clone());
        let other = rows(target, filters.1, buckets);
        let cancel = &self.shared.cancel;
        let (here, there) = tokio::join!(
            source.perform(&mut pair.source, &one, cancel),
            target.perform(&mut pair.target, &other, cancel)
        );
        let (here, there) = (here?, there?);
        unique(&self.question.make, &here, "source")?;
        unique(&self.question.make, &there, "target")?;
        Ok(self.question.make.differences(here, there))
    }

    /// Compares a table whose key cannot be cut into ranges that mean the same to both engines.
    async fn hashed(&self) -> Result<(), ActionError> {
        let mut held = self.shared.pool.take().await;
        let rows = match self.estimate {
            Some(rows) => rows,
            None => {
                let filter = self.question.filter("");
                let wanted = super::dialect::wanted(&filter);
                let side = &self.shared.source;
                let count = Count {
                    sql: format!("select count(*) from {}{wanted}", side.dialect.table(&self.source)),
                };
                side.perform(&mut held.pair.source, &count, &self.shared.cancel).await?
            }
        };
        let begun = Instant::now();
        let part = self.by_hash(("", ""), rows, &mut held.pair).await?;
        tracing::debug!(table = self.label, took = ?begun.elapsed(), "compared by hashed keys");
        let mut gathered = self.gathered();
        gathered.source = part.sums.0;
        gathered.target = part.sums.1;
        gathered.chunks = 1;
        gathered.unlike = part.unlike;
        gathered.differences = part.differences;
        gathered.cut = part.cut;
        if gathered.differences.len() > LISTED {
            gathered.differences.truncate(LISTED);
            gathered
                .cut
                .get_or_insert(format!("only the first {LISTED} rows that differ are listed"));
        }
        self.shared.meter.rows.fetch_add(part.sums.0.rows, Ordering::Relaxed);
        self.shared.meter.unlike.fetch_add(part.unlike, Ordering::Relaxed);
        Ok(())
    }

    /// Compares the rows of `filters` by buckets of their key's hash.
    async fn by_hash(&self, filters: (&str, &str), rows: u64, pair: &mut Pair) -> Result<Part, ActionError> {
        let mut digits = 1;
        while digits < 4 && rows / IN_A_BUCKET > 16_u64.pow(digits) {
            digits += 1;
        }
        let bucket = Bucket::Hash { digits };
        let filters = (self.question.filter(filters.0), self.question.filter(filters.1));
        let filters = (filters.0.as_str(), filters.1.as_str());
        let (here, there) = self.sums(filters, bucket, self.transports(), pair).await?;
        let (mut part, unlike) = compared(&here, &there);
        if unlike.is_empty() || !Question::names_rows(self.level) {
            return Ok(part);
        }
        let mut unlike = unlike.as_slice();
        let total = here.keys().chain(there.keys()).collect::<HashSet<_>>().len();
        let rows = part.sums.0.rows.max(part.sums.1.rows);
        if rows > SYSTEMATIC && unlike.len() * 2 > total {
            part.cut = Some(format!(
                "most rows differ ({} of {total} parts): a mapping, a time zone or a collation rather than single rows; only a \
                 sample is listed",
                unlike.len()
            ));
            unlike = unlike.get(..1).unwrap_or_default();
        }
        let mut group = HashSet::new();
        let mut held = 0;
        for (at, rows) in unlike {
            if held + rows > HELD && !group.is_empty() {
                let wanted = std::mem::take(&mut group);
                part.differences
                    .extend(self.listed(filters, bucket, Some(wanted), pair).await?);
                held = 0;
            }
            group.insert(*at);
            held += rows;
        }
        if !group.is_empty() {
            part.differences
                .extend(self.listed(filters, bucket, Some(group), pair).await?);
        }
        Ok(part)
    }
}

/// A key that two rows have names neither.
fn unique(make: &Make, found: &Found, role: &str) -> Result<(), ActionError> {
    let Some(key) = &found.twice else { return Ok(()) };
    let names: Vec<&str> = make
        .key
        .iter()
        .filter_map(|at| make.names.get(*at))
        .map(String::as_str)
        .collect();
    let words = format!(
        "{role}: more than one row has the key ({}) = ({}); name a key that tells rows apart",
        names.join(", "),
        String::from_utf8_lossy(key)
    );
    Err(ActionError::new(ActionErrorKind::Permanent, words))
}

/// What sums of buckets tell: everything together, and the buckets that differ with the more of their rows.
fn compared(here: &BTreeMap<i64, Sum>, there: &BTreeMap<i64, Sum>) -> (Part, Vec<(i64, u64)>) {
    let mut part = Part::default();
    here.values().for_each(|sum| part.sums.0.join(*sum));
    there.values().for_each(|sum| part.sums.1.join(*sum));
    let mut unlike = Vec::new();
    for at in here.keys().chain(there.keys().filter(|at| !here.contains_key(at))) {
        let (one, other) = (here.get(at).copied(), there.get(at).copied());
        if one != other {
            let rows = |sum: Option<Sum>| sum.map_or(0, |sum| sum.rows);
            unlike.push((*at, rows(one).max(rows(other))));
        }
    }
    unlike.sort_unstable();
    part.unlike = u64::try_from(unlike.len()).unwrap_or(u64::MAX);
    (part, unlike)
}

/// How long the estimate says that it will take still.
pub fn eta(meter: &Meter, since: Duration) -> Option<Duration> {
    let (rows, expected) = (
        meter.rows.load(Ordering::Relaxed),
        meter.expected.load(Ordering::Relaxed),
    );
    let left = expected.checked_sub(rows)?;
    (rows > 0).then(|| since.mul_f64(left as f64 / rows as f64))
}
