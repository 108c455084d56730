//! How many ranges a server is asked for at a time: all that were allowed, and fewer while each takes much longer than it
//! has to. Must not know what is asked.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

/// A range that takes so many times its best is a sign that the server has too much to do.
const SLOW: f64 = 3.0;
/// Up to so many times its best it is at ease again.
const EASE: f64 = 1.5;
/// What takes less than that is nobody's burden.
const SHORT: Duration = Duration::from_secs(1);

/// The pace of a side.
pub struct Pace {
    turns: Semaphore,
    most: usize,
    known: Mutex<Known>,
}

/// What was seen so far.
#[derive(Debug)]
struct Known {
    /// Of each kind of range: the least seconds that a row took.
    best: HashMap<String, f64>,
    at_once: usize,
    fewest: usize,
    /// How many times its best a range took at most.
    worst: f64,
}

impl Pace {
    /// With so many ranges at a time at most.
    pub fn new(most: usize) -> Self {
        let most = most.max(1);
        Self {
            turns: Semaphore::new(most),
            most,
            known: Mutex::new(Known {
                best: HashMap::new(),
                at_once: most,
                fewest: most,
                worst: 1.0,
            }),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a range of a kind as soon as it is its turn and it is `ready`, which is no burden of the server's. `rows`: how
    /// many rows the answer was made of.
    pub async fn run<T, E>(
        &self,
        kind: &str,
        ready: impl Future<Output = Result<(), E>>,
        asking: impl Future<Output = Result<T, E>>,
        rows: impl FnOnce(&T) -> u64,
    ) -> Result<T, E> {
        // It is never closed.
        let turn = self.turns.acquire().await.ok();
        ready.await?;
        let begun = Instant::now();
        let answer = asking.await?;
        if !self.may_keep(kind, begun.elapsed(), rows(&answer))
            && let Some(turn) = turn
        {
            turn.forget();
        }
        Ok(answer)
    }

    /// Whether the turn that took so long may be taken again.
    fn may_keep(&self, kind: &str, took: Duration, rows: u64) -> bool {
        if rows == 0 {
            return true;
        }
        let each = took.as_secs_f64() / rows as f64;
        let mut known = self.known();
        let best = match known.best.get_mut(kind) {
            Some(best) => {
                *best = best.min(each);
                *best
            }
            None => {
                known.best.insert(kind.to_owned(), each);
                each
            }
        };
        if took > SHORT && each > SLOW * best {
            known.worst = known.worst.max(each / best);
            if known.at_once > 1 {
                known.at_once -= 1;
                known.fewest = known.fewest.min(known.at_once);
                return false;
            }
        } else if (took <= SHORT || each <= EASE * best) && known.at_once < self.most {
            known.at_once += 1;
            self.turns.add_permits(1);
        }
        true
    }

    /// That it was asked for less at a time, where it was.
    pub fn words(&self) -> Option<String> {
        let known = self.known();
        (known.fewest < self.most).then(|| {
            format!(
                "asked for fewer ranges at a time (down to {} of {}), because one took {:.1} times as long a row as the fastest",
                known.fewest, self.most, known.worst
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Asks for ranges of a thousand rows that take so long, as many at a time as it may; gives how many were at once.
    async fn at_once(pace: &Arc<Pace>, ranges: usize, took: Duration) -> usize {
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut each = tokio::task::JoinSet::new();
        for _ in 0..ranges {
            let (pace, running, most) = (Arc::clone(pace), Arc::clone(&running), Arc::clone(&most));
            each.spawn(async move {
                let asking = async {
                    most.fetch_max(running.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                    tokio::time::sleep(took).await;
                    running.fetch_sub(1, Ordering::Relaxed);
                    Ok::<(), Infallible>(())
                };
                pace.run("t", std::future::ready(Ok(())), asking, |()| 1_000).await
            });
        }
        while each.join_next().await.is_some() {}
        most.load(Ordering::Relaxed)
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_with_too_much_to_do_is_asked_for_less_and_then_for_more_again() {
        let pace = Arc::new(Pace::new(4));
        assert_eq!(at_once(&pace, 8, Duration::from_millis(500)).await, 4);
        assert_eq!(pace.words(), None);
        // Longer, and not by much.
        assert_eq!(at_once(&pace, 8, Duration::from_millis(1_400)).await, 4);
        assert_eq!(pace.words(), None);
        at_once(&pace, 8, Duration::from_secs(4)).await;
        assert_eq!(
            at_once(&pace, 8, Duration::from_secs(4)).await,
            1,
            "it never asks for none"
        );
        let words = pace.words();
        assert!(
            words
                .as_deref()
                .is_some_and(|words| words.contains("1 of 4") && words.contains("8.0 times")),
            "{words:?}"
        );
        at_once(&pace, 8, Duration::from_millis(500)).await;
        assert_eq!(at_once(&pace, 8, Duration::from_millis(500)).await, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn tables_are_not_held_against_one_another() {
        let pace = Pace::new(2);
        let asking = |took: u64| async move {
            tokio::time::sleep(Duration::from_secs(took)).await;
            Ok::<(), Infallible>(())
        };
        for (kind, took) in [("narrow", 1), ("wide", 60), ("wide", 60), ("narrow", 1)] {
            assert!(
                pace.run(kind, std::future::ready(Ok(())), asking(took), |()| 1_000)
                    .await
                    .is_ok()
            );
        }
        assert_eq!(pace.words(), None);
        // A range of nothing says nothing of the server.
        let ready = std::future::ready(Ok(()));
        assert!(pace.run("narrow", ready, asking(600), |()| 0).await.is_ok());
        // Nor does what it was held for.
        assert!(pace.run("narrow", asking(600), asking(1), |()| 1_000).await.is_ok());
        assert_eq!(pace.words(), None);
    }
}
