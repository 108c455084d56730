//! What servers say of themselves.

use pointsman::provider::sql::database::{Database, Reader};
use pointsman::provider::sql::server::{Engine, ServerTarget};
use serde_json::json;

use crate::{databases, rows};

#[tokio::test]
async fn a_server_tells_what_it_is() {
    for server in databases::both() {
        let database = server.database().await;
        let about = Reader::open(&database.target).await.unwrap().about().await.unwrap();
        let (product, named) = match server.engine {
            Engine::Postgres => ("PostgreSQL ", "oid"),
            Engine::Mysql | Engine::Sqlserver => ("MariaDB ", "server_id"),
        };
        assert!(about.product.starts_with(product), "{about:?}");
        assert_eq!((about.replica, about.encrypted), (Some(false), false));
        assert!(about.ahead_s.abs() < 30.0, "the same clock: {about:?}");
        assert_eq!(about.identity["database"], json!(database.target.database));
        assert!(about.identity[named].is_number(), "{about:?}");
        // What an approval binds does not move.
        let asked = Database::Server(database.target.clone());
        let (first, second) = (
            asked.understands("select 1", &[]).await,
            asked.understands("select 1", &[]).await,
        );
        assert_eq!(first.unwrap(), second.unwrap());
    }
}

#[tokio::test]
async fn a_user_with_few_rights_reads_what_it_may() {
    let Some(server) = databases::mariadb() else { return };
    let database = server.database().await;
    let name = &database.target.database;
    database.run("create table open(id int)").await;
    database.run("create table shut(id int)").await;
    database
        .run(&format!("create user {name}@'127.0.0.1' identified by 'low'"))
        .await;
    database
        .run(&format!("grant select on {name}.open to {name}@'127.0.0.1'"))
        .await;
    let target = ServerTarget {
        user: name.clone(),
        password: Some("low".to_owned()),
        ..database.target.clone()
    };
    let about = Reader::open(&target).await.unwrap().about().await.unwrap();
    assert_eq!(about.replica, None, "it may not ask");
    assert_eq!(rows(&target, "select count(*) from open", &[]).await.unwrap().count, 1);
    assert!(rows(&target, "show variables like 'version'", &[]).await.unwrap().count >= 1);
    let error = rows(&target, "select count(*) from shut", &[]).await.unwrap_err();
    assert!(error.message.contains("grant it to the connection's user"), "{error}");
}
