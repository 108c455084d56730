//! What a certificate says about itself (RFC 5280): for whom, by whom, until when. Judges nothing.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use chrono::{DateTime, Utc};
use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::time::Time;

use crate::provider::again::time;

const DAY: i64 = 86_400;

/// A peer's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    pub subject: String,
    pub issuer: String,
    /// The names and addresses that it is for (subjectAltName).
    pub names: Vec<String>,
    pub not_before: DateTime<Utc>,
    pub not_after: DateTime<Utc>,
    /// SHA-256 of its DER, lower-case hex.
    pub fingerprint: String,
}

impl Certificate {
    /// From DER; nothing where it cannot be read.
    pub fn read(der: &[u8]) -> Option<Self> {
        let read = x509_cert::Certificate::from_der(der).ok()?;
        let body = read.tbs_certificate();
        let names = match body.get_extension::<SubjectAltName>() {
            Ok(Some((_critical, names))) => names.0.iter().filter_map(name).collect(),
            Ok(None) | Err(_) => Vec::new(),
        };
        Some(Self {
            subject: body.subject().to_string(),
            issuer: body.issuer().to_string(),
            names,
            not_before: instant(body.validity().not_before)?,
            not_after: instant(body.validity().not_after)?,
            fingerprint: HEXLOWER.encode(&Sha256::digest(der)),
        })
    }

    /// Whole days until it ends; below 0 once it has.
    pub fn days_left(&self, now: DateTime<Utc>) -> i64 {
        self.seconds_left(now).div_euclid(DAY)
    }

    /// Seconds until it ends.
    pub fn seconds_left(&self, now: DateTime<Utc>) -> i64 {
        (self.not_after - now).num_seconds()
    }

    /// Whether it names itself as its issuer.
    pub fn is_self_signed(&self) -> bool {
        self.subject == self.issuer
    }

    /// One line for people.
    pub fn words(&self, now: DateTime<Utc>) -> String {
        format!(
            "certificate for {}, issued by {}, valid until {} ({})",
            self.whom(),
            if self.is_self_signed() { "itself" } else { &self.issuer },
            self.not_after.format("%Y-%m-%d %H:%M UTC"),
            left(self.days_left(now)),
        )
    }

    /// For whom it is.
    pub fn whom(&self) -> String {
        if self.names.is_empty() {
            self.subject.clone()
        } else {
            self.names.join(", ")
        }
    }

    /// As a result.
    pub fn json(&self, now: DateTime<Utc>) -> Value {
        json!({
            "subject": self.subject,
            "issuer": self.issuer,
            "names": self.names,
            "not_before": self.not_before.to_rfc3339(),
            "not_after": self.not_after.to_rfc3339(),
            "days_left": self.days_left(now),
            "sha256": self.fingerprint,
        })
    }
}

/// What a demand on a certificate's end finds wrong with it, and what to do: `(what, hint)`.
pub fn too_short(wanted: Duration, certificate: Option<&Certificate>, now: DateTime<Utc>) -> Option<(String, String)> {
    let days = wanted.as_secs() / 86_400;
    let wanted_words = if days > 0 { format!("{days} days") } else { time(wanted) };
    let Some(certificate) = certificate else {
        let what = format!("certificate: none was seen where one valid for {wanted_words} is wanted");
        return Some((what, "ask by https".to_owned()));
    };
    let needed = i64::try_from(wanted.as_secs()).unwrap_or(i64::MAX);
    if certificate.seconds_left(now) >= needed {
        return None;
    }
    let what = format!(
        "certificate: {}, where {wanted_words} are wanted",
        certificate.words(now)
    );
    Some((what, "have it renewed, or see why the new one is not served".to_owned()))
}

fn left(days: i64) -> String {
    match days {
        -1 => "expired less than a day ago".to_owned(),
        ..-1 => format!("expired {} days ago", days.saturating_neg().saturating_sub(1)),
        1 => "1 day left".to_owned(),
        _ => format!("{days} days left"),
    }
}

fn instant(time: Time) -> Option<DateTime<Utc>> {
    let seconds = i64::try_from(time.to_unix_duration().as_secs()).ok()?;
    DateTime::from_timestamp(seconds, 0)
}

/// A name that hosts are held against; the others (directories, URIs) play no part in that.
fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_owned()),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let four = <[u8; 4]>::try_from(bytes).map(|octets| Ipv4Addr::from(octets).to_string());
            let sixteen = <[u8; 16]>::try_from(bytes).map(|octets| Ipv6Addr::from(octets).to_string());
            four.or(sixteen).ok()
        }
        _ => None,
    }
}
