//! From the sums of a range, or of hashed keys, to the rows that differ.

use std::collections::{BTreeMap, HashSet};
use std::sync::PoisonError;

use futures::future::BoxFuture;

use crate::provider::action::{ActionError, ActionErrorKind};

use super::cursor::Range;
use super::dialect::Bucket;
use super::differences::Make;
use super::outcome::{Difference, Level};
use super::pool::Pair;
use super::row::Sum;
use super::side::Side;
use super::table::{LISTED, TableJob};
use super::work::{Found, Rows, Sums, Transport};

/// Rows of differing buckets that are held at a time.
const HELD: u64 = 32_768;
/// A range of more rows than that in which most buckets differ is looked at by one of them: where most of its rows differ,
/// it is no matter of single rows.
const SYSTEMATIC: u64 = 8_192;
/// How often a table's part without ranges is read whole to name the rows of it that differ.
const SCANS: u32 = 16;
/// Rows that a bucket of hashed keys aims at.
const IN_A_BUCKET: u64 = 256;

/// Both sides' rows are read.
const STREAMED: (Transport, Transport) = (Transport::Streamed, Transport::Streamed);

/// Sums differ where rows do not.
const OTHER_TEXTS: &str = "the servers' own hashes differ where their rows do not; all rows are read instead";

/// What was found of a range.
#[derive(Default)]
pub(super) struct Part {
    pub sums: (Sum, Sum),
    pub unlike: u64,
    pub differences: Vec<Difference>,
    pub cut: Option<String>,
}

impl Part {
    /// Takes what was found of a piece of it. That its rows could not be read does not undo that its sums differ.
    fn take(&mut self, piece: Result<Self, ActionError>) -> Result<(), ActionError> {
        match piece {
            Ok(piece) => {
                self.differences.extend(piece.differences);
                self.cut = self.cut.take().or(piece.cut);
            }
            Err(error) if error.kind == ActionErrorKind::Cancelled => return Err(error),
            Err(error) => {
                let words = format!("rows that differ could not be read: {}", error.message);
                self.cut.get_or_insert(words);
            }
        }
        Ok(())
    }
}

impl TableJob {
    /// Sums of both sides at once.
    async fn sums(
        &self,
        filters: (&str, &str),
        bucket: Bucket,
        transports: (Transport, Transport),
        pair: &mut Pair,
    ) -> Result<(BTreeMap<i64, Sum>, BTreeMap<i64, Sum>), ActionError> {
        let (source, target) = (&self.shared.source, &self.shared.target);
        let heard = |rows: u64| self.shared.meter.reading(self.place, rows);
        let sums = |side: &Side, filter, transport| Sums {
            dialect: side.dialect,
            ask: self.ask(side.role == "source", filter, bucket),
            transport,
            heard: (side.role == "source" && !self.question.ranged).then_some(&heard as &(dyn Fn(u64) + Sync)),
        };
        let one = sums(source, filters.0, transports.0);
        let other = sums(target, filters.1, transports.1);
        let cancel = &self.shared.cancel;
        let kind = |transport: Transport| format!("{} {}", self.label, transport.words());
        let rows = |sums: &BTreeMap<i64, Sum>| sums.values().map(|sum| sum.rows).sum();
        let here = source.perform(&mut pair.source, &one, cancel);
        let there = target.perform(&mut pair.target, &other, cancel);
        let (kinds, rows) = ((kind(transports.0), kind(transports.1)), &rows);
        let (here, there) = tokio::join!(
            source.pace.run(&kinds.0, self.shared.free(), here, rows),
            target.pace.run(&kinds.1, self.shared.free(), there, rows)
        );
        Ok((here?, there?))
    }

    /// Compares a range, and names the rows that differ in it.
    pub(super) fn range<'a>(&'a self, range: Range, pair: &'a mut Pair) -> BoxFuture<'a, Result<Part, ActionError>> {
        Box::pin(async move {
            let leading = self.leading();
            let filters = (
                self.question.filter(&range.filter(&leading.0)),
                self.question.filter(&range.filter(&leading.1)),
            );
            let bucket = Bucket::Step(range);
            let used = self.transports();
            let (here, there) = match self.sums((&filters.0, &filters.1), bucket, used, pair).await {
                Err(error) if used != STREAMED && error.kind == ActionErrorKind::Permanent => {
                    self.reads_instead(&format!("{}; all rows are read instead", error.message));
                    self.sums((&filters.0, &filters.1), bucket, STREAMED, pair).await?
                }
                sums => sums?,
            };
            let (mut part, unlike) = compared(&here, &there);
            if unlike.is_empty() {
                return Ok(part);
            }
            if self.level != Level::Rows {
                if used == STREAMED {
                    return Ok(part);
                }
                // Before a difference is told: a server may hash other texts than it sends.
                let (here, there) = self.sums((&filters.0, &filters.1), bucket, STREAMED, pair).await?;
                return Ok(compared(&here, &there).0);
            }
            let total = here.keys().chain(there.keys()).collect::<HashSet<_>>().len();
            let mut unlike = unlike.as_slice();
            let rows = part.sums.0.rows.max(part.sums.1.rows);
            if self.gathered().differences.len() >= LISTED {
                part.cut = Some(format!("only the first {LISTED} rows that differ are listed"));
                return Ok(part);
            }
            if rows > SYSTEMATIC
                && unlike.len() * 2 > total
                && let Some(((at, rows), rest)) = unlike.split_first()
                && *rows <= HELD
            {
                let sample = self.rows(&[range.bucket(*at)], pair).await;
                if most(&sample, *rows) {
                    part.cut = Some(format!(
                        "most rows differ ({} of {total} parts of the keys from {} on): a mapping, a time zone or a collation \
                         rather than single rows; only a sample is listed",
                        unlike.len(),
                        range.low
                    ));
                    unlike = &[];
                } else {
                    unlike = rest;
                }
                part.take(sample)?;
            }
            let mut group: Vec<Range> = Vec::new();
            let mut held = 0;
            for (at, rows) in unlike {
                let bucket = range.bucket(*at);
                if *rows > HELD {
                    let inner = if bucket.high - bucket.low > 1 && !bucket.first && !bucket.last {
                        self.range(bucket, pair).await
                    } else {
                        let filters = (bucket.filter(&leading.0), bucket.filter(&leading.1));
                        self.by_hash((&filters.0, &filters.1), *rows, pair).await
                    };
                    part.take(inner)?;
                    continue;
                }
                if held + rows > HELD || group.len() == 64 {
                    part.take(self.rows(&group, pair).await)?;
                    group.clear();
                    held = 0;
                }
                group.push(bucket);
                held += rows;
            }
            if !group.is_empty() {
                part.take(self.rows(&group, pair).await)?;
            }
            if part.differences.is_empty() && part.cut.is_none() && used != STREAMED {
                self.reads_instead(OTHER_TEXTS);
                return self.range(range, pair).await;
            }
            Ok(part)
        })
    }

    /// A server cannot hash its rows after all, or hashes other texts than it sends. From now on rows are read.
    fn reads_instead(&self, why: &str) {
        let mut transports = self.transports.lock().unwrap_or_else(PoisonError::into_inner);
        if *transports != STREAMED {
            *transports = STREAMED;
            self.gathered().notes.push(why.to_owned());
        }
    }

    /// The rows of ranges that differ.
    async fn rows(&self, ranges: &[Range], pair: &mut Pair) -> Result<Part, ActionError> {
        let leading = self.leading();
        let filters = (
            self.question.ranges(ranges, &leading.0),
            self.question.ranges(ranges, &leading.1),
        );
        let bucket = Bucket::Step(Range::EVERYTHING);
        self.listed((&filters.0, &filters.1), bucket, None, pair).await
    }

    async fn listed(
        &self,
        filters: (&str, &str),
        bucket: Bucket,
        buckets: Option<HashSet<i64>>,
        pair: &mut Pair,
    ) -> Result<Part, ActionError> {
        let (source, target) = (&self.shared.source, &self.shared.target);
        let heard = |rows: u64| self.shared.meter.again(self.place, rows);
        let rows = |side: &Side, filter, buckets| Rows {
            dialect: side.dialect,
            ask: self.ask(side.role == "source", filter, bucket),
            buckets,
            heard: (side.role == "source" && !self.question.ranged).then_some(&heard as &(dyn Fn(u64) + Sync)),
        };
        self.shared.free().await?;
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
        Ok(Part {
            differences: self.question.make.differences(here, there),
            ..Part::default()
        })
    }

    /// Compares the rows of `filters` by buckets of their key's hash.
    pub(super) async fn by_hash(&self, filters: (&str, &str), rows: u64, pair: &mut Pair) -> Result<Part, ActionError> {
        let mut digits = 1;
        while digits < 4 && rows / IN_A_BUCKET > 16_u64.pow(digits) {
            digits += 1;
        }
        let bucket = Bucket::Hash { digits };
        let filters = (self.question.filter(filters.0), self.question.filter(filters.1));
        let filters = (filters.0.as_str(), filters.1.as_str());
        let used = self.transports();
        let (mut here, mut there) = match self.sums(filters, bucket, used, pair).await {
            Err(error) if used != STREAMED && error.kind == ActionErrorKind::Permanent => {
                self.reads_instead(&format!("{}; all rows are read instead", error.message));
                self.sums(filters, bucket, STREAMED, pair).await?
            }
            sums => sums?,
        };
        let (mut part, mut unlike) = compared(&here, &there);
        if unlike.is_empty() {
            return Ok(part);
        }
        if used != STREAMED {
            // Before a difference is told: a server may hash other texts than it sends, keys too.
            (here, there) = self.sums(filters, bucket, STREAMED, pair).await?;
            (part, unlike) = compared(&here, &there);
            if unlike.is_empty() {
                self.reads_instead(OTHER_TEXTS);
                return Ok(part);
            }
        }
        if self.level != Level::Rows {
            return Ok(part);
        }
        let mut unlike = unlike.as_slice();
        let total = here.keys().chain(there.keys()).collect::<HashSet<_>>().len();
        let rows = part.sums.0.rows.max(part.sums.1.rows);
        if rows > SYSTEMATIC
            && unlike.len() * 2 > total
            && let Some(((at, rows), rest)) = unlike.split_first()
        {
            let sample = self.listed(filters, bucket, Some(HashSet::from([*at])), pair).await;
            if most(&sample, *rows) {
                part.cut = Some(format!(
                    "most rows differ ({} of {total} parts): a mapping, a time zone or a collation rather than single rows; only \
                     a sample is listed",
                    unlike.len()
                ));
                unlike = &[];
            } else {
                unlike = rest;
            }
            part.take(sample)?;
        }
        let mut group = HashSet::new();
        let mut held = 0;
        let mut scans = 1;
        for (at, rows) in unlike {
            if held + rows > HELD && !group.is_empty() {
                let wanted = std::mem::take(&mut group);
                part.take(self.listed(filters, bucket, Some(wanted), pair).await)?;
                held = 0;
                scans += 1;
                if scans > SCANS || part.differences.len() >= LISTED {
                    part.cut.get_or_insert_with(|| {
                        format!("only some of the rows that differ are listed ({} parts)", unlike.len())
                    });
                    break;
                }
            }
            group.insert(*at);
            held += rows;
        }
        if !group.is_empty() {
            part.take(self.listed(filters, bucket, Some(group), pair).await)?;
        }
        Ok(part)
    }
}

/// Whether most of so many rows differ.
fn most(sample: &Result<Part, ActionError>, rows: u64) -> bool {
    let unlike = sample.as_ref().map_or(0, |part| part.differences.len());
    u64::try_from(unlike).is_ok_and(|unlike| unlike * 2 > rows)
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
pub(super) fn compared(here: &BTreeMap<i64, Sum>, there: &BTreeMap<i64, Sum>) -> (Part, Vec<(i64, u64)>) {
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
