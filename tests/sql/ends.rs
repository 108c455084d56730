//! How reads end that do not end by themselves, and how connections fail: limits, cancels, cut and refused connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pointsman::provider::action::{ActionError, ActionErrorKind};
use pointsman::provider::sql::database::{Database, Reader};
use pointsman::provider::sql::server::{Engine, Protection, ServerTarget};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{databases, rows};

fn sleep(engine: Engine) -> (&'static str, &'static str) {
    match engine {
        Engine::Postgres => (
            "select pg_sleep(3600), 1",
            "select count(*) from pg_stat_activity where query = 'select pg_sleep(3600), 1' and state = 'active' \
             and datname = current_database()",
        ),
        Engine::Mysql | Engine::Sqlserver => (
            "select sleep(3600), 1",
            "select count(*) from information_schema.processlist where info = 'select sleep(3600), 1' and db = database()",
        ),
    }
}

async fn until(database: &databases::Database, sql: &str, value: &str) {
    for _ in 0..3_000 {
        if database.text(sql).await.as_deref() == Some(value) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never {value}: {sql}");
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_ended_by_the_server() {
    for server in databases::both() {
        let database = server.database().await;
        let target = ServerTarget {
            patience: Duration::from_millis(300),
            ..database.target.clone()
        };
        let (sql, asleep) = sleep(server.engine);
        let error = rows(&target, sql, &[]).await.unwrap_err();
        assert_eq!(error.kind, ActionErrorKind::Transient, "{error}");
        assert!(error.message.contains("the connection's timeout"), "{error}");
        until(&database, asleep, "0").await;
    }
}

#[tokio::test]
async fn a_cancelled_read_ends_on_the_server() {
    for server in databases::both() {
        let database = server.database().await;
        let (sql, asleep) = sleep(server.engine);
        let cancel = CancellationToken::new();
        let (reading, waits) = (Database::Server(database.target.clone()), cancel.clone());
        let running = tokio::spawn(async move { reading.rows(sql, &[], &waits).await });
        until(&database, asleep, "1").await;
        cancel.cancel();
        let error = running.await.unwrap().unwrap_err();
        assert_eq!(error.kind, ActionErrorKind::Cancelled);
        until(&database, asleep, "0").await;
    }
}

async fn opened(target: &ServerTarget) -> ActionError {
    match Reader::open(target).await {
        Ok(_) => panic!("{target} opens"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn what_does_not_open_says_why() {
    let postgres = databases::Server::postgres_asking();
    for server in [postgres.map(Arc::new), databases::mariadb()].into_iter().flatten() {
        let target = server.target(if server.engine == Engine::Postgres {
            "postgres"
        } else {
            "mysql"
        });
        Reader::open(&target).await.unwrap();

        let wrong = ServerTarget {
            password: Some("hunter2".to_owned()),
            ..target.clone()
        };
        let error = opened(&wrong).await;
        assert_eq!(error.kind, ActionErrorKind::Permanent);
        assert!(error.message.contains("check user and password"), "{error}");
        assert!(!error.message.contains("hunter2"), "{error}");

        let elsewhere = ServerTarget {
            database: "nowhere".to_owned(),
            ..target.clone()
        };
        let error = opened(&elsewhere).await;
        assert_eq!(error.kind, ActionErrorKind::Permanent);
        assert!(
            error.message.contains("nowhere") && error.message.contains("check database:"),
            "{error}"
        );

        let nobody = ServerTarget {
            host: "nobody.invalid".to_owned(),
            ..target.clone()
        };
        let error = opened(&nobody).await;
        assert_eq!(error.kind, ActionErrorKind::Transient, "{error}");
        assert!(error.message.contains("nobody.invalid"), "{error}");

        let closed = ServerTarget {
            port: databases::free_port(),
            ..target.clone()
        };
        let error = opened(&closed).await;
        assert_eq!(error.kind, ActionErrorKind::Transient, "{error}");
        assert!(error.message.contains("may this machine reach it?"), "{error}");

        let plain = ServerTarget {
            protection: Protection::Verified { ca: None },
            ..target
        };
        let error = opened(&plain).await;
        assert_eq!(error.kind, ActionErrorKind::Permanent, "{error}");
        assert!(error.message.contains("tls: off"), "{error}");
    }
}

/// Stands between us and a server until it is told to cut.
async fn cutter(to: SocketAddr, cut: Arc<Notify>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut ours, _)) = listener.accept().await {
            let cut = Arc::clone(&cut);
            tokio::spawn(async move {
                let mut theirs = TcpStream::connect(to).await.unwrap();
                tokio::select! {
                    _done = tokio::io::copy_bidirectional(&mut ours, &mut theirs) => {}
                    () = cut.notified() => {
                        let _shut = ours.shutdown().await;
                    }
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn a_connection_that_is_cut_may_be_tried_again() {
    for server in databases::both() {
        let database = server.database().await;
        let cut = Arc::new(Notify::new());
        let through = SocketAddr::from(([127, 0, 0, 1], server.port));
        let target = ServerTarget {
            port: cutter(through, Arc::clone(&cut)).await,
            ..database.target.clone()
        };
        let (sql, asleep) = sleep(server.engine);
        let running = tokio::spawn(async move { rows(&target, sql, &[]).await });
        until(&database, asleep, "1").await;
        cut.notify_waiters();
        let error = running.await.unwrap().unwrap_err();
        assert_eq!(error.kind, ActionErrorKind::Transient, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_given_up() {
    // It takes connections, and that is all.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for engine in [Engine::Postgres, Engine::Mysql, Engine::Sqlserver] {
        let target = ServerTarget {
            engine,
            host: "127.0.0.1".to_owned(),
            port: silent.local_addr().unwrap().port(),
            database: "d".to_owned(),
            user: "u".to_owned(),
            password: None,
            token: None,
            protection: Protection::Off,
            patience: Duration::from_secs(60),
        };
        let error = opened(&target).await;
        assert_eq!(error.kind, ActionErrorKind::Transient, "{error}");
        assert!(error.message.contains("no connection within 10 s"), "{error}");
    }
}
