//! What must not be overlooked in any view: broken glasses, votes without their second signature, skipped steps, passed
//! deadlines, a window that is over. Pure questions about a state; must not judge whether it was right.

use std::collections::BTreeSet;

use crate::run::RunState;
use crate::run::facts::{RequestId, StepId};
use crate::run::state::{Request, Stage};

use super::words::instant;

/// A kind of alarm; the order is that of their weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    WindowOver,
    GlassBroken,
    Unsigned,
    Overdue,
    Skipped,
}

impl Kind {
    /// The word that stands for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::WindowOver => "WINDOW OVER",
            Self::GlassBroken => "GLASS BROKEN",
            Self::Unsigned => "UNSIGNED",
            Self::Overdue => "OVERDUE",
            Self::Skipped => "SKIPPED",
        }
    }
}

/// Something that must not be overlooked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    pub kind: Kind,
    pub step: Option<StepId>,
    pub request: Option<RequestId>,
    /// What happened, without the step's name.
    pub text: String,
}

/// A second signature that is owed under a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    pub request: RequestId,
    /// Who has to give it: the person who was heard. None: anybody but `not`.
    pub by: Option<(String, String)>,
    /// Who broke the glass and cannot sign for it.
    pub not: Option<String>,
    /// Who wrote the vote down.
    pub heard_by: Option<String>,
}

/// Every alarm of a run, the heaviest first.
pub fn alarms(state: &RunState) -> Vec<Alarm> {
    let mut found = Vec::new();
    if state.window_over {
        let closed = state
            .window_closes_ms
            .map_or_else(String::new, |closes_ms| format!(" at {}", instant(closes_ms)));
        found.push(Alarm {
            kind: Kind::WindowOver,
            step: None,
            request: None,
            text: format!("THE WINDOW HAS CLOSED{closed}"),
        });
    }
    for request in state.requests.values() {
        if let Some(broken) = &request.broken {
            found.push(Alarm {
                kind: Kind::GlassBroken,
                step: request.step.clone(),
                request: Some(request.id),
                text: format!(
                    "GLASS BROKEN by {} for request {}: {}",
                    broken.person, request.id, broken.reason
                ),
            });
        }
    }
    for owed in owed(state) {
        let request = state.requests.get(&owed.request);
        found.push(Alarm {
            kind: Kind::Unsigned,
            step: request.and_then(|request| request.step.clone()),
            request: Some(owed.request),
            text: owed.text(),
        });
    }
    for id in &state.overdue {
        let deadline = state.facts.step(id).and_then(|facts| facts.deadline_ms);
        let deadline = deadline.map_or_else(String::new, |ms| format!(" of {}", instant(ms)));
        found.push(Alarm {
            kind: Kind::Overdue,
            step: Some(id.clone()),
            request: None,
            text: format!("its deadline{deadline} passed before it was done"),
        });
    }
    for (facts, step) in state.each().filter(|(_, step)| step.stage == Stage::Skipped) {
        let text = step.skip.as_ref().map_or_else(
            || "SKIPPED".to_owned(),
            |skip| format!("SKIPPED under request {}: {}", skip.request, skip.reason),
        );
        found.push(Alarm {
            kind: Kind::Skipped,
            step: Some(facts.id.clone()),
            request: step.skip.as_ref().map(|skip| skip.request),
            text,
        });
    }
    found
}

/// Second signatures that are still owed, in the order of their requests.
pub fn owed(state: &RunState) -> Vec<Owed> {
    state
        .requests
        .values()
        .flat_map(|request| owed_under(request))
        .collect()
}

/// A signature pays for the first that it can pay for, as when the journal is verified.
fn owed_under(request: &Request) -> Vec<Owed> {
    let heard = request.votes.iter().filter_map(|vote| {
        let witness = vote.attested_by.clone()?;
        Some(Owed {
            request: request.id,
            by: Some((vote.person.clone(), vote.role.clone())),
            not: None,
            heard_by: Some(witness),
        })
    });
    let broken = request.broken.iter().map(|broken| Owed {
        request: request.id,
        by: None,
        not: Some(broken.person.clone()),
        heard_by: None,
    });
    let mut left: Vec<Owed> = heard.chain(broken).collect();
    for signer in &request.countersigned {
        if let Some(paid) = left.iter().position(|owed| owed.may_be_given_by(signer)) {
            left.remove(paid);
        }
    }
    left
}

impl Owed {
    /// Whether `person` can give this signature.
    pub fn may_be_given_by(&self, person: &str) -> bool {
        match &self.by {
            Some((by, _)) => by == person,
            None => self.not.as_deref() != Some(person),
        }
    }

    fn text(&self) -> String {
        match (&self.by, &self.heard_by, &self.not) {
            (Some((person, role)), Some(witness), _) => {
                format!("the vote of {person} as {role}, heard by {witness}, waits for the signature of {person}")
            }
            (Some((person, role)), None, _) => format!("the vote of {person} as {role} waits for their signature"),
            (None, _, Some(breaker)) => {
                format!("the glass that {breaker} broke waits for the signature of somebody else")
            }
            (None, _, None) => "a second signature is owed".to_owned(),
        }
    }
}

/// The skipped steps that a step needs, with why each was skipped.
pub fn skipped_needs(state: &RunState, step: &StepId) -> Vec<(StepId, String)> {
    let needs: BTreeSet<&StepId> = state
        .facts
        .step(step)
        .into_iter()
        .flat_map(|facts| &facts.needs)
        .collect();
    needs
        .into_iter()
        .filter_map(|need| {
            let step = state.step(need).filter(|step| step.stage == Stage::Skipped)?;
            let reason = step.skip.as_ref().map_or("", |skip| skip.reason.as_str());
            Some((need.clone(), reason.to_owned()))
        })
        .collect()
}
