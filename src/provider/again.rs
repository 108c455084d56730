//! Asking again until an answer is right or a time has passed. Owns the pace; must not know what is asked.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::action::{ActionError, ActionErrorKind, Cx, Outcome, Progress};

/// The first pause where no pace is given; each is half as long again, up to `SLOWEST`.
const FIRST: Duration = Duration::from_secs(1);
const SLOWEST: Duration = Duration::from_secs(5);
/// What a single question gets, however little of the time is left: less would ask only itself.
const LEAST: Duration = Duration::from_secs(1);

/// Why an answer is not right.
#[derive(Debug, Clone)]
pub enum Miss {
    /// It may be right later.
    Yet(ActionError),
    /// The peer says when to ask again.
    Later(ActionError, Duration),
    /// It never will be.
    Never(ActionError),
}

impl Miss {
    /// An answer that is not what was asked for, but may become so.
    pub fn unmet(words: impl Into<String>) -> Self {
        Self::Yet(ActionError::new(ActionErrorKind::Permanent, words))
    }

    /// No answer this time.
    pub fn silent(words: impl Into<String>) -> Self {
        Self::Yet(ActionError::new(ActionErrorKind::Transient, words))
    }

    /// Nothing that a later try could mend.
    pub fn never(words: impl Into<String>) -> Self {
        Self::Never(ActionError::new(ActionErrorKind::Permanent, words))
    }
}

/// An answer within `limit`, or why there is none yet; `who` is asked.
pub async fn within<T>(
    limit: Duration,
    who: &str,
    asking: impl Future<Output = Result<T, ActionError>>,
) -> Result<T, Miss> {
    match tokio::time::timeout(limit, asking).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) if error.kind == ActionErrorKind::Transient => Err(Miss::Yet(error)),
        Ok(Err(error)) => Err(Miss::Never(error)),
        Err(_elapsed) => Err(Miss::silent(format!(
            "{who} did not answer in time; it can be asked again"
        ))),
    }
}

/// What is asked.
#[async_trait]
pub trait Question: Sync {
    /// Asks once; everything has to be done within `limit` of real time.
    async fn ask(&self, limit: Duration) -> Result<Outcome, Miss>;
}

/// How often and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Again {
    /// None: once.
    pub within: Option<Duration>,
    pub every: Option<Duration>,
    /// The longest that one question may take.
    pub each: Duration,
}

impl Again {
    /// Asks until it holds. The last question is asked when the time is over, so that none of it is lost.
    pub async fn until(&self, cx: &Cx, question: &dyn Question) -> Result<Outcome, ActionError> {
        let speed = cx.speed.max(1.0);
        let begun = Instant::now();
        let mut pace = FIRST;
        let mut tries = 0_u32;
        loop {
            let spent = begun.elapsed().mul_f64(speed);
            let left = self.within.map(|within| within.saturating_sub(spent));
            let limit = left.map_or(self.each, |left| left.div_f64(speed).max(LEAST).min(self.each));
            tries = tries.saturating_add(1);
            let asked = tokio::select! {
                biased;
                () = cx.cancel.cancelled() => {
                    return Err(ActionError::new(ActionErrorKind::Cancelled, "the check was cancelled"));
                }
                asked = question.ask(limit) => asked,
            };
            let (error, wait) = match asked {
                Ok(outcome) => return Ok(outcome),
                Err(Miss::Never(error)) => return Err(error),
                Err(Miss::Yet(error)) => (error, Duration::ZERO),
                Err(Miss::Later(error, wait)) => (error, wait),
            };
            let Some(within) = self.within else { return Err(error) };
            let spent = begun.elapsed().mul_f64(speed);
            if spent >= within {
                let within = time(within);
                let words = format!("not within {within}, asked {tries} times; at last: {}", error.message);
                return Err(ActionError::new(ActionErrorKind::Permanent, words));
            }
            cx.reporter.progress(Progress::State(error.message));
            let pause = self.every.unwrap_or(pace).max(wait);
            pace = pace.mul_f64(1.5).min(SLOWEST);
            cx.pause(pause.min(within.saturating_sub(spent))).await?;
        }
    }
}

/// A time for people.
pub fn time(time: Duration) -> String {
    if time.subsec_millis() == 0 {
        format!("{} s", time.as_secs())
    } else {
        format!("{} ms", time.as_millis())
    }
}
