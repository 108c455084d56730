//! What SQL Server does with a database that its peer in the tests cannot: locks of an application, READ_ONLY, backups. In
//! the words of its documentation, and never held against it.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::front::{Answer, Script, row};

/// A server's state.
#[derive(Debug, Default)]
pub struct World {
    pub read_only: bool,
    /// In an availability group.
    pub group: bool,
    /// Somebody else is in the database.
    pub busy: bool,
    pub cdc: bool,
    /// Others' sessions are not shown.
    pub unseen: bool,
    /// Another database than the others.
    pub other: bool,
    /// The user may not write into the tool's tables.
    pub unwriting: bool,
    /// Cancelled when it is asked for its name.
    pub cancels: Option<CancellationToken>,
    /// The user may not create a database.
    pub unverifying: bool,
    /// Who holds the lock of which key.
    pub locks: BTreeMap<String, u64>,
    /// Once: what is answered to a statement that has these words.
    pub once: Vec<(&'static str, Answer)>,
    /// Statements that the script answered, or let pass, and that change something.
    pub said: Vec<String>,
    /// Backups: their set's name, and where.
    pub backups: Vec<(String, String)>,
    /// Logins with the intent to only read, which a listener sends to a secondary; and all others.
    pub logins: (usize, usize),
}

/// A script of it.
#[derive(Default)]
pub struct Played {
    world: Mutex<World>,
    /// Somebody let a lock go.
    freed: Condvar,
}

/// Holds a lock and never lets it go.
pub const FOREVER: u64 = u64::MAX;
/// How long a lock is waited for: a session that is over takes a moment to be gone.
const PATIENCE: Duration = Duration::from_secs(20);

impl Played {
    pub fn new(world: World) -> Arc<Self> {
        Arc::new(Self {
            world: Mutex::new(world),
            freed: Condvar::new(),
        })
    }

    pub fn with<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut self.world.lock().unwrap())
    }
}

/// What stands between quotes after `word`.
fn quoted<'a>(sql: &'a str, word: &str) -> &'a str {
    let rest = sql.split_once(word).map_or("", |(_, rest)| rest);
    rest.split('\'').nth(1).unwrap_or_default()
}

fn flag(yes: bool) -> &'static str {
    if yes { "1" } else { "0" }
}

impl Script for Played {
    fn answer(&self, session: u64, sql: &str) -> Option<Answer> {
        let mut world = self.world.lock().unwrap();
        let changes = [
            "insert into",
            "update ",
            "delete from",
            "create table",
            "alter database",
            "backup ",
            "commit",
        ];
        if changes.iter().any(|word| sql.contains(word)) {
            world.said.push(sql.to_owned());
        }
        let found = world.once.iter().position(|(word, _)| sql.contains(word));
        let told = found.map(|at| world.once.remove(at).1);
        if sql.contains("sp_getapplock") {
            let key = quoted(sql, "@Resource = ");
            let taken = |world: &mut World| {
                let held = world.locks.get(key);
                held.is_some_and(|held| *held != session && *held != FOREVER)
            };
            let (mut world, _) = self.freed.wait_timeout_while(world, PATIENCE, taken).unwrap();
            let held = *world.locks.entry(key.to_owned()).or_insert(session);
            return Some(Answer::Rows(vec![row([if held == session { "0" } else { "-1" }])]));
        }
        if sql.contains("applock_test") {
            let key = quoted(sql, "'public', ");
            let free = world.locks.get(key).is_none_or(|held| *held == session);
            return Some(Answer::Rows(vec![row([flag(free)])]));
        }
        if sql.contains("alter database") {
            if matches!(told, Some(Answer::Cut)) {
                return told;
            }
            if world.busy && sql.contains("no_wait") {
                return Some(Answer::Error(
                    5070,
                    "Database state cannot be changed while other users are using it",
                ));
            }
            world.read_only = sql.contains("set read_only");
            return Some(told.unwrap_or(Answer::Done));
        }
        if sql.contains("backup database") {
            if matches!(told, Some(Answer::Cut | Answer::Error(..))) {
                return told;
            }
            let (name, file) = (quoted(sql, "name = "), quoted(sql, " = "));
            world.backups.push((name.to_owned(), file.to_owned()));
            return Some(told.unwrap_or(Answer::Done));
        }
        if told.is_some() {
            return told;
        }
        if sql.contains("from msdb.dbo.backupset") {
            if sql.contains("count_big") {
                return Some(Answer::Rows(vec![row([&world.backups.len().to_string()])]));
            }
            let name = quoted(sql, "s.name = ");
            let found = world.backups.iter().filter(|(known, _)| known == name);
            let told = found.map(|(_, file)| {
                let lsn = "34000000012300001";
                let (begun, ended) = ("2026-01-02T03:04:05", "2026-01-02T03:05:06");
                row(["1048576", "524288", lsn, lsn, lsn, begun, ended, "1", "1", "0", file])
            });
            return Some(Answer::Rows(told.collect()));
        }
        if sql.contains("restore verifyonly") {
            return Some(Answer::Done);
        }
        if sql.contains("'CREATE ANY DATABASE'") {
            return Some(Answer::Rows(vec![row([flag(!world.unverifying)])]));
        }
        if sql.contains("'BACKUP DATABASE'") {
            return Some(Answer::Rows(vec![row(["1 3"])]));
        }
        if sql.contains("from sys.database_files") {
            return Some(Answer::Rows(vec![row(["8388608"])]));
        }
        // With parameters the peer would execute what it is to describe.
        if sql.contains("sp_describe_first_result_set") && sql.contains("@params") {
            return Some(Answer::Done);
        }
        if sql.contains("d.is_read_only") {
            let cells = [
                flag(world.read_only),
                if world.other { "6" } else { "5" },
                "2026-01-01 00:00:00.000",
                flag(world.group),
                "0",
                flag(world.cdc),
                "0",
                "3",
                "1",
            ];
            return Some(Answer::Rows(vec![row(cells)]));
        }
        if sql.contains("'VIEW SERVER STATE'") {
            return Some(Answer::Rows(vec![row([flag(!world.unseen)])]));
        }
        if sql.contains("'OBJECT', 'INSERT'") || sql.contains("'SCHEMA', 'INSERT'") {
            return Some(Answer::Rows(vec![row([flag(!world.unwriting)])]));
        }
        if sql.contains("object_schema_name") {
            let made = |sql: &String| sql.contains("create table pointsman_marker");
            let name = world
                .said
                .iter()
                .any(made)
                .then(|| "[dbo].[pointsman_marker]".to_owned());
            return Some(Answer::Rows(vec![vec![name]]));
        }
        if sql.contains("quotename(schema_name())") {
            return Some(Answer::Rows(vec![row(["[dbo]"])]));
        }
        if sql == "select db_name()"
            && let Some(cancel) = &world.cancels
        {
            cancel.cancel();
        }
        if sql.contains("from sys.dm_exec_sessions") {
            let others = if world.unseen {
                Vec::new()
            } else if world.busy {
                vec![row(["app from web1 by erp"])]
            } else {
                Vec::new()
            };
            return Some(Answer::Rows(others));
        }
        // It reads no more than whole seconds.
        if sql.contains("insert into pointsman_fence") && !world.read_only {
            return Some(Answer::Done);
        }
        let writes = ["insert into", "update ", "delete from", "create table"];
        if world.read_only && writes.iter().any(|word| sql.contains(word)) {
            return Some(Answer::Error(
                3906,
                "Failed to update database because the database is read-only.",
            ));
        }
        None
    }

    fn login(&self, reads: bool) {
        self.with(|world| match reads {
            true => world.logins.0 += 1,
            false => world.logins.1 += 1,
        });
    }

    fn ended(&self, session: u64) {
        self.with(|world| world.locks.retain(|_, held| *held != session));
        self.freed.notify_all();
    }
}
