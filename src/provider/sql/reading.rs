//! Whether a runbook's statement is one statement that reads. The server refuses what it can in a read-only session; this
//! is for what it lets through: files that it writes, locks, signals, settings, and all of it where an engine has no
//! read-only session. Judges words, not meaning: what an operator's own function does is not known here.

use crate::provider::action::{ActionError, ActionErrorKind};

use super::server::Engine;
use super::tokens::{Token, tokens};

/// What a statement may begin with.
const fn begins(engine: Engine) -> &'static [&'static str] {
    match engine {
        Engine::Postgres => &["select", "with", "table", "values", "show", "explain"],
        Engine::Mysql => &[
            "select", "with", "table", "values", "show", "explain", "describe", "desc", "checksum",
        ],
        Engine::Sqlserver => &["select", "with"],
    }
}

/// Words that no read has: reserved where they stand here, so that no name is mistaken for one.
const fn never(engine: Engine) -> &'static [&'static str] {
    match engine {
        Engine::Postgres | Engine::Mysql => &["into"],
        // Its statements need nothing between them, and no session of it is closed to writes.
        Engine::Sqlserver => &[
            "into",
            "insert",
            "update",
            "delete",
            "merge",
            "exec",
            "execute",
            "create",
            "alter",
            "drop",
            "truncate",
            "grant",
            "revoke",
            "deny",
            "set",
            "declare",
            "begin",
            "commit",
            "rollback",
            "save",
            "use",
            "kill",
            "shutdown",
            "backup",
            "restore",
            "dbcc",
            "waitfor",
            "print",
            "raiserror",
            "reconfigure",
            "checkpoint",
            "goto",
            "if",
            "while",
            "return",
            "open",
            "close",
            "deallocate",
            "writetext",
            "updatetext",
            "readtext",
            "lineno",
            "setuser",
            "revert",
            "trigger",
            "dump",
            "load",
            "bulk",
            "openquery",
            "openrowset",
            "opendatasource",
            "go",
            "throw",
            "updlock",
            "xlock",
            "tablockx",
        ],
    }
}

/// Words in a row that lock, or count on.
const fn together(engine: Engine) -> &'static [&'static [&'static str]] {
    match engine {
        Engine::Postgres => &[],
        Engine::Mysql => &[
            &["for", "update"],
            &["for", "share"],
            &["lock", "in", "share"],
            &["next", "value", "for"],
            &["previous", "value", "for"],
        ],
        Engine::Sqlserver => &[&["next", "value", "for"]],
    }
}

/// Functions that reach others though the session only reads; a star stands for any end. PostgreSQL 17, chapter 9.28;
/// MySQL 8.4, chapters 14.14 and 14.18; MariaDB, SEQUENCE functions.
const fn functions(engine: Engine) -> &'static [&'static str] {
    match engine {
        Engine::Postgres => &[
            "pg_terminate_backend",
            "pg_cancel_backend",
            "pg_advisory_*",
            "pg_try_advisory_*",
            "pg_notify",
            "pg_reload_conf",
            "pg_rotate_logfile*",
            "pg_switch_wal",
            "pg_create_*",
            "pg_drop_*",
            "pg_copy_*_slot",
            "pg_promote",
            "pg_wal_replay_*",
            "pg_backup_*",
            "pg_start_backup",
            "pg_stop_backup",
            "pg_logical_*",
            "pg_replication_origin_*",
            "pg_replication_slot_advance",
            "pg_sync_replication_slots",
            "pg_log_*",
            "pg_export_snapshot",
            "pg_file_*",
            "pg_stat_reset*",
            "pg_stat_statements_reset",
            "pg_prewarm",
            "pg_import_system_collations",
            "brin_*",
            "gin_clean_*",
            "lo_*",
            "lowrite",
            "nextval",
            "setval",
            "dblink*",
            "query_to_xml*",
            "set_config",
        ],
        Engine::Mysql => &[
            "get_lock",
            "release_lock",
            "release_all_locks",
            "nextval",
            "setval",
            "lastval",
            "sys_exec",
            "sys_eval",
            "sys_set",
            "group_replication_*",
            "asynchronous_connection_failover_*",
            "keyring_key_*",
            "audit_log_*",
            "version_tokens_*",
            "service_get_*_locks",
            "service_release_locks",
            "mysql_firewall_*",
            "set_firewall_mode",
        ],
        Engine::Sqlserver => &[],
    }
}

/// Refuses what is not one statement that reads.
pub fn reads(engine: Engine, sql: &str) -> Result<(), ActionError> {
    let found = tokens(engine, sql).map_err(|error| refused(&error.to_string()))?;
    let ends = found.iter().rposition(|token| *token != Token::Symbol(';'));
    let found = ends.and_then(|last| found.get(..=last)).unwrap_or_default();
    if found.contains(&Token::Symbol(';')) {
        return Err(refused("it is more than one statement; write one step for each"));
    }
    let Some(first) = found.iter().find(|token| **token != Token::Symbol('(')) else {
        return Err(refused("it is empty; write a select"));
    };
    let known = begins(engine);
    if !known.iter().any(|word| first.is(word)) {
        let words = format!(
            "it does not begin as a read does ({}); use sql.exec for what changes something",
            known.join(", ")
        );
        return Err(refused(&words));
    }
    for (index, token) in found.iter().enumerate() {
        if let Some(word) = never(engine).iter().find(|word| token.is(word)) {
            let words = format!(
                "it has {}, which no read has; a name of that word goes into quotes",
                word.to_uppercase()
            );
            return Err(refused(&words));
        }
        let from = found.get(index..).unwrap_or_default();
        for row in together(engine) {
            if from.len() >= row.len() && row.iter().zip(from).all(|(word, token)| token.is(word)) {
                let words = format!(
                    "{} holds something that others wait for, or counts on",
                    row.join(" ").to_uppercase()
                );
                return Err(refused(&format!("{words}; use sql.exec for it")));
            }
        }
        if let (Token::Word(name) | Token::Name(name), Some(Token::Symbol('('))) = (token, from.get(1)) {
            let name = name.to_ascii_lowercase();
            if functions(engine).iter().any(|pattern| fits(pattern, &name)) {
                return Err(refused(&format!("{name}() reaches others; use sql.exec for it")));
            }
        }
    }
    if engine == Engine::Sqlserver && selects(found) > 1 {
        return Err(refused(
            "it is more than one select; write one step for each, or union all",
        ));
    }
    Ok(())
}

/// How many parameters a statement for SQL Server takes: `@P1` to that number, each at least once.
pub fn numbered(sql: &str) -> Result<usize, ActionError> {
    let found = tokens(Engine::Sqlserver, sql).map_err(|error| refused(&error.to_string()))?;
    let mut numbers: Vec<usize> = Vec::new();
    for token in &found {
        let Token::Word(word) = token else { continue };
        let Some(name) = word.strip_prefix('@').filter(|name| !name.starts_with('@')) else {
            continue;
        };
        let number = name.strip_prefix(['P', 'p']).and_then(|number| number.parse().ok());
        match number.filter(|number| *number > 0) {
            Some(number) => numbers.push(number),
            None => {
                return Err(refused(&format!(
                    "{word} is nothing; parameters are @P1, @P2 and so on"
                )));
            }
        }
    }
    numbers.sort_unstable();
    numbers.dedup();
    match numbers.iter().zip(1..).find(|(number, wanted)| *number != wanted) {
        Some((number, wanted)) => Err(refused(&format!(
            "it has @P{number} and no @P{wanted}; number them from 1"
        ))),
        None => Ok(numbers.len()),
    }
}

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((begin, end)) => name.len() >= begin.len() + end.len() && name.starts_with(begin) && name.ends_with(end),
        None => pattern == name,
    }
}

/// Selects that stand by themselves, outside of parentheses and not tied to the one before.
fn selects(found: &[Token<'_>]) -> usize {
    let mut depth = 0_i32;
    let mut count = 0;
    let mut before: Option<&Token<'_>> = None;
    for token in found {
        match token {
            Token::Symbol('(') => depth += 1,
            Token::Symbol(')') => depth -= 1,
            Token::Word(_) | Token::Name(_) | Token::Literal | Token::Symbol(_) => {}
        }
        let tied = before.is_some_and(|before| {
            ["union", "all", "except", "intersect"]
                .iter()
                .any(|word| before.is(word))
        });
        if depth == 0 && token.is("select") && !tied {
            count += 1;
        }
        before = Some(token);
    }
    count
}

fn refused(why: &str) -> ActionError {
    ActionError::new(ActionErrorKind::Permanent, format!("the statement is refused: {why}"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn reads_pass() {
        for (engine, sql) in [
            (
                Engine::Postgres,
                "select count(*) from orders where note = 'into; delete' -- ; drop",
            ),
            (Engine::Postgres, "with a as (select 1) select * from a;"),
            (Engine::Postgres, "(select 1) union (select 2) ; ;"),
            (Engine::Postgres, "show server_version"),
            (Engine::Postgres, "select pg_is_in_recovery(), pg_sleep(0)"),
            (Engine::Mysql, "show replica status"),
            (Engine::Mysql, "select `into` from `for update` # ; drop"),
            (Engine::Mysql, "checksum table t"),
            (
                Engine::Sqlserver,
                "select top (@P1) [update], N'delete' from dbo.[set] with (nolock) order by 1 offset 0 rows fetch next 5 rows only",
            ),
            (
                Engine::Sqlserver,
                "with a as (select 1 x) select * from a union all select 2 except select 3",
            ),
            (
                Engine::Sqlserver,
                "select case when exists (select 1 from t) then 1 else 0 end -- drop table t",
            ),
        ] {
            reads(engine, sql).unwrap();
        }
    }

    #[test]
    fn what_is_no_read_is_refused() {
        for (engine, sql, why) in [
            (Engine::Postgres, "", "empty"),
            (Engine::Postgres, "select 1; delete from t", "more than one"),
            (Engine::Postgres, "copy t to program 'x'", "begin"),
            (Engine::Postgres, "notify a", "begin"),
            (
                Engine::Postgres,
                "select pg_catalog.\"pg_terminate_backend\" (1)",
                "pg_terminate_backend()",
            ),
            (Engine::Postgres, "select pg_advisory_lock(1)", "pg_advisory_lock()"),
            (Engine::Postgres, "select 1 into t", "INTO"),
            (Engine::Mysql, "set global max_connections = 1", "begin"),
            (Engine::Mysql, "select 1 into outfile '/tmp/x'", "INTO"),
            (Engine::Mysql, "select 1 /*!50000 into outfile 'x' */", "comment"),
            (Engine::Mysql, "select `get_lock`('a', 1)", "get_lock()"),
            (Engine::Mysql, "select * from t for /* x */ update", "FOR UPDATE"),
            (Engine::Mysql, "kill 7", "begin"),
            (Engine::Sqlserver, "select 1 delete from t", "DELETE"),
            (Engine::Sqlserver, "select 1 select 2", "more than one select"),
            (Engine::Sqlserver, "select * into x from t", "INTO"),
            (Engine::Sqlserver, "select next value for s", "NEXT VALUE FOR"),
            (
                Engine::Sqlserver,
                "select * from openrowset('a', 'b', 'delete')",
                "OPENROWSET",
            ),
            (Engine::Sqlserver, "sp_configure", "begin"),
            (Engine::Sqlserver, "select 1 exec xp_cmdshell 'x'", "EXEC"),
            (Engine::Sqlserver, "select * from t with (updlock)", "UPDLOCK"),
        ] {
            let error = reads(engine, sql).unwrap_err();
            assert!(error.message.contains(why), "{sql}: {error}");
            assert_eq!(error.kind, ActionErrorKind::Permanent);
        }
    }

    #[test]
    fn parameters_are_numbered_from_one() {
        assert_eq!(numbered("select @P1, @p2, '@P9', @P1").unwrap(), 2);
        assert_eq!(numbered("select @@version").unwrap(), 0);
        assert!(numbered("select @P2").unwrap_err().message.contains("no @P1"));
        assert!(numbered("select @name").unwrap_err().message.contains("@name"));
    }
}
