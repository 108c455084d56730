//! The shipped recipe for a MariaDB replica, conducted on two real servers: forwards, and all the way back.

use std::fs;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::databases::{Database, PASSWORD, Server, USER};

const RECIPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/runbooks/recipes/mariadb-replica.yaml");

struct Pair {
    primary: Server,
    replica: Server,
    target: Database,
    folder: tempfile::TempDir,
}

impl Pair {
    async fn new() -> Option<Self> {
        let primary = Server::mariadb(&["--server-id=1", "--log-bin=binlog"])?;
        let replica = Server::mariadb(&["--server-id=2", "--log-bin=binlog", "--read-only=1"])?;
        let source = Database::open(primary.target("mysql")).await;
        let target = Database::open(replica.target("mysql")).await;
        source
            .run("create user repl@'127.0.0.1' identified by 'replicates'")
            .await;
        source.run("grant replication slave on *.* to repl@'127.0.0.1'").await;
        source
            .run("create user app@'127.0.0.1' identified by 'an application'")
            .await;
        // What the servers have made of themselves is nobody's business.
        let at = source.text("select @@gtid_binlog_pos").await.unwrap();
        target.run(&format!("set global gtid_slave_pos = '{at}'")).await;
        target
            .run(&format!(
                "change master to master_host = '127.0.0.1', master_port = {}, master_user = 'repl', \
                 master_password = 'replicates', master_use_gtid = slave_pos, master_connect_retry = 1",
                primary.port
            ))
            .await;
        target.run("start slave").await;
        source.run("create database erp").await;
        source.run("grant all on erp.* to app@'127.0.0.1'").await;
        target
            .run("create user app@'127.0.0.1' identified by 'an application'")
            .await;
        let source = Database::open(primary.target("erp")).await;
        source
            .run("create table orders(id bigint primary key, amount decimal(10,2), created_at datetime(6) not null)")
            .await;
        source
            .run("insert into orders select seq, seq / 4, '2026-01-01' from seq_1_to_5000")
            .await;
        until("the rows arrive", || async {
            target.text("select count(*) from erp.orders").await.as_deref() == Some("5000")
        })
        .await;
        let target = Database::open(replica.target("erp")).await;
        Some(Self {
            primary,
            replica,
            target,
            folder: tempfile::tempdir().unwrap(),
        })
    }

    /// The recipe with these servers in it.
    fn recipe(&self) -> String {
        let mut text = fs::read_to_string(RECIPE).unwrap();
        for (host, server) in [("db01", &self.primary), ("db02", &self.replica)] {
            let known = format!("host: {host}.example.com, port: 3306,");
            assert!(text.contains(&known), "{known}");
            text = text.replace(
                &known,
                &format!("host: 127.0.0.1, port: {}, tls: \"off\",", server.port),
            );
        }
        for (known, here) in [
            ("user: cutover", format!("user: {USER}")),
            (
                "approvals: typed",
                "approvals: typed\n    auto_approve: true".to_owned(),
            ),
        ] {
            assert!(text.contains(known), "{known}");
            text = text.replace(known, &here);
        }
        let path = self.folder.path().join("replica.yaml");
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    async fn conduct(&self, more: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
        command
            .args(["run", &self.recipe(), "--env", "staging", "--as", "carla"])
            .args(["--headless", "--approve-all"])
            .args(more)
            .env_clear()
            .env("HOME", self.folder.path())
            .env("POINTSMAN_STATE_DIR", self.folder.path().join("state"))
            .env("CUTOVER_PASSWORD", PASSWORD)
            .env("APP_PASSWORD", "an application");
        tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap()
    }
}

async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn words(ended: &Output) -> String {
    let text = [ended.stdout.as_slice(), &ended.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

async fn application(server: &Server, sql: &str) -> bool {
    let mut target = server.target("erp");
    target.user = "app".to_owned();
    target.password = Some("an application".to_owned());
    Database::open(target).await.attempt(sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_becomes_the_primary() {
    let Some(pair) = Pair::new().await else { return };
    pair.target.run("grant all on erp.* to app@'127.0.0.1'").await;
    let ended = pair.conduct(&[]).await;
    assert_eq!(ended.status.code(), Some(0), "{}", words(&ended));
    let write = "insert into orders values (9001, 1, now(6))";
    assert!(!application(&pair.primary, write).await, "the old primary takes writes");
    assert!(application(&pair.replica, write).await, "the new primary takes none");
    // The freeze ended every session that was open.
    let old = Database::open(pair.primary.target("erp")).await;
    let old = old.text("select count(*) from orders").await;
    assert_eq!(old.as_deref(), Some("5000"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_goes_all_the_way_back() {
    let Some(pair) = Pair::new().await else { return };
    let ended = pair.conduct(&["--roll-back-at", "applications"]).await;
    assert_eq!(ended.status.code(), Some(4), "{}", words(&ended));
    let closed = pair.target.text("select @@global.read_only").await;
    assert_eq!(closed.as_deref(), Some("1"));
    // The old primary takes writes, and they arrive.
    let write = "insert into orders values (9001, 1, now(6))";
    assert!(application(&pair.primary, write).await);
    until("the replica replicates again", || async {
        pair.target
            .text("select count(*) from orders where id = 9001")
            .await
            .as_deref()
            == Some("1")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_only_the_replica_has_otherwise_holds_the_promotion() {
    let Some(pair) = Pair::new().await else { return };
    // Somebody who may write on a replica did.
    pair.target.run("update orders set amount = 0 where id = 77").await;
    let ended = pair.conduct(&[]).await;
    let said = words(&ended);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("orders changed 77"), "{said}");
    let closed = pair.target.text("select @@global.read_only").await;
    assert_eq!(closed.as_deref(), Some("1"));
}
