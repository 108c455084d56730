//! The look at everything that the night depends on, and what of it becomes a record. Must not decide what a verdict
//! means for the run.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::provider::preflight::{Finding, Verdict};
use crate::run::Command;
use crate::run::proof::Counts;
use crate::runbook::plan::Plan;

use super::act::cut;
use super::doer::Job;

/// Looks at every connection and at what the steps of a plan need of it. Given by whoever knows the connections.
pub type Probes = dyn Fn(Arc<Plan>) -> BoxFuture<'static, Vec<Finding>> + Send + Sync;

/// So many findings are named in a record; the evidence has all of them.
const NAMED: usize = 12;
/// The longest words of one of them, in characters.
const LONGEST: usize = 240;

impl Job {
    /// Looks; none where the process leaves meanwhile.
    pub(super) async fn preflight(&self, number: u32) -> Option<(Command, Vec<u8>)> {
        let looking = (self.setup.probes)(self.plan.clone());
        let mut findings = tokio::select! {
            findings = looking => findings,
            () = self.cancel.cancelled() => return None,
        };
        for finding in &mut findings {
            finding.seen = self.setup.redactor.redact(&finding.seen);
        }
        let evidence = serde_json::to_vec_pretty(&findings).unwrap_or_default();
        Some((told(number, &findings), evidence))
    }
}

/// A look as the state machine is told of it. One that saw nothing proves nothing.
fn told(number: u32, findings: &[Finding]) -> Command {
    if findings.is_empty() {
        return failed(number, "nothing was looked at");
    }
    let count = |verdict| {
        let of_it = findings.iter().filter(|finding| finding.verdict == verdict);
        u32::try_from(of_it.count()).unwrap_or(u32::MAX)
    };
    let red = findings.iter().filter(|finding| finding.verdict == Verdict::Red);
    let amber = findings.iter().filter(|finding| finding.verdict == Verdict::Amber);
    Command::Preflighted {
        number,
        counts: Counts {
            red: count(Verdict::Red),
            amber: count(Verdict::Amber),
            green: count(Verdict::Green),
        },
        words: red.chain(amber).take(NAMED).map(words).collect(),
    }
}

/// A look that could not be.
pub(super) fn failed(number: u32, why: &str) -> Command {
    Command::Preflighted {
        number,
        counts: Counts {
            red: 1,
            ..Counts::default()
        },
        words: vec![cut(format!("preflight: {why}"))],
    }
}

fn words(finding: &Finding) -> String {
    let sign = match finding.verdict {
        Verdict::Red => "✘",
        Verdict::Amber => "!",
        Verdict::Green => "✔",
    };
    let whole = format!("{sign} {} {}: {}", finding.about, finding.probe, finding.seen);
    if whole.chars().count() <= LONGEST {
        return whole;
    }
    let mut short: String = whole.chars().take(LONGEST).collect();
    short.push('…');
    short
}
