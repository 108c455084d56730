//! The way to a server: who is trusted, and what is refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use pointsman::provider::action::ActionErrorKind;
use pointsman::provider::sql::database::Reader;
use pointsman::provider::sql::mysql::session::session;
use pointsman::provider::sql::server::{Engine, Protection, ServerTarget};
use pointsman::provider::sql::session::all;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use serde_json::json;

use crate::databases::{Server, readable};
use crate::first;

/// A CA, and what it issued for `localhost` alone.
pub struct Issued {
    folder: tempfile::TempDir,
}

impl Issued {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &ca).unwrap();
        let issued = Self { folder };
        fs::write(issued.path("ca.pem"), ca.pem()).unwrap();
        fs::write(issued.path("cert.pem"), certificate.pem()).unwrap();
        fs::write(issued.path("key.pem"), key.serialize_pem()).unwrap();
        readable(&issued.path("cert.pem"));
        readable(&issued.path("key.pem"));
        issued
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[tokio::test]
async fn a_server_is_who_its_certificate_says() {
    let issued = Issued::new();
    let (cert, key) = (issued.path("cert.pem"), issued.path("key.pem"));
    let cert_file = format!("ssl_cert_file={}", cert.display());
    let key_file = format!("ssl_key_file={}", key.display());
    let ssl_cert = format!("--ssl-cert={}", cert.display());
    let ssl_key = format!("--ssl-key={}", key.display());
    let postgres = Server::postgres(&["ssl=on", &cert_file, &key_file]);
    // One whose texts end elsewhere than ours, unless a session says so.
    let mode = "--sql-mode=STRICT_TRANS_TABLES,NO_BACKSLASH_ESCAPES,NO_ENGINE_SUBSTITUTION";
    let mariadb = Server::mariadb(&[&ssl_cert, &ssl_key, mode]);
    for server in [postgres, mariadb].into_iter().flatten() {
        let database = if server.engine == Engine::Postgres {
            "postgres"
        } else {
            "mysql"
        };
        let by = |host: &str, protection: Protection| ServerTarget {
            host: host.to_owned(),
            protection,
            ..server.target(database)
        };
        let verified = || Protection::Verified {
            ca: Some(issued.path("ca.pem")),
        };

        let mut reader = Reader::open(&by("localhost", verified())).await.unwrap();
        assert!(reader.about().await.unwrap().encrypted);
        let mut reader = Reader::open(&by("127.0.0.1", Protection::Unverified)).await.unwrap();
        assert!(reader.about().await.unwrap().encrypted);
        let mut reader = Reader::open(&by("127.0.0.1", Protection::Off)).await.unwrap();
        assert!(!reader.about().await.unwrap().encrypted);

        if server.engine == Engine::Mysql {
            let text = first(
                &by("localhost", verified()),
                r"select 'a\'b', @@sql_mode like '%STRICT%'",
                &[],
            )
            .await;
            assert_eq!(text, [json!("a'b"), json!(1)]);
        }

        // What a comparison reads by.
        if server.engine == Engine::Mysql {
            for (host, protection, secret) in [
                ("localhost", verified(), true),
                ("127.0.0.1", Protection::Unverified, true),
                ("127.0.0.1", Protection::Off, false),
            ] {
                let mut opened = session(&by(host, protection)).await.unwrap();
                let told = all(&mut opened, "show session status like 'Ssl_cipher'").await.unwrap();
                let cipher = told[0][1].clone().unwrap_or_default();
                assert_eq!(!cipher.is_empty(), secret, "{told:?}");
            }
        }

        let without = Protection::Verified { ca: None };
        for (target, why) in [
            (by("localhost", without), "under ca:"),
            (by("127.0.0.1", verified()), "for this name"),
        ] {
            let mut errors = vec![Reader::open(&target).await.err().unwrap()];
            if server.engine == Engine::Mysql {
                errors.push(session(&target).await.err().unwrap());
            }
            for error in errors {
                assert_eq!(error.kind, ActionErrorKind::Permanent, "{error}");
                assert!(
                    error.message.contains("certificate") && error.message.contains(why),
                    "{error}"
                );
            }
        }
        let nothing = Protection::Verified {
            ca: Some(issued.path("nothing.pem")),
        };
        let error = Reader::open(&by("localhost", nothing)).await.err().unwrap();
        assert_eq!(error.kind, ActionErrorKind::Permanent, "{error}");
        assert!(error.message.contains("ca"), "{error}");
    }
}
