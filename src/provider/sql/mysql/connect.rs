//! Connecting to MySQL and MariaDB: TLS, limits, what a session may do, what its errors mean. Must not know any statement
//! of a runbook.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, OptsBuilder, SslOpts};

use crate::provider::action::{ActionError, ActionErrorKind};
use crate::provider::sql::server::{CONNECTING, Protection, ServerTarget};

/// Connects. A session that only `reads` is closed to writes by the server.
pub async fn connect(target: &ServerTarget, reads: bool) -> Result<Conn, ActionError> {
    let tls = match &target.protection {
        Protection::Off => None,
        Protection::Unverified => Some(
            SslOpts::default()
                .with_danger_accept_invalid_certs(true)
                .with_danger_skip_domain_validation(true),
        ),
        Protection::Verified { ca: None } => Some(SslOpts::default()),
        Protection::Verified { ca: Some(path) } => Some(SslOpts::default().with_root_certs(vec![path.clone().into()])),
    };
    let options = OptsBuilder::default()
        .ip_or_hostname(&target.host)
        .tcp_port(target.port)
        .db_name(Some(&target.database))
        .user(Some(&target.user))
        .pass(target.password.as_deref())
        .prefer_socket(false)
        .ssl_opts(tls);
    let mut session = tokio::time::timeout(CONNECTING, Conn::new(options))
        .await
        .map_err(|_elapsed| {
            let words = format!(
                "{target}: no connection within {} s; is it up, and may this machine reach it?",
                CONNECTING.as_secs()
            );
            ActionError::new(ActionErrorKind::Transient, words)
        })?
        .map_err(|error| failed(&error, &target.to_string()))?;
    let version: Option<String> = session
        .query_first("select version()")
        .await
        .map_err(|error| failed(&error, &target.to_string()))?;
    let maria = version.is_some_and(|version| version.contains("MariaDB"));
    let limit = if maria {
        format!("max_statement_time = {}", target.patience.as_secs_f64())
    } else {
        format!("max_execution_time = {}", target.patience.as_millis())
    };
    let closed = if reads {
        "set session transaction read only"
    } else {
        "do 0"
    };
    let waits = target.patience.as_secs().max(1);
    for sql in [
        format!(
            "set session time_zone = '+00:00', lock_wait_timeout = {waits}, innodb_lock_wait_timeout = {waits}, {limit}"
        ),
        // What an author wrote for one mode means something else in another: double quotes quote names here, as elsewhere.
        "set names utf8mb4".to_owned(),
        closed.to_owned(),
    ] {
        let done = session.query_drop(sql).await;
        done.map_err(|error| failed(&error, &target.to_string()))?;
    }
    Ok(session)
}

/// The class of an error of a read: what may go well later is transient, all else is refused.
pub fn failed(error: &Error, what: &str) -> ActionError {
    let (kind, words) = match error {
        Error::Server(told) => {
            let later = matches!(
                told.code,
                1040 | 1053 | 1158..=1161 | 1203 | 1205 | 1213 | 1226 | 1317 | 1969 | 3024
            );
            let hint = match told.code {
                1045 | 1044 | 1698 => "; check user and password",
                1142 | 1143 | 1227 => "; grant it to the connection's user",
                1792 | 1290 => "; the statement would write; use sql.exec for what changes something",
                1969 | 3024 => "; the connection's timeout says how long a statement may take",
                _ => "",
            };
            let kind = if later {
                ActionErrorKind::Transient
            } else {
                ActionErrorKind::Permanent
            };
            (kind, format!("{} ({}, {}){hint}", told.message, told.code, told.state))
        }
        Error::Io(cause) => {
            let words = cause.to_string();
            let kind = if words.contains("certificate") {
                ActionErrorKind::Permanent
            } else {
                ActionErrorKind::Transient
            };
            (kind, words)
        }
        Error::Driver(_) | Error::Other(_) | Error::Url(_) => (ActionErrorKind::Permanent, error.to_string()),
    };
    ActionError::new(kind, format!("{what}: {words}"))
}
