//! Follows a run: the state and the story folded from the engine's feed, caught up from the history where the feed
//! lost something. Must not send commands.

use std::sync::Arc;

use crate::engine::handle::{Past, Update};
use crate::projection::Story;
use crate::run::{Event, Illegal, RunState, apply};
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

    /// Takes the whole history; gives what was not known yet. Under another plan the story is told anew.
    pub fn catch_up(&mut self, past: Past) -> Vec<Arc<Update>> {
        let known = usize::try_from(self.events).unwrap_or(usize::MAX);
        if past.state.amended != self.state.amended {
            self.story = Story::new(&past.plan);
            self.events = 0;
        }
        let told = usize::try_from(self.events).unwrap_or(usize::MAX);
        for update in past.updates.iter().skip(told) {
            self.tell(update);
        }
        self.state = past.state;
        past.updates.into_iter().skip(known).collect()
    }

    /// Takes one update; false if it was known already.
    ///
    /// # Errors
    /// The update does not follow what was heard, or the plan is another one from here: the history has to be asked.
    pub fn take(&mut self, update: &Update) -> Result<bool, Illegal> {
        if self.events > 0 && update.seq <= self.last {
            return Ok(false);
        }
        // The state may know the plan; the story and the screen do not.
        if let Event::RunAmended { .. } = update.event {
            return Err(Illegal {
                what: "another plan".to_owned(),
            });
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
