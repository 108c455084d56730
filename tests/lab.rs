//! The lab, asked by the real SDKs and a resolver: it refuses what AWS refuses, keeps AWS's state progressions, serves
//! what was changed, and outlives its process.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::path::Path;

use aws_sdk_databasemigration::types::StartReplicationTaskTypeValue;
use aws_sdk_route53::types::{
    Change, ChangeAction, ChangeBatch, ChangeStatus, ResourceRecord, ResourceRecordSet, RrType,
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use pointsman::lab::endpoints::{ACCOUNT, REGION, TASK, ZONE_ID};
use pointsman::lab::{Fault, Lab, LabOptions, measure};
use pointsman::provider::aws::{AwsTarget, Identity};
use pointsman::provider::dns::lookup::{Asked, ask};
use support::{open, requests, wait_for};

async fn lab(folder: &Path, faults: &[Fault]) -> (Lab, AwsTarget) {
    let options = LabOptions {
        speed: 100.0,
        faults: faults.to_vec(),
        writer: false,
    };
    let lab = Lab::start(folder, options).await.unwrap();
    let target = AwsTarget::new(REGION, ACCOUNT, Some(lab.endpoints().aws.clone()), Identity::Fake);
    (lab, target)
}

struct Set<'a> {
    name: &'a str,
    kind: RrType,
    values: &'a [&'a str],
    ttl: Option<i64>,
    weight: Option<i64>,
}

impl Set<'_> {
    const fn simple(values: &'static [&'static str]) -> Set<'static> {
        Set {
            name: "erp.lab.test",
            kind: RrType::A,
            values,
            ttl: Some(60),
            weight: None,
        }
    }

    fn change(&self, action: ChangeAction) -> Change {
        let mut set = ResourceRecordSet::builder()
            .name(self.name)
            .r#type(self.kind.clone())
            .set_ttl(self.ttl)
            .set_weight(self.weight)
            .set_set_identifier(self.weight.map(|weight| format!("w{weight}")));
        for value in self.values {
            set = set.resource_records(ResourceRecord::builder().value(*value).build().unwrap());
        }
        Change::builder()
            .action(action)
            .resource_record_set(set.build().unwrap())
            .build()
            .unwrap()
    }
}

/// Sends a batch; the change's id, or the code of the refusal.
async fn send(target: &AwsTarget, changes: Vec<Change>) -> Result<String, String> {
    let client = aws_sdk_route53::Client::new(target.config().await);
    let batch = ChangeBatch::builder().set_changes(Some(changes)).build().unwrap();
    let sent = client
        .change_resource_record_sets()
        .hosted_zone_id(ZONE_ID)
        .change_batch(batch)
        .send()
        .await;
    match sent {
        Ok(answer) => Ok(answer.change_info().unwrap().id().to_owned()),
        Err(error) => Err(error.code().unwrap_or("no code").to_owned()),
    }
}

async fn answer(lab: &Lab) -> (Vec<String>, u32) {
    let asked = Asked {
        name: "erp.lab.test.".to_owned(),
        kind: "A".to_owned(),
    };
    let answer = ask(lab.endpoints().dns, &asked).await.unwrap();
    assert!(answer.authoritative);
    (answer.values, answer.ttl)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_pending_then_in_sync_then_served() {
    let folder = tempfile::tempdir().unwrap();
    let (lab, target) = lab(folder.path(), &[]).await;
    assert_eq!(answer(&lab).await, (vec!["127.0.0.1".to_owned()], 300));
    let change = Set::simple(&["127.0.0.2"]).change(ChangeAction::Upsert);
    let id = send(&target, vec![change]).await.unwrap();
    let client = aws_sdk_route53::Client::new(target.config().await);
    let status = || async {
        let read = client.get_change().id(&id).send().await.unwrap();
        read.change_info().unwrap().status().clone()
    };
    assert_eq!(status().await, ChangeStatus::Pending);
    while status().await != ChangeStatus::Insync {
        tokio::task::yield_now().await;
    }
    assert_eq!(answer(&lab).await, (vec!["127.0.0.2".to_owned()], 60));
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_route_53_refuses_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (lab, target) = lab(folder.path(), &[]).await;
    let simple = Set::simple(&["127.0.0.2"]);
    let cases: Vec<(&str, Vec<Change>)> = vec![
        (
            "a weighted set beside a simple one",
            vec![
                Set {
                    weight: Some(10),
                    ..Set::simple(&["127.0.0.2"])
                }
                .change(ChangeAction::Create),
            ],
        ),
        ("a name that stands already", vec![simple.change(ChangeAction::Create)]),
        ("a delete of other values", vec![simple.change(ChangeAction::Delete)]),
        (
            "no TTL",
            vec![
                Set {
                    ttl: None,
                    ..Set::simple(&["127.0.0.2"])
                }
                .change(ChangeAction::Upsert),
            ],
        ),
        (
            "no address",
            vec![Set::simple(&["127.0.0.256"]).change(ChangeAction::Upsert)],
        ),
        (
            "a weight over 255",
            vec![
                Set::simple(&["127.0.0.1"]).change(ChangeAction::Delete),
                Set {
                    weight: Some(256),
                    ..Set::simple(&["127.0.0.2"])
                }
                .change(ChangeAction::Create),
            ],
        ),
        (
            "a CNAME at the apex",
            vec![
                Set {
                    name: "lab.test",
                    kind: RrType::Cname,
                    ..Set::simple(&["erp.lab.test"])
                }
                .change(ChangeAction::Create),
            ],
        ),
        (
            "a CNAME beside other records",
            vec![
                Set {
                    kind: RrType::Cname,
                    ..Set::simple(&["x.lab.test"])
                }
                .change(ChangeAction::Create),
            ],
        ),
        (
            "a batch of which one part is wrong",
            vec![
                Set {
                    name: "new.lab.test",
                    ..Set::simple(&["127.0.0.3"])
                }
                .change(ChangeAction::Create),
                simple.change(ChangeAction::Create),
            ],
        ),
        (
            "another zone's name",
            vec![
                Set {
                    name: "erp.example.com",
                    ..Set::simple(&["127.0.0.3"])
                }
                .change(ChangeAction::Create),
            ],
        ),
    ];
    for (what, changes) in cases {
        let refused = send(&target, changes).await;
        assert_eq!(refused, Err("InvalidChangeBatch".to_owned()), "{what}");
    }
    assert_eq!(answer(&lab).await, (vec!["127.0.0.1".to_owned()], 300));
    let changed = requests(folder.path())
        .into_iter()
        .filter(|request| request["changed"] == true);
    assert_eq!(changed.count(), 0);
    let client = aws_sdk_route53::Client::new(target.config().await);
    let nothing = client.get_change().id("CNOSUCHCHANGE").send().await.unwrap_err();
    assert_eq!(nothing.code(), Some("NoSuchChange"));
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replication_task_knows_its_states_and_copies_the_rows() {
    let folder = tempfile::tempdir().unwrap();
    let (lab, target) = lab(folder.path(), &[]).await;
    let client = aws_sdk_databasemigration::Client::new(target.config().await);
    let stop = || client.stop_replication_task().replication_task_arn(TASK).send();
    let start = |kind| {
        client
            .start_replication_task()
            .replication_task_arn(TASK)
            .start_replication_task_type(kind)
            .send()
    };
    let refused = stop().await.unwrap_err();
    assert_eq!(refused.code(), Some("InvalidResourceStateFault"), "never started");
    start(StartReplicationTaskTypeValue::StartReplication).await.unwrap();
    let again = start(StartReplicationTaskTypeValue::StartReplication)
        .await
        .unwrap_err();
    assert_eq!(again.code(), Some("InvalidResourceStateFault"), "running already");
    let rows = |path: &Path| -> i64 {
        let sql =
            "select (select count(*) from orders) + (select count(*) from customers) + (select count(*) from ledger)";
        open(path).query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let at = lab.endpoints().clone();
    tokio::task::block_in_place(|| wait_for("the load", || rows(&at.target) == rows(&at.source)));
    open(&at.source)
        .execute("insert into customers values ('late', 'Late', 'Lapa')", [])
        .unwrap();
    tokio::task::block_in_place(|| wait_for("the change", || rows(&at.target) == rows(&at.source)));
    stop().await.unwrap();
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_grows_and_its_name_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let (lab, target) = lab(folder.path(), &[]).await;
    let client = aws_sdk_rds::Client::new(target.config().await);
    let make = |instance: &str| {
        client
            .create_db_snapshot()
            .db_instance_identifier(instance)
            .db_snapshot_identifier("before-cutover")
            .send()
    };
    let made = make("lab-target").await.unwrap();
    assert_eq!(made.db_snapshot().unwrap().status(), Some("creating"));
    assert_eq!(
        make("lab-target").await.unwrap_err().code(),
        Some("DBSnapshotAlreadyExists")
    );
    let nowhere = make("no-such-instance").await.unwrap_err();
    assert_eq!(nowhere.code(), Some("DBInstanceNotFound"));
    loop {
        let read = client
            .describe_db_snapshots()
            .db_snapshot_identifier("before-cutover")
            .send()
            .await
            .unwrap();
        let snapshot = read.db_snapshots()[0].clone();
        if snapshot.status() == Some("available") {
            assert_eq!(snapshot.percent_progress(), Some(100));
            break;
        }
    }
    let missing = client
        .describe_db_snapshots()
        .db_snapshot_identifier("no-such-snapshot")
        .send()
        .await
        .unwrap_err();
    assert_eq!(missing.code(), Some("DBSnapshotNotFound"));
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_state_and_its_ports_outlive_its_process() {
    let folder = tempfile::tempdir().unwrap();
    let (first, target) = lab(folder.path(), &[]).await;
    let before = first.endpoints().clone();
    let change = Set::simple(&["127.0.0.2"]).change(ChangeAction::Upsert);
    send(&target, vec![change]).await.unwrap();
    first.stop().await;
    let (second, _) = lab(folder.path(), &[]).await;
    let after = second.endpoints();
    assert_eq!(
        (&before.aws, before.dns, before.app_port),
        (&after.aws, after.dns, after.app_port)
    );
    // Its clock ran on while nobody looked.
    while answer(&second).await.0 != ["127.0.0.2"] {
        tokio::task::yield_now().await;
    }
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_has_its_effect_once() {
    let folder = tempfile::tempdir().unwrap();
    let (lab, target) = lab(folder.path(), &[Fault::DnsChangeReplyLost]).await;
    let change = || vec![Set::simple(&["127.0.0.2"]).change(ChangeAction::Upsert)];
    assert_eq!(
        send(&target, change()).await,
        Err("no code".to_owned()),
        "no answer came"
    );
    let changed = requests(folder.path())
        .into_iter()
        .filter(|request| request["changed"] == true);
    assert_eq!(changed.count(), 1, "but the record was changed");
    send(&target, change()).await.unwrap();
    lab.stop().await;
}

#[test]
fn a_lost_write_is_counted() {
    let place = support::Place::new();
    let process = place.lab("lab", &[]);
    wait_for("acknowledged writes", || process.measure().acknowledged > 5);
    assert_eq!(process.measure().lost, 0);
    let gone = process
        .source()
        .execute(
            "delete from orders where key in (select key from orders where writer = 'app' limit 3)",
            [],
        )
        .unwrap();
    assert_eq!(gone, 3);
    assert_eq!(measure(&process.folder).unwrap().lost, 3);
}
