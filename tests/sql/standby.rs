//! The shipped recipe for a PostgreSQL standby, conducted on two real servers: forwards, and back as far as there is a way.

use std::fs;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::databases::{Database, Server, USER};

const RECIPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/runbooks/recipes/postgres-standby.yaml");

struct Pair {
    primary: Server,
    standby: Server,
    folder: tempfile::TempDir,
}

impl Pair {
    async fn new() -> Option<Self> {
        let primary = Server::postgres(&[])?;
        let admin = Database::open(primary.target("postgres")).await;
        for sql in [
            "create database erp".to_owned(),
            "create role app login".to_owned(),
            format!("create role promoter login superuser in role {USER}"),
        ] {
            admin.run(&sql).await;
        }
        let source = Database::open(primary.target("erp")).await;
        source
            .run(
                "create table orders(id bigint primary key, amount numeric(10,2), created_at timestamptz not null); \
                 grant all on orders to app; \
                 insert into orders select i, i / 4.0, '2026-01-01' from generate_series(1, 5000) i",
            )
            .await;
        let standby = Server::standby_of(&primary);
        let follows = "select count(*) from pg_stat_replication where state = 'streaming'";
        let deadline = Instant::now() + Duration::from_secs(60);
        while source.text(follows).await.as_deref() != Some("1") {
            assert!(Instant::now() < deadline, "it does not follow: {}", standby.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(Self {
            primary,
            standby,
            folder: tempfile::tempdir().unwrap(),
        })
    }

    /// The recipe with these servers in it.
    fn recipe(&self) -> String {
        let mut text = fs::read_to_string(RECIPE).unwrap();
        for (host, server) in [("db01", &self.primary), ("db02", &self.standby)] {
            let known = format!("host: {host}.example.com,");
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
            (
                "--host=db02.example.com",
                format!("--host=127.0.0.1, --port={}", self.standby.port),
            ),
            ("PGSSLMODE: verify-full", "PGSSLMODE: disable".to_owned()),
        ] {
            assert!(text.contains(known), "{known}");
            text = text.replace(known, &here);
        }
        let path = self.folder.path().join("standby.yaml");
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
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("POINTSMAN_STATE_DIR", self.folder.path().join("state"))
            .env("CUTOVER_PASSWORD", "unasked")
            .env("APP_PASSWORD", "unasked");
        tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap()
    }
}

fn words(ended: &Output) -> String {
    let text = [ended.stdout.as_slice(), &ended.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

async fn application(server: &Server, sql: &str) -> bool {
    let mut target = server.target("erp");
    target.user = "app".to_owned();
    Database::open(target).await.attempt(sql).await
}

const WRITE: &str = "insert into orders values (9001, 1, now())";

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_becomes_the_primary() {
    let Some(pair) = Pair::new().await else { return };
    let ended = pair.conduct(&[]).await;
    assert_eq!(ended.status.code(), Some(0), "{}", words(&ended));
    assert!(!application(&pair.primary, WRITE).await, "the old primary takes writes");
    assert!(application(&pair.standby, WRITE).await, "the new primary takes none");
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_promotion_there_is_a_way_back() {
    let Some(pair) = Pair::new().await else { return };
    let ended = pair.conduct(&["--roll-back-at", "promote"]).await;
    assert_eq!(ended.status.code(), Some(4), "{}", words(&ended));
    assert!(
        application(&pair.primary, WRITE).await,
        "the old primary is still closed"
    );
    let standby = Database::open(pair.standby.target("erp")).await;
    assert_eq!(standby.text("select pg_is_in_recovery()").await.as_deref(), Some("t"));
}
