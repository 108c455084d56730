//! Changes on real servers: once, under a marker, and what is known of them when the connection is lost.

use std::sync::Arc;

use pointsman::provider::action::{Action, ActionErrorKind, Cx, Observed};
use pointsman::provider::sql::server::{Engine, ServerTarget};
use serde_json::{Value, json};

use crate::bench::{Cut, action, by_way_of, cx, exec, try_action};
use crate::databases::{self, Database, Server};

fn servers() -> impl Iterator<Item = Arc<Server>> {
    [databases::postgres(), databases::mariadb()].into_iter().flatten()
}

async fn with_table(server: &Server) -> Database {
    let database = server.database().await;
    database
        .run("create table t(id bigint primary key, name varchar(40))")
        .await;
    database.run("insert into t values (1, 'one')").await;
    database
}

async fn count(database: &Database, table: &str) -> String {
    let sql = format!("select count(*) from {table}");
    database.text(&sql).await.unwrap_or_default()
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
    for server in servers() {
        let database = with_table(&server).await;
        let sql = match server.engine {
            Engine::Postgres => "insert into t(id, name) values ($1, $2), ($3, null)",
            Engine::Mysql | Engine::Sqlserver => "insert into t(id, name) values (?, ?), (?, null)",
        };
        let with = json!({ "sql": sql, "params": [2, "zwei; -- '", 3] });
        let adds = action("sql.exec", with, &[&database.target]);
        let cx = cx("pm-once");
        assert!(matches!(adds.observe(&cx).await.unwrap(), Observed::NotStarted { .. }));
        let ready = adds.check(&cx).await.unwrap();
        assert_eq!(ready.identity["database"], json!(database.target.database), "{ready:?}");
        for _ in 0..2 {
            let done = adds.execute(&cx).await.unwrap();
            assert_eq!(done.result["rows"], json!(2));
        }
        assert_eq!(count(&database, "t").await, "3");
        assert_eq!(
            database.text("select name from t where id = 2").await.unwrap(),
            "zwei; -- '"
        );
        let Observed::Done(seen) = adds.observe(&cx).await.unwrap() else {
            panic!("it is done");
        };
        assert_eq!(seen.result["rows"], json!(2));
        assert_eq!(count(&database, "pointsman_marker").await, "1");
    }
}

#[tokio::test]
async fn the_servers_own_log_names_the_key() {
    let maria = Server::mariadb(&["--general-log", "--general-log-file=general.log"]);
    for server in [Server::postgres(&["log_statement=all"]), maria].into_iter().flatten() {
        let database = with_table(&server).await;
        let adds = exec("insert into t values (2, 'two')", &database.target);
        adds.execute(&cx("pm-logged")).await.unwrap();
        let log = match server.engine {
            Engine::Postgres => server.folder.path().join("log"),
            Engine::Mysql | Engine::Sqlserver => server.folder.path().join("data/general.log"),
        };
        let logged = std::fs::read_to_string(log).unwrap();
        for words in [
            "/* pm-logged */ insert into t values (2, 'two')",
            "/* pm-logged */ commit",
        ] {
            assert!(logged.contains(words), "{words}");
        }
    }
}

#[tokio::test]
async fn two_at_once_under_one_key_are_one() {
    for server in servers() {
        let database = with_table(&server).await;
        let sql = "insert into t select coalesce(max(id), 0) + 1, 'next' from t";
        let tries: Vec<_> = (0..4)
            .map(|_| {
                let adds = exec(sql, &database.target);
                tokio::spawn(async move { adds.execute(&cx("pm-both")).await })
            })
            .collect();
        for tried in tries {
            assert_eq!(tried.await.unwrap().unwrap().result["rows"], json!(1));
        }
        assert_eq!(count(&database, "t").await, "2");
    }
}

#[tokio::test]
async fn what_the_server_refuses_leaves_nothing() {
    for server in servers() {
        let database = with_table(&server).await;
        let twice = exec("insert into t values (7, 'a'), (1, 'b')", &database.target);
        let cx = cx("pm-refused");
        let refused = twice.execute(&cx).await.unwrap_err();
        assert_eq!(refused.kind, ActionErrorKind::Permanent, "{refused}");
        assert_eq!(count(&database, "t").await, "1");
        assert_eq!(count(&database, "pointsman_marker").await, "0");
        assert!(matches!(settled(&*twice, &cx).await, Observed::NotStarted { .. }));
        let wrong = exec("insert into nowhere values (1)", &database.target);
        assert!(wrong.check(&cx).await.is_err());
        for sql in ["commit", "delete from t; delete from t"] {
            let refused = try_action("sql.exec", json!({ "sql": sql }), &[&database.target]);
            assert!(refused.is_err(), "{sql}");
        }
    }
}

async fn cut(target: &ServerTarget, at: Cut, key: &str) -> (ActionErrorKind, Box<dyn Action>, Cx) {
    let way = by_way_of(target, at).await;
    let cx = cx(key);
    let failed = exec("insert into t values (5, 'five')", &way)
        .execute(&cx)
        .await
        .unwrap_err();
    (failed.kind, exec("insert into t values (5, 'five')", target), cx)
}

#[tokio::test]
async fn a_commit_without_an_answer_is_in_doubt_and_the_marker_tells() {
    for server in servers() {
        let database = with_table(&server).await;
        let (kind, again, own) = cut(&database.target, Cut::After("*/ commit"), "pm-after").await;
        assert_eq!(kind, ActionErrorKind::InDoubt);
        assert!(matches!(settled(&*again, &own).await, Observed::Done(_)));
        assert_eq!(again.execute(&own).await.unwrap().result["rows"], json!(1));
        assert_eq!(count(&database, "t").await, "2");

        database.run("delete from t where id = 5").await;
        let (kind, again, own) = cut(&database.target, Cut::Before("*/ commit"), "pm-before").await;
        assert_eq!(kind, ActionErrorKind::InDoubt, "nobody knows whether it arrived");
        assert!(matches!(settled(&*again, &own).await, Observed::NotStarted { .. }));
        assert_eq!(count(&database, "t").await, "1");
    }
}

#[tokio::test]
async fn a_connection_lost_in_a_statement_is_not_done_and_may_be_tried_again() {
    for server in servers() {
        let database = with_table(&server).await;
        for (at, key) in [
            (Cut::Before("into t values"), "pm-unsent"),
            (Cut::After("into t values"), "pm-unheard"),
        ] {
            let (kind, again, own) = cut(&database.target, at, key).await;
            assert_eq!(kind, ActionErrorKind::Transient);
            assert!(matches!(settled(&*again, &own).await, Observed::NotStarted { .. }));
            again.execute(&own).await.unwrap();
            assert_eq!(count(&database, "t").await, "2");
            database.run("delete from t where id = 5").await;
        }
    }
}

#[tokio::test]
async fn what_commits_by_itself_has_a_marker_before_and_after() {
    for server in servers() {
        let database = with_table(&server).await;
        let (sql, after) = match server.engine {
            Engine::Postgres => ("create index concurrently i on t(name)", "index concurrently"),
            Engine::Mysql | Engine::Sqlserver => ("create index i on t(name)", "create index"),
        };
        let indexes = exec(sql, &database.target);
        assert!(indexes.preview().notes.iter().any(|note| note.contains("says begun")));
        indexes.check(&cx("pm-alone")).await.unwrap();
        indexes.execute(&cx("pm-alone")).await.unwrap();
        assert!(matches!(settled(&*indexes, &cx("pm-alone")).await, Observed::Done(_)));
        let again = indexes.execute(&cx("pm-alone")).await;
        assert!(again.is_ok(), "done before: {again:?}");
        database
            .run(match server.engine {
                Engine::Postgres => "drop index i",
                Engine::Mysql | Engine::Sqlserver => "drop index i on t",
            })
            .await;

        // The answer is lost: nobody can tell, and it is not done again.
        let way = by_way_of(&database.target, Cut::After(after)).await;
        let lost = exec(sql, &way).execute(&cx("pm-lost")).await.unwrap_err();
        assert_eq!(lost.kind, ActionErrorKind::InDoubt, "{lost}");
        assert!(matches!(
            settled(&*indexes, &cx("pm-lost")).await,
            Observed::Unknown { .. }
        ));
        let again = indexes.execute(&cx("pm-lost")).await.unwrap_err();
        assert_eq!(again.kind, ActionErrorKind::InDoubt);
    }
}

#[tokio::test]
async fn a_refusal_of_what_stands_alone_is_told_by_what_it_may_leave() {
    let Some(server) = databases::mariadb() else { return };
    let database = with_table(&server).await;
    let whole = exec("create table t(id int)", &database.target);
    let refused = whole.execute(&cx("pm-table")).await.unwrap_err();
    assert_eq!(refused.kind, ActionErrorKind::Permanent);
    assert!(matches!(
        settled(&*whole, &cx("pm-table")).await,
        Observed::NotStarted { .. }
    ));
    // A procedure commits as it likes.
    database
        .run("create procedure p() begin insert into t values (8, 'x'); commit; insert into t values (1, 'y'); end")
        .await;
    let partly = exec("call p()", &database.target);
    let refused = partly.execute(&cx("pm-call")).await.unwrap_err();
    assert_eq!(refused.kind, ActionErrorKind::InDoubt);
    assert_eq!(count(&database, "t").await, "2", "a part of it stands");
    assert!(matches!(
        settled(&*partly, &cx("pm-call")).await,
        Observed::Unknown { .. }
    ));
    // Neither does a table without transactions give back.
    database.run("create table m(id int primary key) engine=MyISAM").await;
    database.run("insert into m values (3)").await;
    let myisam = exec("insert into m values (1), (2), (3)", &database.target);
    let ready = myisam.check(&cx("pm-myisam")).await.unwrap();
    assert!(ready.facts.iter().any(|fact| fact.contains("MyISAM")), "{ready:?}");
    let refused = myisam.execute(&cx("pm-myisam")).await.unwrap_err();
    assert_eq!(refused.kind, ActionErrorKind::InDoubt);
    // Also where the statement does not name it.
    database
        .run("create trigger tr after insert on t for each row insert into m values (new.id)")
        .await;
    let hidden = exec("insert into t values (20, 'a'), (1, 'b')", &database.target);
    let refused = hidden.execute(&cx("pm-hidden")).await.unwrap_err();
    assert_eq!(refused.kind, ActionErrorKind::InDoubt, "{refused}");
}

#[tokio::test]
async fn a_statement_that_is_cancelled_is_taken_back() {
    for server in servers() {
        let database = with_table(&server).await;
        let (sql, asleep) = match server.engine {
            Engine::Postgres => (
                "insert into t select 9, pg_sleep(3600)::text",
                "select count(*) from pg_stat_activity where state = 'active' and query like '/* pm-cancel */ insert%'",
            ),
            Engine::Mysql | Engine::Sqlserver => (
                "insert into t select 9, sleep(3600)",
                "select count(*) from information_schema.processlist where info like '/* pm-cancel */ insert%'",
            ),
        };
        let sleeps = exec(sql, &database.target);
        let own = cx("pm-cancel");
        let (cancel, running) = (own.cancel.clone(), own.clone());
        let task = tokio::spawn(async move { sleeps.execute(&running).await });
        while database.text(asleep).await.as_deref() != Some("1") {
            tokio::task::yield_now().await;
        }
        let watching = exec(sql, &database.target);
        assert!(matches!(
            watching.observe(&own).await.unwrap(),
            Observed::Running { .. }
        ));
        cancel.cancel();
        let ended = task.await.unwrap().unwrap_err();
        assert_eq!(ended.kind, ActionErrorKind::Cancelled, "{ended}");
        assert!(matches!(settled(&*watching, &own).await, Observed::NotStarted { .. }));
        assert_eq!(count(&database, "t").await, "1");
    }
}

#[tokio::test]
async fn the_fence_row_is_written_once() {
    for server in servers() {
        let database = server.database().await;
        let fence = action("sql.fence", json!({}), &[&database.target]);
        fence.check(&cx("pm-fence")).await.unwrap();
        let first = fence.execute(&cx("pm-fence")).await.unwrap();
        let second = fence.execute(&cx("pm-fence")).await.unwrap();
        assert_eq!(first.result, second.result);
        assert_eq!(first.result["token"], Value::from("pm-fence"));
        assert_eq!(
            database.text("select token from pointsman_fence").await.unwrap(),
            "pm-fence"
        );
        assert_eq!(count(&database, "pointsman_fence").await, "1");
    }
}
