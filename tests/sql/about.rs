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

#[tokio::test]
async fn a_replica_tells_how_far_it_is_behind() {
    let primary = databases::Server::mariadb(&["--log-bin=bin", "--server-id=1"]);
    let replica = databases::Server::mariadb(&["--server-id=2", "--read-only"]);
    let (Some(primary), Some(replica)) = (primary, replica) else {
        return;
    };
    let (source, database) = (primary.database().await, replica.database().await);
    let at = source.text("select @@gtid_binlog_pos").await.unwrap();
    database.run(&format!("set global gtid_slave_pos = '{at}'")).await;
    let follow = format!(
        "change master to master_host = '127.0.0.1', master_port = {}, master_user = '{}', master_password = '{}', \
         master_use_gtid = slave_pos",
        primary.port,
        databases::USER,
        databases::PASSWORD
    );
    database.run(&follow).await;
    let mut reader = Reader::open(&database.target).await.unwrap();
    let still = reader.about().await.unwrap();
    assert_eq!((still.replica, still.behind_s), (Some(true), None), "it has not begun");
    assert_eq!(still.read_only, Some(true));
    database.run("start slave").await;
    for _ in 0..3_000 {
        let about = reader.about().await.unwrap();
        if about.behind_s.is_some() {
            assert_eq!((about.replica, about.identity), (Some(true), still.identity));
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("it never says how far it is behind: {}", replica.log());
}
