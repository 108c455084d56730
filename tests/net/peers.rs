//! Peers that behave, and peers that do not. Each listens on loopback and ends with its runtime.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use chrono::{DateTime, Datelike, Days, Utc};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A real web server; its base URL.
pub async fn web(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    base
}

/// Does the same with every connection; its port.
pub async fn each<F, R>(at: &str, behave: F) -> u16
where
    F: Fn(TcpStream) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((at, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _from) = listener.accept().await.unwrap();
            tokio::spawn(behave(stream));
        }
    });
    port
}

/// Says something, and then nothing more until the other side goes. What the other side says first is not waited for.
pub async fn says(words: &'static [u8]) -> u16 {
    each("127.0.0.1", move |mut stream| async move {
        let _gone = stream.write_all(words).await;
        until_gone(&mut stream).await;
    })
    .await
}

/// Waits until the other side has said something, and leaves it unread.
pub async fn asked(stream: &TcpStream) {
    let _gone = stream.peek(&mut [0]).await;
}

/// Reads until the other side has gone.
pub async fn until_gone(stream: &mut TcpStream) {
    let mut buffer = [0_u8; 4096];
    while let Ok(1..) = stream.read(&mut buffer).await {}
}

/// Resets every connection once it was asked something: what was sent is never read.
pub async fn resets() -> u16 {
    each("127.0.0.1", |stream| async move {
        asked(&stream).await;
        drop(stream);
    })
    .await
}

/// A port on which nothing listens.
pub async fn closed() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

/// An authority of the test's own.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
}

/// What a TLS server shows.
pub struct Shows {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Test Authority");
        let key = KeyPair::generate().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let own = params.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), own.pem()).unwrap();
        Self {
            issuer: Issuer::new(params, key),
            folder,
        }
    }

    /// Where its certificate lies.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate for some names that ends in some days (or ended, below 0).
    pub fn issues(&self, names: &[&str], days: i64) -> Shows {
        let key = KeyPair::generate().unwrap();
        let certificate = named(names, days).signed_by(&key, &self.issuer).unwrap();
        shows(certificate.der().clone(), &key)
    }
}

/// A certificate that only itself vouches for.
pub fn self_signed(names: &[&str]) -> Shows {
    let key = KeyPair::generate().unwrap();
    let mut params = named(names, 365);
    params.distinguished_name.push(DnType::CommonName, "Nobody");
    shows(params.self_signed(&key).unwrap().der().clone(), &key)
}

fn named(names: &[&str], days: i64) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, "erp");
    let now = Utc::now();
    let ends = match days {
        0.. => now + Days::new(days.unsigned_abs()),
        ..0 => now - Days::new(days.unsigned_abs()),
    };
    // Only whole days: the type of instants belongs to a crate that nothing else here needs.
    let day = |at: DateTime<Utc>| {
        let (month, day) = (u8::try_from(at.month()).unwrap(), u8::try_from(at.day()).unwrap());
        rcgen::date_time_ymd(at.year(), month, day)
    };
    params.not_before = day(now - Days::new(400));
    params.not_after = day(ends);
    params
}

fn shows(certificate: CertificateDer<'static>, key: &KeyPair) -> Shows {
    Shows {
        chain: vec![certificate],
        key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
    }
}

/// A TLS server that says the same to everybody once they spoke (`asked`), or at once; its port.
pub async fn tls(shows: Shows, asked: bool, words: &'static [u8]) -> u16 {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(shows.chain, shows.key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    each("127.0.0.1", move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            let mut buffer = [0_u8; 4096];
            if asked && stream.read(&mut buffer).await.is_err() {
                return;
            }
            let _gone = stream.write_all(words).await;
            let _gone = stream.shutdown().await;
        }
    })
    .await
}
