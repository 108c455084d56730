//! What rows do not show, on SQL Server: a script answers for its catalogue in the words of Microsoft's documentation. Never
//! run against a SQL Server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use pointsman::provider::action::Outcome;
use serde_json::{Value, json};

use crate::bench::{action, cx};
use crate::databases;
use crate::mssql::Stage;
use crate::mssql::front::{Answer, Script, row};
use crate::objects::{compared_at, list};

type Rows = Vec<Vec<Option<String>>>;

/// A catalogue: what is told of which view, by words that only its question has.
#[derive(Default)]
struct Catalogue {
    told: BTreeMap<&'static str, Rows>,
    /// Words of questions that are refused, with an error's number.
    refused: Vec<(&'static str, u32)>,
    version: Option<&'static str>,
    /// Without VIEW ANY DEFINITION.
    limited: bool,
    asked: Mutex<Vec<String>>,
}

impl Catalogue {
    fn with<const N: usize>(mut self, words: &'static str, cells: [&str; N]) -> Self {
        self.told.entry(words).or_default().push(row(cells));
        self
    }

    fn hidden(mut self, words: &'static str, kind: &str, name: &str) -> Self {
        let cells = vec![Some(kind.to_owned()), Some(name.to_owned()), None];
        self.told.entry(words).or_default().push(cells);
        self
    }
}

impl Script for Catalogue {
    fn answer(&self, _session: u64, sql: &str) -> Option<Answer> {
        if !sql.contains("sys.")
            && !sql.contains("msdb")
            && !sql.contains("serverproperty")
            && !sql.contains("has_perms")
        {
            let numbers = sql.strip_prefix("select ")?;
            // The number that a counter gives next, or the highest that the script's own table has.
            if let Some((_, told)) = self.told.iter().find(|(words, _)| sql.contains(*words)) {
                return Some(Answer::Rows(told.clone()));
            }
            let literal = numbers.split(", ").map(|part| part.trim_matches('\'').to_owned());
            let cells: Vec<Option<String>> = literal.map(Some).collect();
            return numbers
                .starts_with(|first: char| first.is_ascii_digit() || first == '-' || first == '\'')
                .then(|| Answer::Rows(vec![cells]));
        }
        self.asked.lock().unwrap().push(sql.to_owned());
        if sql.contains("'ProductVersion'), 4") || sql.contains("'ProductVersion') as nvarchar(128)), 4") {
            return Some(Answer::Rows(vec![row([self.version.unwrap_or("15")])]));
        }
        if sql.contains("'VIEW ANY DEFINITION'") {
            return Some(Answer::Rows(vec![row([if self.limited { "0" } else { "1" }])]));
        }
        if sql.contains("'VIEW DEFINITION'") {
            return Some(Answer::Rows(vec![row(["1"])]));
        }
        if sql.contains("snapshot_isolation_state = 1") {
            return Some(Answer::Done);
        }
        if let Some((_, number)) = self.refused.iter().find(|(words, _)| sql.contains(words)) {
            return Some(Answer::Error(*number, "it is not for this user"));
        }
        let told = self.told.iter().find(|(words, _)| sql.contains(*words));
        Some(Answer::Rows(told.map(|(_, rows)| rows.clone()).unwrap_or_default()))
    }
}

fn usual() -> Catalogue {
    Catalogue::default()
        .with(
            "N'column'",
            ["column", "dbo.orders.id", "bigint(8,19,0) not null identity(1,1)"],
        )
        .with(
            "N'index'",
            ["index", "dbo.orders.by_customer", "NONCLUSTERED: customer"],
        )
        .with(
            "N'index'",
            ["index", "dbo.orders.by_customer", "NONCLUSTERED: placed desc"],
        )
        .with(
            "f.is_system_named = 0",
            [
                "foreign key",
                "dbo.orders.fk",
                "customer -> dbo.customers.id on delete NO_ACTION",
            ],
        )
        .with(
            "sys.sql_modules m join",
            ["trigger", "dbo.orders.audit", "as caller create trigger audit …"],
        )
        .with("N'user' end", ["user", "erp", "SQL_USER dbo login erp"])
        .with("N'login'", ["login", "erp", "SQL_LOGIN 0x4F21 in orders"])
        .with("N'job'", ["job", "nightly", "enabled of sa begins at step 1"])
        .with("N'job'", ["job", "nightly", "step 1 close TSQL in orders"])
        .with(
            "from sys.identity_columns",
            [
                "dbo.orders.id",
                "select 901",
                "select convert(nvarchar(40), convert(decimal(38, 0), max([id]))) from [dbo].[orders]",
                "up",
            ],
        )
        .with("max([id])", ["900"])
        .with("N'select '''", ["dbo.invoices", "select '77', 'up'"])
}

struct Sides {
    source: Stage,
    target: Stage,
    asked: Arc<Catalogue>,
}

fn sides(source: Catalogue, target: Catalogue) -> Option<Sides> {
    let asked = Arc::new(target);
    Some(Sides {
        source: Stage::new(Arc::new(source))?,
        target: Stage::new(Arc::clone(&asked) as Arc<dyn Script>)?,
        asked,
    })
}

async fn compared(sides: &Sides, with: Value) -> Outcome {
    compared_at(&sides.source.target, &sides.target.target, with).await
}

#[tokio::test]
async fn every_sort_of_difference_has_its_name() {
    let Some(same) = sides(usual(), usual()) else { return };
    let equal = compared(&same, json!({})).await;
    assert_eq!(equal.result["differences"], json!(0), "{}", equal.summary);
    assert_eq!(equal.result["unseen"], json!([]));
    assert_eq!(equal.result["objects"], json!(7));
    assert!(list(&equal, "not_compared").contains(&"passwords of logins".to_owned()));

    let mut other = usual();
    // The second column of an index, the SID of a login, and a step of a job that is not there.
    other.told.remove("N'index'");
    other = other
        .with(
            "N'index'",
            ["index", "dbo.orders.by_customer", "NONCLUSTERED: customer"],
        )
        .with("N'index'", ["index", "dbo.orders.by_customer", "NONCLUSTERED: placed"]);
    other.told.remove("N'login'");
    other = other.with("N'login'", ["login", "erp", "SQL_LOGIN 0x99 in orders"]);
    other.told.remove("N'job'");
    other.told.remove("sys.sql_modules m join");
    other.told.remove("max([id])");
    other = other.with("max([id])", ["901"]);
    other.told.remove("N'select '''");
    other = other.with("N'select '''", ["dbo.invoices", "select '76', 'up'"]);
    let different = sides(usual(), other).unwrap();
    let found = compared(&different, json!({})).await;
    assert_eq!(list(&found, "missing"), ["job nightly", "trigger dbo.orders.audit"]);
    assert_eq!(list(&found, "different"), ["index dbo.orders.by_customer", "login erp"]);
    assert_eq!(
        list(&found, "behind"),
        [
            "counter dbo.orders.id gives 901, and 901 is there",
            "sequence dbo.invoices gives 76, and 77 on the source"
        ]
    );
}

/// What the server named itself has another name on every server.
#[tokio::test]
async fn keys_without_a_name_of_their_own_are_their_columns() {
    let keys = |columns: &[(&str, &str)], to: &str| {
        let mut catalogue = usual();
        for (id, column) in columns {
            let cells = ["unique key", *id, "NONCLUSTERED unique", "dbo.t", *column, "", ""];
            catalogue = catalogue.with("k.is_system_named = 1 and", cells);
        }
        catalogue.with(
            "f.is_system_named = 1",
            ["foreign key", "9", " on delete NO_ACTION", "dbo.t", "a", to, "id"],
        )
    };
    let Some(same) = sides(
        keys(&[("1", "a"), ("2", "b")], "dbo.x"),
        keys(&[("8", "b"), ("9", "a")], "dbo.x"),
    ) else {
        return;
    };
    let equal = compared(&same, json!({})).await;
    assert_eq!(equal.result["differences"], json!(0), "{}", equal.summary);
    let other = sides(
        keys(&[("1", "a"), ("2", "b")], "dbo.x"),
        keys(&[("1", "a"), ("1", "b")], "dbo.y"),
    )
    .unwrap();
    let found = compared(&other, json!({})).await;
    let missing = [
        "foreign key dbo.t(a) -> dbo.x(id)",
        "unique key dbo.t(a)",
        "unique key dbo.t(b)",
    ];
    assert_eq!(list(&found, "missing"), missing);
    assert_eq!(
        list(&found, "extra"),
        ["foreign key dbo.t(a) -> dbo.y(id)", "unique key dbo.t(a,b)"]
    );
}

/// Before 2017 a server does not tell whether a sequence has given the number at which it stands.
#[tokio::test]
async fn where_a_sequence_may_stand_at_either_of_two_numbers_nothing_is_said_of_it() {
    let at = |version, cells: &str| {
        let mut catalogue = usual();
        catalogue.version = Some(version);
        catalogue.told.remove("N'select '''");
        catalogue.with("N'select '''", ["dbo.invoices", cells])
    };
    for (here, there, sort) in [
        ("select '77', 'up', '78'", "select '77', 'up', '78'", "unseen"),
        ("select '77', 'up', '78'", "select '77', 'up', '77'", "unseen"),
        ("select '77', 'up', '78'", "select '76', 'up', '76'", "behind"),
        ("select '77', 'up', '78'", "select '78', 'up', '78'", "none"),
        ("select '-7', 'down', '-8'", "select '-6', 'down', '-6'", "behind"),
    ] {
        let Some(sides) = sides(at("13", here), at("16", there)) else {
            return;
        };
        let found = compared(&sides, json!({})).await;
        for each in ["unseen", "behind"] {
            let told = list(&found, each)
                .iter()
                .any(|words| words.starts_with("sequence dbo.invoices "));
            assert_eq!(told, sort == each, "{here} {there}: {}", found.summary);
        }
    }
}

#[tokio::test]
async fn a_counter_that_counts_down_is_behind_the_other_way() {
    let down = |next: &str| {
        let mut catalogue = usual();
        catalogue.told.remove("from sys.identity_columns");
        let next = format!("select {next}");
        catalogue
            .with(
                "from sys.identity_columns",
                [
                    "dbo.orders.id",
                    &next,
                    "select convert(nvarchar(40), convert(decimal(38, 0), min([no]))) from [dbo].[orders]",
                    "down",
                ],
            )
            .with("min([no])", ["-5"])
    };
    let Some(same) = sides(usual(), down("-6")) else { return };
    assert_eq!(list(&compared(&same, json!({})).await, "behind"), Vec::<String>::new());
    let behind = sides(usual(), down("-5")).unwrap();
    assert_eq!(
        list(&compared(&behind, json!({})).await, "behind"),
        ["counter dbo.orders.id gives -5, and -5 is there"]
    );
}

#[tokio::test]
async fn what_is_not_shown_is_told_and_is_no_equality() {
    let mut limited = usual().hidden("sys.sql_modules m join", "routine", "dbo.secret");
    limited.limited = true;
    limited.refused.push(("msdb.dbo.sysjobs", 229));
    let Some(sides) = sides(usual(), limited) else { return };
    let strict = action(
        "sql.compare_objects",
        json!({}),
        &[&sides.source.target, &sides.target.target],
    );
    let ready = strict.check(&cx("pm-objects")).await.unwrap();
    assert_eq!(
        ready.facts,
        [
            "db1: not all is seen of logins, their roles and permissions, linked servers, triggers of the server \
             (VIEW ANY DEFINITION on the server is needed)"
        ]
    );
    let found = compared(&sides, json!({ "ignore": ["job nightly"] })).await;
    let unseen = list(&found, "unseen");
    for words in [
        "routine dbo.secret on the target (the server does not tell its definition",
        "logins, their roles and permissions on the target (VIEW ANY DEFINITION on the server is needed",
        "jobs of the Agent, their steps and schedules on the target (",
    ] {
        assert!(unseen.iter().any(|told| told.starts_with(words)), "{words}: {unseen:?}");
    }
    let refused = strict.execute(&cx("pm-objects")).await.unwrap_err();
    assert!(refused.message.contains("not seen"), "{refused}");
    // What is known not to be seen can be left out by its name.
    let ignore =
        json!({ "ignore": ["job*", "login*", "linked servers", "triggers of the server", "routine dbo.secret"] });
    let left_out = action(
        "sql.compare_objects",
        ignore,
        &[&sides.source.target, &sides.target.target],
    );
    left_out.execute(&cx("pm-objects")).await.unwrap();
}

#[tokio::test]
async fn a_server_is_asked_what_its_version_knows() {
    for (version, sequences, last_used) in [("10", false, false), ("13", true, false), ("16", true, true)] {
        let mut old = usual();
        old.version = Some(version);
        let Some(sides) = sides(usual(), old) else { return };
        compared(&sides, json!({})).await;
        let asked = sides.asked.asked.lock().unwrap().join("\n");
        assert_eq!(asked.contains("sys.sequences"), sequences, "{version}");
        assert_eq!(asked.contains("last_used_value"), last_used, "{version}");
    }
}

#[tokio::test]
async fn across_engines_keys_have_one_name() {
    let Some(postgres) = databases::postgres() else { return };
    let there = postgres.database().await;
    there
        .run(
            "create table customers(id bigint primary key); create table orders(id bigint generated by default as identity \
             primary key, code text, part int, customer bigint references customers(id) on delete set null, unique (code, part))",
        )
        .await;
    let catalogue = || {
        Catalogue::default()
            .with("N'table' end", ["table", "customers", ""])
            .with("N'table' end", ["table", "orders", ""])
            .with(
                "N'primary key' else",
                ["primary key", "1.1", "", "customers", "id", "", ""],
            )
            .with(
                "N'primary key' else",
                ["primary key", "2.1", "", "orders", "id", "", ""],
            )
            .with(
                "N'primary key' else",
                ["unique key", "2.2", "", "orders", "code", "", ""],
            )
            .with(
                "N'primary key' else",
                ["unique key", "2.2", "", "orders", "part", "", ""],
            )
            .with(
                "N'foreign key'",
                ["foreign key", "3", "set null", "orders", "customer", "customers", "id"],
            )
    };
    let Some(stage) = Stage::new(Arc::new(catalogue())) else {
        return;
    };
    let compares = |source| {
        action(
            "sql.compare_objects",
            json!({ "expect": "differences >= 0" }),
            &[source, &there.target],
        )
    };
    let equal = compares(&stage.target).execute(&cx("pm-objects")).await.unwrap();
    assert_eq!(equal.result["differences"], json!(0), "{}", equal.summary);
    assert_eq!(equal.result["unseen"], json!([]));
    assert_eq!(equal.result["objects"], json!(6));
    let mut other = catalogue();
    other.told.remove("N'foreign key'");
    let stage = Stage::new(Arc::new(other.with(
        "N'foreign key'",
        ["foreign key", "3", "no action", "orders", "customer", "customers", "id"],
    )))
    .unwrap();
    let found = compares(&stage.target).execute(&cx("pm-objects")).await.unwrap();
    assert_eq!(
        list(&found, "different"),
        ["foreign key orders(customer) -> customers(id)"]
    );
}
