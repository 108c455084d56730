//! Live checks: read again and again while a gate is open or granted, and in the last instant before the effect. Only
//! reads; a red or stale one is told by command.

use std::time::Duration;

use crate::run::Command;
use crate::run::facts::{RequestId, StepId};
use crate::runbook::plan::{Live, PlannedAction};

use super::doer::Job;

/// What one look at a live check said.
enum Sample {
    Green,
    /// Red, or with no answer while the last one was good for.
    Red {
        stale: bool,
        detail: String,
    },
}

impl Job {
    fn live_checks(&self, step: &StepId) -> Vec<(usize, &PlannedAction, Live)> {
        let Ok(planned) = self.planned(step) else {
            return Vec::new();
        };
        let checks = planned.before.iter().enumerate();
        checks
            .filter_map(|(index, check)| Some((index, check, check.live?)))
            .collect()
    }

    /// Watches until something is red, or until nobody needs it any more (then it says nothing).
    pub async fn watch(&self, step: &StepId, attempt: u32, request: RequestId) -> Option<Command> {
        let checks = self.live_checks(step);
        let shortest = checks.iter().map(|(_, _, live)| live.max_age.as_duration()).min()?;
        // Twice within the age that the strictest one bears, so that one late answer is not the end.
        let pause = self.scaled(shortest / 2);
        let mut reds = vec![0; checks.len()];
        loop {
            tokio::select! {
                () = self.cancel.cancelled() => return None,
                () = tokio::time::sleep(pause) => {}
            }
            for ((index, check, live), reds) in checks.iter().zip(&mut reds) {
                let sample = tokio::select! {
                    () = self.cancel.cancelled() => return None,
                    sample = self.sample(step, attempt, *index, check, *live) => sample,
                };
                match sample {
                    Sample::Green => *reds = 0,
                    Sample::Red { stale, detail } => {
                        *reds += 1;
                        if stale || *reds >= live.hysteresis {
                            return Some(Command::LiveRed { request, detail });
                        }
                    }
                }
            }
        }
    }

    /// In the last instant before the effect: what is red now, however few samples were red before.
    pub async fn live_now(&self, step: &StepId, attempt: u32) -> Option<String> {
        if self.unknowable(step).is_some() {
            return None;
        }
        for (index, check, live) in self.live_checks(step) {
            if let Sample::Red { detail, .. } = self.sample(step, attempt, index, check, live).await {
                return Some(format!("a live check is red: {detail}"));
            }
        }
        None
    }

    async fn sample(&self, step: &StepId, attempt: u32, index: usize, check: &PlannedAction, live: Live) -> Sample {
        let age = self.scaled(live.max_age.as_duration());
        let look = self.one_check(step, attempt, "before", index, check, None);
        match tokio::time::timeout(age, look).await {
            Ok(result) if result.ok => Sample::Green,
            Ok(result) => Sample::Red {
                stale: false,
                detail: format!("{} ({})", result.uses, result.detail),
            },
            Err(_elapsed) => Sample::Red {
                stale: true,
                detail: format!(
                    "{} gave no answer within {} s; what it said before is too old",
                    check.uses,
                    live.max_age.as_duration().as_secs()
                ),
            },
        }
    }

    fn scaled(&self, nominal: Duration) -> Duration {
        nominal.div_f64(self.setup.speed.max(1.0))
    }
}
