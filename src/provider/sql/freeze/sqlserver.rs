//! Freezing SQL Server: the database becomes READ_ONLY, which refuses everybody's writes, the tool's too. State-guarded: a
//! database that takes no writes takes no marker either, so what is there is compared with what the approval bound.
//!
//! It can only be had while nobody else is in the database: sessions are ended, or the freeze is refused. Not for a database
//! of an availability group, and not on a managed instance: neither has it. Not RESTRICTED_USER, which lets owners write on;
//! not DENY, which no owner heeds. By Microsoft's documentation, and never run against a SQL Server.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use tiberius::error::Error;

use crate::provider::action::{Action, ActionError, ActionErrorKind, Cx, Observed, Outcome, Preview, Progress, Ready};
use crate::provider::connection::BuildError;
use crate::provider::registry::Request;
use crate::provider::sql::server::ServerTarget;
use crate::provider::sql::session::Ender;
use crate::provider::sql::sqlserver;
use crate::provider::sql::sqlserver::connect::{Connection, connect};
use crate::provider::sql::sqlserver::errors::failed;
use crate::provider::sql::sqlserver::writer::{self, is_held, refused, told as sent};
use crate::provider::sql::writer::{Found, Writer};

use super::parameters::{Prior, Stand, To, With, bound, foreign, in_doubt, permanent, stand, told, words};
use super::sqlserver_proof as proof;
use super::sqlserver_state::{self as place, Seen, State};

/// Somebody else is in the database.
const BUSY: [u32; 4] = [5061, 5064, 5069, 5070];
/// How long it is waited for sessions of our own to be gone.
const LEAVING: Duration = Duration::from_secs(3);
const BEAT: Duration = Duration::from_millis(200);

/// Freezes writes.
pub struct Freeze {
    on: String,
    target: ServerTarget,
    /// Whose write has to be refused for the proof.
    trial: Option<ServerTarget>,
    with: With,
}

async fn identity(target: &ServerTarget) -> Result<(Value, String), ActionError> {
    let about = sqlserver::reader(target, false).await?.about().await?;
    Ok((about.identity, about.product))
}

/// Sets what is to be set. What is not answered is looked at: a person, or a resume, finds it by reading.
async fn alter(connection: &mut Connection, cx: &Cx, sql: &str) -> Result<(), ActionError> {
    let begun = Instant::now();
    let signed = format!("/* {} */ {sql}", cx.key);
    let done = loop {
        if cx.cancel.is_cancelled() {
            let words = "ended before anything was set";
            return Err(ActionError::new(ActionErrorKind::Cancelled, words));
        }
        let ender = connection.cut();
        let setting = sent(connection, &signed);
        tokio::pin!(setting);
        let done = tokio::select! {
            biased;
            done = &mut setting => done,
            () = cx.cancel.cancelled() => {
                ender.end().await;
                setting.await
            }
        };
        match &done {
            // Sessions of our own that were closed just now take the server a moment to forget.
            Err(Error::Server(told)) if BUSY.contains(&told.code()) && begun.elapsed() < LEAVING => {
                // It ends early where that is asked for, which is looked at before the next try.
                let _ended = cx.pause(BEAT).await;
            }
            Ok(_) | Err(_) => break done,
        }
    };
    done.map(drop).map_err(|error| {
        let failure = refused(&error, sql);
        if failure.lost {
            return in_doubt(format!("{}; it was sent, look at sys.databases", failure.error.message));
        }
        let hint = match &error {
            Error::Server(told) if BUSY.contains(&told.code()) => {
                "; sessions of others are in the database: write sessions: kill to end them, or end them first"
            }
            Error::Server(told) if told.code() == 1468 => "; it is mirrored or in an availability group",
            Error::Server(_)
            | Error::Io { .. }
            | Error::Tls(_)
            | Error::Routing { .. }
            | Error::Protocol(_)
            | Error::Encoding(_)
            | Error::Conversion(_)
            | Error::Utf8
            | Error::Utf16
            | Error::ParseInt(_)
            | Error::BulkInput(_) => "",
        };
        permanent(format!("{}{hint}", failure.error.message))
    })
}

impl Freeze {
    /// From its parameters.
    pub fn new(request: &Request<'_>, target: ServerTarget, trial: Option<ServerTarget>) -> Result<Self, BuildError> {
        let with: With = request.parameters()?;
        let refused = |words: &str| Err(BuildError::Parameter(words.to_owned()));
        if !with.except.is_empty() {
            return refused(
                "except: SQL Server closes a database to everybody's writes, and ends every session; take it out",
            );
        }
        if with.hard == Some(false) {
            return refused("hard: SQL Server has no freeze that some may write in; take it out");
        }
        Ok(Self {
            on: request.on.first().cloned().unwrap_or_default(),
            target,
            trial,
            with,
        })
    }

    /// What is and what is meant. What an earlier try of this step has set already is not taken for what was before.
    async fn prior(&self, connection: &mut Connection, seen: &Seen, cx: &Cx) -> Result<Prior<State>, ActionError> {
        let mut before = seen.state.clone();
        if let Some(earlier) = place::remembered(connection, cx).await?
            && earlier.place == seen.place
            && before == earlier.set
        {
            before = earlier.before;
        }
        Ok(Prior {
            engine: "sqlserver".to_owned(),
            place: seen.place.clone(),
            set: State::frozen(),
            before,
        })
    }

    fn outcome(&self, prior: &Prior<State>, ended: Option<usize>, how: &str) -> Outcome {
        let mut result = Map::new();
        result.insert("prior_state".to_owned(), told(prior));
        result.insert("sessions_ended".to_owned(), json!(ended));
        result.insert("sessions_left".to_owned(), json!([]));
        result.insert("detector".to_owned(), json!(proof::DETECTOR));
        let sessions = ended.map_or_else(String::new, |count| format!("; {count} sessions ended, as far as seen"));
        Outcome {
            summary: format!("{}: {}{sessions}{how}", self.on, words(&prior.set)),
            result,
            evidence: Vec::new(),
        }
    }
}

#[async_trait]
impl Action for Freeze {
    fn preview(&self) -> Preview {
        let mut notes = vec![
            "this database, for everybody, its owners too; no marker can be written: what is set is compared with what was \
             approved"
                .to_owned(),
            "a fence row has to be written before it, and change data capture and replication have to have caught up: they \
             write into the database themselves, and wait until it is thawed"
                .to_owned(),
        ];
        notes.push(if self.with.kills() {
            "every other session in the database is ended, readers and the tool's own of other steps too, and what they \
             have not committed is rolled back; they may connect again, and read"
                .to_owned()
        } else {
            "refused while anybody else is in the database, also an idle session of a pool; write sessions: kill to end \
             them"
                .to_owned()
        });
        if self.with.proof {
            notes.push(format!(
                "proof: a refused write, then five seconds of watching ({})",
                proof::DETECTOR
            ));
        }
        Preview {
            summary: format!("closes the database of {} to writes until it is thawed", self.on),
            commands: vec![format!(
                "{}: {}",
                self.on,
                place::set(&self.target.database, &State::frozen(), self.with.kills())
            )],
            notes,
        }
    }

    async fn check(&self, cx: &Cx) -> Result<Ready, ActionError> {
        let (mut identity, product) = identity(&self.target).await?;
        let mut connection = connect(&self.target, false).await?;
        let seen = place::seen(&mut connection, &identity).await?;
        if let Some(against) = seen.against {
            return Err(permanent(format!("{}: {against}", self.on)));
        }
        if let (true, Some(trial)) = (self.with.proof, &self.trial) {
            proof::may_try(&mut connection, trial, &seen).await?;
        }
        let prior = self.prior(&mut connection, &seen, cx).await?;
        let mut facts = vec![
            product,
            format!("now {}; then {}", words(&prior.before), words(&prior.set)),
        ];
        facts.extend(seen.facts);
        facts.extend(place::connected(&mut connection).await?);
        if let Some(bound) = identity.as_object_mut() {
            bound.insert("prior_state".to_owned(), told(&prior));
        }
        Ok(Ready { identity, facts })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let (identity, _) = identity(&self.target).await?;
        let mut connection = connect(&self.target, false).await?;
        let seen = place::seen(&mut connection, &identity).await?;
        let prior = match bound(cx) {
            Some(prior) => prior,
            None => self.prior(&mut connection, &seen, cx).await?,
        };
        if seen.place != prior.place {
            return Err(foreign(&format!(
                "{} is another database than the one that was approved",
                self.on
            )));
        }
        match stand(&seen.state, &prior.before, &prior.set) {
            Stand::Foreign(words) => return Err(foreign(&words)),
            Stand::There => return Ok(self.outcome(&prior, None, " (it was so already)")),
            Stand::Before | Stand::Partly(_) => {}
        }
        // Only one session may be in the database when it is closed.
        drop(connection);
        let mut own = writer::writer(&self.target, cx).await?;
        // Written down while writing is possible: a later try knows what was before this one.
        if own.find().await? == Found::Nothing {
            own.begin().await?;
            own.mark(cx, false).await?;
            let row = format!(
                "insert into pointsman_result([key], result) values ({}, {})",
                writer::quoted(&cx.key),
                writer::quoted(&told(&prior).to_string())
            );
            let kept = sent(&mut own.connection, &row).await;
            kept.map_err(|error| failed(&error, "the marker row"))?;
            own.commit().await.map_err(|error| ActionError {
                kind: ActionErrorKind::Transient,
                ..error
            })?;
        }
        let there = match self.with.kills() {
            true if place::may_see(&mut own.connection).await? => {
                place::sessions(&mut own.connection).await.ok().map(|there| there.len())
            }
            true => None,
            false => Some(0),
        };
        let name = place::name(&mut own.connection).await?;
        let sql = place::set(&name, &prior.set, self.with.kills());
        cx.reporter
            .progress(Progress::State(format!("{sql}: waits for what is rolled back")));
        alter(&mut own.connection, cx, &sql).await?;
        cx.reporter.ack(&cx.key).await?;
        let now = place::seen(&mut own.connection, &identity).await?.state;
        if now != prior.set {
            return Err(in_doubt(format!(
                "it was set and is now {}; look who changed it",
                words(&now)
            )));
        }
        Ok(self.outcome(&prior, there, ""))
    }

    async fn observe(&self, cx: &Cx) -> Result<Observed, ActionError> {
        let unknown = |detail: String| Ok(Observed::Unknown { detail });
        let Some(prior) = bound::<State>(cx) else {
            return unknown("what was before is not in the record; look at sys.databases".to_owned());
        };
        let (identity, _) = identity(&self.target).await?;
        let mut connection = connect(&self.target, false).await?;
        if is_held(&mut connection, &cx.key).await? {
            let detail = "a session is still at it".to_owned();
            return Ok(Observed::Running { detail });
        }
        let seen = place::seen(&mut connection, &identity).await?;
        if seen.place != prior.place {
            return unknown(format!(
                "{} is another database than the one that was approved",
                self.on
            ));
        }
        Ok(match stand(&seen.state, &prior.before, &prior.set) {
            Stand::There => Observed::Done(self.outcome(&prior, None, " (found by reading)")),
            Stand::Before => Observed::NotStarted {
                detail: format!("{} as before", words(&seen.state)),
            },
            Stand::Partly(detail) | Stand::Foreign(detail) => Observed::Unknown { detail },
        })
    }

    async fn prove(&self, cx: &Cx) -> Result<(), ActionError> {
        if !self.with.proof {
            return Ok(());
        }
        proof::refused_write(&self.target, self.trial.as_ref(), cx).await?;
        proof::idle(&self.target, cx).await
    }
}

/// Lets writes in again.
pub struct Thaw {
    on: String,
    target: ServerTarget,
    to: Prior<State>,
}

impl Thaw {
    /// From its parameters.
    pub fn new(request: &Request<'_>, target: ServerTarget) -> Result<Self, BuildError> {
        let with: To<State> = request.parameters()?;
        Ok(Self {
            on: request.on.first().cloned().unwrap_or_default(),
            target,
            to: with.to,
        })
    }

    fn outcome(&self, sent: usize, how: &str) -> Outcome {
        Outcome {
            summary: format!("{}: {}, as before the freeze{how}", self.on, words(&self.to.before)),
            result: Map::from_iter([("thawed".to_owned(), json!(sent))]),
            evidence: Vec::new(),
        }
    }

    async fn now(&self, connection: &mut Connection) -> Result<(Value, Seen), ActionError> {
        let (identity, _) = identity(&self.target).await?;
        let seen = place::seen(connection, &identity).await?;
        if seen.place != self.to.place {
            let words = format!("{} is another database than the one that was frozen", self.on);
            return Err(foreign(&words));
        }
        Ok((identity, seen))
    }
}

#[async_trait]
impl Action for Thaw {
    fn preview(&self) -> Preview {
        Preview {
            summary: format!("opens the database of {} as far as before the freeze", self.on),
            commands: match self.to.before == self.to.set {
                true => Vec::new(),
                false => vec![format!(
                    "{}: {}",
                    self.on,
                    place::set(&self.target.database, &self.to.before, true)
                )],
            },
            notes: vec![
                "every other session in the database is ended: they only read there, but what they have not committed in \
                 other databases of the server is rolled back"
                    .to_owned(),
                "what somebody else has set since the freeze is left alone, and told".to_owned(),
            ],
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        let mut connection = connect(&self.target, false).await?;
        let (identity, seen) = self.now(&mut connection).await?;
        if let Stand::Foreign(words) = stand(&seen.state, &self.to.set, &self.to.before) {
            return Err(foreign(&words));
        }
        let mut facts = vec![format!("now {}; then {}", words(&seen.state), words(&self.to.before))];
        facts.extend(place::connected(&mut connection).await?);
        Ok(Ready { identity, facts })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let mut connection = connect(&self.target, false).await?;
        writer::lock(&mut connection, &self.target, &cx.key).await?;
        let (identity, seen) = self.now(&mut connection).await?;
        match stand(&seen.state, &self.to.set, &self.to.before) {
            Stand::Foreign(words) => return Err(foreign(&words)),
            Stand::There => {
                place::forgotten(&mut connection, &self.to).await;
                return Ok(self.outcome(0, "; nothing was sent"));
            }
            Stand::Before | Stand::Partly(_) => {}
        }
        let name = place::name(&mut connection).await?;
        let sql = place::set(&name, &self.to.before, true);
        alter(&mut connection, cx, &sql).await?;
        cx.reporter.ack(&cx.key).await?;
        let now = place::seen(&mut connection, &identity).await?.state;
        if now != self.to.before {
            return Err(in_doubt(format!(
                "it was set and is now {}; look who changed it",
                words(&now)
            )));
        }
        place::forgotten(&mut connection, &self.to).await;
        Ok(self.outcome(1, ""))
    }

    async fn observe(&self, cx: &Cx) -> Result<Observed, ActionError> {
        let mut connection = connect(&self.target, false).await?;
        if is_held(&mut connection, &cx.key).await? {
            let detail = "a session is still at it".to_owned();
            return Ok(Observed::Running { detail });
        }
        let (_, seen) = self.now(&mut connection).await?;
        Ok(match stand(&seen.state, &self.to.set, &self.to.before) {
            Stand::There => Observed::Done(self.outcome(0, " (found by reading)")),
            Stand::Before => Observed::NotStarted {
                detail: format!("{} as the freeze left it", words(&seen.state)),
            },
            Stand::Partly(detail) | Stand::Foreign(detail) => Observed::Unknown { detail },
        })
    }
}
