//! Whom a check trusts: what the system trusts, a CA of the runbook's own besides, or nobody in particular. Keeps the
//! certificate that a peer showed, so that a refusal can say what was wrong with it.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use chrono::Utc;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_platform_verifier::Verifier;

use crate::provider::action::{ActionError, ActionErrorKind};

use super::certificate::Certificate;

/// Who judges a certificate.
#[derive(Debug, Clone)]
enum Judge {
    Chain(Arc<Verifier>),
    /// Only that the peer holds the key of what it shows.
    Nobody,
}

/// Whom a check trusts.
#[derive(Debug, Clone)]
pub struct Trust {
    judge: Judge,
    crypto: Arc<CryptoProvider>,
}

/// What a peer showed in one handshake.
#[derive(Debug, Default)]
pub struct Shown {
    certificate: OnceLock<Option<Certificate>>,
    refused: OnceLock<rustls::Error>,
}

impl Trust {
    /// What the system trusts, and the authorities in the file `ca` besides; with `verify` false, everybody.
    pub async fn new(ca: Option<&Path>, verify: bool) -> Result<Self, ActionError> {
        let permanent = |words: String| ActionError::new(ActionErrorKind::Permanent, words);
        let crypto = Arc::new(aws_lc_rs::default_provider());
        if !verify {
            return Ok(Self {
                judge: Judge::Nobody,
                crypto,
            });
        }
        let mut own = Vec::new();
        if let Some(path) = ca {
            let shown = path.display();
            let hint = "write the path of a file with PEM certificates";
            let pem = tokio::fs::read(path)
                .await
                .map_err(|error| permanent(format!("ca {shown}: {error}; {hint}")))?;
            own = CertificateDer::pem_slice_iter(&pem)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| permanent(format!("ca {shown}: {error}; {hint}")))?;
            if own.is_empty() {
                return Err(permanent(format!("ca {shown} holds no certificate; {hint}")));
            }
        }
        let verifier = Verifier::new_with_extra_roots(own, Arc::clone(&crypto)).map_err(|error| {
            let hint = "install the system's CA certificates, or name a file under ca:";
            permanent(format!("nobody is trusted here: {error}; {hint}"))
        })?;
        Ok(Self {
            judge: Judge::Chain(Arc::new(verifier)),
            crypto,
        })
    }

    /// A configuration for one connection, and where what the peer shows is found afterwards.
    pub fn client(&self, protocols: &[&str]) -> Result<(ClientConfig, Arc<Shown>), ActionError> {
        let shown = Arc::new(Shown::default());
        let witness = Witness {
            trust: self.clone(),
            shown: Arc::clone(&shown),
        };
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.crypto))
            .with_safe_default_protocol_versions()
            .map_err(|error| ActionError::new(ActionErrorKind::Permanent, format!("TLS: {error}")))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(witness))
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok((config, shown))
    }
}

impl Shown {
    /// The certificate, where one was shown that can be read.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.get().and_then(Option::as_ref)
    }

    /// Why it was refused, in words that end in a hint; nothing where it was not.
    pub fn refusal(&self, host: &str) -> Option<String> {
        let refused = self.refused.get()?;
        let now = Utc::now();
        let seen = self
            .certificate()
            .map_or_else(String::new, |certificate| format!(" ({})", certificate.words(now)));
        let rustls::Error::InvalidCertificate(why) = refused else {
            return Some(format!(
                "the certificate was refused: {refused}{seen}; look at what serves it"
            ));
        };
        let (what, hint) = match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
                "the certificate has expired",
                "have it renewed before anybody is sent there",
            ),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
                "the certificate is not valid yet",
                "compare this machine's clock with the day that it begins",
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
                "the certificate is for another name",
                "have one issued for this name, or ask by the name that it is for",
            ),
            CertificateError::UnknownIssuer if self.certificate().is_some_and(Certificate::is_self_signed) => (
                "the certificate is self-signed",
                "name it under ca: if it is meant, or have one issued",
            ),
            CertificateError::UnknownIssuer => (
                "the certificate's issuer is not trusted here",
                "name the issuer's CA under ca:, or have the server send its intermediate certificates",
            ),
            CertificateError::Revoked => ("the certificate is revoked", "have a new one issued"),
            other => {
                return Some(format!(
                    "the certificate is refused: {other}{seen}; have a proper one issued"
                ));
            }
        };
        Some(format!("{what} for {host}{seen}; {hint}"))
    }
}

/// The judge of one handshake, who remembers what was shown.
#[derive(Debug)]
struct Witness {
    trust: Trust,
    shown: Arc<Shown>,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.shown.certificate.get_or_init(|| Certificate::read(end_entity));
        let verdict = match &self.trust.judge {
            Judge::Chain(verifier) => {
                verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            Judge::Nobody => Ok(ServerCertVerified::assertion()),
        };
        if let Err(error) = &verdict {
            self.shown.refused.get_or_init(|| error.clone());
        }
        verdict
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.trust.crypto.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.trust.crypto.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.crypto.signature_verification_algorithms.supported_schemes()
    }
}
