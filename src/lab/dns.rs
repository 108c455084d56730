//! The authoritative DNS server: UDP and TCP on loopback, what is INSYNC is what is served (RFC 1035).

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hickory_net::runtime::Time;
use hickory_proto::op::{Header, HeaderCounts, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, SOA, TXT};
use hickory_proto::rr::{LowerName, Name, RData, Record, RecordType};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo, Server};
use hickory_server::zone_handler::MessageResponseBuilder;
use tokio::net::{TcpListener, UdpSocket};

use super::cloud::Cloud;
use super::endpoints::ZONE;
use super::route53::served;
use super::world::LabError;
use super::zone::{Set, dotted, pointed_at, strings};

/// Opens UDP and TCP on one loopback port: `wanted`, or any.
pub async fn bind(wanted: u16) -> Result<(UdpSocket, TcpListener, SocketAddr), LabError> {
    for port in [wanted, 0, 0, 0, 0, 0] {
        let Ok(udp) = UdpSocket::bind(("127.0.0.1", port)).await else {
            continue;
        };
        let at = udp.local_addr()?;
        if let Ok(tcp) = TcpListener::bind(at).await {
            return Ok((udp, tcp, at));
        }
    }
    Err(LabError::State("no port is free for DNS over UDP and TCP".to_owned()))
}

/// Serves the zone.
pub fn serve(cloud: Arc<Cloud>, udp: UdpSocket, tcp: TcpListener) -> Server<Zone> {
    let mut server = Server::new(Zone { cloud });
    server.register_socket(udp);
    server.register_listener(tcp, Duration::from_secs(5), 32);
    server
}

/// The zone's handler.
pub struct Zone {
    cloud: Arc<Cloud>,
}

struct Reply {
    code: ResponseCode,
    answers: Vec<Record>,
    soa: Option<Record>,
}

impl Zone {
    fn reply(&self, name: &LowerName, kind: RecordType) -> Result<Reply, LabError> {
        let refused = Reply {
            code: ResponseCode::Refused,
            answers: Vec::new(),
            soa: None,
        };
        let zone = name_of(ZONE)?;
        let full = Name::from(name);
        if !LowerName::from(zone.clone()).zone_of(name) {
            return Ok(refused);
        }
        let soa = Record::from_rdata(zone.clone(), 60, RData::SOA(start()?));
        if full == zone {
            let answers = match kind {
                RecordType::SOA => vec![soa.clone()],
                RecordType::NS => {
                    vec![Record::from_rdata(
                        zone,
                        172_800,
                        RData::NS(NS(name_of("ns1.lab.test.")?)),
                    )]
                }
                _ => Vec::new(),
            };
            let missing = answers.is_empty().then_some(soa);
            return Ok(Reply {
                code: ResponseCode::NoError,
                answers,
                soa: missing,
            });
        }
        let sets = served(&self.cloud)?;
        let named: Vec<&Set> = sets
            .iter()
            .filter(|set| Name::from_str(&set.name).is_ok_and(|known| known == full))
            .collect();
        let wanted: Vec<&Set> = named
            .iter()
            .copied()
            .filter(|set| set.kind == kind.to_string() || set.kind == "CNAME")
            .collect();
        let mut answers = Vec::new();
        // An alias answers with what its target has, under its own name and with the target's TTL.
        if let Some(set) = chosen(&wanted).and_then(|set| chosen(&pointed_at(&sets, set))) {
            for value in &set.values {
                let ttl = set.ttl.and_then(|ttl| u32::try_from(ttl).ok()).unwrap_or(0);
                answers.push(Record::from_rdata(full.clone(), ttl, data(&set.kind, value)?));
            }
        }
        let code = if named.is_empty() {
            ResponseCode::NXDomain
        } else {
            ResponseCode::NoError
        };
        let soa = answers.is_empty().then_some(soa);
        Ok(Reply { code, answers, soa })
    }
}

/// By weight; when all weights are zero, equally.
fn chosen<'a>(sets: &[&'a Set]) -> Option<&'a Set> {
    let weight = |set: &Set, all_zero: bool| {
        if all_zero {
            1
        } else {
            set.weight.unwrap_or(1).unsigned_abs()
        }
    };
    let all_zero = sets.iter().all(|set| set.weight == Some(0));
    let whole: u64 = sets.iter().map(|set| weight(set, all_zero)).sum();
    let mut ticket = if whole == 0 { 0 } else { rand::random_range(0..whole) };
    for set in sets {
        let share = weight(set, all_zero);
        if ticket < share {
            return Some(set);
        }
        ticket -= share;
    }
    None
}

fn name_of(name: &str) -> Result<Name, LabError> {
    Name::from_str(name).map_err(|error| LabError::State(format!("{name}: {error}")))
}

fn start() -> Result<SOA, LabError> {
    Ok(SOA::new(
        name_of("ns1.lab.test.")?,
        name_of("hostmaster.lab.test.")?,
        1,
        7_200,
        900,
        1_209_600,
        60,
    ))
}

fn data(kind: &str, value: &str) -> Result<RData, LabError> {
    let bad = |error: &dyn std::fmt::Display| LabError::State(format!("{kind} {value}: {error}"));
    Ok(match kind {
        "A" => RData::A(A(value
            .parse()
            .map_err(|error: std::net::AddrParseError| bad(&error))?)),
        "AAAA" => RData::AAAA(AAAA(
            value.parse().map_err(|error: std::net::AddrParseError| bad(&error))?,
        )),
        "CNAME" => RData::CNAME(CNAME(name_of(&dotted(value))?)),
        "MX" => {
            let (preference, host) = value.split_once(' ').unwrap_or_default();
            let preference = preference
                .parse()
                .map_err(|error: std::num::ParseIntError| bad(&error))?;
            RData::MX(MX::new(preference, name_of(&dotted(host.trim()))?))
        }
        _ => {
            let strings = strings(value).ok_or_else(|| bad(&"it is no list of strings"))?;
            RData::TXT(TXT::from_bytes(strings.iter().map(Vec::as_slice).collect()))
        }
    })
}

#[async_trait]
impl RequestHandler for Zone {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, mut handle: R) -> ResponseInfo {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        let reply = match request.request_info() {
            Ok(info) if request.metadata.op_code == OpCode::Query => self
                .reply(info.query.name(), info.query.query_type())
                .unwrap_or_else(|error| {
                    tracing::warn!(%error, "the lab's DNS server cannot answer");
                    Reply {
                        code: ResponseCode::ServFail,
                        answers: Vec::new(),
                        soa: None,
                    }
                }),
            Ok(_) => Reply {
                code: ResponseCode::NotImp,
                answers: Vec::new(),
                soa: None,
            },
            Err(_) => Reply {
                code: ResponseCode::FormErr,
                answers: Vec::new(),
                soa: None,
            },
        };
        metadata.authoritative = matches!(reply.code, ResponseCode::NoError | ResponseCode::NXDomain);
        metadata.response_code = reply.code;
        let none: Vec<Record> = Vec::new();
        let response = MessageResponseBuilder::from_message_request(request).build(
            metadata,
            &reply.answers,
            &none,
            &reply.soa,
            &none,
        );
        match handle.send_response(response).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!(%error, "the lab's DNS answer was not sent");
                Header {
                    metadata,
                    counts: HeaderCounts::default(),
                }
                .into()
            }
        }
    }
}
