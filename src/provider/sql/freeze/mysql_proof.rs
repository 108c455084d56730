//! What shows of a frozen MySQL or MariaDB: who is connected, who may write all the same, a refused write, and a while
//! without one. Only reads, but for the write that has to be refused, which is taken back where it is not.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Row};

use crate::provider::action::{ActionError, Cx, Progress};
use crate::provider::sql::mysql::connect::{connect, failed};
use crate::provider::sql::server::ServerTarget;

use super::parameters::{IDLE, permanent};

/// What tells that something was written.
pub const DETECTOR: &str =
    "binary log position, InnoDB's counters of changed rows, open transactions that changed rows, XA";

/// A session of somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: u64,
    /// `user@address`
    pub who: String,
    pub database: String,
}

/// Everybody else's sessions, without the server's own threads and without those that read the binary log.
pub async fn sessions(session: &mut Conn) -> Result<Vec<Session>, ActionError> {
    let sql = "select id, concat(user, '@', substring_index(host, ':', 1)), coalesce(db, '') \
               from information_schema.processlist where id <> connection_id() \
               and command not in ('Binlog Dump', 'Binlog Dump GTID', 'Daemon') and command not like 'Slave%' \
               and user not in ('system user', 'event_scheduler', 'unauthenticated user', 'rdsadmin', 'azure_superuser') \
               order by id";
    let found: Vec<(u64, String, String)> = session.query(sql).await.map_err(|error| failed(&error, "sessions"))?;
    let named = found
        .into_iter()
        .map(|(id, who, database)| Session { id, who, database });
    Ok(named.collect())
}

/// Whether a session holds the lock of a key.
pub async fn is_held(session: &mut Conn, key: &str) -> Result<bool, ActionError> {
    let held: Option<Option<u64>> = session
        .exec_first("select is_used_lock(?)", (key,))
        .await
        .map_err(|error| failed(&error, "the key's lock"))?;
    Ok(held.flatten().is_some())
}

/// Rights that let a user write in spite of read_only.
const RIGHTS: &str = "'READ_ONLY ADMIN', 'READ ONLY ADMIN', 'CONNECTION_ADMIN'";

/// Whether the session's own user may write in spite of read_only.
pub async fn may_write(session: &mut Conn) -> Result<bool, ActionError> {
    let version: Option<String> = session
        .query_first("select version()")
        .await
        .map_err(|error| failed(&error, "the version"))?;
    let rights = rights(&version.unwrap_or_default());
    let sql = format!(
        "select count(*) from information_schema.user_privileges where privilege_type in ({rights}) \
         and grantee = concat('''', substring_index(current_user(), '@', 1), '''@''', substring_index(current_user(), '@', -1), '''')"
    );
    let found: Option<u64> = session
        .query_first(sql)
        .await
        .map_err(|error| failed(&error, "rights"))?;
    Ok(found.is_some_and(|count| count > 0))
}

/// SUPER is enough, but for MariaDB from 10.11 on.
fn rights(version: &str) -> String {
    let mut numbers = version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version.contains("MariaDB") && (major, minor) >= (10, 11) {
        RIGHTS.to_owned()
    } else {
        format!("{RIGHTS}, 'SUPER'")
    }
}

/// Lines for people.
pub async fn facts(session: &mut Conn, strict: bool, maria: bool, version: &str) -> Result<Vec<String>, ActionError> {
    let wrong = |error: Error| failed(&error, "who is connected");
    let mut facts = Vec::new();
    let mut connected: Vec<(String, usize)> = Vec::new();
    for known in sessions(session).await? {
        let who = match known.database.as_str() {
            "" => known.who,
            database => format!("{} on {database}", known.who),
        };
        match connected.iter_mut().find(|(name, _)| *name == who) {
            Some((_, count)) => *count += 1,
            None => connected.push((who, 1)),
        }
    }
    let listed: Vec<String> = connected
        .iter()
        .map(|(who, count)| format!("{who} ({count})"))
        .collect();
    facts.push(match listed.as_slice() {
        [] => "nobody else is connected, as far as the connection's user sees".to_owned(),
        listed => format!("connected: {}", listed.join(", ")),
    });
    let sql = "select count(*) from information_schema.processlist where user = 'system user' \
               and (command like 'Slave%' or command in ('Connect', 'Query'))";
    let appliers: Option<u64> = session.query_first(sql).await.map_err(wrong)?;
    if appliers.is_some_and(|count| count > 0) {
        facts.push("this server is a replica at work: its applier writes on, whatever is set".to_owned());
    }
    if !strict {
        let rights = rights(version);
        let sql = format!(
            "select distinct grantee from information_schema.user_privileges where privilege_type in ({rights}) order by 1"
        );
        let users: Vec<String> = session.query(sql).await.map_err(wrong)?;
        let lacks = if maria { "MariaDB has no super_read_only; " } else { "" };
        facts.push(format!(
            "{lacks}these may write in spite of read_only, as far as seen: {}",
            users.join(", ")
        ));
    }
    match session
        .query_first::<(u64, Option<i64>), _>(
            "select count(*), max(timestampdiff(second, trx_started, now())) from information_schema.innodb_trx",
        )
        .await
    {
        Ok(Some((count @ 1.., oldest))) => facts.push(format!(
            "{count} open transactions, the oldest for {} s",
            oldest.unwrap_or_default()
        )),
        Ok(_) => {}
        Err(Error::Server(told)) => facts.push(format!("open transactions are not shown to us: {}", told.message)),
        Err(error) => return Err(wrong(error)),
    }
    facts.extend(
        prepared(session)
            .await?
            .map(|words| format!("{words}: they can be committed by whoever knows them")),
    );
    Ok(facts)
}

/// Transactions in two phases that wait for their second.
async fn prepared(session: &mut Conn) -> Result<Option<String>, ActionError> {
    match session.query::<Row, _>("xa recover").await {
        Ok(rows) if rows.is_empty() => Ok(None),
        Ok(rows) => Ok(Some(format!("{} prepared XA transactions", rows.len()))),
        Err(Error::Server(told)) if matches!(told.code, 1227 | 1401) => Ok(None),
        Err(error) => Err(failed(&error, "XA transactions")),
    }
}

/// A write has to be refused, because the server is read-only and for no other reason.
pub async fn refused_write(trial: &ServerTarget, cx: &Cx) -> Result<(), ActionError> {
    let mut session = connect(trial, false).await?;
    let wrong = |error: Error| failed(&error, "the proof");
    session.query_drop("start transaction").await.map_err(wrong)?;
    let sql = "insert into pointsman_marker(`key`, run, step, attempt) values (?, ?, ?, 0)";
    let key = format!("{}-proof", cx.key);
    let tried = session.exec_drop(sql, (&key, &cx.run, &cx.step)).await;
    let undone = session.query_drop("rollback").await;
    match tried {
        Err(Error::Server(told)) if matches!(told.code, 1290 | 1836) => {
            let words = format!("a write of {} is refused", trial.user);
            cx.reporter.progress(Progress::State(words));
            Ok(())
        }
        Err(Error::Server(told)) => Err(permanent(format!(
            "a write of {} was refused, but not because of the freeze: {} ({}); give it rights on pointsman_marker",
            trial.user, told.message, told.code
        ))),
        Err(error) => Err(wrong(error)),
        Ok(()) => {
            undone.map_err(wrong)?;
            Err(permanent(format!(
                "a write of {} was not refused (it was rolled back); look at its rights: it may write in spite of read_only",
                trial.user
            )))
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Written {
    log: Option<String>,
    rows: Vec<(String, String)>,
}

async fn written(session: &mut Conn) -> Result<Written, ActionError> {
    let wrong = |error: Error| failed(&error, "the proof");
    let mut log = None;
    // One of the two is known, by version.
    for sql in ["show master status", "show binary log status"] {
        if let Ok(rows) = session.query::<Row, _>(sql).await {
            log = rows.first().map(|row| {
                let (file, position) = (row.get::<String, _>(0), row.get::<u64, _>(1));
                format!("{} {}", file.unwrap_or_default(), position.unwrap_or_default())
            });
            break;
        }
    }
    let sql = "show global status where variable_name in \
               ('Innodb_rows_inserted', 'Innodb_rows_updated', 'Innodb_rows_deleted')";
    let rows: Vec<(String, String)> = session.query(sql).await.map_err(wrong)?;
    if log.is_none() && rows.is_empty() {
        let words = "nothing on this server tells whether something is written: no binary log that may be looked at, no \
                     counters; grant REPLICATION CLIENT (BINLOG MONITOR)";
        return Err(permanent(words));
    }
    Ok(Written { log, rows })
}

/// Nothing may be written for a while.
pub async fn idle(target: &ServerTarget, cx: &Cx) -> Result<(), ActionError> {
    let mut session = connect(target, true).await?;
    let before = written(&mut session).await?;
    let words = format!("watching that nothing is written: {DETECTOR}");
    cx.reporter.progress(Progress::State(words));
    cx.pause(IDLE).await?;
    let after = written(&mut session).await?;
    if before != after {
        let words = format!("something is still written although writes are frozen: {before:?}, then {after:?}");
        return Err(permanent(words));
    }
    let sql = "select count(*) from information_schema.innodb_trx where trx_rows_modified > 0";
    if let Ok(Some(1_u64..)) = session.query_first(sql).await {
        return Err(permanent(
            "a transaction that changed rows is still open; end its session, or write sessions: kill",
        ));
    }
    match prepared(&mut session).await? {
        Some(words) => Err(permanent(format!(
            "{words} can still be committed; commit or roll them back"
        ))),
        None => Ok(()),
    }
}
