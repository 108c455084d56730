//! SQL Server's protocol, against a peer that other people wrote: logins, types, parameters, errors, what is refused. With
//! `POINTSMAN_TEST_MSSQL_URL=sqlserver://USER:PASSWORD@HOST:PORT/DATABASE?tls=unverified` the same is asked of a real
//! server, whose database has to be one for tests.

use pointsman::provider::action::ActionErrorKind;
use pointsman::provider::sql::database::{Database, Reader};
use pointsman::provider::sql::server::{Protection, ServerTarget};
use pointsman::provider::sql::session::{Ender, all};
use pointsman::provider::sql::sqlserver;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::mssql::{Peer, peer, run, target};
use crate::tds_front::front;
use crate::tls::Issued;
use crate::{first, rows};

/// A server to ask, and what holds it.
pub struct Asked {
    pub target: ServerTarget,
    /// Microsoft's own.
    real: bool,
    _peer: Option<Peer>,
}

pub fn asked() -> Option<Asked> {
    let Ok(url) = std::env::var("POINTSMAN_TEST_MSSQL_URL") else {
        let peer = peer()?;
        return Some(Asked {
            target: target("127.0.0.1", peer.port),
            real: false,
            _peer: Some(peer),
        });
    };
    let rest = url.strip_prefix("sqlserver://").unwrap();
    let (login, rest) = rest.rsplit_once('@').unwrap();
    let (user, password) = login.split_once(':').unwrap();
    let (place, rest) = rest.split_once('/').unwrap();
    let (host, port) = place.split_once(':').unwrap_or((place, "1433"));
    let (database, options) = rest.split_once('?').unwrap_or((rest, ""));
    Some(Asked {
        target: ServerTarget {
            database: database.to_owned(),
            user: user.to_owned(),
            password: Some(password.to_owned()),
            protection: match options {
                "tls=unverified" => Protection::Unverified,
                "tls=off" => Protection::Off,
                _ => Protection::Verified { ca: None },
            },
            ..target(host, port.parse().unwrap())
        },
        real: true,
        _peer: None,
    })
}

#[tokio::test]
async fn types_of_sql_server() {
    let Some(server) = asked() else { return };
    for (sql, wanted) in [
        ("cast(1 as bit)", json!(true)),
        ("cast(255 as tinyint)", json!(255)),
        ("cast(-32768 as smallint)", json!(-32_768)),
        ("cast(-2147483648 as int)", json!(i32::MIN)),
        ("cast(9223372036854775807 as bigint)", json!(i64::MAX)),
        ("cast(0.5 as real)", json!(0.5)),
        ("cast(0.25 as float)", json!(0.25)),
        ("cast(10.50 as decimal(12,2))", json!(10.5)),
        ("cast(N'Grüße 🚦 ' as nvarchar(20))", json!("Grüße 🚦 ")),
        ("cast(null as int)", Value::Null),
    ] {
        assert_eq!(
            first(&server.target, &format!("select {sql} as x"), &[]).await,
            [wanted],
            "{sql}"
        );
    }
    // The peer has not all types, and sends days by a code that is none.
    if server.real {
        for (sql, wanted) in [
            ("cast('2026-02-03' as date)", json!("2026-02-03")),
            (
                "cast('2026-02-03 04:05:06.789' as datetime2(3))",
                json!("2026-02-03 04:05:06.789000"),
            ),
            (
                "cast('12345678901234567890.12' as decimal(22,2))",
                json!("12345678901234567890.12"),
            ),
            ("cast(0x00ff as varbinary(4))", json!("00ff")),
            ("cast(12.3456 as money)", json!(12.3456)),
            (
                "cast('0B6A1A8E-6C7B-4A5C-9D53-2F6C1D1E0A01' as uniqueidentifier)",
                json!("0b6a1a8e-6c7b-4a5c-9d53-2f6c1d1e0a01"),
            ),
            (
                "cast('2026-02-03 04:05:06.003' as datetime)",
                json!("2026-02-03 04:05:06.003000"),
            ),
            ("cast('04:05:06.1234567' as time)", json!("04:05:06.1234567")),
            (
                "cast('2026-02-03 04:05:06 -03:00' as datetimeoffset(0))",
                json!("2026-02-03 07:05:06.000000Z"),
            ),
            ("cast('<a/>' as xml)", json!("<a/>")),
        ] {
            assert_eq!(
                first(&server.target, &format!("select {sql} as x"), &[]).await,
                [wanted],
                "{sql}"
            );
        }
    }
}

#[tokio::test]
async fn values_are_bound_to_sql_server() {
    let Some(server) = asked() else { return };
    let mut values = vec![json!(1), json!(i64::MAX), json!("Grüße ' or 1 = 1 --"), Value::Null];
    // A flag is a number to the peer, and it cannot read the type of a float.
    if server.real {
        values.extend([json!(true), json!(0.5), json!("x".repeat(5_000))]);
    }
    for value in values {
        let params = [value.clone()];
        assert_eq!(first(&server.target, "select @P1 as x", &params).await, [value]);
    }
    let error = rows(&server.target, "select @P1 as x", &[]).await.unwrap_err();
    assert!(error.message.contains("takes 1 parameters, 0 are given"), "{error}");
    let error = rows(&server.target, "select @P2 as x", &[json!(1), json!(2)])
        .await
        .unwrap_err();
    assert!(error.message.contains("no @P1"), "{error}");
}

#[tokio::test]
async fn sql_server_is_read_and_not_written() {
    let Some(server) = asked() else { return };
    let table = format!("pointsman_t{}", std::process::id());
    run(
        &server.target,
        &format!("create table {table}(id int primary key, name nvarchar(20) null)"),
    )
    .await;
    run(
        &server.target,
        &format!("insert into {table} values (1, N'Grüße '), (2, N''), (3, null)"),
    )
    .await;
    let mut session = sqlserver::session::session(&server.target).await.unwrap();
    let seen = all(&mut session, &format!("select id, name from {table} order by id"))
        .await
        .unwrap();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        seen,
        [
            vec![text("1"), text("Grüße ")],
            vec![text("2"), text("")],
            vec![text("3"), None],
        ]
    );
    for sql in [
        format!("delete from {table}"),
        format!("select 1 delete from {table}"),
        format!("select * into {table}_x from {table}"),
        format!("with a as (select * from {table}) delete from a"),
        format!("select 1; truncate table {table}"),
        "select next value for s".to_owned(),
    ] {
        for refused in [
            rows(&server.target, &sql, &[]).await.err(),
            all(&mut session, &sql).await.err(),
        ] {
            let refused = refused.unwrap();
            assert_eq!(refused.kind, ActionErrorKind::Permanent, "{sql}");
            assert!(refused.message.contains("the statement is refused"), "{refused}");
        }
    }
    let count = format!("select count(*) as n from {table}");
    assert_eq!(first(&server.target, &count, &[]).await, [json!(3)]);
    run(&server.target, &format!("drop table {table}")).await;
}

#[tokio::test]
async fn errors_of_sql_server_are_told() {
    let Some(server) = asked() else { return };
    let error = rows(&server.target, "select * from nowhere_at_all", &[])
        .await
        .unwrap_err();
    assert_eq!(error.kind, ActionErrorKind::Permanent);
    assert!(
        error.message.contains("(208)") && error.message.contains("check the name"),
        "{error}"
    );
    let wrong = ServerTarget {
        password: Some("hunter2".to_owned()),
        ..server.target.clone()
    };
    let error = Reader::open(&wrong).await.err().unwrap();
    assert_eq!(error.kind, ActionErrorKind::Permanent);
    assert!(error.message.contains("Login failed for user"), "{error}");
    assert!(!error.message.contains("hunter2"), "{error}");
    // The peer has one number for all of them.
    assert!(error.message.contains("(18456)") || !server.real, "{error}");
    let closed = ServerTarget {
        port: crate::databases::free_port(),
        host: "127.0.0.1".to_owned(),
        ..server.target.clone()
    };
    let error = Reader::open(&closed).await.err().unwrap();
    assert_eq!(error.kind, ActionErrorKind::Transient);
    assert!(error.message.contains("may this machine reach it?"), "{error}");
}

#[tokio::test]
async fn sql_server_is_asked_before_a_read() {
    let Some(server) = asked() else { return };
    let about = Reader::open(&server.target).await.unwrap().about().await.unwrap();
    assert!(about.product.starts_with("SQL Server "), "{about:?}");
    assert!(about.ahead_s.abs() < 60.0, "{about:?}");
    assert_eq!(about.identity.get("database"), Some(&json!(server.target.database)));
    let database = Database::Server(server.target.clone());
    let known = database.understands("select @P1 as x", &[json!(1)]).await.unwrap();
    assert_eq!(known.identity, about.identity);
    if server.real {
        let error = database
            .understands("select * from nowhere_at_all", &[])
            .await
            .unwrap_err();
        assert!(error.message.contains("(208)"), "{error}");
    }
}

#[tokio::test]
async fn a_cancelled_read_of_sql_server_ends() {
    let Some(server) = asked() else { return };
    let cancel = CancellationToken::new();
    cancel.cancel();
    let database = Database::Server(server.target.clone());
    let ended = database.rows("select 1 as x", &[], &cancel).await;
    assert_eq!(ended.unwrap_err().kind, ActionErrorKind::Cancelled);
    assert_eq!(first(&server.target, "select 1 as x", &[]).await, [json!(1)]);
}

#[tokio::test]
async fn a_session_of_sql_server_that_is_cut_is_gone() {
    let Some(server) = asked() else { return };
    let mut connection = sqlserver::connect::connect(&server.target, true).await.unwrap();
    connection.cut().end().await;
    let gone = match connection.client.simple_query("select 1 as x").await {
        Ok(answer) => answer.into_results().await.map(drop),
        Err(error) => Err(error),
    };
    let error = sqlserver::errors::failed(&gone.unwrap_err(), "the query");
    assert_eq!(error.kind, ActionErrorKind::Transient, "{error}");
}

#[tokio::test]
async fn sql_server_is_who_its_certificate_says() {
    let issued = Issued::new();
    let Some(peer) = peer() else { return };
    let port = front(peer.port, &issued.path("cert.pem"), &issued.path("key.pem"));
    let by = |host: &str, protection: Protection| ServerTarget {
        protection,
        ..target(host, port)
    };
    let verified = || Protection::Verified {
        ca: Some(issued.path("ca.pem")),
    };
    assert_eq!(
        first(&by("localhost", verified()), "select 1 as x", &[]).await,
        [json!(1)]
    );
    assert_eq!(
        first(&by("127.0.0.1", Protection::Unverified), "select 1 as x", &[]).await,
        [json!(1)]
    );
    for (target, why) in [
        (by("localhost", Protection::Verified { ca: None }), "under ca:"),
        (by("127.0.0.1", verified()), "for this name"),
    ] {
        let error = Reader::open(&target).await.err().unwrap();
        assert_eq!(error.kind, ActionErrorKind::Permanent, "{error}");
        assert!(error.message.contains(why), "{error}");
    }
}
