//! Watches the last safe rollback of a headless run: says once each time it comes within 15 and 5 minutes, and when it
//! has passed. Must not decide anything.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::projection::Story;
use crate::projection::forecaster::Forecaster;
use crate::projection::samples::History;
use crate::projection::timing_words::warning;
use crate::projection::way_back::Nearness;
use crate::run::RunState;
use crate::runbook::plan::Plan;

/// The watch.
pub struct RollbackWatch {
    history: Arc<History>,
    speed: f64,
    zone: Tz,
    said: Nearness,
    next: Option<DateTime<Utc>>,
}

impl RollbackWatch {
    /// A watch that has said nothing.
    pub const fn new(history: Arc<History>, speed: f64, zone: Tz) -> Self {
        Self {
            history,
            speed,
            zone,
            said: Nearness::Far,
            next: None,
        }
    }

    /// What there is to say now, if it has not been said.
    pub fn look(&mut self, plan: &Plan, state: &RunState, story: &Story, now: DateTime<Utc>) -> Option<String> {
        let forecaster = Forecaster {
            plan,
            history: &self.history,
            speed: self.speed,
        };
        let way_back = forecaster.way_back(state, story, now);
        self.next = way_back.next_warning(now);
        let before = std::mem::replace(&mut self.said, way_back.nearness(now));
        if self.said > before {
            warning(plan, &way_back, now, self.zone)
        } else {
            None
        }
    }

    /// When it has to look again, although nothing happens.
    pub const fn next(&self) -> Option<DateTime<Utc>> {
        self.next
    }
}

/// Waits until `at`; without one, for ever.
pub async fn due(at: Option<DateTime<Utc>>) {
    match at {
        None => std::future::pending().await,
        Some(at) => tokio::time::sleep((at - Utc::now()).to_std().unwrap_or_default()).await,
    }
}
