//! What the cockpit knows and shows. Owns the screen's state: selection, scrolling, open modal; the run's state is the
//! follower's fold. Only `update` changes it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::engine::handle::Briefing;
use crate::frontend::follow::Follower;
use crate::projection::samples::History;
use crate::projection::summary::NextCommands;
use crate::provider::action::Progress;
use crate::run::RunState;
use crate::run::event::Role;
use crate::run::facts::{RequestId, StepId};
use crate::run::state::{Request, Stage};
use crate::runbook::plan::{Plan, PlannedStep};

use super::theme::Theme;

/// Output lines that are kept; the journal's evidence has all of them.
pub const KEPT_LINES: usize = 20_000;

/// What does not change during a session.
#[derive(Debug, Clone)]
pub struct Session {
    pub operator: String,
    pub run_id: String,
    pub dry_run: bool,
    pub lab: Option<LabLine>,
    /// The zone of the clock.
    pub zone: Tz,
    pub next: NextCommands,
    /// What earlier runs took.
    pub history: Arc<History>,
}

/// Where the embedded lab listens.
#[derive(Debug, Clone, PartialEq)]
pub struct LabLine {
    pub dns: String,
    pub aws: String,
    pub speed: f64,
    pub folder: String,
}

/// The panes, in the order of Tab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pane {
    Tree,
    Step,
    Output,
}

/// A row of the runbook tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    Phase(usize),
    Step(usize),
}

/// A text field; the cursor is at its end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Input {
    pub text: String,
}

/// What a typed reason is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    Hold,
    Stop,
    Note,
    ByHand(StepId),
    Decide { step: StepId, done: bool },
}

/// What lies over the panes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Modal {
    Gate {
        request: RequestId,
        voter: usize,
        scroll: usize,
        phrase: Input,
    },
    Reject {
        request: RequestId,
        voter: usize,
        comment: Input,
    },
    Failure {
        step: StepId,
        at: usize,
    },
    Doubt {
        step: StepId,
        at: usize,
    },
    Rollback {
        at: usize,
    },
    Leave {
        at: usize,
    },
    Reason {
        purpose: Purpose,
        input: Input,
    },
    Help {
        scroll: usize,
        back: Option<Box<Self>>,
    },
    Summary {
        scroll: usize,
    },
}

/// A line of the output pane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputLine {
    pub at: DateTime<Utc>,
    pub step: Option<StepId>,
    pub text: String,
    pub kind: LineKind,
}

/// Where an output line comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineKind {
    /// A record of the journal.
    Event,
    /// Output of an action.
    Output,
    /// A note typed here.
    Note,
    /// Something that is no record.
    Notice,
}

/// How loud the status line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loudness {
    Plain,
    Bad,
}

/// A wish to leave: an effect that was sent is waited for first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaving {
    pub since: DateTime<Utc>,
    pub reason: String,
    /// The effect that was sent and not answered when the wish came up; later ones are not waited for.
    pub unanswered: Option<(StepId, Role)>,
    /// The engine was told.
    pub told: bool,
}

/// The cockpit's state.
#[derive(Debug, Clone)]
pub struct Model {
    pub plan: Arc<Plan>,
    pub session: Session,
    pub theme: Theme,
    pub follower: Follower,
    pub now: DateTime<Utc>,
    pub size: (u16, u16),
    pub pane: Pane,
    pub selected: Row,
    /// The selection goes with the run.
    pub follow: bool,
    pub folded: BTreeSet<usize>,
    pub step_scroll: usize,
    /// Lines above the newest; 0 follows.
    pub output_scroll: usize,
    pub output: VecDeque<OutputLine>,
    pub dropped: u64,
    /// The last share or state of each step that is at work.
    pub progress: BTreeMap<StepId, Progress>,
    /// What gates show, by step; none: an unwinding.
    pub briefings: BTreeMap<Option<StepId>, Arc<Briefing>>,
    pub modal: Option<Modal>,
    pub status: Option<(String, Loudness)>,
    pub halted: Option<String>,
    pub leaving: Option<Leaving>,
    /// The summary of a run that is over was shown.
    pub summed_up: bool,
}

impl Model {
    /// A cockpit that has heard nothing yet.
    pub fn new(plan: Arc<Plan>, session: Session, theme: Theme, state: RunState, now: DateTime<Utc>) -> Self {
        Self {
            follower: Follower::new(&plan, state),
            selected: if plan.steps.is_empty() {
                Row::Phase(0)
            } else {
                Row::Step(0)
            },
            plan,
            session,
            theme,
            now,
            size: (80, 24),
            pane: Pane::Tree,
            follow: true,
            folded: BTreeSet::new(),
            step_scroll: 0,
            output_scroll: 0,
            output: VecDeque::new(),
            dropped: 0,
            progress: BTreeMap::new(),
            briefings: BTreeMap::new(),
            modal: None,
            status: None,
            halted: None,
            leaving: None,
            summed_up: false,
        }
    }

    /// The run's state.
    pub const fn state(&self) -> &RunState {
        &self.follower.state
    }

    /// The rows of the tree, folded phases closed.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (index, phase) in self.plan.phases.iter().enumerate() {
            rows.push(Row::Phase(index));
            if !self.folded.contains(&index) {
                let steps = self.plan.steps.iter().enumerate();
                rows.extend(
                    steps
                        .filter(|(_, step)| step.phase == phase.id)
                        .map(|(at, _)| Row::Step(at)),
                );
            }
        }
        rows
    }

    /// The step that the step pane shows.
    pub fn shown_step(&self) -> Option<(usize, &PlannedStep)> {
        let index = match self.selected {
            Row::Step(index) => index,
            Row::Phase(phase) => {
                let id = &self.plan.phases.get(phase)?.id;
                self.plan.steps.iter().position(|step| step.phase == *id)?
            }
        };
        self.plan.steps.get(index).map(|step| (index, step))
    }

    /// The request that waits for votes.
    pub fn open_request(&self) -> Option<&Request> {
        self.state().open_requests().next()
    }

    /// The step that failed and asks how it goes on, or whose undo or closing effect is stuck.
    pub fn failed_step(&self) -> Option<StepId> {
        if let Some((step, _)) = self.state().stuck.first() {
            return Some(step.clone());
        }
        let state = self.state();
        let failed = state.steps.iter().position(|step| step.stage == Stage::Failed)?;
        state.facts.steps.get(failed).map(|facts| facts.id.clone())
    }

    /// The step about which only a person can say what became of it.
    pub fn doubtful_step(&self) -> Option<StepId> {
        self.state()
            .open_effects()
            .find(|(_, _, effect)| effect.needs_person())
            .map(|(step, _, _)| step.clone())
    }

    /// Appends to the output pane; the oldest lines give way.
    pub fn push_line(&mut self, line: OutputLine) {
        if self.output.len() >= KEPT_LINES {
            self.output.pop_front();
            self.dropped += 1;
        }
        self.output.push_back(line);
        if self.output_scroll > 0 {
            self.output_scroll += 1;
        }
    }

    /// Says something in the status line.
    pub fn say(&mut self, text: impl Into<String>) {
        self.status = Some((text.into(), Loudness::Plain));
    }

    /// Says loudly what went wrong.
    pub fn complain(&mut self, text: impl Into<String>) {
        self.status = Some((text.into(), Loudness::Bad));
    }
}
