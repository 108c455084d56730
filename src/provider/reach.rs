//! Where a name leads, and whether it may be gone there: the lab keeps to loopback. Connects to nothing but the DNS
//! server that it is given.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::provider::action::{ActionError, ActionErrorKind};
use crate::provider::again::Miss;
use crate::provider::dns::lookup::{Asked, ask};

/// How long the system's resolver may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How names become addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reach {
    /// The address to use instead of asking for one.
    pub pinned: Option<IpAddr>,
    /// A DNS server that is asked, where it is not the system's resolver.
    pub resolver: Option<SocketAddr>,
    /// Nothing but loopback may be reached.
    pub confined: bool,
}

impl Reach {
    /// The addresses of `host`; at least one.
    pub async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Miss> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let found = match (self.pinned, bare.parse::<IpAddr>(), self.resolver) {
            (Some(pinned), _, _) => vec![pinned],
            (None, Ok(literal), _) => vec![literal],
            (None, Err(_), Some(resolver)) => asked(resolver, host).await?,
            (None, Err(_), None) => system(host, port).await?,
        };
        let outside = found.iter().find(|ip| !ip.to_canonical().is_loopback());
        if let Some(at) = outside.filter(|_| self.confined) {
            return Err(Miss::never(format!(
                "{host} is {at}: the lab reaches nothing but loopback; use on: app, or say under lab: what stands for it"
            )));
        }
        Ok(found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
    }
}

async fn asked(resolver: SocketAddr, host: &str) -> Result<Vec<IpAddr>, Miss> {
    let mut found = Vec::new();
    for kind in ["A", "AAAA"] {
        let asked = Asked {
            name: host.to_owned(),
            kind: kind.to_owned(),
        };
        let answer = ask(resolver, &asked).await.map_err(Miss::Yet)?;
        found.extend(answer.values.iter().filter_map(|value| value.parse::<IpAddr>().ok()));
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Err(nowhere(format!("{host} has no address at {resolver}")))
}

async fn system(host: &str, port: u16) -> Result<Vec<IpAddr>, Miss> {
    let looked = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host, port))).await;
    match looked {
        Ok(Ok(found)) => {
            let found: Vec<IpAddr> = found.map(|at| at.ip()).collect();
            if found.is_empty() {
                return Err(nowhere(format!("{host} has no address")));
            }
            Ok(found)
        }
        Ok(Err(error)) => Err(nowhere(format!("{host} has no address: {error}"))),
        Err(_elapsed) => Err(nowhere(format!("no address of {host} within {} s", PATIENCE.as_secs()))),
    }
}

fn nowhere(what: String) -> Miss {
    let words = format!("{what}; look at its record, or name the server to ask under resolver:");
    Miss::Yet(ActionError::new(ActionErrorKind::Transient, words))
}
