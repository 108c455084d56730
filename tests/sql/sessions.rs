//! Sessions of a comparison: rows as text, writes refused by the server, statements ended on it.

use std::time::Duration;

use pointsman::provider::action::{ActionError, ActionErrorKind};
use pointsman::provider::sql::database::Reader;
use pointsman::provider::sql::server::{Engine, ServerTarget};
use pointsman::provider::sql::session::{Session, all, each};
use pointsman::provider::sql::{mysql, postgres};
use tokio_util::sync::CancellationToken;

use crate::databases::{self, Server};

async fn session(target: &ServerTarget) -> Box<dyn Session> {
    match target.engine {
        Engine::Postgres => Box::new(postgres::session::session(target).await.unwrap()),
        Engine::Mysql => Box::new(mysql::session::session(target).await.unwrap()),
        Engine::Sqlserver => panic!("another test's"),
    }
}

#[tokio::test]
async fn rows_come_as_text_and_writes_are_refused() {
    for server in [databases::postgres(), databases::mariadb()].into_iter().flatten() {
        let database = server.database().await;
        database
            .run("create table t(id bigint primary key, name varchar(20), at timestamp null)")
            .await;
        database
            .run("insert into t values (1, 'Grüße ', '2026-01-02 03:04:05'), (2, '', null), (3, null, null)")
            .await;
        let mut reading = session(&database.target).await;
        let rows = all(&mut *reading, "select id, name, at from t order by id")
            .await
            .unwrap();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            rows,
            [
                vec![text("1"), text("Grüße "), text("2026-01-02 03:04:05")],
                vec![text("2"), text(""), None],
                vec![text("3"), None, None],
            ]
        );
        let refused = all(&mut *reading, "delete from t").await.unwrap_err();
        assert_eq!(refused.kind, ActionErrorKind::Permanent);
        assert!(refused.message.contains("would write"), "{refused}");
        assert_eq!(database.text("select count(*) from t").await.unwrap(), "3");
    }
}

#[tokio::test]
async fn an_account_with_ed25519_logs_in() {
    let Some(plugins) = databases::plugin("auth_ed25519") else {
        return;
    };
    let folder = format!("--plugin-dir={}", plugins.path().display());
    let Some(server) = Server::mariadb(&[&folder, "--plugin-load-add=auth_ed25519"]) else {
        return;
    };
    let database = server.database().await;
    database
        .run("create user edna@'127.0.0.1' identified via ed25519 using password('schön')")
        .await;
    let target = |password: &str| ServerTarget {
        user: "edna".to_owned(),
        password: Some(password.to_owned()),
        database: "information_schema".to_owned(),
        ..database.target.clone()
    };
    let mut reading = mysql::session::session(&target("schön")).await.unwrap();
    let who = all(&mut reading, "select current_user()").await.unwrap();
    assert_eq!(who[0][0].as_deref(), Some("edna@127.0.0.1"));
    // The driver takes a zero at the end of what it is to sign for an end, which it is in one login of 256.
    let mut tries = 0;
    let mut reader = loop {
        tries += 1;
        match Reader::open(&target("schön")).await {
            Ok(reader) => break reader,
            Err(error) => assert!(tries < 3, "{error}"),
        }
    };
    reader.about().await.unwrap();

    let wrong = target("another");
    for error in [
        mysql::session::session(&wrong).await.err().unwrap(),
        Reader::open(&wrong).await.err().unwrap(),
    ] {
        assert_eq!(error.kind, ActionErrorKind::Permanent, "{error}");
        assert!(error.message.contains("check user and password"), "{error}");
    }
}

#[tokio::test]
async fn what_is_cancelled_ends_on_the_server() {
    for server in [databases::postgres(), databases::mariadb()].into_iter().flatten() {
        let database = server.database().await;
        let (sleep, asleep) = match server.engine {
            Engine::Postgres => (
                "select pg_sleep(3600)",
                "select count(*) from pg_stat_activity where query = 'select pg_sleep(3600)' and state = 'active'",
            ),
            Engine::Mysql | Engine::Sqlserver => (
                "select sleep(3600)",
                "select count(*) from information_schema.processlist where info = 'select sleep(3600)'",
            ),
        };
        let mut reading = session(&database.target).await;
        let cancel = CancellationToken::new();
        let waits = cancel.clone();
        let running = tokio::spawn(async move { each(&mut *reading, sleep, &waits, &mut |_row| Ok(())).await });
        until(&database, asleep, "1").await;
        cancel.cancel();
        let ended: ActionError = running.await.unwrap().unwrap_err();
        assert_eq!(ended.kind, ActionErrorKind::Cancelled);
        until(&database, asleep, "0").await;
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
