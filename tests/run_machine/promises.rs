//! What must hold of every list of events, whatever was commanded: judged from the events and the plan alone, by code
//! that shares nothing with the state machine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pointsman::run::Event;
use pointsman::run::amend::Draft;
use pointsman::run::event::{Assurance, CloseState, Decision, OutcomeResult, PersonDecision, Role, Subject};
use pointsman::run::facts::{Facts, RequestId, StepEffect, StepId, Undo, Who};

// Named by its path: this file is a part of two suites.
#[path = "amendments.rs"]
mod amendments;
#[path = "proofs.rs"]
mod proofs;

#[derive(Default)]
struct Asked {
    subject: Option<Subject>,
    step: Option<StepId>,
    who: Option<Who>,
    expires_ms: Option<i64>,
    votes: BTreeSet<String>,
    /// Who approved in which role.
    approved: BTreeSet<(String, String)>,
    /// The plan that it would be amended with.
    plan: Option<String>,
    /// Of a poll: the last answer of each role, by whom.
    answers: BTreeMap<String, (String, Decision)>,
    broken: bool,
    granted: bool,
    over: bool,
    consumed: bool,
}

#[derive(Default)]
struct Step {
    settled: bool,
    failed: bool,
    skipped: bool,
    in_doubt: bool,
    /// The effect happened, or may have, and is not undone.
    stands: bool,
    acked: bool,
    /// Its closing effect was done.
    closed: bool,
    /// When its effect was begun, and when its outcome was known, in events.
    begun: usize,
    ended: usize,
}

/// The judge.
pub struct Judge<'a> {
    facts: &'a Facts,
    drafts: &'a [Arc<Draft>],
    asked: BTreeMap<RequestId, Asked>,
    steps: BTreeMap<StepId, Step>,
    open: BTreeSet<(StepId, Role)>,
    operators: BTreeSet<String>,
    held: bool,
    closed: bool,
    to: Option<StepId>,
    looks: proofs::Looks,
    count: usize,
}

/// Judges a whole run; each event with the time it was decided at.
pub fn judge(facts: &Facts, drafts: &[Arc<Draft>], events: &[Event], times: &[i64]) {
    let mut judge = Judge {
        facts,
        drafts,
        asked: BTreeMap::new(),
        steps: facts
            .steps
            .iter()
            .map(|step| (step.id.clone(), Step::default()))
            .collect(),
        open: BTreeSet::new(),
        operators: BTreeSet::new(),
        held: false,
        closed: false,
        to: None,
        looks: proofs::Looks::default(),
        count: 0,
    };
    for (event, now) in events.iter().zip(times) {
        judge.event(event, *now);
    }
}

impl Judge<'_> {
    fn event(&mut self, event: &Event, now: i64) {
        self.count += 1;
        assert!(
            !self.closed || matches!(event, Event::Note { .. } | Event::GateCountersigned { .. }),
            "after the end: {event:?}"
        );
        self.looks.hear(event, self.facts.preflight_ms);
        match event {
            Event::Genesis { operator, .. } => {
                self.operators.insert(operator.clone());
            }
            Event::Resumed { operator, .. } => {
                self.operators.insert(operator.clone());
                // Nothing that was granted before is used after.
                for asked in self
                    .asked
                    .values_mut()
                    .filter(|asked| !asked.consumed && asked.subject == Some(Subject::Step))
                {
                    asked.over = true;
                }
            }
            Event::HandoverTaken { to, .. } => {
                self.operators.insert(to.clone());
            }
            Event::RunHeld { .. } => self.held = true,
            Event::RunReleased { .. } => self.held = false,
            Event::GateRequested {
                request,
                subject,
                step,
                expires_ms,
                escalated,
                plan,
                ..
            } => {
                let asked = Asked {
                    plan: plan.clone(),
                    subject: Some(*subject),
                    step: step.clone(),
                    who: self.who(*subject, step.as_ref(), *escalated),
                    expires_ms: *expires_ms,
                    ..Asked::default()
                };
                assert!(self.asked.insert(*request, asked).is_none(), "request {request} twice");
            }
            Event::GateVote {
                request,
                decision,
                person,
                role,
                assurance,
                also,
                ..
            } => {
                self.vote(*request, *decision, (person, role), *assurance, now);
                let own = also.iter().map(|role| (person.clone(), role.clone()));
                let asked = self.asked.get_mut(request).unwrap();
                for (_, role) in own.clone() {
                    assert!(self.facts.people[person].roles.contains(&role), "{person} is no {role}");
                }
                asked.approved.extend(own);
            }
            Event::GateBroken { request, .. } => self.asked.get_mut(request).unwrap().broken = true,
            Event::GateGranted { request } => self.granted(*request, now),
            Event::GateVoided { request, .. } | Event::GateExpired { request } => {
                self.asked.get_mut(request).unwrap().over = true;
            }
            Event::StepChecking { step, .. } => {
                self.needs_hold(step);
                let old = self.steps.get_mut(step).unwrap();
                if !old.stands {
                    old.begun = 0;
                }
                old.failed = false;
                old.settled = false;
                old.skipped = false;
            }
            Event::EffectIntent {
                step, role, request, ..
            } => self.intent(step, *role, *request, now),
            Event::EffectAck { step, .. } => self.steps.get_mut(step).unwrap().acked = true,
            Event::EffectKept { step, role, .. } => assert!(self.open.contains(&(step.clone(), *role)), "{step}"),
            Event::EffectOutcome {
                step,
                role,
                result,
                observed,
                ..
            } => {
                let late_doubt = *result == OutcomeResult::InDoubt && *observed;
                assert!(
                    late_doubt || self.open.contains(&(step.clone(), *role)),
                    "{step} ends without having begun"
                );
                self.outcome(step, *role, *result);
            }
            Event::EffectDecided {
                step, role, decision, ..
            } => {
                let result = match decision {
                    PersonDecision::Done | PersonDecision::ByHand => OutcomeResult::Done,
                    PersonDecision::NotStarted => OutcomeResult::NotSent,
                };
                self.outcome(step, *role, result);
            }
            Event::StepDone { step, .. } => self.steps.get_mut(step).unwrap().settled = true,
            // A failed verification is taken up again.
            Event::StepVerifying { step, .. } => self.steps.get_mut(step).unwrap().failed = false,
            Event::StepFailed { step, .. } => self.steps.get_mut(step).unwrap().failed = true,
            Event::StepSkipped { step, request, .. } => {
                let asked = self.asked.get_mut(request).unwrap();
                assert!(
                    asked.subject == Some(Subject::Skip)
                        && asked.granted
                        && !asked.consumed
                        && asked.step.as_ref() == Some(step),
                    "{step} is skipped without its approval"
                );
                asked.consumed = true;
                let begun = self.count;
                let skipped = self.steps.get_mut(step).unwrap();
                skipped.settled = true;
                skipped.skipped = true;
                if skipped.begun == 0 {
                    skipped.begun = begun;
                }
                skipped.failed = false;
            }
            Event::WindowExtended { request, .. } => {
                let asked = self.asked.get_mut(request).unwrap();
                assert!(asked.subject == Some(Subject::Window) && asked.granted && !asked.consumed);
                asked.consumed = true;
            }
            Event::RunAmended {
                request,
                plan_file_digest,
                ..
            } => self.amended(*request, plan_file_digest),
            Event::RunClosed { state, exit, .. } => self.close(*state, *exit),
            Event::UnwindPlanned { to, .. } => {
                self.held = false;
                self.to = to.clone();
            }
            Event::UnwindFinished { complete: false } => {
                // What came after the step that stands begins anew; a closing effect keeps its debt.
                let stands = self.to.as_ref().map_or(0, |to| self.steps[to].ended);
                for (id, step) in &mut self.steps {
                    let debt = step.stands && self.facts.step(id).unwrap().undo == Undo::AtClose && !step.closed;
                    // What was never begun has nothing that could stand.
                    if (step.begun == 0 || step.begun > stands) && !debt {
                        step.settled = false;
                        step.failed = false;
                    }
                }
            }
            Event::CheckResult { .. }
            | Event::GateCountersigned { .. }
            | Event::EffectCancel { .. }
            | Event::DeadlinePassed { .. }
            | Event::WindowClosed { .. }
            | Event::HandoverOffered { .. }
            | Event::PreflightBegun { .. }
            | Event::PreflightEnded { .. }
            | Event::PreflightVoided { .. }
            | Event::UnwindPrepared { .. }
            | Event::UnwindDropped { .. }
            | Event::UnwindFinished { complete: true }
            | Event::Note { .. }
            | Event::Interrupted { .. } => {}
        }
    }

    fn who(&self, subject: Subject, step: Option<&StepId>, escalated: bool) -> Option<Who> {
        // Those who are asked instead are named by the gate alone; that they are others is the table's to show.
        let own = self.facts.step(step?).map(|facts| facts.gate.who.clone())?;
        match (subject, &own) {
            // Going on without a poll is asked of the same roles.
            (Subject::Step | Subject::Skip, Who::Poll { .. }) => Some(own),
            (Subject::Step, _) if !escalated => Some(own),
            (
                Subject::Step | Subject::Skip | Subject::Unwind | Subject::Commit | Subject::Window | Subject::Amend,
                _,
            ) => None,
        }
    }

    fn vote(
        &mut self,
        request: RequestId,
        decision: Decision,
        (person, role): (&str, &str),
        assurance: Assurance,
        now: i64,
    ) {
        let asked = self.asked.get_mut(&request).unwrap();
        assert!(
            !asked.over && !asked.granted,
            "a vote on request {request} after its end"
        );
        assert!(
            asked.expires_ms.is_none_or(|expires| now < expires),
            "a vote after the expiry"
        );
        if let Some(Who::Poll { roles, .. }) = &asked.who {
            assert!(roles.iter().any(|asked| asked == role), "{role} was not asked");
            asked.answers.insert(role.to_owned(), (person.to_owned(), decision));
            let whose = asked.answers.values().filter(|(whose, _)| whose == person);
            assert_eq!(whose.count(), 1, "{person} answers for two roles");
            asked.votes.insert(person.to_owned());
        } else {
            assert!(asked.votes.insert(person.to_owned()), "{person} votes twice");
            // Whose gate it is may be known to the run alone; what abstains is a poll.
            assert!(
                decision != Decision::Abstain || asked.who.is_none(),
                "{person} abstains from a gate"
            );
        }
        if let Some(Who::Quorum(quorums)) = &asked.who {
            let operates = self.operators.contains(person);
            let fits = quorums
                .iter()
                .any(|quorum| quorum.roles.iter().any(|its| its == role) && !(quorum.not_operator && operates));
            assert!(fits, "{person} votes as {role}, and no quorum asks for that");
        }
        if decision == Decision::Approve {
            asked.approved.insert((person.to_owned(), role.to_owned()));
        }
        if assurance == Assurance::Attested {
            let step = asked.step.as_ref().and_then(|id| self.facts.step(id));
            assert!(
                !step.is_some_and(|facts| facts.is_no_return()),
                "an attested vote at a point of no return"
            );
        }
        if decision == Decision::Reject {
            asked.over = true;
        }
    }

    fn granted(&mut self, request: RequestId, now: i64) {
        let asked = self.asked.get_mut(&request).unwrap();
        assert!(
            !asked.over && !asked.granted,
            "request {request} is granted after its end"
        );
        assert!(asked.expires_ms.is_none_or(|expires| now < expires) || asked.votes.is_empty());
        let enough = match &asked.who {
            Some(Who::Open { .. }) => true,
            Some(Who::Operator) => !asked.votes.is_empty(),
            Some(Who::Quorum(quorums)) => quorums.iter().all(|quorum| {
                let fitting = asked.approved.iter().filter(|(_, role)| quorum.roles.contains(role));
                fitting.count() >= usize::try_from(quorum.min).unwrap()
            }),
            Some(Who::Poll { quorum, .. }) => {
                let goes = asked.answers.values().filter(|(_, said)| *said == Decision::Approve);
                goes.count() >= usize::try_from(*quorum).unwrap()
            }
            None => !asked.votes.is_empty(),
        };
        assert!(enough || asked.broken, "request {request} is granted by too few");
        if asked.broken {
            let step = asked.step.as_ref().and_then(|id| self.facts.step(id));
            assert!(
                !step.is_some_and(|facts| facts.is_no_return()),
                "the glass broken at a point of no return"
            );
        }
        asked.granted = true;
    }

    fn needs_hold(&self, step: &StepId) {
        let mut open = vec![step];
        while let Some(id) = open.pop() {
            for need in &self.facts.step(id).unwrap().needs {
                let known = &self.steps[need];
                assert!(known.settled, "{step} begins before {need}, which it needs");
                // What a skipped step would have waited for is waited for all the same.
                if known.skipped || self.facts.step(need).unwrap().undo == Undo::AtClose {
                    open.push(need);
                }
            }
        }
    }

    fn intent(&mut self, id: &StepId, role: Role, request: RequestId, now: i64) {
        assert!(!self.held, "{id} begins while the run is held");
        let facts = self.facts.step(id).unwrap();
        let asked = self.asked.get_mut(&request).unwrap();
        assert!(
            asked.granted && !asked.over,
            "{id} begins under a request that is not granted"
        );
        assert!(self.open.insert((id.clone(), role)), "{id} begins twice");
        match role {
            Role::Do => {
                assert!(asked.subject == Some(Subject::Step) && asked.step.as_ref() == Some(id));
                assert!(!asked.consumed, "one approval allowed {id} twice");
                asked.consumed = true;
                assert!(
                    asked.expires_ms.is_none_or(|expires| now < expires),
                    "{id} begins after the expiry"
                );
                self.needs_hold(id);
                let asks = |(other, step): (&StepId, &Step)| other != id && (step.failed || step.in_doubt);
                assert!(
                    facts.fall_forward || !self.steps.iter().any(asks),
                    "{id} begins while another step asks how it goes on"
                );
                if let Some(valid) = self.facts.preflight_ms.filter(|_| self.is_first_change(id)) {
                    self.looks.prove(valid, now);
                }
                let begun = self.count;
                let step = self.steps.get_mut(id).unwrap();
                step.acked = false;
                step.begun = begun;
            }
            Role::Undo => {
                assert_eq!(asked.subject, Some(Subject::Unwind));
                assert!(self.steps[id].stands, "{id} is undone and never happened");
                assert!(facts.undo == Undo::Action, "{id} has no undo");
                for other in self.facts.steps.iter().filter(|other| other.undo == Undo::Action) {
                    let stands = self.steps[&other.id].stands;
                    assert!(
                        !(stands && self.facts.depends(&other.id, id)),
                        "{id} is undone while {}, which depends on it, stands",
                        other.id
                    );
                }
                let beside: Vec<_> = self.open.iter().filter(|(other, _)| other != id).collect();
                for (other, _) in beside {
                    let parallel = facts.parallel_undo && self.facts.step(other).unwrap().parallel_undo;
                    assert!(parallel, "{id} is undone beside {other}");
                }
            }
            Role::Close => {
                assert!(matches!(asked.subject, Some(Subject::Unwind | Subject::Commit)));
                assert!(facts.undo == Undo::AtClose && self.steps[id].stands);
                assert_eq!(self.open.len(), 1, "a closing effect runs alone");
            }
        }
    }

    /// Whether a step would change something while nothing that another one changed stands, or may stand.
    fn is_first_change(&self, id: &StepId) -> bool {
        let mutates = |id: &StepId| {
            self.facts
                .step(id)
                .is_some_and(|facts| facts.effect == StepEffect::Mutate)
        };
        let stands = |(other, step): (&StepId, &Step)| mutates(other) && step.stands;
        let open = |(other, role): &(StepId, Role)| *role == Role::Do && other != id && mutates(other);
        mutates(id) && !self.steps.iter().any(stands) && !self.open.iter().any(open)
    }

    fn outcome(&mut self, id: &StepId, role: Role, result: OutcomeResult) {
        let ended = self.count;
        let step = self.steps.get_mut(id).unwrap();
        if role == Role::Do {
            step.ended = ended;
        }
        step.in_doubt = result == OutcomeResult::InDoubt;
        if result != OutcomeResult::InDoubt {
            self.open.remove(&(id.clone(), role));
        }
        match (role, result) {
            (Role::Do, OutcomeResult::Done) => step.stands = true,
            (Role::Do, OutcomeResult::Failed) => step.stands |= step.acked,
            (Role::Undo, OutcomeResult::Done) => {
                step.stands = false;
                step.settled = false;
            }
            (Role::Do, OutcomeResult::NotSent | OutcomeResult::InDoubt)
            | (Role::Undo, OutcomeResult::Failed | OutcomeResult::NotSent | OutcomeResult::InDoubt)
            | (Role::Close, OutcomeResult::Failed | OutcomeResult::NotSent | OutcomeResult::InDoubt) => {}
            (Role::Close, OutcomeResult::Done) => step.closed = true,
        }
    }

    fn close(&mut self, state: CloseState, exit: u8) {
        self.closed = true;
        assert!(
            self.open.is_empty() || matches!(exit, 5 | 6),
            "closed with {:?}",
            self.open
        );
        match state {
            CloseState::Committed => {
                for facts in self.facts.steps.iter().filter(|facts| !facts.fall_forward) {
                    assert!(self.steps[&facts.id].settled, "committed without {}", facts.id);
                }
            }
            CloseState::RolledBack => {
                for facts in self
                    .facts
                    .steps
                    .iter()
                    .filter(|facts| facts.effect == StepEffect::Mutate)
                {
                    let stands = self.steps[&facts.id].stands && facts.undo == Undo::Action;
                    assert!(!stands, "rolled back, and {} stands", facts.id);
                }
            }
            CloseState::Stopped | CloseState::Failed | CloseState::DryRun => {}
        }
    }
}
