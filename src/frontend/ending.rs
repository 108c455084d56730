//! How a front end ends, and what the ways out mean for a run. Pure; must not send anything.

use crate::projection::summary::Summary;
use crate::run::RunState;
use crate::run::event::Role;
use crate::run::facts::StepId;
use crate::run::state::{EffectState, Phase};

/// How long an effect that was sent and not yet accepted is waited for before a front end leaves.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// What a front end hands back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// The program's exit code.
    pub exit: u8,
    pub reason: String,
    /// The last screen.
    pub summary: Option<Summary>,
}

/// The exit code of leaving a run that is not over, by a person's wish.
pub fn exit_of_leaving(state: &RunState) -> u8 {
    match state.phase {
        Phase::Closed { exit, .. } => exit,
        Phase::New | Phase::Running | Phase::Unwinding | Phase::CommitGate(_) | Phase::Closing(_) => {
            if state.in_doubt() {
                6
            } else if is_stuck_way_back(state) {
                5
            } else {
                3
            }
        }
    }
}

/// Whether an undo failed and waits for hands.
pub fn is_stuck_way_back(state: &RunState) -> bool {
    state.phase == Phase::Unwinding && !state.stuck.is_empty()
}

/// A changing effect that was begun and that the peer has not accepted yet: leaving now would leave it in doubt.
pub fn unanswered(state: &RunState) -> Option<(StepId, Role)> {
    state
        .open_effects()
        .find(|(_, _, effect)| {
            matches!(
                effect,
                EffectState::InFlight {
                    mutates: true,
                    acked: None,
                    ..
                }
            )
        })
        .map(|(step, role, _)| (step.clone(), role))
}
