//! Connecting to MySQL and MariaDB: TLS, limits, what a session may do. Must not know any statement of a
//! runbook.

use std::path::PathBuf;
use std::sync::OnceLock;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, OptsBuilder, SslOpts};

use crate::provider::action::{ActionError, ActionErrorKind};
use crate::provider::sql::server::{CONNECTING, Protection, ServerTarget};
use crate::provider::tls::refusal;
use crate::provider::tls::trust::Trust;

pub use super::errors::failed;

/// Connects. A session that only `reads` is closed to writes by the server.
pub async fn connect(target: &ServerTarget, reads: bool) -> Result<Conn, ActionError> {
    let tls = match &target.protection {
        Protection::Off => None,
        Protection::Unverified => Some(
            SslOpts::default()
                .with_danger_accept_invalid_certs(true)
                .with_danger_skip_domain_validation(true),
        ),
        Protection::Verified { ca } => {
            // It says what is wrong with the file.
            Trust::new(ca.as_deref(), true).await?;
            Some(roots(ca.as_ref()))
        }
    };
    let options = OptsBuilder::default()
        .ip_or_hostname(&target.host)
        .tcp_port(target.port)
        .db_name(Some(&target.database))
        .user(Some(&target.user))
        .pass(target.password.as_deref())
        .prefer_socket(false)
        .ssl_opts(tls);
    let mut session = in_time(target, Conn::new(options))
        .await?
        .map_err(|error| failed(&error, &target.to_string()))?;
    in_time(target, begin(&mut session, target, reads))
        .await?
        .map_err(|error| failed(&error, &target.to_string()))?;
    Ok(session)
}

/// Sets a session to what it is to be.
async fn begin(session: &mut Conn, target: &ServerTarget, reads: bool) -> Result<(), Error> {
    let version: Option<String> = session.query_first(VERSION).await?;
    let maria = version.as_deref().is_some_and(is_maria);
    if !maria {
        match session.query_drop(FRESH).await {
            // Older ones have no such setting.
            Ok(()) | Err(Error::Server(_)) => {}
            Err(error) => return Err(error),
        }
    }
    for sql in settings(target, maria, reads) {
        session.query_drop(sql).await?;
    }
    Ok(())
}

/// What a server has to do at once.
pub async fn in_time<T>(target: &ServerTarget, work: impl Future<Output = T>) -> Result<T, ActionError> {
    tokio::time::timeout(CONNECTING, work).await.map_err(|_elapsed| {
        let words = format!(
            "{target}: no connection within {} s; is it up, and may this machine reach it?",
            CONNECTING.as_secs()
        );
        ActionError::new(ActionErrorKind::Transient, words)
    })
}

/// Which version a server is.
pub const VERSION: &str = "select version()";
/// MySQL 8 tells what it knew of a table a day ago.
pub const FRESH: &str = "set session information_schema_stats_expiry = 0";

/// What a session is set to and bounded by.
pub fn settings(target: &ServerTarget, maria: bool, reads: bool) -> Vec<String> {
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
    vec![
        // Where a text ends is told from its words alone (`tokens.rs`), so a backslash has to mean the same everywhere.
        "set session sql_mode = replace(replace(@@session.sql_mode, 'NO_BACKSLASH_ESCAPES', ''), 'PAD_CHAR_TO_FULL_LENGTH', '')"
            .to_owned(),
        format!(
            "set session time_zone = '+00:00', lock_wait_timeout = {waits}, innodb_lock_wait_timeout = {waits}, {limit}"
        ),
        "set names utf8mb4".to_owned(),
        // No server's setting makes an answer shorter than it is.
        "set session sql_select_limit = 18446744073709551615".to_owned(),
        closed.to_owned(),
    ]
}

/// Whether a server that says this version is MariaDB.
pub fn is_maria(version: &str) -> bool {
    version.contains("MariaDB")
}

/// Who is trusted: the system's authorities, read once, and those of the file besides.
fn roots(ca: Option<&PathBuf>) -> SslOpts {
    static SYSTEM: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let system = SYSTEM.get_or_init(refusal::system);
    let own = ca.cloned().map(Into::into);
    let trusted = system.iter().cloned().map(Into::into).chain(own).collect();
    SslOpts::default()
        .with_disable_built_in_roots(true)
        .with_root_certs(trusted)
}
