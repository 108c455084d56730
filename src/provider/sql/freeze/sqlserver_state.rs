//! What a freeze of SQL Server touches: one option of the database. What it was before is written down while writing is
//! possible; who is there, and what writes into the database by itself. Must not decide what is done about it.
//! By Microsoft's documentation, and never run against a SQL Server.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tiberius::error::Error;

use crate::provider::action::{ActionError, Cx};
use crate::provider::sql::sqlserver;
use crate::provider::sql::sqlserver::connect::Connection;
use crate::provider::sql::sqlserver::errors::failed;
use crate::provider::sql::sqlserver::writer::{one, quoted, there, told};

use super::parameters::{Prior, Settings, permanent};

/// Whether the database takes writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// `READ_ONLY` or `READ_WRITE`.
    pub database: String,
}

impl Settings for State {
    fn each(&self) -> Vec<(&'static str, String)> {
        vec![("database", self.database.clone())]
    }
}

impl State {
    /// As a freeze makes it.
    pub fn frozen() -> Self {
        Self {
            database: "READ_ONLY".to_owned(),
        }
    }
}

/// A database as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub state: State,
    /// What is its own as long as nobody makes another one of that name.
    pub place: String,
    /// What stands against a freeze.
    pub against: Option<&'static str>,
    /// Lines for people.
    pub facts: Vec<String>,
}

/// Looks at the session's own database.
pub async fn seen(connection: &mut Connection, server: &Value) -> Result<Seen, ActionError> {
    let wrong = |error: Error| failed(&error, "the database's state");
    let sql = "select cast(d.is_read_only as varchar(1)), cast(d.database_id as varchar(11)), \
               convert(varchar(23), d.create_date, 121), case when d.replica_id is null then '0' else '1' end, \
               case when d.source_database_id is null then '0' else '1' end, cast(d.is_cdc_enabled as varchar(1)), \
               case when d.is_published = 1 or d.is_merge_published = 1 then '1' else '0' end, \
               cast(serverproperty('EngineEdition') as varchar(11)), \
               cast(has_perms_by_name(db_name(), 'DATABASE', 'ALTER') as varchar(11)) \
               from sys.databases d where d.name = db_name()";
    let rows = told(connection, sql).await.map_err(wrong)?;
    let row = rows.into_iter().next().unwrap_or_default();
    let cell = |at: usize| row.get(at).cloned().flatten().unwrap_or_default();
    let database = match cell(0).as_str() {
        "1" => "READ_ONLY",
        "0" => "READ_WRITE",
        other => {
            let words = format!("sys.databases says {other:?} of is_read_only; look whether its rows may be seen");
            return Err(permanent(words));
        }
    };
    let against = if cell(1).parse::<u32>().is_ok_and(|id| id <= 4) {
        Some("it is a system database, which nobody freezes; check database: of the connection")
    } else if cell(3) == "1" {
        Some(
            "it is in an availability group, where no database can be READ_ONLY; stop the jobs, disable the logins and end \
             their sessions by steps of their own, or take it out of the group",
        )
    } else if cell(4) == "1" {
        Some("it is a snapshot of a database, which nobody writes to")
    } else if matches!(cell(7).as_str(), "8" | "11") {
        Some("a managed instance has no READ_ONLY; disable the logins and end their sessions by steps of their own")
    } else if cell(8) != "1" {
        Some("the connection's user may not alter the database; grant it ALTER on the database")
    } else {
        None
    };
    let mut facts = Vec::new();
    for (is, words) in [
        (
            cell(5) == "1",
            "change data capture writes into this database itself: what it has not captured when writes are frozen waits \
             until they are thawed; let it catch up first",
        ),
        (
            cell(6) == "1",
            "transactional or merge replication writes into this database itself: what it has not read when writes are \
             frozen waits until they are thawed; let it catch up first",
        ),
    ] {
        if is {
            facts.push(words.to_owned());
        }
    }
    let name = server.get("server").and_then(Value::as_str).unwrap_or_default();
    Ok(Seen {
        state: State {
            database: database.to_owned(),
        },
        place: format!("{name} {} {}", cell(1), cell(2)),
        against,
        facts,
    })
}

/// Who else is in the database, by login, host and program, as far as it may be seen.
pub async fn sessions(connection: &mut Connection) -> Result<Vec<String>, ActionError> {
    let sql = "select login_name+' from '+isnull(host_name, '?')+' by '+isnull(program_name, '?') \
               from sys.dm_exec_sessions where database_id = db_id() and session_id <> @@spid and is_user_process = 1 \
               order by login_name";
    match told(connection, sql).await {
        Ok(rows) => Ok(rows.into_iter().flatten().flatten().collect()),
        Err(error) => Err(failed(&error, "sessions")),
    }
}

/// Whether sessions of others are shown at all: without the right a session sees itself, and counts nobody.
pub async fn may_see(connection: &mut Connection) -> Result<bool, ActionError> {
    let sql = "select cast(has_perms_by_name(null, null, 'VIEW SERVER STATE') as varchar(11))";
    let may = one(connection, sql).await;
    Ok(may.map_err(|error| failed(&error, "rights"))? == "1")
}

/// Lines for people of who is connected.
pub async fn connected(connection: &mut Connection) -> Result<Vec<String>, ActionError> {
    if !may_see(connection).await? {
        return Ok(vec![
            "who is connected is not shown to the connection's user; grant VIEW SERVER STATE to see it".to_owned(),
        ]);
    }
    let mut counted: Vec<(String, usize)> = Vec::new();
    for who in sessions(connection).await? {
        match counted.iter_mut().find(|(known, _)| *known == who) {
            Some((_, count)) => *count += 1,
            None => counted.push((who, 1)),
        }
    }
    let listed: Vec<String> = counted.iter().map(|(who, count)| format!("{who} ({count})")).collect();
    Ok(vec![match listed.as_slice() {
        [] => "nobody else is connected".to_owned(),
        listed => format!("connected: {}", listed.join(", ")),
    }])
}

/// The statement that sets it. `ends`: sessions of others are ended, and what they have not committed is rolled back.
pub fn set(name: &str, to: &State, ends: bool) -> String {
    let how = if ends { "rollback immediate" } else { "no_wait" };
    let name = name.replace(']', "]]");
    format!("alter database [{name}] set {} with {how}", to.database.to_lowercase())
}

/// The session's own database.
pub async fn name(connection: &mut Connection) -> Result<String, ActionError> {
    let name = one(connection, "select db_name()").await;
    name.map_err(|error| failed(&error, "the database"))
}

/// What an earlier try of this step wrote down before it set anything, unless it was taken back.
pub async fn remembered(connection: &mut Connection, cx: &Cx) -> Result<Option<Prior<State>>, ActionError> {
    if !there(connection, "pointsman_marker").await? || !there(connection, "pointsman_result").await? {
        return Ok(None);
    }
    let sql = format!(
        "select top (1) m.[key] from pointsman_marker m join pointsman_result r on r.[key] = m.[key] \
         where m.run = {} and m.step = {} and m.applied_at is null order by m.attempt desc",
        quoted(&cx.run),
        quoted(&cx.step)
    );
    let key = one(connection, &sql).await;
    let key = key.map_err(|error| failed(&error, "the marker row"))?;
    if key.is_empty() {
        return Ok(None);
    }
    let text = sqlserver::writer::kept(connection, &key).await?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// Writes down that what the freezes of this place remembered is over. That it cannot be written down changes nothing of
/// the thaw.
pub async fn forgotten(connection: &mut Connection, prior: &Prior<State>) {
    let kept = quoted(&super::parameters::told(prior).to_string());
    let sql = format!(
        "update pointsman_marker set applied_at = sysutcdatetime() where applied_at is null and [key] in \
         (select [key] from pointsman_result where cast(result as nvarchar(4000)) = {kept})"
    );
    if let Err(error) = told(connection, &sql).await {
        tracing::info!(%error, "the freeze's marker could not be closed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_names_the_database_and_what_becomes_of_sessions() {
        let open = State {
            database: "READ_WRITE".to_owned(),
        };
        for (to, ends, sql) in [
            (
                State::frozen(),
                true,
                "alter database [e]]rp] set read_only with rollback immediate",
            ),
            (
                State::frozen(),
                false,
                "alter database [e]]rp] set read_only with no_wait",
            ),
            (
                open,
                true,
                "alter database [e]]rp] set read_write with rollback immediate",
            ),
        ] {
            assert_eq!(set("e]rp", &to, ends), sql);
        }
    }
}
