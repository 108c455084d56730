//! An authoritative DNS server for the zones of a peer that serves none: each answer comes from what the peer lists at
//! that moment.

use std::net::SocketAddr;
use std::str::FromStr;

use aws_sdk_route53::Client;
use aws_sdk_route53::types::ResourceRecordSet;
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// Serves the A records of a zone; ends when dropped.
pub struct Authority {
    pub at: SocketAddr,
    serving: JoinHandle<()>,
}

impl Authority {
    pub async fn start(client: Client, zone: &str) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let at = socket.local_addr().unwrap();
        let zone = zone.to_owned();
        let serving = tokio::spawn(async move {
            let mut bytes = [0; 1024];
            loop {
                let (length, from) = socket.recv_from(&mut bytes).await.unwrap();
                let question = Message::from_vec(&bytes[..length]).unwrap();
                let listed = client
                    .list_resource_record_sets()
                    .hosted_zone_id(&zone)
                    .send()
                    .await
                    .unwrap();
                let answer = answer(&question, listed.resource_record_sets());
                socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
            }
        });
        Self { at, serving }
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn answer(question: &Message, sets: &[ResourceRecordSet]) -> Message {
    let query = &question.queries[0];
    let wanted = query.name().to_string().to_lowercase();
    let mut answer = Message::query();
    answer.metadata.id = question.metadata.id;
    answer.metadata.message_type = MessageType::Response;
    answer.metadata.authoritative = true;
    answer.metadata.response_code = ResponseCode::NoError;
    answer.add_query(query.clone());
    for set in sets
        .iter()
        .filter(|set| set.name() == wanted && set.r#type().as_str() == "A")
    {
        // An alias answers with what its target has.
        let target = set.alias_target().map(|target| target.dns_name().trim_end_matches('.'));
        let source = sets
            .iter()
            .find(|other| target.is_some_and(|target| other.name().trim_end_matches('.') == target))
            .unwrap_or(set);
        for value in source.resource_records() {
            let ttl = u32::try_from(source.ttl().unwrap()).unwrap();
            let data = RData::A(A::from_str(value.value()).unwrap());
            answer.add_answer(Record::from_rdata(Name::from_str(&wanted).unwrap(), ttl, data));
        }
    }
    answer
}
