//! What looks alike and is not, and what cannot be proven: each found by somebody who tried to make a comparison lie.

use std::sync::Arc;

use pointsman::provider::sql::compare::all::{Choice, Manner, compare};
use pointsman::provider::sql::compare::dialect::{Field, named};
use pointsman::provider::sql::compare::form::Form;
use pointsman::provider::sql::compare::kind::{TableName, Trait};
use pointsman::provider::sql::compare::ledger::Forgetful;
use pointsman::provider::sql::compare::outcome::{Level, Outcome, Verdict};
use pointsman::provider::sql::compare::wish::Wish;
use pointsman::provider::sql::compare::work::Hashing;
use pointsman::provider::sql::database::Database as Place;

use crate::databases::Server;
use crate::stage::{Base, Kind, lines, told};

async fn rows(source: &Base, target: &Base, table: &str) -> Outcome {
    told(source, target, vec![Wish::parse(table)], Level::Rows).await
}

async fn meant(source: &Base, target: &Base, patterns: &[&str], wishes: Vec<Wish>) -> Outcome {
    let choice = Choice {
        wishes,
        patterns: patterns.iter().map(|pattern| (*pattern).to_owned()).collect(),
        exclude: Vec::new(),
    };
    between(source.place(), target.place(), choice).await
}

async fn between(source: Place, target: Place, choice: Choice) -> Outcome {
    let manner = Manner {
        level: Level::Rows,
        show_values: false,
        workers: 2,
        hashing: Hashing::default(),
        cancel: tokio_util::sync::CancellationToken::new(),
        meter: Arc::default(),
        ledger: Box::new(Forgetful),
        brake: Arc::default(),
    };
    Box::pin(compare(source, target, &choice, manner)).await.unwrap()
}

#[tokio::test]
async fn sqlite_values_of_another_class_are_other_values() {
    let (Some(source), Some(target)) = (Base::new(Kind::Sqlite).await, Base::new(Kind::Sqlite).await) else {
        return;
    };
    for base in [&source, &target] {
        base.run("create table t(id integer primary key not null, n integer, s text, b blob, f number(10,2))")
            .await;
    }
    source
        .run("insert into t values (1, 31, null, null, null), (2, null, '6162', null, null), (3, null, null, x'ab', null), (4, 1, 'a', x'01', 0.3)")
        .await;
    target
        .run("insert into t values (1, x'3331', null, null, null), (2, null, x'6162', null, null), (3, null, null, 'ab', null), (4, 1, 'a', x'01', 0.30000000000000004)")
        .await;
    let outcome = rows(&source, &target, "t").await;
    assert_eq!(
        lines(&outcome.tables[0].differences),
        ["changed 1 n", "changed 2 s", "changed 3 b", "changed 4 f"]
    );
}

#[tokio::test]
async fn a_day_that_is_none_is_not_null() {
    for other in [Kind::Maria, Kind::Postgres] {
        let (Some(source), Some(target)) = (Base::new(Kind::Maria).await, Base::new(other).await) else {
            return;
        };
        let moment = if other == Kind::Postgres {
            "timestamp(6)"
        } else {
            "datetime(6)"
        };
        source.run("set session sql_mode = ''").await;
        source
            .run("create table t(id bigint primary key, moment datetime null)")
            .await;
        target
            .run(&format!("create table t(id bigint primary key, moment {moment} null)"))
            .await;
        // Enough of them that the server may hash them itself.
        source
            .run("insert into t select seq, '2026-01-02 03:04:05' from seq_1_to_40000")
            .await;
        let copied = match other {
            Kind::Postgres => "insert into t select n, '2026-01-02 03:04:05' from generate_series(1, 40000) n",
            _ => "insert into t select seq, '2026-01-02 03:04:05' from seq_1_to_40000",
        };
        target.run(copied).await;
        source.run("update t set moment = '0000-00-00' where id = 39000").await;
        target.run("update t set moment = null where id = 39000").await;
        source.analyze("t").await;
        target.analyze("t").await;
        let outcome = rows(&source, &target, "t").await;
        assert_eq!(
            lines(&outcome.tables[0].differences),
            ["changed 39000 moment"],
            "{other:?}"
        );
    }
}

#[tokio::test]
async fn what_nobody_watches_is_unproven() {
    for kind in [Kind::Maria, Kind::Postgres] {
        let (Some(source), Some(target)) = (Base::new(kind).await, Base::new(kind).await) else {
            return;
        };
        for base in [&source, &target] {
            base.run("create table t(id bigint primary key)").await;
            base.run("insert into t values (1)").await;
            base.run("create view seen as select id from t").await;
        }
        let outcome = rows(&source, &target, "seen").await;
        assert_eq!(outcome.verdict(), Verdict::Unproven, "{kind:?}: {}", outcome.json());
        assert_eq!(rows(&source, &target, "t").await.verdict(), Verdict::Equal, "{kind:?}");
    }
}

#[tokio::test]
async fn no_table_is_left_out_in_silence() {
    let (Some(source), Some(target)) = (Base::new(Kind::Postgres).await, Base::new(Kind::Postgres).await) else {
        return;
    };
    for base in [&source, &target] {
        for table in ["orders", "\"Orders\"", "copy"] {
            base.run(&format!("create table {table}(id bigint primary key)")).await;
        }
    }
    // Names that differ in case only are two tables.
    target.run("insert into \"Orders\" values (7)").await;
    let outcome = meant(&source, &target, &["*"], Vec::new()).await;
    let verdicts: Vec<(String, Verdict)> = outcome
        .tables
        .iter()
        .map(|table| (table.source.clone(), table.verdict()))
        .collect();
    assert_eq!(
        verdicts,
        [
            ("Orders".to_owned(), Verdict::Different),
            ("copy".to_owned(), Verdict::Equal),
            ("orders".to_owned(), Verdict::Equal),
        ]
    );
    target.run("delete from \"Orders\"").await;
    assert_eq!(
        meant(&source, &target, &["*"], Vec::new()).await.verdict(),
        Verdict::Equal
    );
    // One table may be compared with several.
    let twice = vec![Wish::parse("orders=orders"), Wish::parse("orders=copy")];
    assert_eq!(meant(&source, &target, &[], twice).await.verdict(), Verdict::Equal);
    // A table that only the target has proves nothing.
    target.run("create table more(id bigint primary key)").await;
    let outcome = meant(&source, &target, &["*"], Vec::new()).await;
    assert_eq!(outcome.verdict(), Verdict::Unproven);
    assert!(
        outcome.problems.iter().any(|words| words.contains("more")),
        "{:?}",
        outcome.problems
    );
}

#[tokio::test]
async fn partitions_are_watched_and_compared_as_their_table() {
    let (Some(source), Some(target)) = (Base::new(Kind::Postgres).await, Base::new(Kind::Postgres).await) else {
        return;
    };
    for base in [&source, &target] {
        base.run("create table p(id bigint primary key, v int) partition by range (id)")
            .await;
        base.run("create table p1 partition of p for values from (0) to (100)")
            .await;
        base.run("create table p2 partition of p for values from (100) to (1000)")
            .await;
        base.run("insert into p select n, n from generate_series(1, 500) n")
            .await;
    }
    let outcome = meant(&source, &target, &["*"], Vec::new()).await;
    assert_eq!(outcome.tables.len(), 1, "{}", outcome.json());
    assert_eq!(outcome.verdict(), Verdict::Equal);
    // Its partitions do not make up for what nobody watches.
    for base in [&source, &target] {
        base.run("create view seen as select id from p").await;
    }
    let wishes = vec![Wish::parse("p"), Wish::parse("seen")];
    assert_eq!(meant(&source, &target, &[], wishes).await.verdict(), Verdict::Unproven);
    target.run("update p set v = 0 where id = 300").await;
    assert_eq!(
        lines(&rows(&source, &target, "p").await.tables[0].differences),
        ["changed 300 v"]
    );
}

/// MariaDB makes NULL of a text that is longer than a packet may be, and a sum does not see NULL.
#[tokio::test]
async fn rows_longer_than_a_packet_are_not_hashed_by_the_server() {
    let Some(server) = Server::mariadb(&["--max-allowed-packet=1M"]) else {
        return;
    };
    let base = server.database().await;
    base.run("create table t(id bigint primary key, a longtext, b varchar(10))")
        .await;
    let place = Place::Server(base.target.clone());
    let mut session = place.session().await.unwrap();
    let dialect = named("mysql");
    let table = dialect
        .describe(&mut *session, &TableName::parse("t"))
        .await
        .unwrap()
        .unwrap();
    let exact = |name: &str| {
        let column = table.column(name).unwrap().clone();
        let long = column.trait_ == Trait::Long;
        let form = Form::Text;
        (long, dialect.exact(&Field { column, form }).is_some())
    };
    assert_eq!(exact("a"), (true, false));
    assert_eq!(exact("b"), (false, true));
}

/// Single rows everywhere are single rows; a fault of all rows is told by a sample.
#[tokio::test]
async fn rows_that_differ_in_every_part_are_all_listed() {
    let (Some(source), Some(target)) = (Base::new(Kind::Sqlite).await, Base::new(Kind::Sqlite).await) else {
        return;
    };
    for key in ["integer primary key", "text primary key"] {
        for base in [&source, &target] {
            base.run("drop table if exists t").await;
            base.run(&format!("create table t(id {key} not null, v int)")).await;
            base.run(
                "with recursive n(n) as (select 1 union all select n + 1 from n where n < 20000) \
                 insert into t select n, n from n",
            )
            .await;
        }
        target.run("update t set v = -1 where id % 100 = 7").await;
        let outcome = rows(&source, &target, "t").await;
        assert_eq!(outcome.tables[0].differences.len(), 200, "{key}");
        assert_eq!(outcome.tables[0].cut, None, "{key}");
        target.run("update t set v = v + 1").await;
        let outcome = rows(&source, &target, "t").await;
        let said = outcome.tables[0].cut.clone().unwrap_or_default();
        assert!(said.starts_with("most rows differ"), "{key}: {said}");
        assert!(outcome.tables[0].differences.len() < 2_000, "{key}");
    }
}

/// A server's own settings make no answer shorter.
#[tokio::test]
async fn a_limit_of_the_server_is_none_of_the_comparison() {
    let Some(server) = Server::mariadb(&[]) else {
        return;
    };
    let (source, target) = (server.database().await, server.database().await);
    for base in [&source, &target] {
        base.run("create table t(id bigint primary key, f double)").await;
        base.run("create table m(id bigint primary key) engine=memory").await;
        // The limit is none of what is inserted.
        base.run("insert into t select seq, seq from seq_1_to_3000").await;
    }
    target.run("update t set f = 0 where id = 2500").await;
    target.run("set global sql_select_limit = 1000").await;
    let of = |table: &str| Choice {
        wishes: vec![Wish::parse(table)],
        patterns: Vec::new(),
        exclude: Vec::new(),
    };
    let place = |base: &crate::databases::Database| Place::Server(base.target.clone());
    let found = between(place(&source), place(&target), of("t")).await;
    assert_eq!(lines(&found.tables[0].differences), ["changed 2500 f"]);
    // An engine that does not keep when it was written to is not watched.
    let found = between(place(&source), place(&target), of("m")).await;
    assert_eq!(found.verdict(), Verdict::Unproven, "{}", found.json());
}

/// A key that is none names what differs, and does not undo that it differs.
#[tokio::test]
async fn a_key_that_two_rows_have_leaves_a_difference_a_difference() {
    let (Some(source), Some(target)) = (Base::new(Kind::Postgres).await, Base::new(Kind::Postgres).await) else {
        return;
    };
    for base in [&source, &target] {
        base.run("create table t(id bigint not null, v int)").await;
        base.run("insert into t values (1, 1), (1, 2), (2, 3)").await;
    }
    target.run("update t set v = 9 where v = 2").await;
    let wish = Wish {
        key: Some(vec!["id".to_owned()]),
        ..Wish::parse("t")
    };
    let outcome = told(&source, &target, vec![wish], Level::Rows).await;
    assert_eq!(outcome.verdict(), Verdict::Different, "{}", outcome.json());
    let said = outcome.tables[0].cut.as_deref().unwrap_or_default();
    assert!(said.contains("more than one row has the key"), "{said}");
}
