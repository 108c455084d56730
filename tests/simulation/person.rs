//! A person at the run whom a seed scripts: mostly helpful, sometimes not. Decides doubts by looking at what really
//! happened, as a person would.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pointsman::engine::amend::{Amendment, amended_with};
use pointsman::engine::facts::Mode;
use pointsman::engine::handle::Handle;
use pointsman::run::amend::Draft;
use pointsman::run::event::{Decision, Role, Subject};
use pointsman::run::facts::Who;
use pointsman::run::gate::missing;
use pointsman::run::state::{Phase, Request, Stage};
use pointsman::run::{Command, RunState};
use pointsman::runbook::digest::sha256;
use pointsman::runbook::plan::Plan;

use super::world::World;

pub struct Person {
    state: u64,
    world: World,
    turns: u32,
    /// The run's folder.
    folder: PathBuf,
    /// The plans that were asked for.
    pub drafts: Vec<Arc<Draft>>,
}

impl Person {
    pub fn new(seed: u64, world: World, folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            world,
            turns: 0,
            drafts: Vec::new(),
        }
    }

    /// Below `sides`, by the seed (xorshift).
    fn roll(&mut self, sides: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from((self.state >> 33) % u64::try_from(sides.max(1)).unwrap()).unwrap()
    }

    /// Sits there until the run is over.
    pub async fn conduct(&mut self, handle: &Handle) {
        loop {
            let past = handle.history().await.unwrap();
            let state = past.state;
            if state.is_closed() {
                return;
            }
            self.turns += 1;
            assert!(self.turns < 20_000, "the run does not end: {state:#?}");
            let idle = self.roll(4) == 0;
            if self.turns < 400 && self.roll(25) == 0 {
                self.amend(handle, &past.plan, &state).await;
            } else if !idle && let Some(command) = self.next(&state) {
                // A refusal is an answer, too.
                let _refused = handle.tell(command).await;
            }
            let pause = 20 + self.roll(400);
            tokio::time::sleep(Duration::from_millis(u64::try_from(pause).unwrap())).await;
        }
    }

    /// Changes the runbook a little, and asks for it. It may be refused: something has begun, or runs.
    async fn amend(&mut self, handle: &Handle, old: &Plan, state: &RunState) {
        let mut plan = old.clone();
        let at = self.roll(plan.steps.len());
        if self.roll(2) == 0 {
            plan.steps[at].notes = Some(format!("said at turn {}", self.turns));
        } else {
            let mut added = plan.steps[at].clone();
            added.id = format!("again_{}", self.turns);
            added.needs = vec![plan.steps[at].id.clone()];
            plan.steps.insert(at + 1, added);
        }
        let name = format!("amended-{}.json", self.turns);
        let bytes = serde_json::to_vec(&plan).unwrap();
        std::fs::write(self.folder.join(&name), &bytes).unwrap();
        let file_digest = sha256(&bytes);
        let files = serde_json::json!({ name: file_digest });
        let amendment = Amendment {
            plan: Arc::new(plan),
            file_digest,
            data: serde_json::Map::from_iter([("files".to_owned(), files)]),
        };
        self.drafts.push(Arc::new(amended_with(old, Mode::Real, &amendment)));
        if state.hold.is_none() {
            let hold = Command::Hold {
                reason: "the runbook is wrong".to_owned(),
                person: state.operator.clone(),
                owner: None,
                until_ms: None,
            };
            let _refused = handle.tell(hold).await;
        }
        let _refused = handle.amend(amendment, &state.operator, "it was wrong").await;
    }

    fn next(&mut self, state: &RunState) -> Option<Command> {
        // After a while only what helps.
        let calm = self.turns > 400;
        if !calm
            && self.roll(30) == 0
            && let Some(command) = self.mischief(state)
        {
            return Some(command);
        }
        let doubtful = state.open_effects().find(|(_, _, effect)| effect.needs_person());
        if let Some((step, role, _)) = doubtful {
            return Some(self.decide(state, &step.clone(), role));
        }
        if let Some((step, _)) = state.stuck.first().cloned() {
            return Some(if calm || self.roll(2) == 0 {
                Command::DoneByHand {
                    step,
                    person: "olga".to_owned(),
                    reason: "I did it myself and looked".to_owned(),
                }
            } else {
                Command::Retry { step }
            });
        }
        let amending = state.open_requests().find(|request| request.subject == Subject::Amend);
        if let Some(request) = amending.filter(|_| calm || self.roll(3) > 0) {
            return self.vote(state, request);
        }
        if state.hold.is_some() {
            return Some(Command::Release {
                person: "olga".to_owned(),
            });
        }
        let failed = state.each().find(|(_, step)| step.stage == Stage::Failed);
        if let Some((facts, _)) = failed.filter(|_| state.phase == Phase::Running) {
            return Some(self.failed(state, facts.id.clone(), calm));
        }
        let open: Vec<&Request> = state.open_requests().collect();
        let at = self.roll(open.len());
        open.get(at).and_then(|request| self.vote(state, request))
    }

    fn failed(&mut self, state: &RunState, step: pointsman::run::facts::StepId, calm: bool) -> Command {
        let person = "olga".to_owned();
        let asked = state.open_requests().next().cloned();
        match (self.roll(if calm { 2 } else { 4 }), asked) {
            (0 | 3, Some(request)) => match self.vote(state, &request) {
                Some(vote) => vote,
                None => Command::Retry { step },
            },
            (1, _) => Command::Rollback { to: None, person },
            (2, _) => Command::Skip {
                step,
                person,
                reason: "the bridge agreed".to_owned(),
            },
            (_, _) => Command::Retry { step },
        }
    }

    /// Looks at what really happened to this attempt.
    fn decide(&self, state: &RunState, step: &pointsman::run::facts::StepId, role: Role) -> Command {
        let attempt = state.step(step).map_or(0, |step| step.attempt);
        let undone = |sql: &str| sql.starts_with("insert");
        let done =
            self.world.happened().iter().any(|entry| {
                entry.step == step.0 && entry.attempt == attempt && undone(&entry.sql) == (role != Role::Do)
            });
        Command::Decide {
            step: step.clone(),
            done,
            person: "olga".to_owned(),
            reason: "I read the table".to_owned(),
        }
    }

    fn vote(&mut self, state: &RunState, request: &Request) -> Option<Command> {
        let (person, role) = match &request.gate.who {
            Who::Operator => (state.operator.clone(), "operator".to_owned()),
            Who::Quorum(quorums) => {
                let short = quorums.iter().find(|quorum| missing(state, request, quorum) > 0)?;
                let roles = &short.roles;
                let names = ["ana", "bea", "carl", "dora"];
                let free = names
                    .iter()
                    .find(|name| !request.votes.iter().any(|vote| vote.person == **name))?;
                ((*free).to_owned(), roles.first()?.clone())
            }
            // No runbook of the simulation polls.
            Who::Open { .. } | Who::Poll { .. } => return None,
        };
        let reject = self.turns < 400 && self.roll(40) == 0;
        Some(Command::Vote {
            request: request.id,
            person,
            role,
            decision: if reject { Decision::Reject } else { Decision::Approve },
            phrase: request.gate.phrase.clone(),
            comment: String::new(),
            attested_by: None,
        })
    }

    fn mischief(&mut self, state: &RunState) -> Option<Command> {
        let person = || state.operator.clone();
        let at = self.roll(state.facts.steps.len());
        let step = state.facts.steps.get(at)?.id.clone();
        Some(match self.roll(6) {
            0 => Command::Hold {
                reason: "somebody calls".to_owned(),
                person: person(),
                owner: None,
                until_ms: None,
            },
            1 => Command::Cancel { step, person: person() },
            2 => Command::Rollback {
                to: Some(step),
                person: person(),
            },
            3 => Command::Rollback {
                to: None,
                person: person(),
            },
            4 => Command::Skip {
                step,
                person: person(),
                reason: "not tonight".to_owned(),
            },
            _ => Command::Revoke {
                request: state.open_requests().next()?.id,
                person: "ana".to_owned(),
            },
        })
    }
}
