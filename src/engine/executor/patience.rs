//! Patience and its end: tries again what was not sent, and puts a limit to what was. Must not judge an outcome beyond
//! the class of its error.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::provider::action::{ActionError, ActionErrorKind, Cx, Outcome as Done};
use crate::runbook::plan::Retry;

use super::doer::Job;

/// How long a cancelled action may take to end by itself before its effect counts as in doubt.
const GRACE: Duration = Duration::from_secs(30);
/// How often and how long something is tried again.
#[derive(Debug, Clone, Copy)]
struct Patience<'a> {
    retry: Retry,
    /// The same seed waits the same.
    seed: &'a str,
    /// Divides every wait.
    speed: f64,
}

impl Patience<'_> {
    /// Tries again what failed before anything was sent, and only that.
    async fn with<T, F, Fut>(self, cancel: &CancellationToken, mut attempt: F) -> Result<T, ActionError>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, ActionError>>,
    {
        let mut wait = self.retry.from.as_duration();
        for left in (0..=self.retry.max).rev() {
            match attempt().await {
                Err(error) if error.kind == ActionErrorKind::Transient && left > 0 => {
                    tracing::info!(%error, left, "trying again");
                    let scaled = jittered(wait, self.seed, left).div_f64(self.speed.max(1.0));
                    tokio::select! {
                        () = cancel.cancelled() => return Err(ActionError::new(
                            ActionErrorKind::Cancelled,
                            format!("ended while waiting to try again; nothing was sent; the last try: {}", error.message),
                        )),
                        () = tokio::time::sleep(scaled) => {}
                    }
                    wait = (wait * 2).min(self.retry.to.as_duration());
                }
                settled => return settled,
            }
        }
        Err(ActionError::new(ActionErrorKind::Transient, "no attempt was left"))
    }
}

impl Job {
    /// Tries again what failed before anything was sent, and only that.
    pub async fn patiently<T, F, Fut>(&self, retry: Retry, attempt: F) -> Result<T, ActionError>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, ActionError>>,
    {
        let patience = Patience {
            retry,
            seed: &self.setup.run,
            speed: self.setup.speed,
        };
        patience.with(&self.cancel, attempt).await
    }

    /// Runs `work` under a time limit and the errand's cancellation: asks it to end, waits a little, then it is in doubt.
    pub(super) async fn limited(
        &self,
        limit: Option<Duration>,
        cx: &Cx,
        work: impl Future<Output = Result<Done, ActionError>>,
    ) -> Result<Done, ActionError> {
        if self.cancel.is_cancelled() {
            // Nothing starts once the journal cannot be written or the process leaves.
            return Err(ActionError::new(
                ActionErrorKind::Cancelled,
                "it was asked to end before it began; nothing was sent",
            ));
        }
        tokio::pin!(work);
        let timer = async {
            match limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        let words = tokio::select! {
            done = &mut work => return done,
            () = timer => format!("its timeout of {} s has passed", limit.unwrap_or_default().as_secs()),
            () = self.cancel.cancelled() => "it was asked to end".to_owned(),
        };
        cx.cancel.cancel();
        match tokio::time::timeout(GRACE, work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(ActionError {
                message: format!("{words}: {}", error.message),
                ..error
            }),
            Err(_elapsed) => Err(ActionError::new(
                ActionErrorKind::InDoubt,
                format!("{words} and it did not end"),
            )),
        }
    }
}

/// A wait between half and the whole of itself, so that many do not come back at once. The same run waits the same.
fn jittered(wait: Duration, seed: &str, left: u32) -> Duration {
    let mixed = seed
        .bytes()
        .chain(left.to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let share = f64::from(u32::try_from(mixed >> 32).unwrap_or(0)) / f64::from(u32::MAX);
    wait.mul_f64(0.5 + share / 2.0)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::Instant;

    use super::*;
    use crate::runbook::plan::Span;

    const RETRY: Retry = Retry {
        max: 5,
        from: Span(4_000),
        to: Span(10_000),
    };

    fn patience(seed: &str, speed: f64) -> Patience<'_> {
        Patience {
            retry: RETRY,
            seed,
            speed,
        }
    }

    fn transient() -> ActionError {
        ActionError::new(ActionErrorKind::Transient, "refused")
    }

    #[test]
    fn a_wait_is_between_half_and_the_whole_and_runs_do_not_wait_alike() {
        let whole = Duration::from_secs(8);
        let mut waits = std::collections::BTreeSet::new();
        for run in 0..200 {
            for left in 0..10 {
                let wait = jittered(whole, &format!("20261205-2200-{run}"), left);
                assert!(wait >= whole / 2 && wait <= whole, "{wait:?}");
                waits.insert(wait);
            }
        }
        assert!(waits.len() > 1900, "{}", waits.len());
        let (least, most) = (
            waits.first().copied().unwrap_or_default(),
            waits.last().copied().unwrap_or_default(),
        );
        assert!(
            least < whole.mul_f64(0.55) && most > whole.mul_f64(0.95),
            "{least:?} {most:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn waits_double_up_to_their_bound_and_end_with_the_last_try() {
        let tries = Cell::new(0_u32);
        let times = std::cell::RefCell::new(vec![Instant::now()]);
        let ended: Result<(), _> = patience("run", 1.0)
            .with(&CancellationToken::new(), async || {
                tries.set(tries.get() + 1);
                times.borrow_mut().push(Instant::now());
                Err(transient())
            })
            .await;
        assert_eq!(ended.map_err(|error| error.kind), Err(ActionErrorKind::Transient));
        assert_eq!(tries.get(), 6);
        let times = times.into_inner();
        let waits = times.windows(2).skip(1).map(|pair| match pair {
            [from, to] => *to - *from,
            _ => Duration::ZERO,
        });
        // Timers go by whole milliseconds.
        let slack = Duration::from_millis(1);
        for (wait, whole) in waits.zip([4, 8, 10, 10, 10].map(Duration::from_secs)) {
            assert!(wait >= whole / 2 && wait <= whole + slack, "{wait:?} of {whole:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancel_ends_the_wait_at_once_and_nothing_is_tried_any_more() {
        let (cancel, tries) = (CancellationToken::new(), Cell::new(0_u32));
        let begun = Instant::now();
        let patience = patience("run", 1.0);
        let waiting = patience.with(&cancel, async || {
            tries.set(tries.get() + 1);
            Err::<(), _>(transient())
        });
        let (ended, ()) = tokio::join!(waiting, async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            cancel.cancel();
        });
        assert_eq!(ended.map_err(|error| error.kind), Err(ActionErrorKind::Cancelled));
        assert_eq!(tries.get(), 1);
        assert_eq!(begun.elapsed(), Duration::from_millis(500), "a wait takes 2 s at least");
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_was_not_sent_is_tried_again() {
        for kind in [
            ActionErrorKind::Permanent,
            ActionErrorKind::InDoubt,
            ActionErrorKind::Cancelled,
        ] {
            let tries = Cell::new(0_u32);
            let ended: Result<(), _> = patience("run", 1.0)
                .with(&CancellationToken::new(), async || {
                    tries.set(tries.get() + 1);
                    Err(ActionError::new(kind, "no"))
                })
                .await;
            assert_eq!((ended.map_err(|error| error.kind), tries.get()), (Err(kind), 1));
        }
    }
}
