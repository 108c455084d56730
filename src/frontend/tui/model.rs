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
use crate::run::state::{EffectState, Phase, Request, Stage};
use crate::runbook::plan::{Plan, PlannedStep};

use super::able::answerable;
use super::theme::Theme;

/// Output lines that are kept; the journal's evidence has all of them.
pub const KEPT_LINES: usize = 20_000;

/// Who sits here, at which run.
#[derive(Debug, Clone)]
pub struct Session {
    /// Who has the operator's seat, as far as it was heard of.
    pub operator: String,
    pub run_id: String,
    pub dry_run: bool,
    pub lab: Option<LabLine>,
    /// The zone of the clock.
    pub zone: Tz,
    pub next: NextCommands,
    /// The file that the run was made from, as far as this process knows it.
    pub runbook: Option<String>,
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

/// What typed words are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    Hold,
    Stop,
    Note,
    ByHand(StepId),
    Decide {
        step: StepId,
        done: bool,
    },
    /// To go on without a step.
    Skip(StepId),
    /// A longer window.
    Extend,
    /// Another plan.
    Amend,
    OfferSeat,
    TakeSeat,
    BreakGlass(RequestId),
    Countersign(RequestId),
}

/// What lies over the panes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Modal {
    Gate {
        request: RequestId,
        voter: usize,
        scroll: usize,
        phrase: Input,
        /// The voter was heard on the bridge; the operator writes the vote down.
        heard: bool,
    },
    Reject {
        request: RequestId,
        voter: usize,
        comment: Input,
        /// The voter was heard on the bridge.
        heard: bool,
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
    /// Asking what runs to end.
    End {
        step: StepId,
        at: usize,
    },
    Seat {
        at: usize,
    },
    Reason {
        purpose: Purpose,
        /// What was answered before, one question at a time.
        answers: Vec<String>,
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

impl Modal {
    /// The window of a gate, nothing typed.
    pub fn gate(request: RequestId, voter: usize) -> Self {
        Self::Gate {
            request,
            voter,
            scroll: 0,
            phrase: Input::default(),
            heard: false,
        }
    }

    /// The window that decides about a step that asks.
    pub fn decision(model: &Model, step: StepId) -> Self {
        if model.doubtful().contains(&step) {
            Self::Doubt { step, at: 0 }
        } else {
            Self::Failure { step, at: 0 }
        }
    }

    /// The first question of a purpose.
    pub fn ask(purpose: Purpose) -> Self {
        Self::Reason {
            purpose,
            answers: Vec::new(),
            input: Input::default(),
        }
    }
}

/// A line of the output pane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputLine {
    pub at: DateTime<Utc>,
    pub step: Option<StepId>,
    pub text: String,
    pub kind: LineKind,
    /// How often it came in a row.
    pub times: u32,
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
    /// The record after which it last went along.
    pub followed: Option<u64>,
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
            followed: None,
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

    /// The step whose row is selected.
    pub fn selected_step(&self) -> Option<&StepId> {
        match self.selected {
            Row::Step(index) => self.state().facts.steps.get(index).map(|facts| &facts.id),
            Row::Phase(_) => None,
        }
    }

    /// The request that keys act on, among those that can be answered now, else among all: the selected step's, else
    /// the first.
    pub fn open_request(&self) -> Option<&Request> {
        let selected = self.selected_step();
        let open = || self.state().open_requests();
        let of_selected = |request: &&Request| selected.is_some() && request.step.as_ref() == selected;
        let now = |request: &&Request| answerable(self.state(), request).is_ok();
        open()
            .find(|request| of_selected(request) && now(request))
            .or_else(|| open().find(now))
            .or_else(|| open().find(of_selected))
            .or_else(|| open().next())
    }

    /// Steps about which only a person can say what became of them.
    pub fn doubtful(&self) -> Vec<StepId> {
        let asked = self
            .state()
            .open_effects()
            .filter(|(_, _, effect)| effect.needs_person());
        asked.map(|(step, _, _)| step.clone()).collect()
    }

    /// Steps whose undo or closing effect is stuck, and steps that failed and ask how they go on.
    pub fn failed(&self) -> Vec<StepId> {
        let state = self.state();
        let stuck = state.stuck.iter().map(|(step, _)| step.clone());
        let failed = state
            .each()
            .filter(|(_, step)| state.phase == Phase::Running && step.stage == Stage::Failed)
            .map(|(facts, _)| facts.id.clone());
        stuck.chain(failed).collect()
    }

    /// The step that keys decide about, doubts before failures: the selected one if it asks, else the first.
    pub fn asking_step(&self) -> Option<StepId> {
        let mut asking = self.doubtful();
        asking.extend(self.failed());
        let selected = self.selected_step();
        let at = asking.iter().position(|step| Some(step) == selected).unwrap_or(0);
        asking.into_iter().nth(at)
    }

    /// Effects that run and can be asked to end.
    pub fn running(&self) -> Vec<StepId> {
        let open = self.state().open_effects();
        open.filter(|(_, _, effect)| matches!(effect, EffectState::InFlight { .. }))
            .map(|(step, _, _)| step.clone())
            .collect()
    }

    /// Appends to the output pane; the oldest lines give way.
    pub fn push_line(&mut self, line: OutputLine) {
        // What is kept of long work comes in hundreds: it is counted, and what was said before stays in sight.
        if line.kind == LineKind::Event
            && let Some(last) = self.output.back_mut()
            && (&last.step, last.kind, &last.text) == (&line.step, line.kind, &line.text)
        {
            last.at = line.at;
            last.times += 1;
            return;
        }
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
