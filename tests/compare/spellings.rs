//! One value in several spellings, and keys, types and sessions that engines have in ways of their own.

use std::time::Duration;

use pointsman::provider::sql::compare::cursor::Range;
use pointsman::provider::sql::compare::dialect::{Ask, Bucket, Field, named};
use pointsman::provider::sql::compare::form::Form;
use pointsman::provider::sql::compare::kind::{Column, Kind as Holds, TableName, Trait};
use pointsman::provider::sql::compare::outcome::{Level, Outcome, Verdict};
use pointsman::provider::sql::compare::side::Work;
use pointsman::provider::sql::compare::wish::Wish;
use pointsman::provider::sql::compare::work::{Hashing, Sums, Transport};

use crate::stage::{Base, Kind, lines, told, told_by};

async fn pair(one: Kind, other: Kind) -> Option<(Base, Base)> {
    Some((Base::new(one).await?, Base::new(other).await?))
}

async fn compared(source: &Base, target: &Base) -> Outcome {
    told(source, target, vec![Wish::parse("t")], Level::Rows).await
}

/// By every way of hashing the same rows differ.
async fn differ(source: &Base, target: &Base, expected: &[&str]) {
    for hashing in Hashing::ALL {
        let outcome = told_by(source, target, vec![Wish::parse("t")], Level::Rows, hashing).await;
        assert_eq!(outcome.problems, [""; 0], "{hashing:?}: {}", outcome.json());
        assert_eq!(outcome.tables[0].problems, [""; 0], "{hashing:?}");
        assert_eq!(
            lines(&outcome.tables[0].differences),
            expected,
            "{hashing:?}: {}",
            outcome.json()
        );
    }
}

#[tokio::test]
async fn spans_of_time_are_long_and_negative() {
    let rows =
        "(1, '-838:59:59'), (2, '838:59:59'), (3, '-00:00:01'), (4, '100:00:00'), (5, '00:00:00'), (6, '-09:00:00')";
    let insert = format!("insert into t values {rows}");
    for (one, other, types) in [
        (Kind::Maria, Kind::Maria, ["time", "time(6)"]),
        (Kind::Maria, Kind::Postgres, ["time(3)", "interval"]),
        (Kind::Sqlite, Kind::Maria, ["time", "time"]),
    ] {
        let Some((source, target)) = pair(one, other).await else {
            return;
        };
        for (base, kind) in [(&source, types[0]), (&target, types[1])] {
            base.run(&format!("create table t(id bigint not null primary key, span {kind})"))
                .await;
            base.run(&insert).await;
        }
        differ(&source, &target, &[]).await;
        target.run("update t set span = '-838:59:58' where id = 1").await;
        target.run("update t set span = '00:00:01' where id = 3").await;
        differ(&source, &target, &["changed 1 span", "changed 3 span"]).await;
    }
}

#[tokio::test]
async fn a_uuid_is_one_value_however_it_is_spelled() {
    let known = "00112233-4455-6677-8899-aabbccddee";
    for (one, other, text) in [
        (Kind::Postgres, Kind::Postgres, "char(40)"),
        (Kind::Postgres, Kind::Maria, "varchar(40)"),
        (Kind::Postgres, Kind::Maria, "char(40)"),
        (Kind::Postgres, Kind::Sqlite, "text"),
    ] {
        let Some((source, target)) = pair(one, other).await else {
            return;
        };
        source
            .run("create table t(ident uuid not null primary key, n int)")
            .await;
        target
            .run(&format!("create table t(ident {text} not null primary key, n int)"))
            .await;
        source
            .run(&format!(
                "insert into t values ('{known}01', 1), ('{known}02', 1), ('{known}03', 1), ('{known}04', 1)"
            ))
            .await;
        let bare = known.replace('-', "");
        target
            .run(&format!(
                "insert into t values ('{known}01', 1), ('{}02', 1), ('{bare}03', 1), ('{{{known}04}}', 1)",
                known.to_uppercase()
            ))
            .await;
        differ(&source, &target, &[]).await;
        let outcome = compared(&source, &target).await;
        let said = outcome.tables[0]
            .notes
            .iter()
            .any(|note| note.starts_with("ident:") && note.contains("dashes"));
        assert!(said, "{:?}", outcome.tables[0].notes);
        target
            .run(&format!("update t set n = 2 where ident = '{bare}03'"))
            .await;
        let changed = format!("changed \"{known}03\" n");
        differ(&source, &target, &[&changed]).await;
    }
}

#[tokio::test]
async fn a_key_that_both_sides_have_tells_rows_apart() {
    for (one, other) in [
        (Kind::Maria, Kind::Postgres),
        (Kind::Postgres, Kind::Maria),
        (Kind::Maria, Kind::Maria),
        (Kind::Sqlite, Kind::Postgres),
    ] {
        let Some((source, target)) = pair(one, other).await else {
            return;
        };
        for (base, uniques) in [(&source, ["b", "a"]), (&target, ["a", "c"])] {
            base.run("create table t(a bigint not null, b bigint not null, c bigint not null, n bigint)")
                .await;
            // The first that an engine names is another one on each side.
            for (place, column) in uniques.iter().enumerate() {
                base.run(&format!("create unique index i{place}_{column} on t({column})"))
                    .await;
            }
            base.run("insert into t values (1, 10, 100, 0), (2, 20, 200, 0)").await;
        }
        target.run("update t set n = 1 where a = 2").await;
        let outcome = compared(&source, &target).await;
        assert_eq!(outcome.tables[0].schema, [""; 0], "{one:?} {other:?}");
        assert_eq!(outcome.tables[0].key, ["a"]);
        differ(&source, &target, &["changed 2 n"]).await;
    }
    // Primary keys that are not the same are a difference, whatever else is unique.
    let Some((source, target)) = pair(Kind::Postgres, Kind::Maria).await else {
        return;
    };
    source
        .run("create table t(a bigint primary key, b bigint not null unique)")
        .await;
    target
        .run("create table t(a bigint not null unique, b bigint primary key)")
        .await;
    let outcome = compared(&source, &target).await;
    assert_eq!(outcome.tables[0].schema, ["the source's key is (a), the target's (b)"]);
}

#[tokio::test]
async fn a_domain_over_a_domain_is_what_it_is_made_of() {
    let Some((source, target)) = pair(Kind::Maria, Kind::Postgres).await else {
        return;
    };
    target
        .run(
            "create domain money_of as numeric(12,2); create domain price as money_of check (value >= 0); \
             create domain list_price as price; create domain ident as bigint; create domain order_ident as ident not null",
        )
        .await;
    source
        .run("create table t(id bigint primary key, amount decimal(12,2))")
        .await;
    target
        .run("create table t(id order_ident primary key, amount list_price)")
        .await;
    for base in [&source, &target] {
        base.run("insert into t values (1, 1.50), (2, 2)").await;
    }
    let outcome = compared(&source, &target).await;
    assert_eq!(outcome.verdict(), Verdict::Equal, "{}", outcome.json());
    assert_eq!(outcome.tables[0].notes, [""; 0]);
    target.run("update t set amount = 2.01 where id = 2").await;
    differ(&source, &target, &["changed 2 amount"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wrote_and_then_only_reads_has_written() {
    let Some((source, target)) = pair(Kind::Postgres, Kind::Postgres).await else {
        return;
    };
    for base in [&source, &target] {
        base.run("create table t(id bigint primary key, n int)").await;
        base.run("insert into t select i, 0 from generate_series(1, 50000) i")
            .await;
    }
    let writer = target.session().await;
    // What it writes first is counted at once; what follows within a second is not.
    writer.run("create table other(n int)").await;
    let holder = source.session().await;
    holder.run("begin; lock table t in access exclusive mode").await;
    let writing = async {
        // The comparison waits for the lock: its watch has begun.
        let waits = "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'pointsman' \
                     and wait_event_type = 'Lock'";
        let begun = std::time::Instant::now();
        while source.text(waits).await.as_deref() == Some("0") {
            assert!(begun.elapsed() < Duration::from_secs(60), "it does not wait");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // The value as it was: nothing differs, and nothing is proven. Then it reads, and does nothing.
        writer.run("insert into other values (1)").await;
        writer.run("update t set n = 0 where id = 2").await;
        writer.run("begin; select count(*) from t where id = 3").await;
        holder.run("rollback").await;
    };
    let (outcome, ()) = tokio::join!(compared(&source, &target), writing);
    writer.run("rollback").await;
    assert_eq!(outcome.verdict(), Verdict::Unproven, "{}", outcome.json());
    // Which of the two it is told by is the server's hour.
    let said = |words: &str| outcome.problems.iter().any(|problem| problem.contains(words));
    assert!(
        said("has not ended its transaction") || said("somebody wrote to the tables"),
        "{:?}",
        outcome.problems
    );
}

/// What a server's own hashing says of a column that it was told cannot be NULL, and that is.
async fn hashed(base: &Base, column: Column) -> String {
    let field = |column: Column, form| Field { column, form };
    let id = Column {
        name: "id".to_owned(),
        kind: Holds::Integer,
        declared: "bigint".to_owned(),
        nullable: false,
        trait_: Trait::None,
    };
    let fields = [field(id, Form::Whole), field(column, Form::Text)];
    let table = TableName::parse("t");
    let mut session = base.place().session().await.unwrap();
    let mut said = Vec::new();
    for transport in [Transport::Pushed, Transport::Streamed] {
        let sums = Sums {
            dialect: named(base.place().word()),
            ask: Ask {
                table: &table,
                filter: "",
                own: None,
                fields: &fields,
                key: &[0],
                bucket: Bucket::Step(Range {
                    low: 0,
                    high: 1_000,
                    first: true,
                    last: true,
                    parts: 128,
                }),
            },
            transport,
            heard: None,
        };
        said.push(format!("{:?}", sums.run(&mut *session).await));
    }
    assert!(said[1].starts_with("Ok("), "{said:?}");
    if said[0] == said[1] {
        "the same".to_owned()
    } else {
        said[0].clone()
    }
}

#[tokio::test]
async fn a_row_that_an_engine_makes_nothing_of_is_not_left_out() {
    for kind in [Kind::Postgres, Kind::Maria] {
        let Some(base) = Base::new(kind).await else { return };
        base.run("create table t(id bigint primary key, words varchar(20))")
            .await;
        base.run("insert into t values (1, 'a'), (2, null), (3, 'c'), (500, null)")
            .await;
        let column = Column {
            name: "words".to_owned(),
            kind: Holds::Text { fixed: false },
            declared: "varchar(20)".to_owned(),
            nullable: false,
            trait_: Trait::None,
        };
        let said = hashed(&base, column.clone()).await;
        if kind == Kind::Maria {
            // What it cannot count it sums so that no two sums are alike.
            assert_ne!(said, "the same");
            assert_ne!(said, hashed(&base, column).await);
        } else {
            assert_eq!(said, "the same", "the rows are read instead");
        }
    }
    // As a whole: a catalogue that says what is not so.
    let Some((source, target)) = pair(Kind::Postgres, Kind::Postgres).await else {
        return;
    };
    for base in [&source, &target] {
        base.run("create table t(id bigint primary key, words varchar(20))")
            .await;
        base.run("insert into t select i, null from generate_series(1, 100) i")
            .await;
        if std::ptr::eq(base, &target) {
            base.run("update t set id = 107 where id = 7").await;
        }
        base.run("update pg_attribute set attnotnull = true where attrelid = 't'::regclass and attname = 'words'")
            .await;
    }
    differ(&source, &target, &["extra 107", "missing 7"]).await;
}
