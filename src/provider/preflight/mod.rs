//! Looks at everything that a night depends on, before the night: every connection, and what the steps' actions ask of
//! their peers. Only reads. Must not decide whether a run may begin.

mod aws;
mod databases;
mod finding;
mod others;
mod records;

pub use finding::{Finding, Verdict};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use serde_json::Value;

use super::connection::{Connections, Target};

/// One action of a plan, as far as it is known before the run.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    pub step: &'a str,
    pub uses: &'a str,
    pub on: &'a [String],
    pub with: &'a Value,
}

impl Wish<'_> {
    /// A parameter that is known already; what an earlier step will give is not.
    fn text(&self, name: &str) -> Option<&str> {
        let text = self.with.get(name)?.as_str()?;
        (!text.contains("${")).then_some(text)
    }
}

type Look<'a> = BoxFuture<'a, Vec<Finding>>;

/// Looks at everything side by side; the findings come in the order of connections and steps.
pub async fn look(wishes: &[Wish<'_>], connections: &Connections) -> Vec<Finding> {
    let mut looks: Vec<Look<'_>> = Vec::new();
    for (name, target) in connections.each() {
        looks.push(match target {
            Target::Aws(target) => Box::pin(aws::look(name, target)),
            Target::Sqlite(target) => Box::pin(others::sqlite(name, target)),
            Target::Http(target) => Box::pin(others::http(name, target)),
            Target::Ssh(target) => Box::pin(others::ssh(name, target)),
        });
    }
    for wish in wishes {
        let Ok(Target::Aws(target)) = connections.at(wish.on, 0) else {
            continue;
        };
        match wish.uses.split('.').next() {
            Some("rds") => looks.push(Box::pin(databases::look(*wish, target))),
            Some("dms") => looks.push(Box::pin(databases::task(*wish, target))),
            Some("dns") => looks.push(Box::pin(records::look(*wish, wishes, target))),
            Some(_) | None => {}
        }
    }
    let mut under_way: FuturesUnordered<_> = looks
        .into_iter()
        .enumerate()
        .map(async |(index, look)| (index, look.await))
        .collect();
    let mut found = Vec::new();
    while let Some(one) = under_way.next().await {
        found.push(one);
    }
    found.sort_by_key(|(index, _)| *index);
    let mut all: Vec<Finding> = Vec::new();
    for finding in found.into_iter().flat_map(|(_, findings)| findings) {
        // Several steps ask the same of the same.
        if !all.contains(&finding) {
            all.push(finding);
        }
    }
    all
}
