//! Freezing MySQL and MariaDB: the server's own switch, and its event scheduler. State-guarded: a server that takes no
//! writes takes no marker either, so what is there is compared with what the approval bound.
//!
//! Not FLUSH TABLES WITH READ LOCK: it holds only while the session lives that took it.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use serde_json::{Map, json};

use crate::provider::action::{Action, ActionError, ActionErrorKind, Cx, Observed, Outcome, Preview, Progress, Ready};
use crate::provider::connection::BuildError;
use crate::provider::registry::Request;
use crate::provider::sql::mysql::connect::{connect, failed};
use crate::provider::sql::mysql::writer::{about, refused, writer};
use crate::provider::sql::server::ServerTarget;
use crate::provider::sql::writer::Writer;

use super::mysql_proof::{self as proof, Session};
use super::mysql_state::{State, frozen, place, remembered, state, way};
use super::parameters::{Prior, Stand, With, bound, foreign, in_doubt, permanent, stand, told, words};

/// Freezes writes.
pub struct Freeze {
    on: String,
    target: ServerTarget,
    /// Whose write has to be refused for the proof.
    trial: Option<ServerTarget>,
    with: With,
}

impl Freeze {
    /// From its parameters.
    pub fn new(request: &Request<'_>, target: ServerTarget, trial: Option<ServerTarget>) -> Result<Self, BuildError> {
        Ok(Self {
            on: request.on.first().cloned().unwrap_or_default(),
            target,
            trial,
            with: request.parameters()?,
        })
    }

    fn hard(&self) -> bool {
        self.with.hard.unwrap_or(true)
    }

    /// What is and what is meant. What an earlier try of this step has set already is not taken for what was before.
    async fn prior(&self, session: &mut Conn, place: &str, cx: &Cx) -> Result<Prior<State>, ActionError> {
        let now = state(session).await?;
        let mut before = now.clone();
        if let Some(earlier) = remembered(session, cx).await?
            && earlier.place == place
        {
            for (is, was, set) in [
                (&mut before.read_only, &earlier.before.read_only, &earlier.set.read_only),
                (
                    &mut before.event_scheduler,
                    &earlier.before.event_scheduler,
                    &earlier.set.event_scheduler,
                ),
            ] {
                if is == set {
                    is.clone_from(was);
                }
            }
            if before.super_read_only == earlier.set.super_read_only {
                before.super_read_only.clone_from(&earlier.before.super_read_only);
            }
        }
        Ok(Prior {
            engine: "mysql".to_owned(),
            place: place.to_owned(),
            set: frozen(&before, self.hard()),
            before,
        })
    }

    fn outcome(&self, prior: &Prior<State>, ended: u64, left: &[String], words: &str) -> Outcome {
        let mut result = Map::new();
        result.insert("prior_state".to_owned(), told(prior));
        result.insert("sessions_ended".to_owned(), json!(ended));
        result.insert("sessions_left".to_owned(), json!(left));
        result.insert("detector".to_owned(), json!(proof::DETECTOR));
        let left = match left {
            [] => String::new(),
            left => format!("; could not be ended: {}", left.join(", ")),
        };
        Outcome {
            summary: format!("{}: {}{words}{left}", self.on, super::parameters::words(&prior.set)),
            result,
            evidence: Vec::new(),
        }
    }

    /// Sets what is to be set; an end that is asked for ends a wait for other sessions' statements.
    async fn set(&self, own: &mut Conn, sets: &[String], cx: &Cx) -> Result<(), ActionError> {
        let id = own.id();
        for sql in sets {
            let signed = format!("/* {} */ {sql}", cx.key);
            let wait = self.target.patience.as_secs();
            let words = format!("{sql}: waits for running statements, {wait} s at most");
            cx.reporter.progress(Progress::State(words));
            let setting = own.query_drop(signed);
            tokio::pin!(setting);
            let done = tokio::select! {
                done = &mut setting => done,
                () = cx.cancel.cancelled() => {
                    let mut other = connect(&self.target, false).await?;
                    let _ended = other.query_drop(format!("kill query {id}")).await;
                    setting.await
                }
            };
            done.map_err(|error| {
                let failure = refused(&error, sql);
                if failure.lost {
                    let words = format!("{} and was sent; look at the server's settings", failure.error.message);
                    return in_doubt(words);
                }
                let hint = match &error {
                    Error::Server(told) if matches!(told.code, 1205 | 969 | 1969) => {
                        "; statements and transactions of others hold it up: wait for them, or write sessions: kill"
                    }
                    Error::Server(told) if told.code == 1227 => {
                        "; on RDS it is the parameter group's read_only: set it there, before the night"
                    }
                    Error::Server(_) | Error::Driver(_) | Error::Io(_) | Error::Other(_) | Error::Url(_) => "",
                };
                permanent(format!("{}{hint}", failure.error.message))
            })?;
        }
        Ok(())
    }

    /// Ends the sessions of others and waits until they are gone; those that could not be ended are named.
    async fn kill(&self, session: &mut Conn, cx: &Cx) -> Result<(u64, Vec<String>), ActionError> {
        let mut ended = Vec::new();
        let mut left = Vec::new();
        for Session { id, who, .. } in proof::sessions(session).await? {
            if self.with.except.iter().any(|user| who.split('@').next() == Some(user)) {
                continue;
            }
            match session.query_drop(format!("kill connection {id}")).await {
                Ok(()) => ended.push(id),
                // It has gone by itself.
                Err(Error::Server(told)) if told.code == 1094 => {}
                Err(Error::Server(told)) => left.push(format!("{who} ({})", told.message)),
                Err(error) => return Err(failed(&error, "ending sessions")),
            }
        }
        let begun = Instant::now();
        loop {
            let now = proof::sessions(session).await?;
            let still: Vec<&Session> = now.iter().filter(|known| ended.contains(&known.id)).collect();
            if still.is_empty() {
                break;
            }
            if begun.elapsed() > self.target.patience {
                left.extend(still.iter().map(|known| format!("{} (still rolling back)", known.who)));
                break;
            }
            let words = format!("{} sessions are ending", still.len());
            cx.reporter.progress(Progress::State(words));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok((u64::try_from(ended.len()).unwrap_or(0), left))
    }
}

#[async_trait]
impl Action for Freeze {
    fn preview(&self) -> Preview {
        let switch = if self.hard() {
            "super_read_only where the server has it, else read_only"
        } else {
            "read_only"
        };
        let mut notes = vec![
            "the whole server, every database on it; waits for running statements, and new ones wait meanwhile".to_owned(),
            "no marker can be written: what is set is compared with what was approved".to_owned(),
            "binary log and change capture are read on; replication into this server writes on".to_owned(),
            "with read_only alone (MariaDB, or hard: false) users with SUPER, READ ONLY ADMIN or CONNECTION_ADMIN still write"
                .to_owned(),
        ];
        notes.push(if self.with.kills() {
            "open sessions are ended before and after it, the tool's own of other steps too; their transactions are rolled back"
                .to_owned()
        } else {
            "open sessions stay: they read on, and their open transactions fail when they commit".to_owned()
        });
        if !self.with.except.is_empty() {
            notes.push(format!("sessions of {} stay", self.with.except.join(", ")));
        }
        if self.with.proof {
            notes.push(format!(
                "proof: a refused write, then five seconds without one ({})",
                proof::DETECTOR
            ));
        }
        Preview {
            summary: format!("refuses writes on the server of {} until it is thawed", self.on),
            commands: vec![
                format!("{}: set global event_scheduler = OFF (where it is ON)", self.on),
                format!("{}: set global {switch} = ON", self.on),
            ],
            notes,
        }
    }

    async fn check(&self, cx: &Cx) -> Result<Ready, ActionError> {
        let mut session = connect(&self.target, true).await?;
        let about = about(&mut session, &self.target).await?;
        let mut identity = about.identity;
        let prior = self.prior(&mut session, &place(&identity), cx).await?;
        let mut facts = about.facts;
        facts.push(format!("now {}; then {}", words(&prior.before), words(&prior.set)));
        let strict = prior.set.super_read_only.as_deref() == Some("ON");
        facts.extend(proof::facts(&mut session, strict, about.maria, &about.version).await?);
        if self.with.proof && self.trial.is_none() && !strict && proof::may_write(&mut session).await? {
            let words = format!(
                "{}: no refused write can be shown: {} may write in spite of read_only; name the connection of an ordinary \
                 user second: on: [{}, app]",
                self.on, self.target.user, self.on
            );
            return Err(permanent(words));
        }
        if let Some(bound) = identity.as_object_mut() {
            bound.insert("prior_state".to_owned(), told(&prior));
        }
        Ok(Ready { identity, facts })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let mut session = connect(&self.target, false).await?;
        let identity = about(&mut session, &self.target).await?.identity;
        let prior = match bound(cx) {
            Some(prior) => prior,
            None => self.prior(&mut session, &place(&identity), cx).await?,
        };
        let now = state(&mut session).await?;
        match stand(&now, &prior.before, &prior.set) {
            Stand::Foreign(words) => return Err(foreign(&words)),
            Stand::There => {
                let (ended, left) = if self.with.kills() {
                    self.kill(&mut session, cx).await?
                } else {
                    (0, Vec::new())
                };
                return Ok(self.outcome(&prior, ended, &left, " (it was so already)"));
            }
            Stand::Before | Stand::Partly(_) => {}
        }
        let mut own = writer(&self.target, cx).await?;
        // Written down while writing is possible: a later try knows what was before this one.
        if matches!(own.find().await?, crate::provider::sql::writer::Found::Nothing) {
            own.mark(cx, false).await?;
            let row = "insert into pointsman_result(`key`, result) values (?, ?)";
            let kept = own.session.exec_drop(row, (&cx.key, told(&prior).to_string())).await;
            kept.map_err(|error| failed(&error, "the marker row"))?;
        }
        if cx.cancel.is_cancelled() {
            let words = "ended before anything was set";
            return Err(ActionError::new(ActionErrorKind::Cancelled, words));
        }
        let mut ended = 0;
        if self.with.kills() {
            ended = self.kill_but(&mut session, own.session.id(), cx).await?;
        }
        let sets = way(&now, &prior.set);
        if let Err(error) = self.set(&mut own.session, &sets, cx).await {
            if error.kind == ActionErrorKind::InDoubt {
                return Err(error);
            }
            let told = self.put_back(&mut session, &now, ended, error).await;
            let kind = match told.kind {
                ActionErrorKind::Permanent if cx.cancel.is_cancelled() => ActionErrorKind::Cancelled,
                kind => kind,
            };
            return Err(ActionError { kind, ..told });
        }
        cx.reporter.ack(&cx.key).await?;
        drop(own);
        let mut left = Vec::new();
        if self.with.kills() {
            let (more, still) = self.kill(&mut session, cx).await?;
            ended += more;
            left = still;
        }
        let now = state(&mut session).await?;
        if now != prior.set {
            return Err(in_doubt(format!(
                "it was set and is now {}; look who changed it",
                words(&now)
            )));
        }
        Ok(self.outcome(&prior, ended, &left, ""))
    }

    async fn observe(&self, cx: &Cx) -> Result<Observed, ActionError> {
        let mut session = connect(&self.target, true).await?;
        let unknown = |detail: String| Ok(Observed::Unknown { detail });
        let Some(prior) = bound::<State>(cx) else {
            return unknown("what was before is not in the record; look at read_only and event_scheduler".to_owned());
        };
        let identity = about(&mut session, &self.target).await?.identity;
        if place(&identity) != prior.place {
            return unknown(format!("{} is another server than the one that was approved", self.on));
        }
        if proof::is_held(&mut session, &cx.key).await? {
            let detail = "a session is still at it".to_owned();
            return Ok(Observed::Running { detail });
        }
        let now = state(&mut session).await?;
        Ok(match stand(&now, &prior.before, &prior.set) {
            Stand::There => Observed::Done(self.outcome(&prior, 0, &[], " (found by reading)")),
            Stand::Before => Observed::NotStarted {
                detail: format!("{} as before", words(&now)),
            },
            Stand::Partly(words) => Observed::Unknown {
                detail: format!("{words}: a part of it; not done, it is set anew and knows what was before"),
            },
            Stand::Foreign(detail) => Observed::Unknown { detail },
        })
    }

    async fn prove(&self, cx: &Cx) -> Result<(), ActionError> {
        if !self.with.proof {
            return Ok(());
        }
        proof::refused_write(self.trial.as_ref().unwrap_or(&self.target), cx).await?;
        proof::idle(&self.target, cx).await
    }
}

impl Freeze {
    /// Ends sessions before the switch, so that it need not wait for them; not the one that will turn it.
    async fn kill_but(&self, session: &mut Conn, own: u32, cx: &Cx) -> Result<u64, ActionError> {
        let mut ended = 0;
        for known in proof::sessions(session).await? {
            let stays = self
                .with
                .except
                .iter()
                .any(|user| known.who.split('@').next() == Some(user));
            if known.id != u64::from(own) && !stays && !cx.cancel.is_cancelled() {
                let done = session.query_drop(format!("kill connection {}", known.id)).await;
                ended += u64::from(done.is_ok());
            }
        }
        Ok(ended)
    }

    /// What was set before a refusal is put back; nothing may stay of what failed.
    async fn put_back(&self, session: &mut Conn, before: &State, ended: u64, error: ActionError) -> ActionError {
        let mut now = state(session).await;
        if let Ok(is) = &now {
            for sql in way(is, before) {
                let _told = session.query_drop(sql).await;
            }
            now = state(session).await;
        }
        let sessions = match ended {
            0 => String::new(),
            count => format!("; {count} sessions were ended all the same"),
        };
        match now {
            Ok(is) if is == *before => permanent(format!("{}{sessions}", error.message)),
            Ok(_) | Err(_) => in_doubt(format!(
                "{}; and not all of it could be put back{sessions}",
                error.message
            )),
        }
    }
}
