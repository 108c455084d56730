//! Who is asked: every authoritative server of a zone, and the resolvers that a step lists. Must not ask them.

use std::net::{IpAddr, SocketAddr};

use crate::provider::action::{ActionError, ActionErrorKind};
use crate::provider::aws::{AwsTarget, Identity};
use crate::provider::connection::BuildError;

use super::records::Zone;

const DNS: u16 = 53;

/// What kind of server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Authority,
    /// It caches.
    Resolver,
}

/// A server, where its address is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub kind: Kind,
    /// As people know it.
    pub label: String,
    /// Its address, or why there is none.
    pub at: Result<SocketAddr, String>,
}

impl Server {
    /// A server at an address.
    pub fn at(kind: Kind, at: SocketAddr) -> Self {
        Self {
            kind,
            label: at.to_string(),
            at: Ok(at),
        }
    }
}

/// The resolvers of a step: `address` or `address:port`. Whoever signs with credentials that open nothing asks nobody
/// outside this machine either.
pub fn resolvers(texts: &[String], target: &AwsTarget) -> Result<Vec<Server>, BuildError> {
    let mut found = Vec::new();
    for text in texts {
        let at = text
            .parse::<SocketAddr>()
            .or_else(|_no_port| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS)))
            .map_err(|_bad| BuildError::Parameter(format!("resolvers: \"{text}\" is no address or address:port")))?;
        if target.identity == Identity::Fake && !at.ip().is_loopback() {
            let words = format!("resolvers: {at} is not on loopback, which the lab does not leave; set them by vars");
            return Err(BuildError::Parameter(words));
        }
        found.push(Server::at(Kind::Resolver, at));
    }
    Ok(found)
}

/// The authoritative servers: the one that the connection names, else every name server of the zone.
pub async fn authorities(target: &AwsTarget, zone: Option<&Zone>) -> Result<Vec<Server>, ActionError> {
    if let Some(at) = target.dns_server {
        return Ok(vec![Server::at(Kind::Authority, at)]);
    }
    let Some(zone) = zone else {
        let words = "nobody says who is authoritative; add zone: to the step, or dns_server: ip:port to the connection";
        return Err(ActionError::new(ActionErrorKind::Permanent, words));
    };
    let names = zone.name_servers().await?;
    if names.is_empty() {
        let words = format!(
            "zone {} names no name servers; add dns_server: ip:port to the connection",
            zone.id
        );
        return Err(ActionError::new(ActionErrorKind::Permanent, words));
    }
    let mut found = Vec::new();
    for label in names {
        let at = address_of(&label).await;
        found.push(Server {
            kind: Kind::Authority,
            label,
            at,
        });
    }
    Ok(found)
}

/// One address of a name server is enough: all of them serve the same. IPv4 comes first, which more networks let out.
async fn address_of(name: &str) -> Result<SocketAddr, String> {
    let mut found: Vec<SocketAddr> = tokio::net::lookup_host((name.trim_end_matches('.'), DNS))
        .await
        .map_err(|error| format!("its address is not known: {error}"))?
        .collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    found.first().copied().ok_or_else(|| "it has no address".to_owned())
}
