//! Values that a runbook binds.

use pointsman::provider::action::ActionErrorKind;
use pointsman::provider::sql::server::Engine;
use serde_json::{Value, json};

use crate::{databases, first, rows};

/// As a runbook writes parameters for an engine.
fn written(engine: Engine, sql: &str) -> String {
    let mut number = 0;
    let mut out = String::new();
    for char in sql.chars() {
        if char == '?' && engine != Engine::Mysql {
            number += 1;
            let sign = if engine == Engine::Postgres { "$" } else { "@P" };
            out.push_str(&format!("{sign}{number}"));
        } else {
            out.push(char);
        }
    }
    out
}

#[tokio::test]
async fn values_arrive_as_they_are_written() {
    for server in databases::both() {
        let database = server.database().await;
        database
            .run(
                "create table t(id int primary key, whole bigint, price decimal(30,4), name varchar(40), flag boolean, \
                 at timestamp(6) null, ratio double precision)",
            )
            .await;
        database
            .run(
                "insert into t values (1, 9223372036854775807, 12345678901234567890.1234, 'Grüße '' \"🚦\" \\\\', true, \
                 '2026-02-03 04:05:06.789012', 0.1), (2, null, null, null, null, null, null)",
            )
            .await;
        let name = database.text("select name from t where id = 1").await.unwrap();
        let at = if server.engine == Engine::Postgres {
            "at = cast(? as timestamp)"
        } else {
            "at = ?"
        };
        for (predicate, value) in [
            ("whole = ?", json!(i64::MAX)),
            ("price = cast(? as decimal(30,4))", json!("12345678901234567890.1234")),
            ("name = ?", json!(name)),
            ("flag = ?", json!(true)),
            (at, json!("2026-02-03 04:05:06.789012")),
            ("ratio = ?", json!(0.1)),
            ("whole < cast(? as decimal(20,0))", json!(u64::MAX)),
        ] {
            let sql = written(server.engine, &format!("select id from t where {predicate}"));
            assert_eq!(first(&database.target, &sql, &[value]).await, [json!(1)], "{sql}");
        }
        let sql = written(
            server.engine,
            "select id from t where coalesce(cast(? as char(1)), 'x') = 'x' and name is null",
        );
        assert_eq!(first(&database.target, &sql, &[Value::Null]).await, [json!(2)]);
        // A value is never a part of the statement.
        let sql = written(server.engine, "select count(*) from t where name = ? or id = ?");
        let params = [json!("' or 1 = 1 -- "), json!(2)];
        assert_eq!(first(&database.target, &sql, &params).await, [json!(1)]);
        for params in [&[][..], &[json!(1), json!(2), json!(3)]] {
            let error = rows(&database.target, &sql, params).await.unwrap_err();
            assert_eq!(error.kind, ActionErrorKind::Permanent);
            assert!(error.message.contains("takes 2 parameters"), "{error}");
        }
    }
}
