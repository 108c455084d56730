//! `pointsman compare` as its user has it: addresses, exit codes, the JSON, a ledger.

use std::process::{Command, Output};

use serde_json::{Value as Json, json};

use crate::stage::{Base, Kind, Value};

fn compare(source: &str, target: &str, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .args(["compare", source, target])
        .args(more)
        .env_clear()
        .env("POINTSMAN_SOURCE_PASSWORD", crate::databases::PASSWORD)
        .env("POINTSMAN_TARGET_PASSWORD", crate::databases::PASSWORD)
        .output()
        .unwrap()
}

async fn pair() -> Option<(Base, Base)> {
    let (source, target) = (Base::new(Kind::Maria).await?, Base::new(Kind::Postgres).await?);
    for base in [&source, &target] {
        base.run("create table orders(id bigint primary key, amount decimal(12,2) not null, note varchar(20))")
            .await;
        base.run("create table notes(id bigint primary key, note varchar(20))")
            .await;
        let rows: Vec<Vec<Value>> = (1..=5_000)
            .map(|id| vec![Value::plain(id), Value::plain(format!("{id}.50")), Value::text("x ")])
            .collect();
        base.insert("orders", &rows).await;
        base.analyze("orders").await;
    }
    Some((source, target))
}

#[tokio::test]
async fn exit_codes_and_json() {
    let Some((source, target)) = pair().await else { return };
    let told = |more: &[&str]| compare(&source.address(), &target.address(), more);
    let equal = told(&["--table", "*"]);
    let text = String::from_utf8_lossy(&equal.stdout);
    assert_eq!(
        equal.status.code(),
        Some(0),
        "{text}{}",
        String::from_utf8_lossy(&equal.stderr)
    );
    assert!(text.contains("EQUAL: 2 tables, 5,000 rows on both sides"), "{text}");
    assert!(!text.contains(crate::databases::PASSWORD));

    target
        .run("update orders set amount = amount + 0.01, note = 'x' where id = 77")
        .await;
    target.run("delete from orders where id = 4000").await;
    target.run("insert into orders values (-5, 1, null)").await;
    let different = told(&["--table", "orders", "--format", "json", "--show-values"]);
    assert_eq!(different.status.code(), Some(1));
    let body: Json = serde_json::from_slice(&different.stdout).unwrap();
    assert_eq!(body["verdict"], "different");
    assert_eq!(
        body["differences"],
        json!([
            { "table": "orders", "key": -5, "kind": "extra", "columns": [], "values": {
                "id": { "source": null, "target": "-5" },
                "amount": { "source": null, "target": "1.00" },
                "note": { "source": null, "target": null } } },
            { "table": "orders", "key": 77, "kind": "changed", "columns": ["amount", "note"], "values": {
                "amount": { "source": "77.50", "target": "77.51" },
                "note": { "source": "x ", "target": "x" } } },
            { "table": "orders", "key": 4000, "kind": "missing", "columns": [], "values": {
                "id": { "source": "4000", "target": null },
                "amount": { "source": "4000.50", "target": null },
                "note": { "source": "x ", "target": null } } },
        ])
    );
    // What is told to be left out is left out, and nothing else.
    let known = told(&[
        "--table",
        "orders",
        "--where",
        "id between 1 and 3999",
        "--ignore",
        "note",
    ]);
    assert_eq!(
        known.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&known.stdout)
    );
    let before = told(&["--table", "orders", "--where", "id between 1 and 76"]);
    assert_eq!(
        before.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&before.stdout)
    );
    let counted = told(&["--table", "orders", "--level", "count"]);
    assert_eq!(counted.status.code(), Some(0), "the same number of rows");
}

#[tokio::test]
async fn what_cannot_be_compared_is_unproven() {
    let Some((source, target)) = pair().await else { return };
    let told = |source: &str, target: &str, more: &[&str]| {
        let ended = compare(source, target, more);
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&ended.stdout),
            String::from_utf8_lossy(&ended.stderr)
        );
        (ended.status.code(), text)
    };
    let (here, there) = (source.address(), target.address());
    let (code, text) = told(&here, &there, &["--table", "nowhere"]);
    assert_eq!(code, Some(6), "{text}");
    assert!(text.contains("the source has no table nowhere"), "{text}");
    let (code, text) = told(&here, &there, &["--table", "orders", "--key", "nothing"]);
    assert_eq!(code, Some(6), "{text}");
    let (code, text) = told(&here, &there, &["--table", "orders", "--where", "no such column = 1"]);
    assert_eq!(code, Some(6), "{text}");
    source.run("create table here_only(id bigint primary key)").await;
    let (code, text) = told(&here, &there, &["--table", "*"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("the target has no table here_only"), "{text}");
    // Nobody is there.
    let gone = here.replace(&format!(":{}/", address_port(&here)), ":1/");
    let (code, text) = told(&gone, &there, &["--table", "orders"]);
    assert_eq!(code, Some(6), "{text}");
    for (source, word) in [
        ("mysql:/nothing", "no host"),
        ("nothing", "address"),
        ("oracle://a@b/c", "oracle"),
        ("sqlite:/no/such/file", "not a database file"),
        ("mysql://u@h/d?tsl=off", "tsl"),
        ("mysql://u@h/d?tls=maybe", "tls"),
        ("mysql://h/d", "user"),
    ] {
        let (code, text) = told(source, &there, &["--table", "orders"]);
        assert_eq!(code, Some(2), "{source}: {text}");
        assert!(text.contains(word), "{source}: {text}");
    }
}

fn address_port(address: &str) -> &str {
    let rest = address.split_once('@').unwrap().1;
    rest.split_once(':').unwrap().1.split_once('/').unwrap().0
}
