//! Serves SQL Server's protocol from memory on a loopback port, which is the first line that it prints. Takes a user and
//! a password. Ends with its standard input.

use iridium_core::Database;
use iridium_server::{Credentials, ServerConfig, TdsServer};
use tokio::io::AsyncReadExt;

#[tokio::main]
async fn main() {
    let mut words = std::env::args().skip(1);
    let (user, password) = (words.next().expect("a user"), words.next().expect("a password"));
    let config = ServerConfig {
        host: "127.0.0.1".to_owned(),
        port: 0,
        auth: Some(Credentials { user, password }),
        tls_enabled: false,
        ..ServerConfig::default()
    };
    let mut server = TdsServer::new_with_database(Database::new(), config);
    let at = server.bind().await.expect("a port");
    println!("{}", at.port());
    tokio::spawn(async move { server.run().await.expect("the server") });
    let mut rest = Vec::new();
    let _ended = tokio::io::stdin().read_to_end(&mut rest).await;
}
