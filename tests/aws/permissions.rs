//! What policies allow, simulated: by the lab, and by ministack over policies that stand there. moto has no simulation.

use std::time::Duration;

use pointsman::lab::endpoints::{ACCOUNT, REGION};
use pointsman::lab::{Fault as LabFault, Lab, LabOptions};
use pointsman::provider::aws::{AwsTarget, Identity};
use pointsman::provider::preflight::{Finding, Verdict, Wish, permissions};
use serde_json::{Value, json};

use crate::bench::{Bench, fresh};
use crate::proxy::{Fault, Proxy};
use crate::wire::query;

async fn found(target: &AwsTarget, caller: &str, steps: &[(&str, Value)]) -> Vec<Finding> {
    let wishes: Vec<Wish<'_>> = steps
        .iter()
        .map(|(uses, with)| Wish {
            step: "s",
            uses,
            on: vec!["aws".to_owned()],
            with,
            later: false,
        })
        .collect();
    let wishes: Vec<&Wish<'_>> = wishes.iter().collect();
    permissions::look("aws", target, caller, &wishes).await
}

fn night() -> Vec<(&'static str, Value)> {
    vec![
        ("rds.snapshot", json!({ "instance": "erp" })),
        (
            "dns.flip",
            json!({ "zone": "Z1", "record": "erp.example.com", "to": ["192.0.2.1"] }),
        ),
        (
            "dms.stop",
            json!({ "task": "arn:aws:dms:us-east-1:000000000000:task:ERP" }),
        ),
    ]
}

async fn iam(bench: &Bench, parameters: &[(&str, &str)]) {
    let all = [&[("Version", "2010-05-08")], parameters].concat();
    query(bench.endpoint(), "iam", &all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ministack_says_what_its_policies_allow_deny_and_do_not_name() {
    let Some(bench) = Bench::ministack().await else { return };
    let user = fresh("pm");
    iam(&bench, &[("Action", "CreateUser"), ("UserName", &user)]).await;
    let allow = |actions: &[&str]| json!({ "Effect": "Allow", "Action": actions, "Resource": "*" });
    let reads = allow(&["rds:*", "dms:*", "route53:Get*", "route53:List*"]);
    let put = async |statements: Value| {
        let policy = json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
        let parameters = [
            ("Action", "PutUserPolicy"),
            ("UserName", user.as_str()),
            ("PolicyName", "night"),
            ("PolicyDocument", policy.as_str()),
        ];
        iam(&bench, &parameters).await;
    };
    let caller = format!("arn:aws:iam::{ACCOUNT}:user/{user}");

    put(json!([reads, allow(&["route53:ChangeResourceRecordSets"])])).await;
    let all = found(&bench.target, &caller, &night()).await;
    assert_eq!(all[0].verdict, Verdict::Green, "{all:?}");
    assert!(all[0].seen.contains("all allowed"), "{all:?}");

    put(json!([reads])).await;
    let some = found(&bench.target, &caller, &night()).await;
    assert_eq!(some[0].verdict, Verdict::Amber, "{some:?}");
    assert_eq!(
        some[0].seen,
        "not allowed: route53:ChangeResourceRecordSets on arn:aws:route53:::hostedzone/Z1"
    );

    let deny = json!({ "Effect": "Deny", "Action": "rds:CreateDBSnapshot", "Resource": "*" });
    put(json!([reads, deny])).await;
    let denied = found(&bench.target, &caller, &night()).await;
    assert_eq!(denied[0].verdict, Verdict::Red, "{denied:?}");
    assert!(denied[0].seen.starts_with("denied: rds:CreateDBSnapshot"), "{denied:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lab_allows_everything_but_what_a_fault_denies() {
    for (faults, verdict) in [(vec![], Verdict::Green), (vec![LabFault::DnsDenied], Verdict::Red)] {
        let folder = tempfile::tempdir().unwrap();
        let options = LabOptions {
            speed: 100.0,
            faults,
            writer: false,
        };
        let lab = Lab::start(folder.path(), options).await.unwrap();
        let target = AwsTarget::new(REGION, ACCOUNT, Some(lab.endpoints().aws.clone()), Identity::Fake);
        let caller = target.caller().await.unwrap();
        let seen = found(&target, &caller, &night()).await;
        assert_eq!(seen[0].verdict, verdict, "{seen:?}");
        lab.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_worth_a_look_and_nobody_without_policies_is_asked() {
    let bench = Bench::lab().await.unwrap();
    let proxy = Proxy::start(bench.endpoint()).await;
    let mut target = bench.through(&proxy.url());
    target.patience = Duration::from_secs(4);
    let denied = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no</Message></Error>\
                  <RequestId>r-1</RequestId></ErrorResponse>";
    proxy.arm("SimulatePrincipalPolicy", Fault::Answer(403, denied), 1);
    let caller = format!("arn:aws:iam::{ACCOUNT}:user/lab");
    let seen = found(&target, &caller, &night()).await;
    assert_eq!(seen[0].verdict, Verdict::Amber, "{seen:?}");
    assert!(seen[0].seen.contains("could not be asked") && seen[0].advice.as_ref().unwrap().contains("allow"));

    let root = found(&target, &format!("arn:aws:iam::{ACCOUNT}:root"), &night()).await;
    assert_eq!(root[0].verdict, Verdict::Amber, "{root:?}");
    // A session of a role is asked as its role: the lab knows no roles, and is asked by the name alone.
    let session = format!("arn:aws:sts::{ACCOUNT}:assumed-role/Night/olga");
    let seen = found(&target, &session, &night()).await;
    assert_eq!(seen[0].verdict, Verdict::Green, "{seen:?}");
    assert_eq!(proxy.count("GetRole"), 1);

    let nobody = found(&target, &caller, &[("sql.assert", json!({}))]).await;
    assert!(nobody.is_empty(), "what calls no API needs no permission");
}
