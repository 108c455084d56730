//! The whole program on what stands for SQL Server: a statement, the fence, a freeze, and the way back. Never run against a
//! SQL Server.

use std::fs;
use std::sync::Arc;

use pointsman::provider::sql::session::all;
use pointsman::provider::sql::sqlserver::session;

use crate::databases::{PASSWORD, USER};
use crate::mssql::world::{Played, World};
use crate::mssql::{Script, Stage};
use crate::support::Place;

fn runbook(port: u16, rows: u32) -> String {
    format!(
        r#"version: 1
name: night
secrets: {{ password: {{ env: PASSWORD }} }}
connections:
  source: {{ uses: sqlserver, host: 127.0.0.1, port: {port}, database: master, user: {USER}, password: "${{ secret.password }}", tls: off }}
environments:
  dress: {{ kind: rehearsal, auto_approve: true, people: {{ olga: {{ roles: [lead] }} }} }}
phases:
  - id: switch
    title: Switch
    steps:
      - id: move
        title: Move
        uses: sql.exec
        on: source
        with: {{ sql: "update t set name = @P1 where id = 1", params: [moved] }}
        rollback: {{ uses: sql.exec, on: source, with: {{ sql: "update t set name = @P1 where id = 1", params: [one] }} }}
      - id: fence
        title: Fence
        uses: sql.fence
        on: source
        rollback: {{ not_needed: it harms nobody }}
      - id: backup
        title: Backup
        uses: sql.backup
        on: source
        with: {{ to: /backup }}
        outputs: {{ file: result.file }}
        rollback: {{ not_needed: a backup stays }}
      - id: freeze
        title: Freeze
        uses: sql.freeze_writes
        on: source
        with: {{ sessions: kill, proof: true }}
        outputs: {{ prior: result.prior_state }}
        rollback: {{ uses: sql.thaw_writes, on: source, with: {{ to: "${{ steps.freeze.outputs.prior }}" }} }}
      - id: last
        title: Last
        uses: sql.assert
        on: source
        with: {{ sql: "select id from t", expect: "rows == {rows}" }}
        on_failure: rollback
"#
    )
}

async fn conducted(port: u16, rows: u32) -> (i32, String) {
    let place = Place::new();
    let file = place.path("night.yaml");
    fs::write(&file, runbook(port, rows)).unwrap();
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
async fn a_night_goes_back_and_another_goes_forward() {
    let played = Played::new(World::default());
    let Some(stage) = Stage::new(Arc::clone(&played) as Arc<dyn Script>) else {
        return;
    };
    stage
        .run("create table t(id bigint not null primary key, name nvarchar(40) null)")
        .await;
    stage.run("insert into t values (1, N'one')").await;
    let name = async || {
        let mut own = session::session(&stage.behind).await.unwrap();
        let rows = all(&mut own, "select name from t where id = 1").await.unwrap();
        rows.into_iter().flatten().flatten().next().unwrap()
    };
    // The last look finds what it should not: everything goes back, and the backup stays.
    let (code, shown) = conducted(stage.target.port, 9).await;
    assert_eq!(code, 4, "{shown}");
    assert_eq!(name().await, "one", "{shown}");
    assert_eq!(played.with(|world| (world.read_only, world.backups.len())), (false, 1));
    let (code, shown) = conducted(stage.target.port, 1).await;
    assert_eq!(code, 0, "{shown}");
    assert_eq!(name().await, "moved");
    assert_eq!(played.with(|world| (world.read_only, world.backups.len())), (true, 2));
    let sets = played.with(|world| {
        let sets = world.said.iter().filter(|sql| sql.contains("alter database"));
        sets.map(|sql| sql.split("*/ ").last().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    });
    let (closes, opens) = (
        "alter database [master] set read_only with rollback immediate",
        "alter database [master] set read_write with rollback immediate",
    );
    assert_eq!(sets, [closes, opens, closes]);
}
