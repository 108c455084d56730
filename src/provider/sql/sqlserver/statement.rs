//! What kind of a statement a text is for SQL Server: whether all of it stands or falls with a transaction, or whether it is
//! sent by itself. Nothing need stand between two statements there, so it is words that are judged, wherever they stand:
//! what is not known to be wholly in a transaction is sent alone. Pure. Source: "Transactions", "Statements not allowed in
//! explicit transactions" and each command's page of Microsoft's documentation; never run against a SQL Server.

use crate::provider::sql::server::Engine;
use crate::provider::sql::statement::{Read, Shape};
use crate::provider::sql::tokens::{Token, tokens};

const NO_BLOCK: &str = "it cannot be in a transaction";
const ITSELF: &str = "it can commit by itself";
const ELSEWHERE: &str = "it reaches another server";
const NO_UNDO: &str = "no transaction takes it back";

/// What is changed in a transaction, by what stands after CREATE, ALTER and DROP.
const OBJECTS: &[&str] = &[
    "TABLE",
    "VIEW",
    "INDEX",
    "UNIQUE",
    "CLUSTERED",
    "NONCLUSTERED",
    "COLUMNSTORE",
    "PROC",
    "PROCEDURE",
    "FUNCTION",
    "TRIGGER",
    "SCHEMA",
    "TYPE",
    "SEQUENCE",
    "SYNONYM",
    "STATISTICS",
    "USER",
    "ROLE",
    "SECURITY",
];

/// What holds a body of statements of its own, which are not executed now.
const BODIES: &[&str] = &["PROC", "PROCEDURE", "FUNCTION", "TRIGGER", "VIEW"];

const fn alone(why: &'static str, partly: bool) -> Shape {
    Shape::Alone { why, partly }
}

fn own(what: &str) -> String {
    format!("{what} begins, ends or changes a transaction or a session, which is the tool's own; take it out")
}

/// Reads a statement; the error says why it is not sent.
pub fn read(sql: &str) -> Result<Read, String> {
    let mut found = tokens(Engine::Sqlserver, sql).map_err(|error| error.to_string())?;
    while found.last() == Some(&Token::Symbol(';')) {
        found.pop();
    }
    let words: Vec<String> = found
        .iter()
        .map(|token| match token {
            Token::Word(word) => word.to_uppercase(),
            Token::Name(_) | Token::Literal | Token::Symbol(_) => String::new(),
        })
        .collect();
    let word = |at: usize| words.get(at).map_or("", String::as_str);
    if words.iter().all(String::is_empty) {
        return Err("no statement; write one".to_owned());
    }
    let names = found
        .iter()
        .filter_map(|token| match token {
            Token::Word(name) | Token::Name(name) => Some(name.to_lowercase()),
            Token::Literal | Token::Symbol(_) => None,
        })
        .collect();
    let (first, second) = (word(0), word(1));
    let changes = matches!(first, "CREATE" | "ALTER" | "DROP");
    // CREATE OR ALTER VIEW
    let object = if second == "OR" { word(3) } else { second };
    if changes && first != "DROP" && BODIES.contains(&object) {
        return Ok(Read {
            shape: Shape::Whole,
            names,
        });
    }
    if found.contains(&Token::Symbol(';')) {
        return Err("more than one statement; write a step for each".to_owned());
    }
    for at in 0..words.len() {
        match (word(at), word(at + 1)) {
            ("COMMIT" | "ROLLBACK" | "REVERT" | "SETUSER" | "GO", _) => return Err(own(word(at))),
            ("BEGIN", next @ ("TRAN" | "TRANSACTION" | "DISTRIBUTED")) | ("SAVE", next @ ("TRAN" | "TRANSACTION")) => {
                return Err(own(&format!("{} {next}", word(at))));
            }
            // Of a statement for each row, not of the session.
            ("SET", "IDENTITY_INSERT") => {}
            ("EXEC" | "EXECUTE", next @ "AS") => return Err(own(&format!("{} {next}", word(at)))),
            (_, _) => {}
        }
    }
    if first == "USE" || first == "SET" && second != "IDENTITY_INSERT" {
        return Err(own(first));
    }
    // Settings of the session in the middle: SET stands there also in an update, before a column.
    const SETTINGS: &[&str] = &[
        "XACT_ABORT",
        "IMPLICIT_TRANSACTIONS",
        "TRANSACTION",
        "ROWCOUNT",
        "NOEXEC",
        "PARSEONLY",
        "FMTONLY",
        "LOCK_TIMEOUT",
    ];
    if let Some(at) = (0..words.len()).find(|at| word(*at) == "SET" && SETTINGS.contains(&word(at + 1))) {
        return Err(own(&format!("SET {}", word(at + 1))));
    }
    let has = |wanted: &[&str]| words.iter().any(|word| wanted.contains(&word.as_str()));
    let shape = match (first, object) {
        ("BACKUP" | "RESTORE" | "RECONFIGURE", _) => alone(NO_BLOCK, true),
        // Several are dropped one after the other; of one that fails to be created, files may stay.
        ("CREATE" | "DROP" | "ALTER", "DATABASE") => alone(NO_BLOCK, true),
        ("CREATE" | "DROP" | "ALTER", "FULLTEXT") => alone(NO_BLOCK, false),
        // The right to execute is named so.
        _ if has(&["EXEC"]) || has(&["EXECUTE"]) && !matches!(first, "GRANT" | "REVOKE" | "DENY") => {
            alone(ITSELF, true)
        }
        _ if has(&["OPENQUERY", "OPENROWSET", "OPENDATASOURCE"]) => alone(ELSEWHERE, true),
        // In the middle, after something else.
        _ if has(&["BACKUP", "RESTORE", "RECONFIGURE", "SHUTDOWN", "KILL", "DBCC"]) => alone(NO_UNDO, true),
        ("CREATE" | "ALTER" | "DROP", object) if OBJECTS.contains(&object) => Shape::Whole,
        (
            "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "WITH" | "SELECT" | "TRUNCATE" | "GRANT" | "REVOKE" | "DENY"
            | "DECLARE" | "IF" | "WHILE" | "BEGIN" | "SET",
            _,
        ) => Shape::Whole,
        _ => alone(NO_UNDO, true),
    };
    Ok(Read { shape, names })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn rows_and_objects_are_changed_in_a_transaction() {
        for sql in [
            "insert into t values (1, 'commit; rollback')",
            "update [commit] set [rollback] = @P1 -- commit",
            "/* begin transaction */ delete from t;",
            "with a as (select 1 x) insert into t select x from a",
            "merge t using u on t.a = u.a when matched then update set b = 1",
            "truncate table t",
            "create table t(a int)",
            "alter table t add b int",
            "create unique index i on t(a)",
            "create or alter procedure p as begin transaction; delete from t; commit",
            "create trigger r on t after insert as set xact_abort on",
            "set identity_insert t on insert into t(id) values (1)",
            "if exists (select 1 from t) delete from t",
            "begin delete from t end",
            "grant select on t to u",
            "grant execute on p to u",
        ] {
            assert_eq!(read(sql).unwrap().shape, Shape::Whole, "{sql}");
        }
    }

    #[test]
    fn what_commits_by_itself_is_sent_alone() {
        for (sql, partly) in [
            ("exec p", true),
            ("grant select on t to u exec p", true),
            ("insert into t exec p", true),
            ("execute p @P1", true),
            ("sp_rename 'a', 'b'", true),
            ("backup database d to disk = 'x'", true),
            ("create database d", true),
            ("drop database a, b", true),
            ("alter database d set recovery simple", true),
            ("drop fulltext index on t", false),
            ("dbcc checkident('t', reseed, 5)", true),
            ("update statistics t", false),
            ("insert into openquery(s, 'select a from t') values (1)", true),
            ("delete from t kill 7", true),
            ("bulk insert t from 'x'", true),
            ("alter login l disable", true),
        ] {
            let shape = read(sql).unwrap().shape;
            if sql.starts_with("update") {
                assert_eq!(shape, Shape::Whole, "{sql}");
            } else {
                assert!(
                    matches!(shape, Shape::Alone { partly: is, .. } if is == partly),
                    "{sql}: {shape:?}"
                );
            }
        }
    }

    #[test]
    fn transactions_and_sessions_are_the_tools_own() {
        for sql in [
            "",
            "-- nothing",
            ";",
            "commit",
            "begin tran",
            "begin transaction delete from t commit",
            "delete from t rollback",
            "delete from t; delete from u",
            "save transaction a",
            "set xact_abort off",
            "delete from t set implicit_transactions on",
            "use other",
            "execute as user = 'x'",
            "revert",
            "delete from t\ngo\ndelete from u",
            "select 1 where 'a",
        ] {
            assert!(read(sql).is_err(), "{sql}");
        }
        let names = read("update [My Table] set a = 'text' from dbo.other").unwrap().names;
        assert!(names.contains("my table") && names.contains("other") && !names.contains("text"));
    }
}
