//! Logging in by packets, in the ways that the driver knows. Must not send a password in the clear but within TLS.
//!
//! Source: MySQL, "Client/Server protocol", sections "Connection phase" and "Authentication methods"; MariaDB, "Connection";
//! the packets themselves are mysql_common's.

use std::io;
use std::time::Duration;

use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PublicEncryptingKey};
use mysql_async::consts::CapabilityFlags;
use mysql_async::{DriverError, Error, IoError, ServerError};
use mysql_common::io::ParseBuf;
use mysql_common::packets::{AuthPlugin, AuthSwitchRequest, HandshakePacket, HandshakeResponse, SslRequest};
use mysql_common::proto::MySerialize;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{ServerName, SubjectPublicKeyInfoDer};

use crate::provider::sql::server::ServerTarget;

use super::packets::{Packets, REFUSED, unheard, wrong};

/// The most that a packet may have.
const MOST: u32 = 1 << 30;
/// utf8mb4_general_ci.
const COLLATION: u8 = 45;
/// What a packet begins with.
const OK: u8 = 0x00;
const MORE: u8 = 0x01;
const SWITCH: u8 = 0xFE;
/// What `caching_sha2_password` says: it knows the password; or it wants all of it.
const KNOWN: u8 = 3;
const WHOLE: u8 = 4;
/// Bytes that MariaDB has signed.
const DRAWN: usize = 32;
/// The most that a server may ask for of PARSEC: 2 to this power times 1,024 rounds. MariaDB has up to 3.
const ROUNDS: u8 = 8;
/// What asks it for the key that the password is encrypted with where there is no TLS.
const KEY: u8 = 2;

/// A server ends what takes longer than it may. One that says nothing for so long after that has gone.
const GONE: Duration = Duration::from_secs(60);

/// A conversation, and the server's number of it.
pub struct Login {
    pub packets: Packets,
    pub id: u32,
}

pub fn broken(error: io::Error) -> Error {
    Error::Io(IoError::Io(error))
}

fn serialized(packet: &impl MySerialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.serialize(&mut bytes);
    bytes
}

/// What a server refuses with.
pub fn refused(packet: &[u8]) -> Error {
    let code = packet
        .get(1..3)
        .and_then(|code| code.try_into().ok())
        .map_or(0, u16::from_le_bytes);
    let rest = packet.get(3..).unwrap_or_default();
    let (state, words) = match rest.strip_prefix(b"#") {
        Some(rest) => rest.split_at_checked(5).unwrap_or((b"HY000", rest)),
        None => (&b"HY000"[..], rest),
    };
    Error::Server(ServerError {
        code,
        message: String::from_utf8_lossy(words).into_owned(),
        state: String::from_utf8_lossy(state).into_owned(),
    })
}

/// Logs in.
pub async fn login(target: &ServerTarget, tls: Option<(TlsConnector, ServerName<'static>)>) -> Result<Login, Error> {
    let stream = TcpStream::connect((target.host.as_str(), target.port))
        .await
        .map_err(broken)?;
    stream.set_nodelay(true).map_err(broken)?;
    let mut packets = Packets::new(Box::new(stream), target.patience + GONE);
    let greeting = packets.next().await.map_err(broken)?.to_vec();
    if greeting.first() == Some(&REFUSED) {
        return Err(refused(&greeting));
    }
    let greeting: HandshakePacket<'_> = ParseBuf(&greeting).parse(()).map_err(broken)?;
    let mut wanted = CapabilityFlags::CLIENT_PROTOCOL_41
        | CapabilityFlags::CLIENT_SECURE_CONNECTION
        | CapabilityFlags::CLIENT_LONG_PASSWORD
        | CapabilityFlags::CLIENT_TRANSACTIONS
        | CapabilityFlags::CLIENT_PLUGIN_AUTH
        | CapabilityFlags::CLIENT_CONNECT_WITH_DB;
    let secret = tls.is_some();
    if secret {
        wanted |= CapabilityFlags::CLIENT_SSL;
    }
    let needed = CapabilityFlags::CLIENT_PROTOCOL_41 | CapabilityFlags::CLIENT_SECURE_CONNECTION;
    let common = wanted & greeting.capabilities();
    if secret && !common.contains(CapabilityFlags::CLIENT_SSL) {
        return Err(DriverError::NoClientSslFlagFromServer.into());
    }
    if !common.contains(needed) {
        return Err(broken(unheard("the server is older than MySQL 4.1")));
    }
    let plugin = match greeting.auth_plugin() {
        Some(AuthPlugin::CachingSha2Password) => AuthPlugin::CachingSha2Password,
        _ => AuthPlugin::MysqlNativePassword,
    };
    let nonce = greeting.nonce();
    if let Some((connector, name)) = tls {
        packets
            .send(&serialized(&SslRequest::new(common, MOST, COLLATION)))
            .await
            .map_err(broken)?;
        packets = packets.within(&connector, name).await.map_err(broken)?;
    }
    let password = target.password.as_deref();
    let proof = plugin.gen_data(password, &nonce);
    let response = HandshakeResponse::new(
        proof.as_deref(),
        greeting.server_version_parsed().unwrap_or((5, 7, 0)),
        Some(target.user.as_bytes()),
        Some(target.database.as_bytes()),
        Some(plugin.borrow()),
        common,
        None,
        MOST,
    );
    packets.send(&serialized(&response)).await.map_err(broken)?;
    let id = greeting.connection_id();
    let mut talk = Talk {
        packets,
        plugin: plugin.into_owned(),
        nonce,
        password,
        secret,
    };
    talk.admitted().await?;
    Ok(Login {
        packets: talk.packets,
        id,
    })
}

/// A login that has begun.
struct Talk<'a> {
    packets: Packets,
    plugin: AuthPlugin<'static>,
    nonce: Vec<u8>,
    password: Option<&'a str>,
    /// It goes through TLS: nobody else hears it, where it was verified who listens.
    secret: bool,
}

impl Talk<'_> {
    /// Answers until the server lets somebody in.
    async fn admitted(&mut self) -> Result<(), Error> {
        let mut switched = false;
        let mut keyed = false;
        loop {
            let packet = self.packets.next().await.map_err(broken)?.to_vec();
            let sha = matches!(self.plugin, AuthPlugin::CachingSha2Password);
            let parsec = matches!(self.plugin, AuthPlugin::MariadbParsec { .. });
            match packet.as_slice() {
                [OK, ..] => return Ok(()),
                [REFUSED, ..] => return Err(refused(&packet)),
                [SWITCH] => return Err(DriverError::MysqlOldPasswordDisabled.into()),
                [SWITCH, ..] if !switched => {
                    switched = true;
                    let asked: AuthSwitchRequest<'_> = ParseBuf(&packet).parse(()).map_err(broken)?;
                    self.switch(&asked, &packet).await?;
                }
                [MORE, KNOWN] if sha => {}
                [MORE, WHOLE] if sha && self.secret => {
                    let whole = self.whole();
                    self.answer(&whole).await?;
                }
                [MORE, WHOLE] if sha && !keyed => {
                    keyed = true;
                    self.answer(&[KEY]).await?;
                }
                [MORE, key @ ..] if sha && keyed => {
                    let sealed = sealed(&self.whole(), &self.nonce, key)?;
                    self.answer(&sealed).await?;
                }
                // The first servers that had it did not say that there is more.
                [MORE, salt @ ..] | salt @ [b'P', ..]
                    if parsec && !keyed && salt.get(1).is_some_and(|rounds| *rounds <= ROUNDS) =>
                {
                    keyed = true;
                    self.plugin.read_add_data(salt).ok_or(DriverError::InvalidParsecSalt)?;
                    self.prove().await?;
                }
                _ => return Err(broken(unheard("the server answered a login with what is no answer"))),
            }
        }
    }

    /// Goes on in the way that the server asks for.
    async fn switch(&mut self, asked: &AuthSwitchRequest<'_>, packet: &[u8]) -> Result<(), Error> {
        self.plugin = asked.auth_plugin().into_owned();
        self.nonce = asked.plugin_data().to_vec();
        match &self.plugin {
            AuthPlugin::MysqlNativePassword | AuthPlugin::CachingSha2Password => self.prove().await,
            AuthPlugin::Ed25519 => {
                self.nonce = drawn(packet)?;
                self.prove().await
            }
            AuthPlugin::MariadbParsec { .. } => {
                self.nonce = drawn(packet)?;
                // It asks for the salt.
                self.answer(&[]).await
            }
            AuthPlugin::MysqlOldPassword => Err(DriverError::MysqlOldPasswordDisabled.into()),
            AuthPlugin::MysqlClearPassword => Err(DriverError::CleartextPluginDisabled.into()),
            AuthPlugin::Other(name) => Err(DriverError::UnknownAuthPlugin {
                name: String::from_utf8_lossy(name).into_owned(),
            }
            .into()),
        }
    }

    /// Proves that the password is known.
    async fn prove(&mut self) -> Result<(), Error> {
        let proof = self.plugin.gen_data(self.password, &self.nonce);
        let proof = proof.as_deref().unwrap_or_default().to_vec();
        self.answer(&proof).await
    }

    async fn answer(&mut self, body: &[u8]) -> Result<(), Error> {
        self.packets.send(body).await.map_err(broken)
    }

    /// The password as a text that ends.
    fn whole(&self) -> Vec<u8> {
        let mut whole = self.password.unwrap_or_default().as_bytes().to_vec();
        whole.push(0);
        whole
    }
}

/// What MariaDB draws to be signed: 32 bytes of any value, with nothing that ends them.
fn drawn(packet: &[u8]) -> Result<Vec<u8>, Error> {
    let mut parts = packet.splitn(2, |byte| *byte == 0);
    match parts.nth(1) {
        Some(drawn) if drawn.len() == DRAWN => Ok(drawn.to_vec()),
        Some([drawn @ .., 0]) if drawn.len() == DRAWN => Ok(drawn.to_vec()),
        Some(_) | None => Err(broken(wrong("the server asks for a proof of what is no nonce"))),
    }
}

/// A password that only the server can read, which has shown its key.
fn sealed(whole: &[u8], nonce: &[u8], key: &[u8]) -> Result<Vec<u8>, Error> {
    let unread = |_unread| broken(unheard("the server's key for passwords cannot be read; use TLS"));
    let hidden: Vec<u8> = whole
        .iter()
        .zip(nonce.iter().cycle())
        .map(|(one, other)| one ^ other)
        .collect();
    let key = SubjectPublicKeyInfoDer::from_pem_slice(key).map_err(|error| unread(error.to_string()))?;
    let key = PublicEncryptingKey::from_der(&key).map_err(|error| unread(error.to_string()))?;
    let key = OaepPublicEncryptingKey::new(key).map_err(|error| unread(error.to_string()))?;
    let mut sealed = vec![0; key.ciphertext_size()];
    key.encrypt(&OAEP_SHA1_MGF1SHA1, &hidden, &mut sealed, None)
        .map_err(|_long| broken(unheard("the password is too long for the server's key; use TLS")))?;
    Ok(sealed)
}
