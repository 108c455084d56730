//! What the record tells of earlier tries of an effect: when each was begun, by what name the peer took it, and what it
//! may have left. Asks for the history of the run; must not look at the world.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::engine::handle::Update;
use crate::provider::action::{ActionError, ActionErrorKind};
use crate::run::Event;
use crate::run::event::{OutcomeResult, PersonDecision, Role};
use crate::run::facts::StepId;

use super::doer::Job;

/// What an earlier try may have left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// It was refused, or it was proven or decided that it was not sent.
    Nothing,
    /// It was accepted and has failed since: a part of it may stand, and nothing is under way.
    Ended,
    /// Nobody knows its end.
    Open,
}

/// An earlier try, as the record has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Earlier {
    pub intent_at: DateTime<Utc>,
    pub acked: Option<String>,
    pub left: Left,
}

/// The name that a peer gave an effect; an adoption notes our own, which no peer has said.
pub(super) fn by_peer(acked: Option<String>, own: &str) -> Option<String> {
    acked.filter(|id| id != own)
}

impl Job {
    /// Every try of an effect in an attempt, in their order, the present one included.
    pub(super) async fn earlier(&self, step: &StepId, attempt: u32, role: Role) -> Result<Vec<Earlier>, ActionError> {
        let past = self.setup.handle.history().await.map_err(|gone| {
            let words = format!("what was tried before cannot be read: {gone}; resume the run");
            ActionError::new(ActionErrorKind::Transient, words)
        })?;
        Ok(tries(&past.updates, step, attempt, role))
    }
}

/// The tries that a record tells of.
fn tries(updates: &[Arc<Update>], step: &StepId, attempt: u32, role: Role) -> Vec<Earlier> {
    let wanted = (step, attempt, role);
    let mut found: Vec<Earlier> = Vec::new();
    for update in updates {
        let event = &update.event;
        if let Event::EffectIntent {
            step, attempt, role, ..
        } = event
            && (step, *attempt, *role) == wanted
        {
            found.push(Earlier {
                intent_at: update.at,
                acked: None,
                left: Left::Open,
            });
        } else if let Event::EffectAck {
            step,
            attempt,
            role,
            provider_id,
        } = event
            && (step, *attempt, *role) == wanted
            && let Some(last) = found.last_mut()
        {
            last.acked = Some(provider_id.clone());
        } else if let Event::EffectOutcome {
            step,
            attempt,
            role,
            result,
            ..
        } = event
            && (step, *attempt, *role) == wanted
            && let Some(last) = found.last_mut()
        {
            last.left = match result {
                OutcomeResult::NotSent => Left::Nothing,
                OutcomeResult::Failed if last.acked.is_none() => Left::Nothing,
                OutcomeResult::Failed | OutcomeResult::Done => Left::Ended,
                OutcomeResult::InDoubt => Left::Open,
            };
        } else if let Event::EffectDecided {
            step,
            attempt,
            role,
            decision,
            ..
        } = event
            && (step, *attempt, *role) == wanted
        {
            let left = match decision {
                PersonDecision::NotStarted => Left::Nothing,
                PersonDecision::Done | PersonDecision::ByHand => Left::Ended,
            };
            // Whoever decides about the last try has looked at what all of them act on.
            for earlier in &mut found {
                earlier.left = left;
            }
        }
    }
    found
}
