//! What a library's error says of TLS, where the library speaks TLS by itself. Must not judge anybody.

use std::error::Error;
use std::io;

use rustls::CertificateError;

/// Why TLS was refused, in words that end in a hint; nothing where the error is of another kind.
pub fn refusal(error: &io::Error) -> Option<String> {
    let mut next: Option<&(dyn Error + 'static)> = error.get_ref().map(|inner| inner as &(dyn Error + 'static));
    while let Some(inner) = next {
        if let Some(refused) = inner.downcast_ref::<rustls::Error>() {
            return Some(words(refused));
        }
        if let Some(inner) = inner.downcast_ref::<io::Error>() {
            return refusal(inner);
        }
        next = inner.source();
    }
    None
}

fn words(refused: &rustls::Error) -> String {
    let rustls::Error::InvalidCertificate(why) = refused else {
        return format!("TLS: {refused}; look at what serves it");
    };
    let hint = match why {
        CertificateError::UnknownIssuer => "name the issuer's CA under ca:",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "ask by the name that it is for, or have one issued for this name"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "have it renewed",
        _ => "have a proper one issued",
    };
    format!("the certificate is refused: {why}; {hint}")
}

/// The authorities that the system trusts, as DER; those that cannot be read are left out.
pub fn system() -> Vec<Vec<u8>> {
    let mut store = rustls::RootCertStore::empty();
    rustls_native_certs::load_native_certs()
        .certs
        .into_iter()
        .filter(|certificate| store.add(certificate.clone()).is_ok())
        .map(|certificate| certificate.to_vec())
        .collect()
}
