//! Who hashes a table's rows faster on each side, the server or this program; and that both ways say the same.

use std::sync::PoisonError;
use std::time::Instant;

use crate::provider::action::{ActionError, ActionErrorKind};
use crate::provider::sql::session::Session;

use super::cursor::Range;
use super::dialect::Bucket;
use super::narrow::Part;
use super::pool::Pair;
use super::side::Side;
use super::table::TableJob;
use super::work::{Sums, Transport};

impl TableJob {
    /// Finds out who hashes faster on each side, and that both ways say the same.
    pub(super) async fn probe(&self, range: &Range, pair: &mut Pair) -> Result<Part, ActionError> {
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
        slot: &mut Option<Box<dyn Session>>,
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
        self.shared.free().await?;
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
}
