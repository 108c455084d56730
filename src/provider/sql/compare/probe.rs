//! Who hashes a table's rows faster on each side, the server or this program; and that both ways say the same.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Instant;

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
        sums.transport = Transport::Pushed;
        let begun = Instant::now();
        let note = |words: String| self.gathered().notes.push(words);
        let transport = match side.perform(slot, &sums, cancel).await {
            Ok(there) if there == here => {
                let pushed = begun.elapsed();
                // Rows that travel cost both ends and the network: they have to be clearly faster.
                match self.shared.hashing {
                    Hashing::Servers => Transport::Pushed,
                    Hashing::Faster if pushed * 2 < streamed * 3 => Transport::Pushed,
                    Hashing::Faster | Hashing::Here => Transport::Streamed,
                }
            }
            Ok(_) => {
                note(format!(
                    "{}: the server's own hashes are not those of the rows that it sends; its rows are read instead",
                    side.role
                ));
                Transport::Streamed
            }
            Err(error) if error.kind == ActionErrorKind::Cancelled => return Err(error),
            Err(error) => {
                note(format!(
                    "{}: the server cannot hash its rows; they are read instead",
                    error.message
                ));
                Transport::Streamed
            }
        };
        Ok((here, transport))
    }
}
