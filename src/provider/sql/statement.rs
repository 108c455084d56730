//! What kind of a statement a text is: whether all of it stands or falls with a transaction, whether it commits by itself,
//! or whether it must not be sent at all. Pure: it reads words, and leaves the grammar to the server.

use std::collections::BTreeSet;

use super::server::Engine;
use super::sqlserver;

/// How a statement is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// In one transaction with its marker.
    Whole,
    /// By itself, between a marker that says it has begun and one that says it is done.
    Alone {
        why: &'static str,
        /// A refusal of the server may leave a part of it.
        partly: bool,
    },
}

/// A statement as far as its words tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub shape: Shape,
    /// Every word and every quoted name, in lower case: tables may be among them.
    pub names: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A bare word, in upper case.
    Word(String),
    /// A quoted name, or a text where double quotes mean one.
    Name(String),
    /// The end of a statement.
    End,
    Other(char),
}

const COMMITS: &str = "it commits by itself";
const NO_BLOCK: &str = "it cannot be in a transaction";
const ITSELF: &str = "it can commit by itself";
const NO_UNDO: &str = "no transaction takes it back";
const HIDDEN: &str = "a comment in it is executed by some versions";

/// Reads a statement; the error says why it is not sent.
pub fn read(sql: &str, engine: Engine) -> Result<Read, String> {
    if engine == Engine::Sqlserver {
        return sqlserver::statement::read(sql);
    }
    let mut shape = Shape::Whole;
    let mut names = BTreeSet::new();
    // What a backslash means in a text depends on the server's mode, and what a comment means on its version: the
    // strictest reading counts.
    for (escapes, comments) in [(true, true), (true, false), (false, true), (false, false)] {
        let lexed = lexed(sql, engine, escapes, comments);
        let mut tokens = lexed.tokens;
        while tokens.last() == Some(&Token::End) {
            tokens.pop();
        }
        if tokens.contains(&Token::End) {
            return Err("more than one statement; write a step for each".to_owned());
        }
        if lexed.executable {
            shape = stricter(shape, alone(HIDDEN, true));
        }
        let words: Vec<&str> = tokens.iter().map(Token::word).collect();
        if words.iter().all(|word| word.is_empty()) {
            // Nothing but a comment of another version.
            if lexed.executable && !comments {
                continue;
            }
            return Err("no statement; write one".to_owned());
        }
        let judged = match engine {
            // The third was read above.
            Engine::Postgres | Engine::Sqlserver => postgres(&words),
            Engine::Mysql => mysql(&words, &tokens),
        }?;
        shape = stricter(shape, judged);
        names.extend(tokens.into_iter().filter_map(|token| match token {
            Token::Word(word) | Token::Name(word) => Some(word.to_lowercase()),
            Token::End | Token::Other(_) => None,
        }));
    }
    Ok(Read { shape, names })
}

impl Token {
    /// The word; nothing of what is none.
    fn word(&self) -> &str {
        match self {
            Self::Word(word) => word,
            Self::Name(_) | Self::End | Self::Other(_) => "",
        }
    }
}

const fn alone(why: &'static str, partly: bool) -> Shape {
    Shape::Alone { why, partly }
}

const fn stricter(one: Shape, other: Shape) -> Shape {
    match (one, other) {
        (Shape::Whole, shape) | (shape, Shape::Whole) => shape,
        (Shape::Alone { why, partly: true }, Shape::Alone { .. }) => alone(why, true),
        (Shape::Alone { .. }, other @ Shape::Alone { .. }) => other,
    }
}

fn own(what: &str) -> Result<Shape, String> {
    Err(format!(
        "{what} begins, ends or changes a transaction or a session, which is the tool's own; take it out"
    ))
}

/// PostgreSQL refuses by itself what cannot be in a transaction (its pages of each command): these are known before.
fn postgres(words: &[&str]) -> Result<Shape, String> {
    let first = words.first().copied().unwrap_or_default();
    let second = words.get(1).copied().unwrap_or_default();
    let has = |word: &str| words.contains(&word);
    Ok(match (first, second) {
        ("COMMIT" | "ROLLBACK", "PREPARED") => alone(NO_BLOCK, false),
        ("BEGIN" | "START" | "COMMIT" | "END" | "ROLLBACK" | "ABORT" | "SAVEPOINT" | "RELEASE", _) => {
            return own(first);
        }
        ("PREPARE", "TRANSACTION") | ("SET", "TRANSACTION") => return own(&format!("{first} {second}")),
        ("SET" | "RESET", "SESSION" | "LOCAL" | "ROLE") if second != "LOCAL" || has("TRANSACTION") => {
            return own(&format!("{first} {second}"));
        }
        ("DISCARD", _) => return own(first),
        ("VACUUM", _) => alone(NO_BLOCK, true),
        ("CLUSTER", _) if words.len() == 1 || (words.len() == 2 && second == "VERBOSE") => alone(NO_BLOCK, true),
        ("REINDEX", _) if has("DATABASE") || has("SYSTEM") || has("SCHEMA") || has("CONCURRENTLY") => {
            alone(NO_BLOCK, true)
        }
        ("CREATE" | "DROP", "DATABASE" | "TABLESPACE" | "SUBSCRIPTION") => alone(NO_BLOCK, false),
        ("ALTER", "SYSTEM" | "SUBSCRIPTION") => alone(NO_BLOCK, false),
        ("ALTER", "DATABASE") if has("TABLESPACE") => alone(NO_BLOCK, false),
        ("CREATE" | "DROP" | "ALTER", _) if has("CONCURRENTLY") => alone(NO_BLOCK, true),
        _ => Shape::Whole,
    })
}

/// What is known to be wholly in a transaction is; all else commits by itself, or may (MySQL Reference Manual, "Statements
/// That Cause an Implicit Commit"; MariaDB Knowledge Base, "SQL statements That Cause an Implicit Commit").
fn mysql(words: &[&str], tokens: &[Token]) -> Result<Shape, String> {
    // A bracket may stand before a select.
    let first = words.iter().copied().find(|word| !word.is_empty()).unwrap_or_default();
    let second = words
        .iter()
        .copied()
        .filter(|word| !word.is_empty())
        .nth(1)
        .unwrap_or_default();
    let has = |word: &str| words.contains(&word);
    let several = tokens.contains(&Token::Other(','));
    Ok(match (first, second) {
        ("START", "TRANSACTION") | ("SET", "TRANSACTION") | ("LOCK" | "UNLOCK", _) => {
            return own(&format!("{first} {second}"));
        }
        ("BEGIN" | "COMMIT" | "ROLLBACK" | "SAVEPOINT" | "RELEASE" | "XA" | "USE", _) => return own(first),
        ("PREPARE" | "DEALLOCATE", _) => return own(first),
        ("SET", _) if has("AUTOCOMMIT") || has("TRANSACTION") || has("SQL_LOG_BIN") => return own(first),
        ("INSERT" | "REPLACE" | "UPDATE" | "DELETE" | "WITH" | "SELECT" | "VALUES" | "TABLE" | "DO", _)
        | ("LOAD", "DATA" | "XML") => Shape::Whole,
        // What is replaced is dropped first.
        ("CREATE", "OR") => alone(COMMITS, true),
        ("CREATE" | "ALTER" | "TRUNCATE" | "RENAME", _) => alone(COMMITS, false),
        // MariaDB drops those that it can.
        ("DROP", _) => alone(COMMITS, several || matches!(second, "DATABASE" | "SCHEMA")),
        ("GRANT" | "REVOKE", _) => alone(COMMITS, true),
        ("CALL" | "EXECUTE", _) => alone(ITSELF, true),
        _ => alone(NO_UNDO, true),
    })
}

struct Lexed {
    tokens: Vec<Token>,
    /// There is a comment that a server may execute.
    executable: bool,
}

/// Words, names and ends of statements; `escapes`: a backslash in a text takes the next character; `comments`: what stands
/// in executable comments is read.
fn lexed(sql: &str, engine: Engine, escapes: bool, comments: bool) -> Lexed {
    let text: Vec<char> = sql.chars().collect();
    let at = |index: usize| text.get(index).copied().unwrap_or('\0');
    let mysql = engine == Engine::Mysql;
    let mut out = Lexed {
        tokens: Vec::new(),
        executable: false,
    };
    let mut inside = false;
    let mut index = 0;
    while index < text.len() {
        let here = at(index);
        let next = at(index + 1);
        if here.is_whitespace() {
            index += 1;
        } else if here == '-' && next == '-' && (!mysql || at(index + 2).is_whitespace() || at(index + 2) == '\0')
            || here == '#' && mysql
        {
            while index < text.len() && at(index) != '\n' {
                index += 1;
            }
        } else if here == '/' && next == '*' {
            let mark = if at(index + 2) == 'M' { 3 } else { 2 };
            if mysql && at(index + mark) == '!' {
                out.executable = true;
                index += mark + 1;
                while at(index).is_ascii_digit() {
                    index += 1;
                }
                inside = true;
                if !comments {
                    index = after_comment(&text, index, false);
                    inside = false;
                }
            } else {
                index = after_comment(&text, index + 2, !mysql);
            }
        } else if inside && here == '*' && next == '/' {
            inside = false;
            index += 2;
        } else if here == '\'' {
            // PostgreSQL reads backslashes only in texts that say so.
            let told = matches!(out.tokens.last(), Some(Token::Word(word)) if word == "E")
                && at(index.wrapping_sub(1)).is_alphabetic();
            let (_, after) = quoted(&text, index, if mysql { escapes } else { told });
            out.tokens.push(Token::Other('\''));
            index = after;
        } else if here == '"' || here == '`' && mysql {
            let (name, after) = quoted(&text, index, escapes && mysql && here == '"');
            out.tokens.push(Token::Name(name));
            index = after;
        } else if here == '$'
            && !mysql
            && let Some(after) = after_dollars(&text, index)
        {
            out.tokens.push(Token::Other('$'));
            index = after;
        } else if here.is_alphabetic() || here == '_' {
            let begin = index;
            while at(index).is_alphanumeric() || at(index) == '_' || at(index) == '$' {
                index += 1;
            }
            let word: String = text.get(begin..index).unwrap_or_default().iter().collect();
            out.tokens.push(Token::Word(word.to_uppercase()));
        } else {
            out.tokens
                .push(if here == ';' { Token::End } else { Token::Other(here) });
            index += 1;
        }
    }
    out
}

/// Where a comment ends; PostgreSQL's may hold others.
fn after_comment(text: &[char], mut index: usize, nests: bool) -> usize {
    let mut depth = 1;
    while index < text.len() {
        match (text.get(index), text.get(index + 1)) {
            (Some('*'), Some('/')) => {
                depth -= 1;
                index += 2;
                if depth == 0 {
                    return index;
                }
            }
            (Some('/'), Some('*')) if nests => {
                depth += 1;
                index += 2;
            }
            _ => index += 1,
        }
    }
    index
}

/// What stands between quotes, and where they end.
fn quoted(text: &[char], begin: usize, escapes: bool) -> (String, usize) {
    let quote = text.get(begin).copied();
    let mut inner = String::new();
    let mut index = begin + 1;
    while let Some(here) = text.get(index).copied() {
        if escapes && here == '\\' {
            inner.extend(text.get(index + 1));
            index += 2;
        } else if Some(here) == quote && text.get(index + 1).copied() == quote {
            inner.push(here);
            index += 2;
        } else if Some(here) == quote {
            return (inner, index + 1);
        } else {
            inner.push(here);
            index += 1;
        }
    }
    (inner, index)
}

/// Where a text between dollars ends, where one begins here.
fn after_dollars(text: &[char], begin: usize) -> Option<usize> {
    let mut end = begin + 1;
    while text.get(end).is_some_and(|char| char.is_alphanumeric() || *char == '_') {
        end += 1;
    }
    // $1 is a parameter.
    if text.get(end) != Some(&'$') || text.get(begin + 1).is_some_and(char::is_ascii_digit) {
        return None;
    }
    let tag = text.get(begin..=end)?;
    let mut index = end + 1;
    while index < text.len() {
        if text.get(index..index + tag.len()) == Some(tag) {
            return Some(index + tag.len());
        }
        index += 1;
    }
    Some(index)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn shape(engine: Engine, sql: &str) -> Shape {
        read(sql, engine)
            .unwrap_or_else(|error| unreachable!("{sql}: {error}"))
            .shape
    }

    #[test]
    fn rows_are_changed_in_a_transaction() {
        for sql in [
            "insert into t values (1)",
            "  /* why */ -- and so\n update t set a = ';' where b = ?;",
            "delete from t where a = 'it''s; begin'",
            "with x as (select 1) select * from x",
            "(select 1)",
        ] {
            assert_eq!(shape(Engine::Mysql, sql), Shape::Whole, "{sql}");
            assert_eq!(shape(Engine::Postgres, sql), Shape::Whole, "{sql}");
        }
        for sql in [
            "create table t(a int)",
            "create index on t(a)",
            "do $x$ begin perform 1; end $x$",
            "do $$ begin commit; end $$",
            "truncate t",
            "select E'it\\'s; ' || $1",
            "select '\\'",
            "/* a /* nested */ comment; */ select 1",
            "set local lock_timeout = 5",
            "refresh materialized view concurrently v",
            "update t set \"vacuum\" = 1",
        ] {
            assert_eq!(shape(Engine::Postgres, sql), Shape::Whole, "{sql}");
        }
    }

    #[test]
    fn what_commits_by_itself_is_sent_alone() {
        for (sql, partly) in [
            ("create table t(a int)", false),
            ("alter table t add b int", false),
            ("drop table t", false),
            ("drop table t, u", true),
            ("drop database d", true),
            ("create or replace table t(a int)", true),
            ("truncate t", false),
            ("call p()", true),
            ("grant select on t to u", true),
            ("set global max_connections = 5", true),
            ("analyze table t", true),
            ("insert into t values (1) /*!40000 , (2) */", true),
            ("/*!50003 create */ table t(a int)", true),
            ("/*M!100100 insert */ into t values (1)", true),
        ] {
            let found = shape(Engine::Mysql, sql);
            assert!(
                matches!(found, Shape::Alone { partly: is, .. } if is == partly),
                "{sql}: {found:?}"
            );
        }
        for (sql, partly) in [
            ("vacuum t", true),
            ("create database d", false),
            ("create unique index concurrently i on t(a)", true),
            ("drop index concurrently i", true),
            ("alter system set work_mem = '1MB'", false),
            ("alter table t detach partition p concurrently", true),
            ("reindex schema s", true),
            ("cluster", true),
            ("commit prepared 'x'", false),
        ] {
            let found = shape(Engine::Postgres, sql);
            assert!(
                matches!(found, Shape::Alone { partly: is, .. } if is == partly),
                "{sql}: {found:?}"
            );
        }
    }

    #[test]
    fn transactions_and_sessions_are_the_tools_own() {
        for sql in [
            "begin",
            "commit",
            "rollback",
            "savepoint a",
            "start transaction",
            "select 1; delete from t",
            "delete from t; -- \n commit",
            "",
            " -- nothing\n",
            ";",
        ] {
            for engine in [Engine::Postgres, Engine::Mysql] {
                assert!(read(sql, engine).is_err(), "{sql}");
            }
        }
        for sql in [
            "set autocommit = 0",
            "set @@session.autocommit=1",
            "set @a = 1, autocommit = 1",
            "/*!40000 commit */",
            "/*! select 1 */; drop table t",
            // With backslashes as they are by default it is one text; without, it is two statements.
            "select 'a\\'; delete from t; -- '",
            "xa commit 'x'",
            "lock tables t write",
            "set sql_log_bin = 0",
            "use other",
            "begin not atomic insert into t values (1); end",
            "# a comment\ncommit",
            "/**/commit",
        ] {
            assert!(read(sql, Engine::Mysql).is_err(), "{sql}");
        }
        for sql in [
            "prepare transaction 'x'",
            "set transaction read only",
            "set session characteristics as transaction read only",
            "end",
            "abort",
            "discard all",
        ] {
            assert!(read(sql, Engine::Postgres).is_err(), "{sql}");
        }
    }

    #[test]
    fn names_are_seen_also_in_quotes() {
        let names = read("update `My Table` join other set a = 'text'", Engine::Mysql)
            .unwrap()
            .names;
        assert!(
            names.contains("my table") && names.contains("other") && !names.contains("text"),
            "{names:?}"
        );
    }
}
