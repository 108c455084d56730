//! Values of each type as JSON, against expectations written by hand.

use serde_json::{Value, json};

use crate::{databases, first, rows};

#[tokio::test]
async fn types_of_postgresql() {
    let Some(server) = databases::postgres() else { return };
    let database = server.database().await;
    for (sql, wanted) in [
        ("true", json!(true)),
        ("1::int2", json!(1)),
        ("(-2147483648)::int4", json!(-2_147_483_648_i64)),
        ("9223372036854775807::int8", json!(i64::MAX)),
        ("0.5::float4", json!(0.5)),
        ("0.1::float8", json!(0.1)),
        ("'NaN'::float8", json!("NaN")),
        ("10.50::numeric(12,2)", json!(10.5)),
        (
            "12345678901234567890.12::numeric(22,2)",
            json!("12345678901234567890.12"),
        ),
        ("18446744073709551615::numeric", json!("18446744073709551615")),
        ("'Grüße 🚦 '::text", json!("Grüße 🚦 ")),
        ("'a'::char(3)", json!("a  ")),
        ("'\\x00ff'::bytea", json!("00ff")),
        (
            "'0B6A1A8E-6C7B-4A5C-9D53-2F6C1D1E0A01'::uuid",
            json!("0b6a1a8e-6c7b-4a5c-9d53-2f6c1d1e0a01"),
        ),
        ("'{\"a\": [1, null]}'::jsonb", json!({"a": [1, null]})),
        ("'2026-02-03'::date", json!("2026-02-03")),
        ("'04:05:06.7'::time", json!("04:05:06.700000")),
        (
            "'2026-02-03 04:05:06.789012'::timestamp",
            json!("2026-02-03 04:05:06.789012"),
        ),
        (
            "'2026-02-03 04:05:06-03'::timestamptz",
            json!("2026-02-03 07:05:06.000000Z"),
        ),
        ("null::int", Value::Null),
    ] {
        assert_eq!(
            first(&database.target, &format!("select {sql}"), &[]).await,
            [wanted],
            "{sql}"
        );
    }
    let error = rows(&database.target, "select '1 day'::interval as wait", &[])
        .await
        .unwrap_err();
    assert!(error.message.contains("wait::text"), "{error}");
}

#[tokio::test]
async fn types_of_mariadb() {
    let Some(server) = databases::mariadb() else { return };
    let database = server.database().await;
    database
        .run(
            "create table t(tiny tinyint(1), small smallint, medium mediumint, big bigint, unsigned_big bigint unsigned, \
             half float, whole double, price decimal(12,2), long_price decimal(30,4), bits bit(10), born year, \
             day date, moment datetime(6), second datetime, instant timestamp(3) null, span time(2), \
             name varchar(20), padded char(5), words text, raw varbinary(4), blob_raw blob, choice enum('a','ü'), \
             many set('x','y'), doc json, nothing int)",
        )
        .await;
    database
        .run(
            "insert into t values (1, -32768, 8388607, -9223372036854775808, 18446744073709551615, 0.5, 0.1, 10.50, \
             12345678901234567890.1234, b'1000000001', 2026, '2026-02-03', '2026-02-03 04:05:06.789012', \
             '2026-02-03 04:05:06', '2026-02-03 04:05:06.789', '-838:59:58.25', 'Grüße 🚦 ', 'ab', '', x'00ff', x'00', \
             'ü', 'x,y', '{\"a\": 1}', null)",
        )
        .await;
    let seen = rows(&database.target, "select * from t", &[]).await.unwrap();
    let wanted = [
        ("tiny", json!(1)),
        ("small", json!(-32_768)),
        ("medium", json!(8_388_607)),
        ("big", json!(i64::MIN)),
        ("unsigned_big", json!(u64::MAX)),
        ("half", json!(0.5)),
        ("whole", json!(0.1)),
        ("price", json!(10.5)),
        ("long_price", json!("12345678901234567890.1234")),
        ("bits", json!(513)),
        ("born", json!(2026)),
        ("day", json!("2026-02-03")),
        ("moment", json!("2026-02-03 04:05:06.789012")),
        ("second", json!("2026-02-03 04:05:06.000000")),
        ("instant", json!("2026-02-03 04:05:06.789000Z")),
        ("span", json!("-838:59:58.250000")),
        ("name", json!("Grüße 🚦 ")),
        ("padded", json!("ab")),
        ("words", json!("")),
        ("raw", json!("00ff")),
        ("blob_raw", json!("00")),
        ("choice", json!("ü")),
        ("many", json!("x,y")),
        // MariaDB's JSON is a text.
        ("doc", json!("{\"a\": 1}")),
        ("nothing", Value::Null),
    ];
    let row = seen.kept.first().unwrap();
    for ((column, value), (name, wanted)) in seen.columns.iter().zip(row).zip(&wanted) {
        assert_eq!((column.as_str(), value), (*name, wanted));
    }
    assert_eq!(seen.columns.len(), wanted.len());
    assert_eq!(
        first(
            &database.target,
            "select sum(price), count(*), avg(big), database() is null from t",
            &[]
        )
        .await,
        [json!(10.5), json!(1), json!("-9223372036854775808.0000"), json!(0)]
    );
}

#[tokio::test]
async fn all_rows_are_counted_and_the_first_are_kept() {
    for server in databases::both() {
        let database = server.database().await;
        let many = rows(
            &database.target,
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < 1500) select i from n",
            &[],
        );
        let many = many.await;
        // MariaDB stops a recursion at 1000 unless told; PostgreSQL does not.
        if let Ok(many) = many {
            assert!(many.count >= 1_000);
            assert_eq!(many.kept.len(), 1_000);
        } else {
            panic!("{many:?}");
        }
    }
}
