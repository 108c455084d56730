//! The sessions of a comparison: so many pairs, handed to whoever compares a range next.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::provider::sql::session::Session;

/// A session of each side, opened when it is first needed.
#[derive(Default)]
pub struct Pair {
    pub source: Option<Box<dyn Session>>,
    pub target: Option<Box<dyn Session>>,
}

/// So many pairs.
pub struct Pool {
    free: Semaphore,
    pairs: Mutex<Vec<Pair>>,
}

/// A pair that is in use; it is given back when it is dropped.
pub struct Held<'a> {
    pub pair: Pair,
    pool: &'a Pool,
    _permit: Option<SemaphorePermit<'a>>,
}

impl Pool {
    /// Of so many pairs.
    pub fn new(pairs: usize) -> Self {
        Self {
            free: Semaphore::new(pairs.max(1)),
            pairs: Mutex::default(),
        }
    }

    /// Gives up the sessions that nobody has at the moment.
    pub fn clear(&self) {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// A pair, as soon as one is free.
    pub async fn take(&self) -> Held<'_> {
        // It is never closed.
        let permit = self.free.acquire().await.ok();
        let pair = self.pairs.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Held {
            pair: pair.unwrap_or_default(),
            pool: self,
            _permit: permit,
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let pair = std::mem::take(&mut self.pair);
        let mut pairs = self.pool.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        pairs.push(pair);
    }
}
