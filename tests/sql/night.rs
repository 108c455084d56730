//! The whole program on real servers: freeze, fence, statement, and the way back.

use std::fs;

use pointsman::provider::sql::server::Engine;

use crate::databases::{Database, PASSWORD, Server};
use crate::support::Place;

fn runbook(database: &Database, last: &str) -> String {
    let target = &database.target;
    let (engine, mark) = match target.engine {
        Engine::Postgres => ("postgres", "$1"),
        Engine::Mysql | Engine::Sqlserver => ("mysql", "?"),
    };
    let connection = |user: &str| {
        format!(
            "{{ uses: {engine}, host: 127.0.0.1, port: {}, database: {}, user: {user}, password: \"${{ secret.password }}\", \
             tls: off }}",
            target.port, target.database
        )
    };
    let (own, app) = (connection("pm"), connection("app"));
    format!(
        r#"version: 1
name: night
secrets: {{ password: {{ env: PASSWORD }} }}
connections:
  source: {own}
  app: {app}
environments:
  dress: {{ kind: rehearsal, auto_approve: true, people: {{ olga: {{ roles: [lead] }} }} }}
phases:
  - id: switch
    title: Switch
    steps:
      - id: freeze
        title: Freeze
        uses: sql.freeze_writes
        on: [source, app]
        with: {{ sessions: kill, except: [pm], proof: true }}
        outputs: {{ prior: result.prior_state }}
        rollback: {{ uses: sql.thaw_writes, on: source, with: {{ to: "${{ steps.freeze.outputs.prior }}" }} }}
      - id: fence
        title: Fence
        uses: sql.fence
        on: source
        rollback: {{ not_needed: it harms nobody }}
      - id: move
        title: Move
        uses: sql.exec
        on: source
        with: {{ sql: "update t set name = {mark} where id = 1", params: [moved] }}
        rollback: {{ uses: sql.exec, on: source, with: {{ sql: "update t set name = {mark} where id = 1", params: [one] }} }}
      - id: last
        title: Last
        uses: sql.exec
        on: source
        with: {{ sql: "{last}" }}
        on_failure: rollback
        rollback: {{ not_needed: nobody reads it }}
"#
    )
}

async fn conducted(server: &Server, database: &Database, last: &str) -> (i32, String) {
    assert_eq!(server.port, database.target.port);
    let place = Place::new();
    let file = place.path("night.yaml");
    fs::write(&file, runbook(database, last)).unwrap();
    let file = file.display().to_string();
    let ended = tokio::task::spawn_blocking(move || {
        let arguments = [
            "run",
            &file,
            "--env",
            "dress",
            "--as",
            "olga",
            "--headless",
            "--approve-all",
        ];
        place.command(&arguments).env("PASSWORD", PASSWORD).output().unwrap()
    });
    let output = ended.await.unwrap();
    let shown = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&shown).into_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_goes_forward_and_another_goes_back() {
    let maria = Server::mariadb(&["--event-scheduler=ON", "--log-bin"]);
    for server in [Server::postgres(&[]), maria].into_iter().flatten() {
        let database = server.database().await;
        database
            .run("create table t(id bigint primary key, name varchar(40))")
            .await;
        database.run("insert into t values (1, 'one')").await;
        let frozen = match server.engine {
            Engine::Postgres => {
                database.run("create role app login; grant all on t to app").await;
                "select coalesce((select setconfig::text from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase \
                 where datname = current_database()), 'none')"
            }
            Engine::Mysql | Engine::Sqlserver => {
                database
                    .run(&format!("create user app@'127.0.0.1' identified by '{PASSWORD}'"))
                    .await;
                database
                    .run(&format!(
                        "grant all on {}.* to app@'127.0.0.1'",
                        database.target.database
                    ))
                    .await;
                "select concat(@@global.read_only, @@global.event_scheduler)"
            }
        };
        let before = database.text(frozen).await;
        let name = "select name from t where id = 1";
        // The last statement is refused: everything goes back, and the fence stays.
        let (code, shown) = conducted(&server, &database, "insert into t values (1, 'again')").await;
        assert_eq!(code, 4, "{shown}");
        assert_eq!(database.text(name).await.unwrap(), "one");
        assert_eq!(database.text(frozen).await, before);
        assert_eq!(
            database.text("select count(*) from pointsman_fence").await.unwrap(),
            "1"
        );
        let (code, shown) = conducted(&server, &database, "insert into t values (2, 'two')").await;
        assert_eq!(code, 0, "{shown}");
        assert_eq!(database.text(name).await.unwrap(), "moved");
        assert_ne!(database.text(frozen).await, before);
        assert_eq!(database.text("select count(*) from t").await.unwrap(), "2");
    }
}
