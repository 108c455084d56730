//! Throw-away instances of `rds.restore_test`: made under the step's key, found again by name and tags, deleted. The
//! only place of the program that deletes a database, and only one that bears all four marks of being ours.

use std::time::Duration;

use aws_sdk_rds::operation::RequestId;
use aws_sdk_rds::types::Tag;

use crate::provider::action::{ActionError, ActionErrorKind, Cx, Progress};
use crate::provider::aws::classify::says;
use crate::provider::aws::lag::SHOWN;
use crate::provider::aws::{Sent, accepted, classify};

use super::database::{BEAT, Database, Rds, Subject, TAG, TAG_RUN, TAG_STEP, in_doubt, of_instance, permanent, tags};
use super::way::is_stuck;

/// The tag that says what an instance is for, and its value.
const PURPOSE: (&str, &str) = ("pointsman-purpose", "restore-test");
/// How often a deletion is asked for before a person has to see to it.
const TRIES: u32 = 30;

/// How long a deletion is asked for that the state of an instance stands against, nominally.
const LONGEST: Duration = Duration::from_secs(2 * 60 * 60);
/// How long a deletion is still asked for once the step is ended, nominally: less than an ended effect is waited for.
const GRACE: Duration = Duration::from_secs(20);

/// What is known of a deletion that is asked for.
struct Asked {
    seen: bool,
    unseen: Duration,
    tries: u32,
    waited: Duration,
    /// How long it was asked for after the step was ended.
    grace: Duration,
    last: String,
    request_id: Option<String>,
}

impl Asked {
    fn new(seen: bool) -> Self {
        Self {
            seen,
            unseen: Duration::ZERO,
            tries: 0,
            waited: Duration::ZERO,
            grace: Duration::ZERO,
            last: "nothing was heard".to_owned(),
            request_id: None,
        }
    }

    fn discarded(self, way: Way) -> Discarded {
        Discarded {
            way,
            request_id: self.request_id,
        }
    }
}

/// Why a deletion was not taken.
enum Refused {
    /// It cannot be deleted in its state.
    State(String),
    Other(String),
}

/// What a person has to see to.
fn by_hand(name: &str, words: &str) -> ActionError {
    in_doubt(format!(
        "the throw-away instance {name} may still stand: {words}; delete it by hand: \
         aws rds delete-db-instance --db-instance-identifier {name} --skip-final-snapshot"
    ))
}

/// What a throw-away instance is made like.
#[derive(Debug, Clone, Default)]
pub struct Form {
    pub snapshot: String,
    pub class: Option<String>,
    pub subnet_group: Option<String>,
    pub security_groups: Option<Vec<String>>,
}

/// How far a throw-away instance is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Gone,
    /// RDS took the deletion; nobody waited for its end.
    Going,
}

/// A throw-away instance that does not stand any more, or not for long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discarded {
    way: Way,
    /// The id of the request that deleted it, where one was answered.
    pub request_id: Option<String>,
}

impl Discarded {
    /// For people.
    pub fn words(&self) -> String {
        let way = match self.way {
            Way::Gone => "is deleted",
            Way::Going => "is being deleted",
        };
        match &self.request_id {
            Some(id) => format!("{way} (request id {id})"),
            None => way.to_owned(),
        }
    }
}

/// Whether an instance is a throw-away one of this step: by its name, which is its key, and by its tags.
fn is_ours(found: &Database, cx: &Cx) -> bool {
    found.name.starts_with("pm-")
        && found.tag(TAG) == Some(&found.name)
        && found.tag(PURPOSE.0) == Some(PURPOSE.1)
        && found.tag(TAG_RUN) == Some(&cx.run)
        && found.tag(TAG_STEP) == Some(&cx.step)
}

fn subject(name: &str) -> Subject {
    Subject::Instance(name.to_owned())
}

impl Rds {
    /// The throw-away instance of this attempt, where it stands; one of that name that is not ours is refused.
    pub async fn throwaway(&self, cx: &Cx) -> Result<Option<Database>, ActionError> {
        match self.find(&subject(&cx.key)).await? {
            Some(found) if !is_ours(&found, cx) => Err(permanent(format!(
                "an instance {} exists that is not ours; look whose it is",
                cx.key
            ))),
            found => Ok(found),
        }
    }

    /// Throw-away instances of this step, whichever attempt made them.
    pub async fn leftovers(&self, cx: &Cx) -> Result<Vec<Database>, ActionError> {
        let mut found = Vec::new();
        let mut marker: Option<String> = None;
        loop {
            let call = self.reads.describe_db_instances().set_marker(marker);
            let answer = call
                .send()
                .await
                .map_err(|error| classify(error, "rds:DescribeDBInstances", Sent::Read))?;
            found.extend(answer.db_instances().iter().map(of_instance));
            marker = answer.marker().filter(|more| !more.is_empty()).map(str::to_owned);
            if marker.is_none() {
                found.retain(|instance| is_ours(instance, cx));
                return Ok(found);
            }
        }
    }

    /// Restores a snapshot as the throw-away instance of this attempt; adopts the one that is there. Gives the
    /// request's id.
    pub async fn restore(&self, form: &Form, cx: &Cx) -> Result<Option<String>, ActionError> {
        let mut tags = tags(cx);
        tags.push(Tag::builder().key(PURPOSE.0).value(PURPOSE.1).build());
        let call = self.writes.restore_db_instance_from_db_snapshot();
        let call = call
            .db_snapshot_identifier(&form.snapshot)
            .db_instance_identifier(&cx.key)
            .set_db_instance_class(form.class.clone())
            .set_db_subnet_group_name(form.subnet_group.clone())
            .set_vpc_security_group_ids(form.security_groups.clone())
            .publicly_accessible(false)
            .multi_az(false)
            .deletion_protection(false)
            .set_tags(Some(tags));
        match call.send().await {
            Ok(answer) => Ok(answer.request_id().map(str::to_owned)),
            Err(error) if says(&error, "DBInstanceAlreadyExists") => {
                let request_id = error.request_id().map(str::to_owned);
                self.throwaway(cx).await?;
                Ok(request_id)
            }
            Err(error) => {
                let call = "rds:RestoreDBInstanceFromDBSnapshot";
                Err(classify(error, call, Sent::Mutation))
            }
        }
    }

    /// Deletes a throw-away instance of this step and waits until it is gone. Asks again until RDS has taken it: that
    /// it is ours is looked at before every call, and to delete it twice is to delete it once. One that nobody has
    /// `seen` may not be listed yet. Whoever ends the step ends the waiting, and has it asked for a little longer.
    pub async fn discard(&self, name: &str, seen: bool, cx: &Cx) -> Result<Discarded, ActionError> {
        let mut asked = Asked::new(seen);
        loop {
            let taken = self.discard_once(name, &mut asked, cx).await?;
            match taken {
                Some(way @ Way::Gone) => return Ok(asked.discarded(way)),
                // Whoever ends the step waits for the deletion to be taken, not for its end.
                Some(way @ Way::Going) if cx.cancel.is_cancelled() => return Ok(asked.discarded(way)),
                Some(Way::Going) => cx
                    .reporter
                    .progress(Progress::State(format!("{name} is being deleted"))),
                None if asked.grace >= GRACE => {
                    let words = format!("the step was ended, and {}", asked.last);
                    return Err(by_hand(name, &words));
                }
                None => {}
            }
            if cx.pause(BEAT).await.is_err() && taken.is_none() {
                tokio::time::sleep(BEAT.div_f64(cx.speed.max(1.0))).await;
                asked.grace += BEAT;
            }
        }
    }

    /// Looks, and asks for the deletion where nobody has taken it; nothing where that is not known.
    async fn discard_once(&self, name: &str, asked: &mut Asked, cx: &Cx) -> Result<Option<Way>, ActionError> {
        match self.find(&subject(name)).await {
            Ok(None) if asked.seen || asked.unseen >= SHOWN => Ok(Some(Way::Gone)),
            Ok(None) => {
                asked.unseen += BEAT;
                "it is not listed yet".clone_into(&mut asked.last);
                Ok(None)
            }
            Ok(Some(found)) if !is_ours(&found, cx) => Err(by_hand(name, "it does not bear our tags")),
            Ok(Some(found)) => {
                asked.seen = true;
                if found.status == "deleting" {
                    return Ok(Some(Way::Going));
                }
                if asked.tries >= TRIES || asked.waited >= LONGEST {
                    return Err(by_hand(name, &asked.last));
                }
                match self.delete(name).await {
                    Ok(request_id) => asked.request_id = request_id.or(asked.request_id.take()),
                    // What is on its way to another state will take it there.
                    Err(Refused::State(words)) if found.status != "available" && !is_stuck(&found.status) => {
                        asked.waited += BEAT;
                        asked.last = format!("it is {}: {words}", found.status);
                    }
                    Err(Refused::State(words) | Refused::Other(words)) => {
                        asked.tries += 1;
                        asked.last = words;
                    }
                }
                Ok(None)
            }
            Err(error) if error.kind == ActionErrorKind::Transient && asked.tries < TRIES => {
                asked.tries += 1;
                asked.last = error.message;
                Ok(None)
            }
            Err(error) => Err(by_hand(name, &accepted(error).told())),
        }
    }

    async fn delete(&self, name: &str) -> Result<Option<String>, Refused> {
        let call = self.writes.delete_db_instance().db_instance_identifier(name);
        match call
            .skip_final_snapshot(true)
            .delete_automated_backups(true)
            .send()
            .await
        {
            Ok(answer) => Ok(answer.request_id().map(str::to_owned)),
            Err(error) if says(&error, "DBInstanceNotFound") => Ok(None),
            Err(error) => {
                let state = says(&error, "InvalidDBInstanceState");
                let words = classify(error, "rds:DeleteDBInstance", Sent::Mutation).told();
                Err(if state {
                    Refused::State(words)
                } else {
                    Refused::Other(words)
                })
            }
        }
    }
}
