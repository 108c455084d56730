//! A world that a contract is held against: the lab or a peer, with the databases, the task and the record that the
//! suite needs, reached through a connection as the program makes it.

#[path = "../support/cx.rs"]
mod cx;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use pointsman::lab::endpoints::{ACCOUNT, REGION, TASK, ZONE_ID};
use pointsman::lab::{Lab, LabOptions};
use pointsman::provider::action::{Action, ActionError, Cx, Observed, Outcome, Progress, Reporter};
use pointsman::provider::aws::{AwsTarget, Identity};
use pointsman::provider::connection::{Connections, Target};
use pointsman::provider::registry::{Request, build};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::authority::Authority;
use crate::peers::{self, Peer};

/// How fast labs run here, and every wait of an action.
pub const SPEED: f64 = 200.0;
/// The account that moto gives everybody.
const MOTO_ACCOUNT: &str = "123456789012";

/// Remembers what an action reported.
#[derive(Default)]
pub struct Heard {
    pub acked: Mutex<Vec<String>>,
    pub progress: Mutex<Vec<String>>,
}

#[async_trait]
impl Reporter for Heard {
    async fn ack(&self, provider_id: &str) -> Result<(), ActionError> {
        self.acked.lock().unwrap().push(provider_id.to_owned());
        Ok(())
    }

    fn progress(&self, progress: Progress) {
        let words = match progress {
            Progress::Line(text) | Progress::Share { text, .. } | Progress::State(text) => text,
            Progress::Board { text, rows, .. } => format!("{text}\n{}", rows.join("\n")),
        };
        self.progress.lock().unwrap().push(words);
    }
}

/// What serves.
pub enum Home {
    Lab(
        Lab,
        #[expect(dead_code, reason = "its folder, held so that it stays")] tempfile::TempDir,
    ),
    Peer(#[expect(dead_code, reason = "held so that it goes on")] Arc<Peer>),
}

/// What the suite acts on.
#[derive(Debug, Clone, Default)]
pub struct Names {
    pub instance: String,
    /// A read replica of the instance.
    pub replica: String,
    pub cluster: String,
    /// A replication task that is ready or stopped.
    pub task: String,
    pub zone: String,
}

/// The application's record in the zone.
pub const RECORD: &str = "erp.lab.test";

pub struct Bench {
    pub home: Home,
    pub target: AwsTarget,
    pub names: Names,
    pub heard: Arc<Heard>,
    pub cancel: CancellationToken,
    pub speed: f64,
    /// A run of its own: worlds are shared.
    pub run: String,
    _authority: Option<Authority>,
}

/// A name that nobody else in this process has.
pub fn fresh(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!(
        "{what}-{}-{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}

impl Bench {
    /// The lab.
    pub async fn lab() -> Option<Self> {
        Some(Self::lab_at(SPEED).await)
    }

    /// The lab at a pace at which states can be met that pass.
    pub async fn slow_lab() -> Option<Self> {
        Some(Self::lab_at(SPEED / 10.0).await)
    }

    async fn lab_at(speed: f64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = LabOptions {
            speed,
            writer: false,
            ..LabOptions::default()
        };
        let lab = Lab::start(&folder.path().join("lab"), options).await.unwrap();
        let mut target = AwsTarget::new(REGION, ACCOUNT, Some(lab.endpoints().aws.clone()), Identity::Fake);
        target.dns_server = Some(lab.endpoints().dns);
        let names = Names {
            instance: "lab-target".to_owned(),
            replica: "lab-replica".to_owned(),
            cluster: "lab-cluster".to_owned(),
            task: TASK.to_owned(),
            zone: ZONE_ID.to_owned(),
        };
        let mut bench = Self::new(Home::Lab(lab, folder), target, names, None);
        bench.speed = speed;
        bench
    }

    /// moto.
    pub async fn moto() -> Option<Self> {
        let peer = peers::moto()?;
        let target = AwsTarget::new(REGION, MOTO_ACCOUNT, Some(peer.url()), Identity::Fake);
        let mut names = databases(&target).await;
        names.task = task(&target).await;
        Some(Self::with_zone(peer, target, names).await)
    }

    /// ministack: Route 53 and STS only.
    pub async fn ministack() -> Option<Self> {
        let peer = peers::ministack()?;
        let target = AwsTarget::new(REGION, ACCOUNT, Some(peer.url()), Identity::Fake);
        Some(Self::with_zone(peer, target, Names::default()).await)
    }

    async fn with_zone(peer: Arc<Peer>, mut target: AwsTarget, mut names: Names) -> Self {
        let client = aws_sdk_route53::Client::new(target.config().await);
        names.zone = zone(&client).await;
        let authority = Authority::start(client, &names.zone).await;
        target.dns_server = Some(authority.at);
        Self::new(Home::Peer(peer), target, names, Some(authority))
    }

    fn new(home: Home, target: AwsTarget, names: Names, authority: Option<Authority>) -> Self {
        Self {
            home,
            target,
            names,
            heard: Arc::default(),
            cancel: CancellationToken::new(),
            speed: SPEED,
            run: fresh("run"),
            _authority: authority,
        }
    }

    /// The same world through another door: a proxy, another account.
    pub fn through(&self, endpoint: &str) -> AwsTarget {
        let mut target = AwsTarget::new(
            &self.target.region,
            &self.target.account,
            Some(endpoint.to_owned()),
            Identity::Fake,
        );
        target.dns_server = self.target.dns_server;
        target.patience = self.target.patience;
        target
    }

    pub fn endpoint(&self) -> &str {
        self.target.endpoint.as_deref().unwrap()
    }

    /// An action on the connection.
    pub fn action(&self, uses: &str, with: Value) -> Box<dyn Action> {
        action(&self.target, uses, with)
    }

    /// What an action gets; `key` is its idempotency key, `identity` what an approval bound.
    pub fn cx(&self, key: &str, identity: Value) -> Cx {
        self.cx_since(key, identity, Utc::now())
    }

    pub fn cx_since(&self, key: &str, identity: Value, intent_at: DateTime<Utc>) -> Cx {
        Cx {
            run: self.run.clone(),
            intent_at,
            ..cx::cx(key, identity, self.speed, &self.cancel, self.heard.clone())
        }
    }

    /// Looks, as before a gate, then executes under what was bound.
    pub async fn perform(&self, action: &dyn Action, key: &str) -> Result<Outcome, ActionError> {
        let identity = action.check(&self.cx(key, Value::Null)).await?.identity;
        action.execute(&self.cx(key, identity)).await
    }

    /// What `rds.describe` says of an instance.
    pub async fn describe(&self, name: &str) -> serde_json::Map<String, Value> {
        let action = self.action("rds.describe", json!({ "instance": name }));
        self.perform(&*action, "pm-read").await.unwrap().result
    }

    pub async fn rds(&self) -> aws_sdk_rds::Client {
        aws_sdk_rds::Client::new(self.target.config().await)
    }

    pub fn acked(&self) -> Vec<String> {
        self.heard.acked.lock().unwrap().clone()
    }

    /// What was acknowledged, without the ids of the requests that each acknowledgement of AWS has to have.
    pub fn accepted(&self) -> Vec<String> {
        let acked = self.acked();
        let names = acked.iter().map(|words| {
            let (name, rest) = words
                .split_once(" (request id ")
                .unwrap_or_else(|| panic!("{words} has no request id"));
            assert!(rest.len() > 1 && rest.ends_with(')'), "{words}");
            name.to_owned()
        });
        names.collect()
    }

    /// Every request that the lab served.
    pub fn requests(&self) -> Vec<Value> {
        match &self.home {
            Home::Lab(lab, _) => {
                let text = std::fs::read_to_string(lab.endpoints().folder.join("requests.jsonl")).unwrap();
                text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
            }
            Home::Peer(_) => panic!("a peer keeps no list of requests"),
        }
    }

    /// How many requests changed the lab.
    pub fn changes(&self) -> usize {
        self.requests()
            .iter()
            .filter(|request| request["changed"] == true)
            .count()
    }
}

/// An action on a connection named `aws`.
pub fn action(target: &AwsTarget, uses: &str, with: Value) -> Box<dyn Action> {
    let connections = Connections::new().with("aws", Target::Aws(target.clone()));
    let on = ["aws".to_owned()];
    let request = Request {
        uses,
        on: &on,
        with: &with,
    };
    build(&request, &connections).unwrap_or_else(|error| panic!("{uses}: {error}"))
}

/// Nothing of it shows: that may only be late, and is certain once enough time has passed since the intent.
pub async fn nothing_shows(action: &dyn Action, cx: &Cx) {
    // No time has passed since an intent that is still to come, however slow this machine is.
    let late = Cx {
        intent_at: Utc::now() + TimeDelta::days(1),
        ..cx.clone()
    };
    let seen = action.observe(&late).await.unwrap();
    assert!(matches!(seen, Observed::NotVisible { .. }), "{seen:?}");
    let long_since = Cx {
        intent_at: Utc::now() - TimeDelta::days(1),
        ..cx.clone()
    };
    let seen = action.observe(&long_since).await.unwrap();
    assert!(matches!(seen, Observed::NotStarted { .. }), "{seen:?}");
}

/// Observes until it is over.
pub async fn followed(action: &dyn Action, cx: &Cx) -> Outcome {
    match action.observe(cx).await.unwrap() {
        Observed::Done(outcome) => outcome,
        Observed::Running { .. } => action.adopt(cx).await.unwrap(),
        other @ (Observed::NotStarted { .. } | Observed::NotVisible { .. } | Observed::Unknown { .. }) => {
            panic!("it was sent: {other:?}")
        }
    }
}

async fn databases(target: &AwsTarget) -> Names {
    let client = aws_sdk_rds::Client::new(target.config().await);
    let names = Names {
        instance: fresh("db"),
        replica: fresh("replica"),
        cluster: fresh("cluster"),
        ..Names::default()
    };
    client
        .create_db_instance()
        .db_instance_identifier(&names.instance)
        .db_instance_class("db.t4g.medium")
        .engine("mysql")
        .allocated_storage(20)
        .master_username("fake")
        .master_user_password("fake-fake")
        .send()
        .await
        .unwrap();
    client
        .create_db_instance_read_replica()
        .db_instance_identifier(&names.replica)
        .source_db_instance_identifier(&names.instance)
        .send()
        .await
        .unwrap();
    client
        .create_db_cluster()
        .db_cluster_identifier(&names.cluster)
        .engine("aurora-mysql")
        .master_username("fake")
        .master_user_password("fake-fake")
        .send()
        .await
        .unwrap();
    for _ in 0..2 {
        client
            .create_db_instance()
            .db_instance_identifier(fresh("member"))
            .db_cluster_identifier(&names.cluster)
            .db_instance_class("db.r6g.large")
            .engine("aurora-mysql")
            .send()
            .await
            .unwrap();
    }
    names
}

/// A task that ran and is stopped: moto's new ones never get ready.
async fn task(target: &AwsTarget) -> String {
    use aws_sdk_databasemigration::types::{
        MigrationTypeValue, ReplicationEndpointTypeValue, StartReplicationTaskTypeValue,
    };
    let client = aws_sdk_databasemigration::Client::new(target.config().await);
    let instance = client
        .create_replication_instance()
        .replication_instance_identifier(fresh("mover"))
        .replication_instance_class("dms.t3.micro")
        .send()
        .await
        .unwrap();
    let instance = instance
        .replication_instance()
        .unwrap()
        .replication_instance_arn()
        .unwrap()
        .to_owned();
    let mut ends = Vec::new();
    for side in [
        ReplicationEndpointTypeValue::Source,
        ReplicationEndpointTypeValue::Target,
    ] {
        let end = client
            .create_endpoint()
            .endpoint_identifier(fresh("end"))
            .endpoint_type(side)
            .engine_name("mysql")
            .send()
            .await
            .unwrap();
        ends.push(end.endpoint().unwrap().endpoint_arn().unwrap().to_owned());
    }
    let made = client
        .create_replication_task()
        .replication_task_identifier(fresh("task"))
        .source_endpoint_arn(&ends[0])
        .target_endpoint_arn(&ends[1])
        .replication_instance_arn(instance)
        .migration_type(MigrationTypeValue::FullLoadAndCdc)
        .table_mappings("{}")
        .send()
        .await
        .unwrap();
    let arn = made
        .replication_task()
        .unwrap()
        .replication_task_arn()
        .unwrap()
        .to_owned();
    let start = client.start_replication_task().replication_task_arn(&arn);
    start
        .start_replication_task_type(StartReplicationTaskTypeValue::StartReplication)
        .send()
        .await
        .unwrap();
    client
        .stop_replication_task()
        .replication_task_arn(&arn)
        .send()
        .await
        .unwrap();
    arn
}

/// A zone of its own with the application's record as the lab begins with it.
async fn zone(client: &aws_sdk_route53::Client) -> String {
    use aws_sdk_route53::types::{Change, ChangeAction, ChangeBatch, ResourceRecord, ResourceRecordSet, RrType};
    let made = client
        .create_hosted_zone()
        .name("lab.test.")
        .caller_reference(fresh("zone"))
        .send()
        .await
        .unwrap();
    let id = made
        .hosted_zone()
        .unwrap()
        .id()
        .trim_start_matches("/hostedzone/")
        .to_owned();
    let set = ResourceRecordSet::builder()
        .name(RECORD)
        .r#type(RrType::A)
        .ttl(300)
        .resource_records(ResourceRecord::builder().value("127.0.0.1").build().unwrap())
        .build()
        .unwrap();
    let change = Change::builder().action(ChangeAction::Create).resource_record_set(set);
    let batch = ChangeBatch::builder().changes(change.build().unwrap()).build().unwrap();
    client
        .change_resource_record_sets()
        .hosted_zone_id(&id)
        .change_batch(batch)
        .send()
        .await
        .unwrap();
    id
}

/// Runs tests against one world: a module of its name with a test for each.
macro_rules! on {
    ($peer:ident: $($test:ident),+ $(,)?) => {
        mod $peer {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    if let Some(bench) = crate::bench::Bench::$peer().await {
                        super::$test(bench).await;
                    }
                }
            )+
        }
    };
}
pub(crate) use on;
