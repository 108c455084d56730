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
        let cancel = &self.shared.cancel;
        self.shared.free().await?;
        let begun = Instant::now();
        let here = side.perform(slot, &sums, cancel).await?;
        let streamed = begun.elapsed();
        if !hashes {
            return Ok((here, Transport::Streamed));
        }
        let mut best = (Transport::Streamed, streamed);
        for transport in [Transport::Written, Transport::Pushed] {
            sums.transport = transport;
            let Some(took) = self.agrees(side, &sums, &here, slot).await? else {
                continue;
            };
            let servers = self.shared.hashing == Hashing::Servers && transport == Transport::Pushed;
            let before = match best.0 {
                Transport::Streamed => best.1 * side.dialect.reading(),
                // So short a time is not measured exactly, and who hashes there spares the way here.
                Transport::Written => best.1 * 5 / 4,
                Transport::Pushed => best.1,
            };
            if servers || took < before {
                best = (transport, took);
            }
        }
        Ok((here, best.0))
    }

    /// How long it takes another way to give the sums of the rows that were read, its server and this program, which may be at
    /// it at the same time; nothing where it does not, or gives others.
    async fn agrees(
        &self,
        side: &Side,
        sums: &Sums<'_>,
        here: &BTreeMap<i64, Sum>,
        slot: &mut Option<Box<dyn Session>>,
    ) -> Result<Option<Duration>, ActionError> {
        let offered = match sums.transport {
            Transport::Written => side.dialect.texts(&sums.ask),
            Transport::Pushed => side.dialect.sums(&sums.ask),
            Transport::Streamed => None,
        };
        if offered.is_none() {
            return Ok(None);
        }
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
        let words = match done.await {
            Ok(there) if there == *here => return Ok(Some(begun.elapsed() + own)),
            Ok(_) => format!(
                "{}: the server's own hashes are not those of the rows that it sends; its rows are read instead",
                side.role
            ),
            Err(error) if error.kind == ActionErrorKind::Cancelled => return Err(error),
            Err(error) => format!(
                "{}: the server cannot hash its rows; they are read instead",
                error.message
            ),
        };
        self.gathered().notes.push(words);
        Ok(None)
    }
}
