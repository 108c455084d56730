//! Freezing writes on real servers, and letting them in again exactly as before.

use pointsman::provider::action::{Action, ActionErrorKind, Cx, Observed};
use pointsman::provider::sql::server::{Engine, ServerTarget};
use serde_json::{Value, json};

use crate::bench::{Cut, action, by_way_of, cx};
use crate::databases::{self, Database, Server};

/// The proof's wait is shorter.
fn bound(key: &str, identity: Value) -> Cx {
    Cx {
        identity,
        speed: 50.0,
        ..cx(key)
    }
}

/// Each with a server of its own where the freeze is the server's.
fn servers() -> Vec<Server> {
    let maria = Server::mariadb(&["--event-scheduler=ON", "--log-bin"]);
    [Server::postgres(&["max_prepared_transactions=5"]), maria]
        .into_iter()
        .flatten()
        .collect()
}

async fn with_app(server: &Server) -> (Database, ServerTarget) {
    let database = server.database().await;
    database.run("create table t(id bigint primary key)").await;
    let name = &database.target.database;
    match server.engine {
        Engine::Postgres => {
            database.run("create role app login").await;
            database.run("grant all on t to app").await;
        }
        Engine::Mysql | Engine::Sqlserver => {
            database
                .run("create user app@'127.0.0.1' identified by 'correct horse'")
                .await;
            database.run(&format!("grant all on {name}.* to app@'127.0.0.1'")).await;
        }
    }
    let app = ServerTarget {
        user: "app".to_owned(),
        ..database.target.clone()
    };
    (database, app)
}

/// What the thaw has to bring back.
async fn settings(database: &Database) -> String {
    let sql = match database.target.engine {
        Engine::Postgres => {
            "select coalesce((select setconfig::text from pg_db_role_setting s where s.setrole = 0 and s.setdatabase = d.oid), 'none') \
             || (select string_agg(a::text, ' ' order by a::text) from aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a) \
             from pg_database d where datname = current_database()"
        }
        Engine::Mysql | Engine::Sqlserver => "select concat(@@global.read_only, ' ', @@global.event_scheduler)",
    };
    database.text(sql).await.unwrap()
}

async fn freeze(with: Value, targets: &[&ServerTarget], key: &str) -> (Box<dyn Action>, Cx, Value) {
    let freezes = action("sql.freeze_writes", with, targets);
    // The half that a first try left is the same step's.
    let step = key.trim_end_matches("-again");
    let cx = Cx {
        step: step.to_owned(),
        ..bound(key, Value::Null)
    };
    let ready = freezes.check(&cx).await.unwrap();
    let own = Cx {
        identity: ready.identity,
        ..cx
    };
    let done = freezes.execute(&own).await.unwrap();
    let prior = done.result["prior_state"].clone();
    (freezes, own, prior)
}

fn thaw(prior: &Value, target: &ServerTarget) -> Box<dyn Action> {
    action("sql.thaw_writes", json!({ "to": prior }), &[target])
}

async fn may_write(app: &ServerTarget, id: u32) -> bool {
    let sql = format!("insert into t values ({id})");
    match app.engine {
        Engine::Postgres => {
            let words = format!(
                "host=127.0.0.1 port={} user={} dbname={}",
                app.port, app.user, app.database
            );
            let Ok((client, connection)) = tokio_postgres::connect(&words, tokio_postgres::NoTls).await else {
                return false;
            };
            tokio::spawn(connection);
            client.batch_execute(&sql).await.is_ok()
        }
        Engine::Mysql | Engine::Sqlserver => {
            use mysql_async::prelude::Queryable;
            let mut session = mysql(app).await;
            session.query_drop(sql).await.is_ok()
        }
    }
}

async fn mysql(target: &ServerTarget) -> mysql_async::Conn {
    let options = mysql_async::OptsBuilder::default()
        .ip_or_hostname(&target.host)
        .tcp_port(target.port)
        .db_name(Some(&target.database))
        .user(Some(&target.user))
        .pass(target.password.as_deref())
        .prefer_socket(false);
    mysql_async::Conn::new(options).await.unwrap()
}

#[tokio::test]
async fn writes_are_refused_and_come_back_as_before() {
    for server in servers() {
        let (database, app) = with_app(&server).await;
        for prepared in ["", "set before"] {
            if !prepared.is_empty() {
                let name = &database.target.database;
                database
                    .run(&match server.engine {
                        Engine::Postgres => format!("alter database {name} set default_transaction_read_only = off"),
                        Engine::Mysql | Engine::Sqlserver => "set global event_scheduler = OFF".to_owned(),
                    })
                    .await;
            }
            let before = settings(&database).await;
            assert!(may_write(&app, 1).await);
            database.run("delete from t").await;
            let key = format!("pm-freeze{}", prepared.len());
            let targets = [&database.target, &app];
            let (freezes, own, prior) = freeze(json!({ "proof": true }), &targets, &key).await;
            assert!(!may_write(&app, 2).await, "{prior}");
            freezes.prove(&own).await.unwrap();
            assert!(matches!(freezes.observe(&own).await.unwrap(), Observed::Done(_)));
            // The tool's own writes go through, the fence for one.
            let fence = action("sql.fence", json!({}), &[&database.target]);
            let key = format!("pm-fence{}", prepared.len());
            fence.check(&cx(&key)).await.unwrap();
            fence.execute(&cx(&key)).await.unwrap();
            let thaws = thaw(&prior, &database.target);
            let back = bound(&format!("pm-thaw{}", prepared.len()), Value::Null);
            assert!(matches!(
                thaws.observe(&back).await.unwrap(),
                Observed::NotStarted { .. }
            ));
            thaws.check(&back).await.unwrap();
            thaws.execute(&back).await.unwrap();
            assert_eq!(settings(&database).await, before);
            assert!(may_write(&app, 3).await);
            assert!(matches!(thaws.observe(&back).await.unwrap(), Observed::Done(_)));
            assert!(freezes.prove(&own).await.is_err(), "it is thawed");
            database.run("delete from t").await;
        }
    }
}

#[tokio::test]
async fn what_was_frozen_before_stays_frozen() {
    for server in servers() {
        let (database, app) = with_app(&server).await;
        let (_, _, first) = freeze(json!({}), &[&database.target], "pm-first").await;
        let frozen = settings(&database).await;
        let (_, _, second) = freeze(json!({}), &[&database.target], "pm-second").await;
        thaw(&second, &database.target).execute(&cx("pm-back2")).await.unwrap();
        assert_eq!(settings(&database).await, frozen);
        assert!(!may_write(&app, 1).await);
        // Somebody else lets writes in: nothing is left to do.
        let name = &database.target.database;
        for sql in match server.engine {
            Engine::Postgres => vec![format!("alter database {name} reset default_transaction_read_only")],
            Engine::Mysql | Engine::Sqlserver => {
                vec![
                    "set global read_only = 0".to_owned(),
                    "set global event_scheduler = ON".to_owned(),
                ]
            }
        } {
            database.run(&sql).await;
        }
        let thaws = thaw(&first, &database.target);
        assert!(matches!(
            thaws.observe(&cx("pm-back1")).await.unwrap(),
            Observed::Done(_)
        ));
        let done = thaws.execute(&cx("pm-back1")).await.unwrap();
        assert_eq!(done.result["thawed"], json!(0));
        assert!(may_write(&app, 1).await);
    }
}

#[tokio::test]
async fn what_somebody_else_set_is_left_alone() {
    let Some(server) = databases::postgres() else { return };
    let database = server.database().await;
    let (freezes, own, prior) = freeze(json!({}), &[&database.target], "pm-foreign").await;
    let name = &database.target.database;
    database
        .run(&format!(
            "alter database {name} set default_transaction_read_only = 'false'"
        ))
        .await;
    let thaws = thaw(&prior, &database.target);
    let refused = thaws.check(&cx("pm-foreign-back")).await.unwrap_err();
    assert!(refused.message.contains("nothing was sent"), "{refused}");
    let refused = thaws.execute(&cx("pm-foreign-back")).await.unwrap_err();
    assert_eq!(refused.kind, ActionErrorKind::Permanent);
    assert!(matches!(freezes.observe(&own).await.unwrap(), Observed::Unknown { .. }));
}

#[tokio::test]
async fn sessions_are_ended_and_their_transactions_with_them() {
    for server in servers() {
        let (database, app) = with_app(&server).await;
        let open: Box<dyn std::any::Any> = match server.engine {
            Engine::Postgres => {
                let words = format!("host=127.0.0.1 port={} user=app dbname={}", app.port, app.database);
                let (client, connection) = tokio_postgres::connect(&words, tokio_postgres::NoTls).await.unwrap();
                tokio::spawn(connection);
                client.batch_execute("begin; insert into t values (77)").await.unwrap();
                Box::new(client)
            }
            Engine::Mysql | Engine::Sqlserver => {
                use mysql_async::prelude::Queryable;
                let mut session = mysql(&app).await;
                session.query_drop("start transaction").await.unwrap();
                session.query_drop("insert into t values (77)").await.unwrap();
                Box::new(session)
            }
        };
        let target = &database.target;
        let looks = action("sql.freeze_writes", json!({}), &[target]);
        let ready = looks.check(&cx("pm-look")).await.unwrap();
        let facts = ready.facts.join("\n");
        assert!(facts.contains("app") && facts.contains("open transactions"), "{facts}");
        let with = json!({ "sessions": "kill", "proof": true, "except": ["pm"] });
        let (freezes, own, prior) = freeze(with, &[target, &app], "pm-kill").await;
        freezes.prove(&own).await.unwrap();
        drop(open);
        thaw(&prior, target).execute(&cx("pm-kill-back")).await.unwrap();
        assert_eq!(database.text("select count(*) from t").await.unwrap(), "0");
    }
}

#[tokio::test]
async fn a_prepared_transaction_is_told_and_fails_the_proof() {
    for server in servers() {
        let (database, app) = with_app(&server).await;
        let sql: &[&str] = match server.engine {
            Engine::Postgres => &["begin", "insert into t values (5)", "prepare transaction 'half'"],
            Engine::Mysql | Engine::Sqlserver => &[
                "xa start 'half'",
                "insert into t values (5)",
                "xa end 'half'",
                "xa prepare 'half'",
            ],
        };
        for sql in sql {
            database.run(sql).await;
        }
        let looks = action("sql.freeze_writes", json!({}), &[&database.target]);
        let facts = looks.check(&cx("pm-look")).await.unwrap().facts.join("\n");
        assert!(facts.contains("prepared"), "{facts}");
        let (freezes, own, _) = freeze(json!({ "proof": true }), &[&database.target, &app], "pm-half-way").await;
        let failed = freezes.prove(&own).await.unwrap_err();
        assert!(
            failed.message.contains("prepared") || failed.message.contains("still open"),
            "{failed}"
        );
    }
}

#[tokio::test]
async fn an_open_transaction_fails_the_proof_and_cannot_be_committed() {
    let Some(server) = Server::mariadb(&["--log-bin"]) else {
        return;
    };
    use mysql_async::prelude::Queryable;
    let (database, app) = with_app(&server).await;
    let mut session = mysql(&app).await;
    session.query_drop("start transaction").await.unwrap();
    session.query_drop("insert into t values (77)").await.unwrap();
    let (freezes, own, _) = freeze(json!({ "proof": true }), &[&database.target, &app], "pm-open").await;
    let failed = freezes.prove(&own).await.unwrap_err();
    assert!(failed.message.contains("still open"), "{failed}");
    assert!(session.query_drop("commit").await.is_err(), "the server is read-only");
    drop(session);
    assert_eq!(database.text("select count(*) from t").await.unwrap(), "0");
    // The tool's own user may write: it proves nothing.
    let alone = action("sql.freeze_writes", json!({ "proof": true }), &[&database.target]);
    let refused = alone.check(&cx("pm-alone")).await.unwrap_err();
    assert!(refused.message.contains("ordinary user"), "{refused}");
}

#[tokio::test]
async fn a_lock_that_holds_it_up_leaves_everything_as_it_was() {
    let Some(server) = Server::mariadb(&["--event-scheduler=ON"]) else {
        return;
    };
    use mysql_async::prelude::Queryable;
    let (database, app) = with_app(&server).await;
    let before = settings(&database).await;
    let mut session = mysql(&app).await;
    session.query_drop("lock tables t write").await.unwrap();
    let hurried = ServerTarget {
        patience: std::time::Duration::from_secs(1),
        ..database.target.clone()
    };
    let freezes = action("sql.freeze_writes", json!({}), &[&hurried]);
    let ready = freezes.check(&cx("pm-locked")).await.unwrap();
    let own = bound("pm-locked", ready.identity);
    let refused = freezes.execute(&own).await.unwrap_err();
    assert_eq!(refused.kind, ActionErrorKind::Permanent, "{refused}");
    assert_eq!(settings(&database).await, before);
    // Ending the session that holds it lets the freeze through.
    let (_, _, prior) = freeze(
        json!({ "sessions": "kill", "except": ["pm"] }),
        &[&database.target],
        "pm-unlocked",
    )
    .await;
    thaw(&prior, &database.target)
        .execute(&cx("pm-unlocked-back"))
        .await
        .unwrap();
    assert_eq!(settings(&database).await, before);
}

#[tokio::test]
async fn a_half_of_it_is_told_and_the_next_try_knows_what_was_before() {
    let Some(server) = Server::mariadb(&["--event-scheduler=ON"]) else {
        return;
    };
    let (database, _) = with_app(&server).await;
    let before = settings(&database).await;
    let way = by_way_of(&database.target, Cut::Before("set global read_only")).await;
    let direct = action("sql.freeze_writes", json!({}), &[&database.target]);
    let ready = direct.check(&cx("pm-half")).await.unwrap();
    let own = Cx {
        step: "pm-half".to_owned(),
        ..bound("pm-half", ready.identity)
    };
    let lost = action("sql.freeze_writes", json!({}), &[&way])
        .execute(&own)
        .await
        .unwrap_err();
    assert_eq!(lost.kind, ActionErrorKind::InDoubt, "{lost}");
    let seen = loop {
        match direct.observe(&own).await.unwrap() {
            Observed::Running { .. } => tokio::task::yield_now().await,
            seen => break seen,
        }
    };
    assert!(matches!(seen, Observed::Unknown { .. }), "{seen:?}");
    let (_, _, prior) = freeze(json!({}), &[&database.target], "pm-half-again").await;
    thaw(&prior, &database.target)
        .execute(&cx("pm-half-back"))
        .await
        .unwrap();
    assert_eq!(settings(&database).await, before);
}

#[tokio::test]
async fn a_hard_freeze_closes_the_door_to_who_says_read_write() {
    let Some(server) = Server::postgres(&[]) else { return };
    let (database, app) = with_app(&server).await;
    database
        .run("create role dms login; create role boss login; alter role app set default_transaction_read_only = off")
        .await;
    let name = &database.target.database;
    database
        .run(&format!("grant connect on database {name} to boss with grant option"))
        .await;
    let before = settings(&database).await;
    // What a session says for itself prevails over the database.
    let soft = json!({ "proof": true });
    let (freezes, own, prior) = freeze(soft, &[&database.target, &app], "pm-soft").await;
    let failed = freezes.prove(&own).await.unwrap_err();
    assert!(failed.message.contains("begins read write"), "{failed}");
    thaw(&prior, &database.target)
        .execute(&cx("pm-soft-back"))
        .await
        .unwrap();
    let hard = json!({ "proof": true, "hard": true, "sessions": "kill", "except": ["dms"] });
    let (freezes, own, prior) = freeze(hard, &[&database.target, &app], "pm-hard").await;
    freezes.prove(&own).await.unwrap();
    assert!(!may_write(&app, 1).await);
    let may = |role: &str| format!("select has_database_privilege('{role}', current_database(), 'connect')");
    let read = async |role: &str| database_text(&database.target, &may(role)).await;
    assert_eq!(
        (read("dms").await, read("boss").await),
        ("t".to_owned(), "f".to_owned())
    );
    thaw(&prior, &database.target)
        .execute(&cx("pm-hard-back"))
        .await
        .unwrap();
    let after = database_text(&database.target, SETTINGS).await;
    let whole: Vec<&str> = before.split("none").collect();
    assert!(
        whole.last().is_some_and(|acl| sorted(acl) == sorted(&after)),
        "{before} {after}"
    );
}

const SETTINGS: &str = "select string_agg(a::text, ' ' order by a::text) from pg_database d, \
                        aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a where datname = current_database()";

fn sorted(acl: &str) -> Vec<&str> {
    let mut each: Vec<&str> = acl.split(' ').collect();
    each.sort_unstable();
    each
}

/// A new session: the test's own may have been ended.
async fn database_text(target: &ServerTarget, sql: &str) -> String {
    let words = format!(
        "host=127.0.0.1 port={} user={} dbname={}",
        target.port, target.user, target.database
    );
    let (client, connection) = tokio_postgres::connect(&words, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let rows = client.simple_query(sql).await.unwrap();
    let found = rows.into_iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    found.unwrap()
}
