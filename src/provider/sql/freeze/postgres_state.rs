//! What stops writes on a PostgreSQL database, who is connected to it, and what shows that it is quiet. Must not decide
//! what is done about it.

use serde::{Deserialize, Serialize};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

use crate::provider::action::{ActionError, Cx, Progress};
use crate::provider::sql::postgres::connect::{connect, failed};
use crate::provider::sql::server::ServerTarget;

use super::parameters::{IDLE, Settings, permanent};

/// What tells that something was written.
pub const DETECTOR: &str = "the next transaction id; where others moved it, the counters of this database's tables; open and prepared transactions";

/// The settings of a database that a freeze touches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// `default_transaction_read_only` of the database; nothing where it has none of its own.
    pub read_only: Option<String>,
    /// Who is granted CONNECT, sorted; an empty name is everybody. Only where the freeze closes the door.
    pub connect: Option<Vec<Grant>>,
}

/// One right to connect.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    pub who: String,
    pub grantable: bool,
}

impl Settings for State {
    fn each(&self) -> Vec<(&'static str, String)> {
        let own = self.read_only.clone().unwrap_or_else(|| "not set".to_owned());
        let mut each = vec![("default_transaction_read_only", own)];
        if let Some(connect) = &self.connect {
            let named: Vec<String> = connect
                .iter()
                .map(|grant| match (grant.who.as_str(), grant.grantable) {
                    ("", _) => "everybody".to_owned(),
                    (who, true) => format!("{who} (may grant it)"),
                    (who, false) => who.to_owned(),
                })
                .collect();
            each.push(("connect for", named.join(", ")));
        }
        each
    }
}

fn wrong(error: &Error) -> ActionError {
    failed(error, "the database's settings")
}

/// The state now.
pub async fn state(client: &Client, hard: bool) -> Result<State, ActionError> {
    let sql = "select (select substr(entry, length('default_transaction_read_only=') + 1) \
               from pg_db_role_setting s, unnest(s.setconfig) entry \
               where s.setdatabase = d.oid and s.setrole = 0 and entry like 'default\\_transaction\\_read\\_only=%') \
               from pg_database d where d.datname = current_database()";
    let read_only = client.query_one(sql, &[]).await.map_err(|error| wrong(&error))?.get(0);
    let mut state = State {
        read_only,
        connect: None,
    };
    if hard {
        let sql = "select coalesce(r.rolname::text, ''), bool_or(a.is_grantable) from pg_database d \
                   cross join lateral aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a \
                   left join pg_roles r on r.oid = a.grantee \
                   where d.datname = current_database() and a.privilege_type = 'CONNECT' group by 1 order by 1";
        let rows = client.query(sql, &[]).await.map_err(|error| wrong(&error))?;
        let grants = rows.iter().map(|row| Grant {
            who: row.get(0),
            grantable: row.get(1),
        });
        state.connect = Some(grants.collect());
    }
    Ok(state)
}

/// Who else may connect, of those that are not meant to: no superusers, who always may.
pub async fn may_connect(client: &Client, but: &[String]) -> Result<Vec<String>, ActionError> {
    let sql = "select rolname::text from pg_roles where rolcanlogin and not rolsuper and rolname <> current_user \
               and not rolname::text = any($1) and has_database_privilege(oid, current_database(), 'CONNECT') order by 1";
    let rows = client.query(sql, &[&but]).await.map_err(|error| wrong(&error))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// A session of somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub pid: i32,
    /// User, application and address.
    pub who: String,
}

/// Sessions of others on this database, as old as told or older (all where nothing is told): no replication, no workers of
/// the server, none of the tool's own.
pub async fn sessions(
    client: &Client,
    but: &[String],
    until: Option<chrono::DateTime<chrono::Utc>>,
) -> Result<Vec<Session>, ActionError> {
    let sql = "select pid, coalesce(usename::text, '?') || coalesce(' ' || nullif(application_name, ''), '') \
               || ' from ' || coalesce(host(client_addr), 'a socket') from pg_stat_activity \
               where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend' \
               and not (application_name = 'pointsman' and usename = current_user) \
               and not coalesce(usename::text, '') = any($1) \
               and ($2::timestamptz is null or backend_start <= $2) order by pid";
    let rows = client
        .query(sql, &[&but, &until])
        .await
        .map_err(|error| failed(&error, "sessions"))?;
    let named = rows.iter().map(|row| Session {
        pid: row.get(0),
        who: row.get(1),
    });
    Ok(named.collect())
}

/// Lines for people.
pub async fn facts(client: &Client) -> Result<Vec<String>, ActionError> {
    let mut facts = Vec::new();
    let mut connected: Vec<(String, usize)> = Vec::new();
    for known in sessions(client, &[], None).await? {
        match connected.iter_mut().find(|(who, _)| *who == known.who) {
            Some((_, count)) => *count += 1,
            None => connected.push((known.who, 1)),
        }
    }
    let listed: Vec<String> = connected
        .iter()
        .map(|(who, count)| format!("{who} ({count})"))
        .collect();
    facts.push(match listed.as_slice() {
        [] => "nobody else is connected to it".to_owned(),
        listed => format!("connected: {}", listed.join(", ")),
    });
    for (sql, words) in [
        (
            "select string_agg(rolname::text || ' (' || entry || ')', ', ') from pg_db_role_setting s \
             join pg_roles r on r.oid = s.setrole, unnest(s.setconfig) entry \
             where entry like 'default\\_transaction\\_read\\_only=%' \
             and s.setdatabase in (0, (select oid from pg_database where datname = current_database()))",
            "a role's own setting prevails over the database's: ",
        ),
        (
            "select string_agg(gid || ' of ' || owner::text, ', ') from pg_prepared_xacts where database = current_database()",
            "prepared transactions can be committed all the same: ",
        ),
        (
            "select string_agg(subname::text, ', ') from pg_subscription where subenabled \
             and subdbid = (select oid from pg_database where datname = current_database())",
            "subscriptions write into it, whatever is set: ",
        ),
        (
            "select nullif(count(*), 0)::text from pg_stat_activity where datname = current_database() and backend_xid is not null \
             and pid <> pg_backend_pid()",
            "open transactions that have written: ",
        ),
    ] {
        let found = client.query_one(sql, &[]).await.map_err(|error| wrong(&error))?;
        let found: Option<String> = found.get(0);
        facts.extend(found.map(|found| format!("{words}{found}")));
    }
    Ok(facts)
}

/// A write has to be refused: by the database's setting, or already at the door.
pub async fn refused_write(trial: &ServerTarget, hard: bool, cx: &Cx) -> Result<(), ActionError> {
    let client = match connect(trial, false).await {
        Ok((client, _tls)) => client,
        Err(error) if hard && error.message.contains("(42501)") => {
            let words = format!("{} may not connect", trial.user);
            cx.reporter.progress(Progress::State(words));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let row = client
        .query_one("select current_setting('default_transaction_read_only')", &[])
        .await;
    let closed: String = row.map_err(|error| failed(&error, "the proof"))?.get(0);
    if closed != "on" {
        return Err(permanent(format!(
            "a new session of {} begins read write; a setting of its own prevails: write hard: true",
            trial.user
        )));
    }
    let begun = client.batch_execute("begin").await;
    begun.map_err(|error| failed(&error, "the proof"))?;
    let tried = client.batch_execute("create table pointsman_refused()").await;
    let undone = client.batch_execute("rollback").await;
    match tried {
        Err(error) if error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => {
            let words = format!("a write of {} in a new session is refused", trial.user);
            cx.reporter.progress(Progress::State(words));
            Ok(())
        }
        Err(error) => Err(permanent(format!(
            "a write of {} was refused, but not because of the freeze: {}",
            trial.user,
            failed(&error, "it").message
        ))),
        Ok(()) => {
            undone.map_err(|error| failed(&error, "the proof"))?;
            Err(permanent(format!(
                "a write of {} was not refused (it was rolled back); a setting of its own may prevail",
                trial.user
            )))
        }
    }
}

async fn number(client: &Client, sql: &str) -> Result<i64, ActionError> {
    let row = client
        .query_one(sql, &[])
        .await
        .map_err(|error| failed(&error, "the proof"))?;
    Ok(row.get(0))
}

/// Nothing may be written for a while.
pub async fn idle(target: &ServerTarget, cx: &Cx) -> Result<(), ActionError> {
    let (client, _tls) = connect(target, true).await?;
    let next = "select txid_snapshot_xmax(txid_current_snapshot())";
    let rows = "select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint from pg_stat_user_tables";
    let before = (number(&client, next).await?, number(&client, rows).await?);
    let words = format!("watching that nothing is written: {DETECTOR}");
    cx.reporter.progress(Progress::State(words));
    cx.pause(IDLE).await?;
    let after = (number(&client, next).await?, number(&client, rows).await?);
    if before.0 != after.0 && before.1 != after.1 {
        let words = format!(
            "something is still written although writes are frozen: {} rows of this database",
            after.1 - before.1
        );
        return Err(permanent(words));
    }
    let open = "select count(*) from pg_stat_activity where datname = current_database() and backend_xid is not null";
    if number(&client, open).await? > 0 {
        let words = "a transaction that has written is still open; end its session, or write sessions: kill";
        return Err(permanent(words));
    }
    let prepared = "select count(*) from pg_prepared_xacts where database = current_database()";
    if number(&client, prepared).await? > 0 {
        let words = "prepared transactions can still be committed; commit or roll them back";
        return Err(permanent(words));
    }
    Ok(())
}
