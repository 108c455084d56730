//! What a read may not do: what the server refuses in its read-only session, what it lets through there, and that a step
//! sends neither.

use pointsman::provider::action::ActionErrorKind;
use pointsman::provider::sql::session::{Session, all};
use pointsman::provider::sql::{mysql, postgres};

use crate::{databases, rows};

/// Whether the read-only session of the server itself refuses a statement.
async fn refuses(session: &mut dyn Session, sql: &str) -> bool {
    match all(session, sql).await {
        Ok(_) => false,
        Err(error) => {
            assert!(error.message.contains("would write"), "{sql}: {error}");
            true
        }
    }
}

#[tokio::test]
async fn mariadb_lets_through_what_a_step_never_sends() {
    let Some(server) = databases::mariadb() else { return };
    let database = server.database().await;
    database.run("create table t(id int primary key)").await;
    database.run("create sequence s").await;
    database
        .run("create function f() returns int modifies sql data begin insert into t values (7); return 1; end")
        .await;
    let file = server.folder.path().join("written");
    let into = format!("select 1 into outfile '{}'", file.display());
    for (sql, refused) in [
        ("insert into t values (1)", true),
        ("replace into t values (1)", true),
        ("update t set id = 2", true),
        ("delete from t", true),
        ("truncate table t", true),
        ("create table u(id int)", true),
        ("drop table t", true),
        ("alter table t add x int", true),
        ("grant select on *.* to pm", true),
        ("select nextval(s)", true),
        // A function that writes is refused where it writes.
        ("select f()", true),
        ("create temporary table u(id int)", true),
        ("select get_lock('pointsman', 1)", false),
        ("select * from t for update", true),
        ("set global max_connect_errors = 101", false),
        ("flush status", false),
        (into.as_str(), false),
    ] {
        let mut session = mysql::session::session(&database.target).await.unwrap();
        assert_eq!(refuses(&mut session, sql).await, refused, "{sql}");
        if sql == "select f()" || sql == "select nextval(s)" {
            continue;
        }
        let error = rows(&database.target, sql, &[]).await.unwrap_err();
        assert_eq!(error.kind, ActionErrorKind::Permanent, "{sql}");
        assert!(error.message.contains("the statement is refused"), "{sql}: {error}");
    }
    assert!(file.exists(), "the server writes the file in a read-only session");
    assert_eq!(database.text("select count(*) from t").await.unwrap(), "0");
}

#[tokio::test]
async fn postgresql_lets_through_what_a_step_never_sends() {
    let Some(server) = databases::postgres() else { return };
    let database = server.database().await;
    database
        .run("create table t(id int primary key); create sequence s")
        .await;
    database
        .run("create function f() returns int language sql volatile as 'insert into t values (7) returning id'")
        .await;
    let file = server.folder.path().join("written");
    let copy = format!("copy (select 1) to '{}'", file.display());
    for (sql, refused) in [
        ("insert into t values (1)", true),
        ("update t set id = 2", true),
        ("with d as (delete from t returning *) select * from d", true),
        ("truncate t", true),
        ("create table u(id int)", true),
        ("create temporary table u(id int)", true),
        ("drop table t", true),
        ("grant select on t to public", true),
        ("select * from t for update", true),
        ("select nextval('s')", true),
        ("select f()", true),
        ("select pg_advisory_lock(1)", false),
        ("select pg_terminate_backend(0)", false),
        ("select pg_notify('a', 'b')", false),
        ("notify a", false),
        ("checkpoint", false),
        (copy.as_str(), false),
    ] {
        let mut session = postgres::session::session(&database.target).await.unwrap();
        assert_eq!(refuses(&mut session, sql).await, refused, "{sql}");
        let error = rows(&database.target, sql, &[]).await.unwrap_err();
        assert_eq!(error.kind, ActionErrorKind::Permanent, "{sql}");
        let ours = error.message.contains("the statement is refused");
        assert!(ours || refused, "{sql}: {error}");
    }
    assert!(file.exists(), "the server writes the file in a read-only session");
    assert_eq!(database.text("select count(*) from t").await.unwrap(), "0");
}

#[tokio::test]
async fn a_step_sends_one_statement() {
    for server in databases::both() {
        let database = server.database().await;
        database.run("create table t(id int)").await;
        for sql in ["select 1; delete from t", "select 1; select 2", "", "-- nothing"] {
            let error = rows(&database.target, sql, &[]).await.unwrap_err();
            assert!(error.message.contains("the statement is refused"), "{sql}: {error}");
        }
        assert_eq!(
            rows(&database.target, "select 1 ; -- done", &[]).await.unwrap().count,
            1
        );
    }
}
