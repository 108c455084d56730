//! Connecting to SQL Server: TLS, who logs in, limits, what a session is set to. Must not know any statement of a runbook.

use std::net::Shutdown;
use std::sync::Arc;

use async_trait::async_trait;
use tiberius::error::Error;
use tiberius::{AuthMethod, Client, Config, EncryptionLevel};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

use crate::provider::action::{ActionError, ActionErrorKind};
use crate::provider::sql::server::{CONNECTING, Protection, ServerTarget};
use crate::provider::sql::session::Ender;
use crate::provider::tls::trust::Trust;

use super::errors::failed;

/// How often a gateway may send us on.
const HOPS: usize = 3;

/// A session, and its end of the wire.
pub struct Connection {
    pub client: Client<Compat<TcpStream>>,
    wire: Arc<std::net::TcpStream>,
}

impl Connection {
    /// Ends whatever the session is at.
    pub fn cut(&self) -> Cut {
        Cut(Arc::clone(&self.wire))
    }
}

/// Ends a session by its wire: a server may leave a request to end a statement unheard, and rolls a session back that is
/// gone.
pub struct Cut(Arc<std::net::TcpStream>);

#[async_trait]
impl Ender for Cut {
    async fn end(&self) {
        if let Err(error) = self.0.shutdown(Shutdown::Both) {
            tracing::info!(%error, "the connection to a SQL Server had ended already");
        }
    }
}

/// Connects. A session that only `reads` says so, which secondaries of an availability group ask for, and which its listener
/// sends to one of them; it closes nothing to writes.
pub async fn connect(target: &ServerTarget, reads: bool) -> Result<Connection, ActionError> {
    let mut config = Config::new();
    config.database(&target.database);
    config.application_name("pointsman");
    config.readonly(reads);
    config.handshake_timeout(Some(CONNECTING));
    config.command_timeout(Some(target.patience));
    config.authentication(match &target.token {
        Some(token) => AuthMethod::aad_token(token),
        None => AuthMethod::sql_server(&target.user, target.password.as_deref().unwrap_or_default()),
    });
    match &target.protection {
        Protection::Verified { ca } => {
            config.encryption(EncryptionLevel::Required);
            if let Some(path) = ca {
                // It says what is wrong with the file.
                Trust::new(Some(path), true).await?;
                config.trust_cert_ca(path.display());
            }
        }
        Protection::Unverified => {
            config.encryption(EncryptionLevel::Required);
            config.trust_cert();
        }
        Protection::Off => config.encryption(EncryptionLevel::NotSupported),
    }
    let (mut host, mut port) = (target.host.clone(), target.port);
    for _ in 0..HOPS {
        config.host(&host);
        config.port(port);
        match tokio::time::timeout(CONNECTING, opened(&config)).await {
            Ok(Ok(mut connection)) => {
                settle(&mut connection, target).await?;
                return Ok(connection);
            }
            Ok(Err(Error::Routing { host: on, port: at })) => (host, port) = (on, at),
            Ok(Err(error)) => return Err(failed(&error, &target.to_string())),
            Err(_elapsed) => {
                let words = format!(
                    "{target}: no connection within {} s; is it up, and may this machine reach it?",
                    CONNECTING.as_secs()
                );
                return Err(ActionError::new(ActionErrorKind::Transient, words));
            }
        }
    }
    Err(failed(&Error::Routing { host, port }, &target.to_string()))
}

async fn opened(config: &Config) -> Result<Connection, Error> {
    let wire = TcpStream::connect(config.get_addr()).await?;
    wire.set_nodelay(true)?;
    let wire = wire.into_std()?;
    let ours = TcpStream::from_std(wire.try_clone()?)?;
    Ok(Connection {
        client: Client::connect(config.clone(), ours.compat_write()).await?,
        wire: Arc::new(wire),
    })
}

/// What authors and comparisons may rely on.
async fn settle(connection: &mut Connection, target: &ServerTarget) -> Result<(), ActionError> {
    let waits = target.patience.as_millis();
    let sql = format!(
        "set ansi_nulls on; set ansi_padding on; set ansi_warnings on; set arithabort on; set concat_null_yields_null on; \
         set quoted_identifier on; set numeric_roundabort off; set xact_abort on; set nocount off; \
         set dateformat ymd; set lock_timeout {waits}"
    );
    let done = connection.client.simple_query(sql).await;
    let done = match done {
        Ok(answer) => answer.into_results().await.map(drop),
        Err(error) => Err(error),
    };
    done.map_err(|error| failed(&error, &target.to_string()))
}
