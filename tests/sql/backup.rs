//! Backups: SQLite's are made and read again; SQL Server's statement is a script's, which plays what msdb keeps and was
//! never held against a SQL Server.

use std::sync::Arc;

use pointsman::provider::Action;
use pointsman::provider::action::{ActionErrorKind, Cx, Observed};
use pointsman::provider::connection::{Connections, SqliteTarget, Target};
use pointsman::provider::registry::{Request, build};
use pointsman::provider::sql::server::{Engine, ServerTarget};
use serde_json::{Value, json};

use crate::bench::{action, cx, try_action};
use crate::mssql::front::Answer;
use crate::mssql::world::{Played, World};
use crate::mssql::{Script, Stage, target};

fn of_file(path: &std::path::Path, with: Value) -> Result<Box<dyn Action>, String> {
    let target = Target::Sqlite(SqliteTarget { path: path.to_owned() });
    let connections = Connections::new().with("file", target);
    let on = ["file".to_owned()];
    let request = Request {
        uses: "sql.backup",
        on: &on,
        with: &with,
    };
    build(&request, &connections).map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_file_is_copied_whole_while_others_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("erp.db");
    let session = rusqlite::Connection::open(&path).unwrap();
    session
        .execute_batch("pragma journal_mode = wal; create table t(id integer primary key); insert into t values (1)")
        .unwrap();
    // What is not committed is not in the copy, and does not hold it up.
    session
        .execute_batch("begin immediate; insert into t values (2)")
        .unwrap();
    let to = folder.path().join("backups");
    let backs = of_file(&path, json!({ "to": to })).unwrap();
    let cx = cx("pm-copy");
    let refused = backs.check(&cx).await.unwrap_err();
    assert!(refused.message.contains("backups"), "{refused}");
    std::fs::create_dir(&to).unwrap();
    backs.check(&cx).await.unwrap();
    assert!(matches!(backs.observe(&cx).await.unwrap(), Observed::NotStarted { .. }));
    // A part that was left behind is no copy.
    std::fs::write(to.join("erp_pm-copy.part"), "half").unwrap();
    let done = backs.execute(&cx).await.unwrap();
    session.execute_batch("commit").unwrap();
    assert_eq!(done.result["file"], json!(to.join("erp_pm-copy.db")));
    backs.prove(&cx).await.unwrap();
    let Observed::Done(seen) = backs.observe(&cx).await.unwrap() else {
        panic!("it is there");
    };
    assert_eq!(seen.result, done.result);
    let copy = rusqlite::Connection::open(to.join("erp_pm-copy.db")).unwrap();
    let count: i64 = copy.query_row("select count(*) from t", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1);
    assert_eq!(std::fs::read_dir(&to).unwrap().count(), 1);
    // The same again is the same copy.
    assert_eq!(backs.execute(&cx).await.unwrap().result, done.result);
    // One that rots is found.
    let bytes = std::fs::read(to.join("erp_pm-copy.db")).unwrap();
    let half: Vec<u8> = bytes
        .iter()
        .enumerate()
        .map(|(at, byte)| if at > 4_096 { 0xFF } else { *byte })
        .collect();
    drop(copy);
    std::fs::write(to.join("erp_pm-copy.db"), half).unwrap();
    assert!(backs.prove(&cx).await.is_err());
    assert!(of_file(&path, json!({ "to": "/x", "compression": true })).is_err());
}

#[tokio::test]
async fn a_copy_that_fails_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("erp.db");
    std::fs::write(
        &path,
        "no database at all, and long enough to be looked at as if it were one ......................",
    )
    .unwrap();
    let backs = of_file(&path, json!({ "to": folder.path() })).unwrap();
    let cx = cx("pm-bad");
    let refused = backs.execute(&cx).await.unwrap_err();
    assert_eq!(refused.kind, ActionErrorKind::Permanent, "{refused}");
    assert!(matches!(backs.observe(&cx).await.unwrap(), Observed::NotStarted { .. }));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

fn stage() -> Option<(Arc<Played>, Stage)> {
    let played = Played::new(World::default());
    let stage = Stage::new(Arc::clone(&played) as Arc<dyn Script>)?;
    Some((played, stage))
}

async fn settled(action: &dyn Action, cx: &Cx) -> Observed {
    loop {
        match action.observe(cx).await.unwrap() {
            Observed::Running { .. } => tokio::task::yield_now().await,
            seen => return seen,
        }
    }
}

#[tokio::test]
async fn a_backup_of_sql_server_is_found_in_msdb_and_verified() {
    let Some((played, stage)) = stage() else { return };
    let backs = action(
        "sql.backup",
        json!({ "to": "/backup", "compression": true }),
        &[&stage.target],
    );
    let preview = backs.preview();
    assert!(
        preview.commands[0]
            .contains("backup database [master] to disk = N'/backup/master_KEY.bak' with copy_only, checksum")
    );
    assert!(preview.commands[1].contains("restore verifyonly from disk = N'/backup/master_KEY.bak' with checksum"));
    let ready = backs.check(&cx("pm-check")).await.unwrap();
    assert!(
        ready
            .facts
            .iter()
            .any(|fact| fact.contains("into /backup; 0 backups of it are known")),
        "{ready:?}"
    );
    let cx = cx("pm-back");
    for _ in 0..2 {
        let done = backs.execute(&cx).await.unwrap();
        assert_eq!(done.result["file"], json!("/backup/master_pm-back.bak"));
        assert_eq!(done.result["bytes"], json!(1_048_576));
        assert_eq!(done.result["copy_only"], json!(true));
    }
    assert_eq!(played.with(|world| world.backups.len()), 1);
    backs.prove(&cx).await.unwrap();
    played.with(|world| {
        world.once.push((
            "restore verifyonly",
            Answer::Error(3189, "Damage to the backup set was detected."),
        ));
    });
    let bad = backs.prove(&cx).await.unwrap_err();
    assert!(bad.message.contains("(3189)"), "{bad}");
}

#[tokio::test]
async fn a_backup_whose_answer_is_lost_is_looked_for() {
    for (answer, there) in [(Answer::Cut, false), (Answer::CutAfter, true)] {
        let Some((played, stage)) = stage() else { return };
        let backs = action("sql.backup", json!({ "to": "/backup" }), &[&stage.target]);
        played.with(|world| world.once.push(("backup database", answer.clone())));
        let cx = cx("pm-lost");
        let lost = backs.execute(&cx).await.unwrap_err();
        assert_eq!(lost.kind, ActionErrorKind::InDoubt, "{lost}");
        let seen = settled(&*backs, &cx).await;
        assert_eq!(matches!(seen, Observed::Done(_)), there, "{answer:?}: {seen:?}");
        assert_eq!(
            matches!(seen, Observed::NotStarted { .. }),
            !there,
            "{answer:?}: {seen:?}"
        );
    }
    let Some((played, stage)) = stage() else { return };
    let backs = action("sql.backup", json!({ "to": "/backup" }), &[&stage.target]);
    played.with(|world| {
        world
            .once
            .push(("backup database", Answer::Error(3201, "Cannot open backup device.")))
    });
    let refused = backs.execute(&cx("pm-refused")).await.unwrap_err();
    assert_eq!(refused.kind, ActionErrorKind::Permanent, "{refused}");
    // It may stand whole where only its history could not be written.
    let history = "Could not insert a backup or restore history/detail record in the msdb database.";
    played.with(|world| world.once.push(("backup database", Answer::Error(3009, history))));
    let doubt = backs.execute(&cx("pm-history")).await.unwrap_err();
    assert_eq!(doubt.kind, ActionErrorKind::InDoubt, "{doubt}");
    assert!(doubt.message.contains("/backup/master_pm-history.bak"), "{doubt}");
}

#[tokio::test]
async fn who_may_not_verify_is_told_before() {
    let Some((played, stage)) = stage() else { return };
    played.with(|world| world.unverifying = true);
    let verifies = action("sql.backup", json!({ "to": "/backup" }), &[&stage.target]);
    let refused = verifies.check(&cx("pm-check")).await.unwrap_err();
    assert!(
        refused.message.contains("CREATE ANY DATABASE") && refused.message.contains("verify: false"),
        "{refused}"
    );
    let only = action(
        "sql.backup",
        json!({ "to": "/backup", "verify": false }),
        &[&stage.target],
    );
    only.check(&cx("pm-check")).await.unwrap();
}

#[test]
fn others_are_backed_up_by_command() {
    for engine in [Engine::Postgres, Engine::Mysql] {
        let target = ServerTarget {
            engine,
            ..target("127.0.0.1", 1)
        };
        let refused = try_action("sql.backup", json!({ "to": "/backup" }), &[&target])
            .err()
            .unwrap();
        assert!(refused.contains("by command"), "{refused}");
    }
}
