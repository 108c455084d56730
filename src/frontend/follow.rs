//! Follows a run: the state and the story folded from the engine's feed, caught up from the history where the feed
//! lost something. Must not send commands.

use std::sync::Arc;

use crate::engine::handle::Update;
use crate::projection::Story;
use crate::run::{Illegal, RunState, apply};
use crate::runbook::plan::Plan;

/// A run as far as it was heard of.
#[derive(Debug, Clone)]
pub struct Follower {
    pub state: RunState,
    pub story: Story,
    /// The number of the last record folded.
    pub last: u64,
    /// How many events were folded.
    pub events: u64,
}

impl Follower {
    /// Nothing heard yet; `state` is that of a run before its first event.
    pub fn new(plan: &Plan, state: RunState) -> Self {
        Self {
            state,
            story: Story::new(plan),
            last: 0,
            events: 0,
        }
    }

    /// Takes the whole history; gives what was not known yet.
    pub fn catch_up(&mut self, state: RunState, updates: &[Arc<Update>]) -> Vec<Arc<Update>> {
        let known = usize::try_from(self.events).unwrap_or(usize::MAX);
        let fresh: Vec<Arc<Update>> = updates.iter().skip(known).cloned().collect();
        for update in &fresh {
            self.tell(update);
        }
        self.state = state;
        fresh
    }

    /// Takes one update; false if it was known already.
    ///
    /// # Errors
    /// The update does not follow what was heard: the history has to be asked.
    pub fn take(&mut self, update: &Update) -> Result<bool, Illegal> {
        if self.events > 0 && update.seq <= self.last {
            return Ok(false);
        }
        self.state = apply(self.state.clone(), &update.event)?;
        self.tell(update);
        Ok(true)
    }

    fn tell(&mut self, update: &Update) {
        self.story.fold(update.at, &update.event);
        self.last = update.seq;
        self.events += 1;
    }
}
