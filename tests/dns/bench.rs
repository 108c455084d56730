//! A world with caches: the lab's Route 53, Knot behind it, unbound in front of Knot.

#[path = "../support/cx.rs"]
mod cx;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use pointsman::lab::endpoints::{ACCOUNT, REGION, ZONE_ID};
use pointsman::lab::{Fault, Lab, LabOptions};
use pointsman::provider::action::{Action, ActionError, Cx, Outcome, Progress, Reporter};
use pointsman::provider::aws::{AwsTarget, Identity};
use pointsman::provider::connection::{Connections, HttpTarget, SqliteTarget, Target};
use pointsman::provider::dns::lookup::{Answer, Asked, ask_resolver};
use pointsman::provider::dns::records::{RecordSet, Zone};
use pointsman::provider::registry::{Request, build};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::mirror::Mirror;
use crate::peers::{self, Server};
use crate::support::requests;

/// Remembers what an action reported.
#[derive(Default)]
pub struct Heard {
    pub acked: Mutex<Vec<String>>,
    pub lines: Mutex<Vec<String>>,
    pub states: Mutex<Vec<String>>,
}

#[async_trait]
impl Reporter for Heard {
    async fn ack(&self, provider_id: &str) -> Result<(), ActionError> {
        self.acked.lock().unwrap().push(provider_id.to_owned());
        Ok(())
    }

    fn progress(&self, progress: Progress) {
        match progress {
            Progress::Line(line) => self.lines.lock().unwrap().push(line),
            Progress::State(text) | Progress::Share { text, .. } | Progress::Board { text, .. } => {
                self.states.lock().unwrap().push(text)
            }
        }
    }
}

pub struct Bench {
    pub lab: Lab,
    pub connections: Connections,
    pub heard: Arc<Heard>,
    pub cancel: CancellationToken,
    /// Divides the waits of actions: TTLs of real caches do not run faster.
    pub speed: f64,
    folder: tempfile::TempDir,
}

/// The caches behind a bench.
pub struct Caches {
    pub knot: Server,
    pub unbound: Server,
    _mirror: Mirror,
}

impl Bench {
    /// The lab, whose own server is the authority.
    pub async fn lab(speed: f64, faults: &[Fault]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = LabOptions {
            speed: speed.max(200.0),
            faults: faults.to_vec(),
            writer: false,
        };
        let lab = Lab::start(&folder.path().join("lab"), options).await.unwrap();
        let at = lab.endpoints();
        let mut aws = AwsTarget::new(REGION, ACCOUNT, Some(at.aws.clone()), Identity::Fake);
        aws.dns_server = Some(at.dns);
        let app = HttpTarget {
            base: format!("http://erp.lab.test:{}", at.app_port),
            resolver: Some(at.dns),
            ..HttpTarget::default()
        };
        let connections = Connections::new()
            .with("aws", Target::Aws(aws))
            .with("app", Target::Http(app))
            .with(
                "target",
                Target::Sqlite(SqliteTarget {
                    path: at.target.clone(),
                }),
            );
        Self {
            lab,
            connections,
            heard: Arc::default(),
            cancel: CancellationToken::new(),
            speed,
            folder,
        }
    }

    /// The lab's Route 53 with Knot as the authority and a cache; nothing where the programs are missing. Knot is told of
    /// the application's record and of `more`, by name and type.
    pub async fn cached(more: &[(&str, &str)]) -> Option<(Self, Caches)> {
        if !peers::installed() {
            return None;
        }
        let mut bench = Self::lab(1.0, &[]).await;
        let knot = Server::knot("erp 300 A 127.0.0.1").await;
        let unbound = Server::unbound(knot.at).await;
        let records = [("erp.lab.test.", "A")].iter().chain(more);
        let records = records.map(|(name, kind)| Asked {
            name: (*name).to_owned(),
            kind: (*kind).to_owned(),
        });
        let mirror = Mirror::start(bench.lab.endpoints().dns, knot.at, records.collect());
        let mut aws = AwsTarget::new(REGION, ACCOUNT, Some(bench.lab.endpoints().aws.clone()), Identity::Fake);
        aws.dns_server = Some(knot.at);
        bench.connections = bench.connections.with("aws", Target::Aws(aws));
        let caches = Caches {
            knot,
            unbound,
            _mirror: mirror,
        };
        Some((bench, caches))
    }

    pub fn action(&self, uses: &str, with: Value) -> Box<dyn Action> {
        let on = ["aws".to_owned()];
        let request = Request {
            uses,
            on: &on,
            with: &with,
        };
        build(&request, &self.connections).unwrap_or_else(|error| panic!("{uses}: {error}"))
    }

    /// Why an action on the application's record cannot be made.
    pub fn refused(&self, uses: &str, more: Value) -> String {
        let mut with = json!({ "zone": ZONE_ID, "record": "erp.lab.test" });
        with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let on = ["aws".to_owned()];
        let request = Request {
            uses,
            on: &on,
            with: &with,
        };
        match build(&request, &self.connections) {
            Ok(_) => panic!("{uses} is made of {with}"),
            Err(error) => error.to_string(),
        }
    }

    /// An action on the application's record.
    pub fn on_record(&self, uses: &str, more: Value) -> Box<dyn Action> {
        let mut with = json!({ "zone": ZONE_ID, "record": "erp.lab.test" });
        with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.action(uses, with)
    }

    pub fn cx(&self, key: &str, identity: Value) -> Cx {
        cx::cx(key, identity, self.speed, &self.cancel, self.heard.clone())
    }

    /// Looks, as before a gate, then executes under what was bound.
    pub async fn perform(&self, action: &dyn Action, key: &str) -> Result<Outcome, ActionError> {
        let performed = async {
            let ready = action.check(&self.cx(key, Value::Null)).await?;
            action.execute(&self.cx(key, ready.identity)).await
        };
        // A peer that broke would be waited for as long as the step may take.
        tokio::time::timeout(std::time::Duration::from_secs(120), performed)
            .await
            .unwrap()
    }

    fn aws(&self) -> &AwsTarget {
        let Target::Aws(aws) = self.connections.at(&["aws".to_owned()], 0).unwrap() else {
            panic!("an AWS connection");
        };
        aws
    }

    pub async fn zone(&self) -> Zone {
        Zone::find(self.aws(), ZONE_ID).await.unwrap()
    }

    /// What stands at Route 53.
    pub async fn standing(&self) -> Vec<RecordSet> {
        self.zone().await.read("erp.lab.test", "A").await.unwrap()
    }

    /// Somebody else points the record elsewhere, or takes it away.
    pub async fn meddle(&self, values: &[&str]) -> Vec<RecordSet> {
        let zone = self.zone().await;
        let current = zone.read("erp.lab.test", "A").await.unwrap();
        let theirs: Vec<RecordSet> = (!values.is_empty())
            .then(|| RecordSet {
                set_identifier: None,
                weight: None,
                values: values.iter().map(|value| (*value).to_owned()).collect(),
                ..current[0].clone()
            })
            .into_iter()
            .collect();
        zone.swap(&current, &theirs, "pm-theirs").await.unwrap();
        theirs
    }

    /// The authority says nothing at all, and no wait for it ends by itself. The lab's Route 53 stays.
    pub fn silence_the_authority(&mut self) -> std::net::UdpSocket {
        // Bound and never read.
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut aws = AwsTarget::new(REGION, ACCOUNT, Some(self.lab.endpoints().aws.clone()), Identity::Fake);
        aws.dns_server = Some(silent.local_addr().unwrap());
        self.connections = std::mem::take(&mut self.connections).with("aws", Target::Aws(aws));
        silent
    }

    /// Waits until an action's words hold something.
    pub fn wait_until_told(&self, part: &str) {
        let told = || {
            let (lines, states) = (self.heard.lines.lock().unwrap(), self.heard.states.lock().unwrap());
            lines.iter().chain(states.iter()).any(|words| words.contains(part))
        };
        tokio::task::block_in_place(|| crate::support::wait_for(part, told));
    }

    /// Waits until Route 53 accepted a change of ours.
    pub fn wait_until_accepted(&self) {
        let accepted = || !self.heard.acked.lock().unwrap().is_empty();
        tokio::task::block_in_place(|| crate::support::wait_for("an accepted change", accepted));
    }

    /// The changes that the lab's Route 53 served so far: their comments.
    pub fn changes(&self) -> Vec<String> {
        let served = requests(&self.folder.path().join("lab"));
        served
            .iter()
            .filter(|request| request["operation"] == "ChangeResourceRecordSets")
            .map(|request| request["name"].as_str().unwrap_or_default().to_owned())
            .collect()
    }
}

/// Has a cache hold the application's record.
pub async fn fill(cache: SocketAddr) -> Answer {
    let asked = Asked {
        name: "erp.lab.test.".to_owned(),
        kind: "A".to_owned(),
    };
    ask_resolver(cache, &asked).await.unwrap()
}

/// The verdict on a server in a result.
pub fn verdict(outcome: &Outcome, server: SocketAddr) -> String {
    let rows = outcome.result["servers"].as_array().unwrap();
    let row = rows.iter().find(|row| row["server"] == server.to_string()).unwrap();
    row["verdict"].as_str().unwrap().to_owned()
}

/// A record set without weights.
pub fn simple(name: &str, kind: &str, ttl: i64, values: &[&str]) -> RecordSet {
    RecordSet {
        name: name.to_owned(),
        kind: kind.to_owned(),
        set_identifier: None,
        weight: None,
        ttl: Some(ttl),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
        alias: None,
    }
}
