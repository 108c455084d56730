//! TLS as SQL Server speaks it before TDS 8: the handshake inside of PRELOGIN packets, then all of TDS inside of TLS, by
//! version 1.2 (MS-TDS, section 2.2.6.5). Stands in front of the peer, which cannot: its own sends tickets of TLS 1.3 when
//! the handshake is over, which nobody takes for TDS.

use std::fs;
use std::io::{Read, Result, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

const HEAD: usize = 8;
const PRELOGIN: u8 = 0x12;
/// The option of a PRELOGIN that says whether the session is encrypted, and what requires it.
const ENCRYPTION: u8 = 0x01;
const REQUIRED: u8 = 0x03;

/// Serves on the port that it gives, for as long as the test lives.
pub fn front(peer: u16, cert: &Path, key: &Path) -> u16 {
    let cert = CertificateDer::from_pem_slice(&fs::read(cert).unwrap()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(&fs::read(key).unwrap()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for ours in listener.incoming().map_while(Result::ok) {
            let config = Arc::clone(&config);
            // Who goes away in the middle, goes away.
            std::thread::spawn(move || serve(ours, peer, config));
        }
    });
    port
}

fn serve(mut ours: TcpStream, peer: u16, config: Arc<ServerConfig>) -> Result<()> {
    let mut theirs = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], peer)))?;
    let mut asked = packet(&mut ours)?;
    // The peer is asked for no TLS.
    encryption(&mut asked, 0x02);
    theirs.write_all(&asked)?;
    let mut answer = packet(&mut theirs)?;
    encryption(&mut answer, REQUIRED);
    ours.write_all(&answer)?;
    let mut tls = ServerConnection::new(config).unwrap();
    while tls.is_handshaking() {
        let packet = packet(&mut ours)?;
        let mut records = packet.get(HEAD..).unwrap();
        while !records.is_empty() {
            tls.read_tls(&mut records)?;
            let taken = tls.process_new_packets();
            let mut out = Vec::new();
            while tls.wants_write() {
                tls.write_tls(&mut out)?;
            }
            if !out.is_empty() {
                let size = u16::try_from(out.len() + HEAD).unwrap().to_be_bytes();
                ours.write_all(&[PRELOGIN, 1, size[0], size[1], 0, 0, 1, 0])?;
                ours.write_all(&out)?;
            }
            taken.map_err(std::io::Error::other)?;
        }
    }
    let mut ours = StreamOwned::new(tls, ours);
    loop {
        carry(&mut ours, &mut theirs)?;
        carry(&mut theirs, &mut ours)?;
    }
}

/// Carries a message, all of its packets.
fn carry(from: &mut impl Read, to: &mut impl Write) -> Result<()> {
    loop {
        let packet = packet(from)?;
        to.write_all(&packet)?;
        to.flush()?;
        if packet[1] & 1 == 1 {
            return Ok(());
        }
    }
}

fn packet(from: &mut impl Read) -> Result<Vec<u8>> {
    let mut packet = vec![0; HEAD];
    from.read_exact(&mut packet)?;
    let size = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    packet.resize(size, 0);
    from.read_exact(&mut packet[HEAD..])?;
    Ok(packet)
}

/// Writes what a PRELOGIN says of encryption.
fn encryption(packet: &mut [u8], value: u8) {
    let mut at = HEAD;
    while packet[at] != 0xFF {
        if packet[at] == ENCRYPTION {
            let offset = usize::from(u16::from_be_bytes([packet[at + 1], packet[at + 2]]));
            packet[HEAD + offset] = value;
        }
        at += 5;
    }
}
