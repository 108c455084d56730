//! Who hashes a table's rows faster on each side, the server or this program; and that both ways say the same.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::provider::action::{ActionError, ActionErrorKind};
use crate::provider::sql::session::Session;

use super::cursor::Range;
use super::dialect::Bucket;
use super::narrow::{Part, compared};
use super::pool::Pair;
use super::row::Sum;
use super::side::Side;
use super::table::TableJob;
use super::work::{Hashing, Sums, Transport};

impl TableJob {
    /// Who hashes as long as nobody has found out who is faster: this program, but where servers are to and can.
    pub(super) fn begin(&self) {
        if self.shared.hashing != Hashing::Servers {
            return;
        }
        let can = |side: &Side| {
            let ask = self.ask(side.role == "source", "", Bucket::Step(Range::EVERYTHING));
            match side.dialect.sums(&ask) {
                Some(_) => Transport::Pushed,
                None => Transport::Streamed,
            }
        };
        let both = (can(&self.shared.source), can(&self.shared.target));
        *self.transports.lock().unwrap_or_else(PoisonError::into_inner) = both;
    }

    /// Finds out who hashes faster on each side, and that both ways say the same.
    pub(super) async fn probe(&self, range: &Range, pair: &mut Pair) -> Result<Part, ActionError> {
        let leading = self.leading();
        let filters = (
            self.question.filter(&range.filter(&leading.0)),
            self.question.filter(&range.filter(&leading.1)),
        );
        let bucket = Bucket::Step(*range);
        let (source, target) = (&self.shared.source, &self.shared.target);
        let (here, one) = self.faster(source, &filters.0, bucket, &mut pair.source).await?;
        let (there, other) = self.faster(target, &filters.1, bucket, &mut pair.target).await?;
        *self.transports.lock().unwrap_or_else(PoisonError::into_inner) = (one, other);
        let (part, unlike) = compared(&here, &there);
        if unlike.is_empty() {
            return Ok(part);
        }
        self.range(*range, pair).await
    }

    /// The sums of the rows as they are read here, and who is to hash from now on.
    async fn faster(
        &self,
        side: &Side,
        filter: &str,
        bucket: Bucket,
        slot: &mut Option<Box<dyn Session>>,
    ) -> Result<(BTreeMap<i64, Sum>, Transport), ActionError> {
        let ask = self.ask(side.role == "source", filter, bucket);
        let hashes = self.shared.hashing != Hashing::Here && side.dialect.sums(&ask).is_some();
        let mut sums = Sums {
            dialect: side.dialect,
            ask,
            transport: Transport::Streamed,
            heard: None,
        };
        let here = self.timed(side, &sums, slot).await?;
        if !hashes {
            return Ok((here.out, Transport::Streamed));
        }
        sums.transport = Transport::Pushed;
        let Some(there) = self.agrees(side, &sums, &here.out, slot).await? else {
            return Ok((here.out, Transport::Streamed));
        };
        // So short a time is not measured exactly, and what is hashed here spares the server.
        let there = there * 5 / 4;
        let mut reading = here.took;
        if self.shared.hashing == Hashing::Faster && there < reading {
            // Whoever comes first finds the rows on the disk; the next one, in the server's memory.
            sums.transport = Transport::Streamed;
            match self.timed(side, &sums, slot).await {
                Ok(again) => reading = reading.min(again.took),
                Err(error) if error.kind == ActionErrorKind::Cancelled => return Err(error),
                // The rows are known already.
                Err(error) => tracing::info!(%error, side = side.role, "it was not measured again"),
            }
        }
        let used = if self.shared.hashing == Hashing::Servers || there < reading {
            Transport::Pushed
        } else {
            Transport::Streamed
        };
        Ok((here.out, used))
    }

    /// How long it takes the server to give the sums of the rows that were read; nothing where it does not, or gives others.
    async fn agrees(
        &self,
        side: &Side,
        sums: &Sums<'_>,
        here: &BTreeMap<i64, Sum>,
        slot: &mut Option<Box<dyn Session>>,
    ) -> Result<Option<Duration>, ActionError> {
        let words = match self.timed(side, sums, slot).await {
            Ok(there) if there.out == *here => return Ok(Some(there.took)),
            Ok(_) => format!(
                "{}: the server's own hashes are not those of the rows that it sends; its rows are read instead",
                side.role
            ),
            Err(error) if error.kind == ActionErrorKind::Cancelled => return Err(error),
            Err(error) if error.kind == ActionErrorKind::Transient => format!(
                "{}: the server did not come to hash its rows; they are read instead",
                error.message
            ),
            Err(error) => format!(
                "{}: the server cannot hash its rows; they are read instead",
                error.message
            ),
        };
        self.gathered().notes.push(words);
        Ok(None)
    }

    /// Sums, and what they take: the server, this program, which may be at it at the same time, and the way between them.
    async fn timed(
        &self,
        side: &Side,
        sums: &Sums<'_>,
        slot: &mut Option<Box<dyn Session>>,
    ) -> Result<Timed, ActionError> {
        self.shared.free().await?;
        let begun = Instant::now();
        let mut own = Duration::ZERO;
        let mut work = std::pin::pin!(side.perform(slot, sums, &self.shared.cancel));
        let done = poll_fn(|cx| {
            let begun = Instant::now();
            let polled = work.as_mut().poll(cx);
            own += begun.elapsed();
            polled
        });
        let out = done.await?;
        let took = begun.elapsed() + own;
        Ok(Timed { out, took })
    }
}

struct Timed {
    out: BTreeMap<i64, Sum>,
    took: Duration,
}
