//! Logging in by packets, as the driver would. Where the server wants a way that is not here nothing comes of it, and the
//! driver is asked instead. Must not send a password in the clear but within TLS.
//!
//! Source: MySQL, "Client/Server protocol", section "Connection phase"; the packets themselves are mysql_common's.

use std::io;

use mysql_async::consts::CapabilityFlags;
use mysql_async::{Error, IoError, ServerError};
use mysql_common::io::ParseBuf;
use mysql_common::packets::{AuthPlugin, AuthSwitchRequest, HandshakePacket, HandshakeResponse, SslRequest};
use mysql_common::proto::MySerialize;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::provider::sql::server::ServerTarget;

use super::packets::{Packets, wrong};

/// The most that a packet may have.
const MOST: u32 = 1 << 30;
/// utf8mb4_general_ci.
const COLLATION: u8 = 45;
/// What a packet begins with.
const OK: u8 = 0x00;
const MORE: u8 = 0x01;
const SWITCH: u8 = 0xFE;
const REFUSED: u8 = 0xFF;
/// What `caching_sha2_password` says: it knows the password; or it wants all of it.
const KNOWN: u8 = 3;
const WHOLE: u8 = 4;

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

/// Logs in; nothing where the driver has to.
pub async fn login(
    target: &ServerTarget,
    tls: Option<(TlsConnector, ServerName<'static>)>,
) -> Result<Option<Login>, Error> {
    let stream = TcpStream::connect((target.host.as_str(), target.port))
        .await
        .map_err(broken)?;
    stream.set_nodelay(true).map_err(broken)?;
    let mut packets = Packets::new(Box::new(stream));
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
    let plain = secret && !common.contains(CapabilityFlags::CLIENT_SSL);
    let plugin = match greeting.auth_plugin() {
        Some(AuthPlugin::CachingSha2Password) => AuthPlugin::CachingSha2Password,
        _ => AuthPlugin::MysqlNativePassword,
    };
    if plain || !common.contains(needed) {
        // The driver has words for it.
        return Ok(None);
    }
    let mut nonce = greeting.nonce();
    nonce.resize(20, 0);
    if let Some((connector, name)) = tls {
        packets
            .send(&serialized(&SslRequest::new(common, MOST, COLLATION)))
            .await
            .map_err(broken)?;
        let number = packets.number();
        let stream = packets.into_stream().map_err(broken)?;
        let stream = connector.connect(name, stream).await.map_err(broken)?;
        packets = Packets::new(Box::new(stream)).going_on(number);
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
    Ok(admitted(&mut packets, plugin.into_owned(), password, secret)
        .await?
        .then_some(Login { packets, id }))
}

/// Answers until the server lets somebody in; false where it asks for what only the driver can.
async fn admitted(
    packets: &mut Packets,
    mut plugin: AuthPlugin<'static>,
    password: Option<&str>,
    secret: bool,
) -> Result<bool, Error> {
    let mut switched = false;
    loop {
        let packet = packets.next().await.map_err(broken)?.to_vec();
        match packet.as_slice() {
            [OK, ..] => return Ok(true),
            [REFUSED, ..] => return Err(refused(&packet)),
            [SWITCH, _, ..] if !switched => {
                switched = true;
                let asked: AuthSwitchRequest<'_> = ParseBuf(&packet).parse(()).map_err(broken)?;
                plugin = asked.auth_plugin().into_owned();
                if !matches!(
                    plugin,
                    AuthPlugin::MysqlNativePassword | AuthPlugin::CachingSha2Password
                ) {
                    return Ok(false);
                }
                let answer = plugin.gen_data(password, asked.plugin_data());
                packets
                    .send(answer.as_deref().unwrap_or_default())
                    .await
                    .map_err(broken)?;
            }
            [MORE, KNOWN] if matches!(plugin, AuthPlugin::CachingSha2Password) => {}
            [MORE, WHOLE] if matches!(plugin, AuthPlugin::CachingSha2Password) && secret => {
                let mut whole = password.unwrap_or_default().as_bytes().to_vec();
                whole.push(0);
                packets.send(&whole).await.map_err(broken)?;
            }
            // Without TLS it would have to be encrypted with the server's own key.
            [MORE, WHOLE] => return Ok(false),
            _ => return Err(broken(wrong("the server answered a login with what is no answer"))),
        }
    }
}
