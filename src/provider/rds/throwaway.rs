//! Throw-away instances of `rds.restore_test`: made under the step's key, found again by name and tags, deleted. The
//! only place of the program that deletes a database, and only one that bears all four marks of being ours.

use aws_sdk_rds::operation::RequestId;
use aws_sdk_rds::types::Tag;

use crate::provider::action::{ActionError, ActionErrorKind, Cx, Progress};
use crate::provider::aws::classify::says;
use crate::provider::aws::{Sent, accepted, classify};

use super::database::{BEAT, Database, Rds, Subject, TAG, TAG_RUN, TAG_STEP, in_doubt, of_instance, permanent, tags};

/// The tag that says what an instance is for, and its value.
const PURPOSE: (&str, &str) = ("pointsman-purpose", "restore-test");
/// How often a deletion is asked for before a person has to see to it.
const TRIES: u32 = 30;

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
pub enum Discarded {
    Gone,
    /// RDS took the deletion; nobody waited for its end.
    Going,
}

impl Discarded {
    /// For people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Gone => "is deleted",
            Self::Going => "is being deleted",
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
    /// it is ours is looked at before every call, and to delete it twice is to delete it once.
    pub async fn discard(&self, name: &str, cx: &Cx) -> Result<Discarded, ActionError> {
        let hands = |words: &str| {
            in_doubt(format!(
                "the throw-away instance {name} may still stand: {words}; delete it by hand: \
                 aws rds delete-db-instance --db-instance-identifier {name} --skip-final-snapshot"
            ))
        };
        let (mut tries, mut last) = (0, "nothing was heard".to_owned());
        loop {
            match self.find(&subject(name)).await {
                Ok(None) => return Ok(Discarded::Gone),
                Ok(Some(found)) if !is_ours(&found, cx) => return Err(hands("it does not bear our tags")),
                Ok(Some(found)) if found.status == "deleting" => {
                    cx.reporter
                        .progress(Progress::State(format!("{name} is being deleted")));
                }
                Ok(Some(_)) if tries >= TRIES => return Err(hands(&last)),
                Ok(Some(_)) => {
                    tries += 1;
                    match self.delete(name).await {
                        Ok(()) => {}
                        Err(error) => last = error.message,
                    }
                }
                Err(error) if error.kind == ActionErrorKind::Transient && tries < TRIES => {
                    tries += 1;
                    last = error.message;
                }
                Err(error) => return Err(hands(&accepted(error).message)),
            }
            if let Err(cancelled) = cx.pause(BEAT).await {
                // Whoever ends the step waits for the deletion to be taken, not for its end.
                return match self.find(&subject(name)).await {
                    Ok(Some(found)) if found.status == "deleting" => Ok(Discarded::Going),
                    Ok(None) => Ok(Discarded::Gone),
                    Ok(Some(_)) | Err(_) => Err(hands(&format!("{last}; {}", cancelled.message))),
                };
            }
        }
    }

    async fn delete(&self, name: &str) -> Result<(), ActionError> {
        let call = self.writes.delete_db_instance().db_instance_identifier(name);
        match call
            .skip_final_snapshot(true)
            .delete_automated_backups(true)
            .send()
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if says(&error, "DBInstanceNotFound") => Ok(()),
            Err(error) => Err(classify(error, "rds:DeleteDBInstance", Sent::Mutation)),
        }
    }
}
