//! Freezing SQL Server and letting writes in again: a script plays what READ_ONLY does. Never run against a SQL Server.

use std::sync::Arc;

use pointsman::provider::action::{ActionErrorKind, Cx, Observed};
use serde_json::{Value, json};

use crate::bench::{action, cx, exec, try_action};
use crate::mssql::front::Answer;
use crate::mssql::world::{Played, World};
use crate::mssql::{Script, Stage};

/// The proof's wait is shorter.
fn bound(key: &str, identity: Value) -> Cx {
    Cx {
        identity,
        speed: 50.0,
        ..cx(key)
    }
}

fn stage(world: World) -> Option<(Arc<Played>, Stage)> {
    let played = Played::new(world);
    let stage = Stage::new(Arc::clone(&played) as Arc<dyn Script>)?;
    Some((played, stage))
}

#[tokio::test]
async fn a_freeze_is_proven_and_goes_back_to_what_was() {
    let Some((played, stage)) = stage(World {
        busy: true,
        cdc: true,
        ..World::default()
    }) else {
        return;
    };
    let freeze = action(
        "sql.freeze_writes",
        json!({ "sessions": "kill", "proof": true }),
        &[&stage.target, &stage.target],
    );
    let preview = freeze.preview();
    assert_eq!(
        preview.commands,
        ["db0: alter database [master] set read_only with rollback immediate"]
    );
    let ready = freeze.check(&cx("pm-check")).await.unwrap();
    for words in [
        "now database READ_WRITE; then database READ_ONLY",
        "change data capture",
        "app from web1 by erp (1)",
    ] {
        assert!(
            ready.facts.iter().any(|fact| fact.contains(words)),
            "{words}: {ready:?}"
        );
    }
    let cx = bound("pm-freeze", ready.identity);
    assert!(matches!(
        freeze.observe(&cx).await.unwrap(),
        Observed::NotStarted { .. }
    ));
    let frozen = freeze.execute(&cx).await.unwrap();
    assert!(played.with(|world| world.read_only));
    assert_eq!(frozen.result["sessions_ended"], json!(1));
    assert_eq!(
        frozen.result["prior_state"]["before"],
        json!({ "database": "READ_WRITE" })
    );
    freeze.prove(&cx).await.unwrap();
    let tried = played.with(|world| {
        world
            .said
            .iter()
            .filter(|sql| sql.contains("-proof'"))
            .cloned()
            .collect::<Vec<_>>()
    });
    assert!(
        tried.len() == 1 && tried[0].starts_with("insert into [dbo].[pointsman_marker]("),
        "{tried:?}"
    );
    assert!(matches!(freeze.observe(&cx).await.unwrap(), Observed::Done(_)));
    let refused = exec("insert into t values (1)", &stage.target)
        .execute(&bound("pm-w", Value::Null))
        .await;
    assert!(refused.unwrap_err().message.contains("read-only"));
    // What a further try finds is not what was before the first.
    let again = freeze.check(&cx).await.unwrap();
    assert_eq!(again.identity["prior_state"], frozen.result["prior_state"]);
    let thaw = action(
        "sql.thaw_writes",
        json!({ "to": frozen.result["prior_state"] }),
        &[&stage.target],
    );
    let ready = thaw.check(&cx).await.unwrap();
    let cx = bound("pm-thaw", ready.identity);
    assert!(matches!(thaw.observe(&cx).await.unwrap(), Observed::NotStarted { .. }));
    for sent in [1, 0] {
        assert_eq!(thaw.execute(&cx).await.unwrap().result["thawed"], json!(sent));
    }
    assert!(!played.with(|world| world.read_only));
    assert!(matches!(thaw.observe(&cx).await.unwrap(), Observed::Done(_)));
    let open = freeze.prove(&cx).await.unwrap_err();
    assert!(open.message.contains("was not refused"), "{open}");
}

#[tokio::test]
async fn what_was_closed_before_stays_closed() {
    let Some((played, stage)) = stage(World {
        read_only: true,
        ..World::default()
    }) else {
        return;
    };
    let with = json!({ "proof": true });
    let freeze = action("sql.freeze_writes", with, &[&stage.target, &stage.target]);
    let ready = freeze.check(&cx("pm-check")).await.unwrap();
    let cx = bound("pm-freeze", ready.identity);
    let frozen = freeze.execute(&cx).await.unwrap();
    // No table of the tool's can be made in it: none is needed for the proof, and no right to make one.
    let no_right = Answer::Error(262, "CREATE TABLE permission denied in database 'master'.");
    played.with(|world| world.once.push(("create table pointsman_refused", no_right.clone())));
    freeze.prove(&cx).await.unwrap();
    let tries = played.with(|world| {
        world
            .said
            .iter()
            .filter(|sql| sql.contains("pointsman_refused"))
            .count()
    });
    assert_eq!(tries, 2);
    played.with(|world| world.once = vec![("create table pointsman_refused", no_right.clone()); 2]);
    let refused = freeze.prove(&cx).await.unwrap_err();
    assert!(refused.message.contains("grant it CREATE TABLE"), "{refused}");
    let thaw = action(
        "sql.thaw_writes",
        json!({ "to": frozen.result["prior_state"] }),
        &[&stage.target],
    );
    assert_eq!(thaw.execute(&cx).await.unwrap().result["thawed"], json!(0));
    assert!(played.with(|world| world.read_only));
}

#[tokio::test]
async fn a_freeze_whose_answer_is_lost_is_found_by_reading() {
    for (answer, done) in [(Answer::Cut, false), (Answer::CutAfter, true)] {
        let Some((played, stage)) = stage(World::default()) else {
            return;
        };
        let freeze = action("sql.freeze_writes", json!({ "sessions": "kill" }), &[&stage.target]);
        let ready = freeze.check(&cx("pm-check")).await.unwrap();
        let cx = bound("pm-freeze", ready.identity);
        played.with(|world| world.once.push(("alter database", answer.clone())));
        let lost = freeze.execute(&cx).await.unwrap_err();
        assert_eq!(lost.kind, ActionErrorKind::InDoubt, "{lost}");
        let seen = loop {
            match freeze.observe(&cx).await.unwrap() {
                Observed::Running { .. } => tokio::task::yield_now().await,
                seen => break seen,
            }
        };
        assert_eq!(matches!(seen, Observed::Done(_)), done, "{answer:?}: {seen:?}");
        assert_eq!(
            matches!(seen, Observed::NotStarted { .. }),
            !done,
            "{answer:?}: {seen:?}"
        );
        // Done again, it still goes back to what was before the first.
        let again = freeze.execute(&cx).await.unwrap();
        assert_eq!(
            again.result["prior_state"]["before"],
            json!({ "database": "READ_WRITE" })
        );
    }
}

#[tokio::test]
async fn nobody_is_ended_who_was_not_meant() {
    let Some((played, stage)) = stage(World {
        busy: true,
        ..World::default()
    }) else {
        return;
    };
    let freeze = action("sql.freeze_writes", json!({}), &[&stage.target]);
    let ready = freeze.check(&cx("pm-check")).await.unwrap();
    let refused = freeze.execute(&bound("pm-busy", ready.identity)).await.unwrap_err();
    assert_eq!(refused.kind, ActionErrorKind::Permanent, "{refused}");
    assert!(refused.message.contains("write sessions: kill"), "{refused}");
    assert!(!played.with(|world| world.read_only));
    for with in [json!({ "except": ["repl"] }), json!({ "hard": false })] {
        assert!(try_action("sql.freeze_writes", with, &[&stage.target]).is_err());
    }
    played.with(|world| world.group = true);
    let refused = freeze.check(&cx("pm-check")).await.unwrap_err();
    assert!(refused.message.contains("availability group"), "{refused}");
}

#[tokio::test]
async fn another_database_of_the_name_is_left_alone() {
    let Some((played, stage)) = stage(World {
        read_only: true,
        ..World::default()
    }) else {
        return;
    };
    let to = json!({ "engine": "sqlserver", "place": "elsewhere 7 2020-01-01", "before": { "database": "READ_WRITE" },
                     "set": { "database": "READ_ONLY" } });
    let thaw = action("sql.thaw_writes", json!({ "to": to }), &[&stage.target]);
    let refused = thaw.execute(&bound("pm-thaw", Value::Null)).await.unwrap_err();
    assert!(refused.message.contains("another database"), "{refused}");
    assert!(played.with(|world| world.read_only));
}

#[tokio::test]
async fn who_is_to_be_refused_is_looked_at_before() {
    let Some((played, stage)) = stage(World::default()) else {
        return;
    };
    let Some((_, elsewhere)) = self::stage(World {
        other: true,
        ..World::default()
    }) else {
        return;
    };
    let with = json!({ "sessions": "kill", "proof": true });
    let freeze = action("sql.freeze_writes", with.clone(), &[&stage.target, &elsewhere.target]);
    let refused = freeze.check(&cx("pm-check")).await.unwrap_err();
    assert!(refused.message.contains("another database"), "{refused}");
    let ready = action("sql.freeze_writes", with.clone(), &[&stage.target])
        .check(&cx("pm-check"))
        .await
        .unwrap();
    let bound = bound("pm-freeze", ready.identity);
    freeze.execute(&bound).await.unwrap();
    let refused = freeze.prove(&bound).await.unwrap_err();
    assert!(refused.message.contains("another database"), "{refused}");
    // Before the tables are there, and after.
    let freeze = action("sql.freeze_writes", with, &[&stage.target, &stage.target]);
    played.with(|world| (world.unwriting, world.read_only) = (true, false));
    for what in [
        "grant insert on [dbo].[pointsman_marker]",
        "grant insert on schema::[dbo]",
    ] {
        let refused = freeze.check(&cx("pm-check")).await.unwrap_err();
        assert!(refused.message.contains(what), "{refused}");
        played.with(|world| world.said.clear());
    }
}

#[tokio::test]
async fn nothing_is_set_after_a_cancel_and_nobody_counted_who_is_not_seen() {
    let Some((played, stage)) = stage(World {
        unseen: true,
        busy: true,
        ..World::default()
    }) else {
        return;
    };
    let freeze = action("sql.freeze_writes", json!({ "sessions": "kill" }), &[&stage.target]);
    let ready = freeze.check(&cx("pm-check")).await.unwrap();
    let cx = bound("pm-cancel", ready.identity.clone());
    played.with(|world| world.cancels = Some(cx.cancel.clone()));
    let ended = freeze.execute(&cx).await.unwrap_err();
    assert_eq!(ended.kind, ActionErrorKind::Cancelled, "{ended}");
    let set = played.with(|world| world.said.iter().any(|sql| sql.contains("alter database")));
    assert!(!set);
    let frozen = freeze.execute(&bound("pm-seen", ready.identity)).await.unwrap();
    assert_eq!(frozen.result["sessions_ended"], Value::Null);
}
