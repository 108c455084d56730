//! SQL Server against PostgreSQL, as far as the peer goes: it hashes nothing as SQL Server would, has no microseconds, no
//! NVARCHAR(MAX), no rowversion, no times that it can send, no COUNT_BIG of a whole table, and nothing of the catalogue that tells who writes or what is hidden. That a
//! script answers by what Microsoft documents; it was never held against a SQL Server.

use std::sync::{Arc, Mutex};

use pointsman::provider::sql::compare::outcome::{Level, Outcome, Verdict};
use pointsman::provider::sql::compare::wish::Wish;

use crate::mssql::front::{Answer, row};
use crate::mssql::{Script, Stage};
use crate::stage::{Base, Kind, Value, lines, told};

/// What the catalogue is to say.
#[derive(Debug, Clone, Default)]
pub struct Says {
    /// Of each look whether the database is closed to writes, by which state; the last one stays.
    closed: Vec<Option<&'static str>>,
    /// Of each look at the log how many bytes it has; nothing where that may not be asked.
    log: Vec<Option<u64>>,
    /// Something is being written.
    moving: bool,
    policy: bool,
    masked: bool,
    /// What it says of the database is NULL.
    null: bool,
}

/// A script that says it.
#[derive(Default)]
pub struct Told(Mutex<Says>);

fn next<T: Clone + Default>(of: &mut Vec<T>) -> T {
    if of.len() > 1 {
        of.remove(0)
    } else {
        of.first().cloned().unwrap_or_default()
    }
}

impl Script for Told {
    fn answer(&self, _session: u64, sql: &str) -> Option<Answer> {
        let mut says = self.0.lock().unwrap();
        let tables = sql.matches("object_id('").count();
        let each = |of: &dyn Fn(usize) -> Vec<Option<String>>| Answer::Rows((0..tables).map(of).collect());
        if sql.starts_with("if exists (select 1 from sys.databases") {
            return Some(Answer::Done);
        }
        if sql.contains("sys.security_policies") {
            return Some(Answer::Rows(if says.policy {
                vec![row(["tenants"])]
            } else {
                Vec::new()
            }));
        }
        if sql.contains("'UNMASK'") {
            return Some(Answer::Rows(vec![row([
                "16",
                "1",
                if says.masked { "0" } else { "1" },
            ])]));
        }
        if sql.contains("sys.masked_columns") {
            return Some(Answer::Rows(vec![row(["name"])]));
        }
        if sql.contains("sys.external_tables") {
            return Some(Answer::Rows(Vec::new()));
        }
        // How many rows there are, for how many buckets are made of them.
        if sql.starts_with("select count_big(*) from") {
            return Some(Answer::Rows(vec![row(["4"])]));
        }
        if sql.contains("' closed '") {
            return Some(match next(&mut says.closed) {
                None => Answer::Rows(Vec::new()),
                Some(_) if says.null => each(&|_| vec![None, Some("0".to_owned())]),
                Some(state) => each(&|table| row([&format!("{table} closed {state}"), "0"])),
            });
        }
        if sql.contains("dm_io_virtual_file_stats") {
            let moving = if says.moving { "1" } else { "0" };
            return Some(match next(&mut says.log) {
                None => Answer::Error(300, "VIEW SERVER STATE permission was denied on object 'server'"),
                Some(bytes) => each(&|table| row([&format!("{table} {bytes}"), moving])),
            });
        }
        None
    }
}

const COLUMNS: [(&str, &str, &str); 10] = [
    ("id", "bigint not null primary key", "bigint primary key"),
    ("small", "smallint", "smallint"),
    ("yes", "bit", "boolean"),
    ("amount", "decimal(15,4)", "numeric(15,4)"),
    ("cost", "money", "numeric(19,4)"),
    ("factor", "float", "double precision"),
    ("code", "nchar(8)", "char(8)"),
    ("name", "nvarchar(100)", "varchar(100)"),
    ("raw", "varbinary(100)", "bytea"),
    ("day", "date", "date"),
];

fn create(kind: Kind, extra: &str) -> String {
    let each: Vec<String> = COLUMNS
        .iter()
        .map(|(name, mssql, postgres)| format!("{name} {}", if kind == Kind::Sqlserver { mssql } else { postgres }))
        .collect();
    format!("create table torture({}{extra})", each.join(", "))
}

fn flag(kind: Kind, yes: bool) -> Value {
    match (kind, yes) {
        (Kind::Sqlserver, true) => Value::plain("1"),
        (Kind::Sqlserver, false) => Value::plain("0"),
        (_, yes) => Value::plain(yes),
    }
}

fn plain(kind: Kind, id: i64) -> Vec<Value> {
    vec![
        Value::plain(id),
        Value::plain(7),
        flag(kind, true),
        Value::plain("9.5000"),
        Value::plain("12.3456"),
        Value::plain("1.5e0"),
        Value::text("code"),
        Value::text("name"),
        Value::Bytes(vec![1, 2, 3]),
        Value::text("2026-01-02"),
    ]
}

/// Column, what SQL Server has, what PostgreSQL has, and whether they are one value.
fn cases() -> Vec<(&'static str, Value, Value, bool)> {
    let text = Value::text;
    let plain = |text: &str| Value::plain(text);
    let bytes = |bytes: &[u8]| Value::Bytes(bytes.to_vec());
    let (mssql, postgres) = (|yes| flag(Kind::Sqlserver, yes), |yes| flag(Kind::Postgres, yes));
    vec![
        ("small", plain("-32768"), plain("-32768"), true),
        ("small", plain("32767"), plain("32766"), false),
        ("small", plain("0"), Value::Null, false),
        ("yes", mssql(false), postgres(false), true),
        ("yes", mssql(false), postgres(true), false),
        ("yes", Value::Null, postgres(false), false),
        ("amount", plain("99999999999.9999"), plain("99999999999.9999"), true),
        ("amount", plain("-0.0001"), plain("0.0001"), false),
        ("amount", plain("-0.0001"), plain("-0.0001"), true),
        ("amount", plain("12345678901.2345"), plain("12345678901.2346"), false),
        ("amount", Value::Null, plain("0"), false),
        // Its text has two digits, the value has four.
        ("cost", plain("12.3456"), plain("12.3457"), false),
        (
            "cost",
            plain("-922337203685477.5808"),
            plain("-922337203685477.5808"),
            true,
        ),
        (
            "cost",
            plain("922337203685477.5807"),
            plain("922337203685477.5806"),
            false,
        ),
        (
            "factor",
            plain("1.7976931348623157e308"),
            plain("1.7976931348623157e308"),
            true,
        ),
        ("factor", plain("0.1e0"), plain("0.10000000000000002e0"), false),
        ("factor", plain("-0.0e0"), plain("0.0e0"), true),
        ("code", text(""), text(""), true),
        ("code", text(""), Value::Null, false),
        ("code", text("ab"), text("aB"), false),
        ("name", text("trailing "), text("trailing "), true),
        ("name", text("trailing "), text("trailing"), false),
        ("name", text(""), Value::Null, false),
        ("name", Value::Null, text(""), false),
        ("name", text("NULL"), Value::Null, false),
        ("name", text("N"), Value::Null, false),
        ("name", text("ä"), text("a\u{308}"), false),
        ("name", text("straße 日本語 🚂"), text("straße 日本語 🚂"), true),
        (
            "name",
            text("comma, 5:colon 'quote' \\back"),
            text("comma, 5:colon 'quote' \\back"),
            true,
        ),
        ("raw", bytes(&[0, 255, 0x2c]), bytes(&[0, 255, 0x2c]), true),
        ("raw", bytes(&[0]), bytes(&[0, 0]), false),
        ("raw", bytes(&[]), Value::Null, false),
        ("raw", bytes(&[]), bytes(&[]), true),
        ("day", text("1000-01-01"), text("1000-01-01"), true),
        ("day", text("9999-12-31"), text("9999-12-30"), false),
        ("day", text("2024-02-29"), text("2024-02-29"), true),
    ]
}

/// Sides that are both SQL Server's own state, by a script.
async fn sides(says: Says) -> Option<(Base, Base)> {
    let stage = Stage::new(Arc::new(Told(Mutex::new(says))))?;
    Some((Base::Peer(stage), Base::new(Kind::Postgres).await?))
}

fn closed() -> Says {
    Says {
        closed: vec![Some("5 2026-01-01")],
        ..Says::default()
    }
}

async fn rows(source: &Base, target: &Base) -> Outcome {
    told(source, target, vec![Wish::parse("torture")], Level::Rows).await
}

#[tokio::test]
async fn every_type_that_the_peer_can_send() {
    let Some((mssql, postgres)) = sides(closed()).await else {
        return;
    };
    mssql.run(&create(Kind::Sqlserver, "")).await;
    postgres.run(&create(Kind::Postgres, "")).await;
    let (mut here, mut there, mut same, mut expected) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (at, (column, value, changed, equal)) in cases().into_iter().enumerate() {
        let id = i64::try_from(at).unwrap() - 20;
        let index = COLUMNS.iter().position(|(name, ..)| *name == column).unwrap();
        let put = |kind, value: &Value| {
            let mut row = plain(kind, id);
            row[index] = value.clone();
            row
        };
        here.push(put(Kind::Sqlserver, &value));
        // A flag is spelt in two ways.
        let again = match (column, &value) {
            ("yes", Value::Plain(text)) => flag(Kind::Postgres, text == "1"),
            _ => value.clone(),
        };
        same.push(put(Kind::Postgres, &again));
        there.push(put(Kind::Postgres, &changed));
        if !equal {
            expected.push(format!("changed {id} {column}"));
        }
    }
    // Two errors that cancel, two values that changed places, a NULL that moved; one that is missing, one too many.
    for (id, one, other) in [
        (100, "1.0000", "2.0000"),
        (101, "2.0000", "1.0000"),
        (102, "5.0000", "5.0000"),
    ] {
        let row = |kind, amount: &str| {
            let mut row = plain(kind, id);
            row[3] = Value::plain(amount);
            row
        };
        here.push(row(Kind::Sqlserver, one));
        same.push(row(Kind::Postgres, one));
        if id == 102 {
            expected.push("missing 102".to_owned());
        } else {
            there.push(row(Kind::Postgres, other));
            expected.push(format!("changed {id} amount"));
        }
    }
    let mut moved = plain(Kind::Sqlserver, 103);
    moved[6] = Value::Null;
    here.push(moved.clone());
    moved[2] = flag(Kind::Postgres, true);
    same.push(moved.clone());
    moved.swap(6, 7);
    there.push(moved);
    expected.push("changed 103 code,name".to_owned());
    there.push(plain(Kind::Postgres, i64::MAX));
    expected.push(format!("extra {}", i64::MAX));
    mssql.insert("torture", &here).await;
    postgres.insert("torture", &there).await;
    expected.sort();
    for (source, target) in [(&mssql, &postgres), (&postgres, &mssql)] {
        let outcome = rows(source, target).await;
        let table = &outcome.tables[0];
        assert_eq!(table.schema, Vec::<String>::new());
        assert_eq!(table.problems, Vec::<String>::new());
        let mut wanted: Vec<String> = expected
            .iter()
            .map(|line| match (line.split_once(' '), source.kind()) {
                (Some(("missing", key)), Kind::Postgres) => format!("extra {key}"),
                (Some(("extra", key)), Kind::Postgres) => format!("missing {key}"),
                _ => line.clone(),
            })
            .collect();
        wanted.sort();
        assert_eq!(lines(&table.differences), wanted);
        assert_eq!(outcome.verdict(), Verdict::Different);
    }
    postgres.run("delete from torture").await;
    postgres.insert("torture", &same).await;
    for level in [Level::Rows, Level::Checksum] {
        let outcome = told(&mssql, &postgres, vec![Wish::parse("torture")], level).await;
        assert_eq!(outcome.verdict(), Verdict::Equal, "{}", outcome.json());
        assert_eq!(outcome.rows(), here.len() as u64);
        let said = |words: &str| outcome.notes.iter().any(|note| note.contains(words));
        assert!(
            said("source: nobody wrote meanwhile, by the database being READ_ONLY"),
            "{:?}",
            outcome.notes
        );
    }
}

/// One row on both sides, and what is told of it.
async fn watched(says: Says) -> Option<Outcome> {
    let (mssql, postgres) = sides(says).await?;
    for base in [&mssql, &postgres] {
        base.run(&create(base.kind(), "")).await;
        base.insert("torture", &[plain(base.kind(), 1)]).await;
    }
    Some(rows(&mssql, &postgres).await)
}

#[tokio::test]
async fn nothing_is_proven_that_somebody_could_have_written() {
    let open = Says {
        log: vec![Some(512)],
        ..Says::default()
    };
    let cases = [
        (closed(), true, "nobody wrote"),
        (open.clone(), true, "nobody wrote"),
        // It was opened, or it is another session's: nobody was there all the time.
        (
            Says {
                closed: vec![Some("5 2026-01-01"), Some("6 2026-01-02")],
                ..Says::default()
            },
            false,
            "somebody wrote to the tables",
        ),
        (
            Says {
                closed: vec![Some("5 2026-01-01"), None],
                ..open.clone()
            },
            false,
            "somebody wrote to the tables",
        ),
        (
            Says {
                log: vec![Some(512), Some(1_024)],
                ..Says::default()
            },
            false,
            "somebody wrote to the tables",
        ),
        (
            Says {
                moving: true,
                ..open.clone()
            },
            false,
            "something was being written",
        ),
        (Says::default(), false, "which takes VIEW SERVER STATE"),
        (
            Says {
                log: vec![Some(512), None],
                ..Says::default()
            },
            false,
            "could not be asked at the end",
        ),
        (
            Says { null: true, ..closed() },
            false,
            "nothing tells whether somebody wrote",
        ),
        (
            Says {
                policy: true,
                ..closed()
            },
            false,
            "security policy tenants hides rows",
        ),
        (
            Says {
                masked: true,
                ..closed()
            },
            false,
            "column name is masked",
        ),
    ];
    // Most of the time is spent waiting for what PostgreSQL counts late.
    let asked = cases.into_iter().map(|(says, proven, words)| async move {
        let Some(outcome) = watched(says.clone()).await else {
            return;
        };
        let verdict = if proven { Verdict::Equal } else { Verdict::Unproven };
        assert_eq!(outcome.verdict(), verdict, "{says:?}: {}", outcome.json());
        assert!(
            outcome.json().to_string().contains(words),
            "{says:?}: {}",
            outcome.json()
        );
    });
    futures::future::join_all(asked).await;
}

#[tokio::test]
async fn rows_are_told_apart_without_a_whole_key() {
    let make = |base: &Base, key: &str| {
        let text = if base.kind() == Kind::Sqlserver {
            "nvarchar(40)"
        } else {
            "varchar(40)"
        };
        format!("create table torture(name {text} not null{key}, amount decimal(12,2))")
    };
    let row = |name: &str, amount: &str| vec![Value::text(name), Value::plain(amount)];
    let here = [row("a", "1.00"), row("ä", "2.00"), row("B", "3.00"), row("c d", "4.00")];
    let there = [
        row("a", "1.00"),
        row("ä", "2.01"),
        row("b2", "3.00"),
        row("c d", "4.00"),
    ];
    for (key, wanted) in [
        (
            " primary key",
            vec![r#"changed "ä" amount"#, r#"extra "b2""#, r#"missing "B""#],
        ),
        (
            "",
            vec![
                r#"extra "b2","3.00""#,
                r#"extra "ä","2.01""#,
                r#"missing "B","3.00""#,
                r#"missing "ä","2.00""#,
            ],
        ),
    ] {
        let Some((mssql, postgres)) = sides(closed()).await else {
            return;
        };
        for (base, rows) in [(&mssql, &here), (&postgres, &there)] {
            base.run(&make(base, key)).await;
            base.insert("torture", rows).await;
        }
        let outcome = rows(&mssql, &postgres).await;
        assert_eq!(lines(&outcome.tables[0].differences), wanted, "{}", outcome.json());
    }
}
