//! `rds.restore_test`: restores a snapshot as a throw-away instance, asserts that it came up as what it is of, deletes
//! it, whatever came of it. Nothing of it stays; what a crash left is deleted by the next attempt, which finds it by its
//! tags. Looking by SQL into what was restored is not in here: it comes with the providers of the engines that RDS has.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::provider::action::{Action, ActionError, ActionErrorKind, Cx, Observed, Outcome, Preview, Progress, Ready};
use crate::provider::aws::AwsTarget;
use crate::provider::aws::accept::note;
use crate::provider::aws::lag::SHOWN;
use crate::provider::connection::{BuildError, Connections};
use crate::provider::expectation::Expectation;
use crate::provider::registry::Request;

use super::assertion::Assertion;
use super::database::{BEAT, Database, Followed, Rds, Subject, TAG, permanent};
use super::snapshot::Taken;
use super::throwaway::Form;
use super::way::is_stuck;

/// How long an instance is looked for whose restore was not answered, nominally.
const LOOKED_FOR: Duration = Duration::from_secs(60);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    snapshot: String,
    class: Option<String>,
    subnet_group: Option<String>,
    security_groups: Option<Vec<String>>,
    expect: Option<Expectation>,
    #[serde(default)]
    assertions: Vec<Assertion>,
}

/// `rds.restore_test`.
pub struct RestoreTest {
    target: AwsTarget,
    form: Form,
    expect: Option<Expectation>,
    assertions: Vec<Assertion>,
    connections: Connections,
}

impl RestoreTest {
    /// From its parameters.
    pub fn new(request: &Request<'_>, target: AwsTarget, connections: &Connections) -> Result<Self, BuildError> {
        let with: Parameters = request.parameters()?;
        for assertion in &with.assertions {
            assertion.prove(connections)?;
        }
        Ok(Self {
            target,
            form: Form {
                snapshot: with.snapshot,
                class: with.class,
                subnet_group: with.subnet_group,
                security_groups: with.security_groups,
            },
            expect: with.expect,
            assertions: with.assertions,
            connections: connections.clone(),
        })
    }

    async fn snapshot(&self, rds: &Rds) -> Result<Taken, ActionError> {
        let name = &self.form.snapshot;
        let found = rds.snapshot(name).await?;
        let found = found.ok_or_else(|| permanent(format!("there is no snapshot {name}; check its name")))?;
        if found.status != "available" {
            let words = format!("the snapshot {name} is {}; it has to be available", found.status);
            return Err(permanent(words));
        }
        Ok(found)
    }

    /// The restore's answer was lost: goes on where its instance is there, and is in doubt where none shows up.
    /// Whatever ends the look, the restore was sent.
    async fn found_after(rds: &Rds, error: ActionError, cx: &Cx) -> Result<Option<String>, ActionError> {
        let and_then = |failed: ActionError| ActionError {
            message: format!(
                "{}; and then: {}; an instance {} may stand",
                error.message, failed.message, cx.key
            ),
            ..error.clone()
        };
        let mut waited = Duration::ZERO;
        while waited < LOOKED_FOR {
            match rds.throwaway(cx).await {
                Ok(Some(_)) => return Ok(error.request_id),
                Ok(None) => {}
                Err(failed) if failed.kind == ActionErrorKind::Transient => {}
                Err(failed) => return Err(and_then(failed)),
            }
            cx.pause(BEAT).await.map_err(and_then)?;
            waited += BEAT;
        }
        Err(error)
    }

    /// Waits until it is available; the state that it ended in where it never will be.
    async fn came_up(&self, rds: &Rds, cx: &Cx) -> Result<Database, ActionError> {
        let subject = Subject::Instance(cx.key.clone());
        let mut unseen = Duration::ZERO;
        loop {
            match rds.follow(&subject, cx).await? {
                Followed::Found(found) if found.status == "available" => return Ok(*found),
                Followed::Found(found) if is_stuck(&found.status) => {
                    let words = format!(
                        "the restored instance is {}; the snapshot could not be used",
                        found.status
                    );
                    return Err(permanent(words));
                }
                Followed::Found(found) => {
                    let words = format!("{}: {}", found.name, found.status);
                    cx.reporter.progress(Progress::State(words));
                }
                Followed::Gone if unseen >= SHOWN => {
                    let words = "the restore was accepted and no instance appeared; look at RDS's events";
                    return Err(permanent(words));
                }
                Followed::Gone => unseen += BEAT,
                Followed::Unreached => {}
            }
            cx.pause(BEAT).await?;
        }
    }

    /// What has to hold of what came up.
    fn assert(&self, snapshot: &Taken, found: &Database) -> Result<(), ActionError> {
        if found.engine != snapshot.engine {
            let words = format!(
                "the restored engine is {}, the snapshot's {}",
                found.engine, snapshot.engine
            );
            return Err(permanent(format!("{words}; look whether it is the right snapshot")));
        }
        if found.storage_gib < snapshot.storage_gib {
            let gib = |size: Option<i32>| size.map_or_else(|| "no".to_owned(), |size| size.to_string());
            let (has, wanted) = (gib(found.storage_gib), gib(snapshot.storage_gib));
            let words = format!("the restored storage has {has} GiB, the snapshot {wanted} GiB");
            return Err(permanent(format!("{words}; look whether it is the right snapshot")));
        }
        if let Some(expect) = &self.expect
            && !expect.holds(&found.result())?
        {
            let words = format!("the restored instance is there; {} does not hold", expect.text());
            return Err(permanent(words));
        }
        Ok(())
    }

    /// What came up, and what was seen of it.
    async fn tested(&self, rds: &Rds, snapshot: &Taken, cx: &Cx) -> Result<(Database, Vec<String>), ActionError> {
        let found = self.came_up(rds, cx).await?;
        self.assert(snapshot, &found)?;
        let mut seen = Vec::new();
        for assertion in &self.assertions {
            seen.push(assertion.holds(&found, &self.connections, cx).await?);
        }
        Ok((found, seen))
    }
}

#[async_trait]
impl Action for RestoreTest {
    fn preview(&self) -> Preview {
        let Form { snapshot, class, .. } = &self.form;
        let class = class
            .as_ref()
            .map(|class| format!(", class {class}"))
            .unwrap_or_default();
        let mut notes = vec![
            "not public, never Multi-AZ; it costs as long as it stands".to_owned(),
            "asserts status, engine and storage; its deletion is asked for in every outcome, also of what an earlier \
             attempt left; where RDS does not take it (it may not while it creates), you are told to delete it by hand"
                .to_owned(),
        ];
        notes.extend(self.expect.iter().map(|expect| format!("expects {}", expect.text())));
        notes.extend(self.assertions.iter().map(Assertion::words));
        Preview {
            summary: format!("restores {snapshot} as a throw-away instance, looks at it and deletes it"),
            commands: vec![
                format!("rds:RestoreDBInstanceFromDBSnapshot {snapshot}{class}, name and tag {TAG} from the run's key"),
                "rds:DeleteDBInstance of that instance, skip final snapshot".to_owned(),
            ],
            notes,
        }
    }

    async fn check(&self, cx: &Cx) -> Result<Ready, ActionError> {
        self.target.prove_account().await?;
        let rds = Rds::open(&self.target).await;
        let snapshot = self.snapshot(&rds).await?;
        let storage = snapshot
            .storage_gib
            .map(|gib| format!(", {gib} GiB"))
            .unwrap_or_default();
        let mut facts = vec![format!(
            "{} is of {}: {}{storage}",
            snapshot.name, snapshot.of, snapshot.engine
        )];
        for left in rds.leftovers(cx).await? {
            facts.push(format!(
                "{} of an earlier attempt is {}; it is deleted first",
                left.name, left.status
            ));
        }
        let mut identity = self.target.identity_json();
        if let Some(fields) = identity.as_object_mut() {
            fields.insert("snapshot".to_owned(), json!(snapshot.name));
            fields.insert("of".to_owned(), json!(snapshot.of));
        }
        Ok(Ready { identity, facts })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let rds = Rds::open(&self.target).await;
        let snapshot = self.snapshot(&rds).await?;
        for left in rds.leftovers(cx).await? {
            if left.name != cx.key {
                rds.discard(&left.name, true, cx).await?;
            }
        }
        if cx.cancel.is_cancelled() {
            let words = "it was asked to end before anything was restored";
            return Err(ActionError::new(ActionErrorKind::Cancelled, words));
        }
        let request_id = match rds.restore(&self.form, cx).await {
            // Whether it stands is looked at here: what stands has to be deleted.
            Err(error) if error.kind == ActionErrorKind::InDoubt => Self::found_after(&rds, error, cx).await?,
            sent => sent?,
        };
        note(cx, &cx.key, request_id.as_deref()).await?;
        let tested = self.tested(&rds, &snapshot, cx).await;
        let discarded = rds.discard(&cx.key, tested.is_ok(), cx).await;
        let ((found, seen), discarded) = match (tested, discarded) {
            (Ok(tested), Ok(discarded)) => (tested, discarded),
            // Nothing of it stays, and it did not pass: that is no doubt, however the look ended.
            (Err(failed), Ok(discarded)) => {
                let words = format!("{}; the throw-away instance {}", failed.message, discarded.words());
                return Err(ActionError {
                    request_id,
                    ..permanent(words)
                });
            }
            (Ok(_), Err(left)) => {
                return Err(ActionError {
                    message: format!("{} came up, and {}", snapshot.name, left.message),
                    ..left
                });
            }
            (Err(failed), Err(left)) => {
                return Err(ActionError {
                    message: format!("{}; and {}", failed.message, left.message),
                    ..left
                });
            }
        };
        let mut result = found.result();
        result.insert("request_id".to_owned(), json!(request_id));
        result.insert("restored".to_owned(), Value::from(snapshot.name.clone()));
        let seen: String = seen.iter().map(|seen| format!("; {seen}")).collect();
        Ok(Outcome {
            summary: format!(
                "{} came up as {}{seen}; the throw-away instance {}",
                snapshot.name,
                found
                    .engine_version
                    .map_or_else(|| found.engine.clone(), |version| format!("{} {version}", found.engine)),
                discarded.words()
            ),
            result,
            evidence: Vec::new(),
        })
    }

    async fn observe(&self, cx: &Cx) -> Result<Observed, ActionError> {
        let rds = Rds::open(&self.target).await;
        let found = match rds.throwaway(cx).await {
            Ok(found) => found,
            Err(error) if error.kind == ActionErrorKind::Permanent => {
                return Ok(Observed::Unknown { detail: error.message });
            }
            Err(error) => return Err(error),
        };
        Ok(match found {
            // Nothing of it stays either way, so that nothing stands in the way of doing it.
            None => cx.nothing_shows(
                SHOWN,
                format!(
                    "no throw-away instance {} stands: nothing of it stays, and whether it was tested is not known",
                    cx.key
                ),
            ),
            Some(found) => Observed::Unknown {
                detail: format!(
                    "the throw-away instance {} is {} and nobody asserted anything; try the step again, which deletes it first, or delete it by hand",
                    found.name, found.status
                ),
            },
        })
    }
}
