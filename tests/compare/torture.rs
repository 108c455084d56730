//! Every type at its extremes, between every pair of engines: the same data is equal, and the smallest change of any value
//! is found at its row and column.

use pointsman::provider::sql::compare::outcome::{Level, TableOutcome, Verdict};
use pointsman::provider::sql::compare::wish::Wish;
use pointsman::provider::sql::compare::work::Hashing;

use crate::stage::{Base, Kind, PAIRS, Value, lines, told, told_by};

const COLUMNS: [(&str, [&str; 3]); 16] = [
    (
        "id",
        [
            "bigint primary key",
            "bigint primary key",
            "integer primary key not null",
        ],
    ),
    ("small", ["smallint", "smallint", "smallint"]),
    ("big", ["bigint", "bigint", "bigint"]),
    ("yes", ["boolean", "boolean", "boolean"]),
    ("amount", ["decimal(15,4)", "numeric(15,4)", "decimal(15,4)"]),
    ("factor", ["double", "double precision", "double"]),
    ("ratio", ["float", "real", "real"]),
    ("code", ["char(8)", "char(8)", "char(8)"]),
    ("name", ["varchar(100)", "varchar(100)", "varchar(100)"]),
    ("words", ["text", "text", "text"]),
    ("raw", ["varbinary(100)", "bytea", "blob"]),
    ("day", ["date", "date", "date"]),
    ("clock", ["time(6)", "time(6)", "time"]),
    ("moment", ["datetime(6)", "timestamp(6)", "datetime"]),
    ("ident", ["char(36)", "uuid", "uuid"]),
    ("doc", ["json", "jsonb", "json"]),
];

fn create(kind: Kind, name: &str) -> String {
    let index = match kind {
        Kind::Maria => 0,
        Kind::Postgres => 1,
        Kind::Sqlite => 2,
        Kind::Sqlserver => panic!("it has a table of its own"),
    };
    let columns: Vec<String> = COLUMNS
        .iter()
        .map(|(column, types)| format!("{column} {}", types[index]))
        .collect();
    format!("create table {name}({})", columns.join(", "))
}

/// A row that is plain in every column.
fn plain(id: i64) -> Vec<Value> {
    [
        Value::plain(id),
        Value::plain(7),
        Value::plain(8),
        Value::plain("true"),
        Value::plain("9.5000"),
        Value::plain("1.5e0"),
        Value::plain("2.5e0"),
        Value::text("code"),
        Value::text("name"),
        Value::text("words"),
        Value::Bytes(vec![1, 2, 3]),
        Value::text("2026-01-02"),
        Value::text("03:04:05.000006"),
        Value::text("2026-01-02 03:04:05.000006"),
        Value::text("00112233-4455-6677-8899-aabbccddeeff"),
        Value::text(r#"{"a": 1, "b": [1, 2.5, "x"]}"#),
    ]
    .to_vec()
}

/// Column, the source's value, the target's, and whether they are one value.
fn cases() -> Vec<(&'static str, Value, Value, bool)> {
    let text = Value::text;
    let plain = |text: &str| Value::plain(text);
    vec![
        ("small", plain("-32768"), plain("-32768"), true),
        ("small", plain("32767"), plain("32766"), false),
        ("big", plain("9223372036854775807"), plain("9223372036854775807"), true),
        (
            "big",
            plain("-9223372036854775807"),
            plain("-9223372036854775806"),
            false,
        ),
        ("big", plain("0"), Value::Null, false),
        ("yes", plain("true"), plain("true"), true),
        ("yes", plain("false"), plain("true"), false),
        ("yes", Value::Null, plain("false"), false),
        ("amount", plain("99999999999.9999"), plain("99999999999.9999"), true),
        ("amount", plain("-0.0001"), plain("0.0001"), false),
        ("amount", plain("12345678901.2345"), plain("12345678901.2346"), false),
        ("amount", plain("0"), plain("0.0000"), true),
        (
            "factor",
            plain("1.7976931348623157e308"),
            plain("1.7976931348623157e308"),
            true,
        ),
        (
            "factor",
            plain("2.2250738585072014e-308"),
            plain("2.2250738585072014e-308"),
            true,
        ),
        // One unit in the last place.
        ("factor", plain("0.1e0"), plain("0.10000000000000002e0"), false),
        ("factor", plain("-0.0e0"), plain("0.0e0"), true),
        ("ratio", plain("0.5e0"), plain("0.5e0"), true),
        ("ratio", plain("16777215e0"), plain("16777214e0"), false),
        ("code", text(""), text(""), true),
        ("code", text(""), Value::Null, false),
        ("code", text("ab"), text("aB"), false),
        ("name", text("trailing "), text("trailing "), true),
        ("name", text("trailing "), text("trailing"), false),
        ("name", text(""), Value::Null, false),
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
        ("words", text("line\nline\ttab\r\n"), text("line\nline\ttab\r\n"), true),
        ("words", text("line\n"), text("line\r\n"), false),
        ("words", text(" "), text(""), false),
        (
            "raw",
            Value::Bytes(vec![0, 255, 0x2c, 0x27]),
            Value::Bytes(vec![0, 255, 0x2c, 0x27]),
            true,
        ),
        ("raw", Value::Bytes(vec![0]), Value::Bytes(vec![0, 0]), false),
        ("raw", Value::Bytes(Vec::new()), Value::Null, false),
        ("day", text("1000-01-01"), text("1000-01-01"), true),
        ("day", text("9999-12-31"), text("9999-12-30"), false),
        ("day", text("2024-02-29"), text("2024-02-29"), true),
        ("clock", text("23:59:59.999999"), text("23:59:59.999999"), true),
        ("clock", text("00:00:00"), text("00:00:00.000001"), false),
        (
            "moment",
            text("9999-12-31 23:59:59.999999"),
            text("9999-12-31 23:59:59.999999"),
            true,
        ),
        (
            "moment",
            text("2026-01-02 03:04:05"),
            text("2026-01-02 03:04:05.000001"),
            false,
        ),
        (
            "moment",
            text("2026-01-02 03:04:05"),
            text("2026-01-02 04:04:05"),
            false,
        ),
        (
            "ident",
            text("FFEEDDCC-bbaa-9988-7766-554433221100"),
            text("ffeeddcc-bbaa-9988-7766-554433221100"),
            true,
        ),
        (
            "ident",
            text("ffeeddcc-bbaa-9988-7766-554433221100"),
            text("ffeeddcc-bbaa-9988-7766-554433221101"),
            false,
        ),
        (
            "doc",
            text(r#"{"b":[1,2.50,"x"],"a":1e0}"#),
            text(r#"{"a": 1, "b": [1, 2.5, "x"]}"#),
            true,
        ),
        ("doc", text(r#"{"a": null}"#), text(r#"{}"#), false),
        (
            "doc",
            text(r#"{"a": 12345678901234567890.1}"#),
            text(r#"{"a": 12345678901234567890.2}"#),
            false,
        ),
        ("doc", text("null"), Value::Null, false),
    ]
}

#[tokio::test]
async fn every_type_at_its_extremes() {
    for (one, other) in PAIRS {
        let (Some(source), Some(target)) = (Base::new(one).await, Base::new(other).await) else {
            return;
        };
        source.run(&create(one, "torture")).await;
        target.run(&create(other, "torture")).await;
        let (mut here, mut there, mut expected) = (Vec::new(), Vec::new(), Vec::new());
        for (at, (column, value, changed, same)) in cases().into_iter().enumerate() {
            let id = i64::try_from(at).unwrap() - 20;
            let index = COLUMNS.iter().position(|(name, _)| *name == column).unwrap();
            let mut row = plain(id);
            row[index] = value;
            here.push(row);
            let mut row = plain(id);
            row[index] = changed;
            there.push(row);
            // There an identifier is a text and a document is one too: they are compared byte by byte.
            let texts = one == Kind::Maria && other == Kind::Maria && matches!(column, "ident" | "doc");
            if !same || texts {
                expected.push(format!("changed {id} {column}"));
            }
        }
        source.insert("torture", &here).await;
        target.insert("torture", &there).await;
        expected.sort();
        let outcome = told(&source, &target, vec![Wish::parse("torture")], Level::Rows).await;
        let table = &outcome.tables[0];
        assert_eq!(table.schema, Vec::<String>::new(), "{one:?} {other:?}");
        assert_eq!(table.problems, Vec::<String>::new(), "{one:?} {other:?}");
        assert_eq!(lines(&table.differences), expected, "{one:?} {other:?}");
        assert_eq!(outcome.verdict(), Verdict::Different);
        let pushed = hashed_by_the_servers(&source, &target).await;
        expected.retain(|line| !READ.iter().any(|column| line.ends_with(column)));
        assert_eq!(lines(&pushed.differences), expected, "{one:?} {other:?}");
        // Without what was changed everything is equal, and it is said what is compared in another way than byte by byte.
        target.run("drop table torture").await;
        target.run(&create(other, "torture")).await;
        target.insert("torture", &here).await;
        let pushed = hashed_by_the_servers(&source, &target).await;
        assert_eq!(pushed.verdict(), Verdict::Equal, "{one:?} {other:?}");
        let outcome = told(&source, &target, vec![Wish::parse("torture")], Level::Rows).await;
        assert_eq!(
            outcome.verdict(),
            Verdict::Equal,
            "{one:?} {other:?}: {}",
            outcome.json()
        );
        for words in ["factor: floating point", "doc: JSON", "code: spaces at the end"] {
            let said = outcome.tables[0].notes.iter().any(|note| note.contains(words));
            // There a document is a text.
            let silent = words == "doc: JSON" && [one, other] == [Kind::Maria, Kind::Maria];
            assert!(
                said != silent,
                "{one:?} {other:?} {words}: {:?}",
                outcome.tables[0].notes
            );
        }
    }
}

/// Columns that no engine, or not every one, can write as they are compared.
const READ: [&str; 5] = ["factor", "ratio", "clock", "doc", "ident"];

/// What the servers can hash themselves, hashed by them.
async fn hashed_by_the_servers(source: &Base, target: &Base) -> TableOutcome {
    let wish = Wish {
        ignore: READ.map(str::to_owned).to_vec(),
        ..Wish::parse("torture")
    };
    let outcome = told_by(source, target, vec![wish], Level::Rows, Hashing::Servers).await;
    assert_eq!(outcome.problems, Vec::<String>::new());
    let table = outcome.tables.into_iter().next().unwrap();
    let instead = table.notes.iter().find(|note| note.contains("read instead"));
    assert_eq!(instead, None, "a server hashes another text than it sends");
    for (base, (_, words, _)) in [source, target].into_iter().zip(&table.means) {
        let pushes = base.kind() != Kind::Sqlite;
        assert_eq!(words.contains("hashed by the server"), pushes, "{words}");
    }
    table
}
