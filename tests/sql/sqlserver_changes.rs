//! Changes on SQL Server, as far as a peer goes: its tables and transactions are other people's, the application's locks a
//! script's. Never run against a SQL Server.

use std::sync::Arc;

use pointsman::provider::action::{Action, ActionErrorKind, Cx, Observed};
use pointsman::provider::sql::session::{Session, all};
use pointsman::provider::sql::sqlserver;
use serde_json::json;

use crate::bench::{action, cx, exec, try_action};
use crate::mssql::front::{Answer, row};
use crate::mssql::world::{FOREVER, Played, World};
use crate::mssql::{Script, Stage};

/// A database with a table of one row.
async fn with_table() -> Option<(Arc<Played>, Stage)> {
    let played = Played::new(World::default());
    let stage = Stage::new(Arc::clone(&played) as Arc<dyn Script>)?;
    stage
        .run("create table t(id bigint not null primary key, name nvarchar(40) null)")
        .await;
    stage.run("insert into t values (1, N'one')").await;
    Some((played, stage))
}

async fn texts(stage: &Stage, sql: &str) -> Vec<String> {
    let mut session: Box<dyn Session> = Box::new(sqlserver::session::session(&stage.behind).await.unwrap());
    let rows = all(&mut *session, sql).await.unwrap();
    rows.into_iter()
        .map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(" "))
        .collect()
}

async fn ids(stage: &Stage) -> Vec<String> {
    texts(stage, "select id from t order by id").await
}

async fn markers(stage: &Stage) -> Vec<String> {
    texts(
        stage,
        "select [key], case when applied_at is null then 'begun' else 'done' end from pointsman_marker",
    )
    .await
}

/// What is seen once nobody is at it any more.
async fn settled(action: &dyn Action, cx: &Cx) -> Observed {
    loop {
        match action.observe(cx).await.unwrap() {
            Observed::Running { .. } => tokio::task::yield_now().await,
            seen => return seen,
        }
    }
}

#[tokio::test]
async fn a_statement_is_done_once_and_its_marker_says_so() {
    let Some((played, stage)) = with_table().await else {
        return;
    };
    let with =
        json!({ "sql": "insert into t(id, name) values (@P1, @P2), (@P3, null)", "params": [2, "zwei; -- '", 3] });
    let adds = action("sql.exec", with, &[&stage.target]);
    let cx = cx("pm-once");
    assert!(matches!(adds.observe(&cx).await.unwrap(), Observed::NotStarted { .. }));
    let ready = adds.check(&cx).await.unwrap();
    assert_eq!(ready.identity["database"], json!("master"), "{ready:?}");
    assert!(
        ready.facts.iter().any(|fact| fact.contains("will be made")),
        "{ready:?}"
    );
    for _ in 0..2 {
        assert!(adds.execute(&cx).await.unwrap().result.contains_key("rows"));
    }
    assert_eq!(
        texts(&stage, "select id, name from t order by id").await,
        ["1 one", "2 zwei; -- '", "3"]
    );
    assert_eq!(markers(&stage).await, ["pm-once done"]);
    let Observed::Done(seen) = settled(&*adds, &cx).await else {
        panic!("it is done");
    };
    assert!(seen.result.contains_key("rows"), "{seen:?}");
    let said = played.with(|world| world.said.clone());
    let signed = "/* pm-once */ insert into t(id, name)";
    assert!(said.iter().any(|sql| sql.starts_with(signed)), "{said:?}");
    assert!(
        said.contains(&"/* pm-once */ commit transaction".to_owned()),
        "{said:?}"
    );
}

#[tokio::test]
async fn what_is_refused_leaves_nothing() {
    let Some((_, stage)) = with_table().await else { return };
    let twice = exec("insert into t values (7, N'a'), (1, N'b')", &stage.target);
    let cx = cx("pm-refused");
    let refused = twice.execute(&cx).await.unwrap_err();
    assert_eq!(refused.kind, ActionErrorKind::Permanent, "{refused}");
    assert_eq!(ids(&stage).await, ["1"]);
    assert_eq!(markers(&stage).await, Vec::<String>::new());
    assert!(matches!(settled(&*twice, &cx).await, Observed::NotStarted { .. }));
    for sql in [
        "begin transaction",
        "delete from t; delete from t",
        "commit",
        "use other",
    ] {
        let refused = try_action("sql.exec", json!({ "sql": sql }), &[&stage.target]).err();
        assert!(refused.is_some(), "{sql}");
    }
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_found_by_its_marker() {
    for (cut, ids_after, done) in [
        (Answer::Cut, vec!["1"], false),
        (Answer::CutAfter, vec!["1", "2"], true),
    ] {
        let Some((played, stage)) = with_table().await else {
            return;
        };
        played.with(|world| world.once.push(("commit transaction", cut.clone())));
        let adds = exec("insert into t values (2, N'two')", &stage.target);
        let cx = cx("pm-lost");
        let lost = adds.execute(&cx).await.unwrap_err();
        assert_eq!(lost.kind, ActionErrorKind::InDoubt, "{lost}");
        let seen = settled(&*adds, &cx).await;
        assert_eq!(matches!(seen, Observed::Done(_)), done, "{cut:?}: {seen:?}");
        assert_eq!(matches!(seen, Observed::NotStarted { .. }), !done, "{cut:?}: {seen:?}");
        assert_eq!(ids(&stage).await, ids_after, "{cut:?}");
    }
}

#[tokio::test]
async fn what_is_cut_before_its_commit_never_was() {
    for words in [
        "insert into pointsman_marker",
        "insert into t",
        "insert into pointsman_result",
    ] {
        let Some((played, stage)) = with_table().await else {
            return;
        };
        let adds = exec("insert into t values (2, N'two')", &stage.target);
        let cx = cx("pm-cut");
        played.with(|world| world.once.push((words, Answer::CutAfter)));
        let lost = adds.execute(&cx).await.unwrap_err();
        assert_eq!(lost.kind, ActionErrorKind::Transient, "{words}: {lost}");
        assert!(
            matches!(settled(&*adds, &cx).await, Observed::NotStarted { .. }),
            "{words}"
        );
        assert_eq!(ids(&stage).await, ["1"], "{words}");
        adds.execute(&cx).await.unwrap();
        assert_eq!(ids(&stage).await, ["1", "2"], "{words}");
    }
}

#[tokio::test]
async fn a_key_whose_lock_is_held_is_under_way() {
    let Some((played, stage)) = with_table().await else {
        return;
    };
    let adds = exec("insert into t values (2, N'two')", &stage.target);
    let cx = cx("pm-held");
    played.with(|world| world.locks.insert("pm-held".to_owned(), FOREVER));
    assert!(matches!(adds.observe(&cx).await.unwrap(), Observed::Running { .. }));
    let waits = adds.execute(&cx).await.unwrap_err();
    assert_eq!(waits.kind, ActionErrorKind::Transient, "{waits}");
    assert!(waits.message.contains("still at the same change"), "{waits}");
    played.with(|world| world.locks.clear());
    adds.execute(&cx).await.unwrap();
    assert_eq!(ids(&stage).await, ["1", "2"]);
}

#[tokio::test]
async fn a_transaction_that_the_statement_ended_is_not_committed() {
    let Some((played, stage)) = with_table().await else {
        return;
    };
    played.with(|world| world.once.push(("@@trancount as", Answer::Rows(vec![row(["0 0"])]))));
    let adds = exec("insert into t values (2, N'two')", &stage.target);
    let cx = cx("pm-ended");
    let refused = adds.execute(&cx).await.unwrap_err();
    assert_eq!(refused.kind, ActionErrorKind::Permanent, "{refused}");
    assert!(refused.message.contains("ended the transaction"), "{refused}");
    assert_eq!(ids(&stage).await, ["1"]);
    assert!(matches!(settled(&*adds, &cx).await, Observed::NotStarted { .. }));
}

#[tokio::test]
async fn what_may_commit_by_itself_is_between_two_markers() {
    let Some((played, stage)) = with_table().await else {
        return;
    };
    stage
        .run("create procedure p as begin insert into t values (2, N'two') end")
        .await;
    let calls = exec("exec p", &stage.target);
    let note = &calls.preview().notes[0];
    assert!(note.contains("says begun before it"), "{note}");
    played.with(|world| world.once.push(("exec p", Answer::CutAfter)));
    let cx = cx("pm-alone");
    let lost = calls.execute(&cx).await.unwrap_err();
    assert_eq!(lost.kind, ActionErrorKind::InDoubt, "{lost}");
    assert!(matches!(settled(&*calls, &cx).await, Observed::Unknown { .. }));
    assert_eq!(markers(&stage).await, ["pm-alone begun"]);
    let again = calls.execute(&cx).await.unwrap_err();
    assert_eq!(again.kind, ActionErrorKind::InDoubt, "{again}");
    assert_eq!(ids(&stage).await, ["1", "2"]);
    stage.run("delete from t where id = 2").await;
    let other = crate::bench::cx("pm-other");
    calls.execute(&other).await.unwrap();
    assert!(matches!(settled(&*calls, &other).await, Observed::Done(_)));
}

#[tokio::test]
async fn the_fence_is_written_once() {
    let Some((played, stage)) = with_table().await else {
        return;
    };
    let fence = action("sql.fence", json!({}), &[&stage.target]);
    let cx = cx("pm-fence");
    for _ in 0..2 {
        let done = fence.execute(&cx).await.unwrap();
        assert_eq!(done.result["token"], json!("pm-fence"));
    }
    let rows = played.with(|world| {
        let fences = world
            .said
            .iter()
            .filter(|sql| sql.contains("insert into pointsman_fence"));
        fences.cloned().collect::<Vec<_>>()
    });
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert!(
        rows[0].contains("N'pm-fence', N'20") && !rows[0].contains("Z'"),
        "{rows:?}"
    );
    assert!(matches!(settled(&*fence, &cx).await, Observed::Done(_)));
}

#[tokio::test]
async fn what_a_trigger_committed_is_in_doubt() {
    // The statement fails, and the marker is there all the same; or nobody can say.
    for rollback in [
        Answer::Error(3903, "The ROLLBACK TRANSACTION request has no corresponding BEGIN."),
        Answer::Cut,
    ] {
        let Some((played, stage)) = with_table().await else {
            return;
        };
        played.with(|world| {
            let ended = "The transaction ended in the trigger. The batch has been aborted.";
            world.once.push(("insert into t values", Answer::Error(3609, ended)));
            world.once.push(("rollback transaction", rollback.clone()));
        });
        let adds = exec("insert into t values (2, N'two')", &stage.target);
        let doubt = adds.execute(&cx("pm-trigger")).await.unwrap_err();
        assert_eq!(doubt.kind, ActionErrorKind::InDoubt, "{rollback:?}: {doubt}");
        assert!(doubt.message.contains("trigger"), "{rollback:?}: {doubt}");
        assert!(doubt.message.contains("(3609)"), "{rollback:?}: {doubt}");
    }
}

#[tokio::test]
async fn a_marker_without_its_result_is_not_done() {
    let Some((_, stage)) = with_table().await else { return };
    let adds = exec("insert into t values (2, N'two')", &stage.target);
    adds.execute(&cx("pm-half")).await.unwrap();
    assert!(matches!(settled(&*adds, &cx("pm-half")).await, Observed::Done(_)));
    stage.run("delete from pointsman_result where [key] = N'pm-half'").await;
    let seen = settled(&*adds, &cx("pm-half")).await;
    assert!(matches!(seen, Observed::Unknown { .. }), "{seen:?}");
}

#[tokio::test]
async fn a_transaction_that_a_procedure_left_open_is_not_done() {
    for open in [
        Answer::Rows(vec![row(["1"])]),
        Answer::Error(102, "Incorrect syntax."),
        Answer::Cut,
    ] {
        let Some((played, stage)) = with_table().await else {
            return;
        };
        stage
            .run("create procedure p as begin insert into t values (2, N'two') end")
            .await;
        let calls = exec("exec p", &stage.target);
        played.with(|world| world.once.push(("@@trancount as", open.clone())));
        let cx = cx("pm-open");
        let doubt = calls.execute(&cx).await.unwrap_err();
        assert_eq!(doubt.kind, ActionErrorKind::InDoubt, "{open:?}: {doubt}");
        assert!(doubt.message.contains("transaction"), "{open:?}: {doubt}");
        assert!(
            matches!(settled(&*calls, &cx).await, Observed::Unknown { .. }),
            "{open:?}"
        );
        assert_eq!(markers(&stage).await, ["pm-open begun"], "{open:?}");
    }
}

#[tokio::test]
async fn rows_are_those_of_the_statement_and_not_of_its_triggers() {
    for (sql, counts, rows) in [
        ("update t set name = N'x'", &[7, 3, 1][..], 1),
        ("update t set name = N'x' where id = 0", &[7, 0][..], 0),
        ("exec p", &[7, 3, 0][..], 3),
    ] {
        let Some((played, stage)) = with_table().await else {
            return;
        };
        let word = if rows == 3 { "exec p" } else { "update t set" };
        played.with(|world| world.once.push((word, Answer::Counts(counts))));
        let done = exec(sql, &stage.target).execute(&cx("pm-rows")).await.unwrap();
        assert_eq!(done.result["rows"], json!(rows), "{sql}");
    }
}

#[tokio::test]
async fn what_belongs_to_a_change_is_never_read_from_a_secondary() {
    let Some((played, stage)) = with_table().await else {
        return;
    };
    for (uses, with) in [
        ("sql.exec", json!({ "sql": "update t set name = N'x'" })),
        ("sql.backup", json!({ "to": "/backup" })),
        ("sql.fence", json!({})),
        ("sql.freeze_writes", json!({ "sessions": "kill", "proof": true })),
    ] {
        let action = action(uses, with, &[&stage.target]);
        let key = format!("pm-{uses}");
        let ready = action.check(&cx(&key)).await.unwrap();
        let cx = Cx {
            identity: ready.identity,
            speed: 50.0,
            ..cx(&key)
        };
        let done = action.execute(&cx).await.unwrap();
        action.prove(&cx).await.unwrap();
        settled(&*action, &cx).await;
        if uses == "sql.freeze_writes" {
            let to = json!({ "to": done.result["prior_state"] });
            let thaw = crate::bench::action("sql.thaw_writes", to, &[&stage.target]);
            thaw.check(&cx).await.unwrap();
            thaw.execute(&cx).await.unwrap();
            settled(&*thaw, &cx).await;
        }
        let (reads, others) = played.with(|world| std::mem::take(&mut world.logins));
        assert!(reads == 0 && others > 2, "{uses}: {reads} {others}");
    }
    let query = action("sql.query", json!({ "sql": "select id from t" }), &[&stage.target]);
    query.execute(&cx("pm-query")).await.unwrap();
    assert!(played.with(|world| world.logins.0) > 0);
}
