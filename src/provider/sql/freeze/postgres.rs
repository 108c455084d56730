//! Freezing a PostgreSQL database. New sessions begin read-only, old ones are ended; a session may still say otherwise for
//! itself, and only the door closes on such a one: `hard` takes the right to connect from everybody but the tool's user
//! and those that are excepted. Settings and rights change in one transaction with the marker.
//!
//! Not ALLOW_CONNECTIONS, which would keep out the tool and a replication too; not CONNECTION LIMIT, which counts the
//! replication's sessions.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use tokio_postgres::Client;

use crate::provider::action::{Action, ActionError, ActionErrorKind, Cx, Observed, Outcome, Preview, Progress, Ready};
use crate::provider::connection::BuildError;
use crate::provider::registry::Request;
use crate::provider::sql::postgres;
use crate::provider::sql::postgres::connect::{connect, failed};
use crate::provider::sql::postgres::writer::{self, PostgresWriter, refused};
use crate::provider::sql::server::ServerTarget;
use crate::provider::sql::writer::{Found, Writer};

use super::parameters::{Prior, Settings, Stand, To, With, bound, foreign, in_doubt, permanent, stand, told, words};
use super::postgres_state::{self as place, Grant, State};

/// What a freeze makes of a state: the tool's user and the excepted keep the right to connect.
fn frozen(before: &State, own: &str, except: &[String]) -> State {
    let connect = before.connect.as_ref().map(|grants| {
        let mut kept: Vec<Grant> = Vec::new();
        for who in except.iter().map(String::as_str).chain([own]) {
            let had = grants.iter().find(|grant| grant.who == who);
            // A right that came by everybody's, or by a role's, goes with it: it is granted anew.
            kept.push(had.cloned().unwrap_or_else(|| Grant {
                who: who.to_owned(),
                grantable: false,
            }));
        }
        kept.sort();
        kept.dedup();
        kept
    });
    State {
        read_only: Some("on".to_owned()),
        connect,
    }
}

/// Statements that lead from one state to another; names are quoted by the server.
async fn way(client: &Client, now: &State, to: &State) -> Result<Vec<String>, ActionError> {
    let quoted = async |name: &str| -> Result<String, ActionError> {
        let row = client.query_one("select quote_ident($1)", &[&name]).await;
        Ok(row.map_err(|error| failed(&error, "a name"))?.get(0))
    };
    let row = client.query_one("select current_database()::text", &[]).await;
    let database: String = row.map_err(|error| failed(&error, "the database"))?.get(0);
    let database = quoted(&database).await?;
    let mut sets = Vec::new();
    if now.read_only != to.read_only {
        sets.push(match to.read_only.as_deref() {
            Some("on") => format!("alter database {database} set default_transaction_read_only = on"),
            Some("off") => format!("alter database {database} set default_transaction_read_only = off"),
            Some(other) => format!(
                "alter database {database} set default_transaction_read_only = '{}'",
                other.replace('\'', "''")
            ),
            None => format!("alter database {database} reset default_transaction_read_only"),
        });
    }
    if let (Some(now), Some(to)) = (&now.connect, &to.connect) {
        for (grants, others, taken) in [(to, now, false), (now, to, true)] {
            for grant in grants.iter().filter(|grant| !others.contains(grant)) {
                let who = match grant.who.as_str() {
                    "" => "public".to_owned(),
                    who => quoted(who).await?,
                };
                // One whose right only changes is granted it as it should be.
                let changes = others.iter().any(|other| other.who == grant.who);
                sets.push(match (taken, changes, grant.grantable) {
                    (true, true, true) => format!("revoke grant option for connect on database {database} from {who}"),
                    (true, true, false) => continue,
                    (true, false, _) => format!("revoke connect on database {database} from {who}"),
                    (false, _, true) => format!("grant connect on database {database} to {who} with grant option"),
                    (false, _, false) => format!("grant connect on database {database} to {who}"),
                });
            }
        }
    }
    Ok(sets)
}

/// Freezes writes.
pub struct Freeze {
    on: String,
    target: ServerTarget,
    /// Whose write has to be refused for the proof.
    trial: Option<ServerTarget>,
    with: With,
}

fn name(identity: &Value) -> String {
    let of = |key: &str| identity.get(key).map(Value::to_string).unwrap_or_default();
    format!("{} {}", of("database").trim_matches('"'), of("oid"))
}

async fn identity(target: &ServerTarget) -> Result<(Value, String), ActionError> {
    let about = postgres::reader(target).await?.about().await?;
    if about.replica == Some(true) {
        let words = format!("{target} is a standby and takes no writes; name its primary");
        return Err(permanent(words));
    }
    Ok((about.identity, about.product))
}

/// Whether the session's user may change the database's settings.
async fn owns(client: &Client, on: &str) -> Result<(), ActionError> {
    let sql = "select pg_has_role(datdba, 'usage') or (select rolsuper from pg_roles where rolname = current_user) \
               from pg_database where datname = current_database()";
    let row = client.query_one(sql, &[]).await;
    match row.map_err(|error| failed(&error, "the database's owner"))?.get(0) {
        true => Ok(()),
        false => Err(permanent(format!(
            "{on}: only the owner of the database may do this; connect as its owner"
        ))),
    }
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
        self.with.hard.unwrap_or(false)
    }

    async fn prior(&self, client: &Client, identity: &Value) -> Result<Prior<State>, ActionError> {
        let before = place::state(client, self.hard()).await?;
        Ok(Prior {
            engine: "postgres".to_owned(),
            place: name(identity),
            set: frozen(&before, &self.target.user, &self.with.except),
            before,
        })
    }

    fn outcome(&self, prior: &Prior<State>, ended: Option<usize>, how: &str) -> Outcome {
        let mut result = Map::new();
        result.insert("prior_state".to_owned(), told(prior));
        result.insert("sessions_ended".to_owned(), json!(ended));
        result.insert("sessions_left".to_owned(), json!([]));
        result.insert("detector".to_owned(), json!(place::DETECTOR));
        let sessions = ended.map_or_else(String::new, |count| format!("; {count} sessions ended"));
        Outcome {
            summary: format!("{}: {}{sessions}{how}", self.on, words(&prior.set)),
            result,
            evidence: Vec::new(),
        }
    }

    /// Ends every session that was there before the freeze, and waits until they are gone.
    async fn kill(&self, client: &Client, cx: &Cx) -> Result<usize, ActionError> {
        let row = client.query_one("select clock_timestamp()", &[]).await;
        let until: chrono::DateTime<chrono::Utc> = row.map_err(|error| failed(&error, "the clock"))?.get(0);
        let begun = Instant::now();
        let mut ended = std::collections::BTreeSet::new();
        loop {
            let old = place::sessions(client, &self.with.except, Some(until)).await?;
            if old.is_empty() {
                return Ok(ended.len());
            }
            let mut refusal = None;
            for known in &old {
                match client.query_one("select pg_terminate_backend($1)", &[&known.pid]).await {
                    Ok(_) => {
                        ended.insert(known.pid);
                    }
                    Err(error) => refusal = Some(failed(&error, &known.who).message),
                }
            }
            if refusal.is_some() || begun.elapsed() > self.target.patience {
                let named: Vec<String> = old.into_iter().map(|known| known.who).collect();
                let why = refusal.map_or_else(String::new, |why| format!(" ({why})"));
                return Err(in_doubt(format!(
                    "new sessions are read-only, and sessions from before it are still open: {}{why}; end them, and say \
                     that it was done",
                    named.join(", ")
                )));
            }
            let words = format!("{} sessions are ending", old.len());
            cx.reporter.progress(Progress::State(words));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Changes settings and rights in one transaction with the marker and a result.
async fn set(
    own: &mut PostgresWriter,
    sets: &[String],
    result: &Value,
    but: Option<&[String]>,
    cx: &Cx,
) -> Result<(), ActionError> {
    own.begin().await?;
    let work = async {
        own.mark(cx, true).await?;
        for sql in sets {
            let done = own.client.batch_execute(&format!("/* {} */ {sql}", cx.key)).await;
            done.map_err(|error| refused(&error, sql))?;
        }
        if let Some(but) = but {
            let others = place::may_connect(&own.client, but).await?;
            if !others.is_empty() {
                let words = format!(
                    "{} could still connect, by rights that others granted or by a role; nothing was changed: revoke them, \
                     or name them under except",
                    others.join(", ")
                );
                return Err(permanent(words));
            }
        }
        own.keep(&result.to_string()).await?;
        if cx.cancel.is_cancelled() {
            let words = "ended before anything was committed";
            return Err(ActionError::new(ActionErrorKind::Cancelled, words));
        }
        Ok(())
    };
    match work.await {
        Ok(()) => own.commit().await,
        Err(error) => {
            let _nothing_left = own.rollback().await;
            Err(error)
        }
    }
}

#[async_trait]
impl Action for Freeze {
    fn preview(&self) -> Preview {
        let mut commands = vec![format!(
            "{}: alter database … set default_transaction_read_only = on",
            self.on
        )];
        let mut notes =
            vec!["this database, in one transaction with its row in pointsman_marker; replication reads on".to_owned()];
        if self.hard() {
            let mut kept = vec![self.target.user.clone()];
            kept.extend(self.with.except.clone());
            commands.push(format!(
                "{}: revoke connect on database … from everybody but {}",
                self.on,
                kept.join(", ")
            ));
            notes.push(
                "hard: nobody else connects, also to read, and no session can say otherwise for itself; superusers can. A \
                 replication's user has to be under except"
                    .to_owned(),
            );
        } else {
            notes
                .push("a session may still set itself to read write; write hard: true where a client might".to_owned());
        }
        if self.with.kills() {
            commands.push(format!(
                "{}: select pg_terminate_backend(…) for every session from before",
                self.on
            ));
            notes.push(
                "open sessions are ended and their transactions rolled back; replication is left alone".to_owned(),
            );
        } else {
            notes.push(
                "open sessions stay, and write on until they reconnect; write sessions: kill to end them".to_owned(),
            );
        }
        if !self.with.except.is_empty() {
            notes.push(format!("sessions of {} stay", self.with.except.join(", ")));
        }
        if self.with.proof {
            notes.push(format!(
                "proof: a refused write, then five seconds without one ({})",
                place::DETECTOR
            ));
        }
        Preview {
            summary: format!("lets new sessions on {} only read until it is thawed", self.on),
            commands,
            notes,
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        let (mut identity, version) = identity(&self.target).await?;
        let (client, _tls) = connect(&self.target, true).await?;
        owns(&client, &self.on).await?;
        let prior = self.prior(&client, &identity).await?;
        let mut facts = vec![
            version,
            format!("now {}; then {}", words(&prior.before), words(&prior.set)),
        ];
        facts.extend(place::facts(&client).await?);
        if let Some(bound) = identity.as_object_mut() {
            bound.insert("prior_state".to_owned(), told(&prior));
        }
        Ok(Ready { identity, facts })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let (identity, _) = identity(&self.target).await?;
        let mut own = writer::writer(&self.target, cx).await?;
        let prior = match bound(cx) {
            Some(prior) => prior,
            None => self.prior(&own.client, &identity).await?,
        };
        if own.find().await? == Found::Nothing {
            let now = place::state(&own.client, self.hard()).await?;
            if let Stand::Foreign(words) = stand(&now, &prior.before, &prior.set) {
                return Err(foreign(&words));
            }
            let sets = way(&own.client, &now, &prior.set).await?;
            let result = json!({ "prior_state": told(&prior) });
            let but = self.hard().then_some(self.with.except.as_slice());
            set(&mut own, &sets, &result, but, cx).await?;
        }
        cx.reporter.ack(&cx.key).await?;
        let ended = match self.with.kills() {
            true => Some(self.kill(&own.client, cx).await?),
            false => None,
        };
        Ok(self.outcome(&prior, ended, ""))
    }

    async fn observe(&self, cx: &Cx) -> Result<Observed, ActionError> {
        let done = match writer::observe(&self.target, cx, "frozen").await? {
            Observed::Done(done) => done,
            other @ (Observed::NotStarted { .. }
            | Observed::NotVisible { .. }
            | Observed::Running { .. }
            | Observed::Unknown { .. }) => return Ok(other),
        };
        let kept = done.result.get("prior_state").cloned().unwrap_or_default();
        let Ok(prior) = serde_json::from_value::<Prior<State>>(kept) else {
            let detail = "its marker's result cannot be read; look at the database's settings".to_owned();
            return Ok(Observed::Unknown { detail });
        };
        let (client, _tls) = connect(&self.target, true).await?;
        let now = place::state(&client, self.hard()).await?;
        if now != prior.set {
            let detail = format!("it was committed, and now it is {}; look who changed it", words(&now));
            return Ok(Observed::Unknown { detail });
        }
        if self.with.kills() {
            let sql = "select applied_at from pointsman_marker where key = $1";
            let row = client.query_one(sql, &[&cx.key]).await;
            let at = row.map_err(|error| failed(&error, "the marker row"))?.get(0);
            let old = place::sessions(&client, &self.with.except, Some(at)).await?;
            if !old.is_empty() {
                let named: Vec<String> = old.into_iter().map(|known| known.who).collect();
                let detail = format!(
                    "new sessions are read-only, and sessions from before it are still open: {}; end them, and say that it \
                     was done",
                    named.join(", ")
                );
                return Ok(Observed::Unknown { detail });
            }
        }
        Ok(Observed::Done(self.outcome(&prior, None, " (found by its marker row)")))
    }

    async fn prove(&self, cx: &Cx) -> Result<(), ActionError> {
        if !self.with.proof {
            return Ok(());
        }
        place::refused_write(self.trial.as_ref().unwrap_or(&self.target), self.hard(), cx).await?;
        place::idle(&self.target, cx).await
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

    async fn now(&self, client: &Client) -> Result<(Value, State), ActionError> {
        let (identity, _) = identity(&self.target).await?;
        if name(&identity) != self.to.place {
            let words = format!("{} is another database than the one that was frozen", self.on);
            return Err(foreign(&words));
        }
        Ok((identity, place::state(client, self.to.before.connect.is_some()).await?))
    }
}

#[async_trait]
impl Action for Thaw {
    fn preview(&self) -> Preview {
        let before: Vec<String> = self
            .to
            .before
            .each()
            .iter()
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        Preview {
            summary: format!("lets writes on {} in again, as far as before the freeze", self.on),
            commands: vec![format!("{}: alter database …: {}", self.on, before.join(", "))],
            notes: vec![
                "in one transaction with its row in pointsman_marker; what somebody else has set since the freeze is left \
                 alone, and told"
                    .to_owned(),
                "sessions that began while it was frozen stay read-only until they reconnect".to_owned(),
            ],
        }
    }

    async fn check(&self, _cx: &Cx) -> Result<Ready, ActionError> {
        let (client, _tls) = connect(&self.target, true).await?;
        let (identity, now) = self.now(&client).await?;
        owns(&client, &self.on).await?;
        if let Stand::Foreign(words) = stand(&now, &self.to.set, &self.to.before) {
            return Err(foreign(&words));
        }
        let facts = vec![format!("now {}; then {}", words(&now), words(&self.to.before))];
        Ok(Ready { identity, facts })
    }

    async fn execute(&self, cx: &Cx) -> Result<Outcome, ActionError> {
        let mut own = writer::writer(&self.target, cx).await?;
        if let Found::Done(known) = own.find().await? {
            let sent = known.get("thawed").and_then(Value::as_u64).unwrap_or(0);
            return Ok(self.outcome(usize::try_from(sent).unwrap_or(0), ""));
        }
        let (_, now) = self.now(&own.client).await?;
        match stand(&now, &self.to.set, &self.to.before) {
            Stand::Foreign(words) => return Err(foreign(&words)),
            Stand::There => return Ok(self.outcome(0, "; nothing was sent")),
            Stand::Before | Stand::Partly(_) => {}
        }
        let sets = way(&own.client, &now, &self.to.before).await?;
        set(&mut own, &sets, &json!({ "thawed": sets.len() }), None, cx).await?;
        Ok(self.outcome(sets.len(), ""))
    }

    async fn observe(&self, cx: &Cx) -> Result<Observed, ActionError> {
        let seen = writer::observe(&self.target, cx, "thawed").await?;
        let (client, _tls) = connect(&self.target, true).await?;
        let (_, now) = self.now(&client).await?;
        Ok(match seen {
            Observed::NotStarted { .. } if now == self.to.before => {
                Observed::Done(self.outcome(0, " (found by reading)"))
            }
            other @ (Observed::Done(_)
            | Observed::NotStarted { .. }
            | Observed::NotVisible { .. }
            | Observed::Running { .. }
            | Observed::Unknown { .. }) => other,
        })
    }
}
