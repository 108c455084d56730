//! What a side is asked: sums of buckets, rows of buckets, the ends of a key, a number of rows. Each is a pure question that
//! may be asked again.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures::future::BoxFuture;

use crate::provider::action::{ActionError, ActionErrorKind};
use crate::provider::sql::session::{Cells, Session, all};

use super::cursor::Range;
use super::dialect::{Ask, Bucket, Dialect};
use super::row::{Composer, Sum, hash};
use super::side::Work;

/// Who hashes the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// The server: only sums travel.
    Pushed,
    /// This program: rows travel as they are.
    Streamed,
}

impl Transport {
    /// For people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Pushed => "hashed by the server",
            Self::Streamed => "read and hashed here",
        }
    }
}

/// Who is to hash the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hashing {
    /// On each side whoever is faster with the first rows.
    #[default]
    Faster,
    /// The servers, where they can: little travels.
    Servers,
    /// This program: the servers only read.
    Here,
}

impl Hashing {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Faster, Self::Servers, Self::Here];

    /// As it is written in runbooks and on the command line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Faster => "faster",
            Self::Servers => "servers",
            Self::Here => "here",
        }
    }

    /// By its word.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hashing| hashing.word() == word)
    }
}

/// It is told after so many rows how many were read.
const TOLD: u64 = 8_192;
/// Longer rows are remembered by hashes of their columns.
const REMEMBERED: usize = 512;

fn wrong(words: impl Into<String>) -> ActionError {
    ActionError::new(ActionErrorKind::Permanent, words)
}

/// Sums of buckets.
pub struct Sums<'a> {
    pub dialect: &'static dyn Dialect,
    pub ask: Ask<'a>,
    pub transport: Transport,
    /// Hears how many rows were read so far, where one question is of a whole table.
    pub heard: Option<&'a (dyn Fn(u64) + Sync)>,
}

impl Work for Sums<'_> {
    type Out = BTreeMap<i64, Sum>;

    fn run<'a>(&'a self, session: &'a mut dyn Session) -> BoxFuture<'a, Result<Self::Out, ActionError>> {
        Box::pin(async move {
            match self.transport {
                Transport::Pushed => self.pushed(session).await,
                Transport::Streamed => self.streamed(session).await,
            }
        })
    }
}

impl Sums<'_> {
    async fn pushed(&self, session: &mut dyn Session) -> Result<BTreeMap<i64, Sum>, ActionError> {
        let sql = self
            .dialect
            .sums(&self.ask)
            .ok_or_else(|| wrong("the engine cannot hash these rows itself"))?;
        let mut sums: BTreeMap<i64, Sum> = BTreeMap::new();
        let bucket = self.ask.bucket;
        let mut left_out = false;
        session
            .each(&sql, &mut |cells| {
                let rows = parsed(cells, 1, |text| text.parse().ok())?;
                if rows == 0 {
                    return Ok(());
                }
                let at = parsed(cells, 0, |text| match bucket {
                    Bucket::Step(range) => text.parse().ok().map(|steps| range.place(counted(steps))),
                    Bucket::Hash { .. } => i64::from_str_radix(text, 16).ok(),
                })?;
                // A row's text that is NULL is in no sum. Where the server counts what it hashed, that is seen here.
                let hashed = cells.text(2).and_then(|text| text.parse::<u64>().ok());
                if hashed.is_some_and(|hashed| hashed != rows) {
                    left_out = true;
                    return Ok(());
                }
                let sum: i128 = parsed(cells, 3, |text| text.parse().ok())?;
                let sum = if cells.len() > 4 {
                    let low: i128 = parsed(cells, 4, |text| text.parse().ok())?;
                    (sum << 32).wrapping_add(low)
                } else {
                    sum
                };
                let hash = u64::try_from(sum.rem_euclid(1 << 64)).unwrap_or(0);
                sums.entry(at).or_default().join(Sum { rows, hash });
                Ok(())
            })
            .await?;
        if left_out {
            return self.streamed(session).await;
        }
        Ok(sums)
    }

    async fn streamed(&self, session: &mut dyn Session) -> Result<BTreeMap<i64, Sum>, ActionError> {
        let sql = self.dialect.rows(self.ask.table, self.ask.fields, self.ask.filter);
        let mut composer = composer(&self.ask);
        let mut sums = Running::default();
        let ask = &self.ask;
        let mut rows = 0_u64;
        session
            .bulk(&sql, &mut |cells| {
                rows += 1;
                if let Some(heard) = self.heard
                    && rows.is_multiple_of(TOLD)
                {
                    heard(rows);
                }
                let hash = composer.hash(cells);
                sums.add(bucket(ask, &mut composer, cells)?, hash);
                Ok(())
            })
            .await?;
        Ok(sums.all())
    }
}

/// Sums as rows come, mostly in the order of their key.
#[derive(Default)]
struct Running {
    sums: BTreeMap<i64, Sum>,
    last: (i64, Sum),
}

impl Running {
    fn add(&mut self, at: i64, hash: u64) {
        if at != self.last.0 {
            let (before, sum) = std::mem::replace(&mut self.last, (at, Sum::default()));
            self.sums.entry(before).or_default().join(sum);
        }
        self.last.1.add(hash);
    }

    fn all(mut self) -> BTreeMap<i64, Sum> {
        self.sums.entry(self.last.0).or_default().join(self.last.1);
        self.sums.retain(|_, sum| sum.rows > 0);
        self.sums
    }
}

/// The bucket of a range that a key is in.
fn steps(range: Range, key: &[u8]) -> Result<i64, ActionError> {
    let text = std::str::from_utf8(key).unwrap_or_default();
    // Most are short.
    if let (Ok(key), Ok(low), Ok(step)) = (text.parse(), i64::try_from(range.low), i64::try_from(range.step()))
        && let Some(above) = i64::checked_sub(key, low)
    {
        return Ok(range.place(above / step));
    }
    let key: i128 = text.parse().map_err(|_other| {
        let seen = String::from_utf8_lossy(key);
        wrong(format!("a key is {seen:?}, which is no whole number; name another key"))
    })?;
    let steps = (key - range.low) / i128::from(range.step());
    Ok(range.place(counted(steps)))
}

/// What lies beyond what steps can count lies beyond an end.
fn counted(steps: i128) -> i64 {
    let far = if steps < 0 { i64::MIN } else { i64::MAX };
    i64::try_from(steps).unwrap_or(far)
}

fn parsed<T>(cells: &Cells, index: usize, read: impl Fn(&str) -> Option<T>) -> Result<T, ActionError> {
    let text = cells.text(index);
    text.as_deref()
        .and_then(read)
        .ok_or_else(|| wrong(format!("the engine's sum has {text:?} in place {}", index + 1)))
}

fn composer(ask: &Ask<'_>) -> Composer {
    Composer::new(ask.fields.iter().map(|field| field.form).collect())
}

/// The bucket of a row.
fn bucket(ask: &Ask<'_>, composer: &mut Composer, cells: &Cells) -> Result<i64, ActionError> {
    match ask.bucket {
        Bucket::Step(range) => {
            let leading = ask.key.first().copied().unwrap_or(0);
            steps(range, cells.get(leading).unwrap_or(b"NULL"))
        }
        Bucket::Hash { digits } => {
            let hash = hash(composer.part(cells, ask.key));
            Ok(i64::try_from(hash >> (64 - 4 * digits.clamp(1, 15))).unwrap_or(0))
        }
    }
}

/// A row as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Text(Box<[u8]>),
    /// Of each of its fields.
    Hashes(Box<[u64]>),
}

/// Rows by the text of their key, each with how many times it is there.
#[derive(Debug, Default)]
pub struct Found {
    pub rows: HashMap<Box<[u8]>, (Seen, u64)>,
    /// A key that more than one row has.
    pub twice: Option<Box<[u8]>>,
}

/// Rows of buckets.
pub struct Rows<'a> {
    pub dialect: &'static dyn Dialect,
    pub ask: Ask<'a>,
    /// Only these; all where none is named.
    pub buckets: Option<HashSet<i64>>,
    /// Hears how many rows were read so far, where most of them are not meant.
    pub heard: Option<&'a (dyn Fn(u64) + Sync)>,
}

impl Work for Rows<'_> {
    type Out = Found;

    fn run<'a>(&'a self, session: &'a mut dyn Session) -> BoxFuture<'a, Result<Self::Out, ActionError>> {
        Box::pin(async move {
            let sql = self.dialect.rows(self.ask.table, self.ask.fields, self.ask.filter);
            let mut composer = composer(&self.ask);
            let mut found = Found::default();
            let mut rows = 0_u64;
            session
                .bulk(&sql, &mut |cells| {
                    rows += 1;
                    if let Some(heard) = self.heard
                        && rows.is_multiple_of(TOLD)
                    {
                        heard(rows);
                    }
                    if let Some(wanted) = &self.buckets
                        && !wanted.contains(&bucket(&self.ask, &mut composer, cells)?)
                    {
                        return Ok(());
                    }
                    let key: Box<[u8]> = composer.part(cells, self.ask.key).into();
                    let text = composer.text(cells);
                    let seen = if text.len() <= REMEMBERED {
                        Seen::Text(text.into())
                    } else {
                        let each = (0..cells.len()).map(|field| hash(composer.part(cells, &[field])));
                        Seen::Hashes(each.collect())
                    };
                    match found.rows.get_mut(&key) {
                        Some((before, times)) => {
                            if *before != seen {
                                found.twice = Some(key);
                            }
                            *times += 1;
                        }
                        None => {
                            found.rows.insert(key, (seen, 1));
                        }
                    }
                    Ok(())
                })
                .await?;
            Ok(found)
        })
    }
}

/// The ends of a key: the lowest and the highest; nothing where there is no row.
pub struct Ends {
    pub sql: String,
}

impl Work for Ends {
    type Out = Option<(i128, i128)>;

    fn run<'a>(&'a self, session: &'a mut dyn Session) -> BoxFuture<'a, Result<Self::Out, ActionError>> {
        Box::pin(async move {
            let rows = all(session, &self.sql).await?;
            let row = rows.into_iter().next().unwrap_or_default();
            let end = |index: usize| match row.get(index).and_then(Option::as_deref) {
                None => Ok(None),
                Some(text) => {
                    let number = text.parse::<i128>().map(Some);
                    number
                        .map_err(|_bad| wrong(format!("a key is {text:?}, which is no whole number; name another key")))
                }
            };
            Ok(end(0)?.zip(end(1)?))
        })
    }
}

/// A number.
pub struct Count {
    pub sql: String,
}

impl Work for Count {
    type Out = u64;

    fn run<'a>(&'a self, session: &'a mut dyn Session) -> BoxFuture<'a, Result<Self::Out, ActionError>> {
        Box::pin(async move {
            let rows = all(session, &self.sql).await?;
            let cell = rows.into_iter().flatten().flatten().next();
            let count = cell.as_deref().and_then(|text| text.parse().ok());
            count.ok_or_else(|| wrong(format!("the count is {cell:?}")))
        })
    }
}
