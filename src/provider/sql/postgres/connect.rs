//! Connecting to PostgreSQL: TLS, limits, what a session may do, how its statements are ended, what its errors mean. Must
//! not know any statement.

use std::error::Error as _;

use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{CancelToken, Client, Config, Error, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::provider::action::{ActionError, ActionErrorKind};
use crate::provider::sql::server::{CONNECTING, Protection, ServerTarget};
use crate::provider::tls::trust::Trust;

/// Connects. A session that only `reads` is closed to writes by the server.
pub async fn connect(target: &ServerTarget, reads: bool) -> Result<(Client, Option<MakeRustlsConnect>), ActionError> {
    let mut config = Config::new();
    let limit = target.patience.as_millis();
    let closed = if reads {
        "-c default_transaction_read_only=on -c row_security=off "
    } else {
        ""
    };
    config
        .host(&target.host)
        .port(target.port)
        .dbname(&target.database)
        .user(&target.user)
        .application_name("pointsman")
        .connect_timeout(CONNECTING)
        .options(format!(
            "{closed}-c statement_timeout={limit} -c lock_timeout={limit} -c TimeZone=UTC -c DateStyle=ISO \
             -c IntervalStyle=postgres -c bytea_output=hex -c extra_float_digits=1 \
             -c standard_conforming_strings=on"
        ));
    if let Some(password) = &target.password {
        config.password(password);
    }
    let lost = |error: Error| failed(&error, &target.to_string());
    let (ca, verify) = match &target.protection {
        Protection::Off => {
            config.ssl_mode(SslMode::Disable);
            let (client, connection) = bounded(target, config.connect(NoTls)).await?.map_err(lost)?;
            // It ends with its client; what broke it is told to whoever asks next.
            tokio::spawn(async move { connection.await.inspect_err(|error| tracing::info!(%error, "postgres")) });
            return Ok((client, None));
        }
        Protection::Verified { ca } => (ca.as_deref(), true),
        Protection::Unverified => (None, false),
    };
    config.ssl_mode(SslMode::Require);
    let (trusted, shown) = Trust::new(ca, verify).await?.client(&[])?;
    let tls = MakeRustlsConnect::new(trusted);
    let connected = bounded(target, config.connect(tls.clone())).await?;
    let (client, connection) = connected.map_err(|error| match shown.refusal(&target.host) {
        Some(words) => ActionError::new(ActionErrorKind::Permanent, format!("{target}: {words}")),
        None => lost(error),
    })?;
    tokio::spawn(async move { connection.await.inspect_err(|error| tracing::info!(%error, "postgres")) });
    Ok((client, Some(tls)))
}

async fn bounded<T>(target: &ServerTarget, connecting: impl Future<Output = T>) -> Result<T, ActionError> {
    tokio::time::timeout(CONNECTING, connecting).await.map_err(|_elapsed| {
        let words = format!(
            "{target}: no connection within {} s; is it up, and may this machine reach it?",
            CONNECTING.as_secs()
        );
        ActionError::new(ActionErrorKind::Transient, words)
    })
}

/// Asks the server to end what a session is at.
pub async fn ended(token: &CancelToken, tls: Option<MakeRustlsConnect>) {
    let asking = async {
        match tls {
            Some(tls) => token.cancel_query(tls).await,
            None => token.cancel_query(NoTls).await,
        }
    };
    if let Ok(Err(error)) = tokio::time::timeout(CONNECTING, asking).await {
        tracing::warn!(%error, "postgres could not be asked to end a statement");
    }
}

/// The class of an error of a read: what may go well later is transient, all else is refused.
pub fn failed(error: &Error, what: &str) -> ActionError {
    let Some(told) = error.as_db_error() else {
        let mut words = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            words = format!("{words}: {cause}");
            source = cause.source();
        }
        let wrong = error
            .source()
            .is_some_and(|cause| cause.is::<tokio_postgres::types::WasNull>());
        // Without an answer of the server nothing is known but that it was only a read.
        let plain = words.contains("does not support TLS");
        let kind = if wrong || plain || words.contains("certificate") {
            ActionErrorKind::Permanent
        } else {
            ActionErrorKind::Transient
        };
        if plain {
            words.push_str("; configure it there, or write tls: off where the network is trusted");
        } else if kind == ActionErrorKind::Transient {
            words.push_str("; is it up, and may this machine reach it?");
        }
        return ActionError::new(kind, format!("{what}: {words}"));
    };
    let code = told.code();
    let later = code.code().starts_with("08")
        || code.code().starts_with("53")
        || [
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::QUERY_CANCELED,
        ]
        .contains(code);
    let kind = if later {
        ActionErrorKind::Transient
    } else {
        ActionErrorKind::Permanent
    };
    let hint = match *code {
        SqlState::READ_ONLY_SQL_TRANSACTION => "; the statement would write; use sql.exec for what changes something",
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => "; check user and password",
        SqlState::INVALID_CATALOG_NAME => "; check database: of the connection",
        SqlState::UNDEFINED_TABLE => "; check the name, and database: of the connection",
        SqlState::SYNTAX_ERROR => "; check the statement; parameters are written $1, $2 and so on",
        SqlState::LOCK_NOT_AVAILABLE => "; somebody holds a lock on it",
        SqlState::INSUFFICIENT_PRIVILEGE => "; grant it to the connection's user",
        SqlState::QUERY_CANCELED => "; the connection's timeout says how long a statement may take",
        _ => "",
    };
    ActionError::new(kind, format!("{what}: {} ({}){hint}", told.message(), code.code()))
}
