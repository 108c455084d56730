//! Looks at everything that a night depends on, before the night: every connection, and what the steps' actions ask of
//! their peers. Only reads. Must not decide whether a run may begin.

mod aws;
mod calls;
mod databases;
mod finding;
mod others;
pub mod permissions;
mod records;
mod servers;

pub use finding::{Finding, Verdict};

use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use serde_json::Value;

use super::connection::{Connections, Target};

/// One action of a plan, as far as it is known before the run.
#[derive(Debug, Clone)]
pub struct Wish<'a> {
    pub step: &'a str,
    pub uses: &'a str,
    pub on: Vec<String>,
    pub with: &'a Value,
    /// It is asked in the middle of the night, of what may not be there before: only whether it is allowed is of interest.
    pub later: bool,
}

impl Wish<'_> {
    /// A parameter that is known already; what an earlier step will give is not.
    fn text(&self, name: &str) -> Option<&str> {
        let text = self.with.get(name)?.as_str()?;
        (!text.contains("${")).then_some(text)
    }
}

/// How long one look may take: a peer that does not answer holds up nobody else.
const LONGEST: Duration = Duration::from_secs(60);

type Look<'a> = BoxFuture<'a, Vec<Finding>>;

/// Looks at everything side by side; the findings come in the order of connections and steps.
pub async fn look(wishes: &[Wish<'_>], connections: &Connections) -> Vec<Finding> {
    let mut looks: Vec<(String, Look<'_>)> = Vec::new();
    for (name, target) in connections.each() {
        let look: Look<'_> = match target {
            Target::Aws(target) => {
                let ours = wishes
                    .iter()
                    .filter(|wish| wish.on.first().is_some_and(|on| on == name));
                let ours: Vec<&Wish<'_>> = ours.collect();
                Box::pin(async move { aws::look(name, target, &ours).await })
            }
            Target::Sqlite(target) => Box::pin(others::sqlite(name, target)),
            Target::Server(target) => Box::pin(servers::look(name, target)),
            Target::Http(target) => Box::pin(others::http(name, target)),
            Target::Ssh(target) => Box::pin(others::ssh(name, target)),
        };
        looks.push((name.to_owned(), look));
    }
    for wish in wishes.iter().filter(|wish| !wish.later) {
        let Ok(Target::Aws(target)) = connections.at(&wish.on, 0) else {
            continue;
        };
        let look: Look<'_> = match wish.uses.split('.').next() {
            Some("rds") => Box::pin(databases::look(wish, target)),
            Some("dms") => Box::pin(databases::task(wish, target)),
            Some("dns") => Box::pin(records::look(wish, wishes, target)),
            Some(_) | None => continue,
        };
        looks.push((wish.step.to_owned(), look));
    }
    let mut under_way: FuturesUnordered<_> = looks
        .into_iter()
        .enumerate()
        .map(async |(index, (name, look))| {
            let found = tokio::time::timeout(LONGEST, look).await;
            let silent = |_elapsed| {
                let seen = format!("nothing after {} s", LONGEST.as_secs());
                vec![Finding::red(
                    &name,
                    "answers",
                    seen,
                    "is it up, and may this machine reach it?",
                )]
            };
            (index, found.unwrap_or_else(silent))
        })
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
