//! Serves SQL Server's protocol from memory on a loopback port, which is the first line that it prints. Takes a user, a
//! password, and for TLS the files of a certificate and its key. Ends with its standard input.

use iridium_core::Database;
use iridium_server::{Credentials, ServerConfig, TdsServer};
use tokio::io::AsyncReadExt;

#[tokio::main]
async fn main() {
    let mut words = std::env::args().skip(1);
    let mut next = || words.next();
    let (user, password) = (next().expect("a user"), next().expect("a password"));
    let (cert, key) = (next(), next());
    let config = ServerConfig {
        host: "127.0.0.1".to_owned(),
        port: 0,
        auth: Some(Credentials { user, password }),
        tls_enabled: cert.is_some(),
        tls_cert_path: cert,
        tls_key_path: key,
        ..ServerConfig::default()
    };
    let mut server = TdsServer::new_with_database(Database::new(), config);
    let at = server.bind().await.expect("a port");
    println!("{}", at.port());
    tokio::spawn(async move { server.run().await.expect("the server") });
    let mut rest = Vec::new();
    let _ended = tokio::io::stdin().read_to_end(&mut rest).await;
}
